"""The sRGB curve: stored values to linear light and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def srgb_to_light(value: NDArray[Any]) -> NDArray[Any]:
    """Decode sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def light_to_srgb(light: NDArray[Any]) -> NDArray[Any]:
    """Encode linear light in [0, 1] to sRGB values (IEC 61966-2-1)."""
    return np.asarray(
        np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    )
