"""1:N search in blocks: memory depends on the block, never on the number of gallery images.

A gallery may be a memory-mapped array of a million embeddings. For each probe three things are kept: the best
score of its own person, the best score of anybody else, and its rank. Ties count against the model, with a
tolerance of 1e-6: two embeddings that are equal do not come out equal from two matrix products, and a
collapsed model must not look perfect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.embeddings import Bools, Ints, unit
from lrfr.eval.scoring.metrics import F64, is_resolvable, roc

F32 = NDArray[np.float32]
TIE = np.float32(1e-6)
# 1,024 x 8,192 scores are 32 MB of float32
PROBE_BLOCK = 1024
GALLERY_BLOCK = 8192
_LOWEST = np.float32(-2.0)  # below every cosine


@dataclass(frozen=True)
class Search:
    """Outcome for each probe.

    Attributes:
        best_mate: best cosine with the probe's own person, [Q]; -2 where the gallery lacks that person.
        best_other: best cosine with anybody else, [Q].
        rank: 1 + how many gallery images of others score at least as high as the best mate, [Q]; 0 where
            there is no mate.
        top: the k best scores of all gallery images, descending, [Q, k].

    """

    best_mate: F32
    best_other: F32
    rank: Ints
    top: F32

    @property
    def mated(self) -> Bools:
        """Which probes have a mate in the gallery."""
        return np.asarray(self.rank > 0)


def search(
    probe: F32,
    probe_label: Ints,
    gallery: F32,
    gallery_label: Ints,
    *,
    top: int = 1,
    gallery_block: int = GALLERY_BLOCK,
    hooks: Hooks = SILENT,
) -> Search:
    """Compare every probe with every gallery embedding by cosine.

    Args:
        probe: raw embeddings [Q, D].
        probe_label: person of each probe, [Q].
        gallery: raw embeddings [M, D]; may be memory-mapped.
        gallery_label: person of each gallery row, [M]; a distractor has a label that no probe has.
        top: how many best scores to keep for each probe.
        gallery_block: gallery rows per block.
        hooks: told of gallery rows done.

    """
    count = min(top, len(gallery))
    unit_probe = unit(np.asarray(probe, np.float32))
    # first and alone: ranks count who scores as high as the best mate, so it must be known before the blocks
    best_mate = _best_mates(unit_probe, probe_label, gallery, gallery_label)
    best_other = np.full(len(probe), _LOWEST, np.float32)
    above = np.zeros(len(probe), np.int64)
    best = np.full((len(probe), count), _LOWEST, np.float32)
    for start in range(0, len(gallery), gallery_block):
        rows = slice(start, start + gallery_block)
        block, label = unit(np.asarray(gallery[rows], np.float32)), gallery_label[rows]
        for first in range(0, len(probe), PROBE_BLOCK):
            part = slice(first, first + PROBE_BLOCK)
            scores = unit_probe[part] @ block.T
            best[part] = _largest(np.concatenate([best[part], scores], axis=1), count)
            # other images of the same person are hits, not rivals
            scores[probe_label[part, None] == label[None, :]] = _LOWEST
            np.maximum(best_other[part], scores.max(axis=1), out=best_other[part])
            above[part] += (scores >= best_mate[part, None] - TIE).sum(axis=1)
        hooks.progress(min(start + gallery_block, len(gallery)), len(gallery))
    return Search(
        best_mate, best_other, np.where(best_mate > _LOWEST, above + 1, 0), np.sort(best, axis=1)[:, ::-1]
    )


def _largest(scores: F32, count: int) -> F32:
    if count == 1:
        return np.asarray(scores.max(axis=1, keepdims=True))
    return np.asarray(np.partition(scores, scores.shape[1] - count, axis=1)[:, -count:])


def _best_mates(unit_probe: F32, probe_label: Ints, gallery: F32, gallery_label: Ints) -> F32:
    """Return each probe's best cosine with its own person, looking only at that person's rows."""
    order = np.argsort(gallery_label, kind="stable")
    ordered = gallery_label[order]
    first, last = (
        np.searchsorted(ordered, probe_label, "left"),
        np.searchsorted(ordered, probe_label, "right"),
    )
    best = np.full(len(unit_probe), _LOWEST, np.float32)
    for offset in range(int((last - first).max(initial=0))):
        rows = np.flatnonzero(first + offset < last)
        for start in range(0, len(rows), GALLERY_BLOCK):
            some = rows[start : start + GALLERY_BLOCK]
            mates = unit(np.asarray(gallery[order[first[some] + offset]], np.float32))
            best[some] = np.maximum(best[some], np.einsum("qd,qd->q", unit_probe[some], mates))
    return best


def average_precisions(
    probe: F32,
    probe_label: Ints,
    gallery: F32,
    gallery_label: Ints,
    *,
    gallery_block: int = GALLERY_BLOCK,
) -> F64:
    """Return the average precision of each probe over all gallery images of its person, [Q]; NaN where there
    is none.

    It is the area under precision over recall by trapezoids, as TinyFace's ``compute_AP`` and that of
    Market-1501 have it: a mate at place p of the list, the i-th of n, adds ((i - 1)/(p - 1) + i/p) / 2n, with
    1 for the first term at place 1. Arguments are those of :func:`search`, and ties count against the model.
    """
    order = np.argsort(gallery_label, kind="stable")
    ordered = gallery_label[order]
    found = np.full(len(probe), np.nan)
    for start in range(0, len(probe), PROBE_BLOCK):
        part = slice(start, start + PROBE_BLOCK)
        unit_probe, label = unit(np.asarray(probe[part], np.float32)), probe_label[part]
        low, high = (np.searchsorted(ordered, label, side) for side in ("left", "right"))
        mates = np.full((len(label), int((high - low).max(initial=0))), np.inf, np.float32)
        for row in np.flatnonzero(high > low):
            own = unit(np.asarray(gallery[order[low[row] : high[row]]], np.float32))
            mates[row, : len(own)] = np.sort(own @ unit_probe[row])[::-1]
        above = np.zeros(mates.shape, np.int64)
        for first in range(0, len(gallery), gallery_block):
            rows = slice(first, first + gallery_block)
            scores = unit_probe @ unit(np.asarray(gallery[rows], np.float32)).T
            scores[label[:, None] == gallery_label[None, rows]] = _LOWEST
            above += _at_least(scores, mates)
        found[part] = _trapezoids(above, high - low)
    return found


def _at_least(scores: F32, mates: F32) -> Ints:
    """Count for each mate the scores of its row that are as high, [q, mates]."""
    above = np.zeros(mates.shape, np.int64)
    for place in range(mates.shape[1]):
        some = np.flatnonzero(np.isfinite(mates[:, place]))
        above[some, place] = (scores[some] >= mates[some, place, None] - TIE).sum(axis=1)
    return above


def _trapezoids(above: Ints, count: Ints) -> F64:
    turn = np.arange(1, above.shape[1] + 1)
    place = above + turn
    before = np.where(place > 1, (turn - 1) / np.maximum(place - 1, 1), 1.0)
    kept = turn <= count[:, None]
    total = np.where(kept, (before + turn / place) / 2, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class OpenSetPoint:
    """TPIR at the lowest threshold whose FPIR does not exceed the target."""

    target_fpir: float
    tpir: float
    fpir: float
    threshold: float
    resolvable: bool


def tpir_at_fpir(mated: Search, unmated_best: F32, target_fpir: float, rank_limit: int) -> OpenSetPoint:
    """Return the exact open-set operating point.

    Args:
        mated: search of the mated probes.
        unmated_best: best gallery score of each unmated probe, [U].
        target_fpir: allowed share of unmated probes with a score above the threshold.
        rank_limit: a hit needs the true person within this rank (20 for SurvFace, 1 for IJB) and above the
            threshold.

    """
    ordered = np.sort(unmated_best)[::-1]
    # slack as for FAR: 0.29 * 100 is 28.999999999999996
    allowed = int(np.floor(target_fpir * len(ordered) + 1e-9))
    threshold = float(ordered[allowed]) if allowed < len(ordered) else float(_LOWEST)
    # a tie counts against the model, so that one that gives everybody the same embedding finds nobody
    hits = hit_scores(mated, rank_limit) > threshold + TIE
    return OpenSetPoint(
        target_fpir,
        float(hits.mean()),
        float((unmated_best > threshold).mean()),
        threshold,
        is_resolvable(target_fpir, len(ordered)),
    )


def hit_scores(mated: Search, rank_limit: int) -> F32:
    """Return each mated probe's score where its person is within the rank limit, else -2, which no threshold
    accepts.
    """
    return np.where((mated.rank >= 1) & (mated.rank <= rank_limit), mated.best_mate, _LOWEST).astype(
        np.float32
    )


def open_set_auc(mated: Search, unmated_best: F32, rank_limit: int) -> float:
    """Return the exact area under TPIR over FPIR from 0 to 1."""
    scores = np.concatenate([hit_scores(mated, rank_limit), unmated_best]).astype(np.float64)
    label = np.arange(len(scores)) < len(mated.rank)
    curve = roc(scores, label)
    # below it stand only misses of rank, which no threshold accepts: the curve goes on level to FPIR 1
    reached = curve.threshold > _LOWEST
    far, tar = curve.far[reached], curve.tar[reached]
    return float(np.trapezoid(np.append(tar, tar[-1]), np.append(far, 1.0)))


def official_sweep(
    mated: Search, unmated_best: F32, fpirs: tuple[float, ...], rank_limit: int = 20
) -> tuple[dict[float, float], float]:
    """Return (TPIR at the nearest FPIR, area) of the published SurvFace scripts: 1,000 evenly spaced
    thresholds.
    """
    low = min(float(mated.top.min()), float(unmated_best.min()))
    grid = np.linspace(low, float(unmated_best.max()), 1000)
    ordered_unmated, ordered_hits = np.sort(unmated_best), np.sort(hit_scores(mated, rank_limit))
    fpir = 1 - np.searchsorted(ordered_unmated, grid, "right") / len(ordered_unmated)
    tpir: F64 = 1 - np.searchsorted(ordered_hits, grid, "right") / len(ordered_hits)
    found = {target: float(tpir[np.argmin(np.abs(fpir - target))]) for target in fpirs}
    return found, float(np.trapezoid(tpir[::-1], fpir[::-1]))
