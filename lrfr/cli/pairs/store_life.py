"""``lrfr store forget`` and ``merge``: what leaves a store for good, and what comes in from others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError
from lrfr.core.lists import read_lines

SHOWN_NAMES = 20


def names(context: click.Context, option: click.Parameter, path: Path | None) -> tuple[str, ...] | None:
    """Return the names of a file, one a line."""
    return tuple(line.text for line in read_lines(path, names=True, comments=True)) if path else None


@command("forget", short_help="Remove faces for good.")
@opt.store(name="root")
@opt.path("--ids", callback=names, kind=opt.FILE, help="Identities to forget, one a line.")
@opt.path("--keys", callback=names, kind=opt.FILE, help="Keys of faces to forget, one a line.")
@opt.dry_run("Only say what would go.")
@opt.flag("--report", text="List the runs below --runs that were trained on what is forgotten.")
@opt.runs("runs_dir")
def forget(out: Output, root: Path, runs_dir: Path, **given: Any) -> dict[str, object]:
    """Remove faces from every base, variant, column, view and list of a store; only shards that hold some of
    them are written anew. Killed at any moment, the same command goes on; without a list it ends what was
    begun.

    \b
    Examples:
      lrfr store forget --ids withdrawn.txt --dry-run
      lrfr store forget --keys keys.txt --report --runs runs
    """
    from lrfr.pairs.care.forgetting.forget import resume
    from lrfr.pairs.store import Store

    store = Store(root)
    ids, keys = given["ids"], given["keys"]
    if ids is None and keys is None:
        ended = resume(store)
        if not ended:
            raise SpecError("nothing to forget", hint="--ids FILE or --keys FILE, one name a line")
        out.lines(f"ended act {act.act} of {act.date[:10]}: {act.faces} faces forgotten" for act in ended)
        return {"ended": [act.act for act in ended]}
    with out.stoppable("forget", "shards", "shards") as hooks:
        done = store.forget(ids, keys, dry_run=given["dry_run"], hooks=hooks)
    out.lines(done.told())
    told = asdict(done)
    if given["report"]:
        from lrfr.train.runs import trained_on

        found = trained_on(runs_dir, store.former_views(done.old_views))
        out.lines(f"trained on them: {run}" for run in found)
        out.say(f"{len(found)} runs below {runs_dir} were trained on forgotten faces")
        told["runs"] = [str(run) for run in found]
    return told


@command("merge", short_help="Bring stores together, or views.")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...", type=opt.FOLDER)
@opt.path("--into", kind=opt.FOLDER, show_default="the first", help="Store that takes everything in.")
@opt.many("--rename", metavar="OLD=NEW", text="Name of a view that comes in.")
@opt.option("--prefix", default="", help="Before names of views that come in; {store}: their folder.")
@opt.flag("--link", text="Share bytes with the other stores (one file system).")
@opt.flag("--allow-forgotten", text="Take in what a store was made to forget.")
@opt.dry_run("Only say what would come in.")
@opt.many("--views", metavar="VIEW", text="Join these views, with --as.")
@opt.option("--as", "joined", metavar="NAME", help="Name of the view that --views makes.")
@opt.flag("--replace", text="With --views: a key may have other bytes in a later view.")
def merge(out: Output, stores: tuple[Path, ...], into: Path | None, **given: Any) -> dict[str, object]:
    """Copy views, bases, variants and columns of stores into one, each once and checked; or join views.

    \b
    Examples:
      lrfr store merge store-a store-b --into store
      lrfr store merge store-a store-b --prefix '{store}-'
      lrfr store merge store --views monday --views friday --as both
    """
    from lrfr.pairs.care.merging.merge import MergeOptions
    from lrfr.pairs.store import Store

    if bool(given["views"]) != bool(given["joined"]):
        raise SpecError("--views and --as go together")
    if given["rename"] and not all("=" in pair for pair in given["rename"]):
        raise SpecError("--rename OLD=NEW")
    store, others = (Store(into), stores) if into else (Store(stores[0]), stores[1:])
    if not others and not given["views"]:
        raise SpecError("two stores, or --into", hint="lrfr store merge A B --into C")
    given["rename"] = dict(pair.split("=", 1) for pair in given["rename"])
    with out.stoppable("merge", "B", "files") as hooks:
        done = store.merge(*others, options=opt.picked(MergeOptions, given), hooks=hooks) if others else None
    told = asdict(done) if done else {}
    if done:
        would = "would come in" if done.dry_run else "came in"
        out.lines(f"{item.kind} {item.name} {would} from {item.store}" for item in done.came)
        out.say(
            f"{done.bytes / 1e6:.2f} MB in all, {done.copied / 1e6:.2f} MB copied; {done.found} were there"
        )
    if given["views"] and not given["dry_run"]:
        view = store.join_views(given["views"], given["joined"], replace=given["replace"])
        out.say(f"view '{view.name}' of {len(view.parts)} parts: {view.id}")
        told |= {"view": view.name, "view_digest": view.id}
    return told
