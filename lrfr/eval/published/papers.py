"""The papers' tables, as data, and our numbers set beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core import strict_yaml
from lrfr.core.errors import SpecError, did_you_mean
from lrfr.eval.published.conditions import (
    fits,
    is_of_row,
    is_other_network,
    may_stand_below,
    network_remarks,
    other_conditions,
    teacher_remarks,
)

if TYPE_CHECKING:  # a list of tables needs no numpy
    from lrfr.eval.results import Result

_HERE = Path(__file__).parent
FAMILIES = ("fskd", "waveresnet", "btnet", "maug", "catface")
_NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?")
# test data of CATFace that is another's through its preset
_DISTORTED = "distorted "


@dataclass(frozen=True)
class Cell:
    """What of ours belongs into a column: one metric of a benchmark (of several: their mean), or the mean of
    other columns; ``sizes_from`` and ``benchmark_from`` name the label column that says so in each row. A
    size is a side in px or the name of a spec.

    Without ``matching`` and ``sizes`` the paper's images are as they are distributed, on both sides.
    """

    metric: str = ""
    benchmark: str | list[str] = ""
    matching: str | None = None
    sizes: list[int | str | None] | None = None
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
        hr_size: in tables whose rows name a size, that at which "Base" is the HR network; a row of a smaller
            size is one trained on LR.
        networks: backbones of ``lrfr train`` by the words of the table.
        network_column: the label column that has such a word; None where all rows are of one network.
        teacher_column: the label column that names the teacher.
        teachers: from its words to the teacher's method, where that is not ``baseline``.
        finetuned: whether the rows were trained on the benchmark's training part; None where that differs or
            there is none.
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
    hr_size: int | None = None
    networks: dict[str, str] = field(default_factory=dict)
    network_column: str | None = None
    teacher_column: str | None = None
    teachers: dict[str, str] = field(default_factory=dict)
    finetuned: bool | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def by_row(self) -> bool:
        """Whether our numbers go beside the rows (a row names the size or data set) and not below them."""
        return any(cell.sizes_from or cell.benchmark_from for cell in self.cells.values())


@dataclass(frozen=True)
class Ours:
    """One number of ours for a printed cell: its value as a fraction (None: the list is too short for such a
    rate), and how it was made.
    """

    value: float | None
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


def side_by_side(table: Table, results: Sequence[Result]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return (columns, rows, remarks): the printed table with our numbers, and how they were made.

    A number of ours stands in a column only if benchmark (as large as it is distributed), metric, matching
    and sizes are the paper's; and beside a row only if method, role and, where both are known, backbone are
    the row's. A row of our own stands below a table only where its method is none of another paper's and it
    is fine-tuned, or not, as the table's are; it says in a remark where its backbone is none of the table's,
    and who taught it. Nothing stands in for another. Models of one name, or one model under several
    conditions, have rows of their own (:func:`lrfr.eval.report.compare.told_apart`).
    """
    from lrfr.eval.report.compare import told_apart

    results = told_apart(results)
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
            own = [result for result in own if may_stand_below(table, result)]
            below = _below(table, own, differences)
            if any(below):
                differences += [*network_remarks(table, None, own), *teacher_remarks(table, own)]
                rows.append([f"ours: {name}", *[""] * (table.labels - 1), *[text or "-" for text in below]])
        for text in dict.fromkeys(differences):
            remarks.setdefault(text, []).append(name)
    return columns, rows, [f"{', '.join(names)}: {text}" for text, names in remarks.items()]


