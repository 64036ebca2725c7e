"""Pictures of faces, maps and embeddings as PNG: made from data in memory, readable at 80 mm, color-blind
safe.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfr.core.image import ImageU8
from lrfr.eval.analysis.figure_text import legend_name, without_formulas
from lrfr.eval.embeddings import Floats
from lrfr.eval.report.plots import LINES, MARKERS, OKABE_ITO
from lrfr.eval.scoring.metrics import F64

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MM = 1 / 25.4
_DPI = 200


def _figure(width_mm: float, height_mm: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_mm * _MM, height_mm * _MM), layout="constrained", dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    without_formulas(figure).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def against_size(values: Mapping[str, Mapping[int, float]], ylabel: str, *, log: bool = False) -> bytes:
    """Draw quantities against the side in px, one line each (SSIM, gradient norm, error bound)."""
    figure = _figure(100, 72)
    axes = figure.add_subplot()
    for place, (name, curve) in enumerate(values.items()):
        sizes = sorted(curve)
        axes.plot(
            sizes,
            [curve[s] for s in sizes],
            color=OKABE_ITO[place % 7],
            marker=MARKERS[place % 7],
            linestyle=LINES[place % 7],
            label=legend_name(name),
        )
    ticks = sorted({size for curve in values.values() for size in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.minorticks_off()
    if log:
        axes.set_yscale("log")
    axes.set(xlabel="side, px", ylabel=ylabel)
    axes.grid(True, linewidth=0.4)
    axes.tick_params(labelsize=8)
    if len(values) > 1:
        axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def against_values(
    curves: Mapping[str, Mapping[str, tuple[float, float]]], xlabel: str, ylabel: str
) -> bytes:
    """Draw a quantity with its spread against the values of an option, one line each: on an axis where they
    are numbers, a logarithmic one where they are positive and span a factor of ten; side by side where not.
    """
    words = list(dict.fromkeys(value for curve in curves.values() for value in curve))
    numbers = _numbers(words)
    figure = _figure(110, 76)
    axes = figure.add_subplot()
    for place, (name, curve) in enumerate(curves.items()):
        points = sorted((numbers[value], *found) for value, found in curve.items())
        xs, means, spreads = zip(*points, strict=True)
        axes.errorbar(
            xs,
            means,
            spreads if any(spreads) else None,
            color=OKABE_ITO[place % 7],
            marker=MARKERS[place % 7],
            linestyle=LINES[place % 7],
            capsize=2,
            label=legend_name(name),
        )
    if min(numbers.values()) > 0 and max(numbers.values()) >= 10 * min(numbers.values()):
        axes.set_xscale("log")
    axes.set_xticks(sorted(numbers.values()), sorted(words, key=numbers.__getitem__))
    axes.minorticks_off()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(True, linewidth=0.4)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def _numbers(words: Sequence[str]) -> dict[str, float]:
    """Return where each value stands: at its number, or at its place where some are none."""
    try:
        return {word: float(word) for word in words}
    except ValueError:
        return {word: float(place) for place, word in enumerate(words)}


def scatter(groups: Mapping[str, Floats], label: str) -> bytes:
    """Draw two-dimensional coordinates, one color and marker per resolution; the large outlined mark is the
    group's center.
    """
    figure = _figure(100, 84)
    axes = figure.add_subplot()
    for place, (name, points) in enumerate(groups.items()):
        look: Any = {"color": OKABE_ITO[place % 7], "marker": MARKERS[place % 7]}
        axes.scatter(points[:, 0], points[:, 1], 5, alpha=0.5, linewidths=0, **look)
        axes.scatter(
            points[:, 0].mean(),
            points[:, 1].mean(),
            90,
            edgecolors="black",
            linewidths=0.8,
            label=legend_name(name),
            zorder=3,
            **look,
        )
    axes.set(xticks=[], yticks=[], xlabel=f"{label} 1", ylabel=f"{label} 2")
    axes.legend(frameon=False, fontsize=7, markerscale=0.6)
    return _png(figure)


def histogram(values: Mapping[str, F64], xlabel: str) -> bytes:
    """Draw outlined histograms over one axis."""
    figure = _figure(100, 66)
    axes = figure.add_subplot()
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), 40)
    for place, (name, some) in enumerate(values.items()):
        counts, _ = np.histogram(some, edges)
        axes.stairs(
            counts, edges, color=OKABE_ITO[place % 7], linestyle=LINES[place % 7], linewidth=1.4, label=name
        )
    axes.set(xlabel=xlabel, ylabel="dimensions")
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=7)
    return _png(figure)


def sheet(columns: Mapping[str, Sequence[ImageU8]], *, rows: int = 6, cell_mm: float = 19) -> bytes:
    """Draw faces in a grid, one column per condition, small images enlarged without smoothing so that their
    pixels show.
    """
    count = min(rows, *(len(images) for images in columns.values()))
    figure = _figure(cell_mm * len(columns), cell_mm * count + 5)
    grid = figure.subplots(count, len(columns), squeeze=False)
    for place, (name, images) in enumerate(columns.items()):
        for row in range(count):
            axes = grid[row, place]
            axes.imshow(images[row], interpolation="nearest")
            axes.set_axis_off()
        grid[0, place].set_title(legend_name(name), fontsize=7)
    return _png(figure)


def attention(
    faces: Sequence[ImageU8], maps: Mapping[str, Floats], *, rows: int = 4, cell_mm: float = 22
) -> bytes:
    """Draw attention maps [N, H, W] in [0, 1] beside their faces, one column per block and resolution (F-SKD
    Fig. 3, CATFace Fig. 7).
    """
    count = min(rows, len(faces))
    figure = _figure(cell_mm * (len(maps) + 1), cell_mm * count + 8)
    grid = figure.subplots(count, len(maps) + 1, squeeze=False)
    for row in range(count):
        grid[row, 0].imshow(faces[row], interpolation="nearest")
        for place, values in enumerate(maps.values(), 1):
            drawn = grid[row, place].imshow(
                values[row], cmap="viridis", vmin=0, vmax=1, interpolation="nearest"
            )
    for axes in grid.reshape(-1):
        axes.set_axis_off()
    for place, name in enumerate(["face", *maps]):
        grid[0, place].set_title(legend_name(name), fontsize=7)
    figure.colorbar(drawn, ax=grid, shrink=0.5, ticks=[0, 1]).ax.tick_params(labelsize=7)
    return _png(figure)
