"""Light on the face: normals of the head with soft bumps for its relief, and tints of the skin.

Only additions, products, quotients and square roots act on pixels, so that the same bytes come out on every
IEEE machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrfr.pairs.faces.people import Appearance, Identity
from lrfr.pairs.faces.pose import F32, Camera

Bump = tuple[float, float, float, float, float]


def relief(person: Identity) -> list[Bump]:
    """Return soft bumps (x, y, radius x, radius y, height) of the face."""
    nose_y, nose_w, rise = person.nose_y, person.nose_w, person.nose_len
    bumps: list[Bump] = [
        (0.0, nose_y * 0.42, 0.78 * nose_w, nose_y * 1.05, 0.24 * rise),
        (0.0, nose_y - 1.0, 1.05 * nose_w, 9.5, 0.36 * rise),
        (0.0, person.chin_y - 9.0, 10.0, 8.0, 1.8),
        (0.0, person.mouth_y + person.lip_low * 0.5, person.mouth_w * 0.9, 4.6, 1.6),
        (0.0, person.mouth_y - 2.0, person.mouth_w * 0.9, 4.4, 1.4),
    ]
    for side in (-1.0, 1.0):
        bumps += [
            (side * 0.78 * nose_w, nose_y + 1.0, 0.55 * nose_w, 5.6, 0.14 * rise),
            (side * person.eye_x, 0.0, 13.0, 9.5, -2.6),
            (side * person.eye_x, 0.0, person.eye_w, 5.2, 1.6),
            (
                side * (person.eye_x - 1.0),
                person.brow_y - 1.0,
                14.0,
                6.0,
                1.2 + (0.8 if person.male else 0.0),
            ),
            (side * (person.eye_x + 6.0), 14.0, 13.0, 10.0, person.cheekbone),
        ]
    return bumps


def tints(person: Identity) -> list[tuple[float, float, float, float, tuple[float, float, float]]]:
    """Return soft multiplicative tints (x, y, radius x, radius y, gain per channel) of the skin."""
    blush = 0.05 if person.male else 0.1
    marks: list[tuple[float, float, float, float, tuple[float, float, float]]] = [
        (0.0, person.nose_y, person.nose_w * 1.1, 8.0, (0.04, -0.03, -0.03)),
        (0.0, person.chin_y + 6.0, 34.0, 12.0, (-0.22, -0.24, -0.24)),
    ]
    for side in (-1.0, 1.0):
        marks += [
            (side * 24.0, 19.0, 13.0, 11.0, (0.02, -blush, -blush)),
            (
                side * (person.eye_x - 5.0),
                4.0,
                9.0,
                6.0,
                (-0.1 - 0.1 * person.age, -0.12 - 0.1 * person.age, -0.08),
            ),
        ]
    if person.beard == "stubble":
        marks += [
            (0.0, person.mouth_y + 8.0, 32.0, 22.0, (-0.26, -0.22, -0.18)),
            (0.0, person.mouth_y + 8.0, 13.0, 7.0, (0.2, 0.18, 0.15)),
        ]
    return marks


Window = tuple[slice, slice]


def _windows(camera: Camera, spots: Sequence[Sequence[float]], size: int) -> list[Window]:
    """Return the pixel window that each soft spot (x, y, radius x, radius y) can reach."""
    corners = [(x + i * rx, y + j * ry) for x, y, rx, ry in spots for i in (-1.0, 1.0) for j in (-1.0, 1.0)]
    pixels = camera.project(np.array(corners)).reshape(len(spots), 4, 2)
    low = np.clip(np.floor(pixels.min(1)) - 3, 0, size).astype(int).tolist()
    high = np.clip(np.ceil(pixels.max(1)) + 3, 0, size).astype(int).tolist()
    return [(slice(y0, y1), slice(x0, x1)) for (x0, y0), (x1, y1) in zip(low, high, strict=True)]


def _falloff(u: F32, v: F32) -> F32:
    """Return max(0, 1 - q) with q the squared distance in radii."""
    return np.maximum(np.float32(0.0), np.float32(1.0) - u * u - v * v)


def normals(camera: Camera, person: Identity, x: F32, y: F32) -> tuple[F32, F32, F32]:
    """Return the unit normals, in camera coordinates, at head coordinates (x, y)."""
    w, d, _, w1, d1, c1 = camera.head.at(y, 6)
    r = np.clip(x / w, np.float32(-0.97), np.float32(0.97))
    s = np.sqrt(np.float32(1.0) - r * r)
    steep = d * r / (w * s)
    dx = -steep
    dy = np.clip(c1 + d1 * s + steep * r * w1, np.float32(-6.0), np.float32(6.0))
    bumps = relief(person)
    for (cx, cy, rx, ry, height), at in zip(
        bumps, _windows(camera, [bump[:4] for bump in bumps], x.shape[0]), strict=True
    ):
        u, v = (
            (x[at] - np.float32(cx)) * np.float32(1.0 / rx),
            (y[at] - np.float32(cy)) * np.float32(1.0 / ry),
        )
        fall = _falloff(u, v) * np.float32(-4.0 * height)
        dx[at] += fall * u * np.float32(1.0 / rx)
        dy[at] += fall * v * np.float32(1.0 / ry)
    rows = camera.rotation.astype(np.float32)
    nx, ny, nz = (rows[i, 2] - rows[i, 0] * dx - rows[i, 1] * dy for i in range(3))
    length = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * length, ny * length, nz * length


def shading(camera: Camera, person: Identity, seen: Appearance, size: int) -> tuple[F32, F32]:
    """Return the light that multiplies colors ``[size, size, 3]`` and the highlight that adds to them
    ``[size, size, 1]``.
    """
    x, y = camera.surface(size)
    nx, ny, nz = normals(camera, person, x, y)
    lx, ly, lz = (np.float32(value) for value in seen.light)
    facing = nx * lx + ny * ly + nz * lz
    # wrap the light a little round the edge, as skin does
    diffuse = np.maximum(np.float32(0.0), (facing + np.float32(0.25)) * np.float32(0.8))
    light = np.float32(seen.ambient) + np.float32(1.12 - seen.ambient) * diffuse
    gain = np.repeat(light[:, :, None], 3, axis=2)
    spots = tints(person)
    for (cx, cy, rx, ry, channel), at in zip(
        spots, _windows(camera, [spot[:4] for spot in spots], size), strict=True
    ):
        fall = _falloff(
            (x[at] - np.float32(cx)) * np.float32(1.0 / rx), (y[at] - np.float32(cy)) * np.float32(1.0 / ry)
        )
        gain[at] *= np.float32(1.0) + (fall * fall)[:, :, None] * np.asarray(channel, np.float32)
    hx, hy, hz = lx, ly, lz + np.float32(1.0)
    norm = np.float32(1.0 / float(hx * hx + hy * hy + hz * hz) ** 0.5)
    half = np.maximum(np.float32(0.0), (nx * hx + ny * hy + nz * hz) * norm)
    for _ in range(4):
        half = half * half
    return gain, (half * np.float32(150.0 * seen.shine))[:, :, None]
