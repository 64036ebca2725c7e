"""Hair of the head and of the beard."""

from __future__ import annotations

import numpy as np

from lrfr.pairs.faces.canvas import Canvas
from lrfr.pairs.faces.people import Color, Identity, mix, shade
from lrfr.pairs.faces.pose import F64, smooth


def draw_beard(canvas: Canvas, person: Identity) -> None:
    """Draw full beard, goatee or moustache."""
    if person.beard in {"none", "stubble"}:
        return
    color = mix(person.hair, person.skin, 0.16)
    _BEARDS[person.beard](canvas, person, color)
    if person.beard in {"full", "goatee"}:
        _mouth_gap(canvas, person, mix(person.skin, color, 0.25))


def _full_beard(canvas: Canvas, person: Identity, color: Color) -> None:
    w, y = person.mouth_w, person.mouth_y
    edge = [
        (-person.cheek * 0.99, 18.0),
        (-w - 7.5, y - 6),
        (-w - 2.0, y - 9.0),
        (0.0, y - 6.4),
        (w + 2.0, y - 9.0),
        (w + 7.5, y - 6),
        (person.cheek * 0.99, 18.0),
    ]
    top = canvas.camera.project(smooth(edge, 5, closed=False))
    left, right = canvas.camera.outline(np.linspace(18.0, person.chin_y + 2.9, 24), 1.0)
    canvas.fill(np.concatenate([top, right, left[::-1]]), color, 0.85)


def _goatee(canvas: Canvas, person: Identity, color: Color) -> None:
    w, y, chin = person.mouth_w, person.mouth_y, person.chin_y
    ring = [
        (-w - 1.5, y - 5),
        (0.0, y - 6.6),
        (w + 1.5, y - 5),
        (w + 1.2, y + 6),
        (w * 0.7, chin - 3),
        (0.0, chin + 0.5),
        (-w * 0.7, chin - 3),
        (-w - 1.2, y + 6),
    ]
    canvas.patch(smooth(ring, 5), color, 0.85)


def _moustache(canvas: Canvas, person: Identity, color: Color) -> None:
    w, y = person.mouth_w, person.mouth_y
    ring = [
        (-w - 1.5, y + 0.5),
        (-w * 0.6, y - 4.6),
        (0.0, y - 6.2),
        (w * 0.6, y - 4.6),
        (w + 1.5, y + 0.5),
        (w * 0.5, y - 2.0),
        (0.0, y - 2.6),
        (-w * 0.5, y - 2.0),
    ]
    canvas.patch(smooth(ring, 5), color, 0.85)


_BEARDS = {"full": _full_beard, "goatee": _goatee, "moustache": _moustache}


def _mouth_gap(canvas: Canvas, person: Identity, color: Color) -> None:
    """Let the skin around the mouth show through a beard that grows all around it."""
    w, y = person.mouth_w, person.mouth_y
    ring = [
        (-w - 0.6, y - 1.4),
        (0.0, y - 3.4),
        (w + 0.6, y - 1.4),
        (w * 0.5, y + 5.0),
        (0.0, y + 6.0),
        (-w * 0.5, y + 5.0),
    ]
    canvas.patch(smooth(ring, 5), color)


def draw_hair_behind(canvas: Canvas, person: Identity) -> None:
    """Draw the hair that falls behind the head."""
    if person.bald or person.hair_style not in {"long", "curly", "fringe"}:
        return
    grow = 5.0 + person.hair_volume * (1.1 if person.hair_style == "curly" else 0.7)
    bottom = 40.0 if person.hair_style == "curly" else 84.0
    half = person.width + grow
    shape = [
        (0.0, -62.0 - grow * 0.7),
        (half * 0.62, -54.0 - grow * 0.3),
        (half * 0.98, -26.0),
        (half * 1.02, 8.0),
        (half * 1.0, bottom * 0.6),
        (half * 0.9, bottom),
    ]
    mirrored = [(-x, y) for x, y in reversed(shape[1:])]
    points = smooth([*shape, *mirrored], 5)
    canvas.fill(
        canvas.camera.project3(np.column_stack([points, np.full(len(points), -14.0)])),
        shade(person.hair, 0.72),
        0.4,
    )


