"""``lrfr demo``: the whole house in small; one shipped experiment and what to try next."""

from __future__ import annotations

import time
from pathlib import Path

from lrfr.cli import options as opt
from lrfr.cli.experiment.experiment import show_plan
from lrfr.cli.output import Output, command

NEXT = """\
next, from here:
  lrfr degrade --spec turb.yaml --out turb             the same faces through turbulence: turb/contact.png
  lrfr experiment demo --plan                          the command lines behind this demo
  lrfr make-pairs --source my_faces/ --view mine  your faces: my_faces/<identity>/<image>.jpg, 112x112"""
_DRAWN = (
    "embedded faces are drawn, not photographs: these numbers show that everything works, not how good a "
    "method is"
)


@command("demo", short_help="The whole house in small, on embedded faces.")
@opt.path("--folder", default=Path("lrfr-demo"), help="Folder to write to.")
@opt.plan("Show the steps; write nothing.")
def demo(out: Output, folder: Path, only_plan: bool) -> dict[str, object]:
    """Embedded faces -> pairs -> HR teacher -> 14 px students with and without F-SKD -> table, contact sheet
    and page.

    Takes a few minutes on two cores; needs no data, no GPU and no network. Run it again and nothing is made
    twice.

    \b
    Examples:
      lrfr demo
      lrfr demo --folder somewhere/else
    """
    from lrfr.experiment.experiment import SHIPPED, Experiment

    shipped = Experiment.load(SHIPPED / "demo.yaml", folder)
    if only_plan:
        return show_plan(out, shipped.plan())
    start = time.monotonic()
    done = shipped.run(hooks=out.hooks())
    found = shipped.accuracies()
    rows = [[row.model, *(metric.percent() for metric in row.cells.values())] for row in found]
    out.table(["accuracy %, 112 px against", *found[0].cells], rows)
    out.say(_DRAWN)
    sheet = folder / "pictures" / "degraded" / "contact.png"
    out.say(f"\npage           {folder / 'report.html'}\ncontact sheet  {sheet}")
    out.say(f"pair store     {folder / 'store'}\ncheckpoints    {folder / 'runs'}")
    out.say(f"took {time.monotonic() - start:.0f} s\n\n{NEXT}")
    sizes = list(found[0].cells)
    table = [{"model": model, "sizes": sizes, "cells": cells} for model, *cells in rows]
    return done.as_json() | {"table": table, "contact_sheet": str(sheet)}
