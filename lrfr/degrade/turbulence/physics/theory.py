"""What optics and Kolmogorov turbulence predict: transfer functions and tilt variance, with which results are
compared.

Spatial frequency nu is in units of the cutoff D/lambda. Sources: Fried, JOSA 56 (1966) 1372 (long and short
exposure); Noll 1976.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.degrade.turbulence.physics.zernike import noll_covariance, residual_variance

Array = NDArray[np.float64]

# floor of the diffraction MTF when it is divided out: high frequencies, which no lens passes, are left alone
# below it
_MTF_FLOOR = 0.1


def diffraction_mtf(nu: Array) -> Array:
    """Return the MTF of a circular aperture, H0."""
    inside = np.clip(nu, 0, 1)
    return np.asarray(2 / math.pi * (np.arccos(inside) - inside * np.sqrt(1 - inside**2)))


def long_exposure_mtf(nu: Array, d_over_r0: float) -> Array:
    """Return the long-exposure MTF, diffraction included (Fried 1966)."""
    return np.asarray(diffraction_mtf(nu) * np.exp(-3.44 * (d_over_r0 * nu) ** (5 / 3)))


def short_exposure_mtf(nu: Array, d_over_r0: float, alpha: float = 1.0) -> Array:
    """Return the tilt-removed MTF (Fried 1966); ``alpha`` is 1 in the near field, 0.5 in the far field."""
    return np.asarray(
        diffraction_mtf(nu) * np.exp(-3.44 * (d_over_r0 * nu) ** (5 / 3) * (1 - alpha * nu ** (1 / 3)))
    )


def missing_modes_factor(num_modes: int, d_over_r0: float) -> float:
    """Return what modes above ``num_modes`` take off the MTF at all but the lowest frequencies: exp(-residual
    variance).
    """
    return math.exp(-residual_variance(num_modes) * d_over_r0 ** (5 / 3))


def tilt_std_px(d_over_r0: float, pixels_per_airy: float) -> float:
    """Return the standard deviation of the shift along one axis in pixels (Zernike tilt: 0.1819 (D/r0)^(5/3)
    (lambda/D)^2).
    """
    return float(2 / math.pi * pixels_per_airy * math.sqrt(noll_covariance(2)[0, 0]) * d_over_r0 ** (5 / 6))


def undo_diffraction(picture_chw: Tensor, pixels_per_airy: float) -> Tensor:
    """Return the picture [3, H, W] divided by the diffraction MTF, which is floored at 0.1; borders are
    mirrored.
    """
    height, width = picture_chw.shape[1:]
    # mirrored about the outermost pixels the picture is periodic, so the FFT sees no edge
    mirrored = torch.cat([picture_chw, picture_chw[:, 1:-1].flip(1)], 1)
    mirrored = torch.cat([mirrored, mirrored[:, :, 1:-1].flip(2)], 2)
    nu = pixels_per_airy * np.hypot(
        np.fft.fftfreq(2 * height - 2)[:, None], np.fft.rfftfreq(2 * width - 2)[None]
    )
    gain = torch.from_numpy(1 / np.maximum(diffraction_mtf(nu), _MTF_FLOOR)).float()
    whole: Tensor = torch.fft.irfft2(torch.fft.rfft2(mirrored) * gain, s=mirrored.shape[1:])
    return whole[:, :height, :width]
