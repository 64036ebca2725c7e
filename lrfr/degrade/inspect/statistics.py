"""What a recipe did to a set of faces: gate rates and histograms of parameters and of similarity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.degrade.pipeline import Trace
from lrfr.degrade.spec.model import Spec
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Choice, Law, Value

BINS = 20


def expected_rates(spec: Spec) -> dict[str, float]:
    """Return how often each op is expected to run for one image (repetitions add up)."""
    rates: dict[str, float] = {}

    def walk(steps: Sequence[Step], reach: float) -> None:
        for step in steps:
            here = reach * step.p
            if step.kind == "op":
                rates[step.id] = here
            for index, child in enumerate(step.children):
                walk([child], here * _share(step, index))

    walk(spec.steps, 1.0)
    return rates


def _share(step: Step, index: int) -> float:
    if step.kind == "one_of":
        return step.weights[index] / sum(step.weights)
    if step.kind == "some_of":
        return _mean(step.count) / len(step.children)
    return _mean(step.count) if step.kind == "steps" else 1.0


def _mean(value: Value) -> float:
    """Return the mean of a whole number, ``randint`` or ``choice``."""
    if isinstance(value, Choice):
        return float(np.average([float(option) for option in value.options], weights=value.weights))
    if isinstance(value, Law):
        return sum(value.extent()) / 2
    return float(value)


@dataclass(frozen=True)
class Spread:
    """How one quantity was spread over a run; nothing is known of it where ``n`` is 0."""

    n: int


@dataclass(frozen=True)
class Words(Spread):
    """How often each word was drawn."""

    counts: dict[str, int]


@dataclass(frozen=True)
class Numbers(Spread):
    """Smallest, mean and largest number and a histogram of :data:`BINS` bins."""

    min: float
    mean: float
    max: float
    histogram: list[int]
    edges: list[float]


@dataclass(frozen=True)
class OpSummary:
    """One op of a spec: how often it ran for one image, how often it should, and what was drawn for it."""

    id: str
    op: str
    rate: float
    expected: float
    params: dict[str, Spread]

    def row(self) -> list[str]:
        """Return its line of a table: id, op, rate, expected rate, what was drawn."""
        spans = [
            f"{key} {found.min:.3g} / {found.mean:.3g} / {found.max:.3g}"
            for key, found in self.params.items()
            if isinstance(found, Numbers) and varies(found)
        ]
        return [self.id, self.op, f"{self.rate:.3f}", f"{self.expected:.3f}", "; ".join(spans) or "-"]


@dataclass(frozen=True)
class Summary:
    """A run of ``n`` images; PSNR (in dB) and SSIM are of the enlarged result against the HR face."""

    n: int
    ops: list[OpSummary]
    psnr_db: Spread
    ssim: Spread

    def as_json(self) -> Mapping[str, object]:
        """Return the plain data of ``stats.json``."""
        return asdict(self)

    def likeness(self) -> str:
        """Return the mean PSNR and SSIM as text, empty where nothing was measured."""
        if not isinstance(self.psnr_db, Numbers) or not isinstance(self.ssim, Numbers):
            return ""
        return f"PSNR {self.psnr_db.mean:.2f} dB, SSIM {self.ssim.mean:.3f} (means)"


def summarize(traces: Sequence[Trace], spec: Spec, quality: Sequence[tuple[float, float]]) -> Summary:
    """Summarize traces.

    Args:
        traces: one for each degraded image.
        spec: the recipe (for the expected rates).
        quality: (PSNR in dB, SSIM) of each result, enlarged, against its HR image.

    """
    counts: dict[str, int] = defaultdict(int)
    drawn: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    for trace in traces:
        for step in trace.steps:
            name = step.id.split("@")[0]
            names[name] = step.op
            counts[name] += 1
            for key, value in step.params.items():
                drawn[name][key] += value if isinstance(value, list) else [value]
    ops = [
        OpSummary(
            name,
            names.get(name, name.split("/")[-1].split("#")[0]),
            counts[name] / max(1, len(traces)),
            expected,
            {key: spread_of(values) for key, values in drawn[name].items()},
        )
        for name, expected in expected_rates(spec).items()
    ]
    psnr_db, similarity = ([pair[index] for pair in quality] for index in (0, 1))
    return Summary(len(traces), ops, spread_of(psnr_db), spread_of(similarity))


def spread_of(values: Sequence[Any]) -> Spread:
    """Return min, mean, max and a histogram of numbers, or the counts of words."""
    if not values:
        return Spread(0)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        words = [str(value) for value in values]
        return Words(len(words), {word: words.count(word) for word in sorted(set(words))})
    counts, edges = np.histogram(values, bins=BINS)
    mean = float(np.mean(values))
    return Numbers(len(values), float(min(values)), mean, float(max(values)), counts.tolist(), edges.tolist())


def draw_stats(summary: Summary, path: Path, title: str) -> None:
    """Write the histograms of all drawn parameters, PSNR and SSIM as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [("result: PSNR [dB]", summary.psnr_db), ("result: SSIM", summary.ssim)]
    for op in summary.ops:
        panels += [(f"{op.id}: {key}", found) for key, found in op.params.items() if varies(found)]
    columns = 4
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for index, (label, found) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        if isinstance(found, Words):
            axes.bar(list(found.counts), list(found.counts.values()))
        elif isinstance(found, Numbers):
            axes.stairs(found.histogram, found.edges, fill=True)
        axes.set_title(label, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def varies(found: Spread) -> bool:
    """Return whether more than one value was drawn."""
    if isinstance(found, Words):
        return len(found.counts) > 1
    return isinstance(found, Numbers) and found.min != found.max
