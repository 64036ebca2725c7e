"""The head as a surface, and the way from that surface to pixels of an aligned crop.

Head coordinates: x to the right, y down, z towards the camera, in pixels of the crop, the point between the
eyes at (0, 0). The head is a stack of ellipses: at height y it has half-width w(y), half-depth d(y) and its
center at z = c(y).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.landmarks import TEMPLATE, similarity
from lrfr.pairs.faces.people import Appearance, Identity

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

TOP, BOTTOM, STEP = -72.0, 84.0, 0.25


def smooth(points: list[tuple[float, float]] | F64, per_segment: int = 6, closed: bool = True) -> F64:
    """Return a Catmull-Rom curve through the points, ``[n, 2]``."""
    p = np.asarray(points, dtype=np.float64)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    count = len(p) - 3
    corners = np.stack([p[0:count], p[1 : count + 1], p[2 : count + 2], p[3 : count + 3]], axis=1)
    flat = np.asarray(_basis(per_segment) @ corners).reshape(-1, 2)
    return flat if closed else np.concatenate([flat, p[-2:-1]])


@functools.cache
def _basis(per_segment: int) -> F64:
    t = np.arange(per_segment, dtype=np.float64) / per_segment
    rows = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
    return np.stack(rows, axis=1) * 0.5


@dataclass(frozen=True)
class Head:
    """Table ``[6, n]`` of w, d, c and their slopes over y (step 0.25 px)."""

    table: F32

    @classmethod
    @functools.lru_cache(maxsize=64)
    def of(cls, person: Identity) -> Head:
        """Return the head of a person."""
        width, chin = person.width, person.chin_y
        knots = (
            (-62.0, 2.0, 2.0, -4.0),
            (-57.0, 0.52 * width, 14.0, -6.0),
            (-46.0, 0.84 * width, 24.0, -6.0),
            (-26.0, 0.99 * width, 34.0, -6.0),
            (0.0, width, 34.0, -4.0),
            (16.0, person.cheek, 32.0, -1.0),
            (0.6 * chin, person.jaw * 1.06, 26.0, 5.0),
            (0.78 * chin, person.jaw * 0.86, 21.0, 9.0),
            (0.92 * chin, person.chin_w * 1.9, 16.0, 13.0),
            (chin, person.chin_w * 1.2, 9.0, 17.0),
            (chin + 2.0, person.chin_w * 0.6, 5.0, 16.0),
            (chin + 3.0, 1.5, 3.0, 15.0),
        )
        y, w, d, c = (np.array(column) for column in zip(*knots, strict=True))
        grid = np.arange(TOP, BOTTOM + STEP, STEP)
        curves = [_curve(grid, y, column) for column in (w, d, c)]
        return cls(np.stack(curves + [np.gradient(curve, STEP) for curve in curves]).astype(np.float32))

    def at(self, y: F32 | F64, rows: int = 3) -> F32:
        """Return the first ``rows`` of the table at heights ``y``, ``[rows, *y.shape]``."""
        index = ((y - TOP) * (1.0 / STEP)).astype(np.int32)
        return np.take(self.table[:rows], index, axis=1, mode="clip")

    def lift(self, xy: F64) -> F64:
        """Return the z of the front surface at ``[n, 2]``."""
        w, d, c = self.at(xy[:, 1])
        return np.asarray(c + d * np.sqrt(np.maximum(0.0, 1.0 - (xy[:, 0] / w) ** 2)))


def _curve(grid: F64, y: F64, values: F64) -> F64:
    """Interpolate through knots by cubic Hermite pieces with limited slopes (no overshoot)."""
    step = np.diff(y)
    slope = np.diff(values) / step
    inner = np.where(
        slope[1:] * slope[:-1] > 0, 2.0 * slope[1:] * slope[:-1] / (slope[1:] + slope[:-1] + 1e-12), 0.0
    )
    m = np.concatenate([slope[:1], inner, slope[-1:]])
    i = np.clip(np.searchsorted(y, grid, side="right") - 1, 0, len(step) - 1)
    t = np.clip((grid - y[i]) / step[i], 0.0, 1.0)
    a, b = values[i], values[i + 1]
    return np.asarray(
        a + t * t * (3.0 - 2.0 * t) * (b - a) + step[i] * t * (1.0 - t) * (m[i] * (1.0 - t) - m[i + 1] * t)
    )


@dataclass(frozen=True)
class Camera:
    """Rotation of the head and the similarity that brings its five landmarks onto the template."""

    head: Head
    rotation: F64
    matrix: F64
    shift: F64

    @classmethod
    def of(cls, head: Head, person: Identity, seen: Appearance) -> Camera:
        """Pose the head, then align it by its landmarks as a face pipeline would, with a little jitter
        left.
        """
        rotation = _rotation(seen.yaw, seen.pitch)
        raw = cls(head, rotation, np.eye(2), np.zeros(2))
        corner = person.mouth_w + 1.2 * max(0.0, seen.smile)
        marks = np.array(
            [
                [-person.eye_x, 0],
                [person.eye_x, 0],
                [0, person.nose_y],
                [-corner, person.mouth_y],
                [corner, person.mouth_y],
            ]
        )
        flat = raw.project(marks, np.array([0.0, 0.0, person.nose_len, 0.0, 0.0]))
        fitted = similarity(flat, TEMPLATE)
        matrix, shift = np.ascontiguousarray(fitted[:, :2]), fitted[:, 2]
        cos, sin = math.cos(seen.roll) * seen.scale, math.sin(seen.roll) * seen.scale
        turn = np.array([[cos, -sin], [sin, cos]])
        center = np.array([56.0, 72.0])
        return cls(
            head,
            rotation,
            turn @ matrix,
            turn @ (shift - center) + center + np.array([seen.shift_x, seen.shift_y]),
        )

    def project(self, xy: F64, raised: float | F64 = 0.0) -> F64:
        """Return crop pixels ``[n, 2]`` of points on the face, raised above it by ``raised``."""
        return self.project3(np.column_stack([xy, self.head.lift(xy) + raised]))

    def project3(self, xyz: F64) -> F64:
        """Return crop pixels ``[n, 2]`` of points in head coordinates."""
        return np.asarray((xyz @ self.rotation.T)[:, :2] @ self.matrix.T + self.shift)

    def outline(self, y: F64, grow: float | F64 = 0.0) -> tuple[F64, F64]:
        """Return the left and right silhouette ``[n, 2]`` of the head at heights ``y``, moved outwards by
        ``grow``.
        """
        head, cos, sin = self.head, self.rotation[0, 0], self.rotation[0, 2]
        w, d, middle = head.at(y)
        half = np.sqrt((w * cos) ** 2 + (d * sin) ** 2) + grow
        height = y * self.rotation[1, 1] + middle * self.rotation[1, 2]
        flat = [np.column_stack([middle * sin + sign * half, height]) for sign in (-1.0, 1.0)]
        return flat[0] @ self.matrix.T + self.shift, flat[1] @ self.matrix.T + self.shift

    def surface(self, size: int) -> tuple[F32, F32]:
        """Return the head coordinates (x, y) seen by each pixel of a ``size`` x ``size`` crop, by fixed-point
        iteration.
        """
        axis = np.arange(size) + 0.5
        back = np.linalg.inv(self.matrix @ self.rotation[:2, :2])
        tilt = (np.linalg.inv(self.rotation[:2, :2]) @ self.rotation[:2, 2]).astype(np.float32)
        px, py = axis[None, :] - self.shift[0], axis[:, None] - self.shift[1]
        x0 = (back[0, 0] * px + back[0, 1] * py).astype(np.float32)
        y0 = (back[1, 0] * px + back[1, 1] * py).astype(np.float32)
        x, y = x0, y0
        for _ in range(3):
            w, d, c = self.head.at(y)
            z = c + d * np.sqrt(np.maximum(np.float32(0.12), np.float32(1.0) - (x / w) ** 2))
            x, y = x0 - tilt[0] * z, y0 - tilt[1] * z
        return x, y


def _rotation(yaw: float, pitch: float) -> F64:
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    turn = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    nod = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    return np.asarray(nod @ turn)
