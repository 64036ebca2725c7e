"""How test images become small: a filter at a side in px, or a degradation spec."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.image import ImageU8

if TYPE_CHECKING:
    from lrfr.degrade.pipeline import Pipeline

_SIDE = re.compile("[0-9]{1,9}")
Size = int | str | None  # side in px, the name or path of a degradation spec, or None: the image as it is


@dataclass(frozen=True)
class LowRes:
    """How a test image becomes small: a filter, with or without antialiasing (at 7 px the two differ by 14 to
    19 gray levels).
    """

    filter: str = "bicubic"
    antialias: bool = True

    def __post_init__(self) -> None:
        """Refuse a filter that is none, before anything is embedded.

        Raises:
            SpecError: it is none.

        """
        if self.filter != "bicubic":
            from lrfr.degrade.ops.resize import resize_batch

            resize_batch(np.zeros((1, 2, 2, 3), np.uint8), 1, self.filter, self.antialias)

    def apply(self, images: list[ImageU8], size: Size, keys: Sequence[bytes] = ()) -> list[ImageU8]:
        """Degrade images.

        Args:
            images: uint8 HWC RGB.
            size: a side in px (an image already that small passes unchanged), the name or path of a
                degradation spec, or None: unchanged.
            keys: names of the images, from which a spec's random numbers are drawn.

        """
        if size is None:
            return images
        if isinstance(size, str):
            return [degraded.image for degraded in _pipeline(size).run(list(keys), images)]
        return self._shrink(images, size)

    def _shrink(self, images: list[ImageU8], size_px: int) -> list[ImageU8]:
        from lrfr.degrade.ops.resize import resize_batch

        out = list(images)
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(images):
            if min(image.shape[:2]) > size_px:
                groups.setdefault(image.shape, []).append(place)
        for places in groups.values():
            small = resize_batch(np.stack([images[i] for i in places]), size_px, self.filter, self.antialias)
            for place, image in zip(places, small, strict=True):
                out[place] = image
        return out


@functools.lru_cache(maxsize=8)
def _pipeline(spec: str) -> Pipeline:
    """Load a spec once, not once a batch: some hold networks."""
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec

    return Pipeline(load_spec(spec))


def spec_digests(sizes: Sequence[Size]) -> Mapping[str, str]:
    """Return the digest of each spec among ``sizes``."""
    return {size: _pipeline(size).spec.digest for size in sizes if isinstance(size, str)}


def size_label(size: Size) -> str:
    """Return ``14 px``, the name of a spec, or ``native``."""
    if size is None:
        return "native"
    return f"{size} px" if isinstance(size, int) else size


def parse_sizes(text: str) -> list[Size]:
    """Read ``112,14,turb,native``: sides in px, names or paths of specs, and images as they are."""
    words = [word.strip() for word in text.split(",")]
    return [None if word == "native" else int(word) if _SIDE.fullmatch(word) else word for word in words]
