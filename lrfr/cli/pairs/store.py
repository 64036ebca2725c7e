"""``lrfr store``: look at, check and care for a pair store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command


@click.group("store", short_help="Look at, check and care for a pair store.")
def store_group() -> None:
    """Look at, check and care for a pair store.

    \b
    Examples:
      lrfr store ls
      lrfr store verify --deep
    """


_STORE = click.option(
    "--store",
    "root",
    default="store",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the store.",
)


@command("ls", short_help="List views, bases and degraded variants.")
@_STORE
def ls(out: Output, root: Path) -> dict[str, Any]:
    """List what a store holds.

    \b
    Example:
      lrfr store ls --store store
    """
    from lrfr.pairs.care.inventory import listing

    found = listing(root)
    out.table(
        ["view", "base", "variants", "rows"],
        [[view.view, view.base, view.variants, view.rows] for view in found.views],
    )
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
    out.table(["store", "kind", "rows", "shards", "MB", "views"], [list(part.values()) for part in parts])
    return {"views": [asdict(view) for view in found.views], "stores": parts}


@command("info", short_help="Show one view, base or variant in full.")
@_STORE
@click.argument("name", default="default")
def info(out: Output, root: Path, name: str) -> dict[str, Any]:
    """Show one view (by name), or one base or variant (by id).

    \b
    Example:
      lrfr store info default
    """
    from lrfr.pairs.care.inventory import describe

    found = asdict(describe(root, name))
    found["digest"] = found.pop("sealed")
    if "shards" in found:
        found |= {"shards": len(found["shards"]), "bytes": sum(shard["bytes"] for shard in found["shards"])}
    else:
        found["view_digest"] = found["id"]
    for key, value in found.items():
        out.say(f"{key:<16} {value}")
    return found


@command("verify", short_help="Check every byte; exit 3 if one is damaged.")
@_STORE
@click.option("--deep", is_flag=True, help="Also decode every record.")
def verify(out: Output, root: Path, deep: bool) -> dict[str, Any]:
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
    for folder in unfinished(store):
        out.note(f"unfinished (no manifest): {folder}; make-pairs goes on with it, gc removes it")
    for finding in findings:
        out.note(": ".join(part for part in (finding.file, finding.place, finding.fault) if part))
    if findings:
        raise DataError(
            f"{len(findings)} faults, the first: {findings[0].fault}",
            file=findings[0].file,
            hint="lrfr store repair",
        )
    out.say("every byte is as it was written")
    return {"findings": [], "unfinished": [str(folder) for folder in unfinished(store)], "deep": deep}


@command("diff", short_help="Compare two stores; exit 3 if they differ.")
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
def diff(out: Output, left: Path, right: Path) -> dict[str, Any]:
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
def gc(out: Output, root: Path, dry_run: bool) -> dict[str, Any]:
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
@click.option("--source", default=None, help="The source the damaged base was made from.")
@click.option(
    "--align", "landmarks", type=click.Path(path_type=Path), default=None, help="As given to make-pairs."
)
@click.option("--workers", type=click.IntRange(1, 4096), default=1, show_default=True, help="Tasks at once.")
def repair(
    out: Output, root: Path, source: str | None, landmarks: Path | None, workers: int
) -> dict[str, Any]:
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
        done = mend(store, ingest, Runner(workers=workers, hooks=Hooks(advance)))
    for title, lines in (("rebuilt", done.rebuilt), ("removed", done.removed), ("left", done.left)):
        for line in lines:
            out.say(f"{title}: {line}")
    if not (done.rebuilt or done.removed or done.left):
        out.say("nothing to repair")
    return {"rebuilt": done.rebuilt, "removed": done.removed, "left": done.left}


@command("export", short_help="Write folders, WebDataset tars or a .bin.")
@_STORE
@click.option("--view", "view_name", default="default", show_default=True, help="View to export.")
@click.option(
    "--to", "form", type=click.Choice(["folders", "webdataset", "bin"]), required=True, help="What to write."
)
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="New folder (folders, webdataset) or file (bin).",
)
@click.option("--part", default="hr", show_default=True, help="For bin: 'hr' or a variant such as 'fskd.v0'.")
@click.option(
    "--pairs", type=click.IntRange(1, 10**6), default=600, show_default=True, help="For bin: number of pairs."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="For bin: seed of the pairs."
)
def export(out: Output, **given: Any) -> dict[str, Any]:
    """Take the pairs of a view out of the store; bytes leave as they lie, raw LR becomes PNG.

    \b
    Examples:
      lrfr store export --to folders --out faces-out
      lrfr store export --to bin --out hr.bin --pairs 600
    """
    from lrfr.core.progress import Hooks
    from lrfr.pairs.dataset import PairDataset
    from lrfr.pairs.export.formats import PairChoice, export_view

    dataset = PairDataset(given["root"], given["view_name"])
    choice = PairChoice(given["part"], given["pairs"], given["seed"])
    with out.progress("export") as advance:
        done = export_view(dataset, given["target"], given["form"], choice, Hooks(advance, out.note))
    out.say(f"{done.images} images written to {done.out}")
    return {"images": done.images, "out": str(done.out)}


@command("card", short_help="Write a data card.")
@_STORE
@click.argument("view_name", metavar="[VIEW]", default="default")
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path),
    default=None,
    help="File to write instead of the terminal.",
)
def card(out: Output, root: Path, view_name: str, target: Path | None) -> dict[str, Any]:
    """Describe a view for people: sources, counts, specs, licenses, digests (Markdown).

    \b
    Example:
      lrfr store card default --out CARD.md
    """
    from lrfr.core.files import make_folder, write_atomic
    from lrfr.pairs.care.data_card import card as write_card
    from lrfr.pairs.format.store_files import open_store

    text = write_card(open_store(root), view_name)
    if target:
        make_folder(target.parent)
        write_atomic(target, text.encode(), target.parent)
        out.say(f"written to {target}")
    else:
        out.say(text)
    return {"card": text}


for _command in (ls, info, verify, diff, gc, repair, export, card):
    store_group.add_command(_command)
