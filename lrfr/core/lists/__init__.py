"""Text lists of the world, read in one way: any encoding, line end, separator and spelling of names."""

from lrfr.core.lists.fields import Keyed, Row, Shape, is_count, is_number, read_keyed, read_rows
from lrfr.core.lists.holdout import is_held_out
from lrfr.core.lists.names import Matched, match_names, spelled
from lrfr.core.lists.text import Line, read_lines, read_text

__all__ = [
    "Keyed",
    "Line",
    "Matched",
    "Row",
    "Shape",
    "is_count",
    "is_held_out",
    "is_number",
    "match_names",
    "read_keyed",
    "read_lines",
    "read_rows",
    "read_text",
    "spelled",
]
