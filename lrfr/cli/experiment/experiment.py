"""``lrfr experiment``: a declared comparison, run as a resumable plan of command lines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command

if TYPE_CHECKING:
    from lrfr.experiment.experiment import ExperimentPlan

_PLACE = "Where a place of the file lies, e.g. faces=/data/faces."
_EMBEDDED = "The same comparison, small, on embedded faces: the file's part 'embedded'."
_JOBS = "Steps side by side; they share the cores."
_RAY = "Run steps as Ray tasks, --jobs at once, here or on --ray-address."
_ADDRESS = "Address of a running Ray cluster ('auto' finds one); its nodes share the folder."


@command("experiment", short_help="Run a declared comparison: views, trainings, evaluations, one report.")
@click.argument("file", metavar="FILE.yaml")
@opt.path("--folder", help="Folder to work in [default: the experiment's name].")
@opt.many("--place", "places", metavar="NAME=PATH", text=_PLACE)
@opt.path("--teacher", help="Short for --place teacher=PATH.")
@opt.flag("--embedded", text=_EMBEDDED)
@opt.many("--without", metavar="NAME", text="Leave a part of the file out, with all that builds on it.")
@opt.plan("Show the steps and time estimates; write nothing.")
@opt.count("--jobs", default=1, help=_JOBS)
@opt.flag("--ray", text=_RAY)
@opt.option("--ray-address", help=_ADDRESS)
def experiment(
    out: Output, file: str, folder: Path | None, only_plan: bool, teacher: Path | None, **given: Any
) -> dict[str, object]:
    """Run a declared comparison as a resumable plan and write one report.

    FILE.yaml names views, trainings (with recipes and seeds) and evaluations; a shipped name such as demo
    works as well. Every step is an ordinary lrfr command line. What exists is not redone, what fails does not
    stop the rest.

    \b
    Examples:
      lrfr experiment demo --plan
      lrfr experiment my-comparison.yaml --folder results/my-comparison
      lrfr experiment lrfr-five --place faces=/data/faces --jobs 2
      lrfr experiment small-faces --place faces=/data/faces --teacher model.onnx --jobs 2
      lrfr experiment lrfr-five --embedded --jobs 2 --ray
    """
    from lrfr.experiment.experiment import Experiment

    named = (*given.pop("places"), *([f"teacher={teacher}"] if teacher else []))
    places = opt.two_sides(named, "--place", "NAME=PATH", "faces=/data/faces")
    parts = {key: given.pop(key) for key in ("embedded", "without")}
    declared = Experiment.load(file, folder, places=places, **parts)
    if only_plan:
        return show_plan(out, declared.plan())
    done = declared.run(**given, hooks=out.hooks())
    saved = done.savings
    out.notes(map(str, filter(None, [saved])))
    return done.as_json() | {"reuse": asdict(saved) if saved else None}


def show_plan(out: Output, plan: ExperimentPlan) -> dict[str, object]:
    """Print the steps with what is done already and how long each took or may take."""
    rows = [[row.step, row.state, row.seconds, row.short] for row in plan.steps]
    out.table(["step", "state", "s", "command"], rows)
    unknown = f" and {plan.without_estimate} without estimate" if plan.without_estimate else ""
    minutes = plan.estimate_s / 60
    out.say(f"{len(plan.ahead)} of {len(rows)} steps to do, about {minutes:.1f} minutes{unknown}")
    return plan.as_json()
