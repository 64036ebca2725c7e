"""Intervals and tests: bootstrap over identities, Wilson, McNemar, DeLong, and the statistics of F-SKD.

Pairs that share a person are not independent, so pair-level intervals are too narrow. Here people are
resampled: a replicate draws identities with replacement, and a pair counts as often as both of its people
were drawn (Snijders and Borgatti, "Non-parametric standard errors and tests for network statistics",
Connections 22, 1999).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Bools, Floats, Ints
from lrfr.eval.scoring.metrics import F64, check_scores

CONFIDENCE = 0.95
# 32 MB of weights at a time
_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and how it was made."""

    low: float
    high: float
    kind: str

    def as_dict(self) -> dict[str, float | str]:
        """Return the JSON form."""
        return {"low": self.low, "high": self.high, "kind": self.kind, "confidence": CONFIDENCE}


@dataclass(frozen=True)
class Resampling:
    """Who appears in each pair (or probe): ``left`` and ``right`` are identity numbers [P]; without them,
    pairs are resampled.

    For single trials (probes) give ``left`` only.
    """

    count: int
    left: Ints | None = None
    right: Ints | None = None
    replicates: int = 1000
    seed: int = 0

    @property
    def kind(self) -> str:
        """Name for the record."""
        return "bootstrap over pairs" if self.left is None else "bootstrap over identities"

    def weights(self) -> Iterator[F64]:
        """Yield chunks of weights [replicates in chunk, P]; their number is bounded in memory, their values
        depend on the seed only.
        """
        people = np.arange(self.count) if self.left is None else self.left
        names, left = np.unique(people, return_inverse=True)
        right = None
        if self.left is not None and self.right is not None:
            names, both = np.unique(np.concatenate([self.left, self.right]), return_inverse=True)
            left, right = both[: self.count], both[self.count :]
        generator = np.random.default_rng(self.seed)
        step = max(1, _CHUNK_CELLS // self.count)
        for start in range(0, self.replicates, step):
            rows = min(step, self.replicates - start)
            drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rows).astype(
                np.float64
            )
            weight = drawn[:, left]
            if right is not None:
                # both of its people must have been drawn; a pair within one person needs that one only once
                weight = np.where(left == right, weight, weight * drawn[:, right])
            yield weight


def percentile_interval(values: F64, kind: str) -> Interval | None:
    """Return the percentile interval of bootstrap values; replicates that lost a class (NaN) are left out."""
    finite = values[np.isfinite(values)]
    # the 2.5 % ends of fewer values are the extremes themselves
    if len(finite) < 20:
        return None
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high), kind)


def bootstrap_mean(
    values: Floats | Bools, resampling: Resampling, classes: Ints | None = None
) -> Interval | None:
    """Return the interval of a mean over trials.

    With ``classes`` (for example same/different) the means of the classes are combined in their original
    proportions, so that a replicate's class balance does not move the result.
    """
    value = np.asarray(values, np.float64)
    label = np.zeros(len(value), np.int64) if classes is None else np.asarray(classes, np.int64)
    found: list[F64] = []
    for weight in resampling.weights():
        total = np.zeros(len(weight))
        for name in np.unique(label):
            members = label == name
            mass = weight[:, members].sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                total += members.mean() * (weight[:, members] @ value[members]) / mass
        found.append(total)
    return percentile_interval(np.concatenate(found), resampling.kind)


def bootstrap_tar(
    scores: Floats, same: Bools, fars: list[float], resampling: Resampling
) -> list[Interval | None]:
    """Return intervals of TAR at each FAR; every replicate chooses its own threshold."""
    score, label = check_scores(scores, same)
    order = np.argsort(-score, kind="stable")
    # a threshold cannot part equal scores, so only the last of each run of ties is a point
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    sorted_label = label[order]
    found: list[F64] = []
    for weight in resampling.weights():
        mass = weight[:, order]
        neg = np.cumsum(np.where(sorted_label, 0, mass), axis=1)[:, ends]
        pos = np.cumsum(np.where(sorted_label, mass, 0), axis=1)[:, ends]
        found.append(np.stack([_tar_rows(pos, neg, far) for far in fars], axis=1))
    values = np.concatenate(found)
    return [percentile_interval(values[:, i], resampling.kind) for i in range(len(fars))]


def _tar_rows(pos: F64, neg: F64, far: float) -> F64:
    """Return TAR at ``far`` for each row of cumulated weights, NaN where a class has no weight."""
    # slack for rates such as 0.29 * 100, which is not 29 in binary
    accepted = (neg <= far * neg[:, -1:] + 1e-9).sum(axis=1)
    tar = np.where(accepted > 0, pos[np.arange(len(pos)), np.maximum(accepted - 1, 0)], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(neg[:, -1] > 0, tar / pos[:, -1], np.nan))


