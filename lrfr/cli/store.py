"""``lrfr store``: look at, check and care for a pair store."""

from __future__ import annotations

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


_STORE = click.option("--store", "root", default="store", show_default=True, type=click.Path(path_type=Path), help="Folder of the store.")


@command("ls", short_help="List views, bases and degraded variants.")
@_STORE
def ls(out: Output, root: Path) -> dict[str, Any]:
    """List what a store holds.

    \b
    Example:
      lrfr store ls --store store
    """
    from lrfr.pairs.care import listing

    found = listing(root)
    out.table(["view", "base", "variants", "rows"], [[v["view"], v["base"], v["variants"], v["rows"]] for v in found["views"]])
    out.table(["store", "kind", "rows", "shards", "MB", "views"], [list(row.values()) for row in found["stores"]])
    return found


@command("info", short_help="Show one view, base or variant in full.")
@_STORE
@click.argument("name", default="default")
def info(out: Output, root: Path, name: str) -> dict[str, Any]:
    """Show one view (by name), or one base or variant (by id).

    \b
    Example:
      lrfr store info default
    """
    from lrfr.pairs.care import describe

    found = describe(root, name)
    for key, value in found.items():
        out.say(f"{key:<16} {value}")
    return found


for _command in (ls, info):
    store_group.add_command(_command)
