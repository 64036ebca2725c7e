"""How alike two pictures are: PSNR and SSIM."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_K1, _K2, _SIGMA_PX = 0.01, 0.03, 1.5  # of the paper
_BORDER_PX = 5  # half of the paper's window of 11 px: what lies nearer to the rim would see mirrored pixels


def psnr_db(one: ImageU8, other: ImageU8) -> float:
    """Return the peak signal-to-noise ratio in dB of two equally sized images (100 when they are equal)."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return min(100.0, 10 * math.log10(255**2 / error)) if error > 0 else 100.0


def ssim(one: ImageU8, other: ImageU8) -> float:
    """Return the structural similarity in [-1, 1] of two equally large pictures, on gray values.

    Gaussian window of sigma 1.5 px and 11 px width, population moments, K1 = 0.01, K2 = 0.03; the border of
    5 px is left out where something remains.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 13 (2004), eq. 13.
    """
    from scipy.ndimage import gaussian_filter

    x, y = (image.astype(np.float64) @ _LUMINANCE for image in (one, other))

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, _SIGMA_PX, truncate=3.5))

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = (_K1 * 255) ** 2, (_K2 * 255) ** 2
    score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    inner = score[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
    return float((inner if inner.size else score).mean())
