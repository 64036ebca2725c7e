"""Six ways in which the field turns scores into a verification accuracy.

A insightface, face.evoLVe, AdaFace, CurricularFace, BTNet. B F-SKD, A-SKD, QualNet. C MAug. D XQLFW's own
script. E FaceX-Zoo (WaveResNet). F exact: every threshold that the scores allow. They differ in flip fusion,
centring, score, threshold grid, choice among equally good thresholds and in who loses a tie, so a number
without its convention cannot be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.eval.embeddings import Bools, Floats, Ints
from lrfr.eval.scoring.folds import check_folds
from lrfr.eval.scoring.metrics import F64, as_bools

Side = Literal["left", "right"]
Rule = Callable[[F64, Bools, F64, Bools], tuple[float, Bools]]


@dataclass(frozen=True)
class Convention:
    """One convention; ``rule(train_scores, train_same, test_scores, test_same) -> (threshold, correct)``
    works on one fold.

    Attributes:
        name: who uses it.
        flip: fusion of image and mirror image (see :meth:`lrfr.eval.embeddings.Embedded.fuse`).
        score: ``squared-distance``, ``cosine``, ``cosine-eps``, ``cosine-distance``; larger is not always
            more alike.
        centered: subtract the mean feature of the training folds, left and right sides each.
        spread: ``std`` over folds (ddof 0), ``standard-error`` (ddof 1 over the root of the number of folds),
            or ``none``.
        rule: threshold choice and decision.
        fold_size: the only fold size that the published script can handle, or None.

    """

    name: str
    flip: str
    score: str
    rule: Rule
    centered: bool = False
    spread: str = "std"
    fold_size: int | None = None


@dataclass(frozen=True)
class Verification:
    """Outcome of one convention: per-fold accuracies, each pair's correctness, and scores where larger means
    more alike.
    """

    accuracy: float
    folds: F64
    spread: float | None
    thresholds: F64
    correct: Bools
    scores: F64


def fold_numbers(count: int, folds: int = 10) -> Ints:
    """Return consecutive folds of equal size, the first ones longer by one where needed (scikit-learn's KFold
    without shuffling).
    """
    return np.repeat(np.arange(folds), [count // folds + (i < count % folds) for i in range(folds)]).astype(
        np.int64
    )


def evaluate(
    key: str, left: Floats, right: Floats, same: Bools, fold: Ints | None = None, *, any_folds: bool = False
) -> Verification:
    """Run one convention on fused, not yet normalized embeddings.

    Args:
        key: ``A`` .. ``F``.
        left: embeddings of the first images, [P, D].
        right: embeddings of the second images, [P, D].
        same: labels, [P].
        fold: fold of each pair, [P]; None: ten consecutive folds.
        any_folds: let convention E run on another fold size than its script's 600.

    Raises:
        SpecError: unknown convention.
        DataError: the list does not suit the convention, or a fold lacks a class.

    """
    convention = CONVENTIONS.get(key)
    if convention is None:
        raise SpecError(f"unknown convention '{key}'", hint=f"known: {', '.join(CONVENTIONS)}")
    label = as_bools(same)
    number = fold_numbers(len(label)) if fold is None else np.asarray(fold, np.int64)
    check_folds(number, label)
    names, sizes = np.unique(number, return_counts=True)
    if convention.fold_size and not any_folds and set(sizes.tolist()) != {convention.fold_size}:
        raise DataError(
            f"convention {key} has folds of {convention.fold_size} pairs built in, this list has "
            f"{sizes.tolist()}",
            hint="--any-folds lifts that",
        )
    correct, thresholds, folds = np.zeros(len(label), bool), [], []
    for name in names:
        test = number == name
        # for each fold anew: the center of convention B may not see the test fold
        score = _scores(convention, left, right, ~test)
        threshold, hits = convention.rule(score[~test], label[~test], score[test], label[test])
        correct[test] = hits
        thresholds.append(threshold)
        folds.append(hits.mean())
    values = np.array(folds, np.float64)
    # scripts average over their folds, which are of one size; F gives every pair the same weight in any folds
    accuracy = correct.mean() if key == "F" else values.mean()
    return Verification(
        float(accuracy),
        values,
        _spread(convention, values),
        np.array(thresholds),
        correct,
        similarity(left, right),
    )


def similarity(left: Floats, right: Floats, block: int = 100_000) -> F64:
    """Return the cosine of each pair, [P] float64, in blocks of bounded memory."""
    out = np.empty(len(left), np.float64)
    for start in range(0, len(left), block):
        a, b = (
            np.asarray(left[start : start + block], np.float64),
            np.asarray(right[start : start + block], np.float64),
        )
        norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        # product of two floors of 1e-12, as :func:`_unit64` has: an embedding of zeros has the cosine 0
        out[start : start + block] = np.einsum("pd,pd->p", a, b) / np.maximum(norm, 1e-24)
    return out


def _scores(convention: Convention, left: Floats, right: Floats, train: Bools) -> F64:
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if convention.centered:
        center = np.concatenate([a[train], b[train]]).mean(axis=0)
        a, b = a - center, b - center
    if convention.score == "squared-distance":
        return np.asarray(((_unit64(a) - _unit64(b)) ** 2).sum(axis=1))
    if convention.score == "cosine-eps":
        return np.asarray(
            # MAug's script adds 1e-5 where others clamp
            (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-5)
        )
    cosine = np.asarray((_unit64(a) * _unit64(b)).sum(axis=1))
    return 1.0 - cosine if convention.score == "cosine-distance" else cosine


def _unit64(x: F64) -> F64:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def _spread(convention: Convention, folds: F64) -> float | None:
    if convention.spread == "none" or len(folds) < 2:
        return None
    if convention.spread == "standard-error":
        return float(folds.std(ddof=1) / np.sqrt(len(folds)))
    return float(folds.std())


def _accepted(score: F64, same: Bools, grid: F64, side: Side) -> tuple[F64, F64]:
    """Count same and different pairs below each threshold of ``grid``: ``left`` strictly, ``right`` including
    ties.
    """
    pos, neg = np.sort(score[same]), np.sort(score[~same])
    return np.searchsorted(pos, grid, side).astype(np.float64), np.searchsorted(neg, grid, side).astype(
        np.float64
    )


def _by_distance(grid: F64) -> Rule:
    """Distance below the threshold is "same"; first best threshold on the training folds (A, D)."""

    def rule(train: F64, train_same: Bools, test: F64, test_same: Bools) -> tuple[float, Bools]:
        pos, neg = _accepted(train, train_same, grid, "left")
        # right decisions are pos + (all neg - neg): the constant plays no part in the choice
        threshold = float(grid[np.argmax(pos - neg)])
        return threshold, (test < threshold) == test_same

    return rule


def _mean_of_best(train: F64, train_same: Bools, test: F64, test_same: Bools) -> tuple[float, Bools]:
    """Mean of all best thresholds on k/10000; a tie is an error for either label (B)."""
    grid = np.arange(-10000, 10001) / 10000
    pos_up, _ = _accepted(train, train_same, grid, "right")
    _, neg_below = _accepted(train, train_same, grid, "left")
    right = train_same.sum() - pos_up + neg_below
    threshold = float(grid[right == right.max()].mean())
    return threshold, np.where(test_same, test > threshold, test < threshold)


def _last_best(train: F64, train_same: Bools, test: F64, test_same: Bools) -> tuple[float, Bools]:
    """Last best threshold on a grid of 0.005, score above it is "same" (C)."""
    grid = np.arange(-1.0, 1.0, 0.005)
    pos, neg = _accepted(train, train_same, grid, "right")
    gain = neg - pos
    # argmax gives the first of equals; that script's ">=" keeps the last
    threshold = float(grid[len(grid) - 1 - np.argmax(gain[::-1])])
    return threshold, (test > threshold) == test_same


def _youden(train: F64, train_same: Bools, test: F64, test_same: Bools) -> tuple[float, Bools]:
    """First best TPR - FPR over 1,000 steps of the training range; a tie is an error for either label (E)."""
    step = (train.max() - train.min()) / 1000
    grid = train.min() + step * np.arange(1, 1001)
    pos, neg = _accepted(train, train_same, grid, "right")
    tpr, fpr = 1 - pos / train_same.sum(), 1 - neg / (~train_same).sum()
    threshold = float(grid[np.argmax(tpr - fpr)])
    return threshold, np.where(test_same, test > threshold, test < threshold)


def _exact(train: F64, train_same: Bools, test: F64, test_same: Bools) -> tuple[float, Bools]:
    """Middle of the best interval between two neighboring scores; of several best ones the middle one (F).

    A threshold between two distinct scores meets no training score, so ties cannot occur there.
    """
    values = np.unique(train)
    grid = np.concatenate([values, [values[-1] + 2.0]])  # cut i accepts values[i:]
    pos, neg = _accepted(train, train_same, grid, "left")
    best = np.flatnonzero(neg - pos == (neg - pos).max())
    cut = int(best[(len(best) - 1) // 2])
    low, high = (values[cut - 1] if cut else values[0] - 2.0), grid[cut]
    middle = (low + high) / 2
    # two neighboring floats have no middle between them
    threshold = float(middle if low < middle else high)
    return threshold, (test >= threshold) == test_same


CONVENTIONS: dict[str, Convention] = {
    "A": Convention("insightface", "sum", "squared-distance", _by_distance(np.arange(0, 4, 0.01))),
    "B": Convention("F-SKD, A-SKD, QualNet", "concat", "cosine", _mean_of_best, centered=True, spread="none"),
    "C": Convention("MAug", "concat-unit", "cosine-eps", _last_best),
    "D": Convention("XQLFW", "none", "cosine-distance", _by_distance(np.arange(0, 2, 0.001)), spread="none"),
    "E": Convention("FaceX-Zoo", "none", "cosine", _youden, spread="standard-error", fold_size=600),
    "F": Convention("exact", "none", "cosine", _exact),
}


def validation_rate(
    left: Floats, right: Floats, same: Bools, fold: Ints | None = None, far: float = 1e-3
) -> tuple[float, float]:
    """Return (mean, standard deviation) of insightface's VAL: TAR of each fold at the threshold where the
    others reach ``far``.

    The threshold comes from linear interpolation of FAR over ``arange(0, 4, 0.001)`` of squared distances; 0
    where ``far`` is never reached, as in that script.
    """
    distance = _scores(CONVENTIONS["A"], left, right, np.ones(len(same), bool))
    label = as_bools(same)
    number = fold_numbers(len(label)) if fold is None else fold
    check_folds(number, label)
    grid, rates = np.arange(0, 4, 0.001), []
    for name in np.unique(number):
        test = number == name
        accepted = np.searchsorted(np.sort(distance[~test & ~label]), grid, "left") / (~test & ~label).sum()
        threshold = _slinear(accepted, grid, far) if accepted.max() >= far else 0.0
        rates.append((distance[test & label] < threshold).mean())
    return float(np.mean(rates)), float(np.std(rates))


def _slinear(far: F64, grid: F64, wanted: float) -> float:
    """Interpolate the threshold at ``wanted``; where FAR stands still the last grid point of the level
    counts.
    """
    levels, last = np.unique(far[::-1], return_index=True)
    return float(np.interp(wanted, levels, grid[::-1][last]))
