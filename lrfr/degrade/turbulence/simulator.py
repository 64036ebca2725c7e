"""The turbulence simulator: tilt warps the picture, then every pixel is blurred with its own point-spread
function.

Tilt comes before blur: a point is first displaced and then smeared (Chan, arXiv 2207.06377). The blur
gathers, so a constant picture stays constant. Strength is D/r0; per picture it is only two amplitudes,
nothing has to be set up again for it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from lrfr.core.image import ImageU8
from lrfr.core.machine import torch_threads
from lrfr.degrade.turbulence.banks import bank_for
from lrfr.degrade.turbulence.field import Geometry, field_model
from lrfr.degrade.turbulence.gather import Renderer, Workspace
from lrfr.degrade.turbulence.p2s import Bank
from lrfr.degrade.turbulence.physics.theory import undo_diffraction
from lrfr.degrade.turbulence.strength import CALIBRATIONS, Calibration

Mode = Literal["learned", "exact"]
Optics = Literal["diffraction", "none"]


# pictures that go through one stage after another: what a stage multiplies by stays in the second-level cache
_GROUP = 16


@dataclass(frozen=True)
class _Job:
    """One picture to degrade, with its strength and noise; see :meth:`Simulator.run`."""

    image: ImageU8
    d_over_r0: float
    calibration: str
    normals: Tensor

    @property
    def gain(self) -> Calibration:
        return CALIBRATIONS[self.calibration]

    @property
    def blur_d_over_r0(self) -> float:
        return self.gain.blur * self.d_over_r0


class Simulator:
    """Degrades pictures of one size; make one with :func:`simulator`, which caches.

    Attributes:
        geometry: sizes and sampling.
        mode: ``learned`` predicts PSFs with the phase-to-space network, ``exact`` computes them by matrix
            DFT. Blur stronger than D/r0 = 4 is always exact: no bank has a network there.
        optics: ``diffraction`` blurs like a perfect lens of the same aperture even at D/r0 = 0; ``none``
            takes that blur out.

    """

    def __init__(self, geometry: Geometry, mode: Mode = "learned", optics: Optics = "diffraction") -> None:
        self.geometry, self.mode, self.optics = geometry, mode, optics
        with torch_threads(1):
            self.field = field_model(geometry)
        y, x = torch.meshgrid(
            torch.arange(geometry.height_px), torch.arange(geometry.width_px), indexing="ij"
        )
        self._pixels = torch.stack([x, y]).float()
        self._half_extent = torch.tensor([geometry.width_px - 1, geometry.height_px - 1]).view(2, 1, 1) / 2

    def num_modes(self, d_over_r0: float, calibration: str) -> int:
        """Return up to which Noll mode a strength is simulated; ``field.num_normals`` of it is the noise it
        takes.
        """
        return bank_for(
            CALIBRATIONS[calibration].blur * d_over_r0, self.geometry.pixels_per_airy
        ).psf.num_modes

    def run(
        self,
        images: Sequence[ImageU8],
        d_over_r0: Sequence[float],
        calibrations: Sequence[str],
        normals: Iterable[Tensor],
    ) -> list[ImageU8]:
        """Degrade pictures; each result is computed by itself and does not depend on the others.

        Args:
            images: uint8 [H, W, 3] of the geometry's size.
            d_over_r0: strength of each, 0 .. 10 after calibration.
            calibrations: a key of :data:`CALIBRATIONS` for each.
            normals: standard normals for each, float32, ``field.num_normals(num_modes(...))`` or more.

        """
        spaces: dict[str, Workspace] = {}
        done: list[ImageU8] = []
        jobs = (_Job(*row) for row in zip(images, d_over_r0, calibrations, normals, strict=True))
        # small products are no faster on more threads
        with torch_threads(1), torch.inference_mode():
            while group := list(itertools.islice(jobs, _GROUP)):
                moved = [self._moved(job) for job in group]
                phases = [self._phases(job) for job in group]
                coefficients = [
                    self._bank(job).coefficients(phase, self.mode == "exact")
                    for job, phase in zip(group, phases, strict=True)
                ]
                blurred = map(self._blurred, group, moved, coefficients, itertools.repeat(spaces))
                done += [_to_image(picture) for picture in blurred]
        return done

    def _moved(self, job: _Job) -> Tensor:
        """Return the picture after tilt, float32 [3, H, W]."""
        picture_chw = torch.from_numpy(np.ascontiguousarray(job.image.transpose(2, 0, 1))).float()
        shifts = self.field.shifts_px(job.normals) * job.d_over_r0 ** (5 / 6)
        return self.warp(picture_chw, shifts * torch.tensor([job.gain.tilt_x, job.gain.tilt_y]).view(2, 1, 1))

    def _phases(self, job: _Job) -> Tensor:
        """Return the Zernike coefficients of the blur at the nodes, radians, float32 [N, J - 3]."""
        strength: float = job.blur_d_over_r0 ** (5 / 6)
        return self.field.zernike(job.normals, self._bank(job).psf.num_modes) * strength

    def _blurred(
        self, job: _Job, moved: Tensor, coefficients: Tensor, spaces: dict[str, Workspace]
    ) -> Tensor:
        bank = self._bank(job)
        renderer = _renderer(self.geometry, bank)
        if bank.name not in spaces:
            spaces[bank.name] = renderer.workspace()
        if self.optics == "diffraction":
            return renderer(moved, coefficients, spaces[bank.name])
        # what turbulence adds to diffraction, applied to the picture as it was before diffraction
        sharp = undo_diffraction(moved, self.geometry.pixels_per_airy)
        added: Tensor = renderer(
            sharp, coefficients - bank.diffraction(self.mode == "exact"), spaces[bank.name]
        )
        return moved + added

    def warp(self, picture_chw: Tensor, shifts_px: Tensor) -> Tensor:
        """Move a picture float32 [3, H, W] by shifts (x, y) [2, H, W] in pixels: bilinear, reflecting
        borders.
        """
        grid = ((self._pixels + shifts_px) / self._half_extent - 1).permute(1, 2, 0)[None]
        return torch.nn.functional.grid_sample(
            picture_chw[None], grid, padding_mode="reflection", align_corners=True
        )[0]

    def _bank(self, job: _Job) -> Bank:
        return bank_for(job.blur_d_over_r0, self.geometry.pixels_per_airy)


def _to_image(picture_chw: Tensor) -> ImageU8:
    # adding nothing rounds half to even and saturates
    return np.asarray(cv2.add(cv2.merge(list(picture_chw.numpy())), 0, dtype=cv2.CV_8U), np.uint8)


@functools.lru_cache(maxsize=8)
def _renderer(geometry: Geometry, bank: Bank) -> Renderer:
    field = field_model(geometry)
    return Renderer(geometry.height_px, geometry.width_px, field.rows_px, field.columns_px, bank.basis)


@functools.lru_cache(maxsize=8)
def simulator(geometry: Geometry, mode: Mode = "learned", optics: Optics = "diffraction") -> Simulator:
    """Return a simulator; the last eight are kept."""
    return Simulator(geometry, mode, optics)
