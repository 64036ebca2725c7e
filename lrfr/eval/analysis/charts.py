"""Charts of numbers as PNG: boxes, clouds of points, slopes, cost against gain; as readable as
:mod:`lrfr.eval.analysis.pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrfr.core.image import ImageU8
from lrfr.eval.analysis.pictures import _figure, _png
from lrfr.eval.embeddings import Floats
from lrfr.eval.report.plots import LINES, MARKERS, OKABE_ITO

_CLOUD = 1500
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def stars(p: float) -> str:
    """Return ``***`` below 0.001, ``**`` below 0.01, ``*`` below 0.05, else ``n.s.``."""
    return next((text for limit, text in _STARS if p < limit), "n.s.")


def boxes(groups: Mapping[str, Sequence[Floats]], p_values: Mapping[str, Sequence[float]]) -> bytes:
    """Draw the feature norms of each block, a box a model (quartiles, whiskers at 5 and 95 %), with stars of
    the t-test against the first (F-SKD Fig. 4).

    Args:
        groups: model to the norms [N] of each block; the first one is HR.
        p_values: model to the p-value of each block; the first one has none.

    """
    blocks = len(next(iter(groups.values())))
    figure = _figure(44 * blocks, 66)
    panels = figure.subplots(1, blocks, squeeze=False)[0]
    for block, axes in enumerate(panels):
        for place, (name, norms) in enumerate(groups.items()):
            drawn = axes.boxplot(
                [norms[block]],
                positions=[place],
                widths=0.6,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                medianprops={"color": "black"},
            )
            drawn["boxes"][0].set(facecolor=OKABE_ITO[place % 7], alpha=0.7)
            if name in p_values:
                top = float(np.percentile(norms[block], 95))
                text = stars(p_values[name][block])
                axes.annotate(text, (place, top), (0, 2), textcoords="offset points", ha="center", size=7)
        axes.set_xticks(range(len(groups)), list(groups), rotation=35, ha="right")
        axes.set_title(f"block {block + 1}", fontsize=8)
        axes.margins(y=0.12)
        axes.tick_params(labelsize=6)
    panels[0].set_ylabel("norm of the block's output", fontsize=8)
    return _png(figure)


def clouds(groups: Mapping[str, Sequence[tuple[Floats, Floats, float]]], labels: tuple[str, str]) -> bytes:
    """Draw values of one against values of the other, a panel for each model and block, with Pearson's r
    (F-SKD Fig. 5).

    Args:
        groups: model to (x [M], y [M], r) of each block; at most 1,500 points of a panel are drawn.
        labels: of x and y.

    """
    blocks = max(len(panels) for panels in groups.values())
    figure = _figure(40 * blocks + 8, 38 * len(groups) + 6)
    grid = figure.subplots(len(groups), blocks, squeeze=False)
    for row, (name, panels) in enumerate(groups.items()):
        for block, axes in enumerate(grid[row]):
            axes.tick_params(labelsize=5)
            if block >= len(panels):
                axes.set_axis_off()
                continue
            x, y, r = panels[block]
            chosen = np.random.default_rng(0).permutation(len(x))[:_CLOUD]
            axes.scatter(x[chosen], y[chosen], 3, alpha=0.3, linewidths=0, color=OKABE_ITO[(row + 1) % 7])
            axes.set_title(f"block {block + 1}, r = {r:.2f}", fontsize=7)
        grid[row, 0].set_ylabel(f"{name}\n{labels[1]}", fontsize=6)
    for axes in grid[-1]:
        axes.set_xlabel(labels[0], fontsize=6)
    return _png(figure)


def slopes(panels: Sequence[tuple[str, Mapping[str, tuple[Floats, Floats]]]], xlabel: str) -> bytes:
    """Draw curves side by side, a title and (x, y) of each curve for every panel (MAug Fig. 4)."""
    figure = _figure(82 * len(panels), 66)
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for place, (name, (x, y)) in enumerate(curves.items()):
            look: Any = {"color": OKABE_ITO[place % 7], "linestyle": LINES[place % 7]}
            axes.plot(x, y, label=name, linewidth=1.4, **look)
        axes.set(xlabel=xlabel, ylabel="D x derivative")
        axes.set_title(title, fontsize=8)
        axes.grid(True, linewidth=0.4)
        axes.tick_params(labelsize=7)
        axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def trade(points: Mapping[str, tuple[float, Mapping[str, float]]], xlabel: str, ylabel: str) -> bytes:
    """Draw what models reach against what they cost, a line for each condition, every point named
    (BTNet Fig. 7).

    Args:
        points: model to (cost, condition to value).
        xlabel: what the cost is.
        ylabel: what the values are.

    """
    figure = _figure(120, 84)
    axes = figure.add_subplot()
    ordered = sorted(points.items(), key=lambda item: item[1][0])
    conditions = list(dict.fromkeys(name for _, values in points.values() for name in values))
    for place, condition in enumerate(conditions):
        found = [(cost, values[condition]) for _, (cost, values) in ordered if condition in values]
        look: Any = {
            "color": OKABE_ITO[place % 7],
            "marker": MARKERS[place % 7],
            "linestyle": LINES[place % 7],
        }
        axes.plot(*zip(*found, strict=True), label=condition, linewidth=1, **look)
    for number, (name, (cost, values)) in enumerate(ordered):
        at, shift = max(values.values()), 4 + 8 * (number % 2)
        axes.annotate(name, (cost, at), (0, shift), textcoords="offset points", ha="center", fontsize=6)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(x=0.15, y=0.15)
    axes.grid(True, linewidth=0.4)
    axes.tick_params(labelsize=7)
    axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def stages(
    faces: Mapping[str, ImageU8], maps: Mapping[str, Sequence[Floats]], *, cell_mm: float = 24
) -> bytes:
    """Draw one face at each size and its map [H, W] in [0, 1] after every stage (BTNet Fig. 9).

    Args:
        faces: size to the face.
        maps: size to its maps, one a stage.
        cell_mm: side of a picture.

    """
    columns = 1 + max(len(row) for row in maps.values())
    figure = _figure(cell_mm * columns, (cell_mm + 3) * len(faces) + 5)
    grid = figure.subplots(len(faces), columns, squeeze=False)
    for axes in grid.reshape(-1):
        axes.set(xticks=[], yticks=[])
    for row, (name, face) in enumerate(faces.items()):
        grid[row, 0].imshow(face, interpolation="nearest")
        grid[row, 0].set_ylabel(name, fontsize=7)
        for stage, values in enumerate(maps[name], 1):
            grid[row, stage].imshow(values, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
            side = f"stage {stage}\n" if row == 0 else ""
            grid[row, stage].set_title(f"{side}{values.shape[0]}x{values.shape[1]}", fontsize=6)
    return _png(figure)
