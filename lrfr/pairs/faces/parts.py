"""The parts of a face as flat shapes, drawn from back to front."""

from __future__ import annotations

import numpy as np

from lrfr.pairs.faces.canvas import Canvas, ellipse
from lrfr.pairs.faces.hair import draw_beard, draw_hair_behind, draw_hair_front
from lrfr.pairs.faces.people import Appearance, Color, Identity, mix, shade
from lrfr.pairs.faces.pose import F64, smooth

DARK: Color = (22.0, 16.0, 16.0)


def draw_face(canvas: Canvas, person: Identity, seen: Appearance) -> None:
    """Draw one whole head."""
    draw_hair_behind(canvas, person)
    _body(canvas, person, seen)
    _ears(canvas, person)
    _head(canvas, person)
    draw_beard(canvas, person)
    for side in (-1.0, 1.0):
        _eye(canvas, person, seen, side)
        _brow(canvas, person, seen, side)
    _nose(canvas, person)
    _mouth(canvas, person, seen)
    _marks_and_lines(canvas, person, seen)
    draw_hair_front(canvas, person)
    if seen.glasses:
        _glasses(canvas, person, seen)


def _silhouette(canvas: Canvas, top: float, bottom: float, grow: float = 0.0) -> F64:
    left, right = canvas.camera.outline(np.linspace(top, bottom, 40), grow)
    return np.concatenate([left, right[::-1]])


def _head(canvas: Canvas, person: Identity) -> None:
    canvas.fill(_silhouette(canvas, -61.0, person.chin_y + 2.9), person.skin)


def _body(canvas: Canvas, person: Identity, seen: Appearance) -> None:
    half = person.jaw * (0.72 if person.male else 0.6)
    neck = np.array(
        [[-half, 22, -8], [half, 22, -8], [half * 1.06, 92, -12], [-half * 1.06, 92, -12]], dtype=np.float64
    )
    canvas.fill(canvas.camera.project3(neck), shade(person.skin, 0.72), 0.35)
    y = person.chin_y + 12.0
    shirt = [
        (-90, y + 22),
        (-52, y + 8),
        (-half - 3, y - 3),
        (-half * 0.5, y + 5),
        (half * 0.5, y + 5),
        (half + 3, y - 3),
        (52, y + 8),
        (90, y + 22),
    ]
    flat = smooth([*map(lambda p: (float(p[0]), float(p[1])), shirt), (90.0, 150.0), (-90.0, 150.0)], 4)
    canvas.fill(canvas.camera.project3(np.column_stack([flat, np.full(len(flat), -12.0)])), seen.shirt, 0.25)


def _ears(canvas: Canvas, person: Identity) -> None:
    for side in (-1.0, 1.0):
        x = side * (person.width + 0.42 * person.ear)
        outer = [
            (x - side * 4, -4),
            (x + side * 2.2, -5),
            (x + side * 3.2, 3),
            (x + side * 1.8, 13),
            (x - side * 1.0, 18),
            (x - side * 4, 13),
        ]
        points = smooth([(float(a), float(b)) for a, b in outer], 4)
        canvas.fill(
            canvas.camera.project3(np.column_stack([points, np.full(len(points), -6.0)])),
            shade(person.skin, 0.9),
            0.7,
        )
        inner = (points - points.mean(0)) * 0.55 + points.mean(0)
        canvas.fill(
            canvas.camera.project3(np.column_stack([inner, np.full(len(inner), -6.0)])),
            shade(person.skin, 0.7),
            0.7,
        )


def _almond(person: Identity, seen: Appearance, side: float) -> tuple[F64, F64]:
    """Return the upper and lower lid curves, both from the inner to the outer corner."""
    opening = person.eye_open * seen.lids * (1.0 - 0.22 * max(0.0, seen.smile))
    x, w, tilt = side * person.eye_x, person.eye_w, person.eye_tilt
    inner, outer = (x - side * w, 0.8 + tilt), (x + side * w, -0.4 - tilt)
    upper = [
        inner,
        (x - side * 0.45 * w, -0.72 * opening),
        (x + side * 0.15 * w, -opening),
        (x + side * 0.66 * w, -0.7 * opening - 0.5 * tilt),
        outer,
    ]
    lower = [
        inner,
        (x - side * 0.4 * w, 0.55 * opening),
        (x + side * 0.25 * w, 0.72 * opening),
        (x + side * 0.7 * w, 0.42 * opening),
        outer,
    ]
    return smooth(upper, 5, closed=False), smooth(lower, 5, closed=False)


