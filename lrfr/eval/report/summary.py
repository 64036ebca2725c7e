"""Results at a glance: one table a benchmark, a row for each pair of sizes."""

from __future__ import annotations

from collections.abc import Sequence

from lrfr.eval.report.blocks import TableBlock
from lrfr.eval.report.compare import size_pair
from lrfr.eval.results import Metric, Result

NOT_RESOLVABLE = (
    "* below the smallest rate that this list can resolve: the value is that at zero false accepts"
)
_MOST_METRICS = 6


def summaries(results: Sequence[Result]) -> list[TableBlock]:
    """Return one table per benchmark: the main metrics with their intervals, in percent."""
    return [
        _summary([result for result in results if result.benchmark == name])
        for name in dict.fromkeys(result.benchmark for result in results)
    ]


def resolvable(results: Sequence[Result]) -> bool:
    """Say whether the lists are long enough for every rate."""
    return all(found.resolvable for result in results for found in result.metrics.values())


def _summary(results: list[Result]) -> TableBlock:
    first = results[0]
    metrics = list(dict.fromkeys(key for result in results for key in result.metrics))[:_MOST_METRICS]
    rows = [
        [size_pair(result), *[value_text(result.metrics.get(key)) for key in metrics]] for result in results
    ]
    how = []
    if first.interpolation:
        how.append(f"{first.interpolation}, {'antialiased' if first.antialias else 'not antialiased'}")
    if first.convention:
        how.append(f"convention {first.convention}")
    how.append(f"flip {first.flip or 'none'}")
    return TableBlock(f"{first.benchmark} ({first.protocol}; {'; '.join(how)})", ["sizes", *metrics], rows)


def value_text(found: Metric | None) -> str:
    """Return ``94.70 [94.0, 95.4]``, in percent, starred where not resolvable."""
    if found is None:
        return "-"
    text = f"{100 * found.value:.2f}" + ("" if found.resolvable else "*")
    span = found.interval
    return f"{text} [{100 * span.low:.1f}, {100 * span.high:.1f}]" if span else text
