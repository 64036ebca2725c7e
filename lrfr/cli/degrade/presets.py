"""``lrfr presets``: the shipped recipes."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command
from lrfr.core.errors import LrfrError


@command("ls", short_help="List the shipped recipes.")
def ls(out: Output) -> dict[str, Any]:
    """List the shipped recipes with the sentence that says what each stands for.

    \b
    Example:
      lrfr presets ls
    """
    from lrfr.degrade.spec.resolve import ALIASES, preset_names, preset_text

    about = {name: _first_sentence(preset_text(name)) for name in preset_names()}
    for name, text in about.items():
        also = [short for short, full in ALIASES.items() if full == name]
        names = f" (also {', '.join(also)})" if also else ""
        out.say(textwrap.fill(f"{text}{names}", 120, initial_indent=f"{name:17}", subsequent_indent=" " * 17))
    return {"presets": about, "aliases": dict(ALIASES)}


def _first_sentence(text: str) -> str:
    comment = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    return " ".join(comment).split(". ")[0].rstrip(".")


@command("show", short_help="Print a recipe with its comments.")
@click.argument("name")
def show(out: Output, name: str) -> dict[str, Any]:
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
@click.option(
    "--out",
    "path",
    default="presets.png",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG or JPEG to write.",
)
@click.option(
    "--columns", default=7, show_default=True, type=click.IntRange(1, 20), help="Degraded faces in a row."
)
def gallery_command(out: Output, path: Path, columns: int) -> dict[str, Any]:
    """Degrade embedded faces by every shipped recipe and draw one row for each.

    \b
    Example:
      lrfr presets gallery --out presets.png
    """
    from lrfr.cli.degrade.degrade import write_atomically, write_png
    from lrfr.cli.degrade.inputs import find_faces, load_faces
    from lrfr.core.image import encode_jpeg
    from lrfr.degrade.inspect.contact_sheet import gallery
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec
    from lrfr.degrade.spec.resolve import preset_names

    rows = []
    left_out = {}
    for name in preset_names():
        try:
            pipeline = Pipeline(load_spec(name))
        except LrfrError as error:
            left_out[name] = error.message
            out.note(f"left out {name}: {error}")
            continue
        faces, _ = load_faces(find_faces((), path, columns), pipeline.spec.image.size_px)
        degraded = pipeline.run([face.key for face, _ in faces], [image for _, image in faces])
        rows.append((name, faces[0][1], degraded, pipeline.spec.store.up))
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        write_atomically(path, encode_jpeg(gallery(rows), 88, "444"))
    else:
        write_png(path, gallery(rows))
    out.say(f"wrote {path}: {len(rows)} recipes")
    return {"path": str(path), "recipes": [row[0] for row in rows], "left_out": left_out}


presets = click.Group(
    "presets", commands=[ls, show, gallery_command], help="The shipped degradation recipes."
)
