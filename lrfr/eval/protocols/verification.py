"""Pair verification at any sizes: same-resolution and cross-resolution, every convention, every number with
its interval.
"""

from __future__ import annotations

import time

import numpy as np

from lrfr.eval.embeddings import (
    Bools,
    Embed,
    Embedded,
    PairList,
    Progress,
    Size,
    describe_specs,
    embed_images,
)
from lrfr.eval.results import Model, Result, make_result, metric, pack
from lrfr.eval.scoring import conventions
from lrfr.eval.scoring.intervals import Interval, Resampling, bootstrap_mean, bootstrap_tar, wilson
from lrfr.eval.scoring.metrics import F64, Roc, auc, eer, is_resolvable, roc, tar_at_far, thin
from lrfr.eval.settings import DEFAULT_SIZES, Settings, SizeCell, Task, size_cells

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_MAX_KEPT_SCORES = 200_000
_MAX_BOOTSTRAP_CELLS = 2e8


def verify_pairs(
    embed: Embed,
    pairs: PairList,
    settings: Settings | None = None,
    model: Model | None = None,
    on_progress: Progress | None = None,
) -> list[Result]:
    """Verify a list of pairs at several sizes and return one result for each combination.

    Same-resolution puts both images at size r. Cross-resolution leaves the first image of each pair at the
    largest size and puts the second at r. Each distinct image is embedded once per size.

    Args:
        embed: ``embed(list of uint8 HWC images of any size) -> float32 [N, D]``, raw.
        pairs: see :func:`lrfr.eval.embeddings.pair_list`.
        settings: sizes, convention, intervals.
        model: what is evaluated, for the record.
        on_progress: ``on_progress(done, total, size=...)`` in images.

    """
    todo = settings or Settings()
    cells = size_cells(todo, DEFAULT_SIZES)
    embedded = _embed_sizes(embed, pairs, todo, cells, on_progress)
    return [_one(pairs, todo, model or Model("embedder"), cell, embedded) for cell in cells]


def verify(task: Task, pairs: PairList) -> list[Result]:
    """Verify a list of pairs for a benchmark's runner."""
    return verify_pairs(task.embed, pairs, task.settings, task.model, task.on_progress)


def _embed_sizes(
    embed: Embed, pairs: PairList, settings: Settings, cells: list[SizeCell], on_progress: Progress | None
) -> dict[Size, Embedded]:
    sizes = list(dict.fromkeys(size for _, a, b in cells for size in (a, b)))
    total, found = len(sizes) * len(pairs.images), {}
    for turn, size in enumerate(sizes):

        def report(done: int, _: int, before: int = turn * len(pairs.images), size: Size = size) -> None:
            if on_progress:
                on_progress(before + done, total, size=size or "native")

        found[size] = embed_images(
            embed,
            pairs.images,
            size=size,
            low_res=settings.low_res,
            mirror=settings.fusion() != "none",
            batch=settings.batch,
            on_progress=report,
        )
    return found


def _one(
    pairs: PairList, settings: Settings, model: Model, cell: SizeCell, embedded: dict[Size, Embedded]
) -> Result:
    matching, first, second = cell
    started = time.monotonic()
    left = embedded[first].fuse(settings.fusion())[pairs.left]
    right = embedded[second].fuse(settings.fusion())[pairs.right]
    outcome = conventions.evaluate(
        settings.convention, left, right, pairs.same, pairs.fold, any_folds=settings.any_folds
    )
    curve = roc(outcome.scores, pairs.same)
    extra = {}
    if settings.convention == "A":
        rate, spread = conventions.validation_rate(left, right, pairs.same, pairs.fold)
        extra["VAL@FAR=0.001"] = metric(rate, curve.n_pos, std=spread)
    return make_result(
        model,
        benchmark=pairs.name,
        protocol="verification",
        metrics=_metrics(outcome, curve, pairs, settings) | extra,
        matching=matching,
        sizes=[first, second],
        convention=settings.convention,
        convention_name=conventions.CONVENTIONS[settings.convention].name,
        flip=settings.fusion(),
        **settings.low_res.describe(),
        **describe_specs([first, second]),
        alignment=pairs.alignment,
        protocol_digest=pairs.digest,
        n_pos=curve.n_pos,
        n_neg=curve.n_neg,
        min_far=curve.min_far,
        curves={"roc": thin(curve), "histogram": _histogram(outcome.scores, pairs.same)},
        **_kept(outcome, pairs),
        seconds=time.monotonic() - started,
    )


def _metrics(
    outcome: conventions.Verification, curve: Roc, pairs: PairList, settings: Settings
) -> dict[str, dict[str, object]]:
    n, resampling = len(pairs.same), _resampling(pairs, settings)
    fars = [far for far in FARS if far in FARS[:3] or is_resolvable(far * 10, curve.n_neg)]
    accuracy_interval: Interval | None = None
    tar_intervals: list[Interval | None] = [None] * len(fars)
    if resampling:
        accuracy_interval = bootstrap_mean(outcome.correct, resampling, pairs.same.astype(np.int64))
        tar_intervals = bootstrap_tar(outcome.scores, pairs.same, fars, resampling)
    elif settings.replicates:
        accuracy_interval = wilson(int(outcome.correct.sum()), n)
    found = {
        "accuracy": metric(
            outcome.accuracy, n, accuracy_interval, folds=outcome.folds.tolist(), spread=outcome.spread
        )
    }
    for far, resampled in zip(fars, tar_intervals, strict=True):
        point = tar_at_far(curve, far)
        interval = resampled or (
            wilson(round(point.tar * curve.n_pos), curve.n_pos) if settings.replicates else None
        )
        body = metric(point.tar, curve.n_pos, interval, resolvable=point.resolvable)
        found[f"TAR@FAR={far:g}"] = body | {"far": point.far, "threshold": _finite(point.threshold)}
    return found | {"EER": metric(eer(curve), n), "AUC": metric(auc(curve), n)}


def _finite(threshold: float) -> float | None:
    """Return None for the threshold above every score: JSON knows no infinity."""
    return threshold if np.isfinite(threshold) else None


def _resampling(pairs: PairList, settings: Settings) -> Resampling | None:
    n = len(pairs.same)
    if settings.replicates == 0 or n * settings.replicates > _MAX_BOOTSTRAP_CELLS:
        return None
    left, right = (
        (None, None) if pairs.identity is None else (pairs.identity[pairs.left], pairs.identity[pairs.right])
    )
    return Resampling(n, left, right, settings.replicates, settings.seed)


def _histogram(scores: F64, same: Bools) -> dict[str, list[float]]:
    edges = np.linspace(-1.0, 1.0, 51)
    clipped = np.clip(scores, -1, 1)
    return {
        "edges": edges.round(6).tolist(),
        "same": _counts(clipped[same], edges),
        "different": _counts(clipped[~same], edges),
    }


def _counts(scores: F64, edges: F64) -> list[float]:
    return [float(count) for count in np.histogram(scores, edges)[0]]


def _kept(outcome: conventions.Verification, pairs: PairList) -> dict[str, object]:
    """Keep scores and decisions of lists of moderate length, so that two models can be tested on the same
    pairs later.
    """
    if len(pairs.same) > _MAX_KEPT_SCORES:
        return {}
    return {
        "per_pair": {
            "same_u8": pack(pairs.same.astype(np.uint8)),
            "correct_u8": pack(outcome.correct.astype(np.uint8)),
            "score_f32": pack(outcome.scores.astype("<f4")),
        }
    }
