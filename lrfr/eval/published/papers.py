"""The papers' tables, as data, and our numbers set beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core import strict_yaml
from lrfr.core.errors import SpecError, did_you_mean

if TYPE_CHECKING:  # a list of tables needs no numpy
    from lrfr.eval.results import Result

_HERE = Path(__file__).parent
FAMILIES = ("fskd", "waveresnet", "btnet", "maug", "catface")
_NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Cell:
    """What of ours belongs into a column: one metric of a benchmark (of several: their mean), or the mean of
    other columns; ``sizes_from`` and ``benchmark_from`` name the label column that says so in each row.
    """

    metric: str = ""
    benchmark: str | list[str] = ""
    matching: str | None = None
    sizes: list[int | None] | None = None
    mean_of: list[str] = field(default_factory=list)
    sizes_from: str | None = None
    benchmark_from: str | None = None

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks' names."""
        return self.benchmark if isinstance(self.benchmark, list) else [self.benchmark]


@dataclass(frozen=True)
class Table:
    """One printed table.

    Attributes:
        id: its name, for example ``fskd-agedb-multi``.
        short: names by number, for example ``fskd-2``.
        title: what it shows.
        labels: how many leading columns name the row.
        columns: headings as printed.
        rows: cells as printed.
        cells: for each value column, what of ours belongs there.
        unit: ``percent`` or ``fraction``.
        method_column: the label column that names the method.
        methods: from that column's words to method names of ``lrfr train``.
        notes: errata and conditions.

    """

    id: str
    short: list[str]
    title: str
    labels: int
    columns: list[str]
    rows: list[list[str]]
    cells: dict[str, Cell] = field(default_factory=dict)
    unit: str = "percent"
    method_column: str | None = None
    methods: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def by_row(self) -> bool:
        """Whether our numbers go beside the rows (a row names the size or data set) and not below them."""
        return any(cell.sizes_from or cell.benchmark_from for cell in self.cells.values())


@dataclass(frozen=True)
class Ours:
    """One number of ours for a printed cell: its value as a fraction, and what differs from the paper's
    conditions.
    """

    value: float
    differs: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def tables() -> dict[str, Table]:
    """Return all tables by id, in the papers' order."""
    return {
        entry["id"]: Table(**entry | {"cells": {name: Cell(**cell) for name, cell in entry["cells"].items()}})
        for family in FAMILIES
        for entry in strict_yaml.load(_HERE / f"{family}.yaml").data
    }


def find_table(name: str) -> Table:
    """Return a table by id (``fskd-agedb-multi``) or number (``fskd-2``)."""
    known = tables()
    by_name = known | {short: table for table in known.values() for short in table.short}
    if name not in by_name:
        raise SpecError(f"unknown table '{name}'", hint=did_you_mean(name, by_name))
    return by_name[name]


def number(cell: str) -> float | None:
    """Return the leading number of a printed cell, or None for an empty one."""
    found = _NUMBER.match(cell.strip())
    return float(found.group()) if found else None


def side_by_side(table: Table, results: list[Result]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return (columns, rows, remarks): the printed table with our numbers, and what differs in their making.

    A number of ours on the same benchmark is preferred. Where there is none, one from another verification or
    identification list with the same metric, matching and sizes is shown and its difference is stated.
    """
    models = list(dict.fromkeys(result.model.name for result in results))
    rows = [list(row) for row in table.rows]
    columns = list(table.columns)
    remarks: dict[str, list[str]] = {}
    for name in models:
        own = [result for result in results if result.model.name == name]
        differences: list[str] = []
        if table.by_row:
            added = [_beside(table, row, own, differences) for row in table.rows]
            if any(added):
                columns.append(f"ours: {name}")
                rows = [[*row, text] for row, text in zip(rows, added, strict=True)]
        else:
            below = _below(table, own, differences)
            if any(below):
                rows.append([f"ours: {name}", *[""] * (table.labels - 1), *[text or "-" for text in below]])
        for text in dict.fromkeys(differences):
            remarks.setdefault(text, []).append(name)
    return columns, rows, [f"{', '.join(names)}: {text}" for text, names in remarks.items()]


def _beside(table: Table, row: list[str], results: list[Result], differences: list[str]) -> str:
    """Fill one row of a long table, if its method is the model's."""
    if table.method_column is not None:
        wanted = table.methods.get(row[table.columns.index(table.method_column)])
        # a model of unknown method is an undistilled one
        results = [result for result in results if (result.model.method or "baseline") == wanted]
    found = []
    for column, cell in table.cells.items():
        filled = _fill(cell, table, row)
        ours = lookup(filled, results) if filled else None
        if ours is not None:
            differences += ours.differs
            found.append(
                f"{column} {_show(ours.value, table)}" if len(table.cells) > 1 else _show(ours.value, table)
            )
    return ", ".join(found)


def _fill(cell: Cell, table: Table, row: list[str]) -> Cell | None:
    """Complete a cell by the row's own labels."""
    if cell.sizes_from:
        digits = re.search(r"\d+", row[table.columns.index(cell.sizes_from)].split(")")[-1])
        if digits is None:
            return None
        cell = replace(cell, sizes=[int(digits.group())] * 2)
    if cell.benchmark_from:
        cell = replace(cell, benchmark=row[table.columns.index(cell.benchmark_from)].lower())
    return cell


def _below(table: Table, results: list[Result], differences: list[str]) -> list[str]:
    """Return our cells for the value columns of a wide table."""
    values: dict[str, float] = {}
    for column, cell in table.cells.items():
        if cell.mean_of:
            parts = [values.get(name) for name in cell.mean_of]
            known = [part for part in parts if part is not None]
            if len(known) == len(parts):
                values[column] = sum(known) / len(known)
        elif (ours := lookup(cell, results)) is not None:
            values[column] = ours.value
            differences += ours.differs
    return [
        _show(values[column], table) if column in values else "" for column in table.columns[table.labels :]
    ]


def _show(value: float, table: Table) -> str:
    return f"{value:.2f}" if table.unit == "fraction" else f"{100 * value:.2f}"


def lookup(cell: Cell, results: list[Result]) -> Ours | None:
    """Return our value for a cell, the mean where it names several benchmarks, or None."""
    names = cell.benchmarks
    fitting = [result for result in results if _fits(cell, result)]
    exact = [next((result for result in fitting if result.benchmark == name), None) for name in names]
    if all(exact):
        values = [result.metrics[cell.metric].value for result in exact if result is not None]
        return Ours(sum(values) / len(values), _other_conditions(exact[0]))
    if not fitting or cell.sizes is None:
        return None  # without sizes to agree on, another data set is no analogue
    stand_in = fitting[0]
    text = f"measured on {stand_in.benchmark}, the paper's is {', '.join(names)}"
    return Ours(stand_in.metrics[cell.metric].value, (text, *_other_conditions(stand_in)))


def _fits(cell: Cell, result: Result) -> bool:
    if cell.metric not in result.metrics:
        return False
    if cell.matching is not None and result.matching != cell.matching:
        return False
    return cell.sizes is None or list(result.sizes or ()) == cell.sizes


def _other_conditions(result: Result | None) -> tuple[str, ...]:
    """Say how ours was made, since every paper differs in these."""
    if result is None:
        return ()
    words = [f"convention {result.convention}"] if result.convention else []
    words.append(f"flip {result.flip or 'none'}")
    if result.interpolation:
        words.append(f"{result.interpolation}, {'antialiased' if result.antialias else 'not antialiased'}")
    words.append(f"fine-tuned: {result.finetuned}")
    return ("; ".join(words),)
