"""``lrfr make-pairs``: faces and specs become a store of HR and LR shards and a view."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli.output import Output, command

if TYPE_CHECKING:
    from lrfr.core.progress import Hooks
    from lrfr.pairs.build.make import MadeView, MakeOptions
    from lrfr.pairs.build.scan import Ingest
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import StoreFiles

DEFAULT_SPEC = "fskd"


@command("make-pairs", short_help="Write an HR/LR pair store.")
@click.option(
    "--source",
    "source_text",
    default="synthetic",
    show_default=True,
    help="A path, or kind:place (see docs/store.md).",
)
@click.option(
    "--spec",
    "specs",
    multiple=True,
    help=f"Spec file or preset; may be given several times.  [default: {DEFAULT_SPEC}]",
)
@click.option("--hr-only", is_flag=True, help="Write no degraded variant.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PLACE=VALUE",
    help="Change a value of every spec, e.g. pipeline.j1.quality=50.",
)
@click.option(
    "--store",
    "store_path",
    default="store",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the store.",
)
@click.option("--view", "view_name", default="default", show_default=True, help="Name of the view to write.")
@click.option(
    "--weights", default=None, metavar="W,W,...", help="Share of each spec in the view.  [default: all alike]"
)
@click.option(
    "--variants",
    type=click.IntRange(1, 1000),
    default=None,
    help="Draws of every spec.  [default: the spec's own number]",
)
@click.option(
    "--min-per-id",
    type=click.IntRange(0),
    default=0,
    help="Keep identities with at least this many images in the view.",
)
@click.option(
    "--ids",
    type=click.Path(path_type=Path),
    default=None,
    help="File of identities to keep in the view, one a line.",
)
@click.option("--split", default="", help="Keep one split of the source in the view.")
@click.option(
    "--split-file",
    type=click.Path(path_type=Path),
    default=None,
    help="Lines 'key<tab>split' that assign splits.",
)
@click.option(
    "--align",
    "landmarks",
    type=click.Path(path_type=Path),
    default=None,
    help="Align by this file of five landmarks per key.",
)
@click.option(
    "--color",
    type=click.Choice(["rgb", "bgr", "auto"]),
    default="auto",
    show_default=True,
    help="Channel order of the source.",
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(8, 1024),
    default=112,
    show_default=True,
    help="Side of the HR crops in pixels.",
)
@click.option(
    "--access",
    type=click.Choice(["block", "random"]),
    default="block",
    show_default=True,
    help="Order the store will be read in.",
)
@click.option(
    "--permutation-seed",
    type=click.IntRange(0, 2**63),
    default=0,
    show_default=True,
    help="Seed of the order of the rows.",
)
@click.option("--traces", is_flag=True, help="Keep the parameters drawn for every LR image in its record.")
@click.option(
    "--max-bad",
    type=click.FloatRange(0),
    default=None,
    help="Most faces that may be refused: a share below 1, or a count.",
)
@click.option("--strict", is_flag=True, help="Same as --max-bad 0.")
@click.option("--rehash", is_flag=True, help="Read every source file again, whatever the scan cache says.")
@click.option(
    "--executor",
    type=click.Choice(["auto", "serial", "process", "ray"]),
    default="auto",
    show_default=True,
    help="Where work runs.",
)
@click.option(
    "--workers", type=click.IntRange(1, 4096), default=None, help="Tasks at once.  [default: all cores]"
)
@click.option("--ray-address", default=None, help="Address of a running Ray cluster ('auto' finds one).")
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Local folder to build shards in (network stores).",
)
@click.option(
    "--plan", "--dry-run", "plan_only", is_flag=True, help="Write nothing: show counts, bytes and time."
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="With --plan: write a contact sheet PNG here.",
)
def make_pairs_command(out: Output, **given: Any) -> dict[str, Any]:
    """Write or find everything a view needs: HR once, each degraded variant once, and the view.

    What exists already is found by its content, not made again: a second run with the same arguments degrades
    nothing. Without --source, invented faces are rendered (synthetic:ids=100,per_id=12,seed=0).

    \b
    Examples:
      lrfr make-pairs
      lrfr make-pairs --source faces/ --spec fskd --spec turb --weights 3,1 --view mixed
      lrfr make-pairs --source train.rec --spec maug --plan
    """
    from lrfr.core.progress import Hooks, Stopped, stop_on_signal
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.format.store_files import StoreFiles

    ingest, specs, options = _read_arguments(given)
    store = StoreFiles(given["store_path"])
    try:
        with stop_on_signal(_say_stopping) as stop, out.progress("make-pairs") as advance:
            runner = _runner(given, Hooks(advance, should_stop=stop.asked))
            if given["plan_only"]:
                result = _plan(store, ingest, specs, given, runner)
            else:
                made = make_pairs(
                    ingest, specs, store=store, view=options, options=_make_options(given), runner=runner
                )
                result = _told(made, store)
    except Stopped:
        signal.raise_signal(stop.signum)
        raise click.Abort from None  # where the signal is ignored
    result["warnings"] = list(ingest.warnings)
    _show(out, result, given)
    return result


def _say_stopping() -> None:
    click.echo("finishing the running shards; once more to stop now", err=True)


def _read_arguments(given: dict[str, Any]) -> tuple[Any, list[Any], Any]:
    """Return (ingest, specs, view options); everything is checked before anything is written."""
    from lrfr.core.lists import read_lines
    from lrfr.degrade.spec.model import load_spec
    from lrfr.pairs.build.ingest import IngestOptions, open_ingest
    from lrfr.pairs.build.make import ViewOptions

    names = () if given["hr_only"] else (given["specs"] or (DEFAULT_SPEC,))
    specs = [load_spec(name, given["overrides"]) for name in names]
    ids = tuple(line.text for line in read_lines(given["ids"])) if given["ids"] else None
    weights = _weights(given["weights"])
    options = ViewOptions(given["view_name"], weights, given["min_per_id"], ids, given["split"])
    taken = IngestOptions(
        given["size_px"],
        given["color"],
        given["landmarks"],
        given["split_file"],
        given["permutation_seed"],
        given["access"],
        not given["rehash"],
    )
    ingest = open_ingest(given["source_text"], taken)
    return ingest, specs, options


def _weights(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers", param_hint="--weights") from None


def _runner(given: dict[str, Any], hooks: Hooks) -> Runner:
    from lrfr.core.machine import usable_cores
    from lrfr.pairs.executors.dispatch import Runner

    workers = given["workers"] or usable_cores()
    address = given["ray_address"] or os.environ.get("RAY_ADDRESS")
    return Runner(given["executor"], workers, address, given["scratch"], hooks)


def _make_options(given: dict[str, Any]) -> MakeOptions:
    from lrfr.pairs.build.make import MakeOptions

    max_bad = 0.0 if given["strict"] else given["max_bad"]
    return MakeOptions(variants=given["variants"], traces=given["traces"], max_bad=max_bad)


def _told(made: MadeView, store: StoreFiles) -> dict[str, Any]:
    done = made.done
    return {
        "store": str(store.root),
        "view": made.name,
        "view_digest": made.id,
        "base": made.base,
        "rows": done.rows,
        "identities": done.identities,
        "base_rows": done.base.rows,
        "seen": done.report.seen,
        "refused": dict(done.report.refused),
        "flagged": dict(done.report.flagged),
        "actions": [variant.action for variant in made.variants],
        "hr_written": done.hr_written,
        "lr_written": done.lr_written,
        "quarantine": str(store.quarantine_path(made.name)),
    }


def _plan(
    store: StoreFiles, ingest: Ingest, specs: list[Any], given: dict[str, Any], runner: Runner
) -> dict[str, Any]:
    from lrfr.pairs.build.estimate import contact_sheet, estimate

    found = estimate(store, ingest, specs, runner, given["variants"])
    result: dict[str, Any] = found.as_json()
    if given["sheet"]:
        contact_sheet(ingest, specs, given["sheet"])
        result["sheet"] = str(given["sheet"])
    return result


def _show(out: Output, result: dict[str, Any], given: dict[str, Any]) -> None:
    if "estimate" in result:
        out.table(
            ["part", "images", "MB", "minutes on one core"],
            [list(row.values()) for row in result["estimate"]],
            "plan (nothing written)",
        )
    else:
        of = f" (of {result['base_rows']} in the base)" if result["base_rows"] != result["rows"] else ""
        out.say(
            f"view '{result['view']}' in {result['store']}: {result['rows']} faces of "
            f"{result['identities']} identities{of}"
        )
        out.say(
            f"written: {result['hr_written']} HR images, {result['lr_written']} degraded images in "
            f"{len(result['actions'])} variants"
        )
    for name, counts in (("refused", result["refused"]), ("remarks", result["flagged"])):
        if counts:
            out.say(f"{name}: " + ", ".join(f"{code} {count}" for code, count in sorted(counts.items())))
    if result["refused"] and "store" in result:
        out.say(f"reasons: {result['quarantine']}")
    for warning in result.get("warnings", []):
        out.note(f"warning: {warning}")
