"""``lrfr store``: look at, check and care for a pair store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command

SHOWN_FAULTS = 20
_PATH = click.Path(path_type=Path)
_STORE = click.option(
    "--store", "root", default="store", show_default=True, type=_PATH, help="Folder of the store."
)
_DEFAULTS = {"show_default": True}


@click.group("store", short_help="Look at, check and care for a pair store.")
def store_group() -> None:
    """Look at, check and care for a pair store.

    \b
    Examples:
      lrfr store ls
      lrfr store verify --deep
    """


@command("ls", short_help="List views, bases and degraded variants.")
@_STORE
def ls(out: Output, root: Path) -> dict[str, object]:
    """List what a store holds.

    \b
    Example:
      lrfr store ls --store store
    """
    from lrfr.pairs.care.inventory import listing

    found = listing(root)
    views = [asdict(view) for view in found.views]
    parts = [
        {
            "id": part.id,
            "kind": part.kind,
            "rows": part.rows,
            "shards": part.shards,
            "MB": round(part.bytes / 1e6, 2),
            "views": ", ".join(part.views) or "-",
        }
        for part in found.parts
    ]
    out.table(["view", "base", "variants", "rows"], [list(view.values()) for view in views])
    out.table(["store", "kind", "rows", "shards", "MB", "views"], [list(part.values()) for part in parts])
    return {"views": views, "stores": parts}


@command("info", short_help="Show one view, base or variant in full.")
@_STORE
@click.argument("name", default="default")
def info(out: Output, root: Path, name: str) -> dict[str, Any]:
    """Show one view (by name) with the files that could not be used, or one base or variant (by id).

    \b
    Example:
      lrfr store info default
    """
    from lrfr.pairs.care.inventory import bytes_of, describe
    from lrfr.pairs.care.view_summary import summarize
    from lrfr.pairs.format.manifests import View
    from lrfr.pairs.format.store_files import open_store

    described = describe(root, name)
    found = asdict(described)
    found["digest"] = found.pop("sealed")
    if isinstance(described, View):
        summary = summarize(open_store(root), name)
        told = asdict(summary)
        del told["view"]
        found |= {**told, "list_path": str(summary.list_path or ""), "view_digest": described.id}
    else:
        found |= {"shards": len(described.shards), "bytes": bytes_of(described.shards)}
    faults = found.get("faults", ())
    for key, value in found.items():
        if key != "faults":
            out.say(f"{key:<16} {value}")
    for fault in faults[:SHOWN_FAULTS]:
        out.say(f"refused: {fault['key']}: {fault['code']} {fault['reason']}")
    if len(faults) > SHOWN_FAULTS:
        out.say(f"refused: {len(faults) - SHOWN_FAULTS} more, listed in {found['list_path']}")
    return found


@command("verify", short_help="Check every byte; exit 3 if one is damaged.")
@_STORE
@click.option("--deep", is_flag=True, help="Also decode every record.")
def verify(out: Output, root: Path, deep: bool) -> dict[str, object]:
    """Check views, manifests, row tables, sidecars and shards against what was committed.

    \b
    Examples:
      lrfr store verify
      lrfr store verify --deep --store store
    """
    from lrfr.core.errors import DataError
    from lrfr.core.progress import Hooks
    from lrfr.pairs.care.verify import unfinished
    from lrfr.pairs.care.verify import verify as check
    from lrfr.pairs.format.store_files import open_store

    store = open_store(root)
    with out.progress("verify", "folders") as advance:
        findings = check(store, deep, Hooks(advance))
    left = [str(folder) for folder in unfinished(store)]
    for folder in left:
        out.note(f"unfinished (no manifest): {folder}; make-pairs goes on with it, gc removes it")
    for finding in findings:
        out.note(": ".join(part for part in (finding.file, finding.place, finding.fault) if part))
    if findings:
        fault = f"{len(findings)} faults, the first: {findings[0].fault}"
        raise DataError(fault, file=findings[0].file, hint="lrfr store repair")
    out.say("every byte is as it was written")
    return {"findings": [], "unfinished": left, "deep": deep}


@command("diff", short_help="Compare two stores; exit 3 if they differ.")
@click.argument("left", type=_PATH)
@click.argument("right", type=_PATH)
def diff(out: Output, left: Path, right: Path) -> dict[str, object]:
    """Compare what two stores, or two base or variant folders, hold.

    \b
    Example:
      lrfr store diff store-a store-b
    """
    from lrfr.core.errors import DataError
    from lrfr.pairs.care.inventory import diff as compare

    lines = compare(left, right)
    for line in lines:
        out.note(line)
    if lines:
        raise DataError(f"{len(lines)} differences, the first: {lines[0]}")
    out.say("equal")
    return {"differences": []}


@command("gc", short_help="Remove what no view uses.")
@_STORE
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def gc(out: Output, root: Path, dry_run: bool) -> dict[str, object]:
    """Remove bases and variants that no view names, unfinished builds and temporary files.

    \b
    Example:
      lrfr store gc --dry-run
    """
    from lrfr.pairs.care.inventory import gc as collect

    result = collect(root, dry_run)
    for path in result.removed:
        out.say(f"{'would remove' if dry_run else 'removed'} {path}")
    out.say(f"{result.bytes / 1e6:.2f} MB {'could be freed' if dry_run else 'freed'}")
    return {"removed": list(result.removed), "bytes": result.bytes, "dry_run": result.dry_run}


@command("repair", short_help="Write damaged shards again.")
@_STORE
@click.option("--source", help="The source the damaged base was made from.")
@click.option("--align", "landmarks", type=_PATH, help="As given to make-pairs.")
@click.option("--workers", type=click.IntRange(1, 4096), default=1, show_default=True, help="Tasks at once.")
def repair(
    out: Output, root: Path, source: str | None, landmarks: Path | None, workers: int
) -> dict[str, object]:
    """Write every damaged shard again, byte for byte: LR from base and spec, HR from the source.

    \b
    Example:
      lrfr store repair --source faces/
    """
    from lrfr.core.progress import Hooks
    from lrfr.pairs.build.ingest import IngestOptions, open_ingest
    from lrfr.pairs.care.repair import repair as mend
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.store_files import open_store

    store = open_store(root)
    ingest = open_ingest(source, IngestOptions(landmarks=landmarks, cached=False)) if source else None
    with out.progress("repair") as advance:
        done = asdict(mend(store, ingest, Runner(workers=workers, hooks=Hooks(advance))))
    for title, lines in done.items():
        for line in lines:
            out.say(f"{title}: {line}")
    if not any(done.values()):
        out.say("nothing to repair")
    return done


@command("export", short_help="Write folders, WebDataset tars or a .bin.", context_settings=_DEFAULTS)
@_STORE
@click.option("--view", default="default", help="View to export.")
@click.option("--to", "form", type=click.Choice(["folders", "webdataset", "bin"]), required=True)
@click.option("--out", "target", type=_PATH, required=True, help="New folder, or file (bin).")
@click.option("--part", default="hr", help="For bin: 'hr' or a variant such as 'fskd.v0'.")
@click.option("--pairs", type=click.IntRange(1, 10**6), default=600, help="For bin: number of pairs.")
@click.option("--seed", type=click.IntRange(0), default=0, help="For bin: seed of the pairs.")
def export(out: Output, root: Path, view: str, form: str, target: Path, **choice: Any) -> dict[str, object]:
    """Take the pairs of a view out of the store; bytes leave as they lie, raw LR becomes PNG.

    \b
    Examples:
      lrfr store export --to folders --out faces-out
      lrfr store export --to bin --out hr.bin --pairs 600
    """
    from lrfr.core.progress import Hooks
    from lrfr.pairs.export.formats import PairChoice
    from lrfr.pairs.store import Store

    with out.progress("export") as advance:
        done = Store(root).export(target, view, form, PairChoice(**choice), Hooks(advance, out.note))
    out.say(f"{done.images} images written to {done.out}")
    return {"images": done.images, "out": str(done.out)}


@command("card", short_help="Write a data card.")
@_STORE
@click.argument("view", default="default")
@click.option("--out", "target", type=_PATH, help="File to write instead of the terminal.")
def card(out: Output, root: Path, view: str, target: Path | None) -> dict[str, object]:
    """Describe a view for people: sources, counts, specs, licenses, digests (Markdown).

    \b
    Example:
      lrfr store card default --out CARD.md
    """
    from lrfr.core.files import make_folder, write_atomic
    from lrfr.pairs.care.data_card import card as write_card
    from lrfr.pairs.format.store_files import open_store

    text = write_card(open_store(root), view)
    if target:
        make_folder(target.parent)
        write_atomic(target, text.encode(), target.parent)
    out.say(f"written to {target}" if target else text)
    return {"card": text}


@command("upgrade", short_help="Bring a store of an older lrfr to today's layout.")
@click.argument("root", metavar="[STORE]", default="store", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", type=click.Path(path_type=Path), default=None, help="New folder; the old one stays."
)
def upgrade(out: Output, root: Path, target: Path | None) -> dict[str, Any]:
    """Give every base, variant and view of an older store its id of today; bytes that agree are taken over.

    \b
    Examples:
      lrfr store upgrade old-store
      lrfr store upgrade old-store --to new-store
    """
    from lrfr.core.progress import Hooks
    from lrfr.pairs.care.upgrade import upgrade as bring

    with out.progress("upgrade", "records") as advance:
        done = bring(root, target, Hooks(advance))
    for item in done.renamed:
        out.say(f"{item.kind:<5} {item.old} -> {item.new}")
    for line in done.left:
        out.note(f"left: {line}")
    if not done.renamed and not done.left:
        out.say("nothing of an older layout here")
    return asdict(done)


for _command in (ls, info, verify, diff, gc, repair, export, card, upgrade):
    store_group.add_command(_command)
