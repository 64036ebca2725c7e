"""``lrfr quickstart``: from photographs to a report, each step an ordinary command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from lrfr.cli import options as opt
from lrfr.cli.experiment.experiment import show_plan
from lrfr.cli.output import Output, command

_TEACHER = "A file of weights (.pth, .onnx, ...), a run of lrfr, 'here' to train one, or 'none'."


@command("quickstart", short_help="From photographs to a report.")
@click.argument("photos")
@opt.option("--teacher", default="here", metavar="TEACHER", help=_TEACHER)
@opt.option("--minutes", type=opt.Real(0.1), help="About how long it may take.  [default: 30]")
@opt.path("--out", "folder", default="quickstart", help="Folder of all that is made.")
@click.option("--aligned/--not-aligned", default=None, help="These are crops.  [default: look]")
@opt.plan("Show the steps and how long each may take; write nothing.")
def quickstart_command(
    out: Output, photos: str, folder: Path, only_plan: bool, **given: object
) -> dict[str, object]:
    """Align, hold people out, write pairs, train a teacher and students, measure at 112 to 7 px, report.

    PHOTOS is a folder with a folder for each person, a flat folder of ann_1.jpg, ben_1.jpg or with a list,
    aligned crops, or any kind:place (lrfr sources). Every step is a command line that works alone. Stop it
    whenever you like: the same command goes on.

    \b
    Examples:
      lrfr quickstart photos/ --teacher mobilefacenet.onnx --minutes 20
      lrfr quickstart synthetic-photos:ids=10,per_id=4 --minutes 2 --dry-run
    """
    from lrfr.experiment.first_hour.quickstart import quickstart

    first = quickstart(photos, folder, **given)  # type: ignore[arg-type]
    out.notes(first.told)
    plan = first.experiment.plan()
    if only_plan:
        return show_plan(out, plan) | first.as_json()
    out.note(f"{len(plan.ahead)} of {len(plan.steps)} steps to do, about {plan.estimate_s / 60:.0f} minutes")
    out.note(f"each step works alone, too, in its folder: cd {shlex.quote(str(folder))}")
    done = first.run(out.hooks())
    out.table(*first.table())
    out.say("all pairs are of people whom none of these networks has seen; [95 % interval]")
    out.lines(f"look at {page}" for page in first.pages)
    return done.as_json() | first.as_json()
