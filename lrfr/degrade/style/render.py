"""Inference on uint8 faces, one face at a time and on one thread, so that no byte depends on the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from lrfr.core.image import ImageU8
from lrfr.core.machine import torch_threads
from lrfr.core.streams import Stream
from lrfr.degrade.noise_tables import normal_field
from lrfr.degrade.style.generator import StyleGenerator

_STRIDE_PX = 4
_MIN_SIDE_PX = 8


def render_style(
    generator: StyleGenerator,
    images: Sequence[ImageU8],
    z_nk: Sequence[Sequence[float]],
    streams: Sequence[Stream | None] | None = None,
) -> list[ImageU8]:
    """Return each face in its style, at its own size.

    A convolution library may choose another algorithm for another batch size, and the last bit of a float
    decides a byte. On one core a batch is no faster than single faces, whose features stay in the cache.

    Args:
        generator: in eval mode.
        images: uint8 HWC RGB of any size (mirrored up to a multiple of 4 px inside).
        z_nk: style coordinates of each face.
        streams: where each face's noise comes from; None for no noise.

    """
    with torch_threads(1), torch.inference_mode():
        return [
            _one(generator, *face) for face in zip(images, z_nk, streams or [None] * len(images), strict=True)
        ]


def _one(generator: StyleGenerator, image: ImageU8, z_k: Sequence[float], stream: Stream | None) -> ImageU8:
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, _missing(height)), (0, _missing(width)), (0, 0)), mode="symmetric")
    x = torch.from_numpy(padded).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    noise = None
    if stream is not None:
        shape = generator.noise_shape(*padded.shape[:2])
        count = math.prod(shape)
        noise = torch.from_numpy(normal_field(stream.words_u16(count, "noise"), (count, 1))).view(1, *shape)
    y = generator(x.contiguous(), torch.tensor([z_k], dtype=torch.float32), noise)
    levels = ((y[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy()[:height, :width])


def _missing(side: int) -> int:
    return max(-(-side // _STRIDE_PX) * _STRIDE_PX, _MIN_SIDE_PX) - side
