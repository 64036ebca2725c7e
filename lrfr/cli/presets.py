"""``lrfr presets``: the shipped recipes."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from lrfr.cli.output import Output, command


@command("ls", short_help="List the shipped recipes.")
def ls(out: Output) -> dict[str, Any]:
    """List the shipped recipes with the sentence that says what each stands for.

    \b
    Example:
      lrfr presets ls
    """
    from lrfr.degrade.sheet import ALIASES, preset_names, preset_text

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
    from lrfr.degrade.sheet import preset_text

    text = preset_text(name)
    out.say(text.rstrip())
    return {"name": name, "text": text}


presets = click.Group("presets", commands=[ls, show], help="The shipped degradation recipes.")
