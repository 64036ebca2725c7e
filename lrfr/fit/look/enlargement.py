"""The native size of an enlarged crop: the smallest n whose enlarged pictures could be the crop.

An interpolating filter takes n rows to C rows by a matrix U [C, n], so a crop that was enlarged from n px has
its columns (and rows) in the n-dimensional space that U spans, up to the rounding to whole levels. Rounding
leaves a variance of about 1/12 in the C - n dimensions outside; a face that is not of that space leaves more.
Compression after the enlargement fills the space outside, and nothing can be told from it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.ops.resize_kernels import by_opencv, floats_by_pillow

# filters that enlarge differently; bilinear is OpenCV's linear too
WAYS_UP = (
    ("bicubic", True),
    ("bilinear", True),
    ("cubic", False),
    ("lanczos", True),
    ("lanczos4", False),
    ("nearest", False),
)
LEAST_PX = 6
# levels squared: what two roundings, one a pass, leave of a mean of three channels
_ROUNDING, _HELD, _MOST = 0.05, 0.12, 4.0
_DROP = 3.0
_PROVES = 0.7
BELIEVED = 0.8  # of the canvas: sides below it
_ALL = 0.95
_PROBES = 8
_SEED = 20


@dataclass(frozen=True)
class WayUp:
    """How small faces become crops of ``canvas_px``.

    Attributes:
        filter: of the resize ops.
        antialias: as of the resize ops.
        canvas_px: side of the crop.

    """

    filter: str
    antialias: bool
    canvas_px: int


@functools.lru_cache(maxsize=2048)
def way_matrix(way: WayUp, size_px: int) -> NDArray[np.float64]:
    """Return U [canvas, n]: how n rows become the rows of the crop."""
    eye = np.repeat(np.eye(size_px, dtype=np.float32)[:, :, None], 3, axis=2)
    if way.antialias:
        up = floats_by_pillow(eye, way.canvas_px, size_px, way.filter)
    else:
        up = by_opencv(eye, way.canvas_px, size_px, way.filter)
    return np.asarray(up[:, :, 0], np.float64)


@functools.lru_cache(maxsize=64)
def _bases(way: WayUp) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return the sizes, an orthonormal base of each space side by side [C, sum n], where each begins."""
    sizes = np.arange(LEAST_PX, way.canvas_px - max(3, way.canvas_px // 16) + 1)
    bases = [np.linalg.qr(way_matrix(way, int(n)))[0].astype(np.float32) for n in sizes]
    return sizes, np.concatenate(bases, axis=1), np.concatenate([[0], np.cumsum(sizes)[:-1]])


def residuals(luma_nhw: NDArray[np.float32], way: WayUp) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the sizes and, for each face and size, the mean square outside the space of that size.

    Args:
        luma_nhw: float32 [N, C, C], whole levels.
        way: the enlargement that is tried.

    Returns:
        (sizes [S], variance per dimension outside [N, S]).

    """
    sizes, bases, starts = _bases(way)
    probes = np.random.default_rng(_SEED).standard_normal((way.canvas_px, _PROBES)).astype(np.float32)
    probes, _ = np.linalg.qr(probes)
    columns = luma_nhw @ probes
    rows = luma_nhw.transpose(0, 2, 1) @ probes
    seen = np.concatenate([columns, rows], axis=2)
    whole = (seen.astype(np.float64) ** 2).sum(axis=(1, 2))
    inside = np.empty((len(seen), len(sizes)))
    for start in range(0, len(seen), 64):
        part = seen[start : start + 64]
        flat = part.transpose(1, 0, 2).reshape(way.canvas_px, -1)
        power = np.square(bases.T @ flat).reshape(bases.shape[1], len(part), -1).sum(axis=2)
        inside[start : start + 64] = np.add.reduceat(power, starts, axis=0).T
    outside = np.maximum(whole[:, None] - inside, 0.0)
    return sizes, outside / (2 * _PROBES * (way.canvas_px - sizes))


def native_sizes(luma_nhw: NDArray[np.float32], way: WayUp) -> NDArray[np.int64]:
    """Return the native side of each crop in px, 0 where no space holds it.

    At the native side far less is left outside than at the sides beside it, also where clipped highlights
    leave more than rounding does. Where that does not stand out, the smallest space that holds the crop
    up to rounding is taken.
    """
    sizes, found = residuals(luma_nhw, way)
    beside = np.sqrt(found[:, :-2] * found[:, 2:])
    drop = np.pad(beside / (found[:, 1:-1] + _ROUNDING / 2), ((0, 0), (1, 1)))
    best = np.argmax(drop, axis=1)
    clear = (drop[np.arange(len(found)), best] > _DROP) & (found[np.arange(len(found)), best] < _MOST)
    fits = found < _HELD
    held = np.where(fits.any(axis=1), sizes[np.argmax(fits, axis=1)], 0)
    # a large space holds nearly everything: alone it proves nothing
    held = np.where(held < way.canvas_px * _PROVES, held, 0)
    return np.where(clear, sizes[best], held)


@functools.lru_cache(maxsize=1024)
def _way_down(way: WayUp, size_px: int) -> NDArray[np.float32]:
    return np.linalg.pinv(way_matrix(way, size_px)).astype(np.float32)


def shrink_back(crop: ImageU8, way: WayUp, size_px: int) -> ImageU8:
    """Return the small picture, uint8 [n, n, 3], whose enlargement comes nearest to a crop."""
    down = _way_down(way, size_px)
    small = np.einsum("ai,ijc->ajc", down, crop.astype(np.float32), optimize=True)
    small = np.einsum("bj,ajc->abc", down, small, optimize=True)
    found: ImageU8 = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return found


def way_of(crops_nhwc: ImageU8, least: float = 0.6) -> tuple[WayUp | None, float]:
    """Return the filter in whose spaces the most crops lie, and their share; None where below ``least``."""
    canvas = crops_nhwc.shape[1]
    luma = luma_of(crops_nhwc)
    found: list[tuple[float, float, WayUp]] = []
    for filter_, antialias in WAYS_UP:
        way = WayUp(filter_, antialias, canvas)
        sizes = native_sizes(luma, way)
        held = sizes > 0
        # of two spaces that hold the same crops the true one is smaller
        mean_px = float(sizes[held].mean()) if held.any() else float(canvas)
        found.append((float(held.mean()) - mean_px / canvas * 0.2, float(held.mean()), way))
    _, share, way = max(found, key=lambda item: item[0])
    return (way if share >= least else None), share


def way_through_codec(crops_nhwc: ImageU8) -> WayUp | None:
    """Return the filter that leaves least outside its spaces of crops that were compressed after their
    enlargement, where nearly all of them still tell their size (JPEG of about 90 and more); else None. What a
    codec hides first are large faces, so sizes of a part would have other shares than all have.
    """
    luma = luma_of(crops_nhwc)
    found: list[tuple[float, WayUp]] = []
    for filter_, antialias in WAYS_UP:
        way = WayUp(filter_, antialias, crops_nhwc.shape[1])
        sizes, outside = residuals(luma, way)
        own = native_sizes(luma, way)
        told = (own > 0) & (own < BELIEVED * way.canvas_px)
        if told.mean() >= _ALL:
            found.append((float(np.median(outside[told, np.searchsorted(sizes, own[told])])), way))
    return min(found, key=lambda one: one[0])[1] if found else None


def luma_of(images_nhwc: ImageU8 | Sequence[ImageU8]) -> NDArray[np.float32]:
    """Return the sum of channels over 3, float32 [N, H, W]: linear in the stored levels, unlike a codec's."""
    luma: NDArray[np.float32] = np.asarray(images_nhwc, np.float32).mean(axis=3)
    return luma
