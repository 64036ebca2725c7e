"""The color canary: skin is redder than blue, so a set of faces where it is not has its channels swapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image import decode
from lrfr.pairs.sources.base import Face, Source

SAMPLE = 64
MARGIN = 4.0


def redness(image: NDArray[np.uint8]) -> float:
    """Return the mean of red minus blue (gray levels) over the central half of an image."""
    height, width = image.shape[:2]
    center = image[height // 4 : height - height // 4, width // 4 : width - width // 4].astype(np.float64)
    return float(center[..., 0].mean() - center[..., 2].mean())


def looks_swapped(images: Sequence[NDArray[np.uint8]]) -> bool:
    """Return whether three quarters of the images are bluer than red, and clearly so in the median; gray
    images never are.
    """
    values = np.array([redness(image) for image in images])
    return len(values) > 0 and bool(np.median(values) < -MARGIN and np.mean(values < 0) >= 0.75)


def source_looks_swapped(source: Source, listed: Sequence[Face]) -> bool:
    """Look at evenly spaced faces of a source (at none of a source that renders its faces)."""
    faces = sorted(listed, key=lambda face: face.key_bytes)
    if faces and source.fingerprint(faces[0].place) is not None:
        return False
    images = []
    for index in np.unique(np.linspace(0, len(faces) - 1, SAMPLE).astype(int)).tolist() if faces else []:
        try:
            content = source.read(faces[index].place)
            images.append(content if isinstance(content, np.ndarray) else decode(content))
        except ImageFault:
            continue
    return looks_swapped(images)
