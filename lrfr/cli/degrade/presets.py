"""``lrfr presets``: the shipped recipes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command

_FACE_PX = 112


@command("ls", short_help="List the shipped recipes.")
def ls(out: Output) -> dict[str, object]:
    """List the shipped recipes with the sentence that says what each stands for.

    \b
    Example:
      lrfr presets ls
    """
    from lrfr.degrade.spec.resolve import ALIASES, preset_help, preset_names

    about = {name: preset_help(name) for name in preset_names()}
    for name, text in about.items():
        also = [short for short, full in ALIASES.items() if full == name]
        names = f" (also {', '.join(also)})" if also else ""
        out.say(textwrap.fill(f"{text}{names}", 120, initial_indent=f"{name:17}", subsequent_indent=" " * 17))
    return {"presets": about, "aliases": dict(ALIASES)}


@command("show", short_help="Print a recipe with its comments.")
@click.argument("name")
def show(out: Output, name: str) -> dict[str, object]:
    """Print the YAML of a recipe, sources in its comments.

    \b
    Example:
      lrfr presets show fskd > mine.yaml
    """
    from lrfr.degrade.spec.resolve import preset_text

    text = preset_text(name)
    out.say(text.rstrip())
    return {"name": name, "text": text}


@command("gallery", short_help="Draw every recipe on one page.")
@opt.path("--out", "path", kind=opt.FILE, default="presets.png", help="PNG or JPEG to write.")
@opt.count("--columns", high=20, default=7, help="Degraded faces in a row.")
def gallery_command(out: Output, path: Path, columns: int) -> dict[str, object]:
    """Degrade embedded faces by every shipped recipe and draw one row for each.

    \b
    Example:
      lrfr presets gallery --out presets.png
    """
    from lrfr.degrade.inspect.gallery import draw_gallery
    from lrfr.pairs.sources.embedded_faces import find_inputs

    faces = {face.key: face.load(_FACE_PX)[0] for face in find_inputs((), path, columns)}
    drawn, left_out = draw_gallery(faces, path)
    out.notes(f"left out {name}: {error}" for name, error in left_out.items())
    out.say(f"wrote {path}: {len(drawn)} recipes")
    messages = {name: error.message for name, error in left_out.items()}
    return {"path": str(path), "recipes": drawn, "left_out": messages}


commands = [ls, show, gallery_command]
presets = click.Group("presets", commands=commands, help="The shipped degradation recipes.")
