"""Noise by table: uniform 16-bit words become Gaussian or Poisson numbers by looking up exact quantiles.

A generator's own normal and Poisson distributions are slow (Poisson takes milliseconds an image) and may
change between numpy versions; the words of a counter-based generator do not, and neither do these tables.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lrfr.degrade.values.distributions import tidy

Counts = NDArray[np.uint8] | NDArray[np.uint16]

WORDS = 1 << 16
QUANTILES = 1024
STEPS_PER_OCTAVE = 8


@functools.cache
def normal_table() -> NDArray[np.float32]:
    """Return z for each 16-bit word: the normal quantile of (word + 1/2) / 65536, a multiple of 1/4096 (|z|
    <= 4.33).
    """
    law = NormalDist()
    # rounded, so that the last bits of a math library play no part; the upper half mirrors the lower, so the
    # mean is exactly 0
    lower = [round(law.inv_cdf((word + 0.5) / WORDS) * 4096) / 4096 for word in range(WORDS // 2)]
    return np.asarray([*lower, *(-z for z in reversed(lower))], np.float32)


def normal_field(words: NDArray[np.uint16], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return standard normal numbers (float32) for uniform words."""
    import cv2

    field: NDArray[np.float32] = cv2.LUT(words.reshape(shape), normal_table().reshape(1, -1))
    return field


def snap_photons(photons: float) -> float:
    """Return the nearest of 2^(k/8), so that drawn photon counts share a few tables."""
    return tidy(2.0 ** (round(math.log2(photons) * STEPS_PER_OCTAVE) / STEPS_PER_OCTAVE))


# holds every count that is drawn: snapped to 2^(k/8), there are 107 up to 10,000 photons. Each process makes
# its own, half a second of its life at worst: a file that they share would decide pixels beside the spec
@functools.lru_cache(maxsize=128)
def poisson_table(photons: float) -> Counts:
    """Return counts [256 * 1024]: for each gray level the Poisson quantiles at (q + 1/2) / 1024, mean = level
    / 255 * photons.

    The counts are bytes where they fit, 16-bit words elsewhere: half the memory to look up in.
    """
    table = np.zeros((256, QUANTILES), np.uint16)
    probabilities = (np.arange(QUANTILES) + 0.5) / QUANTILES
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, _most(photons) + 1)))])
    for level in range(1, 256):
        mean = level / 255 * photons
        # six standard deviations (and ten more, for small means) hold all but 1e-9, far less than one of 1024
        # quantiles
        first, last = max(0, math.floor(mean - 6 * math.sqrt(mean) - 10)), _most(mean)
        counts = np.arange(first, last + 1)
        below = np.cumsum(np.exp(counts * math.log(mean) - mean - log_factorials[first : last + 1]))
        table[level] = first + np.searchsorted(below, probabilities)
    fitting: Counts = table.astype(np.uint8) if table.max() < 256 else table
    return fitting.ravel()


def _most(mean: float) -> int:
    return math.ceil(mean + 6 * math.sqrt(mean) + 10)


def poisson_field(levels: NDArray[np.uint8], photons: float, words: NDArray[np.uint16]) -> Counts:
    """Return photon counts for gray levels: Poisson with mean level / 255 * photons, one uniform word
    each.
    """
    index = levels.astype(np.int32)
    # row: the gray level; column: the ten upper bits of the word
    index <<= 10
    index |= (words >> 6).astype(np.int32).reshape(levels.shape)
    return poisson_table(photons).take(index)
