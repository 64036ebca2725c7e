"""How well five landmarks fit a face: what is left after the fit, turn, scale, and what the crop shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.core.landmarks import TEMPLATE, similarity

TEMPLATE_PX = 112


@dataclass(frozen=True)
class Fit:
    """The similarity from a photograph to an aligned crop, in numbers.

    Attributes:
        residual_px: root mean square distance of the moved landmarks from the template, in pixels of a crop
            of 112 px, whatever the crop's size: about 2 for a face from the front, above 10 for a profile.
        scale: crop pixels per pixel of the photograph; above 1 the face is enlarged.
        turn_deg: how far the head leans in the picture, from -180 to 180; 0 is upright.
        sideways: how far the nose tip lies from the middle of the eyes, in half eye distances: 0 from the
            front, about 1 in profile, positive to the picture's right.
        covered: share of the crop that lies in the photograph, 0 to 1; the rest of it is black.

    """

    residual_px: float
    scale: float
    turn_deg: float
    sideways: float
    covered: float


def fit_landmarks(points: NDArray[np.float64], height: int, width: int, size_px: int = TEMPLATE_PX) -> Fit:
    """Measure the fit of one face.

    Args:
        points: float64 ``[5, 2]`` in pixels of the photograph.
        height: of the photograph, in pixels.
        width: of the photograph, in pixels.
        size_px: side of the crop.

    Raises:
        ImageFault: E_LANDMARK when the points coincide or are not finite.

    """
    matrix = similarity(points, TEMPLATE)
    turn, shift = matrix[:, :2], matrix[:, 2]
    moved = points @ turn.T + shift
    residual = math.sqrt(float(((moved - TEMPLATE) ** 2).sum(axis=1).mean()))
    eyes = moved[1, 0] - moved[0, 0]
    middle = (moved[0, 0] + moved[1, 0]) / 2.0
    return Fit(
        residual,
        math.hypot(turn[0, 0], turn[1, 0]) * size_px / TEMPLATE_PX,
        -math.degrees(math.atan2(turn[1, 0], turn[0, 0])),
        float(2.0 * (moved[2, 0] - middle) / max(abs(eyes), 1.0)),
        _covered(turn, shift, height, width),
    )


def _covered(turn: NDArray[np.float64], shift: NDArray[np.float64], height: int, width: int) -> float:
    """Return the share of the crop inside the photograph: the picture's corners are moved into the crop."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64) - 0.5
    picture = (corners @ turn.T + shift).astype(np.float32)
    crop = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * TEMPLATE_PX - 0.5
    area = cv2.intersectConvexConvex(picture, crop)[0]
    return min(1.0, float(area) / TEMPLATE_PX**2)
