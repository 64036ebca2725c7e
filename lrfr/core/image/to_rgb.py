"""From every kind of samples that Pillow has to uint8 RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image.encoder import ImageU8

if TYPE_CHECKING:
    from PIL.Image import Image

_NO_RANGE = {
    "F": "float samples",
    "I": "32-bit or signed samples",
    "LAB": "LAB samples",
    "HSV": "HSV samples",
}


def to_rgb(picture: Image, white: int = 65535) -> tuple[ImageU8, bool]:
    """Return a loaded picture as uint8 [H, W, 3] RGB, and whether it was transparent anywhere.

    Transparency is composited over black, samples of more than 8 bits are scaled.

    Args:
        picture: of any mode.
        white: value of a full sample in the modes of 16 bits.

    Raises:
        ImageFault: E_SAMPLES.

    """
    mode = picture.mode
    if mode in _NO_RANGE:
        raise ImageFault("E_SAMPLES", _NO_RANGE[mode])
    if mode.startswith("I;16"):
        return _from_16_bits(picture, white)
    if mode in {"La", "RGBa"}:
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    if picture.has_transparency_data:
        pixels = np.asarray(picture if picture.mode == "RGBA" else picture.convert("RGBA"))
        rgb = np.ascontiguousarray(pixels[:, :, :3])
        if pixels[:, :, 3].min(initial=255) == 255:
            return rgb, False
        return _over_black(rgb, pixels[:, :, 3]), True
    try:
        # a copy, because Pillow's own memory is read-only
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8), False
    except ValueError:
        raise ImageFault("E_SAMPLES", f"{mode} samples") from None


def _from_16_bits(picture: Image, white: int) -> tuple[ImageU8, bool]:
    values: NDArray[Any] = np.asarray(picture)
    levels = ((np.minimum(np.arange(65536), white) * 510 + white) // (2 * white)).astype(np.uint8)
    gray = levels[values]
    key = picture.info.get("transparency")
    clear = values == key if isinstance(key, int) else np.zeros((), np.bool_)
    if clear.any():
        gray[clear] = 0
    return np.repeat(gray[:, :, None], 3, axis=2), bool(clear.any())


def _over_black(rgb: ImageU8, alpha: NDArray[np.uint8]) -> ImageU8:
    """Composite over black, in ``rgb``'s own memory."""
    for first in range(0, len(rgb), 64):  # by bands: a picture near the cap would take gigabytes in one go
        band = slice(first, first + 64)
        rgb[band] = (rgb[band] * alpha[band, :, None].astype(np.uint32) + 127) // 255
    return rgb
