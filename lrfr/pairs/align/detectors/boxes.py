"""Arithmetic on boxes: the pyramid of scales, suppression of repeats, regression, squares and cuts.

Boxes are float64 ``[n, 4]``: left, top, right and bottom edge in pixels.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
CELL_PX = 12
PYRAMID_STEP = 0.709


def pyramid(height: int, width: int, min_face_px: float) -> list[float]:
    """Return the scales at which a window of 12 px sees faces of ``min_face_px`` and larger, finest first."""
    scale, scales = CELL_PX / min_face_px, []
    while min(height, width) * scale >= CELL_PX:
        scales.append(scale)
        scale *= PYRAMID_STEP
    return scales


def keep_best(
    boxes: F64, scores: F64, most: float, of: Literal["union", "smaller"] = "union"
) -> NDArray[np.intp]:
    """Return the indices of boxes that no better one covers, best first (greedy suppression).

    Args:
        boxes: the boxes.
        scores: their scores; of equal ones the earlier box is better.
        most: largest share of the overlap that two kept boxes may have.
        of: what the overlap is a share of: the union of the two, or the smaller of them.

    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        both = np.maximum(high - low, 0.0).prod(axis=1)
        whole = np.minimum(area[best], area[left]) if of == "smaller" else area[best] + area[left] - both
        left = left[both <= most * whole]
    return np.array(kept, np.intp)


def regress(boxes: F64, offsets: F64) -> F64:
    """Move each edge by its offset, given in widths (left, right) and heights (top, bottom) of the box."""
    size = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(boxes + offsets * np.concatenate([size, size], axis=1))


def square(boxes: F64) -> F64:
    """Return the squares about the same centers, of the longer sides."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2.0
    return np.concatenate([center - half, center + half], axis=1)


def cut(image: NDArray[np.uint8], boxes: F64, side_px: int) -> NDArray[np.uint8]:
    """Return the boxes' content at ``side_px``, uint8 ``[n, side, side, 3]``; what lies outside is black.

    Args:
        image: uint8 ``[h, w, 3]``.
        boxes: boxes with whole numbers, at least one pixel wide and high.
        side_px: side of the cuts.

    """
    height, width = image.shape[:2]
    cuts = np.zeros((len(boxes), side_px, side_px, 3), np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        inside = image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        if not inside.size:
            continue
        # padded only where the box leaves the picture: a copy of a large face is not free
        around = (max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0))
        if any(around):
            inside = cv2.copyMakeBorder(inside, *around, cv2.BORDER_CONSTANT)
        how = cv2.INTER_AREA if x2 - x1 > side_px else cv2.INTER_LINEAR
        cuts[index] = cv2.resize(inside, (side_px, side_px), interpolation=how)
    return cuts
