"""Models that differ in their seed alone, named ``NAME-s0``, ``NAME-s1``, ...: mean and spread."""

from __future__ import annotations

import re
from collections import defaultdict
from statistics import mean, stdev

from lrfr.eval.report.blocks import Section, TableBlock
from lrfr.eval.report.compare import size_pair, test_key, test_titles
from lrfr.eval.results import Result

METRICS = ("accuracy", "rank-1", "mean")


def over_seeds(results: list[Result]) -> Section | None:
    """Return a table per test with ``mean (+-deviation)`` over the seeds of each model that has several."""
    values: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    titles = test_titles(results)
    for result in results:
        found = re.fullmatch(r"(.+)-s\d+((?: \[.*\])?)", result.model.name, re.DOTALL)
        metric = next((name for name in METRICS if name in result.metrics), None)
        if found and metric:
            cell = f"{size_pair(result)}" + (", same" if result.matching == "same" else "")
            values[titles[test_key(result)], metric][found[1] + found[2]][cell].append(
                100 * result.metrics[metric].value
            )
    tables = []
    for (test, metric), models in values.items():
        several = {
            name: cells for name, cells in models.items() if any(len(values) > 1 for values in cells.values())
        }
        cells = list(dict.fromkeys(cell for model in several.values() for cell in model))
        rows = [[name, *[_text(model.get(cell, [])) for cell in cells]] for name, model in several.items()]
        tables += [TableBlock(f"{test}, {metric}", ["model", *cells], rows)] if rows else []
    text = "Mean over the runs that differ in their seed alone, with the standard deviation between them."
    return Section("Over seeds", [text], tables) if tables else None


def _text(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.2f}" + (f" (±{stdev(values):.2f})" if len(values) > 1 else "")
