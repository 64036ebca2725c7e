"""``lrfr sweep``: one training for each point of a grid over options, one table, one chart."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.experiment.experiment import show_plan
from lrfr.cli.output import Output, command


@command("sweep", short_help="Train a grid of options and compare them in one table and one chart.")
@click.argument("method")
@opt.many("--over", metavar="KEY=V,V,...", text="Values of a key; of several keys every combination.")
@opt.flag("--paired", text="First values together, second together, ..., in place of all combinations.")
@opt.option("--recipe", default="tiny", help="A shipped recipe or a YAML file.")
@opt.many("--set", metavar="KEY=VALUE", text="Change a key of all trainings.")
@opt.many("--parent", "parents", metavar="ROLE=RUN", text="Use this run, e.g. teacher=runs/big.")
@opt.store()
@opt.option("--view", default="default", help="View to train on.")
@opt.option("--seeds", default="0", help="Of every point, e.g. 0,1,2.")
@opt.device()
@opt.option("--benchmark", default="synthetic", help="What chooses; see lrfr eval --list.")
@opt.path("--data", help="The benchmark's folder or file, as distributed.")
@opt.option("--split", help="With --benchmark view: the split to measure.")
@opt.option("--sizes", help="Sides in px, e.g. 112,28,14.")
@opt.option("--metric", default="accuracy", help="Of the benchmark.")
@opt.path("--folder", help="Folder to work in.  [default: sweeps/METHOD]")
@opt.count("--jobs", default=1, help="Steps side by side; they share the cores.")
@opt.plan("Show the steps; write nothing.")
def sweep_command(out: Output, method: str, **given: Any) -> dict[str, object]:
    """Train METHOD for each combination of values and compare; other sweeps of the folder share trainings.

    \b
    Examples:
      lrfr sweep fskd --over lambda=1,5,20
      lrfr sweep fskd --over lambda=1,5 --over distance=cosine,fitnet --parent teacher=runs/teacher
    """
    from lrfr.experiment.steps import sweep as room
    from lrfr.experiment.steps import sweep_table as shown

    for name, option in (("over", "--over"), ("set", "--set"), ("parents", "--parent")):
        given[name] = opt.two_sides(given[name], option, "KEY=VALUE", "lambda=5")
    sweep = room.Sweep.of_words(method, given)
    planned = room.plan_sweep(sweep, given["folder"] or Path("sweeps") / method)
    if given["only_plan"]:
        return show_plan(out, planned.experiment.plan()) | {"points": list(map(dict, planned.points))}
    done = room.run_sweep(planned, jobs=given["jobs"], hooks=out.hooks())
    rows = shown.sweep_rows(sweep, planned)
    files = list(map(str, shown.write_sweep(rows, sweep.metric, done.folder)))
    out.table(*shown.table_of(rows), f"{sweep.metric}, %")
    out.lines([shown.told_best(rows), *files])
    best = shown.best_row(rows)
    return done.as_json() | {"rows": list(map(asdict, rows)), "best": best and best.point, "files": files}
