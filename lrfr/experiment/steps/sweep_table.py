"""What a sweep has found: a table and a chart."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.files import write_atomic
from lrfr.eval.result_files import read_results
from lrfr.eval.results import Result
from lrfr.experiment.steps.sweep import Planned, Sweep, Value


@dataclass(frozen=True)
class Row:
    """One point of a sweep: what was varied, its training, and the metric by pair of sizes: mean and spread
    (standard deviation) over the seeds, as fractions.
    """

    point: Mapping[str, Value]
    run: str
    mean: Mapping[str, float]
    spread: Mapping[str, float]


def sweep_rows(sweep: Sweep, planned: Planned) -> list[Row]:
    """Return every point with what was measured of it.

    Raises:
        SpecError: the benchmark has no such metric.

    """
    folder, rows = planned.experiment.folder, []
    for point, run in zip(planned.points, planned.runs, strict=True):
        found: dict[str, list[float]] = {}
        for seed in sweep.seeds:
            for result in read_results([folder / "results" / f"{sweep.benchmark}-{run}-s{seed}.json"]):
                if sweep.metric not in result.metrics:
                    known = ", ".join(result.metrics)
                    raise SpecError(
                        f"no metric '{sweep.metric}' in {result.benchmark}", hint=f"it has {known}"
                    )
                found.setdefault(_cell(result), []).append(result.metrics[sweep.metric].value)
        mean = {cell: statistics.fmean(values) for cell, values in found.items()}
        spread = {cell: statistics.stdev(v) if len(v) > 1 else 0.0 for cell, v in found.items()}
        rows.append(Row(point, run, mean, spread))
    return rows


def _cell(result: Result) -> str:
    from lrfr.eval.report.compare import size_pair

    words = [result.benchmark, result.matching or "", size_pair(result) if result.sizes else ""]
    return " ".join(word for word in words if word)


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the point with the largest mean over all pairs of sizes; the first of equals."""
    measured = [row for row in rows if row.mean]
    return max(measured, key=lambda row: statistics.fmean(row.mean.values()), default=None)


def table_of(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return (columns, rows) in percent, with the mean over all pairs of sizes last."""
    cells = list(dict.fromkeys(cell for row in rows for cell in row.mean))
    keys = list(rows[0].point) if rows else []
    lines = []
    for row in rows:
        values = [f"{100 * row.mean[cell]:.2f}" if cell in row.mean else "-" for cell in cells]
        mean = f"{100 * statistics.fmean(row.mean.values()):.2f}" if row.mean else "-"
        lines.append([*(row.point[key] for key in keys), *values, mean])
    return [*keys, *cells, "mean"], lines


def write_sweep(rows: Sequence[Row], metric: str, folder: Path) -> tuple[Path, Path]:
    """Write the table (``sweep.csv``, fractions with spreads) and the chart (``sweep.png``); return both."""
    from lrfr.eval.analysis.pictures import against_values

    keys = list(rows[0].point)
    cells = list(dict.fromkeys(cell for row in rows for cell in row.mean))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "run", *(word for cell in cells for word in (cell, f"{cell} sd"))])
    for row in rows:
        numbers = [some.get(cell, "") for cell in cells for some in (row.mean, row.spread)]
        writer.writerow([*(row.point[key] for key in keys), row.run, *numbers])
    curves: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        others = ", ".join(f"{key} {row.point[key]}" for key in keys[1:])
        for cell in row.mean:
            curve = curves.setdefault(f"{cell}; {others}" if others else cell, {})
            curve[row.point[keys[0]]] = (100 * row.mean[cell], 100 * row.spread[cell])
    table, chart = folder / "sweep.csv", folder / "sweep.png"
    write_atomic(table, text.getvalue().encode(), folder)
    write_atomic(chart, against_values(curves, keys[0], f"{metric}, %"), folder)
    return table, chart


def told_best(rows: Sequence[Row]) -> str:
    """Return the best point in words, "" where nothing was measured."""
    best = best_row(rows)
    return f"best: {', '.join(f'{k}={v}' for k, v in best.point.items())} ({best.run})" if best else ""
