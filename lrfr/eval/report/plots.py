"""Curves of a report, drawn from results alone; colors are Okabe and Ito's, safe for color-blind readers,
with a marker each.

Figures are 80 mm or wider and readable at that width; each is drawn for light and for dark pages.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfr.core.machine import quiet_libraries
from lrfr.eval.analysis.figure_text import legend_name, without_formulas
from lrfr.eval.low_res import size_label
from lrfr.eval.report.compare import second_size
from lrfr.eval.results import Metric, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MM = 1 / 25.4
THEMES = {
    "light": {"text": "#1a1a1a", "grid": "#d0d0d0", "back": "#ffffff"},
    "dark": {"text": "#e8e8e8", "grid": "#4a4a4a", "back": "#1b1d21"},
}
Draw = Callable[["Axes", list[Result]], None]


@dataclass(frozen=True)
class Picture:
    """One figure as SVG for each theme, with its caption."""

    name: str
    caption: str
    svg: dict[str, bytes]


def draw(
    name: str,
    caption: str,
    results: list[Result],
    paint: Draw,
    *,
    width_mm: float = 110,
    height_mm: float = 82,
) -> Picture:
    """Draw one figure for both themes; the SVG carries no date, so the same results give the same bytes."""
    quiet_libraries()
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = _style(THEMES["light"])
    with mpl.rc_context(style):
        figure = Figure(figsize=(width_mm * _MM, height_mm * _MM), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(True, linewidth=0.4)
        paint(axes, results)
        buffer = io.BytesIO()
        without_formulas(figure).savefig(buffer, format="svg", metadata={"Date": None, "Creator": "lrfr"})
    return Picture(name, caption, {"light": buffer.getvalue(), "dark": _darkened(buffer.getvalue())})


def _darkened(svg: bytes) -> bytes:
    """Exchange the light theme's three colors for the dark theme's: the same drawing, without drawing it
    twice.
    """
    for part, light in THEMES["light"].items():
        svg = svg.replace(light.encode(), THEMES["dark"][part].encode())
    return svg


def _style(color: dict[str, str]) -> dict[str, Any]:
    text, grid, back = color["text"], color["grid"], color["back"]
    return {
        "svg.hashsalt": "lrfr",
        "svg.fonttype": "path",
        "font.size": 8,
        "axes.edgecolor": grid,
        "axes.labelcolor": text,
        "axes.facecolor": back,
        "figure.facecolor": back,
        "savefig.facecolor": back,
        "text.color": text,
        "xtick.color": text,
        "ytick.color": text,
        "grid.color": grid,
        "legend.frameon": False,
        "legend.fontsize": 7,
        "lines.linewidth": 1.4,
        "lines.markersize": 4,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }


def models_of(results: Sequence[Result]) -> list[str]:
    """Return the models' names in order of appearance."""
    return list(dict.fromkeys(result.model.name for result in results))


def accuracy_against_size(metric: str, *, chance: float | None = 0.5) -> Draw:
    """Return a painter of one metric against the size of the second image, with its intervals, one line per
    model.
    """

    def paint(axes: Axes, results: list[Result]) -> None:
        """Draw one line per model."""
        ticks: set[int] = set()
        for place, name in enumerate(models_of(results)):
            own = sorted(
                (
                    r
                    for r in results
                    if r.model.name == name and metric in r.metrics and isinstance(second_size(r), int)
                ),
                key=_side_px,
            )
            if not own:
                continue
            sizes = [_side_px(result) for result in own]
            ticks.update(sizes)
            _line_with_intervals(axes, sizes, [result.metrics[metric] for result in own], name, place)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(ticks), [str(size) for size in sorted(ticks)])
        axes.minorticks_off()
        axes.set_xlabel("side of the small image, px")
        axes.set_ylabel(f"{metric}, %")
        if chance is not None:
            axes.axhline(100 * chance, linewidth=0.8, linestyle=":", color=axes.xaxis.label.get_color())
        axes.legend(loc="best")

    return paint


def _line_with_intervals(axes: Axes, sizes: list[int], bodies: list[Metric], name: str, place: int) -> None:
    color, marker = OKABE_ITO[place % 7], MARKERS[place % 7]
    values = [100 * body.value for body in bodies]
    axes.plot(sizes, values, marker=marker, color=color, linestyle=LINES[place % 7], label=legend_name(name))
    spans = [body.interval for body in bodies if body.interval]
    if len(spans) == len(bodies):
        axes.fill_between(
            sizes,
            [100 * s.low for s in spans],
            [100 * s.high for s in spans],
            color=color,
            alpha=0.18,
            linewidth=0,
        )


