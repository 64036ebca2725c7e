"""``lrfr demo``: the whole house in small; one shipped experiment and what to try next."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from lrfr.cli.experiment import SHIPPED, run_steps, show_plan
from lrfr.cli.output import Output, command
from lrfr.experiment.declare import Experiment, load_experiment
from lrfr.experiment.plan import plan
from lrfr.experiment.runner import StepRunner

NEXT = """\
next, from here:
  lrfr degrade --spec turb.yaml --out turb             the same faces through turbulence: turb/contact.png
  lrfr experiment demo --plan                          the command lines behind this demo
  lrfr make-pairs --source my_faces/ --view mine  your faces: my_faces/<identity>/<image>.jpg, 112x112"""


@command("demo", short_help="The whole house in small, on embedded faces.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("lrfr-demo"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--plan", "--dry-run", "only_plan", is_flag=True, help="Show the steps; write nothing.")
def demo(out: Output, folder: Path, only_plan: bool) -> dict[str, Any]:
    """Embedded faces -> pairs -> HR teacher -> 14 px students with and without F-SKD -> table, contact sheet
    and page.

    Takes a few minutes on two cores; needs no data, no GPU and no network. Run it again and nothing is made
    twice.

    \b
    Examples:
      lrfr demo
      lrfr demo --folder somewhere/else
    """
    declared = load_experiment(SHIPPED / "demo.yaml")
    steps = plan(declared)
    runner = StepRunner(folder)
    if only_plan:
        return show_plan(out, runner, steps)
    start = time.monotonic()
    result = run_steps(out, runner, steps)
    rows = table_rows(folder, declared)
    out.table(
        ["accuracy %, 112 px against", *rows[0]["sizes"]], [[row["model"], *row["cells"]] for row in rows]
    )
    out.say(
        "embedded faces are drawn, not photographs: these numbers show that everything works, not how good "
        "a method is"
    )
    sheet = folder / "pictures" / "degraded" / "contact.png"
    out.say(f"\npage           {folder / 'report.html'}\ncontact sheet  {sheet}")
    out.say(f"pair store     {folder / 'store'}\ncheckpoints    {folder / 'runs'}")
    out.say(f"took {time.monotonic() - start:.0f} s\n\n{NEXT}")
    return {**result, "table": rows, "contact_sheet": str(sheet)}


def table_rows(folder: Path, declared: Experiment) -> list[dict[str, Any]]:
    """Read the cross-resolution accuracies of every trained model from the result files."""
    rows = []
    for evaluation in declared.evaluations:
        for name, training in declared.trainings.items():
            file = folder / "results" / f"{evaluation}-{name}-s{training.seeds[0]}.json"
            results = json.loads(file.read_text("utf-8"))["results"]
            cross = [item for item in results if item["matching"] == "cross"]
            cells = [_cell(item["metrics"]["accuracy"]) for item in cross]
            rows.append(
                {"model": name, "sizes": [f"{item['sizes'][1]} px" for item in cross], "cells": cells}
            )
    return rows


def _cell(metric: dict[str, Any]) -> str:
    interval = metric["interval"]
    spread = f" [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]" if interval else ""
    return f"{100 * metric['value']:.1f}{spread}"
