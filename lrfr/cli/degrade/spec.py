"""``lrfr spec``: check specs, print the JSON Schema of the language, compare two recipes."""

from __future__ import annotations

import json
from typing import Any

import click

from lrfr.cli.output import Output, command
from lrfr.core.errors import LrfrError


@command("check", short_help="Validate specs.")
@click.argument("sources", nargs=-1, required=True, metavar="SPEC...")
@click.option(
    "--set", "overrides", multiple=True, metavar="PLACE=VALUE", help="Replace one value before checking."
)
def check(out: Output, sources: tuple[str, ...], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Validate specs (files or presets), libraries and files that they need included.

    \b
    Example:
      lrfr spec check mine.yaml fskd
    """
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import join_errors, load_spec

    rows: list[dict[str, Any]] = []
    faults: list[LrfrError] = []
    for source in sources:
        try:
            spec = load_spec(source, overrides)
            pipeline = Pipeline(spec)
        except LrfrError as error:
            faults.append(error)
            continue
        rows.append(
            {
                "spec": spec.name,
                "digest": spec.digest,
                "cost_ms": round(pipeline.cost_ms, 3),
                "portable": pipeline.portable,
            }
        )
    if rows:
        out.table(
            ["spec", "digest", "cost ms", "portable"],
            [[r["spec"], r["digest"][:12], r["cost_ms"], r["portable"]] for r in rows],
        )
    if faults:
        raise join_errors(faults)
    return {"specs": rows}


@command("schema", short_help="Print the JSON Schema of the spec language.")
def schema(out: Output) -> dict[str, Any]:
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
def diff(out: Output, first: str, second: str) -> dict[str, Any]:
    """Show every place where two resolved recipes differ, and whether their pixels do.

    \b
    Example:
      lrfr spec diff waveresnet-aa waveresnet-noaa
    """
    from lrfr.degrade.spec.model import load_spec

    one, other = load_spec(first), load_spec(second)
    places = differences(one.as_json(), other.as_json())
    same = one.pixel_digest == other.pixel_digest
    out.table(
        ["place", first, second], [[row["place"], _short(row["a"]), _short(row["b"])] for row in places]
    )
    out.say("same pixels" if same else "different pixels")
    return {"same_pixels": same, "differences": places}


def differences(one: Any, other: Any, place: str = "") -> list[dict[str, Any]]:
    """Return the places where two plain values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [
            row
            for key in keys
            for row in differences(one.get(key), other.get(key), f"{place}.{key}" if place else str(key))
        ]
    if (
        isinstance(one, list)
        and isinstance(other, list)
        and any(isinstance(item, dict) for item in (*one, *other))
    ):
        length = max(len(one), len(other))
        pairs = [
            (one[i] if i < len(one) else None, other[i] if i < len(other) else None) for i in range(length)
        ]
        return [row for index, (a, b) in enumerate(pairs) for row in differences(a, b, f"{place}[{index}]")]
    return [] if one == other else [{"place": place, "a": one, "b": other}]


def _short(value: Any) -> str:
    text = "-" if value is None else json.dumps(value)
    return text if len(text) <= 50 else f"{text[:47]}..."


spec = click.Group(
    "spec", commands=[check, schema, diff], help="Check, describe and compare degradation specs."
)
