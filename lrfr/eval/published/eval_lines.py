"""The ``lrfr eval`` lines that measure a model as a paper's table does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lrfr.eval.published.papers import Cell, Table, filled

Line = tuple[str, ...]

_LISTS = frozenset(
    {"lfw", "xqlfw", "cfp-fp", "cfp-ff", "agedb-30", "calfw", "cplfw"}
)  # whose scores become an accuracy
# OpenCV's linear filter, which does not widen with the scale; at 7 px other pictures than ours by default
_LINEAR = ("--interpolation", "linear", "--no-antialias")
# how each paper, or its released code, turns scores into an accuracy and makes test images small; words of a
# benchmark's own take the place of both. CATFace says neither, and MAug's small faces are made by ours.
_HOW: Mapping[str, Mapping[str, Line]] = MappingProxyType(
    {
        "fskd": {
            "lists": ("--convention", "B"),
            "shrunk": _LINEAR,
            "svhn": ("--interpolation", "cubic", "--no-antialias"),
        },
        "waveresnet": {"lists": ("--convention", "E"), "shrunk": _LINEAR},
        "btnet": {"lists": ("--convention", "A"), "shrunk": _LINEAR},
        "maug": {"lists": ("--convention", "C")},
        "catface": {},
    }
)


def eval_lines(table: Table, row: Sequence[str], name: str, changes: Sequence[str] = ()) -> list[Line]:
    """Return the ``eval`` lines of one model; ``DATA`` stands for where a benchmark's data lie.

    Args:
        table: a paper's table.
        row: its printed row that the model makes, which may name the test data.
        name: of the run folder under ``runs``.
        changes: ``KEY=VALUE`` of ``--set``.

    """
    lines = []
    for benchmark, cells in _cells(table, row).items():
        sizes = {size for cell in cells for size in (cell.sizes or [None])}
        matchings = {cell.matching for cell in cells if cell.matching}
        words = ["lrfr", "eval", f"runs/{name}", "--benchmark", benchmark, "--data", "DATA"]
        if sizes != {None}:
            words += ["--sizes", ",".join(_in_order(sizes))]
            words += ["--matching", ",".join(sorted(matchings, reverse=True))] if matchings else []
        words += _how(table, benchmark, any(isinstance(size, int) for size in sizes))
        lines.append((*words, *(word for change in changes for word in ("--set", change))))
    return lines


def _how(table: Table, benchmark: str, shrunk: bool) -> Line:
    how = _HOW[table.id.partition("-")[0]]
    listed = how.get("lists", ()) if benchmark in _LISTS else ()
    return how.get(benchmark, (*listed, *(how.get("shrunk", ()) if shrunk else ())))


def _cells(table: Table, row: Sequence[str]) -> dict[str, list[Cell]]:
    """Return the cells that one model fills, by benchmark: where rows name sizes, or the test data of the
    model's own benchmark distorted, one measurement fills them all.
    """
    found: dict[str, list[Cell]] = {}
    for cell in table.cells.values():
        own = filled(cell, table, row)
        for printed in table.rows if table.by_row else [row]:
            one = filled(cell, table, printed)
            if one is not None and own is not None and one.benchmark == own.benchmark:
                for benchmark in one.benchmarks if one.benchmark else ():
                    found.setdefault(_whole(benchmark), []).append(one)
    return found


def _in_order(sizes: set[int | str | None]) -> list[str]:
    """Return sizes as ``--sizes`` has them: the images as they are, then from large to small, then specs."""
    sides = sorted((size for size in sizes if isinstance(size, int)), reverse=True)
    specs = sorted(size for size in sizes if isinstance(size, str))
    return [*(["native"] if None in sizes else []), *map(str, sides), *specs]


def _whole(benchmark: str) -> str:
    """Return the benchmark that has a part: SCface's distances are measured at once."""
    return benchmark.partition("-d")[0] if benchmark.startswith("scface") else benchmark
