"""The color canary: skin is redder than blue, so a set of faces where it is not has its channels swapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image import decode
from lrfr.pairs.align.unaligned import spread, unaligned_faces
from lrfr.pairs.build.look.listing_cache import ListingCache
from lrfr.pairs.executors.picture_limits import checked_content, within_limits
from lrfr.pairs.sources.base import Face, FaceList, Source, in_key_order

SAMPLE = 64
MARGIN = 4.0
# gray levels of color that brightness does not explain; a picture with less is gray or tinted and has no vote
LEAST_COLOR = 4.0
LEAST_VOTES = 4
LEAST_SHARE = 0.25
_CELLS = 6


def color_evidence(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Look at the central half of uint8 [H, W, 3], in 6 x 6 cells so that noise averages out.

    Returns:
        Redness, the mean of red minus blue in gray levels; and color, how much red and blue differ from
        green in ways that brightness does not explain (the residual of a parabola). A gray picture has none,
        nor has one that a lamp, a night sight or a toner gave a tint.

    """
    from PIL import Image

    height, width = image.shape[:2]
    center = image[height // 4 : height - height // 4, width // 4 : width - width // 4]
    cells = Image.fromarray(np.ascontiguousarray(center)).resize((_CELLS, _CELLS), Image.Resampling.BOX)
    levels = np.asarray(cells, np.float64).reshape(-1, 3)
    light = levels.mean(axis=1) / 255
    terms = np.stack([np.ones_like(light), light, light * light], axis=1)
    chroma = levels[:, [0, 2]] - levels[:, [1]]
    left = chroma - terms @ np.linalg.lstsq(terms, chroma, rcond=None)[0]
    return float((levels[:, 0] - levels[:, 2]).mean()), float(np.sqrt((left**2).mean(axis=0)).max())


def looks_swapped(images: Sequence[NDArray[np.uint8]]) -> bool:
    """Return whether three quarters of the pictures that have color are bluer than red, and clearly so in the
    median.

    Gray and tinted pictures (night and infrared footage) do not vote; where fewer than four vote, or fewer
    than a quarter, nothing is said.
    """
    votes = np.array([red for red, color in map(color_evidence, images) if color >= LEAST_COLOR])
    if len(votes) < max(LEAST_VOTES, LEAST_SHARE * len(images)):
        return False
    return bool(np.median(votes) < -MARGIN and np.mean(votes < 0) >= 0.75)


def source_looks_swapped(source: Source, listed: Sequence[Face]) -> bool:
    """Look at evenly spaced faces of a source (at none of a source that renders its faces)."""
    if listed and source.fingerprint(listed[0].place) is not None:
        return False
    return faces_look_swapped(source, evenly_spaced(in_key_order(listed)))


def evenly_spaced(faces: Sequence[Face]) -> list[Face]:
    """Return the faces that are looked at, of such in the order of their keys."""
    rows = np.unique(np.linspace(0, len(faces) - 1, SAMPLE).astype(int)).tolist() if faces else []
    return [faces[row] for row in rows]


def faces_look_swapped(source: Source, faces: Sequence[Face]) -> bool:
    """Look at some faces of a source."""
    images = []
    for face in faces:
        try:
            content = checked_content(within_limits(partial(source.read, face.place)))
            images.append(
                content if isinstance(content, np.ndarray) else within_limits(partial(decode, content))
            )
        except ImageFault:
            continue
    return looks_swapped(images)


def first_look(
    source: Source, faces: FaceList, kept: ListingCache | None, *, color: bool, aligned: bool
) -> tuple[bool, str]:
    """Return whether red and blue look swapped (``color``), and what to say of faces that look unaligned
    (``aligned``), from a few of them; a source that renders its faces is not looked at.
    """
    if not faces or not (color or aligned) or source.fingerprint(faces[0].place) is not None:
        return False, ""
    ordered = in_key_order(faces)

    def look(name: str, some: Sequence[Face], at: Callable[[Source, Sequence[Face]], Any]) -> Any:
        return kept.look(name, some, partial(at, source, some)) if kept else at(source, some)

    swapped = color and look("color", evenly_spaced(ordered), faces_look_swapped)
    return bool(swapped), str(look("aligned", spread(ordered), unaligned_faces)) if aligned else ""
