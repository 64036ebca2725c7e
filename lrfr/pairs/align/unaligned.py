"""Whether faces are aligned at all, told from a few of them without a detector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image import ImageU8, decode
from lrfr.pairs.executors.picture_limits import checked_content, within_limits
from lrfr.pairs.sources.base import Face, Source, in_key_order

SAMPLE = 64
SIDE_PX = 28
MEAN_FACE = Path(__file__).with_name("mean_face.npz")
# between what aligned faces give (0.22 to 0.38) and what others do (below 0.17), see docs/align.md
LEAST_MEAN = 0.18
# spread of the surroundings whose light and contrast are taken out, in pixels of the 28
LIGHT_PX = 4.0


def looks_unaligned(images: Sequence[ImageU8]) -> tuple[bool, float]:
    """Tell whether faces that are taken as aligned crops look like something else.

    Args:
        images: uint8 RGB ``[h, w, 3]`` of any sizes; up to 64 spread over them are looked at, by their
            central squares.

    Returns:
        Whether they look unaligned, and their mean correlation with a mean aligned face (-1 to 1). Fewer
        than eight pictures never look unaligned: the mean of so few says nothing.

    """
    step = max(1, len(images) // SAMPLE)
    values = [likeness(image) for image in list(images)[::step][:SAMPLE]]
    mean = float(np.mean(values)) if values else 0.0
    return len(values) >= 8 and mean < LEAST_MEAN, mean


def unlike_faces(images: Sequence[ImageU8], who: str) -> str:
    """Return W_UNALIGNED in words where pictures do not look like aligned faces, "" where they do.

    Args:
        images: as of :func:`looks_unaligned`.
        who: what they are, as the subject of a sentence.

    """
    unaligned, mean = looks_unaligned(images)
    if not unaligned:
        return ""
    return (
        f"W_UNALIGNED: {who} do not look like aligned faces (likeness {mean:.2f}; aligned ones give "
        f"{LEAST_MEAN} and more)"
    )


def unaligned_warning(source: Source, listed: Sequence[Face]) -> str:
    """Return what to say about a source whose faces look unaligned, "" when they do not.

    A source that renders its faces is not looked at.
    """
    if not listed or source.fingerprint(listed[0].place) is not None:
        return ""
    return unaligned_faces(source, spread(in_key_order(listed)))


def spread(faces: Sequence[Face]) -> Sequence[Face]:
    """Return the faces that are looked at, of such in the order of their keys."""
    return faces[:: max(1, len(faces) // SAMPLE)][:SAMPLE]


def unaligned_faces(source: Source, faces: Sequence[Face]) -> str:
    """Return what to say about some faces of a source, "" where they look aligned."""
    images = []
    for face in faces:
        try:
            content = checked_content(within_limits(partial(source.read, face.place)))
            images.append(
                content if isinstance(content, np.ndarray) else within_limits(partial(decode, content))
            )
        except ImageFault:
            continue
    words = unlike_faces(images, "these")
    advice = "cut them first by 'lrfr align PHOTOS --out aligned', or give --align detect"
    return f"{words}: {advice}" if words else ""


def likeness(image: ImageU8) -> float:
    """Return the correlation (-1 to 1) of a picture's central square with the mean aligned face.

    Both are gray, 28 px wide, and without differences of light and contrast that are wider than features.
    """
    patch = _patch(image)
    return float((patch * _mean_face()).mean())


def mean_of(faces: Sequence[ImageU8]) -> NDArray[np.uint8]:
    """Return the mean of aligned faces as uint8 ``[28, 28]``; 128 is zero, 40 is one standard deviation.

    ``mean_face.npz`` holds that of the embedded faces and their mirror images.
    """
    patches = [_patch(turned) for face in faces for turned in (face, face[:, ::-1])]
    mean = _standard(np.mean(patches, axis=0))
    return np.asarray(np.clip(np.rint(128.0 + 40.0 * mean), 0, 255), np.uint8)


def _patch(image: ImageU8) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    center = np.ascontiguousarray(image[top : top + side, left : left + side])
    gray = cv2.resize(center, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).mean(axis=2)
    # light from one side outweighs every feature of a face: only what differs from its surroundings counts
    detail = gray - cv2.GaussianBlur(gray, (0, 0), LIGHT_PX)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 2.0 * LIGHT_PX))
    return _standard(detail / (contrast + 2.0))


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centered = values - values.mean()
    return np.asarray(centered / max(float(centered.std()), 1e-6))


@cache
def _mean_face() -> NDArray[np.float64]:
    with np.load(MEAN_FACE, allow_pickle=False) as held:
        return _standard(held["mean"].astype(np.float64))
