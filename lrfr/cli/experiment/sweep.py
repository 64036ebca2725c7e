"""``lrfr sweep``: one training for each point of a grid over options, one table, one chart."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.experiment.experiment import show_plan
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

_OVER = "Values of a key, e.g. lambda=1,5,20; of several keys every combination."


@command("sweep", short_help="Train a grid of options and compare them in one table and one chart.")
@click.argument("method")
@opt.many("--over", "varied", metavar="KEY=V,V,...", text=_OVER)
@opt.flag("--paired", text="First values together, second together, ..., in place of all combinations.")
@opt.option("--recipe", default="tiny", help="A shipped recipe or a YAML file.")
@opt.many("--set", "fixed", metavar="KEY=VALUE", text="Change a key of all trainings.")
@opt.many("--parent", "parents", metavar="ROLE=RUN", text="Use this run, e.g. teacher=runs/big.")
@opt.store()
@opt.option("--view", default="default", help="View to train on.")
@opt.option("--seeds", default="0", help="Of every point, e.g. 0,1,2.")
@opt.training_device()
@opt.option("--benchmark", default="synthetic", help="What chooses; see lrfr eval --list.")
@opt.path("--data", help="The benchmark's folder or file, as distributed.")
@opt.option("--split", help="With --benchmark view: the split to measure.")
@opt.option("--sizes", help="Sides in px, e.g. 112,28,14.")
@opt.option("--metric", default="accuracy", help="Of the benchmark.")
@opt.path("--folder", help="Folder to work in.  [default: sweeps/METHOD]")
@opt.count("--jobs", default=1, help="Steps side by side; they share the cores.")
@opt.plan("Show the steps; write nothing.")
def sweep_command(out: Output, method: str, folder: Path | None, **given: Any) -> dict[str, object]:
    """Train METHOD once for each combination of values, measure each, and write sweep.csv, sweep.png and a
    report.

    It is a declared experiment: every step is a command line, what is done is kept, what fails does not stop
    the rest. A training is known by its whole recipe, so that a second sweep in the folder takes what the
    first one trained, and values of a default are the default's run.

    \b
    Examples:
      lrfr sweep fskd --over lambda=1,5,20
      lrfr sweep fskd --over lambda=1,5 --over distance=cosine,fitnet --parent teacher=runs/teacher --jobs 2
      lrfr sweep maug --recipe paper --view m112 --over lambda=0.1,1,3,5,7,10 --benchmark lfw --data lfw.bin
    """
    from lrfr.experiment.steps.sweep import best_row, plan_sweep, run_sweep, sweep_rows, table_of, write_sweep

    sweep = _sweep(method, given)
    planned = plan_sweep(sweep, folder or Path("sweeps") / method)
    if given["only_plan"]:
        return show_plan(out, planned.experiment.plan()) | {"points": [dict(one) for one in planned.points]}
    done = run_sweep(planned, jobs=given["jobs"], hooks=out.hooks())
    rows = sweep_rows(sweep, planned)
    files = [str(file) for file in write_sweep(rows, sweep.metric, done.folder)]
    best = best_row(rows)
    out.table(*table_of(rows), f"{sweep.metric}, %")
    out.say(f"best: {', '.join(f'{k}={v}' for k, v in best.point.items())} ({best.run})" if best else "")
    out.lines(files)
    return done.as_json() | {
        "rows": [asdict(row) for row in rows],
        "best": dict(best.point) if best else None,
        "files": files,
    }


def _sweep(method: str, given: dict[str, Any]) -> Any:
    """Return what the options ask for."""
    from lrfr.experiment.steps.sweep import Sweep

    over = opt.two_sides(given["varied"], "--over", "KEY=VALUE,VALUE,...", "lambda=1,5,20")
    if len(over) < len(given["varied"]):
        raise SpecError("a key is varied twice", hint="--over lambda=1,5,20")
    if not re.fullmatch(r"\d+(,\d+)*", given["seeds"]):
        raise SpecError(f"--seeds takes numbers, got '{given['seeds']}'", hint="--seeds 0,1,2")
    data = str(given["data"].absolute()) if given["data"] else None
    own = {"store": str(Path(given["store"]).absolute()), "view": given["view"], "split": given["split"]}
    measure = {"data": data, "sizes": given["sizes"], **(own if given["benchmark"] == "view" else {})}
    return Sweep(
        method,
        {key: _values(text) for key, text in over.items()},
        given["recipe"],
        given["paired"],
        opt.two_sides(given["fixed"], "--set", "KEY=VALUE", "train.lr=0.05"),
        opt.two_sides(given["parents"], "--parent", "ROLE=RUN", "teacher=runs/teacher"),
        given["view"],
        str(given["store"]),
        [int(seed) for seed in dict.fromkeys(given["seeds"].split(","))],
        {"device": given["device"]} if given["device"] else {},
        given["benchmark"],
        {key: value for key, value in measure.items() if value},
        given["metric"],
    )


def _values(text: str) -> list[str]:
    """Split at commas outside brackets."""
    values, depth = [""], 0
    for letter in text:
        depth += (letter in "[{(") - (letter in ")}]")
        if letter == "," and not depth:
            values.append("")
        else:
            values[-1] += letter
    return list(dict.fromkeys(value.strip() for value in values if value.strip()))
