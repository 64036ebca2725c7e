"""``lrfr eval``: one model, one benchmark, one file of results."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command

_SIZES = "Sides in px and names or paths of specs, e.g. 112,28,14,turb; 'native' leaves images as they are."
_FLIP = "none, sum, mean, norm, concat or concat-unit instead of the protocol's own."
_ALIGN = "The pictures are photographs: 'detect' finds their faces, a FILE has landmarks per path."
_COST = "Also measure images/s, and parameters, multiply-adds and bytes of the network, per size."


@command("eval", short_help="Measure a model on a benchmark.")
@click.argument("checkpoint", required=False, type=opt.PATH)
@opt.option("--benchmark", default="synthetic", help="What to run; --list names them all.")
@opt.path("--data", help="The benchmark's folder or file, as distributed.")
@opt.option("--view", help="With --benchmark view: of --store.  [default: the model's own]")
@opt.option("--split", help="With --benchmark view: the split to measure, as test; else what the view shows.")
@opt.path("--store", kind=opt.STORE, help="With --benchmark view: the store.  [default: the model's own]")
@opt.path("--trials", help="With --benchmark view: a list of lrfr make-list, else trials are drawn.")
@opt.foreign
@opt.embedder("Evaluate a function of your own instead of a checkpoint.")
@opt.option("--name", help="Name of the model in tables and plots (default: the checkpoint's folder).")
@opt.option("--align", metavar="detect|FILE", help=_ALIGN)
@opt.detection("keep-center")
@opt.option("--sizes", help=_SIZES)
@opt.option("--matching", default="same,cross", help="same-resolution, cross-resolution, or both.")
@opt.option("--convention", default="F", help="How scores become an accuracy, A to F (docs/evaluate.md).")
@opt.option("--flip", help=_FLIP)
@opt.option("--interpolation", default="bicubic", help="Filter that makes test images small.")
@opt.option("--antialias/--no-antialias", default=True, help="Widen that filter with the scale.")
@opt.flag("--any-folds", text="Let convention E run on folds of another size than 600.")
@opt.option("--replicates", default=1000, help="Bootstrap replicates; 0 for no intervals.")
@opt.option("--seed", default=0, help="Seed of the bootstrap and of drawn splits.")
@opt.option("--finetuned", default="no", help="no, paper or ours: for the record.")
@opt.option("--template-norm", default="keep", help="IJB: keep (N1) or unit (N0).")
@opt.option("--detector-score/--no-detector-score", default=True, help="IJB: weight by it (D1) or not (D0).")
@opt.option("--gallery-mean", default="raw", help="SurvFace: mean of raw or of unit features.")
@opt.flag("--official-sweep", text="SurvFace: also the published scripts' 1,000 thresholds.")
@opt.option("--batch", default=64, help="Images per call of the model.")
@opt.device()
@opt.many("--set", "changes", metavar="KEY=VALUE", text="Use the networks otherwise, e.g. rule=near (btnet).")
@opt.flag("--cost", text=_COST)
@opt.path("--out", "target", help="Result file (default: results/NAME-BENCHMARK.json).")
@opt.dry_run("Check model and lists, say what would be written, write nothing.")
@opt.flag("--list", "list_all", text="Name every benchmark and the files it needs.")
def evaluate(
    out: Output, checkpoint: Path | None, benchmark: str, data: Path | None, **given: Any
) -> dict[str, object]:
    """Measure CHECKPOINT (or --embedder) on a benchmark, same- and cross-resolution, with intervals, and
    write a result file.

    Without --data the model is measured on embedded invented faces that no training uses.

    \b
    Examples:
      lrfr eval runs/fskd
      lrfr eval runs/fskd --benchmark agedb-30 --data agedb_30.bin --sizes 112,28,14 --convention B
      lrfr eval mobilefacenet.onnx --input-range 127/128 --benchmark agedb-30 --data agedb_30.bin
      lrfr eval --embedder my_model:embed --benchmark pairs-tsv --data faces/splits/dev_pairs.tsv
      lrfr eval runs/fskd --benchmark pairs-tsv --data photos/pairs.tsv --align detect
      lrfr eval runs/fskd --benchmark view --view default --split test
      lrfr eval --list
    """
    dry_run, target = given.pop("dry_run"), given.pop("target")
    if given.pop("list_all") or str(checkpoint) == "ls":
        return _list(out)
    from lrfr.eval.protocols.table import find_benchmark
    from lrfr.eval.result_files import as_json, results_place
    from lrfr.experiment import evaluate as room
    from lrfr.experiment.models import open_chosen
    from lrfr.experiment.own_view import ViewWish

    wanted = find_benchmark(benchmark)
    store, view, split, trials = (given.pop(key) for key in ("store", "view", "split", "trials"))
    more = {key: value for key, value in (("split", split), ("trials", trials)) if value is not None}
    data = room.view_data(benchmark, data, checkpoint, ViewWish(store, view, more), out.hooks())
    label = "-".join([benchmark, *(word for word in (view, split) if word)])
    place = room.check_data(benchmark, wanted, data)
    cost, opening = given.pop("cost"), {key: given.pop(key) for key in ("embedder", "name", "device")}
    opening["changes"] = opt.two_sides(given.pop("changes"), "--set", "KEY=VALUE", "rule=near")
    foreign = {key: given.pop(key) for key in ("input_range", "bgr", "trust_code")}
    settings = room.settings_of_words(given)
    opened = open_chosen(checkpoint, **opening, foreign=foreign, needs=wanted.needs)
    out.notes(filter(None, [room.told_input(opened)]))
    name = opened.model.name
    target = results_place(target or room.results_file(name, label))
    if dry_run:
        room.rehearse(benchmark, wanted, place, settings)
        out.say(f"would measure {name} on {benchmark} ({wanted.help}) and write {target}")
        return {"file": str(target), "benchmark": benchmark, "model": name, "results": []}
    opened = room.with_cost(opened, settings) if cost else opened
    line = shlex.join(["lrfr", *click.get_current_context().find_root().obj])
    with out.working(name) as hooks:
        results = room.measure(opened, wanted, place, settings, test=benchmark, hooks=hooks).made_by(line)
    results.save(target)
    out.say(f"{results!r}\n\nresults: {target}")
    out.next_step("lrfr", "report", target, "--out", "report.html")
    return {"file": str(target), "results": [as_json(result, heavy=False) for result in results]}


def _list(out: Output) -> dict[str, object]:
    from lrfr.eval.protocols.table import listing

    found = listing()
    for name, entry in found.items():
        out.say(f"{name}: {entry['help']}")
        out.lines(f"    {line}" for line in str(entry["tree"]).strip().splitlines())
    return {"benchmarks": found}
