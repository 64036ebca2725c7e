"""``lrfr store``: look at, check and care for a pair store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.cli.pairs.store_life import forget, merge
from lrfr.cli.pairs.store_move import copy, index
from lrfr.cli.pairs.store_quality import choose, quality
from lrfr.core.errors import DataError

SHOWN_FAULTS = 20


@click.group("store", short_help="Look at, check and care for a pair store.")
def store_group() -> None:
    """Look at, check and care for a pair store.

    \b
    Examples:
      lrfr store ls
      lrfr store verify --deep
    """


@command("ls", short_help="List views, bases and degraded variants.")
@opt.store(name="root")
@opt.cache
def ls(out: Output, root: Path) -> dict[str, object]:
    """List what a store holds.

    \b
    Example:
      lrfr store ls --store store
    """
    from lrfr.pairs.care.inventory import listing

    found = listing(root)
    views = [asdict(view) for view in found.views]
    parts = [part.as_json() for part in found.parts]
    out.table(["view", "parts", "variants", "rows"], [list(view.values()) for view in views])
    out.table(["store", "kind", "rows", "shards", "MB", "views"], [list(part.values()) for part in parts])
    return {"views": views, "stores": parts}


@command("info", short_help="Show one view, base or variant in full.")
@opt.store(name="root")
@opt.cache
@click.argument("name", default="default")
def info(out: Output, root: Path, name: str) -> dict[str, object]:
    """Show one view (by name) with the files that could not be used, or one base or variant (by id).

    \b
    Example:
      lrfr store info default
    """
    from lrfr.pairs.care.view_summary import full_description

    found, faults = full_description(root, name)
    out.yaml({key: value for key, value in found.items() if key != "faults"})
    out.lines(f"refused: {fault.key}: {fault.code} {fault.reason}" for fault in faults[:SHOWN_FAULTS])
    if len(faults) > SHOWN_FAULTS:
        out.say(f"refused: {len(faults) - SHOWN_FAULTS} more, listed in {found['list_path']}")
    return found


@command("verify", short_help="Check every byte; exit 3 if one is damaged.")
@opt.store(name="root")
@opt.cache
@opt.flag("--deep", text="Also decode every record.")
def verify(out: Output, root: Path, deep: bool) -> dict[str, object]:
    """Check views, manifests, row tables, sidecars and shards against what was committed.

    \b
    Examples:
      lrfr store verify
      lrfr store verify --deep --store store
    """
    from lrfr.pairs.care.verify import unfinished
    from lrfr.pairs.store import Store

    store = Store(root)
    with out.working("verify", "folders") as hooks:
        findings = store.verify(deep, hooks)
    left = [str(folder) for folder in unfinished(store)]
    going_on = "make-pairs goes on with it, gc removes it"
    out.notes(f"unfinished (no manifest): {folder}; {going_on}" for folder in left)
    out.notes(str(finding) for finding in findings)
    if findings:
        fault = f"{len(findings)} faults, the first: {findings[0].fault}"
        raise DataError(fault, file=findings[0].file, hint="lrfr store repair")
    out.say("every byte is as it was written")
    return {"findings": [], "unfinished": left, "deep": deep}


@command("diff", short_help="Compare two stores; exit 3 if they differ.")
@click.argument("left", type=opt.STORE)
@click.argument("right", type=opt.STORE)
def diff(out: Output, left: Path, right: Path) -> dict[str, object]:
    """Compare what two stores, or two base or variant folders, hold.

    \b
    Example:
      lrfr store diff store-a store-b
    """
    from lrfr.pairs.care.inventory import diff as compare

    lines = compare(left, right)
    out.notes(lines)
    if lines:
        raise DataError(f"{len(lines)} differences, the first: {lines[0]}")
    out.say("equal")
    return {"differences": []}


@command("gc", short_help="Remove what no view uses.")
@opt.store(name="root")
@opt.dry_run("Only say what would go.")
def gc(out: Output, root: Path, dry_run: bool) -> dict[str, object]:
    """Remove bases and variants that no view names, unfinished builds and temporary files.

    \b
    Example:
      lrfr store gc --dry-run
    """
    from lrfr.pairs.care.inventory import gc as collect

    result = collect(root, dry_run)
    out.lines(f"{'would remove' if dry_run else 'removed'} {path}" for path in result.removed)
    out.say(f"{result.bytes / 1e6:.2f} MB {'could be freed' if dry_run else 'freed'}")
    return {"removed": list(result.removed), "bytes": result.bytes, "dry_run": result.dry_run}


@command("compact", short_help="Copy the parts of a grown view into one.")
@opt.store(name="root")
@click.argument("view", default="default")
def compact(out: Output, root: Path, view: str) -> dict[str, object]:
    """Copy the parts of a view into one base; id, order and pixels stay, nothing is degraded anew.

    \b
    Example:
      lrfr store compact default
    """
    from lrfr.pairs.care.compact import compact as join
    from lrfr.pairs.format.store_files import open_store

    with out.working("compact", "records") as hooks:
        done = join(open_store(root), view, hooks)
    out.notes(f"column '{name}' stays with the old parts: not all have it" for name in done.columns_left)
    out.say(f"{done.parts} parts in one: {done.copied} records copied; lrfr store gc frees the old ones")
    return {
        "view": view,
        "view_digest": done.view.id,
        "parts": done.parts,
        "copied": done.copied,
        "columns_left": list(done.columns_left),
    }


@command("repair", short_help="Write damaged shards again.")
@opt.store(name="root")
@opt.option("--source", help="The source the damaged base was made from.")
@opt.option("--align", metavar="detect|FILE", help="As given to make-pairs.")
@opt.path("--detector-weights", help="With --align detect: the detector's file of weights.")
@opt.workers("Tasks at once.", default=1)
def repair(out: Output, root: Path, source: str | None, workers: int, **words: Any) -> dict[str, object]:
    """Write every damaged shard again, byte for byte: LR from base and spec, HR from the source.

    \b
    Example:
      lrfr store repair --source faces/
    """
    from lrfr.pairs.build.ingest import IngestOptions, open_ingest, with_alignment
    from lrfr.pairs.care.repair import repair as mend
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import open_store

    taken = with_alignment(IngestOptions(cached=False), words)  # type: ignore[arg-type]
    ingest = open_ingest(source, taken) if source else None
    with out.working("repair") as hooks:
        done = asdict(mend(open_store(root), ingest, Runner(workers=workers, hooks=hooks)))
    out.lines([f"{name}: {line}" for name in done for line in done[name]] or ["nothing to repair"])
    return done


@command("export", short_help="Write folders, tars, Parquet or a .bin.")
@opt.store(name="root")
@opt.cache
@opt.option("--view", default="default", help="View to export.")
@opt.choice("--to", "form", of="folders webdataset parquet bin", required=True)
@opt.path("--out", "target", required=True, help="New folder, or file (bin).")
@opt.option("--part", default="hr", help="For bin: 'hr' or a variant such as 'fskd.v0'.")
@opt.many("--column", "columns", metavar="NAME", text="Column to take along (not for bin); repeatable.")
@opt.count("--pairs", high=10**6, help="For bin: pairs to draw; else a .bin's own, or 600.")
@opt.count("--seed", low=0, default=0, help="For bin: seed of the pairs.")
def export(out: Output, root: Path, view: str, form: str, target: Path, **choice: Any) -> dict[str, object]:
    """Take the pairs of a view out of the store; bytes leave as they lie, raw LR becomes PNG.

    \b
    Examples:
      lrfr store export --to folders --out faces-out
      lrfr store export --to bin --out hr.bin --pairs 600
    """
    from lrfr.pairs.export.formats import PairChoice
    from lrfr.pairs.store import Store

    with out.working("export") as hooks:
        chosen, columns = opt.picked(PairChoice, choice), choice["columns"]
        done = Store(root).export(target, view, form, chosen, hooks, columns=columns)
    out.say(f"{done.images} images written to {done.out}")
    return {"images": done.images, "out": str(done.out)}


@command("card", short_help="Write a data card.")
@opt.store(name="root")
@opt.cache
@click.argument("view", default="default")
@opt.path("--out", "target", help="File to write instead of the terminal.")
def card(out: Output, root: Path, view: str, target: Path | None) -> dict[str, object]:
    """Describe a view for people: sources, counts, specs, licenses, digests (Markdown).

    \b
    Example:
      lrfr store card default --out CARD.md
    """
    from lrfr.core.files import write_whole
    from lrfr.pairs.care.data_card import card as card_of
    from lrfr.pairs.format.store_files import open_store

    text = card_of(open_store(root), view)
    if target:
        write_whole(target, text.encode())
    out.say(f"written to {target}" if target else text)
    return {"card": text}


@command("columns", short_help="List the columns of numbers beside the faces.")
@opt.store(name="root")
@opt.cache
def columns(out: Output, root: Path) -> dict[str, object]:
    """List columns (written by ``lrfr.Store.write_column``) with their base, type, width, rows and size.

    \b
    Example:
      lrfr store columns --store store
    """
    from lrfr.pairs.columns.column_store import list_columns
    from lrfr.pairs.format.store_files import open_store

    lines = [asdict(line) for line in list_columns(open_store(root))]
    heads = ["name", "base", "producer", "dtype", "width", "rows", "bytes"]
    out.table(heads, [[line[head] for head in heads] for line in lines])
    return {"columns": lines}


@command("upgrade", short_help="Bring a store of an older lrfr to today's layout.")
@click.argument("place", metavar="[STORE]", required=False, type=opt.PATH)
@opt.store(name="root")
@opt.path("--to", "target", help="New folder; the old one stays.")
def upgrade(out: Output, place: Path | None, root: Path, target: Path | None) -> dict[str, object]:
    """Give every base, variant and view of an older store its id of today; bytes that agree are taken over.

    \b
    Examples:
      lrfr store upgrade --store old-store
      lrfr store upgrade --store old-store --to new-store
    """
    from lrfr.pairs.care.upgrade import upgrade as bring

    with out.working("upgrade", "records") as hooks:
        done = bring(place or root, target, hooks)
    out.lines(f"{item.kind:<5} {item.old} -> {item.new}" for item in done.renamed)
    if done.degraded:
        out.say(f"{done.degraded} images degraded anew: an op gives other pixels today")
    out.notes(f"left: {line}" for line in done.left)
    if not done.renamed and not done.left:
        out.say("nothing of an older layout here")
    return asdict(done)


_CARE = (ls, info, verify, diff, gc, compact, forget, merge, copy, index, repair, quality, choose)
for _command in (*_CARE, export, card, columns, upgrade):
    store_group.add_command(_command)
