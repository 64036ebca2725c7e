"""The contact sheet: one row a face, HR on the left, every variant beside it with what was applied as its
caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.pipeline import Degraded
from lrfr.degrade.spec.model import UpSpec

TEXT_PX = 10
LINE_PX = 12
GAP_PX = 8
CELL_PX = 170
_QUIET = {"transfer": "srgb", "gray": False}


def caption(trace: dict[str, Any]) -> list[str]:
    """Return one line for each applied op, for example ``jpeg: quality 43, subsampling 420``."""
    return [_line(step["op"], step["params"]) for step in trace["steps"]] or ["(nothing applied)"]


def _line(op: str, params: dict[str, Any]) -> str:
    shown = [
        _named(name, value)
        for name, value in params.items()
        if value not in (None, _QUIET.get(name)) and name != "sha256"
    ]
    return f"{op}: {', '.join(shown)}" if shown else op


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


def contact_sheet(
    faces: Sequence[tuple[str, ImageU8, Sequence[Degraded]]], up: UpSpec, title: str = ""
) -> NDArray[np.uint8]:
    """Draw the sheet.

    Args:
        faces: (name, HR image, its variants) for each row.
        up: how LR images are enlarged for display.
        title: headline.

    Returns:
        uint8 [H, W, 3].

    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(TEXT_PX)
    rows = [_row(name, hr, variants, up, font) for name, hr, variants in faces]
    heights = [
        max(image.shape[0] for image, _ in row) + LINE_PX * max(len(text) for _, text in row) + GAP_PX
        for row in rows
    ]
    cell = max(CELL_PX, *(image.shape[1] for row in rows for image, _ in row)) + GAP_PX
    width = GAP_PX + cell * max(len(row) for row in rows)
    top = GAP_PX + (2 * LINE_PX if title else 0)
    sheet = Image.new("RGB", (width, top + sum(heights)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP_PX, GAP_PX), title, (0, 0, 0), ImageFont.load_default(TEXT_PX + 3))
    for row, height in zip(rows, heights, strict=True):
        for column, (image, text) in enumerate(row):
            left = GAP_PX + column * cell
            sheet.paste(Image.fromarray(image), (left, top))
            pen.multiline_text(
                (left, top + image.shape[0] + 1),
                "\n".join(text),
                (40, 40, 40),
                font,
                spacing=LINE_PX - TEXT_PX,
            )
        top += height
    return np.asarray(sheet, np.uint8)


def gallery(rows: Sequence[tuple[str, ImageU8, Sequence[Degraded], UpSpec]]) -> NDArray[np.uint8]:
    """Draw one row a recipe: its name, an HR face and faces that it degraded, enlarged by its ``store.up``,
    with their sizes.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, cell = ImageFont.load_default(TEXT_PX + 2), 112 + GAP_PX
    columns = 1 + max(len(variants) for _, _, variants, _ in rows)
    height = 112 + 2 * LINE_PX + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + columns * cell, GAP_PX + len(rows) * height), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, (name, hr, variants, up) in enumerate(rows):
        top = GAP_PX + number * height
        pen.text((GAP_PX, top), name, (0, 0, 0), font)
        pictures = [
            (hr, f"HR {hr.shape[1]} px"),
            *((enlarge(item.image, up), f"{item.image.shape[1]} px") for item in variants),
        ]
        for column, (picture, label) in enumerate(pictures):
            left = GAP_PX + column * cell
            shown = Image.fromarray(picture)
            sheet.paste(
                shown if shown.size[0] == 112 else shown.resize((112, 112), Image.Resampling.NEAREST),
                (left, top + LINE_PX + 4),
            )
            if column:
                pen.text((left + 112, top), label, (90, 90, 90), font, anchor="ra")
    return np.asarray(sheet, np.uint8)


def _row(
    name: str, hr: ImageU8, variants: Sequence[Degraded], up: UpSpec, font: Any
) -> list[tuple[ImageU8, list[str]]]:
    cells = [(hr, _wrap([f"HR {hr.shape[1]} px", name], font))]
    for index, variant in enumerate(variants):
        lines = [f"v{index}: {variant.image.shape[1]} px", *caption(variant.trace)]
        cells.append((enlarge(variant.image, up), _wrap(lines, font)))
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
