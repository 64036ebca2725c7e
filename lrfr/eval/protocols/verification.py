"""Pair verification at any sizes: same-resolution and cross-resolution, every convention, every number with
its interval.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.embeddings import Bools, Embedded, embed_images, embedding_remarks
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import Arranged, PairList, arranged
from lrfr.eval.protocols.seen import unaligned_remark
from lrfr.eval.results import Metric, Metrics, Model, Result, metric, pack
from lrfr.eval.scoring import conventions
from lrfr.eval.scoring.folds import check_folds
from lrfr.eval.scoring.intervals import Interval, Resampling, bootstrap_mean, bootstrap_tar, wilson
from lrfr.eval.scoring.metrics import F64, Roc, auc, eer, is_resolvable, roc, tar_at_far, thin
from lrfr.eval.scoring.reject import error_versus_reject, pair_quality
from lrfr.eval.settings import DEFAULT_SIZES, Settings, SizeCell, Task, size_cells, with_draws

REVISION = 2
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# about 1.6 MB of a result file
_MAX_KEPT_SCORES = 200_000
# pairs times replicates: beyond, Wilson's interval is used, which takes no time
_MAX_BOOTSTRAP_CELLS = 2e8


def verify_pairs(
    embed: Embedder,
    pairs: PairList,
    settings: Settings | None = None,
    model: Model | None = None,
    hooks: Hooks = SILENT,
) -> list[Result]:
    """Verify a list of pairs at several sizes and return one result for each combination.

    Same-resolution puts both images at size r. Cross-resolution leaves the first image of each pair at the
    largest size and puts the second at r. Each distinct image is embedded once per size.

    Args:
        embed: ``embed(list of uint8 HWC images of any size) -> float32 [N, D]``, raw.
        pairs: see :func:`lrfr.eval.pairs.pair_list`.
        settings: sizes, convention, intervals.
        model: what is evaluated, for the record.
        hooks: told of images done, with ``size``.

    """
    return verify(Task(embed, settings or Settings(), model or Model("embedder"), hooks), pairs)


def verify(task: Task, pairs: PairList, sizes: Sequence[Size] = DEFAULT_SIZES) -> list[Result]:
    """Verify a list of pairs for a benchmark's runner, at these sizes unless the settings name others."""
    lost: tuple[str, ...] = ()
    if task.settings.align is not None:
        # lists of benchmarks load no detector
        from lrfr.eval.pairs.aligned_faces import cut_pairs

        pairs, lost = cut_pairs(pairs, task)
    try:
        listed = arranged(pairs)
        check_folds(listed.fold, listed.pairs.same)
    except DataError as fault:
        raise DataError(fault.message, file=fault.file or pairs.place or None, hint=fault.hint) from None
    cells = size_cells(task.settings, sizes)
    embedded = _embed_sizes(task, listed.pairs, cells)
    unaligned = unaligned_remark(listed.pairs.images, pairs.alignment)
    listed = replace(listed, remarks=(*listed.remarks, *lost, *unaligned))
    return [_one(task, listed, cell, embedded) for cell in cells]


def _embed_sizes(task: Task, pairs: PairList, cells: list[SizeCell]) -> dict[Size, Embedded]:
    sizes = list(dict.fromkeys(size for _, a, b in cells for size in (a, b)))
    total, found = len(sizes) * len(pairs.images), {}
    settings = task.settings
    for turn, size in enumerate(sizes):
        found[size] = embed_images(
            task.embed,
            pairs.images,
            size=size,
            low_res=settings.low_res,
            mirror=settings.fusion() != "none",
            batch=settings.batch,
            hooks=_one_of(task.hooks, turn * len(pairs.images), total, size),
        )
    return found


def _one_of(hooks: Hooks, before: int, of_all: int, size: Size) -> Hooks:
    """Return hooks that count the images of one size among those of all."""

    def report(done: int, total: int, **info: object) -> None:
        hooks.progress(before + done, of_all, size=size or "native")

    return Hooks(report)


def _one(task: Task, listed: Arranged, cell: SizeCell, embedded: Mapping[Size, Embedded]) -> Result:
    _, first, second = cell
    settings, started, pairs = task.settings, time.monotonic(), listed.pairs
    left = embedded[first].fuse(settings.fusion())[pairs.left]
    right = embedded[second].fuse(settings.fusion())[pairs.right]
    outcome = conventions.evaluate(
        settings.convention, left, right, pairs.same, pairs.fold, any_folds=settings.any_folds
    )
    curve = roc(outcome.scores, pairs.same)
    extra: dict[str, Metric] = {}
    if settings.convention == "A":
        rate, spread = conventions.validation_rate(left, right, pairs.same, pairs.fold)
        extra["VAL@FAR=0.001"] = metric(
            rate, curve.n_pos, resolvable=is_resolvable(0.001, curve.n_neg), std=spread
        )
    return replace(
        task.blank(pairs.name, "verification", cell, settings.fusion()),
        revision=REVISION,
        metrics={**_metrics(outcome, curve, pairs, settings), **extra},
        convention=settings.convention,
        alignment=pairs.alignment,
        protocol_digest=pairs.digest,
        list_digest=pairs.content_digest,
        pixels_digest=with_draws(listed.pixels, pairs.images, cell),
        counts={"n_pos": curve.n_pos, "n_neg": curve.n_neg, **listed.counts},
        min_far=curve.min_far,
        files=pairs.files,
        remarks=(*listed.remarks, *embedding_remarks(np.concatenate([left, right]))),
        curves={
            "roc": thin(curve),
            "histogram": _histogram(outcome.scores, pairs.same),
            **_rejecting(outcome.scores, pairs.same, curve, pair_quality(left, right)),
        },
        per_pair=_kept(outcome, listed),
        seconds=time.monotonic() - started,
        more={"convention_name": conventions.CONVENTIONS[settings.convention].name, "folds": listed.folds},
    )


def _metrics(outcome: conventions.Verification, curve: Roc, pairs: PairList, settings: Settings) -> Metrics:
    n, resampling = len(pairs.same), _resampling(pairs, settings)
    # the smaller rates only down to a tenth of what the list resolves: beyond, every column would say the
    # same
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
        found[f"TAR@FAR={far:g}"] = metric(
            point.tar,
            curve.n_pos,
            interval,
            resolvable=point.resolvable,
            far=point.far,
            threshold=_finite(point.threshold),
        )
    return found | {"EER": metric(eer(curve), n), "AUC": metric(auc(curve), n)}


def _rejecting(
    scores: F64, same: Bools, curve: Roc, quality: F64 | None
) -> dict[str, dict[str, list[float]]]:
    """Return the error-versus-reject curve at the smallest FAR that the list resolves; none without quality,
    or where no threshold is passed.
    """
    far = min((far for far in FARS if is_resolvable(far, curve.n_neg)), default=None)
    if quality is None or far is None or not np.isfinite(threshold := tar_at_far(curve, far).threshold):
        return {}
    return {"edc": {**error_versus_reject(scores, same, quality, threshold), "far": [far]}}


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


def _kept(outcome: conventions.Verification, listed: Arranged) -> Mapping[str, str] | None:
    """Keep scores and decisions of lists of moderate length, in the order of the list, so that two models can
    be tested on the same pairs later.
    """
    if len(listed.order) > _MAX_KEPT_SCORES:
        return None
    back = np.argsort(listed.order)
    return {
        "same_u8": pack(listed.pairs.same[back].astype(np.uint8)),
        "correct_u8": pack(outcome.correct[back].astype(np.uint8)),
        "score_f32": pack(outcome.scores[back].astype("<f4")),
    }
