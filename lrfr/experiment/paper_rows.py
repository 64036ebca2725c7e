"""Every row of the papers' tables: which training makes it, from which data, and the commands of it.

The rows are data (``shipped/rows/*.yaml``, one file a paper); tables and their measures are those of
:mod:`lrfr.eval.published`. ``python -m lrfr.experiment.paper_rows`` writes ``docs/papers.md`` from both.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lrfr.core import strict_yaml
from lrfr.core.errors import SpecError, did_you_mean
from lrfr.eval.published.eval_lines import eval_lines
from lrfr.eval.published.papers import FAMILIES, Table, find_table
from lrfr.experiment.steps.paper_gaps import gap_lines

_HERE = Path(__file__).parent / "shipped/rows"
CITED = "cited"
Command = tuple[str, ...]


@dataclass(frozen=True)
class RowView:
    """Pairs that trainings learn from.

    Attributes:
        source: of ``make-pairs``; where the reader's data lie.
        data: which data set it is.
        spec: preset of the degradation.
        set: keys of the spec that are changed.
        size: side of HR in px.
        attributes: file of ``--attributes`` where the source has none of its own.

    """

    source: str
    data: str
    spec: str
    set: list[str] = field(default_factory=list)
    size: int = 112
    attributes: str | None = None


@dataclass(frozen=True)
class RowTraining:
    """A training: method, recipe, what is changed, and the trainings that it needs."""

    method: str
    recipe: str
    view: str
    set: dict[str, str | int | float | bool] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    step: int | None = None


@dataclass(frozen=True)
class RowRoute:
    """A model made of trainings by the size of a face."""

    at: dict[int, str]
    rest: str


@dataclass(frozen=True)
class RowFigure:
    """A figure of the paper and the command that draws ours."""

    figure: str
    shows: str
    command: str
    differs: str = ""


@dataclass(frozen=True)
class TableRows:
    """What makes each printed row of a table: ``cited``, a training, or one with ``KEY=VALUE`` for its
    measure.
    """

    rows: list[str]
    differs: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper's rows."""

    paper: str
    views: dict[str, RowView]
    trainings: dict[str, RowTraining]
    tables: dict[str, TableRows]
    figures: list[RowFigure]
    routes: dict[str, RowRoute] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One printed row and what makes it.

    Attributes:
        table: id of the table.
        label: the row's words as printed.
        training: name of the training or route; ``cited`` where the number is other people's.
        method: of ``lrfr train``; empty where the row is cited.
        recipe: of the method.
        data: what it is trained on.
        commands: from data to the row's numbers, in order.

    """

    table: str
    label: str
    training: str
    method: str = ""
    recipe: str = ""
    data: str = ""
    commands: tuple[Command, ...] = ()


@lru_cache(maxsize=8)
def paper(name: str) -> Paper:
    """Return the rows of one of the five papers.

    Raises:
        SpecError: no such paper.

    """
    from pydantic import TypeAdapter

    if name not in FAMILIES:
        raise SpecError(f"no paper '{name}'", hint=did_you_mean(name, FAMILIES))
    return TypeAdapter(Paper).validate_python(strict_yaml.load(_HERE / f"{name}.yaml").data)


def paper_rows(name: str) -> list[Row]:
    """Return every row of every table of a paper, with its commands."""
    known = paper(name)
    found = []
    for table_id, listed in known.tables.items():
        table = find_table(table_id)
        for printed, entry in zip(table.rows, listed.rows, strict=True):
            found.append(_row(known, table, printed, entry))
    return found


def _row(known: Paper, table: Table, printed: Sequence[str], entry: str) -> Row:
    label, (name, *changes) = _label(table, printed), entry.split()
    if name == CITED:
        return Row(table.id, label, CITED)
    needed = list(dict.fromkeys(_needed(known, name)))
    views = dict.fromkeys(known.trainings[one].view for one in needed if one in known.trainings)
    commands = [view_command(known, view) for view in views]
    commands += [made_by(known, one) for one in needed]
    commands += eval_lines(table, printed, name, changes)
    last = known.trainings.get(name)
    data = ", ".join(dict.fromkeys(known.views[view].data for view in views))
    method, recipe = (last.method, last.recipe) if last else ("route", "")
    return Row(table.id, label, entry, method, recipe, data, tuple(commands))


def _label(table: Table, printed: Sequence[str]) -> str:
    return ", ".join(word for word in printed[: table.labels] if word) or "-"


def _needed(known: Paper, name: str) -> Iterator[str]:
    """Yield the trainings that one needs, and it last."""
    route = known.routes.get(name)
    for other in [*route.at.values(), route.rest] if route else known.trainings[name].parents.values():
        yield from _needed(known, other)
    yield name


def view_command(known: Paper, name: str) -> Command:
    """Return the ``make-pairs`` line of a view."""
    view = known.views[name]
    sets = [word for key in view.set for word in ("--set", key)]
    size = ["--size", str(view.size)] if view.size != 112 else []
    size += ["--attributes", view.attributes] if view.attributes else []
    return ("lrfr", "make-pairs", "--source", view.source, "--spec", view.spec, *sets, *size, "--view", name)


def made_by(known: Paper, name: str) -> Command:
    """Return the ``train`` or ``route`` line of a training or route."""
    if name in known.routes:
        route = known.routes[name]
        at = [word for px, run in sorted(route.at.items()) for word in ("--at", f"{px}=runs/{run}")]
        return ("lrfr", "route", *at, "--rest", f"runs/{route.rest}", "--out", f"runs/{name}")
    one = known.trainings[name]
    words = ["lrfr", "train", one.method, "--recipe", one.recipe, "--view", one.view, "--name", name]
    for key, value in one.set.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    for role, parent in one.parents.items():
        words += ["--parent", f"{role}=runs/{parent}"]
    return (*words, *(["--step", str(one.step)] if one.step else []))


def page() -> str:
    """Return ``docs/papers.md``."""
    lines = [
        "# The papers, row by row",
        "",
        "Every table and figure of the five papers, the commands that make our number for each row, the data "
        "that they need, and what differs. This page is written by `python -m lrfr.experiment.paper_rows`; "
        "`lrfr train ls --paper fskd` lists the same. Rows marked *cited* are other people's numbers. "
        "`DATA` stands for where a benchmark's data lie ([evaluate.md](evaluate.md)); sources of views are "
        "yours ([sources.md](sources.md)). Test images are made small, and scores into an accuracy, as the "
        "paper or its code does, where that is known. None of these trainings has been run at full "
        "scale: their recipes are read by tests, and shrunk ones train. Architecture drawings have no "
        "command.",
        "",
    ]
    for name in FAMILIES:
        lines += _of_paper(name)
    return "\n".join([*lines, *gap_lines()]) + "\n"


def _of_paper(name: str) -> list[str]:
    known = paper(name)
    lines = [f"## {known.paper}", "", "Views, then trainings; parents stand above what needs them.", ""]
    for view, one in known.views.items():
        lines += [f"    {shlex.join(view_command(known, view))}  # {one.data}"]
    made = [*dict.fromkeys(one for each in known.trainings for one in _needed(known, each)), *known.routes]
    lines += [f"    {shlex.join(made_by(known, one))}" for one in made]
    lines.append("")
    for table_id, listed in known.tables.items():
        lines += _of_table(known, find_table(table_id), listed)
    if known.figures:
        lines += ["### Figures", "", "| figure | command | shows |", "|---|---|---|"]
    for figure in known.figures:
        shows = figure.shows + (f"; differs: {figure.differs}" if figure.differs else "")
        lines.append(f"| {figure.figure} | `{figure.command}` | {shows} |")
    return [*lines, *([""] if known.figures else [])]


def _of_table(known: Paper, table: Table, listed: TableRows) -> list[str]:
    lines = [f"### {table.title}", "", f"`lrfr table {table.short[0]} results/*.json`", ""]
    lines += [f"What differs: {listed.differs}.", ""] if listed.differs else []
    lines += ["| row | training |", "|---|---|"]
    examples: dict[tuple[str, ...], tuple[str, list[Command]]] = {}
    for printed, entry in zip(table.rows, listed.rows, strict=True):
        lines.append(f"| {_label(table, printed)} | {'*cited*' if entry == CITED else f'`{entry}`'} |")
        if entry != CITED:
            name, *changes = entry.split()
            how = eval_lines(table, printed, name, changes)
            examples.setdefault(tuple(line[4] for line in how), (name, how))
    for name, how in examples.values():
        whose = "Each" if len(examples) == 1 else f"Each on {how[0][4]}"
        lines += ["", f"{whose} is measured as `{name}` is:", ""]
        lines += [f"    {shlex.join(line)}" for line in how]
    return [*lines, ""]


def every_command() -> dict[Command, str]:
    """Return each command of the page once, with the paper it belongs to."""
    found = {command: name for name in FAMILIES for row in paper_rows(name) for command in row.commands}
    for name in FAMILIES:
        found |= {tuple(shlex.split(figure.command)): name for figure in paper(name).figures}
    return found


if __name__ == "__main__":
    sys.stdout.write(page())
