"""``lrfr report`` and ``lrfr table``: result files become a page; a paper's table is printed beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

_PICTURE = "Embed a picture, for example a contact sheet."
_GAINS = "Names of two models: relative gains of all others, as in BTNet."
_STORE = "Pair store: takes the provenance down to the HR files."
_PAIRED = "Test these two models against each other; without it every two."


@command("report", short_help="Make one page from result files.")
@click.argument("results", nargs=-1, required=True, type=opt.PATH)
@opt.path("--out", "target", default="report.html", help="HTML file; .md and .json go beside it.")
@click.option("--title", default="Low-resolution face recognition: results", help="Heading of the page.")
@click.option("--picture", "pictures", multiple=True, metavar="FILE=CAPTION", help=_PICTURE)
@opt.flag("--dry-run", text="Read everything, say what the page would hold, write nothing.")
@click.option("--store", type=opt.EXISTING, help=_STORE)
@click.option("--paired", multiple=True, metavar="A,B", help=_PAIRED)
@opt.option("--gains", metavar="HR,REFERENCE", help=_GAINS)
def report(out: Output, results: tuple[Path, ...], target: Path, **given: Any) -> dict[str, object]:
    """Make a self-contained HTML page (and Markdown and JSON) from RESULTS, the files that lrfr eval wrote.

    \b
    Examples:
      lrfr report results/*.json --out report.html
      lrfr report results/*.json --picture "sheet.png=what the student saw" --gains hr-teacher,multi
    """
    from lrfr.eval.report.report import ReportOptions, build, check_target, write_report
    from lrfr.eval.result_files import read_results

    check_target(target)
    gains = given["gains"]
    given["pictures"] = [_picture(text) for text in given["pictures"]]
    given["gains"] = _two(gains, "--gains", "HR_MODEL,REFERENCE_MODEL") if gains else None
    given["paired"] = [_two(words, "--paired", "MODEL_A,MODEL_B") for words in given["paired"]]
    options = opt.picked(ReportOptions, given)
    loaded = read_results(results)
    if given["dry_run"]:
        titles = [section.title for section in build(loaded, options).sections]
        out.say(f"would write {target} with: {', '.join(titles)}")
        return {"files": [], "sections": titles}
    made = write_report(loaded, target, options)
    out.say(f"wrote {', '.join(str(path) for path in made)}")
    return {"files": [str(path) for path in made]}


def _two(words: str, name: str, example: str) -> tuple[str, str]:
    names = [word.strip() for word in words.split(",")]
    if len(names) != 2:
        raise SpecError(f"{name} takes two names, not {len(names)}", hint=f"{name} {example}")
    return names[0], names[1]


def _picture(text: str) -> tuple[Path, str]:
    path, _, caption = text.partition("=")
    return Path(path), caption or Path(path).stem


@command("table", short_help="Print a paper's table beside ours.")
@click.argument("name", required=False)
@click.argument("results", nargs=-1, type=opt.PATH)
def table(out: Output, name: str | None, results: tuple[Path, ...]) -> dict[str, object]:
    """Print the table NAME of a paper, with our numbers where RESULTS have them; without NAME, list the
    tables.

    \b
    Examples:
      lrfr table
      lrfr table fskd-2
      lrfr table btnet-1 results/*.json
    """
    from lrfr.eval.published.papers import find_table, own_lists, side_by_side, tables

    if name is None:
        rows = [[", ".join(entry.short), entry.id, entry.title] for entry in tables().values()]
        out.lines(f"{row[0]:<18} {row[1]:<22} {row[2]}" for row in rows)
        return {"tables": rows}
    from lrfr.eval.result_files import read_results

    found = find_table(name)
    columns, lines, remarks = side_by_side(found, loaded := read_results(results))
    headings, own = own_lists(loaded)
    out.table(columns, lines, f"{found.id}: {found.title}")
    out.lines([*(f"note: {note}" for note in found.notes), *(f"ours, {remark}" for remark in remarks)])
    if own:
        out.table(headings, own, "\nlists of your own, in no column of a paper")
    about = {"id": found.id, "title": found.title, "notes": found.notes}
    return {**about, "columns": columns, "rows": lines, "ours": remarks, "own_lists": own}
