"""``lrfr init``: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command
from lrfr.core.errors import SpecError


@command("init", short_help="Write a commented starter spec.")
@click.argument("path", default="degrade.yaml", type=opt.FILE)
@opt.option("--from", "preset", help="Start from this preset instead.")
@opt.flag("--force", text="Overwrite an existing file.")
@opt.dry_run("Print it instead.")
def init(out: Output, path: Path, preset: str | None, force: bool, dry_run: bool) -> dict[str, object]:
    """Write a commented degradation spec to PATH (default: degrade.yaml).

    \b
    Examples:
      lrfr init
      lrfr init mine.yaml --from sensor
    """
    from lrfr.degrade.spec.resolve import preset_text, starter_text

    text = preset_text(preset) if preset else starter_text()
    if dry_run:
        out.say(text.rstrip())
        return {"path": str(path), "written": False, "text": text}
    if path.exists() and not force:
        raise SpecError("exists already", file=str(path), hint="--force overwrites it")
    path.write_text(text, "utf-8")
    out.say(f"wrote {path}; look at it:")
    out.next_step("lrfr", "degrade", "--spec", path, "--preview")
    return {"path": str(path), "written": True}
