"""Blur kernels and their exact convolution: weights are multiples of a power of two, so every sum is exact on
every CPU.

With weights in units of 1/4096, products and sums of bytes fit the 24 bits of a float32, so it does not
matter in which order, how wide or with which fused instructions OpenCV adds them up. Large kernels run
through OpenCV's double-precision Fourier path, whose error (about 1e-9) is rounded away because the true sums
are whole numbers. All kernels here are point-symmetric.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8

Kernel = NDArray[np.float64]
Weights = NDArray[np.int64]

UNIT = 4096
# two passes multiply their units, and 256 * 256 * 255 still fits the 24 bits of a float32
UNIT_SEPARABLE = 256
# of two passes in double precision
SUMS_UNIT = float(UNIT**2)
# side of the pieces of a thin line: 100 weights are few enough for OpenCV to sum them directly
BAND = 10
_CPU_SSE3 = 3


def quantize(kernel: Kernel, unit: int = UNIT) -> Weights:
    """Round a point-symmetric kernel to whole weights with sum ``unit``: largest remainders, in symmetric
    pairs.

    The result is exactly point-symmetric, so its centroid is exactly the center.
    """
    # six digits: the last bits of exp, cos and the like differ between math libraries
    flat = (kernel.ravel() / kernel.sum() * unit).round(6)
    half = flat.size // 2
    weights = np.empty(flat.size, np.int64)
    side = np.floor(flat[:half], out=weights[:half], casting="unsafe")
    total = int(side.sum())
    raised = (unit - 2 * total - math.floor(flat[half])) // 2
    # stable, so that equal remainders are raised in the same order everywhere
    order = (side - flat[:half]).argsort(kind="stable")
    side[order[:raised]] += 1
    weights[half] = unit - 2 * (total + raised)
    weights[half + 1 :] = side[::-1]
    return weights.reshape(kernel.shape)


def quantize_line(taps: Sequence[float], unit: int) -> Weights:
    """Round a symmetric line of taps to whole weights with sum ``unit`` so that the running sums from its
    ends stay within 1/2.

    Coarse units need this: rounding tap by tap would drop the tails and make the kernel narrower than asked
    for. (Plain numbers: for a few dozen taps they are faster than arrays.)
    """
    half = len(taps) // 2
    scale = unit / math.fsum(taps)
    running = [round(round(total * scale, 6)) for total in itertools.accumulate(taps[:half])]
    side = [after - before for before, after in itertools.pairwise([0, *running])]
    return np.array([*side, unit - 2 * sum(side), *reversed(side)])


def trim(weights: Weights) -> Weights:
    """Cut zero rows and columns from both ends alike, so that the center stays the center."""
    rows, columns = np.nonzero(weights)
    center_y, center_x = weights.shape[0] // 2, weights.shape[1] // 2
    reach_y, reach_x = int(np.abs(rows - center_y).max()), int(np.abs(columns - center_x).max())
    return weights[center_y - reach_y : center_y + reach_y + 1, center_x - reach_x : center_x + reach_x + 1]


def convolve(image: ImageU8, weights: Weights) -> NDArray[np.uint8]:
    """Convolve with whole weights of sum :data:`UNIT`, border mirrored (reflect-101), rounded half to even.

    Args:
        image: uint8 [H, W, 3].
        weights: point-symmetric whole weights with odd sides.

    """
    import cv2

    if weights.size < _direct_limit():
        return np.asarray(
            cv2.filter2D(image, -1, (weights / UNIT).astype(np.float32), borderType=cv2.BORDER_REFLECT_101),
            np.uint8,
        )
    # where most weights are zero the kernel is a thin line: its pieces cost less than a Fourier transform
    if _direct_limit() > BAND**2 and 4 * np.count_nonzero(weights) < weights.size:
        return _convolve_line(image, weights)
    sums = cv2.filter2D(image, cv2.CV_64F, weights.astype(np.float64), borderType=cv2.BORDER_REFLECT_101)
    return round_u8(np.rint(sums) / UNIT)


def _convolve_line(image: ImageU8, weights: Weights) -> NDArray[np.uint8]:
    """Convolve with a thin line, cut along its longer axis into pieces that OpenCV sums directly; shift and
    add up the pieces.
    """
    import cv2

    (height, width), reach = image.shape[:2], (weights.shape[0] // 2, weights.shape[1] // 2)
    padded = cv2.copyMakeBorder(image, reach[0], reach[0], reach[1], reach[1], cv2.BORDER_REFLECT_101).astype(
        np.float32
    )
    axis = 0 if weights.shape[0] >= weights.shape[1] else 1
    total = np.zeros(image.shape, np.float32)
    for start in range(0, weights.shape[axis], BAND):
        band = np.zeros_like(weights)
        cut = (slice(start, start + BAND), slice(None))[:: 1 if axis == 0 else -1]
        band[cut] = weights[cut]
        rows, columns = np.nonzero(band)
        if rows.size:
            top, left = int(rows.min()), int(columns.min())
            piece = band[top : rows.max() + 1, left : columns.max() + 1].astype(np.float32)
            part = padded[top : top + height + piece.shape[0] - 1, left : left + width + piece.shape[1] - 1]
            moved = cv2.filter2D(
                part, cv2.CV_32F, piece, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT | cv2.BORDER_ISOLATED
            )
            total += moved[:height, :width]
    return np.asarray(cv2.multiply(total, 1 / UNIT, dtype=cv2.CV_8U), np.uint8)


def _direct_limit() -> int:
    """Return from how many weights on OpenCV turns from exact sums to a single-precision Fourier
    transform.
    """
    import cv2

    # the numbers are those of OpenCV's filter2D (its dft_filter_size)
    return 130 if cv2.checkHardwareSupport(_CPU_SSE3) else 50


def round_u8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Round half to even and clip to uint8."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def blur_separable(image: ImageU8, sigma: float) -> NDArray[np.uint8]:
    """Blur with an isotropic Gaussian of 2 ceil(3 sigma) + 1 taps, exactly.

    Up to sigma 4 the taps are multiples of 1/256 (sums fit a float32), above that of 1/4096 (sums in double
    precision).
    """
    import cv2

    taps = gaussian_taps(sigma)
    if sigma <= 4.0:
        line = quantize_line(taps, UNIT_SEPARABLE).astype(np.float32) / UNIT_SEPARABLE
        return np.asarray(cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT_101), np.uint8)
    return round_u8(_sums(image, taps) / SUMS_UNIT)


def gaussian_sums(image: ImageU8, sigma: float, size: int) -> NDArray[np.float64]:
    """Return the isotropic Gaussian blur of ``size`` taps in units of 1 / :data:`SUMS_UNIT`: whole numbers,
    so that what follows from comparing them is exact.
    """
    return _sums(image, gaussian_taps(sigma, size))


def _sums(image: ImageU8, taps: Sequence[float]) -> NDArray[np.float64]:
    import cv2

    whole = quantize_line(taps, UNIT).astype(np.float64)
    return np.asarray(
        cv2.sepFilter2D(image, cv2.CV_64F, whole, whole, borderType=cv2.BORDER_REFLECT_101), np.float64
    )


def gaussian_taps(sigma: float, size: int | None = None) -> list[float]:
    """Return one axis of a Gaussian kernel of ``size`` taps (default: 2 ceil(3 sigma) + 1)."""
    reach = math.ceil(3 * sigma) if size is None else size // 2
    side = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(reach, 0, -1)]
    return [*side, 1.0, *reversed(side)]


def _grid(size: int) -> tuple[Kernel, Kernel]:
    offsets = np.arange(size, dtype=np.float64) - size // 2
    return np.meshgrid(offsets, offsets)


def mahalanobis(size: int, sigma_x: float, sigma_y: float, angle_deg: float) -> Kernel:
    """Return x^T S^-1 x on a size x size grid; S has the axes sigma_x, sigma_y (px), turned by ``angle_deg``
    (counter-clockwise).
    """
    x, y = _grid(size)
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    along, across = cosine * x - sine * y, sine * x + cosine * y
    return np.asarray((along / sigma_x) ** 2 + (across / sigma_y) ** 2)


def gaussian(size: int, sigma_x: float, sigma_y: float, angle_deg: float, beta: float = 1.0) -> Kernel:
    """Return exp(-(x^T S^-1 x)^beta / 2); beta 1 is Gaussian, other betas the generalized family of
    Real-ESRGAN (section 3.1).
    """
    return np.asarray(np.exp(-0.5 * mahalanobis(size, sigma_x, sigma_y, angle_deg) ** beta))


def plateau(size: int, sigma_x: float, sigma_y: float, angle_deg: float, beta: float) -> Kernel:
    """Return 1 / (1 + (x^T S^-1 x)^beta), the plateau-shaped family of Real-ESRGAN (section 3.1)."""
    return np.asarray(1.0 / (1.0 + mahalanobis(size, sigma_x, sigma_y, angle_deg) ** beta))


def sinc(size: int, cutoff_rad: float) -> Kernel:
    """Return the 2-D low-pass kernel w J1(w r) / (2 pi r) with cut-off ``w`` in radians a pixel (Real-ESRGAN,
    section 3.3).
    """
    from scipy.special import j1

    x, y = _grid(size)
    radius = np.hypot(x, y)
    radius[size // 2, size // 2] = 1.0
    kernel = cutoff_rad * j1(cutoff_rad * radius) / (2 * math.pi * radius)
    # the limit at r = 0, where J1(w r) is w r / 2
    kernel[size // 2, size // 2] = cutoff_rad**2 / (4 * math.pi)
    return np.asarray(kernel)


def motion(length_px: float, angle_deg: float) -> Kernel:
    """Return an anti-aliased straight line of any length through the center.

    Each step along the longer axis carries the share of the line that lies in that pixel column, split
    between the two pixels that its height falls between. A line of 5 px at 0 degrees is five equal weights.

    Args:
        length_px: length of the path, at least 1.
        angle_deg: direction, counter-clockwise from the x axis as seen on the image.

    """
    cosine, sine = math.cos(math.radians(angle_deg)), -math.sin(math.radians(angle_deg))
    steep = abs(sine) > abs(cosine)
    run, rise = (sine, cosine) if steep else (cosine, sine)
    # nine digits, because sine and cosine differ in their last bits between math libraries
    slope = round(rise / run, 9)
    half = max(1.0, length_px * abs(run)) / 2
    reach = math.ceil(half - 0.5)
    most = math.ceil(half * abs(slope))
    wide = 2 * reach + 1
    kernel = np.zeros((2 * most + 1, wide))
    places, shares = [], []
    for column in range(wide):
        first, last = max(column - reach - 0.5, -half), min(column - reach + 0.5, half)
        height = (first + last) / 2 * slope
        below = math.floor(height)
        place = (below + most) * wide + column
        above = height - below
        places.append(place)
        shares.append((1 - above) * (last - first))
        if above:
            places.append(place + wide)
            shares.append(above * (last - first))
    kernel.put(places, shares)
    return kernel.T if steep else kernel


def disk(radius_px: float) -> Kernel:
    """Return a disk with an anti-aliased rim: the image of a point that is out of focus."""
    reach = math.ceil(radius_px)
    x, y = _grid(2 * reach + 1)
    return np.clip(radius_px + 0.5 - np.hypot(x, y), 0.0, 1.0)
