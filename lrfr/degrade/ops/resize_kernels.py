"""The libraries' kernels behind the resizing ops, each called with its own names of filters, and the sRGB
curve around them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8


def by_torch(images_nhwc: ImageU8, height: int, width: int, filter: str) -> NDArray[np.uint8]:
    """Resize uint8 [N, H, W, 3] with PyTorch's antialiased filters.

    This is the kernel that ``interpolate`` calls, without the Python on its way there, and writes to memory
    that has the channels last already: for one face both took as long as the work.
    """
    from_numpy, kernel = _torch_kernel(filter)
    result = np.empty((len(images_nhwc), height, width, 3), np.uint8)
    # torch wants memory that may be written to, though nothing writes to it
    batch = images_nhwc if images_nhwc.flags.carray else images_nhwc.copy()
    source, target = from_numpy(batch.transpose(0, 3, 1, 2)), from_numpy(result.transpose(0, 3, 1, 2))
    kernel(source, (height, width), False, None, None, out=target)
    return result


@functools.cache
def _torch_kernel(filter: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return how an array becomes a tensor, and the kernel."""
    import torch

    kernels = torch._C._nn
    kernel = kernels._upsample_bicubic2d_aa if filter == "bicubic" else kernels._upsample_bilinear2d_aa
    return torch.from_numpy, kernel


def floats_by_torch(
    images_nhwc: NDArray[np.float32], height: int, width: int, filter: str
) -> NDArray[np.float32]:
    """Resize float32 [N, H, W, 3] with PyTorch's antialiased filters."""
    import torch

    batch = torch.from_numpy(images_nhwc).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(batch, size=(height, width), mode=filter, antialias=True)
    return np.asarray(resized.permute(0, 2, 3, 1).contiguous().numpy(), np.float32)


def by_opencv(image: NDArray[Any], height: int, width: int, filter: str) -> NDArray[Any]:
    """Resize uint8 or float32 [H, W, 3] with OpenCV's filters."""
    import cv2

    code = {
        "nearest": cv2.INTER_NEAREST,
        "nearest_exact": cv2.INTER_NEAREST_EXACT,
        "linear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "area": cv2.INTER_AREA,
        "lanczos4": cv2.INTER_LANCZOS4,
    }[filter]
    resized: NDArray[Any] = cv2.resize(image, (width, height), interpolation=code)
    return resized


def by_pillow(image: ImageU8, height: int, width: int, filter: str) -> NDArray[np.uint8]:
    """Resize uint8 [H, W, 3] with Pillow's filters."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling[filter.upper()]))


def floats_by_pillow(image: NDArray[np.float32], height: int, width: int, filter: str) -> NDArray[np.float32]:
    """Resize float32 [H, W, 3] with Pillow's filters, channel by channel."""
    from PIL import Image

    planes = [
        Image.fromarray(image[:, :, c]).resize((width, height), Image.Resampling[filter.upper()])
        for c in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def srgb_to_light(value: NDArray[Any]) -> NDArray[Any]:
    """Decode sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def light_to_srgb(light: NDArray[Any]) -> NDArray[Any]:
    """Encode linear light in [0, 1] to sRGB values (IEC 61966-2-1)."""
    return np.asarray(
        np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    )
