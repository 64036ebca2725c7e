"""``lrfr store copy`` and ``index``: a view to another place, and a folder made fit for a web server."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command


@command("copy", short_help="Copy a view to a folder or address.")
@opt.path(
    "--from", "--store", "root", kind=opt.STORE, default="store", help="Folder or address of the store."
)
@opt.cache
@opt.option("--view", default="default", help="View to copy.")
@opt.option("--to", "target", required=True, metavar="PLACE", help="Folder, s3://, gs:// or memory://.")
@opt.flag("--link", text="Hard links on the same disk; damage is then shared.")
@opt.dry_run("Say what would be copied and stop.")
def copy(out: Output, root: Path, view: str, target: str, **choice: bool) -> dict[str, object]:
    """Copy a view with all that it needs (bases, variants, row tables, columns), every byte checked.

    What is there is not copied again, and a copy that was stopped goes on. The view appears when all of it
    has come.

    \b
    Examples:
      lrfr store copy --view default --to /mnt/backup/store
      lrfr store copy --to s3://bucket/store --dry-run
      lrfr store copy --from https://host/store --to store
    """
    from lrfr.pairs.store import Store

    with out.stoppable("copy", "MB", "files") as hooks:
        done = Store(root).copy(view, target, **choice, hooks=hooks)
    verb = "would be copied" if done.dry_run else "copied"
    out.say(f"{done.copied} files ({done.bytes / 1e6:.1f} MB) {verb} to {done.to}, {done.kept} were there")
    return asdict(done)


@command("index", short_help="Make a folder fit for a web server.")
@opt.path("--store", "root", kind=opt.FOLDER, default="store", help="Folder of the store.")
def index(out: Output, root: Path) -> dict[str, object]:
    """Write index.json, by which a store is read where folders cannot be listed (copy writes it too).

    Write it again when the store has changed. Refused where no view can be read: the folder may be another's.

    \b
    Example:
      lrfr store index --store store
    """
    from lrfr.pairs.format.remote.store_index import index_store
    from lrfr.pairs.format.store_files import open_store

    made = index_store(open_store(root))
    out.say(f"{len(made.files)} files listed in {root / 'index.json'}")
    return {"index": str(root / "index.json"), "files": len(made.files)}