def _eye(canvas: Canvas, person: Identity, seen: Appearance, side: float) -> None:
    upper, lower = _almond(person, seen, side)
    skin, x = person.skin, side * person.eye_x
    opening = float(lower[:, 1].max() - upper[:, 1].min())
    canvas.patch(np.concatenate([upper, lower[::-1]]), (232, 226, 222), 0.85)
    iris_x, iris_y = x + seen.gaze, -0.25
    radius = 3.7
    canvas.patch(ellipse(iris_x, iris_y, radius, radius), shade(person.iris, 0.55), 0.6)
    canvas.patch(ellipse(iris_x, iris_y, radius * 0.82, radius * 0.82), person.iris, 0.6)
    canvas.patch(ellipse(iris_x, iris_y, radius * 0.42, radius * 0.42), DARK, 0.3)
    canvas.patch(ellipse(iris_x - 1.1, iris_y - 1.2, 0.75, 0.75, 10), (250, 250, 250), 0.0)
    # what overflows the almond is covered by the lids, as on a real eye
    lid_top = upper - np.array([0.0, 2.2 + 0.25 * opening])
    lid_top[[0, -1]] = upper[[0, -1]] - np.array([0.0, 0.6])
    bag = lower + np.array([0.0, 2.6 + 0.1 * opening])
    bag[[0, -1]] = lower[[0, -1]] + np.array([0.0, 0.4])
    canvas.patch(np.concatenate([upper, lid_top[::-1]]), shade(skin, 0.9))
    canvas.patch(np.concatenate([lower, bag[::-1]]), shade(skin, 0.96 - 0.06 * person.age))
    canvas.line(lid_top, shade(skin, 0.66), 0.6)
    canvas.line(lower, shade(skin, 0.68), 0.45)
    canvas.line(upper, mix(DARK, skin, 0.1), 1.0 if person.male else 1.35)


def _brow(canvas: Canvas, person: Identity, seen: Appearance, side: float) -> None:
    x, w, t = side * person.eye_x, person.eye_w, person.brow_thick
    y = person.brow_y - seen.brow_raise
    arch = person.brow_arch
    path = [
        (x - side * 1.15 * w, y + 1.6),
        (x - side * 0.3 * w, y),
        (x + side * 0.6 * w, y - arch * 0.7),
        (x + side * 1.35 * w, y + 1.8),
    ]
    spine = smooth(path, 6, closed=False)
    share = np.linspace(0.0, 1.0, len(spine))
    half = t * np.minimum(1.0, (1.15 - share) * 1.3) * np.minimum(1.0, 0.45 + share * 4.0)
    shape = np.concatenate(
        [spine - np.column_stack([0 * half, half]), (spine + np.column_stack([0 * half, half]))[::-1]]
    )
    color = mix(shade(person.hair, 0.8), person.skin, 0.12 if person.male else 0.24)
    canvas.patch(shape, color, 0.8)


def _nose(canvas: Canvas, person: Identity) -> None:
    w, y, rise = person.nose_w, person.nose_y, person.nose_len
    crease = shade(person.skin, 0.72)
    for side in (-1.0, 1.0):
        nostril = ellipse(side * 0.45 * w, y + 3.2, 0.26 * w, 1.25, 14)
        nostril[:, 1] += side * (nostril[:, 0] - side * 0.45 * w) * -0.25
        canvas.patch(nostril, shade(person.skin, 0.34), 0.6, raised=rise * 0.62)
        wing = [
            (side * 0.82 * w, y - 3.4),
            (side * w, y + 0.4),
            (side * 0.9 * w, y + 3.0),
            (side * 0.66 * w, y + 3.9),
        ]
        canvas.line(smooth(wing, 5, closed=False), crease, 0.75, raised=rise * 0.3)
    base = [
        (-0.62 * w, y + 4.1),
        (-0.2 * w, y + 4.6),
        (0.0, y + 5.2),
        (0.2 * w, y + 4.6),
        (0.62 * w, y + 4.1),
    ]
    canvas.line(smooth(base, 4, closed=False), shade(person.skin, 0.78), 0.7, raised=rise * 0.62)


