"""A supersampled canvas of flat shapes; the fourth channel says how strongly a shape takes the face's
light.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.faces.people import Color
from lrfr.pairs.faces.pose import F64, Camera

OVER = 3
_FRACTION = 4


class Canvas:
    """``size`` x ``size`` pixels, drawn at four times that and averaged down; coordinates are crop pixels."""

    def __init__(self, camera: Camera, size: int, background: NDArray[np.uint8]) -> None:
        self.camera = camera
        self.size = size
        unlit = np.dstack([background, np.zeros(background.shape[:2], np.uint8)])
        self._pixels = cv2.resize(unlit, (size * OVER, size * OVER), interpolation=cv2.INTER_NEAREST)

    def fill(self, pixels: F64, color: Color, lit: float = 1.0) -> None:
        """Fill a polygon given in crop pixels."""
        cv2.fillPoly(self._pixels, [_fixed(pixels)], _paint(color, lit), cv2.LINE_8, _FRACTION)

    def stroke(self, pixels: F64, color: Color, width: float, lit: float = 1.0, closed: bool = False) -> None:
        """Draw a line of ``width`` crop pixels."""
        thick = max(1, int(width * OVER + 0.5))
        cv2.polylines(
            self._pixels, [_fixed(pixels)], closed, _paint(color, lit), thick, cv2.LINE_8, _FRACTION
        )

    def patch(self, face_xy: F64, color: Color, lit: float = 1.0, raised: float = 0.0) -> None:
        """Fill a polygon that lies on the face."""
        self.fill(self.camera.project(face_xy, raised), color, lit)

    def line(
        self, face_xy: F64, color: Color, width: float, raised: float = 0.0, closed: bool = False
    ) -> None:
        """Draw a line that lies on the face."""
        self.stroke(self.camera.project(face_xy, raised), color, width, closed=closed)

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return color ``[size, size, 3]`` (0..255) and light share ``[size, size, 1]`` (0..1)."""
        small = cv2.resize(self._pixels, (self.size, self.size), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        return small[:, :, :3], small[:, :, 3:] * np.float32(1.0 / 255.0)


def _fixed(pixels: F64) -> NDArray[np.int32]:
    scale = OVER * (1 << _FRACTION)
    return np.rint(np.clip(pixels, -400.0, 500.0) * scale - (scale / OVER / 2.0)).astype(np.int32)


def _paint(color: Color, lit: float) -> tuple[float, ...]:
    red, green, blue = (float(min(255, max(0, round(value)))) for value in color)
    return (red, green, blue, float(round(255 * lit)))


def ellipse(x: float, y: float, rx: float, ry: float, count: int = 24) -> F64:
    """Return an ellipse as a polygon ``[count, 2]``."""
    angle = np.arange(count) * (2.0 * np.pi / count)
    return np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)])
