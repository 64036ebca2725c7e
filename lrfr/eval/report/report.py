"""A report from result files alone: one structure, three forms (HTML page, Markdown, JSON).

The HTML page holds everything it shows: no link leaves it, so it can be mailed or archived.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lrfr import __version__
from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import json_of, write_whole
from lrfr.eval.report import sections
from lrfr.eval.report.blocks import Section
from lrfr.eval.report.compare import check_names, test_titles, told_apart
from lrfr.eval.report.seeds import over_seeds
from lrfr.eval.result_files import as_json, fitting_one_another
from lrfr.eval.results import Result

TITLE = "Low-resolution face recognition: results"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Report:
    """A whole report; ``made_of`` says at its foot what it was built from."""

    title: str
    sections: list[Section]
    results: list[Result]
    made_of: str = "Built from result files alone."


@dataclass(frozen=True)
class ReportOptions:
    """What a report may hold besides its results.

    Attributes:
        title: heading of the page.
        pictures: image files to embed, each with its caption (for example a contact sheet of the
            degradation).
        gains: names of the HR model and of the reference model for BTNet's relative gains.
        paired: pairs of model names for the paired tests; empty for all pairs.
        store: pair store of the views that the models were trained on: the provenance then reaches down to
            the HR files.

    """

    title: str = TITLE
    pictures: Sequence[tuple[Path, str]] = ()
    gains: tuple[str, str] | None = None
    paired: Sequence[tuple[str, str]] = ()
    store: Path | None = None


def build(results: Sequence[Result], options: ReportOptions = ReportOptions()) -> Report:
    """Arrange results, from files or straight from a protocol, into a report.

    Raises:
        DataError: there are none, or one does not agree with itself.

    """
    if not results:
        raise DataError("no results to report", hint="lrfr eval writes them")
    with fitting_one_another():
        return _arranged(told_apart(results), options)


def _arranged(results: list[Result], options: ReportOptions) -> Report:
    check_names(results, [name for names in (options.gains or (), *options.paired) for name in names])
    parts = [
        sections.compared(results),
        *(sections.one_test(key, title, results) for key, title in test_titles(results).items()),
    ]
    optional = [
        over_seeds(results),
        sections.paired_tests(results, options.paired),
        sections.gains(results, options.gains),
        sections.papers(results),
        sections.cost(results),
        sections.pictures(options.pictures),
    ]
    parts += [section for section in optional if section is not None]
    return Report(
        options.title,
        [*parts, sections.provenance(results, options.store), sections.commands(results)],
        results,
    )


def check_target(out: Path) -> None:
    """Raise SpecError unless ``out`` is a name for a page."""
    if out.suffix.lower() not in {".html", ".htm"}:
        raise SpecError("the report is an .html file", file=str(out))


def write_report(
    results: Sequence[Result], out: Path, options: ReportOptions = ReportOptions()
) -> list[Path]:
    """Write ``out`` (HTML) with ``.md`` and ``.json`` beside it, and return the three paths.

    Raises:
        SpecError: ``out`` is no ``.html`` file, or the ``.md`` or ``.json`` beside it is something else.
        DataError: there are no results, or a picture cannot be read.

    """
    check_target(out)
    report = build(results, options)
    _check_beside(out)
    made = {
        out: to_html(report),
        out.with_suffix(".md"): to_markdown(report),
        out.with_suffix(".json"): to_json(report),
    }
    for path, text in made.items():
        write_whole(path, text.encode("utf-8", "replace"))
    return list(made)


def _check_beside(out: Path) -> None:
    """Refuse to write over a ``.json`` or ``.md`` that is none of an earlier report of this name."""
    beside = [path for path in (out.with_suffix(".json"), out.with_suffix(".md")) if os.path.lexists(path)]
    try:
        told = json_of(out.with_suffix(".json"))
        if isinstance(told, dict) and {"title", "sections", "results"} == told.keys():
            return
    except (OSError, ValueError):
        pass
    if beside:
        raise SpecError(
            "a report is written here too, and what is there is none",
            file=str(beside[0]),
            hint="name another --out",
        )


def to_html(report: Report) -> str:
    """Return the self-contained page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    return environment.get_template("report.html").render(report=report, style=style, version=__version__)


_TAG, _LINK = re.compile(r"<(?=[A-Za-z/!?])"), re.compile(r"\](?=\s*[(\[:])")


def to_markdown(report: Report) -> str:
    """Return the report without its pictures."""
    lines = [f"# {as_text(report.title)}", ""]
    for section in report.sections:
        lines += [f"## {as_text(section.title)}", "", *[f"{as_text(text)}\n" for text in section.text]]
        for table in section.tables:
            lines += [
                f"**{as_text(table.caption)}**",
                "",
                _row(table.columns),
                _row(["---"] * len(table.columns)),
                *map(_row, table.rows),
                "",
            ]
        lines += [f"*{as_text(image.name)}*: {as_text(image.caption)}\n" for image in section.images]
        lines += [f"    {line}" for text in section.code for line in text.splitlines()] + (
            [""] if section.code else []
        )
    return "\n".join(lines)


def as_text(text: str) -> str:
    """Return text that Markdown shows as it is where it would be a tag, a link or a picture."""
    plain = _TAG.sub("&lt;", " ".join(text.splitlines()))
    return _LINK.sub(r"\\]", plain)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(as_text(cell).replace("|", "\\|") for cell in cells) + " |"


def to_json(report: Report) -> str:
    """Return tables and results without pictures, per-pair data and clock readings: the same results give the
    same bytes.
    """
    parts = [
        {"title": s.title, "text": s.text, "tables": [vars(table) for table in s.tables], "code": s.code}
        for s in report.sections
    ]
    light = [as_json(replace(result, seconds=None, time=None), heavy=False) for result in report.results]
    return (
        json.dumps({"title": report.title, "sections": parts, "results": light}, indent=1, allow_nan=False)
        + "\n"
    )
