"""Measure what the simulator does, so that it can be held against theory: tilt statistics, mean transfer
functions, pictures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.core.image import ImageU8
from lrfr.core.machine import torch_threads
from lrfr.degrade.turbulence.field import FieldModel
from lrfr.degrade.turbulence.physics.psf import PsfModel
from lrfr.degrade.turbulence.physics.zernike import noll_covariance, pupil_grid, zernike_modes
from lrfr.degrade.turbulence.simulator import Simulator

Array = NDArray[np.float64]


def draw_shifts_px(field: FieldModel, count: int, seed: int) -> Tensor:
    """Return ``count`` shift maps at D/r0 = 1, float32 [count, 2 (x, y), H, W]."""
    generator = torch.Generator().manual_seed(seed)
    with torch_threads(1):
        size = field.num_normals(3)
        return torch.stack([field.shifts_px(torch.randn(size, generator=generator)) for _ in range(count)])


def differential_tilt(shifts_px: Tensor, separation_px: int) -> tuple[float, float]:
    """Return the mean squared difference of shifts that far apart, along and across the separation, in
    px^2.
    """
    dx = (shifts_px[..., separation_px:] - shifts_px[..., :-separation_px]).square().mean((0, 2, 3))
    dy = (shifts_px[..., separation_px:, :] - shifts_px[..., :-separation_px, :]).square().mean((0, 2, 3))
    return float(dx[0] + dy[1]) / 2, float(dx[1] + dy[0]) / 2


def mean_mtf(
    d_over_r0: float, count: int, seed: int, *, num_modes: int = 36, with_tilt: bool = True, samples: int = 32
) -> tuple[Array, Array]:
    """Return frequencies nu [units of D/lambda] and the transfer function of ``count`` averaged PSFs over
    diffraction's.

    The optical transfer function is the autocorrelation of the pupil field, read off along both axes at
    whole-sample lags.
    """
    first = 2 if with_tilt else 4
    generator = torch.Generator().manual_seed(seed)
    factor = torch.from_numpy(np.linalg.cholesky(noll_covariance(num_modes, first))).float()
    modes = torch.from_numpy(zernike_modes(num_modes, samples, first)).float().flatten(1)
    disc = torch.from_numpy(pupil_grid(samples)[0] <= 1).float()
    total = torch.zeros(2 * samples, 2 * samples, dtype=torch.complex64)
    for start in range(0, count, 256):
        normals = torch.randn(min(256, count - start), len(factor), generator=generator)
        phase = (normals @ factor.T @ modes * d_over_r0 ** (5 / 6)).view(-1, samples, samples)
        total += _otf(torch.polar(disc.expand_as(phase), phase)).sum(0)
    ratio = (total / count / _otf(disc[None].to(torch.complex64))[0]).real.numpy().astype(float)
    lags = np.arange(1, samples)
    return lags / samples, (ratio[0, lags] + ratio[lags, 0]) / 2


def _otf(field: Tensor) -> Tensor:
    side = 2 * field.shape[-1]
    transfer: Tensor = torch.fft.ifft2(torch.fft.fft2(field, (side, side)).abs().square().to(torch.complex64))
    return transfer


def random_normals(one: Simulator, count: int, seed: int) -> list[Tensor]:
    """Return noise for ``count`` pictures of any strength."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(one.field.num_normals(66), generator=generator) for _ in range(count)]


def psnr_db(a: ImageU8, b: ImageU8) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit images in dB."""
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error > 0 else math.inf


def dense_exact(picture_chw: Tensor, psf: PsfModel, zernike_pixels: Tensor) -> Tensor:
    """Return the reference picture: the exact PSF at every pixel, applied by plain summation (slow).

    Args:
        picture_chw: float32 [3, H, W].
        psf: optical geometry.
        zernike_pixels: coefficients at every pixel in radians, row-major, float32 [H * W, J - 3].

    """
    size = psf.window_px
    padded = torch.nn.functional.pad(picture_chw[None], (size // 2,) * 4, mode="reflect")[0]
    kernels = psf(zernike_pixels).flip(1, 2).view(*picture_chw.shape[1:], size, size)
    return torch.stack(
        [(color.unfold(0, size, 1).unfold(1, size, 1) * kernels).sum((2, 3)) for color in padded]
    )


def milliseconds_per_image(
    one: Simulator, images: Sequence[ImageU8], d_over_r0: float, repeats: int = 5
) -> float:
    """Return the median CPU milliseconds a picture takes in a batch of ``images``, on one thread."""
    noise = random_normals(one, len(images), 0)
    arguments = (images, [d_over_r0] * len(images), ["physical"] * len(images), noise)
    one.run(*arguments)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        one.run(*arguments)
        times.append((time.process_time() - start) / len(images) * 1e3)
    return sorted(times)[len(times) // 2]