# The front edge of each style from left to right. A point is x in half widths of the head (None: at the
# parting), y in px, and what is added to y of the hairline's height and of the parting's place.
_EDGES: dict[str, tuple[tuple[float | None, float, float, float], ...]] = {
    "short": (
        (-0.97, -8, 0, 0),
        (-0.93, -20, 0, 0),
        (-0.7, 3, 1, 0),
        (-0.3, -1, 1, 0),
        (0.3, -1, 1, 0),
        (0.7, 3, 1, 0),
        (0.93, -20, 0, 0),
        (0.97, -8, 0, 0),
    ),
    "curly": (
        (-1.0, -2, 0, 0),
        (-0.9, -20, 0, 0),
        (-0.62, 5, 1, 0),
        (-0.2, 1, 1, 0),
        (0.25, 1, 1, 0),
        (0.65, 5, 1, 0),
        (0.9, -20, 0, 0),
        (1.0, -2, 0, 0),
    ),
    "fringe": (
        (-1.0, 8, 0, 0),
        (-0.86, -8, 0, 0),
        (-0.66, -16, 0, 0),
        (-0.2, -17.5, 0, 0),
        (0.25, -17, 0, 0),
        (0.68, -16, 0, 0),
        (0.86, -8, 0, 0),
        (1.0, 8, 0, 0),
    ),
    "receding": (
        (-0.98, -8, 0, 0),
        (-0.97, -24, 0, 0),
        (-0.7, -12, 1, 0),
        (-0.25, -3, 1, 0),
        (0.25, -3, 1, 0),
        (0.7, -12, 1, 0),
        (0.97, -24, 0, 0),
        (0.98, -8, 0, 0),
    ),
    "side": (
        (-0.97, -6, 0, 0),
        (-0.92, -22, 0, 0),
        (-0.62, -27, 0, -0.2),
        (None, -3, 1, 0),
        (0.3, -29, 0, 0.15),
        (0.68, -24, 0, 0.25),
        (0.92, -20, 0, 0),
        (0.97, -6, 0, 0),
    ),
    "long": (
        (-1.0, 24, 0, 0),
        (-0.94, -6, 0, 0),
        (-0.74, -24, 0, 0),
        (None, -4, 1, 0),
        (0.45, -30, 0, 0),
        (0.78, -22, 0, 0),
        (0.94, -6, 0, 0),
        (1.0, 24, 0, 0),
    ),
}


def _hairline(person: Identity) -> list[tuple[float, float]]:
    """Return the front edge of the hair from left to right, on the face."""
    width, parting = person.width, person.parting
    return [
        ((parting / width if x is None else x) * width, y + of_top * person.hairline + of_parting * parting)
        for x, y, of_top, of_parting in _EDGES[person.hair_style]
    ]


def draw_hair_front(canvas: Canvas, person: Identity) -> None:
    """Draw the hair on the head, down to the hairline."""
    if person.bald:
        return
    edge = smooth(_hairline(person), 5, closed=False)
    ends = edge[0, 1], edge[-1, 1]
    volume = 1.5 + person.hair_volume * (0.9 if person.hair_style == "curly" else 0.55)
    heights = np.linspace(max(ends), -61.5, 32)
    grow = volume * np.minimum(1.0, 0.25 + (max(ends) - heights) / 30.0)
    left, right = canvas.camera.outline(heights, grow)
    crown = np.array([[0.0, -62.0 - volume, -6.0]])
    line = canvas.camera.project(edge)
    canvas.fill(np.concatenate([line, right, canvas.camera.project3(crown), left[::-1]]), person.hair, 0.6)
    if person.hair_style not in {"receding", "curly"}:
        upper = (edge[:, 1] < -12.0) & (np.abs(edge[:, 0]) < 0.8 * person.width)
        _strands(canvas, person, line[upper], left, right)


def _strands(canvas: Canvas, person: Identity, line: F64, left: F64, right: F64) -> None:
    crown = (left[-1] + right[-1]) * 0.5 + np.array([person.parting * 0.4, 0.0])
    for index in range(0, len(line), 2):
        share = index / len(line)
        start = line[index]
        bulge = (1.0 - share) * left[len(left) // 2] + share * right[len(right) // 2]
        middle = 0.5 * (start + crown) * 0.7 + 0.3 * bulge
        tone = (0.82, 1.16, 0.93, 1.3)[index // 2 % 4]
        canvas.stroke(
            smooth(np.array([start, middle, crown]), 5, closed=False), shade(person.hair, tone), 0.8, 0.6
        )
