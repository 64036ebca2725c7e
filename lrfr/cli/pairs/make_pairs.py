"""``lrfr make-pairs``: faces and specs become a store of HR and LR shards and a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.lists import read_lines
from lrfr.core.machine import usable_cores

if TYPE_CHECKING:
    from lrfr.degrade.spec.model import Spec
    from lrfr.pairs.format.view_manifest import SourceReport

DEFAULT_SPEC = "fskd"


def _numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in text.split(",")) if text is not None else None
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers", context, option) from None


def _names(context: click.Context, option: click.Parameter, path: Path | None) -> tuple[str, ...] | None:
    return tuple(line.text for line in read_lines(path, names=True, comments=True)) if path else None


@command("make-pairs", short_help="Write an HR/LR pair store.")
@opt.option("--source", default="synthetic", help="A path, or kind:place (see --list-sources).")
@opt.flag("--list-sources", text="Show the kinds of sources, also those of packages.")
@opt.option("--spec", "specs", multiple=True, show_default=DEFAULT_SPEC, help="Spec or preset; repeatable.")
@opt.flag("--hr-only", text="Write no degraded variant.")
@opt.many("--set", "changes", metavar="PLACE=VALUE", text="Change a value of every spec.")
@opt.store()
@opt.option("--view", "name", show_default="default", help="Name of the view to write.")
@opt.option("--extend", metavar="VIEW", help="Keep this view's rows and add the source's.")
@opt.flag("--replace", text="With --extend: keys may come back with other bytes.")
@opt.option("--weights", callback=_numbers, metavar="W,W,...", help="Share of each spec in the view.")
@opt.count("--variants", high=1000, help="Draws of every spec; else its own number.")
@opt.count("--min-per-id", low=0, default=0, help="Keep identities with so many images.")
@opt.path("--ids", callback=_names, help="Keep the identities of this file, one a line.")
@opt.path("--exclude-ids", callback=_names, help="Leave out the identities of this file.")
@opt.path("--exclude-keys", callback=_names, help="Leave out the faces whose keys it holds.")
@opt.flag("--allow-forgotten", text="Take in what the store was made to forget.")
@opt.option("--split", default="", help="Keep one split of the source in the view.")
@opt.path("--split-file", help="Lines 'key<tab>split' that assign splits.")
@opt.path("--attributes", help="Table of attributes by key or identity, for any source.")
@opt.option("--holdout", type=opt.Real(0, 1, max_open=True), help="Share of identities to hold out.")
@opt.option("--align", metavar="detect|FILE", help="Find the faces, or cut by five landmarks per key.")
@opt.detection()
@opt.choice("--color", of="rgb bgr auto", default="auto", help="Channel order.")
@opt.count("--size", "size_px", low=8, high=1024, default=112, help="Side of HR crops, pixels.")
@opt.choice("--access", of="block random", default="block", help="Order of reading.")
@opt.count("--permutation-seed", "seed", low=0, high=2**63, default=0, help="Of the row order.")
@opt.flag("--traces", text="Keep the parameters drawn for every LR image in its record.")
@opt.option("--max-bad", type=opt.Real(0), help="Most faces to refuse: a share, or a count >= 1.")
@opt.flag("--strict", text="Same as --max-bad 0.")
@opt.flag("--rehash", text="Read every source file again, whatever the scan cache says.")
@opt.executor()
@opt.workers("Tasks at once; else one for each core.")
@opt.ray_address("Of a running Ray cluster ('auto' finds one).")
@opt.path("--scratch", kind=opt.FOLDER, help="Local folder to build shards in (network stores).")
@opt.plan("Write no pair: show what it takes (what the scan saw is kept).")
@opt.count("--sample", help="With --plan: look at so many faces and scale up.")
@opt.path("--sheet", kind=opt.FILE, help="With --plan: write a contact sheet PNG here.")
def make_pairs_command(out: Output, **given: Any) -> dict[str, object]:
    """Write or find everything a view needs: HR once, each degraded variant once, and the view.

    What exists already is found by its content, not made again: a second run with the same arguments degrades
    nothing. Without --source, invented faces are rendered (synthetic:ids=100,per_id=12,seed=0).

    \b
    Examples:
      lrfr make-pairs
      lrfr make-pairs --source faces/ --spec fskd --spec turb --weights 3,1 --view mixed
      lrfr make-pairs --source train.rec --spec maug --plan
      lrfr make-pairs --source photos/ --align detect
      lrfr make-pairs --extend default --source new.rec
    """
    if given["list_sources"]:
        return _list_sources(out)
    from lrfr.degrade.spec.model import load_spec
    from lrfr.pairs.build.ingest import IngestOptions, with_alignment
    from lrfr.pairs.build.look.face_search import alignment_of

    own = () if given["extend"] or given["hr_only"] else (DEFAULT_SPEC,)
    names = () if given["hr_only"] else given["specs"] or own
    specs = [load_spec(name, given["changes"]) for name in names]
    given["name"] = given["name"] or given["extend"] or "default"
    given |= {"cached": not given["rehash"], "workers": given["workers"] or usable_cores()}
    given["max_bad"] = 0.0 if given["strict"] else given["max_bad"]
    given["ingest"] = with_alignment(opt.picked(IngestOptions, given), alignment_of(given))
    return (_plan if given["only_plan"] else _make)(out, specs, given)


def _list_sources(out: Output) -> dict[str, object]:
    from lrfr.pairs.sources.table import SOURCES, example_of

    kinds = {kind: SOURCES.help(kind) for kind in SOURCES}
    rows = [[kind, text.replace("``", ""), example_of(kind)] for kind, text in kinds.items()]
    out.table(["kind", "what it reads", "--source"], rows)
    return {"sources": kinds, "examples": {kind: example_of(kind) for kind in kinds}}


@command("sources", short_help="Kinds of sources.")
@click.argument("paths", nargs=-1, type=opt.PATH)
def sources_command(out: Output, paths: tuple[Path, ...]) -> dict[str, object]:
    """List the kinds of sources with an example of each; of PATHS, say which kind each is."""
    if not paths:
        return _list_sources(out)
    from lrfr.pairs.sources.table import kind_of

    kinds = {str(path): kind_of(path) for path in paths}
    out.lines(f"{path}: {kind}" for path, kind in kinds.items())
    return {"kinds": kinds}


def _make(out: Output, specs: list[Spec], given: Mapping[str, Any]) -> dict[str, object]:
    from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import StoreFiles

    store, view = StoreFiles(given["store"]), opt.picked(ViewOptions, given)
    options = opt.picked(MakeOptions, given)
    with out.stoppable("make-pairs", "img", "shards") as hooks:
        runner = opt.picked(Runner, given, hooks=hooks)
        made = make_pairs(given["source"], specs, store=store, view=view, options=options, runner=runner)
    done, quarantine = made.done, str(store.quarantine_path(made.name))
    of = f" (of {done.stored_rows} in its parts)" if done.stored_rows != done.rows else ""
    out.say(f"view '{made.name}' in {store.root}: {done.rows} faces of {done.identities} identities{of}")
    count = len(made.variants)
    out.counts("rows", done.counts.as_json())
    out.say(f"written: {done.hr_written} HR images, {done.lr_written} degraded images in {count} variants")
    out.lines(
        f"split '{name}': {part.rows} faces of {part.identities} identities"
        for name, part in done.splits.items()
    )
    _remark(out, done.report, done.warnings)
    if done.report.refused or done.report.account.skipped:
        out.say(f"reasons: {quarantine}")
    if done.counts.gone:
        out.note(f"gone: the view showed faces that this source lacks; to keep such: --extend {made.name}")
    if not done.identities:
        out.note("no face has an identity: a folder for each person gives one; lrfr quickstart reads names")
    given_names = {"--view": (made.name, "default"), "--store": (str(given["store"]), "store")}
    words = [word for name, (value, usual) in given_names.items() if value != usual for word in (name, value)]
    if count:
        out.next_step("lrfr", "train", "fskd", *words, more="other methods: lrfr train ls")
    return made.told() | {"store": str(store.root), "quarantine": quarantine}


def _plan(out: Output, specs: list[Spec], given: Mapping[str, Any]) -> dict[str, object]:
    from lrfr.pairs.build.estimate import contact_sheet, estimate
    from lrfr.pairs.build.ingest import open_ingest
    from lrfr.pairs.build.view_file import MakeOptions, ViewOptions
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import StoreFiles

    store = StoreFiles(given["store"])
    ingest = open_ingest(given["source"], given["ingest"], store.root / "cache")
    options, view = opt.picked(MakeOptions, given), opt.picked(ViewOptions, given)
    with out.stoppable("make-pairs", "img", "shards") as hooks:
        runner = opt.picked(Runner, given, hooks=hooks)
        found = estimate(store, ingest, specs, runner, options=options, view=view, sample=given["sample"])
    rows = [[part.part, part.images, part.megabytes, part.minutes] for part in found.parts]
    out.table(["part", "images", "MB", "minutes on one core"], rows, "plan (nothing written)")
    if found.sampled:
        out.say("scaled up from {} of {} faces".format(*found.sampled))
    out.counts("rows", found.counts.as_json())
    warnings = (*ingest.warnings, *found.warnings)
    _remark(out, found.report, warnings)
    told = {**found.as_json(), "warnings": list(warnings)}
    if given["sheet"]:
        contact_sheet(store, ingest, specs, given["sheet"])
        told["sheet"] = str(given["sheet"])
    return told


def _remark(out: Output, report: SourceReport, warnings: Sequence[str]) -> None:
    out.say(f"source: {report.account.told()}")
    out.counts("remarks", dict(sorted(report.flagged.items())))
    out.notes(f"warning: {warning}" for warning in warnings)
