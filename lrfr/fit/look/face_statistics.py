"""What tells one camera from another in one face, as numbers: what is measured on the crop as it is seen.

:data:`REVISION` is raised by hand when a statistic changes; it names caches and recipes' records.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.ops.resize import resize_batch
from lrfr.fit.look.enlargement import WayUp, luma_of, native_sizes, shrink_back
from lrfr.fit.look.native_statistics import NATIVE_NAMES, native_statistics

REVISION = 1
Floats = NDArray[np.float32]
_RADII, _CHROMA_RADII, _SECTORS = 26, 12, 4
_LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0), (0, 4), (4, 0), (0, 8), (8, 0))
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_BATCH = 128
_TINY = 1e-3


@dataclass(frozen=True)
class Gaze:
    """How crops are looked at, the same for a camera's and for simulated ones.

    Attributes:
        canvas_px: side that every crop is brought to.
        way: how small faces were enlarged; None where crops keep their native sizes.
        size_px: native side that is taken where none is found (0: the canvas).
        detect: whether the native side of each crop is looked for (lossless containers).

    """

    canvas_px: int
    way: WayUp | None = None
    size_px: int = 0
    detect: bool = False


def face_statistics(crops: Sequence[ImageU8], gaze: Gaze) -> Floats:
    """Return the statistics of faces, float32 [N, D]; the columns are :data:`NAMES`.

    Args:
        crops: uint8 [h, w, 3] RGB each.
        gaze: how they are looked at.

    """
    parts = [_of_batch(crops[start : start + _BATCH], gaze) for start in range(0, len(crops), _BATCH)]
    return np.concatenate(parts) if parts else np.empty((0, len(NAMES)), np.float32)


def found_sizes(crops: Sequence[ImageU8], gaze: Gaze) -> NDArray[np.int64]:
    """Return the native side of each crop in px, 0 where it was not found."""
    if gaze.way is None:
        return np.array([min(crop.shape[:2]) for crop in crops], np.int64)
    if not gaze.detect:
        return np.full(len(crops), gaze.size_px, np.int64)
    parts = [
        native_sizes(luma_of(on_canvas(crops[start : start + _BATCH], gaze.canvas_px)), gaze.way)
        for start in range(0, len(crops), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def on_canvas(crops: Sequence[ImageU8], canvas_px: int) -> ImageU8:
    """Return crops brought to one side, uint8 [N, C, C, 3]."""
    return np.stack([resize_batch(crop[None], canvas_px, "bicubic", True)[0] for crop in crops])


def natives_of(crops: Sequence[ImageU8], gaze: Gaze) -> tuple[list[ImageU8], NDArray[np.int64]]:
    """Return each crop at its native side as far as it is known, and the side that was found, or 0."""
    sizes = found_sizes(crops, gaze)
    if gaze.way is None:
        return list(crops), sizes
    taken = np.where(sizes > 0, sizes, gaze.size_px or gaze.canvas_px)
    small = [
        shrink_back(crop, gaze.way, int(size)) if size < gaze.canvas_px else crop
        for crop, size in zip(crops, taken, strict=True)
    ]
    return small, sizes


def _of_batch(crops: Sequence[ImageU8], gaze: Gaze) -> Floats:
    canvas = on_canvas(crops, gaze.canvas_px)
    natives, sizes = natives_of(list(canvas) if gaze.way else crops, gaze)
    ycc = to_ycc(canvas)
    found = [_tone(ycc), _spectra(ycc), native_statistics(natives)]
    held = np.stack([sizes > 0, np.log2(np.maximum(sizes, 4))], axis=1)
    return np.concatenate([held, *found], axis=1).astype(np.float32)


def to_ycc(images_nhwc: ImageU8) -> Floats:
    """Return full-range BT.601 YCbCr (JPEG's), chroma around 0, float32 [N, 3, H, W]."""
    rgb = images_nhwc.astype(np.float32)
    matrix = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
    )
    return np.ascontiguousarray((rgb @ matrix.T).transpose(0, 3, 1, 2))


