"""The contact sheet: one row a face, HR on the left, every variant beside it with what was applied as its
caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lrfr.core.image import ImageU8
from lrfr.degrade.inspect.picture_grid import TEXT_PX, Cell, picture_grid
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.pipeline import Applied, Degraded, Trace
from lrfr.degrade.spec.model import UpSpec

CELL_PX = 170  # so wide that most captions need no second line
GALLERY_PX = 112
_QUIET = {"transfer": "srgb", "gray": False}


def caption(trace: Trace) -> list[str]:
    """Return one line for each applied op, for example ``jpeg: quality 43, subsampling 420``."""
    return [_line(step) for step in trace.steps] or ["(nothing applied)"]


def _line(step: Applied) -> str:
    shown = [
        _named(name, value)
        for name, value in step.params.items()
        if value not in (None, _QUIET.get(name)) and name != "sha256"
    ]
    return f"{step.op}: {', '.join(shown)}" if shown else step.op


def _named(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value[:4])}{', ...' if len(value) > 4 else ''}]"
    return str(value)


def enlarge(image: ImageU8, up: UpSpec) -> ImageU8:
    """Return an LR image as the network sees it: brought up by the spec's ``store.up``."""
    return np.asarray(resize_batch(image[None], up.size_px, up.filter, up.antialias)[0], np.uint8)


class SheetRow(NamedTuple):
    """A row of a sheet: the face's (or recipe's) name, its HR picture and its variants."""

    name: str
    hr: ImageU8
    variants: Sequence[Degraded]


def contact_sheet(rows: Sequence[SheetRow], up: UpSpec, title: str = "") -> ImageU8:
    """Draw the sheet.

    Args:
        rows: a face each.
        up: how LR images are enlarged for display.
        title: headline.

    Returns:
        uint8 [H, W, 3].

    """
    from PIL import ImageFont

    font = ImageFont.load_default(TEXT_PX)
    return picture_grid([_cells(row, up, font) for row in rows], title=title, cell_px=CELL_PX)


def gallery(rows: Sequence[tuple[SheetRow, UpSpec]]) -> ImageU8:
    """Draw one row a recipe: its name, an HR face and faces that it degraded, enlarged by its ``store.up``,
    with their sizes.
    """
    grid = []
    for row, up in rows:
        hr = Cell(_shown(row.hr), (f"HR {row.hr.shape[1]} px",), row.name)
        grid.append([hr])
        for item in row.variants:
            grid[-1].append(Cell(_shown(enlarge(item.image, up)), (f"{item.image.shape[1]} px",)))
    return picture_grid(grid)


def _shown(image: ImageU8) -> ImageU8:
    """Return a picture at the gallery's one size, by pixel repetition."""
    return np.asarray(resize_batch(image[None], GALLERY_PX, "nearest", False)[0], np.uint8)


def _cells(row: SheetRow, up: UpSpec, font: Any) -> list[Cell]:
    cells = [Cell(row.hr, _wrap([f"HR {row.hr.shape[1]} px", row.name], font))]
    for index, variant in enumerate(row.variants):
        lines = [f"v{index}: {variant.image.shape[1]} px", *caption(variant.trace)]
        cells.append(Cell(enlarge(variant.image, up), _wrap(lines, font)))
    return cells


def _wrap(lines: Sequence[str], font: Any) -> list[str]:
    """Break lines at blanks so that they fit a cell."""
    wrapped = []
    for line in lines:
        current = ""
        for word in line.split(" "):
            longer = f"{current} {word}".strip()
            if current and font.getlength(longer) > CELL_PX:
                wrapped.append(current)
                current = f"  {word}"
            else:
                current = longer if not current.startswith("  ") else f"{current} {word}"
        wrapped.append(current)
    return wrapped
