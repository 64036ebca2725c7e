"""``lrfr eval``: one model, one benchmark, one file of results."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError

if TYPE_CHECKING:
    from lrfr.core.registry import Registry
    from lrfr.eval.embeddings import Embed, Size
    from lrfr.eval.protocols.table import Benchmark
    from lrfr.eval.results import Model, Result
    from lrfr.eval.settings import Settings, Task


_OPTIONS = [
    click.argument("checkpoint", required=False, type=click.Path(path_type=Path)),
    click.option(
        "--benchmark",
        default="synthetic",
        show_default=True,
        help="What to run; --list names them all.",
    ),
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="The benchmark's folder or file, as distributed.",
    ),
    click.option(
        "--embedder",
        metavar="MODULE:FUNCTION",
        help="Evaluate a function of your own instead of a checkpoint.",
    ),
    click.option("--name", help="Name of the model in tables and plots (default: the checkpoint's folder)."),
    click.option(
        "--sizes",
        help="Sides in px and names or paths of specs, e.g. 112,28,14,turb; 'native' leaves images "
        "as they are.",
    ),
    click.option(
        "--matching",
        default="same,cross",
        show_default=True,
        help="same-resolution, cross-resolution, or both.",
    ),
    click.option(
        "--convention",
        default="F",
        show_default=True,
        help="How scores become an accuracy, A to F (docs/evaluate.md).",
    ),
    click.option(
        "--flip", help="none, sum, mean, norm, concat or concat-unit instead of the protocol's own."
    ),
    click.option(
        "--interpolation",
        default="bicubic",
        show_default=True,
        help="Filter that makes test images small.",
    ),
    click.option(
        "--antialias/--no-antialias",
        default=True,
        show_default=True,
        help="Widen that filter with the scale.",
    ),
    click.option("--any-folds", is_flag=True, help="Let convention E run on folds of another size than 600."),
    click.option(
        "--replicates",
        default=1000,
        show_default=True,
        help="Bootstrap replicates; 0 for no intervals.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap and of drawn splits."),
    click.option("--finetuned", default="no", show_default=True, help="no, paper or ours: for the record."),
    click.option("--template-norm", default="keep", show_default=True, help="IJB: keep (N1) or unit (N0)."),
    click.option(
        "--detector-score/--no-detector-score",
        default=True,
        help="IJB: weight by it (D1) or not (D0).",
    ),
    click.option(
        "--gallery-mean",
        default="raw",
        show_default=True,
        help="SurvFace: mean of raw or of unit features.",
    ),
    click.option(
        "--official-sweep",
        is_flag=True,
        help="SurvFace: also the published scripts' 1,000 thresholds.",
    ),
    click.option("--batch", default=64, show_default=True, help="Images per call of the model."),
    click.option("--device", default="cpu", show_default=True, help="Where a checkpoint runs."),
    click.option(
        "--cost",
        is_flag=True,
        help="Also measure images/s, and parameters and multiply-adds of a checkpoint, per size.",
    ),
    click.option(
        "--out",
        "target",
        type=click.Path(path_type=Path),
        help="Result file (default: results/NAME-BENCHMARK.json).",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Check model and data, say what would be written, write nothing.",
    ),
    click.option("--list", "list_all", is_flag=True, help="Name every benchmark and the files it needs."),
]


def _options(body: Any) -> Any:
    """Attach the options; they are many, so they stand apart from the command."""
    for option in reversed(_OPTIONS):
        body = option(body)
    return body


@command("eval", short_help="Measure a model on a benchmark.")
@_options
def evaluate(out: Output, **given: Any) -> dict[str, Any]:
    """Measure CHECKPOINT (or --embedder) on a benchmark, same- and cross-resolution, with intervals, and
    write a result file.

    Without --data the model is measured on embedded invented faces that no training uses.

    \b
    Examples:
      lrfr eval runs/fskd
      lrfr eval runs/fskd --benchmark agedb-30 --data agedb_30.bin --sizes 112,28,14 --convention B
      lrfr eval --embedder my_model:embed --benchmark pairs-tsv --data faces/splits/dev_pairs.tsv
      lrfr eval --list
    """
    from lrfr.eval.protocols.table import BENCHMARKS
    from lrfr.eval.results import write_results
    from lrfr.eval.settings import Task

    if given["list_all"]:
        return _list(out, BENCHMARKS)
    benchmark = _benchmark(given["benchmark"], given["data"], BENCHMARKS)
    settings = _settings(given)
    embed, model = chosen_model(given, benchmark.needs)
    target = given["target"] or Path("results") / f"{_file_name(model.name)}-{given['benchmark']}.json"
    if given["dry_run"]:
        out.say(f"would measure {model.name} on {given['benchmark']} ({benchmark.help}) and write {target}")
        return {"file": str(target), "benchmark": given["benchmark"], "model": model.name, "results": []}
    if given["cost"]:
        model = replace(model, cost=_cost(embed, settings))
    results = _run(out, benchmark, given["data"], Task(embed, settings, model))
    write_results(results, target)
    _show(out, results)
    out.say(f"results: {target}\nnext: lrfr report {target} --out report.html")
    return {"file": str(target), "results": [_brief(result) for result in results]}


def _cost(embed: Embed, settings: Settings) -> list[dict[str, Any]]:
    from lrfr.eval.analysis.cost import measure

    return measure(embed, [size for size in settings.sizes or (112, 56, 28, 14, 7) if isinstance(size, int)])


def _run(out: Output, benchmark: Benchmark, data: Path | None, task: Task) -> list[Result]:
    line = shlex.join(["lrfr", *click.get_current_context().find_root().obj])
    with out.progress(task.model.name) as advance:
        return [
            result | {"command": line} for result in benchmark.run(data, replace(task, on_progress=advance))
        ]


def _list(out: Output, benchmarks: Registry[Benchmark]) -> dict[str, Any]:
    for name, benchmark in benchmarks.items():
        out.say(f"{name}: {benchmark.help}")
        for line in benchmark.tree.strip().splitlines():
            out.say(f"    {line}")
    return {
        "benchmarks": {
            name: {"help": b.help, "needs": b.needs, "tree": b.tree} for name, b in benchmarks.items()
        }
    }


def _benchmark(name: str, data: Path | None, benchmarks: Registry[Benchmark]) -> Benchmark:
    found = benchmarks[name]
    if found.needs_data and data is None:
        raise SpecError(f"benchmark '{name}' needs --data", hint=f"expected tree:\n{found.tree.strip()}")
    if data is not None and not (
        data.exists() or Path(str(data).split(",")[0]).is_file()
    ):  # list.csv,root=FOLDER
        raise SpecError("no such file or folder", file=str(data))
    return found


def _settings(given: dict[str, Any]) -> Settings:
    from lrfr.eval.embeddings import LowRes
    from lrfr.eval.settings import Settings

    plain = (
        "convention",
        "flip",
        "any_folds",
        "replicates",
        "seed",
        "batch",
        "finetuned",
        "template_norm",
        "gallery_mean",
    )
    return Settings(
        sizes=sizes_of(given["sizes"]),
        matching=[word.strip() for word in given["matching"].split(",")],
        low_res=LowRes(given["interpolation"], given["antialias"]),
        detector_score=given["detector_score"],
        official_sweep=given["official_sweep"],
        **{name: given[name] for name in plain},
    )


def sizes_of(text: str | None) -> list[Size] | None:
    """Read ``112,14,turb,native``: sides in px, names or paths of specs, and images as they are."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    return [None if word == "native" else int(word) if word.isdigit() else word for word in words]


