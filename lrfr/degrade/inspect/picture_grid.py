"""Pictures in rows and columns on white, with words over and under them: what every sheet is drawn by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lrfr.core.image import ImageU8

TEXT_PX = 10
LINE_PX = 12
GAP_PX = 8


class Cell(NamedTuple):
    """A picture, uint8 [h, w, 3], with lines under it and one over it."""

    image: ImageU8
    below: Sequence[str] = ()
    above: str = ""


def wrapped(lines: Sequence[str], font: Any, width_px: float) -> list[str]:
    """Break lines at blanks so that they fit a width; what goes on is indented."""
    found = []
    for line in lines:
        current = ""
        for word in line.split(" "):
            longer = f"{current} {word}" if current else word
            if current.strip() and font.getlength(longer) > width_px:
                found.append(current)
                current = f"  {word}"
            else:
                current = longer
        found.append(current)
    return found


def picture_grid(
    rows: Sequence[Sequence[Cell]],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    cell_px: int = 0,
    gap_px: int = GAP_PX,
) -> ImageU8:
    """Draw cells in rows.

    Args:
        rows: cells from the left; rows may differ in number and height.
        title: headline of the page, broken where the page is narrower.
        notes: lines under it.
        cell_px: least width of a column; the widest picture sets it where that is more.
        gap_px: white around each cell.

    Returns:
        uint8 [H, W, 3].

    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(TEXT_PX)
    heads = [LINE_PX + 4 if any(cell.above for cell in row) else 0 for row in rows]
    heights = [
        head + max(cell.image.shape[0] + LINE_PX * len(cell.below) for cell in row) + gap_px
        for head, row in zip(heads, rows, strict=True)
    ]
    step = max(cell_px, *(cell.image.shape[1] for row in rows for cell in row)) + gap_px
    width = gap_px + step * max(len(row) for row in rows)
    large = ImageFont.load_default(TEXT_PX + 3)
    heading = wrapped([title], large, width - 2 * gap_px) if title else []
    small = wrapped(notes, font, width - 2 * gap_px)
    top = gap_px + (LINE_PX + 4) * len(heading) + LINE_PX * len(small)
    top += gap_px if heading or small else 0
    page = Image.new("RGB", (width, top + sum(heights)), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(heading):
        pen.text((gap_px, gap_px + (LINE_PX + 4) * number), line, (0, 0, 0), large)
    for number, line in enumerate(small):
        pen.text((gap_px, gap_px + (LINE_PX + 4) * len(heading) + LINE_PX * number), line, (40, 40, 40), font)
    for row, head, height in zip(rows, heads, heights, strict=True):
        for column, cell in enumerate(row):
            left, under = gap_px + column * step, top + head
            pen.text((left, top), cell.above, (0, 0, 0), font)
            page.paste(Image.fromarray(cell.image), (left, under))
            place, words = (left, under + cell.image.shape[0] + 1), "\n".join(cell.below)
            pen.multiline_text(place, words, (40, 40, 40), font, spacing=LINE_PX - TEXT_PX)
        top += height
    return np.asarray(page, np.uint8)


def tile(rows: Sequence[Sequence[ImageU8]], captions: Sequence[str] = (), gap_px: int = 4) -> ImageU8:
    """Return pictures in rows and columns, with a caption over each column."""
    over = [*captions, *[""] * max(len(row) for row in rows)]
    grid = [
        [Cell(image, (), over[column] if number == 0 else "") for column, image in enumerate(row)]
        for number, row in enumerate(rows)
    ]
    return picture_grid(grid, gap_px=gap_px)
