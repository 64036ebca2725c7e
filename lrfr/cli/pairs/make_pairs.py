"""``lrfr make-pairs``: faces and specs become a store of HR and LR shards and a view."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lrfr.cli.output import Output, command
from lrfr.core.lists import read_lines
from lrfr.core.machine import usable_cores

if TYPE_CHECKING:
    from lrfr.core.progress import Hooks
    from lrfr.degrade.spec.model import Spec
    from lrfr.pairs.build.make import MadeView
    from lrfr.pairs.format.manifests import SourceReport

T = TypeVar("T")
DEFAULT_SPEC = "fskd"
_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_EXECUTORS = click.Choice(["auto", "serial", "process", "ray"])
_FORM = {"show_default": True}


def _numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in text.split(",")) if text is not None else None
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers", context, option) from None


def _names(context: click.Context, option: click.Parameter, path: Path | None) -> tuple[str, ...] | None:
    return tuple(line.text for line in read_lines(path)) if path else None


# the options bear the names of the fields of ViewOptions, IngestOptions, MakeOptions and Runner
@command("make-pairs", short_help="Write an HR/LR pair store.", context_settings=_FORM)
@click.option("--source", default="synthetic", help="A path, or kind:place (see --list-sources).")
@click.option("--list-sources", is_flag=True, help="Show the kinds of sources, also those of packages.")
@click.option("--spec", "specs", multiple=True, show_default=DEFAULT_SPEC, help="Spec or preset; repeatable.")
@click.option("--hr-only", is_flag=True, help="Write no degraded variant.")
@click.option("--set", "changes", multiple=True, metavar="PLACE=VALUE", help="Change a value of every spec.")
@click.option("--store", default="store", type=_PATH, help="Folder of the store.")
@click.option("--view", "name", default="default", help="Name of the view to write.")
@click.option("--weights", callback=_numbers, metavar="W,W,...", help="Share of each spec in the view.")
@click.option("--variants", type=click.IntRange(1, 1000), help="Draws of every spec; else its own number.")
@click.option("--min-per-id", type=click.IntRange(0), default=0, help="Keep identities with so many images.")
@click.option("--ids", type=_PATH, callback=_names, help="Keep the identities of this file, one a line.")
@click.option("--split", default="", help="Keep one split of the source in the view.")
@click.option("--split-file", type=_PATH, help="Lines 'key<tab>split' that assign splits.")
@click.option("--align", "landmarks", type=_PATH, help="Align by this file of five landmarks per key.")
@click.option("--color", type=click.Choice(["rgb", "bgr", "auto"]), default="auto", help="Channel order.")
@click.option(
    "--size", "size_px", type=click.IntRange(8, 1024), default=112, help="Side of HR crops, pixels."
)
@click.option("--access", type=click.Choice(["block", "random"]), default="block", help="Order of reading.")
@click.option(
    "--permutation-seed", "seed", type=click.IntRange(0, 2**63), default=0, help="Of the row order."
)
@click.option("--traces", is_flag=True, help="Keep the parameters drawn for every LR image in its record.")
@click.option("--max-bad", type=click.FloatRange(0), help="Most faces to refuse: a share, or a count >= 1.")
@click.option("--strict", is_flag=True, help="Same as --max-bad 0.")
@click.option("--rehash", is_flag=True, help="Read every source file again, whatever the scan cache says.")
@click.option("--executor", type=_EXECUTORS, default="auto", help="Where work runs.")
@click.option("--workers", type=click.IntRange(1, 4096), help="Tasks at once; else one for each core.")
@click.option("--ray-address", envvar="RAY_ADDRESS", help="Of a running Ray cluster ('auto' finds one).")
@click.option("--scratch", type=_FOLDER, help="Local folder to build shards in (network stores).")
@click.option("--plan", "--dry-run", "plan_only", is_flag=True, help="Write nothing: show what it takes.")
@click.option("--sheet", type=_FILE, help="With --plan: write a contact sheet PNG here.")
def make_pairs_command(out: Output, **given: Any) -> dict[str, object]:
    """Write or find everything a view needs: HR once, each degraded variant once, and the view.

    What exists already is found by its content, not made again: a second run with the same arguments degrades
    nothing. Without --source, invented faces are rendered (synthetic:ids=100,per_id=12,seed=0).

    \b
    Examples:
      lrfr make-pairs
      lrfr make-pairs --source faces/ --spec fskd --spec turb --weights 3,1 --view mixed
      lrfr make-pairs --source train.rec --spec maug --plan
    """
    from lrfr.degrade.spec.model import load_spec

    if given["list_sources"]:
        return _list_sources(out)
    names = () if given["hr_only"] else given["specs"] or (DEFAULT_SPEC,)
    specs = [load_spec(name, given["changes"]) for name in names]
    given |= {"cached": not given["rehash"], "workers": given["workers"] or usable_cores()}
    if given["strict"]:
        given["max_bad"] = 0.0
    return (_plan if given["plan_only"] else _make)(out, specs, given)


def _picked(kind: type[T], given: Mapping[str, Any], **more: object) -> T:
    """Return the options of one kind out of those of the command line."""
    names = [item.name for item in fields(kind) if item.name in given]  # type: ignore[arg-type]
    return kind(**{name: given[name] for name in names}, **more)


def _list_sources(out: Output) -> dict[str, object]:
    from lrfr.pairs.sources.table import SOURCES

    kinds = {kind: SOURCES.help(kind) for kind in SOURCES}
    out.table(["kind", "what it reads"], [[kind, text] for kind, text in kinds.items()])
    return {"sources": kinds}


def _make(out: Output, specs: list[Spec], given: Mapping[str, Any]) -> dict[str, object]:
    from lrfr.pairs.build.ingest import IngestOptions
    from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import StoreFiles

    store, view = StoreFiles(given["store"]), _picked(ViewOptions, given)
    options = _picked(MakeOptions, given, ingest=_picked(IngestOptions, given))
    with _stoppable(out) as hooks:
        runner = _picked(Runner, given, hooks=hooks)
        made = make_pairs(given["source"], specs, store=store, view=view, options=options, runner=runner)
    told = _told(made) | {"store": str(store.root), "quarantine": str(store.quarantine_path(made.name))}
    of = f" (of {told['base_rows']} in the base)" if told["base_rows"] != told["rows"] else ""
    out.say(
        f"view '{made.name}' in {store.root}: {told['rows']} faces of {told['identities']} identities{of}"
    )
    out.say(
        f"written: {told['hr_written']} HR images, {told['lr_written']} degraded images in "
        f"{len(made.variants)} variants"
    )
    _remark(out, made.done.report, made.done.warnings)
    if told["refused"]:
        out.say(f"reasons: {told['quarantine']}")
    return told


def _told(made: MadeView) -> dict[str, object]:
    done = made.done
    return {
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
        "warnings": list(done.warnings),
    }


def _plan(out: Output, specs: list[Spec], given: Mapping[str, Any]) -> dict[str, object]:
    from lrfr.pairs.build.estimate import contact_sheet, estimate
    from lrfr.pairs.build.ingest import IngestOptions, open_ingest
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import StoreFiles

    ingest = open_ingest(given["source"], _picked(IngestOptions, given))
    with _stoppable(out) as hooks:
        runner = _picked(Runner, given, hooks=hooks)
        found = estimate(StoreFiles(given["store"]), ingest, specs, runner, given["variants"])
    rows = [[part.part, part.images, part.megabytes, part.minutes] for part in found.parts]
    out.table(["part", "images", "MB", "minutes on one core"], rows, "plan (nothing written)")
    _remark(out, found.report, ingest.warnings)
    told = {**found.as_json(), "warnings": list(ingest.warnings)}
    if given["sheet"]:
        contact_sheet(ingest, specs, given["sheet"])
        told["sheet"] = str(given["sheet"])
    return told


def _remark(out: Output, report: SourceReport, warnings: Sequence[str]) -> None:
    for name, counts in (("refused", report.refused), ("remarks", report.flagged)):
        if counts:
            out.say(f"{name}: " + ", ".join(f"{code} {count}" for code, count in sorted(counts.items())))
    for warning in warnings:
        out.note(f"warning: {warning}")


@contextmanager
def _stoppable(out: Output) -> Iterator[Hooks]:
    """Yield hooks with progress; the first Ctrl-C or SIGTERM lets running shards finish, the second ends."""
    from lrfr.core.progress import Hooks, Stopped, stop_on_signal

    try:
        with stop_on_signal(_say_stopping) as stop, out.progress("make-pairs") as advance:
            yield Hooks(advance, out.note, stop.asked)
    except Stopped:
        signal.raise_signal(stop.signum)
        raise click.Abort from None  # where the signal is ignored


def _say_stopping() -> None:
    click.echo("finishing the running shards; once more to stop now", err=True)
