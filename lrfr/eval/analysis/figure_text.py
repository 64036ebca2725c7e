"""Names in figures as they are written: matplotlib takes dollars for formulas and leaves lines whose name
begins with an underscore out of its legends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def legend_name(name: str) -> str:
    """Return a name under which a line stands in a legend: control characters escaped, and a space of no
    width before an underscore.
    """
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)
    return f"\u200b{shown}" if shown.startswith("_") else shown


def without_formulas(figure: Figure) -> Figure:
    """Return a figure whose legends and titles show what they say; the numbers of its axes stay formulas."""
    for axes in figure.axes:
        legend = axes.get_legend()
        for text in (axes.title, *(legend.get_texts() if legend else ())):
            text.set_parse_math(False)
    return figure
