"""``lrfr studio``: a local page on which a recipe is tuned by eye."""

from __future__ import annotations

import importlib.util
import webbrowser
from pathlib import Path
from typing import Any

import click

from lrfr.cli import options as opt
from lrfr.cli.commands import COMMANDS
from lrfr.cli.output import Output, command
from lrfr.core.errors import missing_extra

_NEEDS = ("aiohttp", "ruamel.yaml")


@command("studio", short_help="Tune a recipe by eye, on a local page.")
@click.argument("recipe", required=False, metavar="[SPEC]")
@opt.path("--faces", kind=opt.FOLDER, help="Folder of HR faces.  [default: the embedded ones]")
@opt.path("--target", kind=opt.FOLDER, help="Folder of crops of the camera to look like.")
@opt.path("--folder", kind=opt.FOLDER, default=Path(), help="Where recipes are opened and saved.")
@opt.store("Store of pairs that the page makes.")
@opt.count("--port", low=0, high=65535, default=0, help="Port on 127.0.0.1; 0 for any that is free.")
@opt.flag("--open", "open_page", text="Open the page in the browser of this machine.")
@opt.dry_run("Read recipe and folders, say what would be served and stop.")
def studio(out: Output, recipe: str | None, **given: Any) -> dict[str, object]:
    """Open a page on which the steps of SPEC (a file or a preset) are tuned beside what they do to faces.

    The page is served to this machine alone, under a token that the printed address holds; it works offline
    and ends with Ctrl-C, together with what was started from it.

    \b
    Examples:
      lrfr studio
      lrfr studio surveillance --open
      lrfr studio mine.yaml --faces photos/ --target camera_crops/
    """
    for package in _NEEDS:
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "studio")
    from lrfr.studio.recipes.recipe_files import Places
    from lrfr.studio.server import serve
    from lrfr.studio.workshop import Workshop

    where = {name: given[name] for name in ("faces", "target", "store")}
    shop = Workshop(Places(recipe, folder=given["folder"].resolve(), can_fit="fit" in COMMANDS, **where))
    told = {"recipe": shop.name, "faces": len(shop.book), "target": str(given["target"] or "")}
    if given["dry_run"]:
        out.say(f"would serve '{shop.name}' with {len(shop.book)} faces on 127.0.0.1")
        return {**told, "dry_run": True}
    serve(shop, given["port"], lambda address: _ready(out, address.url, given["open_page"]))
    return told


def _ready(out: Output, url: str, open_page: bool) -> None:
    out.notes([f"studio: {url}", "served to this machine alone; Ctrl-C ends it"])
    if open_page:
        webbrowser.open(url)
