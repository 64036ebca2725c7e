"""Alignment by five landmarks: the similarity that brings them onto the ArcFace template, applied without
aliasing.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault, SpecError
from lrfr.core.lists import read_lines

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


def read_landmarks(path: Path) -> dict[str, tuple[float, ...]]:
    """Read ``key x1 y1 ... x5 y5`` lines (spaces, tabs or commas); a count line and a header line are skipped
    (CelebA's layout).

    With tabs between, keys may hold spaces and more columns may follow (the ``landmarks.tsv`` of an
    alignment). Of several lines of one key the first counts.

    Raises:
        SpecError: a line has another number of fields or no numbers, with its place.

    """
    found: dict[str, tuple[float, ...]] = {}
    for number, line in read_lines(path, names=True):
        tabbed = line.count("\t") >= 10
        parts = line.split("\t")[:11] if tabbed else line.replace(",", " ").split()
        if not parts or (number <= 2 and (len(parts) in {1, 10} or not _is_number(parts[-1]))):
            continue
        if len(parts) != 11 or not all(map(_is_number, parts[1:])):
            raise SpecError("expected 'key x1 y1 x2 y2 x3 y3 x4 y4 x5 y5'", file=str(path), line=number)
        found.setdefault(parts[0], tuple(map(float, parts[1:])))
    return found


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
