"""Whether landmarks that somebody brings are landmarks: five checks that need no picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.image import ImageFault
from lrfr.pairs.align.landmark_fit import Fit, fit_landmarks

Points = NDArray[np.float64]
# a profile leaves 14 px, swapped eyes 23
MOST_RESIDUAL_PX = 18.0
# further than this no upright photograph of a standing head is turned
MOST_TURN_DEG = 60.0
LEAST_COVERED = 0.3
# eye distances below 3 px: nothing of a face is left
MOST_SCALE = 12.0
SAMPLE = 64
_SWAPPED = [1, 0, 2, 4, 3]


def landmark_fault(points: Points, height: int, width: int) -> str:
    """Return why five points of one face cannot be used, "" when they can.

    Args:
        points: float64 ``[5, 2]``, x and y in pixels.
        height: of the photograph, in pixels.
        width: of the photograph, in pixels.

    """
    if not np.isfinite(points).all():
        return "a landmark is not a finite number"
    try:
        fit = fit_landmarks(points, height, width)
    except ImageFault as fault:
        return fault.detail
    return _fault_of(fit)


def _fault_of(fit: Fit) -> str:
    if fit.residual_px > MOST_RESIDUAL_PX:
        return f"the points lie {fit.residual_px:.0f} px off a face, at most {MOST_RESIDUAL_PX:.0f} are taken"
    if fit.covered < LEAST_COVERED:
        return f"only {fit.covered:.0%} of the crop lies in the picture"
    if fit.scale > MOST_SCALE:
        return f"the face would be enlarged {fit.scale:.0f} times"
    return ""


def check_convention(points: Sequence[Points], sizes: Sequence[tuple[int, int]], file: str = "") -> None:
    """Stop early when a whole set of landmarks is written in another convention; costs 1 ms a face.

    Args:
        points: float64 ``[5, 2]`` a face; up to 64 spread over the set are looked at.
        sizes: (height, width) of each photograph, in pixels.
        file: where they come from, for the message.

    Raises:
        SpecError: left and right are swapped, y stands before x, values are shares instead of pixels, or the
            photographs lie on their side: in at least nine in ten faces.

    """
    step = max(1, len(points) // SAMPLE)
    chosen = [(points[at], sizes[at]) for at in range(0, len(points), step)][:SAMPLE]
    chosen = [item for item in chosen if np.isfinite(item[0]).all()]
    if not chosen:
        return
    said = [_convention(marks, *size) for marks, size in chosen]
    word = max(set(said), key=said.count)
    share = said.count(word) / len(said)
    if word and share >= 0.9:
        raise SpecError(f"{word} in {share:.0%} of {len(said)} faces", file=file or None, hint=_HINTS[word])


_HINTS = {
    "values lie between 0 and 1": "landmarks are pixels: multiply x by the width and y by the height",
    "left and right look swapped": "the first eye and mouth corner are those on the picture's left",
    "y seems to stand before x": "write x1 y1 ... x5 y5",
    "y seems to stand before x and left and right look swapped, or the photographs lie on their side": (
        "write x1 y1 ... x5 y5 of the upright photograph, the eye on the picture's left first"
    ),
}
_SHARES, _MIRRORED, _TURNED, _ASIDE = _HINTS


def _convention(points: Points, height: int, width: int) -> str:
    """Return what is wrong with the order of one face's numbers, "" when nothing is."""
    if points.min() >= -0.2 and points.max() <= 1.2:
        return _SHARES
    if _upright(points, height, width):
        return ""
    if _upright(points[_SWAPPED], height, width):
        return _MIRRORED
    if _upright(points[:, ::-1], height, width):
        return _TURNED
    return _ASIDE if _upright(points[_SWAPPED][:, ::-1], height, width) else ""


def _upright(points: Points, height: int, width: int) -> bool:
    try:
        fit = fit_landmarks(points, height, width)
    except ImageFault:
        return False
    return fit.residual_px <= MOST_RESIDUAL_PX and abs(fit.turn_deg) <= MOST_TURN_DEG