def _mouth(canvas: Canvas, person: Identity, seen: Appearance) -> None:
    smile, opened = seen.smile, seen.mouth_open + max(0.0, seen.smile - 0.45) * 4.0
    w = person.mouth_w * (1.0 + 0.13 * smile)
    y, lift = person.mouth_y, 2.6 * smile
    corners = [(-w, y - lift), (w, y - lift)]
    up, low = person.lip_up, person.lip_low
    top_in = [corners[0], (-0.4 * w, y - 0.25 * lift), (0.0, y), (0.4 * w, y - 0.25 * lift), corners[1]]
    low_in = [
        corners[0],
        (-0.45 * w, y + 0.75 * opened),
        (0.0, y + opened),
        (0.45 * w, y + 0.75 * opened),
        corners[1],
    ]
    top = [
        corners[0],
        (-0.55 * w, y - 0.3 * lift - 0.75 * up),
        (-0.2 * w, y - up),
        (0.0, y - 0.72 * up),
        (0.2 * w, y - up),
    ]
    top += [(0.55 * w, y - 0.3 * lift - 0.75 * up), corners[1]]
    low_out = [
        corners[0],
        (-0.5 * w, y + 0.8 * opened + 0.7 * low),
        (0.0, y + opened + low),
        (0.5 * w, y + 0.8 * opened + 0.7 * low),
        corners[1],
    ]
    inner_top, inner_low = smooth(top_in, 5, closed=False), smooth(low_in, 5, closed=False)
    outer_top, outer_low = smooth(top, 5, closed=False), smooth(low_out, 5, closed=False)
    canvas.patch(np.concatenate([outer_top, inner_top[::-1]]), shade(person.lips, 0.88))
    canvas.patch(np.concatenate([inner_low, outer_low[::-1]]), person.lips)
    canvas.patch(np.concatenate([inner_top, inner_low[::-1]]), (58, 22, 24), 0.6)
    if opened > 0.9:
        middle = inner_top * 0.35 + inner_low * 0.65 if len(inner_top) == len(inner_low) else inner_low
        teeth = np.concatenate([inner_top[3:-3], middle[3:-3][::-1]])
        canvas.patch(teeth, (226, 220, 208), 0.8)
    canvas.line(inner_top, shade(person.lips, 0.5), 0.7)
    shadow = outer_low[6:-6] + np.array([0.0, 1.3])
    canvas.line(shadow, shade(person.skin, 0.8), 0.8)


def _marks_and_lines(canvas: Canvas, person: Identity, seen: Appearance) -> None:
    skin = person.skin
    fold = shade(skin, 0.9 - 0.1 * person.age)
    depth = 0.35 + 0.6 * max(0.0, seen.smile) + 0.5 * person.age
    for side in (-1.0, 1.0):
        w, y = person.nose_w, person.nose_y
        path = [
            (side * (w + 1.5), y),
            (side * (w + 4.5), y + 6),
            (side * (person.mouth_w + 4.2), person.mouth_y - 4),
            (side * (person.mouth_w + 3.6), person.mouth_y + 3),
        ]
        if depth > 0.6:
            canvas.line(smooth(path, 5, closed=False), fold, 0.5 * depth)
    for row in range(int(max(0.0, person.age - 0.55) * 7)):
        y = -17.0 - 4.0 * row
        canvas.line(
            smooth([(-15, y + 1), (-5, y - 0.5), (6, y), (15, y + 1.2)], 4, closed=False),
            shade(skin, 0.87),
            0.5,
        )
    for x, y, radius in person.marks:
        canvas.patch(ellipse(x, y, radius, radius, 10), mix(skin, (60, 34, 28), 0.75))


def _glasses(canvas: Canvas, person: Identity, seen: Appearance) -> None:
    rx, ry = person.eye_w + 4.0, 6.0 + 2.4 * person.frame_round
    power = 2.0 + 3.0 * (1.0 - person.frame_round)
    angle = np.arange(32) * (2.0 * np.pi / 32)
    cos, sin = np.cos(angle), np.sin(angle)
    rim = np.column_stack(
        [np.sign(cos) * np.abs(cos) ** (2.0 / power) * rx, np.sign(sin) * np.abs(sin) ** (2.0 / power) * ry]
    )
    for side in (-1.0, 1.0):
        center = np.array([side * person.eye_x, 1.4])
        canvas.line(rim + center, seen.frame, 1.25, raised=3.0, closed=True)
        arm = np.array([[side * (person.eye_x + rx), -1.0, 20.0], [side * (person.width + 1.0), -2.0, -4.0]])
        canvas.stroke(canvas.camera.project3(arm), seen.frame, 1.2)
    bridge = smooth([(-person.eye_x + rx, 0.0), (0.0, -2.0), (person.eye_x - rx, 0.0)], 5, closed=False)
    canvas.line(bridge, seen.frame, 1.2, raised=4.0)
