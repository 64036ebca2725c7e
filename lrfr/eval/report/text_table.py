"""A table as aligned text, for terminals and notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from lrfr.eval.report.blocks import TableBlock


def aligned(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> str:
    """Return a table: numbers to the right, the first column and words to the left, None as a dash."""
    cells = [[cell_text(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    right = TableBlock(title, list(columns), cells).numeric()
    lines = [title] if title else []
    for line in [columns, ["-" * width for width in widths], *cells]:
        sides = zip(line, widths, [False, *right[1:]], strict=True)
        lines.append("  ".join(text.rjust(w) if end else text.ljust(w) for text, w, end in sides).rstrip())
    return "\n".join(lines)


def cell_text(value: object) -> str:
    """Return one value for print: four significant digits of a fraction, a dash for None."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
