"""What a comparison with the papers had found wrong or missing, and the command that reaches it now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lrfr.core import strict_yaml

_FILE = Path(__file__).parents[1] / "shipped/rows/gaps.yaml"


@dataclass(frozen=True)
class Gap:
    """One finding: what it was, what it is now, and a command that shows it."""

    was: str
    now: str
    command: str


@dataclass(frozen=True)
class GapPart:
    """Findings of one kind."""

    part: str
    rows: list[Gap]


def gap_parts() -> list[GapPart]:
    """Return all findings by kind."""
    from pydantic import TypeAdapter

    return TypeAdapter(list[GapPart]).validate_python(strict_yaml.load(_FILE).data)


def gap_lines() -> list[str]:
    """Return the part of ``docs/papers.md`` about them."""
    lines = [
        "## What was wrong or missing",
        "",
        "A comparison of the papers with lrfr, row by row, had found what stands on the left.",
        "",
    ]
    for part in gap_parts():
        lines += [f"### {part.part}", "", "| was | now | command |", "|---|---|---|"]
        lines += [f"| {row.was} | {row.now} | `{row.command}` |" for row in part.rows] + [""]
    return lines