def own_lists(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return (columns, rows) of the results that no paper's table has a column for: a table of their own."""
    from lrfr.eval.report.compare import size_pair, test_key, test_titles, told_apart
    from lrfr.eval.report.summary import value_text

    known = {name for table in tables().values() for cell in table.cells.values() for name in cell.benchmarks}
    known |= {"celeba", "lfwa"}
    others = told_apart([result for result in results if result.benchmark not in known])
    titles = test_titles(others)
    rows = [
        [
            result.model.name,
            titles[test_key(result)],
            result.matching or "-",
            size_pair(result),
            name,
            value_text(found),
        ]
        for result in others
        for name, found in result.metrics.items()
        if name in {"accuracy", "rank-1", "mean"}
    ]
    return ["model", "list", "matching", "sizes", "metric", "value"], rows


def _beside(table: Table, row: list[str], results: list[Result], differences: list[str]) -> str:
    """Fill one row of a long table, if its method is the model's."""
    results = [result for result in results if is_of_row(table, row, result)]
    others = [result for result in results if is_other_network(table, row, result)]
    results = [result for result in results if result not in others]
    found = []
    for column, cell in table.cells.items():
        own = filled(cell, table, row)
        if own and any(fits(own, name, one) for name in own.benchmarks for one in others):
            differences += network_remarks(table, row, others)
        ours = lookup(own, results) if own else None
        if ours is not None:
            differences += ours.differs
            found.append(
                f"{column} {_show(ours.value, table)}" if len(table.cells) > 1 else _show(ours.value, table)
            )
    return ", ".join(found)


def filled(cell: Cell, table: Table, row: Sequence[str]) -> Cell | None:
    """Return a cell completed by the row's own labels; None where they do not say a size."""
    if cell.sizes_from:
        digits = re.search(r"\d+", row[table.columns.index(cell.sizes_from)].split(")")[-1])
        if digits is None:
            return None
        cell = replace(cell, sizes=[int(digits.group())] * 2)
    if cell.benchmark_from:
        named = row[table.columns.index(cell.benchmark_from)].lower()
        cell = replace(cell, benchmark=named.removeprefix(_DISTORTED))
        if named.startswith(_DISTORTED):
            cell = replace(cell, matching="same", sizes=["catface", "catface"])
    return cell


def _below(table: Table, results: list[Result], differences: list[str]) -> list[str]:
    """Return our cells for the value columns of a wide table."""
    found: dict[str, Ours] = {}
    for column, cell in table.cells.items():
        if cell.mean_of:
            parts = [found[name] for name in cell.mean_of if name in found]
            known = [part.value for part in parts if part.value is not None]
            # what was measured in different ways has no mean
            if len(known) == len(cell.mean_of) and len({part.differs for part in parts}) == 1:
                found[column] = Ours(sum(known) / len(known))
        elif (ours := lookup(cell, results)) is not None:
            found[column] = ours
            differences += ours.differs
    return [
        _show(found[column].value, table) if column in found else ""
        for column in table.columns[table.labels :]
    ]


def _show(value: float | None, table: Table) -> str:
    if value is None:
        return "n/a"
    return f"{value:.2f}" if table.unit == "fraction" else f"{100 * value:.2f}"


def lookup(cell: Cell, results: Sequence[Result]) -> Ours | None:
    """Return our value for a cell, or None: no other benchmark, size or matching stands in for the cell's.

    Where it names several benchmarks it is their mean, and there is none unless all of them were measured
    under the same conditions.

    Raises:
        SpecError: a benchmark was measured twice with different outcomes, so that it is open which is meant.

    """
    found = []
    for name in cell.benchmarks:
        fitting = [result for result in results if fits(cell, name, result)]
        values = {(result.metrics[cell.metric].value, other_conditions(result)) for result in fitting}
        if not fitting:
            return None
        if len(values) > 1:
            raise SpecError(
                f"{len(values)} different results of '{fitting[0].model.name}' on {name} fit one cell",
                hint="give one of them, or tell them apart by --name",
            )
        found.append(fitting[0])
    conditions = {other_conditions(result) for result in found}
    if len(conditions) > 1:
        return None
    made = found[0].metrics[cell.metric]
    parts = [result.metrics[cell.metric] for result in found]
    value = sum(part.value for part in parts) / len(parts) if all(part.resolvable for part in parts) else None
    return Ours(made.value if len(parts) == 1 and made.resolvable else value, conditions.pop())