def _side_px(result: Result) -> int:
    size = second_size(result)
    return size if isinstance(size, int) else 0


def roc_curves(axes: Axes, results: list[Result]) -> None:
    """Paint TAR over FAR (log), one line per result; a curve ends at the smallest FAR that its impostors can
    show.
    """
    many = len(models_of(results)) > 1
    for place, result in enumerate(results):
        curve = result.curves["roc"]
        label = (
            f"{result.model.name}, {size_label(second_size(result))}"
            if many
            else size_label(second_size(result))
        )
        shown = [(far, tar) for far, tar in zip(curve["far"], curve["tar"], strict=True) if far > 0]
        axes.plot(
            *zip(*shown, strict=True),
            color=OKABE_ITO[place % 7],
            linestyle=LINES[(place // 7 + place) % 7],
            label=legend_name(label),
        )
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("FAR")
    axes.set_ylabel("TAR")
    axes.legend(loc="lower right")


def reject_curves(axes: Axes, results: list[Result]) -> None:
    """Paint FNMR over the share of refused comparisons (an error-versus-discard curve), one line a result."""
    many = len(models_of(results)) > 1
    for place, result in enumerate(results):
        curve, size = result.curves["edc"], size_label(second_size(result))
        axes.plot(
            [100 * value for value in curve["reject"]],
            [100 * value for value in curve["fnmr"]],
            color=OKABE_ITO[place % 7],
            linestyle=LINES[place % 7],
            label=legend_name(f"{result.model.name}, {size}") if many else size,
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("refused, %")
    axes.set_ylabel("FNMR, %")
    axes.legend(loc="best")


def det_curves(axes: Axes, results: list[Result]) -> None:
    """Paint FRR over FAR on normal-deviate axes (a DET curve), one line per result."""
    from scipy.special import ndtri

    ticks = np.array([0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8])
    many = len(models_of(results)) > 1
    for place, result in enumerate(results):
        curve = result.curves["roc"]
        far, frr = np.array(curve["far"]), 1 - np.array(curve["tar"])
        inner = (far > 0) & (far < 1) & (frr > 0) & (frr < 1)
        label = (
            f"{result.model.name}, {size_label(second_size(result))}"
            if many
            else size_label(second_size(result))
        )
        axes.plot(
            ndtri(far[inner]),
            ndtri(frr[inner]),
            color=OKABE_ITO[place % 7],
            linestyle=LINES[place % 7],
            label=legend_name(label),
        )
    for axis, word in ((axes.xaxis, "FAR"), (axes.yaxis, "FRR")):
        axis.set_ticks(ndtri(ticks), [f"{100 * tick:g} %" for tick in ticks])
        axis.set_label_text(word)
    axes.set_xlim(ndtri(0.0008), ndtri(0.85))
    axes.set_ylim(ndtri(0.0008), ndtri(0.9))
    axes.legend(loc="best")


def histograms(axes: Axes, results: list[Result]) -> None:
    """Paint cosine histograms of same (filled) and different pairs (outlined), HR above the axis and the
    smallest size below it.
    """
    ends = [results[0]] if len(results) == 1 else [results[0], results[-1]]
    for turn, result in enumerate(ends):
        histogram = result.curves["histogram"]
        edges, sign = np.array(histogram["edges"]), 1 - 2 * turn
        for kind, color, fill in (("same", OKABE_ITO[0], True), ("different", OKABE_ITO[1], False)):
            counts = np.array(histogram[kind])
            density = sign * counts / max(counts.sum(), 1)
            label = f"{kind}, {size_label(second_size(result))}"
            line = "-" if turn == 0 else "--"
            axes.stairs(
                density,
                edges,
                fill=fill,
                alpha=0.55 if fill else 1.0,
                label=legend_name(label),
                color=color,
                linewidth=1.2,
                linestyle=line,
            )
    axes.axhline(0, linewidth=0.8, color=axes.xaxis.label.get_color())
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * abs(value):g} %")
    axes.set_xlabel("cosine")
    axes.set_ylabel("share of pairs")
    axes.legend(loc="best")
