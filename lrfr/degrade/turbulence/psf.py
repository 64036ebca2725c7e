"""Exact point-spread functions from Zernike coefficients, by matrix DFT.

The field in the pupil is u = circ exp(i sum a_j Z_j) and the PSF |FT(u)|^2. Only the K x K pixels in the middle are wanted, so the
transform is two small products F u F^T with F = exp(-2 pi i k p / (q P)) instead of an FFT of the padded pupil (equal to 1e-6).
Tilt has no place here: it moves the picture and goes to the warp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lrfr.degrade.turbulence.zernike import noll_covariance, pupil_grid, zernike_modes

_CHUNK = 32  # PSFs at a time: the pupil fields of one chunk stay in the second-level cache, and block shapes never vary


@dataclass(frozen=True)
class PsfModel:
    """Phase to PSF for one optical geometry.

    Attributes:
        num_modes: last Noll mode J; coefficients are those of modes 4 .. J.
        window_px: side K of the PSF window, odd.
        pupil_samples: samples P across the aperture (32 is fine up to D/r0 = 4, 48 up to 10).
        pixels_per_airy: q, image pixels per lambda/D; 2 is Nyquist sampling.

    """

    num_modes: int = 36
    window_px: int = 21
    pupil_samples: int = 32
    pixels_per_airy: float = 2.0

    @cached_property
    def modes(self) -> Tensor:
        """Modes 4 .. J over the pupil square, float32 [J - 3, P * P], zero outside the disc."""
        return torch.from_numpy(zernike_modes(self.num_modes, self.pupil_samples).reshape(self.num_modes - 3, -1)).float()

    @cached_property
    def _transform(self) -> Tensor:
        """F, complex64 [K, P]."""
        pixel = np.arange(self.window_px) - self.window_px // 2
        place = np.arange(self.pupil_samples) - (self.pupil_samples - 1) / 2
        return torch.from_numpy(np.exp(-2j * math.pi * np.outer(pixel, place) / (self.pixels_per_airy * self.pupil_samples))).to(
            torch.complex64
        )

    @cached_property
    def _outside(self) -> Tensor:
        """Transform of the square outside the disc, where the phase is zero, complex64 [K, K]; taken off every field."""
        radius, _ = pupil_grid(self.pupil_samples)
        return self._transform @ torch.from_numpy(radius > 1).to(torch.complex64) @ self._transform.T

    def __call__(self, coefficients_nm: Tensor) -> Tensor:
        """Return PSFs float32 [N, K, K], each with sum 1 inside the window.

        Args:
            coefficients_nm: Zernike coefficients in radians, float32 [N, J - 3].

        """
        return torch.cat([self._chunk(part) for part in torch.split(coefficients_nm, _CHUNK)])

    def _chunk(self, coefficients_nm: Tensor) -> Tensor:
        side = self.pupil_samples
        phase = (coefficients_nm @ self.modes).view(-1, side, side)
        field = torch.complex(phase.cos(), phase.sin())
        image = self._transform @ (field @ self._transform.T) - self._outside
        power = image.real.square() + image.imag.square()
        return power / power.sum((1, 2), keepdim=True)

    def airy(self) -> Tensor:
        """Return the diffraction-limited PSF, float32 [K, K]."""
        return self(torch.zeros(1, self.num_modes - 3))[0]


def draw_phases(model: PsfModel, count: int, low: float, high: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return log-uniform strengths D/r0 [N] and Zernike coefficients float32 [N, J - 3] drawn from Noll's covariance."""
    factor = torch.from_numpy(np.linalg.cholesky(noll_covariance(model.num_modes, 4))).float()
    strength = torch.exp(torch.rand(count, generator=generator) * math.log(high / low) + math.log(low))
    unit = torch.randn(count, model.num_modes - 3, generator=generator) @ factor.T
    return strength, unit * strength[:, None] ** (5 / 6)
