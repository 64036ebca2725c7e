"""What a report consists of, whatever its form."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# 94.70, n/a, +1.36, < 0.0001, 2.5 M, 96.65 (+5.00), 94.70 [94.0, 95.4]
_NUMBER = re.compile(r"^n/a$|^(< )?[+-]?\d+(\.\d+)?( [MG])?( \([^)]*\))?( \[[^]]*\])?$")


@dataclass(frozen=True)
class TableBlock:
    """A table: caption, headings, cells as text; a cell ``94.70 [94.0, 95.4]`` shows its interval smaller."""

    caption: str
    columns: list[str]
    rows: list[list[str]]

    def numeric(self) -> list[bool]:
        """Say of each column whether it holds numbers (and dashes) only: those stand to the right."""
        cells = [
            [row[place] for row in self.rows if row[place] not in {"", "-"}]
            for place in range(len(self.columns))
        ]
        return [bool(column) and all(_NUMBER.match(cell) for cell in column) for column in cells]


@dataclass(frozen=True)
class Image:
    """A picture for each theme (the same one twice for a photograph), as a data address."""

    name: str
    caption: str
    light: str
    dark: str


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[TableBlock] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
