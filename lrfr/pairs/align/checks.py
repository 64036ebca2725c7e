"""Whether landmarks that somebody brings are landmarks: checks that need no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault, SpecError
from lrfr.pairs.align.landmark_fit import TEMPLATE_PX, Fit, fit_landmarks

Points = NDArray[np.float64]
# a profile leaves 14 px, swapped eyes 23
MOST_RESIDUAL_PX = 18.0
# further than this no upright photograph of a standing head is turned
MOST_TURN_DEG = 60.0
LEAST_COVERED = 0.3
# eye distances below 3 px: nothing of a face is left, unless it is the whole of a tiny picture
MOST_SCALE = 12.0
SAMPLE = 64
# the habits of fewer faces say nothing about a file
LEAST_FACES = 8
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
    return _fault_of(fit, min(height, width))


def _fault_of(fit: Fit, shorter_px: int) -> str:
    if fit.residual_px > MOST_RESIDUAL_PX:
        return f"the points lie {fit.residual_px:.0f} px off a face, at most {MOST_RESIDUAL_PX:.0f} are taken"
    if fit.covered < LEAST_COVERED:
        return f"only {fit.covered:.0%} of the crop lies in the picture"
    if fit.scale > max(MOST_SCALE, 1.1 * TEMPLATE_PX / max(1, shorter_px)):
        return f"the face would be enlarged {fit.scale:.0f} times"
    return ""


def check_landmarks(
    keys: Sequence[str], marks: Mapping[str, Sequence[float]], file: str, own: bool = False
) -> None:
    """Stop early when a file of landmarks cannot belong to a source, or is written in another convention.

    Args:
        keys: the source's keys.
        marks: x1, y1 to x5, y5 by key.
        file: where they come from, for messages.
        own: whether it is a table that lrfr wrote.

    Raises:
        SpecError: there are no landmarks in it, no key matches, or as :func:`check_convention`.

    """
    if not marks:
        raise SpecError(
            "there are no landmarks in it",
            file=file,
            hint="a line a face: key x1 y1 ... x5 y5, as 'lrfr align PHOTOS --out aligned' writes them into "
            "aligned/landmarks.tsv",
        )
    matching = [key for key in keys if key in marks]
    if keys and not matching:
        theirs = next(iter(marks))
        raise SpecError(
            f"0 of {len(marks)} keys match; the file's look like '{theirs}', the source's like '{keys[0]}'",
            file=file,
        )
    chosen = matching[:: max(1, len(matching) // SAMPLE)][:SAMPLE]
    # in a table of lrfr's own, heads may lie on their side: x is known to stand before y
    check_convention([np.array(marks[key], np.float64).reshape(5, 2) for key in chosen], file, lying=own)


def check_convention(points: Sequence[Points], file: str = "", *, lying: bool = False) -> None:
    """Stop early when a whole set of landmarks is written in another convention.

    Args:
        points: float64 ``[5, 2]`` a face.
        file: where they come from, for the message.
        lying: whether photographs may lie on their side.

    Raises:
        SpecError: left and right are swapped, y stands before x, values are shares instead of pixels, or the
            photographs lie on their side: in at least nine of ten faces, and of eight at least.

    """
    said = [_convention(marks) for marks in points if np.isfinite(marks).all()]
    word = max(set(said), key=said.count) if said else ""
    share = said.count(word) / max(1, len(said))
    if lying and word in (_TURNED, _ASIDE):
        return
    if word and share >= 0.9 and len(said) >= LEAST_FACES:
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


def _convention(points: Points) -> str:
    """Return what is wrong with the order of one face's numbers, "" when nothing is."""
    if points.min() >= -0.2 and points.max() <= 1.2:
        return _SHARES
    if _upright(points):
        return ""
    if _upright(points[_SWAPPED]):
        return _MIRRORED
    if _upright(points[:, ::-1]):
        return _TURNED
    return _ASIDE if _upright(points[_SWAPPED][:, ::-1]) else ""


def _upright(points: Points) -> bool:
    try:
        fit = fit_landmarks(points, 1, 1)
    except ImageFault:
        return False
    return fit.residual_px <= MOST_RESIDUAL_PX and abs(fit.turn_deg) <= MOST_TURN_DEG
