"""``lrfr init``: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError


@command("init", short_help="Write a commented starter spec.")
@click.argument("path", default="degrade.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from", "preset", help="Start from this preset instead.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--dry-run", is_flag=True, help="Print it instead.")
def init(out: Output, path: Path, preset: str | None, force: bool, dry_run: bool) -> dict[str, Any]:
    """Write a commented degradation spec to PATH (default: degrade.yaml).

    \b
    Examples:
      lrfr init
      lrfr init mine.yaml --from sensor
    """
    from importlib import resources

    from lrfr.degrade.spec.resolve import preset_text

    text = (
        preset_text(preset)
        if preset
        else resources.files("lrfr.degrade").joinpath("starter.yaml").read_text("utf-8")
    )
    if dry_run:
        out.say(text.rstrip())
        return {"path": str(path), "written": False, "text": text}
    if path.exists() and not force:
        raise SpecError("exists already", file=str(path), hint="--force overwrites it")
    path.write_text(text, "utf-8")
    out.say(f"wrote {path}; look at it with: lrfr degrade --spec {path} --preview")
    return {"path": str(path), "written": True}
