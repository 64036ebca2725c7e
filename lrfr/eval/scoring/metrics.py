"""Exact metrics of scores: ROC, TAR at a FAR with the smallest resolvable FAR, EER, AUC.

A pair is called "same" when its score is at or above the threshold. Every operating point is one that the
scores can really
take: nothing is interpolated except the equal error rate, which lies between two points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, NumericFault
from lrfr.eval.embeddings import Bools, Floats, Ints

F64 = NDArray[np.float64]
_SLACK = 1e-9  # a FAR such as 0.29 times 100 negatives is 28.999999999999996


@dataclass(frozen=True)
class Roc:
    """ROC points from the strictest threshold (+inf: nothing accepted) to the loosest; all three [K]
    float64.
    """

    far: F64
    tar: F64
    threshold: F64
    n_pos: int
    n_neg: int

    @property
    def min_far(self) -> float:
        """The smallest FAR above zero that these negatives can show, 1/n_neg."""
        return 1.0 / self.n_neg


@dataclass(frozen=True)
class OperatingPoint:
    """TAR at the loosest threshold whose FAR does not exceed the target.

    ``resolvable`` is False when the target lies below 1/n_neg: the value is then TAR at zero false accepts
    and says nothing about the target.
    """

    target_far: float
    tar: float
    far: float
    threshold: float
    resolvable: bool


_VOCABULARIES: tuple[dict[str, bool], ...] = (
    {"1": True, "0": False},
    {"1": True, "-1": False},
    {"true": True, "false": False},
    {"same": True, "different": False},
)
LABELS = "1 or 0, 1 or -1, true or false, same or different"


class LabelFault(DataError):
    """A label is none, or of another vocabulary than those before it; ``row`` is its place from 0."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message, hint=f"expected one of these throughout: {LABELS}")
        self.row = row


def same_labels(values: Iterable[object]) -> Bools:
    """Return True where a label says that both images show one person.

    Args:
        values: booleans, numbers or words of one vocabulary: 1/0, 1/-1, true/false, same/different (in any
            case).

    Raises:
        LabelFault: a label is none of these, or two vocabularies are mixed.

    """
    words = [_word(value) for value in values]
    left: Sequence[dict[str, bool]] = _VOCABULARIES
    for row, word in enumerate(words):
        fitting = [names for names in left if word in names]
        if not fitting:
            known = any(word in names for names in _VOCABULARIES)
            raise LabelFault(
                f"label '{word}' is of another kind than the labels before it"
                if known
                else f"label '{word}' is unknown",
                row,
            )
        left = fitting
    return np.array([left[0][word] for word in words], bool)


def _word(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip().lower().removeprefix("+")


def check_scores(scores: Floats, same: Bools) -> tuple[F64, Bools]:
    """Return float64 scores and boolean labels of equal length.

    Raises:
        NumericFault: a score is NaN or infinite.
        DataError: lengths differ, or one of the two classes is missing.

    """
    score, label = np.asarray(scores, np.float64).ravel(), as_bools(same).ravel()
    if len(score) != len(label):
        raise DataError(f"{len(score)} scores but {len(label)} labels")
    if not np.isfinite(score).all():
        raise NumericFault(f"{int((~np.isfinite(score)).sum())} of {len(score)} scores are NaN or infinite")
    if label.all() or not label.any():
        raise DataError(
            f"{int(label.sum())} same and {int((~label).sum())} different pairs; verification needs both "
            f"kinds"
        )
    return score, label


def as_bools(labels: Bools | Ints) -> Bools:
    """Return labels as booleans; numbers must be 1 and 0, or 1 and -1.

    Raises:
        LabelFault: see :func:`same_labels`.

    """
    given = np.asarray(labels).ravel()
    if given.dtype == bool:
        return np.asarray(given, bool)
    values = np.unique(given)
    try:
        same_labels(values.tolist())
    except LabelFault as fault:
        raise LabelFault(fault.message, int(np.flatnonzero(given == values[fault.row])[0])) from None
    return np.asarray(given == 1)


def roc(scores: Floats, same: Bools) -> Roc:
    """Return the ROC over all distinct scores."""
    score, label = check_scores(scores, same)
    order = np.argsort(-score, kind="stable")
    score, label = score[order], label[order]
    # equal scores are accepted together: the curve has one point for each distinct score
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    accepted_pos = np.cumsum(label)[ends]
    accepted_neg = ends + 1 - accepted_pos
    n_pos, n_neg = int(accepted_pos[-1]), int(accepted_neg[-1])
    return Roc(
        far=np.concatenate([[0.0], accepted_neg / n_neg]),
        tar=np.concatenate([[0.0], accepted_pos / n_pos]),
        threshold=np.concatenate([[np.inf], score[ends]]),
        n_pos=n_pos,
        n_neg=n_neg,
    )


def tar_at_far(curve: Roc, target_far: float) -> OperatingPoint:
    """Return the exact operating point for one target FAR (a fraction)."""
    allowed = (target_far * curve.n_neg + _SLACK) / curve.n_neg
    place = int(np.searchsorted(curve.far, allowed, side="right")) - 1
    return OperatingPoint(
        target_far,
        float(curve.tar[place]),
        float(curve.far[place]),
        float(curve.threshold[place]),
        is_resolvable(target_far, curve.n_neg),
    )


def is_resolvable(target: float, count: int) -> bool:
    """Say whether ``count`` trials can show a rate as small as ``target``."""
    return target * count >= 1.0 - _SLACK


def eer(curve: Roc) -> float:
    """Return the equal error rate: where FAR meets 1 - TAR on the straight line between the two ROC points
    around it.
    """
    gap = curve.far - (1.0 - curve.tar)
    above = int(np.argmax(gap >= 0))
    if above == 0:
        return float(curve.far[0])
    below = above - 1
    part = -gap[below] / (gap[above] - gap[below])
    return float(curve.far[below] + part * (curve.far[above] - curve.far[below]))


def auc(curve: Roc) -> float:
    """Return the area under the ROC: the chance that a same pair scores above a different pair, ties counting
    one half.
    """
    return float(np.trapezoid(curve.tar, curve.far))


def thin(curve: Roc, points: int = 400) -> dict[str, list[float]]:
    """Return the ROC thinned for plotting: all of its ends, evenly spaced in log FAR and in TAR."""
    # log steps resolve the left end, which matters at small FAR; even steps the rest
    wanted = np.concatenate([np.geomspace(curve.min_far, 1, points // 2), np.linspace(0, 1, points // 2)])
    places = np.unique(
        np.concatenate([[0, len(curve.far) - 1], np.searchsorted(curve.far, wanted, "right") - 1])
    )
    return {"far": curve.far[places].round(9).tolist(), "tar": curve.tar[places].round(9).tolist()}
