"""Pictures of what a generator does: faces against magnitudes, and one face along every basis direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from lrfr.core.image import ImageU8
from lrfr.core.streams import stream
from lrfr.degrade.inspect.picture_grid import tile
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import Card
from lrfr.degrade.style.render import render_style


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
