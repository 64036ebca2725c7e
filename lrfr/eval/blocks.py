"""What a report consists of, whatever its form."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableBlock:
    """A table: caption, headings, cells as text; a cell ``94.70 [94.0, 95.4]`` shows its interval smaller."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


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
