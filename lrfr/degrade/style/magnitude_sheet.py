"""Pictures of what a generator does: faces against magnitudes, and one face along every basis direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from lrfr.core.image import ImageU8
from lrfr.core.streams import stream
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import Card
from lrfr.degrade.style.render import render_style

GAP_PX = 4
CAPTION_PX = 16


def unit_direction(seed: int, name: str, n_basis: int) -> list[float]:
    """Return a direction drawn uniformly on the sphere."""
    source = stream(seed, name.encode(), 0, "style-sheet")
    normal = [NormalDist().inv_cdf(max(source.u(1 + k), 2.0**-54)) for k in range(n_basis)]
    return [value / math.hypot(*normal) for value in normal]


def magnitude_sheet(
    generator: StyleGenerator,
    card: Card,
    faces: Sequence[ImageU8],
    magnitudes: Sequence[float],
    *,
    basis: int | None = None,
    seed: int = 0,
) -> ImageU8:
    """Return one row for each face: the face, then its styles at ``magnitudes`` along one direction.

    Args:
        generator: in eval mode.
        card: its card, for the calibration.
        faces: uint8 HWC RGB of one size.
        magnitudes: calibrated magnitudes, the columns.
        basis: number of the basis direction; None takes a random direction for each row.
        seed: seed of the random directions.

    """
    count = card.layout.n_basis
    rows = []
    for index, face in enumerate(faces):
        unit = (
            unit_direction(seed, str(index), count)
            if basis is None
            else [float(k == basis) for k in range(count)]
        )
        rows.append([face, *render_along(generator, card, face, unit, magnitudes)])
    return tile(rows, ["input", *(f"m = {magnitude:g}" for magnitude in magnitudes)])


def direction_sheet(
    generator: StyleGenerator, card: Card, face: ImageU8, magnitudes: Sequence[float]
) -> ImageU8:
    """Return one row for each basis direction, with ``magnitudes`` (of both signs) as columns."""
    count = card.layout.n_basis
    units = [[float(k == basis) for k in range(count)] for basis in range(count)]
    rows = [render_along(generator, card, face, unit, magnitudes) for unit in units]
    return tile(rows, [f"m = {magnitude:g}" for magnitude in magnitudes])


def render_along(
    generator: StyleGenerator, card: Card, face: ImageU8, unit: Sequence[float], magnitudes: Sequence[float]
) -> list[ImageU8]:
    """Return one face at several calibrated magnitudes along one direction, under one noise."""
    norms = [card.norm_for(magnitude) for magnitude in magnitudes]
    noise = stream(0, b"", 0, "style-sheet")
    return render_style(
        generator,
        [face] * len(norms),
        [[norm * value for value in unit] for norm in norms],
        [noise] * len(norms),
    )


def tile(rows: Sequence[Sequence[ImageU8]], captions: Sequence[str] = ()) -> ImageU8:
    """Return pictures of one size in rows and columns on white, with a caption over each column."""
    import cv2

    height, width = rows[0][0].shape[:2]
    top = CAPTION_PX if captions else 0
    columns = max(len(row) for row in rows)
    sheet = np.full((top + len(rows) * (height + GAP_PX), columns * (width + GAP_PX), 3), 255, np.uint8)
    for column, text in enumerate(captions):
        cv2.putText(
            sheet,
            text,
            (column * (width + GAP_PX) + 2, CAPTION_PX - 5),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.38,
            (0, 0, 0),
            1,
            cv2.LINE_AA,
        )
    for line, row in enumerate(rows):
        for column, picture in enumerate(row):
            y, x = top + line * (height + GAP_PX), column * (width + GAP_PX)
            sheet[y : y + height, x : x + width] = picture
    return sheet
