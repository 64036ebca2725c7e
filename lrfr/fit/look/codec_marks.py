"""Which quality a small picture was compressed with, told by the lattice that its DCT coefficients lie on.

A coefficient that was rounded to a multiple of its step and decoded again lies within the rounding of pixels
of that multiple. Under a quality each coefficient is a Laplace variable rounded so, without a codec it is the
Laplace variable itself; the logarithms of the ratio of both densities add up over blocks and coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.fit.look.native_statistics import block_coefficients, steps_of

Floats = NDArray[np.float64]
QUALITIES = tuple(range(5, 97))
_ROUNDING = 0.45  # spread of a decoded coefficient about its multiple, in levels
_ODD = 0.02  # coefficients that clipping has moved anywhere
_LEAST_PX = 8


def codec_evidence(natives: Sequence[ImageU8]) -> Floats:
    """Return for each picture and quality how much more probable it is with that codec than without.

    Args:
        natives: uint8 [h, w, 3] RGB each, as the codec gave them.

    Returns:
        natural logarithms float64 [N, len(QUALITIES)], 0 where a picture is below 8 px.

    """
    steps = steps_of(QUALITIES).astype(np.float64)
    return np.array([_of_one(image, steps) for image in natives]).reshape(len(natives), len(QUALITIES))


def _of_one(image: ImageU8, steps: Floats) -> Floats:
    if min(image.shape[:2]) < _LEAST_PX:
        return np.zeros(len(steps))
    luma = image[None].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    found = block_coefficients(luma)[0].astype(np.float64)
    scale = np.abs(found).mean(axis=0) + 0.5
    total = np.zeros(len(steps))
    plain = np.exp(-np.abs(found) / scale) / (2 * scale)
    for k, step in enumerate(steps):
        turn = np.abs(np.rint(found / step))
        near, far = (np.exp(-np.maximum(turn + half, 0) * step / scale) / 2 for half in (-0.5, 0.5))
        cell = np.where(turn == 0, 1 - 2 * far, near - far)
        rest = (found - np.rint(found / step) * step) / _ROUNDING
        held = cell * np.exp(-0.5 * rest * rest) / (_ROUNDING * np.sqrt(2 * np.pi))
        total[k] = np.log((1 - _ODD) * held / plain + _ODD).sum()
    return total
