"""Alignment by five landmarks: the similarity that brings them onto the ArcFace template, applied without
aliasing.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.lists import Shape, is_number, read_keyed

# raised by hand when :func:`align` may give other pixels: it names bases
ALIGN_REVISION = 1
# eyes, nose tip, mouth corners in a 112 x 112 crop (insightface's reference points)
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ``[2, 3]`` least-squares similarity (rotation, scale, shift; no mirror) from source to
    target points.

    Source: Umeyama, IEEE TPAMI 13(4), 1991, in the closed form of two dimensions.
    """
    s, t = source - source.mean(0), target - target.mean(0)
    scale = (s * s).sum()
    if not np.isfinite(scale) or scale < 1e-6:
        raise ImageFault("E_LANDMARK", "the points coincide")
    a, b = (s * t).sum() / scale, (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / scale
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, target.mean(0) - turn @ source.mean(0)])


def align(image: NDArray[np.uint8], landmarks: NDArray[np.float64], size_px: int) -> NDArray[np.uint8]:
    """Cut an aligned ``[size, size, 3]`` crop.

    The crop is sampled at an integer multiple of its size when the face is larger than the crop, then
    averaged, so that no frequency above the crop's own folds back.
    """
    import cv2

    matrix = similarity(landmarks, TEMPLATE * (size_px / 112.0))
    shrink = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    factor = int(np.clip(np.ceil(1.0 / max(shrink, 1e-3)), 1, 16))
    # pixel centers lie at +0.5 in the template's coordinates and at +0 in OpenCV's
    fine = matrix * factor
    fine[:, 2] += (factor - 1) / 2.0
    side = size_px * factor
    warped = cv2.warpAffine(image, fine, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if factor == 1:
        return np.asarray(warped, np.uint8)
    return np.asarray(cv2.resize(warped, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)


def read_landmarks(path: Path, known: Collection[str] = ()) -> dict[str, tuple[float, ...]]:
    """Read lines of a key and its points, ``key x1 y1 ... x5 y5``, as ten numbers by key.

    Spaces, tabs or commas stand between; keys may hold spaces. A count line and a header line may stand first
    (CelebA's layout), and behind tabs more columns may follow (the ``landmarks.tsv`` of an alignment). Of
    several lines of one key the first counts. Four points (eyes, nose tip, middle of the mouth), 68 (iBUG's)
    and 98 (WFLW's) become the five. A number that is not finite is kept: only that face is refused.

    Args:
        path: the file.
        known: keys that may be meant, which tells separators apart where a key holds some.

    Raises:
        SpecError: a line has another number of fields or no numbers, with its place.

    """
    found: dict[str, tuple[float, ...]] = {}
    for _, key, values in read_keyed(path, _SHAPE, known):
        if key not in found:
            found[key] = five_points(np.array(values, np.float64).reshape(-1, 2))
    return found


def five_points(points: NDArray[np.float64]) -> tuple[float, ...]:
    """Return x1, y1 to x5, y5 of the five points from 4, 5, 68 or 98, float64 ``[n, 2]``.

    Source: iBUG 300-W's and WFLW's numbering; the picture's left comes first.
    """
    if len(points) == 4:
        return tuple(_with_mouth_corners(points).reshape(-1).tolist())
    if len(points) in _FIVE_OF:
        points = np.array([points[list(some)].mean(0) for some in _FIVE_OF[len(points)]])
    return tuple(points.reshape(-1).tolist())


def _with_mouth_corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put the template's mouth corners where the fit of the other points has them."""
    mouth = TEMPLATE[3:]
    try:
        back = similarity(np.vstack([TEMPLATE[:3], mouth.mean(0)]), points)
    except ImageFault:  # not finite: the face is refused when it is cut
        return np.full((5, 2), np.nan)
    offset = (mouth - mouth.mean(0)) @ back[:, :2].T
    return np.vstack([points[:3], points[3] + offset])


_FIVE_OF = {
    68: (range(36, 42), range(42, 48), (30,), (48,), (54,)),
    98: ((96,), (97,), (54,), (76,), (82,)),
}
_SHAPE = Shape("key x1 y1 x2 y2 x3 y3 x4 y4 x5 y5", (8, 10, 136, 196), is_number, more=True)
