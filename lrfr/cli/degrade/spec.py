"""``lrfr spec``: check specs, print the JSON Schema of the language, compare two recipes."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lrfr.cli import options as opt
from lrfr.cli.output import Output, command


@command("check", short_help="Validate specs.")
@click.argument("sources", nargs=-1, required=True, metavar="SPEC...")
@opt.many("--set", "overrides", metavar="PLACE=VALUE", text="Replace one value before checking.")
def check(out: Output, sources: tuple[str, ...], overrides: tuple[str, ...]) -> dict[str, object]:
    """Validate specs (files or presets), libraries and files that they need included.

    \b
    Example:
      lrfr spec check mine.yaml fskd
    """
    from lrfr.degrade.inspect.spec_check import check_specs
    from lrfr.degrade.spec.model import join_errors

    found, faults = check_specs(sources, overrides)
    rows = [asdict(item) for item in found]
    if rows:
        head = ["spec", "digest", "cost ms", "portable", "lowers (ISO/IEC 29794-5)"]
        out.table(head, [item.row() for item in found])
    if faults:
        raise join_errors(faults)
    return {"specs": rows}


@command("schema", short_help="Print the JSON Schema of the spec language.")
def schema(out: Output) -> dict[str, object]:
    """Print the JSON Schema, for editors that complete and check YAML.

    \b
    Example:
      lrfr spec schema > lrfr-spec.schema.json
    """
    from lrfr.degrade.spec.json_schema import spec_schema

    found = spec_schema()
    out.say(json.dumps(found, indent=1))
    return dict(found)


@command("diff", short_help="Compare two recipes, defaults included.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def diff(out: Output, first: str, second: str) -> dict[str, object]:
    """Show every place where two resolved recipes differ, and whether their pixels do.

    \b
    Example:
      lrfr spec diff waveresnet-aa waveresnet-noaa
    """
    from lrfr.degrade.inspect.spec_check import compare

    found = compare(first, second)
    cells = [[row.place, _short(row.a), _short(row.b)] for row in found.differences]
    out.table(["place", first, second], cells)
    out.say("same pixels" if found.same_pixels else "different pixels")
    return asdict(found)


def _short(value: object) -> str:
    text = "-" if value is None else json.dumps(value)
    return text if len(text) <= 50 else f"{text[:47]}..."


commands = [check, schema, diff]
spec = click.Group("spec", commands=commands, help="Check, describe and compare degradation specs.")
