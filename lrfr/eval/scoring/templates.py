"""Features of templates (sets of images and video frames of one person) and their scores, as the published
IJB scripts compute them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrfr.eval.embeddings import Embedded, Floats, Ints, unit
from lrfr.eval.scoring.metrics import F64
from lrfr.eval.scoring.search import F32, GALLERY_BLOCK, PROBE_BLOCK

# how the images of a template become one feature, see :func:`pooled`
POOLINGS = {"mean": "mean of images", "norm": "weighted by norm"}


def image_features(embedded: Embedded, detector: Floats, *, norm: str, use_detector: bool, flip: bool) -> F32:
    """Return one feature per image under the N, D and F switches: ``norm`` is ``keep`` (N1) or ``unit``
    (N0).
    """
    feature = embedded.fuse("sum" if flip else "none")
    if norm == "unit":
        feature = unit(feature)
    return (feature * np.asarray(detector, np.float32)[:, None]) if use_detector else feature


def template_features(feature: F32, template: Ints, medium: Ints) -> tuple[F32, Ints]:
    """Return unit template features [T, D] and their numbers in ascending order: mean within a medium, sum
    over media.
    """
    pairs, place = np.unique(np.stack([template, medium]), axis=1, return_inverse=True)
    total = np.zeros((pairs.shape[1], feature.shape[1]), np.float64)
    np.add.at(total, place.reshape(-1), feature)
    per_medium = total / np.bincount(place.reshape(-1))[:, None]
    names, owner = np.unique(pairs[0], return_inverse=True)
    summed = np.zeros((len(names), feature.shape[1]), np.float64)
    np.add.at(summed, owner, per_medium)
    # a sum, not a mean, over media: the length is divided out here anyway
    return unit(summed.astype(np.float32)), names.astype(np.int64)


def pooled(embedding: F32, template: Ints, how: str) -> tuple[F32, Ints]:
    """Return unit template features [T, D] and their numbers in ascending order.

    Args:
        embedding: raw, of each image, [N, D].
        template: number of each image's template.
        how: ``mean``: of unit vectors, every image counts alike; ``norm``: of unit vectors weighted by their
            norms, which networks trained by a margin make small for poor images (the sum of the raw ones).

    """
    weighted = (unit(embedding) if how == "mean" else embedding).astype(np.float64)
    names, owner = np.unique(template, return_inverse=True)
    total = np.zeros((len(names), embedding.shape[1]), np.float64)
    np.add.at(total, owner.reshape(-1), weighted)
    return unit(total.astype(np.float32)), names.astype(np.int64)


def legacy_merged(
    probe: F32, probe_id: Ints, gallery: F32, gallery_id: Ints, fpirs: Sequence[float]
) -> dict[float, float]:
    """Return what ``ijb_1n.py`` prints: share of mated similarities above the ceil(Q * FPIR)-th largest of
    ALL non-mated ones.

    It merges both galleries and asks for no rank, so it is not a TPIR at an FPIR; BTNet's Tables 7 and 8 are
    made this way.
    """
    keep = max(math.ceil(len(probe) * f) for f in fpirs)
    best, mates = np.empty(0, np.float32), np.full(len(probe), -2.0, np.float32)
    unit_probe = unit(probe)
    for start in range(0, len(gallery), GALLERY_BLOCK):
        block, label = unit(gallery[start : start + GALLERY_BLOCK]), gallery_id[start : start + GALLERY_BLOCK]
        for first in range(0, len(probe), PROBE_BLOCK):
            part = slice(first, first + PROBE_BLOCK)
            scores = unit_probe[part] @ block.T
            own = probe_id[part, None] == label[None, :]
            mates[part] = np.maximum(mates[part], np.where(own, scores, -2.0).max(axis=1))
            best = np.concatenate([best, scores[~own]])
            # only the largest can become a threshold; millions of other scores are let go
            if len(best) > keep:
                best = np.partition(best, len(best) - keep)[-keep:]
    ordered = np.sort(best)[::-1]
    return {f: float((mates > ordered[math.ceil(len(probe) * f) - 1]).mean()) for f in fpirs}


def pair_scores(features: F32, left: Ints, right: Ints, block: int = 20_000) -> F64:
    """Return the cosine of each pair of rows in blocks, so that fifteen million pairs need no copy of their
    features.
    """
    rows = unit(features)
    out = np.empty(len(left), np.float64)
    for start in range(0, len(left), block):
        part = slice(start, start + block)
        out[part] = np.einsum("pd,pd->p", rows[left[part]], rows[right[part]])
    return out