def wilson(successes: int, trials: int) -> Interval:
    """Return Wilson's score interval of a proportion (Wilson, JASA 22, 1927)."""
    z = 1.959963984540054
    share = successes / trials
    center = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(max(0.0, float(center - half)), min(1.0, float(center + half)), "Wilson")


def mcnemar(correct_a: Bools, correct_b: Bools) -> dict[str, float]:
    """Compare two models on the same pairs: exact two-sided McNemar test (McNemar, Psychometrika 12, 1947).

    Returns:
        ``only_a``, ``only_b``: pairs that one model alone got right; ``p``: exact binomial p-value.

    """
    from scipy.stats import binomtest

    a, b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if len(a) != len(b):
        raise DataError(f"{len(a)} and {len(b)} decisions are not on the same pairs")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = 1.0 if only_a + only_b == 0 else float(binomtest(only_a, only_a + only_b, 0.5).pvalue)
    return {"only_a": only_a, "only_b": only_b, "p": p}


def delong(scores_a: Floats, scores_b: Floats, same: Bools) -> dict[str, float]:
    """Compare two AUCs on the same pairs (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).

    Returns:
        ``auc_a``, ``auc_b``, ``z`` and the two-sided ``p``.

    """
    from scipy.stats import norm

    parts = [_placements(*check_scores(scores, same)) for scores in (scores_a, scores_b)]
    auc_a, auc_b = (float(pos.mean()) for pos, _ in parts)
    n_pos, n_neg = len(parts[0][0]), len(parts[0][1])
    cov = np.cov([pos for pos, _ in parts]) / n_pos + np.cov([neg for _, neg in parts]) / n_neg
    variance = float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    # two models with the same ranks have no variance between them, and no difference
    z = 0.0 if variance <= 0 else (auc_a - auc_b) / np.sqrt(variance)
    return {"auc_a": auc_a, "auc_b": auc_b, "z": float(z), "p": float(2 * norm.sf(abs(z)))}


def _placements(score: F64, label: Bools) -> tuple[F64, F64]:
    """Return each positive's share of negatives below it, and each negative's share of positives above it
    (ties one half).
    """
    from scipy.stats import rankdata

    pos, neg = score[label], score[~label]
    ranks = rankdata(np.concatenate([pos, neg]))
    above = (ranks[: len(pos)] - rankdata(pos)) / len(neg)
    below = 1.0 - (ranks[len(pos) :] - rankdata(neg)) / len(pos)
    return np.asarray(above), np.asarray(below)


def norm_test(hr: Floats, lr: Floats) -> dict[str, float]:
    """Compare feature norms of HR and LR images as F-SKD section 3.3 and Fig. 4 do.

    Args:
        hr: L2 norms of the flattened block output on HR images, [N].
        lr: the same on the LR versions of the same images, [N].

    Returns:
        ``t``, ``p``: the paper's unpaired statistic ``(mean hr - mean lr) / sqrt((var hr + var lr) / n)``,
        two-sided; ``t_paired``, ``p_paired``: for the same images; ``cohen_d``: the effect size.

    """
    from scipy.stats import ttest_ind, ttest_rel

    x, y = np.asarray(hr, np.float64), np.asarray(lr, np.float64)
    unpaired, paired = ttest_ind(x, y), ttest_rel(x, y)
    spread = np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
    return {
        "t": float(unpaired.statistic),
        "p": float(unpaired.pvalue),
        "t_paired": float(paired.statistic),
        "p_paired": float(paired.pvalue),
        "cohen_d": float((x.mean() - y.mean()) / spread),
    }


def pearson_maps(hr_nchw: Floats, lr_nchw: Floats) -> dict[str, F64]:
    """Correlate feature maps of HR and LR images (F-SKD Fig. 5), per image.

    The paper's "pixel-level" is open to two readings, so both are given: ``channel_mean`` correlates the two
    [H, W] maps of channel means, ``elements`` all C*H*W values. Both [N]; a constant map gives NaN.
    """
    x, y = np.asarray(hr_nchw, np.float64), np.asarray(lr_nchw, np.float64)
    return {
        "channel_mean": _row_correlation(x.mean(axis=1), y.mean(axis=1)),
        "elements": _row_correlation(x, y),
    }


def _row_correlation(x: F64, y: F64) -> F64:
    a, b = x.reshape(len(x), -1), y.reshape(len(y), -1)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1)))
