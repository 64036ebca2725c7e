"""The image type of lrfr, its encoding, and the one square fit."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ImageU8 = NDArray[np.uint8]

# raised by hand when encoding a crop may give other bytes: it names bases
ENCODER_REVISION = 1


def encode_png(image: ImageU8, level: int = 3) -> bytes:
    """Encode uint8 HWC RGB as PNG (lossless)."""
    return _encode(image, ".png", (16, level))


def encode_jpeg(image: ImageU8, quality: int = 95, subsampling: str = "420") -> bytes:
    """Encode uint8 HWC RGB as baseline JPEG, byte-equal to Pillow's ``save`` at the same quality and
    subsampling.
    """
    return _encode(image, ".jpg", _jpeg_options(quality, subsampling))


@functools.lru_cache(maxsize=512)
def _jpeg_options(quality: int, subsampling: str) -> tuple[int, ...]:
    import cv2

    factor = {
        "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
        "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    }[subsampling]
    return cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor


def _encode(image: ImageU8, suffix: str, options: Sequence[int]) -> bytes:
    import cv2

    check_image(image)
    done, buffer = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV could not encode {image.shape} as {suffix}")
    return bytes(buffer)


def square_fit(image: ImageU8, size_px: int) -> ImageU8:
    """Cut the central square of uint8 [H, W, 3] and bring it to ``size_px`` by Pillow's antialiased bicubic
    filter.

    It is the one way in: what ``lrfr degrade``, ``Pipeline.run`` and a store make of a picture is the same.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size_px:
        return square
    from PIL import Image

    resized = Image.fromarray(square).resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8)


def check_image(image: ImageU8) -> ImageU8:
    """Return ``image`` when it is uint8 HWC RGB, else raise ``ValueError`` with the shape and dtype found."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 [H, W, 3] RGB, got {image.dtype} {list(image.shape)}")
    return image
