"""Exact point-spread functions from Zernike coefficients, by matrix DFT.

The field in the pupil is u = circ exp(i sum a_j Z_j) and the PSF |FT(u)|^2. Only the K x K pixels in the
middle are wanted, so the transform is two small products F u F^T with F = exp(-2 pi i k p / (q P)) instead of
an FFT of the padded pupil (equal to 1e-6). Every mode, and every part of F, is even or odd along both axes.
So all is computed on a quarter of the pupil and of the window, for the four parities (even-even, even-odd,
odd-even, odd-odd; y first), in real numbers: an eighth of the work. Tilt has no place here: it moves the
picture and goes to the warp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lrfr.degrade.turbulence.physics.zernike import noll_covariance, noll_nm, pupil_grid, zernike_modes

# PSFs at a time: the pupil fields of one chunk stay in the second-level cache, and block shapes never vary
_CHUNK = 32
# from parities to quarters (++, +-, -+, --; y first) and, being symmetric, from quarters to parities
_SIGNS = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
# exp(-ikp) = cos - i sin along both axes: the parities' factors are 1, -i, -i, -1; rows and columns are real
# parts, then imaginary ones
_EVEN, _ODD = _SIGNS * torch.tensor([1.0, 0, 0, -1]), _SIGNS * torch.tensor([0.0, 1, 1, 0])
_COMBINE = torch.cat([torch.cat([_EVEN, _ODD], 1), torch.cat([-_ODD, _EVEN], 1)])


@dataclass(frozen=True)
class PsfModel:
    """Phase to PSF for one optical geometry.

    Attributes:
        num_modes: last Noll mode J; coefficients are those of modes 4 .. J.
        window_px: side K of the PSF window, odd.
        pupil_samples: samples P across the aperture, even (32 is fine up to D/r0 = 4, 48 up to 10).
        pixels_per_airy: q, image pixels per lambda/D; 2 is Nyquist sampling.

    """

    num_modes: int = 36
    window_px: int = 21
    pupil_samples: int = 32
    pixels_per_airy: float = 2.0

    @cached_property
    def _order(self) -> Tensor:
        """Rows of the modes, sorted by parity, int64 [J - 3]."""
        return (
            torch.tensor([_parity(noll_nm(j)[1]) for j in range(4, self.num_modes + 1)])
            .sort(stable=True)
            .indices
        )

    @cached_property
    def _modes(self) -> list[Tensor]:
        """For each parity its modes over the quarter of the pupil, float32 [P/2 * P/2, J_c], in the order
        above.
        """
        half = self.pupil_samples // 2
        quarter = (
            torch.from_numpy(zernike_modes(self.num_modes, self.pupil_samples)[:, half:, half:])
            .float()
            .flatten(1)
        )
        counts = np.bincount(
            [_parity(noll_nm(j)[1]) for j in range(4, self.num_modes + 1)], minlength=4
        ).tolist()
        return [modes.T.contiguous() for modes in torch.split(quarter[self._order], counts)]

    @cached_property
    def _waves(self) -> tuple[Tensor, Tensor]:
        """Cosine and sine of 2 pi k p / (q P) for pixels k >= 0 and the pupil's positive half, float32 [(K +
        1) / 2, P/2] each.
        """
        pixel = np.arange(self.window_px // 2 + 1)
        place = np.arange(self.pupil_samples // 2) + 0.5
        angle = torch.from_numpy(
            2 * math.pi * np.outer(pixel, place) / (self.pixels_per_airy * self.pupil_samples)
        )
        return angle.cos().float(), angle.sin().float()

    @cached_property
    def _along_y(self) -> Tensor:
        """The transform along y of every part (real, imaginary) and parity, float32 [8, (K + 1) / 2, P/2]."""
        cos, sin = self._waves
        return torch.stack([cos, cos, sin, sin] * 2)

    @cached_property
    def _along_x(self) -> Tensor:
        """The transform along x of every part, parity and pixel row, float32 [8 * (K + 1) / 2, (K + 1) / 2,
        P/2].
        """
        cos, sin = self._waves
        return torch.stack([cos, sin, cos, sin] * 2).repeat_interleave(len(cos), 0)

    @cached_property
    def _outside(self) -> Tensor:
        """Transform of the square outside the disc, where the phase is zero, float32 [(K + 1) / 2, (K + 1) /
        2, 1].
        """
        radius, _ = pupil_grid(self.pupil_samples)
        half = self.pupil_samples // 2
        outside = 4 * torch.from_numpy(radius[half:, half:] > 1).float()
        return (self._waves[0] @ outside @ self._waves[0].T)[..., None]

    @cached_property
    def _pixels(self) -> Tensor:
        """Where each pixel of the window, row-major, stands among the four quarters of pixels k >= 0, int64
        [K * K].
        """
        offset = torch.arange(self.window_px) - self.window_px // 2
        side, place = (offset < 0).long(), offset.abs()
        count = self.window_px // 2 + 1
        return (((2 * side[:, None] + side) * count + place[:, None]) * count + place).flatten()

    def __call__(self, coefficients_nm: Tensor) -> Tensor:
        """Return PSFs float32 [N, K, K], each with sum 1 inside the window.

        Args:
            coefficients_nm: Zernike coefficients in radians, float32 [N, J - 3].

        """
        by_parity = coefficients_nm.T.index_select(0, self._order)
        psfs = coefficients_nm.new_empty(len(coefficients_nm), self.window_px, self.window_px)
        for start in range(0, len(psfs), _CHUNK):
            self._fill(psfs[start : start + _CHUNK], by_parity[:, start : start + _CHUNK])
        return psfs

    def _fill(self, psfs_nkk: Tensor, coefficients_mn: Tensor) -> None:
        """Write one chunk; pixels come first and PSFs last in every array, so that all products are wide."""
        half, side, count = self.pupil_samples // 2, self.window_px // 2 + 1, len(psfs_nkk)
        parts = psfs_nkk.new_empty(4, half * half, count)
        first = 0
        for part, modes in zip(parts, self._modes, strict=True):
            torch.mm(modes, coefficients_mn[first : first + modes.shape[1]], out=part)
            first += modes.shape[1]
        phase = _SIGNS @ parts.flatten(1)
        field = phase.new_empty(2, *phase.shape)
        torch.cos(phase, out=field[0])
        torch.sin(phase, out=field[1])
        rows = torch.bmm(self._along_y, torch.matmul(_SIGNS, field).view(8, half, -1))
        image = torch.bmm(self._along_x, rows.view(8 * side, half, -1)).view(8, side, side, -1)
        # cos(0) = 1 outside the disc: the square's corners let light through that the lens does not
        image[0] -= self._outside
        real, imaginary = torch.mm(_COMBINE, image.flatten(1)).square_().chunk(2)
        power = real.add_(imaginary).view(4 * side**2, -1).index_select(0, self._pixels)
        psfs_nkk.copy_((power / power.sum(0)).T.view_as(psfs_nkk))


def draw_phases(
    model: PsfModel, count: int, low: float, high: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return log-uniform strengths D/r0 [N] and Zernike coefficients float32 [N, J - 3] drawn from Noll's
    covariance.
    """
    factor = torch.from_numpy(np.linalg.cholesky(noll_covariance(model.num_modes, 4))).float()
    strength = torch.exp(torch.rand(count, generator=generator) * math.log(high / low) + math.log(low))
    unit = torch.randn(count, model.num_modes - 3, generator=generator) @ factor.T
    return strength, unit * strength[:, None] ** (5 / 6)


def _parity(m: int) -> int:
    """Return 2 if a mode of azimuthal order m (negative: sine) is odd along y, plus 1 if it is odd along
    x.
    """
    return 2 + (m + 1) % 2 if m < 0 else m % 2
