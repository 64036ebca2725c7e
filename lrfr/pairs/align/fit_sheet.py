"""The contact sheet of an alignment: photograph and crop side by side, landmarks drawn, worst fits first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.files import read_bytes
from lrfr.core.image import ImageU8, decode, encode_png
from lrfr.core.landmarks import TEMPLATE, similarity
from lrfr.pairs.align.landmark_fit import TEMPLATE_PX
from lrfr.pairs.align.photo_list import PhotoList
from lrfr.pairs.align.photo_task import CropRow, PhotoRow, reason_of
from lrfr.pairs.executors.picture_limits import picture_within_limits
from lrfr.pairs.sources.base import Place

SHOWN = 60
COLUMNS = 5
CELL_PX = 160
TEXT_PX = 42
GAP_PX = 8
# left eye green, right eye blue, nose yellow, mouth red
COLORS = ((0, 220, 0), (40, 120, 255), (255, 220, 0), (255, 60, 60), (255, 60, 160))
Cell = tuple[PhotoRow, CropRow | None]


def fit_sheet(listed: PhotoList, out: Path, rows: Sequence[PhotoRow]) -> bytes:
    """Draw up to 60 photographs with their crops.

    Those without a crop come first, then those without a face, then crops by how badly the landmarks fit.

    Args:
        listed: where the photographs are read from.
        out: folder of the crops.
        rows: what became of each photograph.

    Returns:
        The sheet as PNG.

    """
    from PIL import Image, ImageDraw, ImageFont

    cells = worst_first(rows)[:SHOWN]
    places = {photo.key: photo.place for photo in listed.photos}
    wide, high = 2 * CELL_PX + GAP_PX, CELL_PX + TEXT_PX
    count = max(1, min(COLUMNS, len(cells)))
    size = (GAP_PX + count * (wide + GAP_PX), 32 + -(-max(1, len(cells)) // count) * high)
    sheet = Image.new("RGB", size, (255, 255, 255))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    pen.text((GAP_PX, 8), f"{len(cells)} of {len(rows)} photographs, worst fits first", (0, 0, 0), font)
    for number, (row, crop) in enumerate(cells):
        left = GAP_PX + (number % count) * (wide + GAP_PX)
        top = 32 + (number // count) * high
        for column, picture in enumerate(_pictures(listed, out, crop, places[row.key])):
            sheet.paste(Image.fromarray(picture), (left + column * CELL_PX, top))
        for line, text in enumerate(_caption(row, crop)):
            pen.text((left, top + CELL_PX + 2 + 13 * line), _fitted(text, wide // 6), (40, 40, 40), font)
    return encode_png(np.asarray(sheet, np.uint8))


def worst_first(rows: Sequence[PhotoRow]) -> list[Cell]:
    """Return photographs without a crop, then crops without a face, then the others, worst fits first."""
    cells: list[Cell] = [(row, crop) for row in rows for crop in row.crops or (None,)]

    def worth(cell: Cell) -> tuple[int, float, str]:
        row, crop = cell
        if crop is None:
            return (0, 0.0, row.key)
        faceless = any(remark.code == "no-face" for remark in crop.remarks)
        return (1 if faceless else 2, -crop.residual_px, crop.crop)

    return sorted(cells, key=worth)


def _caption(row: PhotoRow, crop: CropRow | None) -> list[str]:
    if crop is None:
        return [row.key, reason_of(row) if row.code else "no face was found"]
    fit = f"fit {crop.residual_px:.1f} px, score {crop.score:.2f}"
    return [crop.crop, fit, " ".join(map(str, crop.remarks))]


def _fitted(text: str, most: int) -> str:
    shown = text.encode("ascii", "replace").decode("ascii")
    return shown if len(shown) <= most else f"...{shown[3 - most :]}"


def _pictures(listed: PhotoList, out: Path, crop: CropRow | None, place: Place) -> list[ImageU8]:
    """Return the photograph and the crop, each in a square cell, as far as they can be shown."""
    points = None if crop is None else np.array(crop.points).reshape(5, 2)
    try:
        shown = [_cell(picture_within_limits(partial(listed.source.read, place))[1], points)]
    except ImageFault:
        return [_blank(), _blank()]
    if crop is None or points is None:
        return [*shown, _blank()]
    try:
        cut = decode(read_bytes(out / crop.crop))
    except ImageFault:
        return [*shown, _blank()]
    matrix = similarity(points, TEMPLATE * (cut.shape[0] / TEMPLATE_PX))
    return [*shown, _cell(cut, points @ matrix[:, :2].T + matrix[:, 2])]


def _blank() -> ImageU8:
    return np.full((CELL_PX, CELL_PX, 3), 225, np.uint8)


def _cell(image: ImageU8, points: NDArray[np.float64] | None) -> ImageU8:
    """Fit a picture into a cell and draw its landmarks, if it has any."""
    scale = CELL_PX / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cell = _blank()
    cell[:height, :width] = cv2.resize(image, (width, height), interpolation=how)
    for point, color in zip(() if points is None else points, COLORS, strict=False):
        center = (round(float(point[0] + 0.5) * scale), round(float(point[1] + 0.5) * scale))
        cv2.circle(cell, center, 3, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(cell, center, 2, color, -1, cv2.LINE_AA)
    return cell