def _tone(ycc: Floats) -> Floats:
    luma = ycc[:, 0]
    # every fourth pixel in both directions tells the tone of all
    thin = np.sort(luma[:, 1::4, 1::4].reshape(len(luma), -1), axis=1)
    at = [thin[:, int(q * (thin.shape[1] - 1))] for q in _QUANTILES]
    chroma = ycc[:, 1:]
    half = luma.shape[1] // 2
    red_luma = (chroma[:, 1] * (luma - luma.mean(axis=(1, 2), keepdims=True))).mean(axis=(1, 2))
    columns = [
        *at,
        luma.std(axis=(1, 2)),
        chroma[:, 0].mean(axis=(1, 2)),
        chroma[:, 1].mean(axis=(1, 2)),
        np.log(chroma[:, 0].std(axis=(1, 2)) + 0.1),
        np.log(chroma[:, 1].std(axis=(1, 2)) + 0.1),
        red_luma / (luma.std(axis=(1, 2)) + 1),
        (luma < 2).mean(axis=(1, 2)),
        (luma > 253).mean(axis=(1, 2)),
        luma[:, :, :half].mean(axis=(1, 2)) - luma[:, :, half:].mean(axis=(1, 2)),
        luma[:, :half].mean(axis=(1, 2)) - luma[:, half:].mean(axis=(1, 2)),
        luma[:, half // 2 : -half // 2, half // 2 : -half // 2].mean(axis=(1, 2)) - luma.mean(axis=(1, 2)),
    ]
    return np.stack(columns, axis=1)


@functools.lru_cache(maxsize=8)
def _plane(side: int) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return window, radial bin (luma, chroma), sector of each cell of a half plane."""
    hann = np.hanning(side + 2)[1:-1].astype(np.float32)
    window = np.outer(hann, hann)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius = np.hypot(fy, fx) / 0.5
    bins = [np.minimum((radius * n / 1.2).astype(np.int64), n - 1) for n in (_RADII, _CHROMA_RADII)]
    angle = np.mod(np.arctan2(fy, fx) + np.pi / 8, np.pi)
    sector = np.minimum((angle / (np.pi / 4)).astype(np.int64), 3)
    band = np.digitize(radius, [0.08, 0.2, 0.4, 0.7])
    return window, bins[0], bins[1], band * _SECTORS + sector


def _binned(power: Floats, bins: NDArray[np.int64], count: int) -> Floats:
    flat = bins.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(count))
    sums = np.add.reduceat(power.reshape(len(power), -1)[:, order], starts, axis=1)
    return np.asarray(sums / np.bincount(flat, minlength=count), np.float32)


def _spectra(ycc: Floats) -> Floats:
    side = ycc.shape[2]
    window, radial, coarse, sectors = _plane(side)
    zero = ycc - ycc.mean(axis=(2, 3), keepdims=True)
    power = np.square(np.abs(scipy.fft.rfft2(zero * window)))
    power /= float(np.square(window).sum())
    luma = np.log(_binned(power[:, 0], radial, _RADII) + _TINY)
    chroma = [np.log(_binned(power[:, c], coarse, _CHROMA_RADII) + _TINY) for c in (1, 2)]
    turned = np.log(_binned(power[:, 0], sectors, 5 * _SECTORS) + _TINY).reshape(len(ycc), 5, _SECTORS)
    turned -= turned.mean(axis=2, keepdims=True)
    high = _high_pass(side)
    covariance = scipy.fft.irfft2(power[:, 0] * high, s=(side, side))
    lags = np.stack([covariance[:, y, x] for y, x in _LAGS], axis=1) / (covariance[:, :1, 0] + _TINY)
    return np.concatenate([luma, *chroma, turned[:, 1:].reshape(len(ycc), -1), lags], axis=1)


@functools.lru_cache(maxsize=8)
def _high_pass(side: int) -> Floats:
    """Return the squared response of the Laplacian [0 1 0; 1 -4 1; 0 1 0]."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    response = 4 - 2 * np.cos(2 * np.pi * fy) - 2 * np.cos(2 * np.pi * fx)
    squared: Floats = np.square(response).astype(np.float32)
    return squared


_TONE_NAMES = (
    *(f"luma quantile {q}" for q in _QUANTILES),
    "contrast",
    "mean Cb",
    "mean Cr",
    "spread Cb",
    "spread Cr",
    "luma with Cr",
    "black pixels",
    "white pixels",
    "left - right",
    "top - bottom",
    "middle - all",
)
NAMES: tuple[str, ...] = (
    "size found",
    "size, octaves",
    *(f"tone: {name}" for name in _TONE_NAMES),
    *(f"spectrum: luma band {k}" for k in range(_RADII)),
    *(f"spectrum: {c} band {k}" for c in ("Cb", "Cr") for k in range(_CHROMA_RADII)),
    *(f"direction: band {b} sector {s}" for b in range(1, 5) for s in range(_SECTORS)),
    *(f"autocorrelation {y},{x}" for y, x in _LAGS),
    *(f"native: {name}" for name in NATIVE_NAMES),
)
