"""``lrfr quickstart``: from photographs to a report, each step an ordinary command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from lrfr.cli import options as opt
from lrfr.cli.experiment import outcome_json, show_plan
from lrfr.cli.output import Output, command

_TEACHER = "A file of weights (.onnx, .safetensors), a run of lrfr, 'here' to train one, or 'none'."
_ALIGNED = "Say whether these are aligned crops.  [default: look]"


@command("quickstart", short_help="From photographs to a report.")
@click.argument("photos")
@opt.option("--teacher", default="here", metavar="TEACHER", help=_TEACHER)
@opt.option("--minutes", type=click.FloatRange(0.1), help="About how long it may take.  [default: 30]")
@opt.path("--out", "folder", default="quickstart", help="Folder of all that is made.")
@click.option("--aligned/--not-aligned", default=None, help=_ALIGNED)
@opt.plan("Show the steps and how long each may take; write nothing.")
def quickstart_command(
    out: Output, photos: str, folder: Path, only_plan: bool, **given: object
) -> dict[str, object]:
    """Go the whole way: align, hold people out, write pairs, train a teacher and students, measure at 112,
    28, 14 and 7 px, report.

    PHOTOS is a folder with a folder for each person, a flat folder of ann_1.jpg, ben_1.jpg or with a list,
    aligned crops, or any kind:place (lrfr sources). Every step is a command line that is shown and works
    alone. Stop it whenever you like: the same command goes on.

    \b
    Examples:
      lrfr quickstart photos/
      lrfr quickstart photos/ --teacher mobilefacenet.onnx --minutes 20
      lrfr quickstart synthetic-photos:ids=10,per_id=4 --minutes 2 --dry-run
    """
    from lrfr.experiment.first_hour.quickstart import quickstart

    first = quickstart(photos, folder, **given)  # type: ignore[arg-type]
    look, sides, note = first.look, first.plan.sides, out.note
    kind = "aligned crops: nothing to align" if look.aligned else "photographs: to be aligned"
    note(f"{len(look.faces)} pictures of {len(look.people)} people, told by {look.form}; {kind}")
    note(f"{len(sides.learn)} people to learn from ({sides.learn_faces} pictures)")
    note(f"{len(sides.held)} people to measure on ({sides.held_faces} pictures): --holdout {sides.share:g}")
    out.notes(f"note: {remark}" for remark in first.plan.remarks)
    told = {"remarks": list(first.plan.remarks), "people": len(look.people), "pictures": len(look.faces)}
    told |= {"aligned": look.aligned, "holdout": sides.share}
    plan = first.experiment.plan()
    if only_plan:
        return show_plan(out, plan) | told
    note(f"{len(plan.ahead)} of {len(plan.steps)} steps to do, about {plan.estimate_s / 60:.0f} minutes")
    note(f"each step works alone, too, in its folder: cd {shlex.quote(str(folder))}")
    done = first.run(out.hooks())
    columns, rows = first.table()
    out.table(columns, rows)
    out.say("all pairs are of people whom none of these networks has seen; [95 % interval]")
    out.lines(f"look at {page}" for page in first.pages)
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    return outcome_json(done) | told | {"table": table, "look_at": [str(page) for page in first.pages]}