def chosen_model(given: dict[str, Any], needs: str) -> tuple[Embed, Model]:
    """Load the checkpoint or plug-in that the options name."""
    from lrfr.eval.results import Model

    if (given["checkpoint"] is None) == (given["embedder"] is None):
        raise SpecError(
            "give either a checkpoint or --embedder MODULE:FUNCTION",
            hint="lrfr train writes checkpoints below runs/",
        )
    if given["embedder"]:
        from lrfr.eval.plugin import load_plugin

        return load_plugin(given["embedder"]), Model(
            given["name"] or given["embedder"], notes=f"plug-in {given['embedder']}"
        )
    from lrfr.cli.eval.model import load_model

    return load_model(given["checkpoint"], needs=needs, device=given["device"], name=given["name"])


def _file_name(name: str) -> str:
    return (
        "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip(".-")
        or "model"
    )


def _brief(result: Result) -> dict[str, Any]:
    heavy = {"curves", "per_pair"}
    return {key: value for key, value in result.items() if key not in heavy}


def _show(out: Output, results: list[Result]) -> None:
    """Print one table per benchmark: a row for each pair of sizes, the main metrics with their intervals."""
    from lrfr.eval.report.compare import size_pair

    for name in dict.fromkeys(result["benchmark"] for result in results):
        some = [result for result in results if result["benchmark"] == name]
        metrics = list(dict.fromkeys(key for result in some for key in result["metrics"]))[:6]
        rows = [
            [size_pair(result), *[_cell(result["metrics"].get(key)) for key in metrics]] for result in some
        ]
        first = some[0]
        how = (
            [f"{first['interpolation']}, {'antialiased' if first['antialias'] else 'not antialiased'}"]
            if "interpolation" in first
            else []
        )
        how += [f"convention {first['convention']}"] if "convention" in first else []
        out.table(
            ["sizes", *metrics],
            rows,
            f"{name} ({first['protocol']}; {'; '.join([*how, 'flip ' + first.get('flip', 'none')])})",
        )
        out.say()
    if any(not body.get("resolvable", True) for result in results for body in result["metrics"].values()):
        out.say(
            "* below the smallest rate that this list can resolve: the value is that at zero false accepts"
        )


def _cell(body: dict[str, Any] | None) -> str:
    if body is None:
        return "-"
    mark = "" if body.get("resolvable", True) else "*"
    interval = body.get("interval")
    span = f" [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]" if interval else ""
    return f"{100 * body['value']:.2f}{mark}{span}"
