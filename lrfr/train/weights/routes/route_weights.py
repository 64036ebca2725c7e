"""What weight each member of a route gets, by held-out faces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError, SpecError
from lrfr.degrade.ops.resize import resize_batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.weights.routes.blend import unit
from lrfr.train.weights.routes.router import load_member

MOST_FACES = 1024
_EACH = 8
_BATCH = 64
# steps of the grid by number of members: each has a few hundred points at most
_STEPS = {1: 1, 2: 20, 3: 20, 4: 10}


@dataclass(frozen=True)
class FittedWeights:
    """Weights of the members that take the same faces.

    Attributes:
        weights: in the members' order; their sum is 1.
        auc: area under the ROC curve of held-out faces with them.
        alone: of each member alone.

    """

    weights: tuple[float, ...]
    auc: float
    alone: tuple[float, ...]


def fit_weights(
    members: Sequence[NDArray[np.float32]], large_nd: NDArray[np.float32], labels_n: NDArray[np.int64]
) -> FittedWeights:
    """Return the weights, on a grid, with which small faces find the large faces of their people best.

    Every small face is compared with every large one but itself; the area under the ROC curve of same against
    different person decides, at ties the more even weights. A face whose person has no other image is
    compared with itself instead.

    Args:
        members: embeddings of the small faces, float32 ``[N, D]`` each, of any norm.
        large_nd: embeddings of the same faces, large, by the member that takes those.
        labels_n: int64 ``[N]``; -1 for no identity.

    Raises:
        SpecError: more than four members, or none.
        DataError: there is nobody to tell apart.

    """
    if len(members) not in _STEPS:
        raise SpecError(f"weights are fitted for one to four members, not {len(members)}")
    same, different = _comparisons(labels_n)
    if not same.any() or not different.any():
        raise DataError("the held-out faces are all of one person", hint="a view of several people")
    units = [unit(rows) for rows in members]
    scores = [rows @ unit(large_nd).T for rows in units]
    gram = {(i, j): (units[i] * units[j]).sum(1) for i, j in itertools.product(range(len(units)), repeat=2)}

    def area(weights: Sequence[float]) -> float:
        squared = sum(
            weights[i] * weights[j] * gram[i, j] for i, j in itertools.product(range(len(weights)), repeat=2)
        )
        mixed = np.sum([w * s for w, s in zip(weights, scores, strict=True)], axis=0)
        mixed /= np.sqrt(np.maximum(squared, 1e-24))[:, None]
        return _auc(mixed[same], mixed[different])

    found = {weights: area(weights) for weights in _grid(len(members), _STEPS[len(members)])}
    best = max(found, key=lambda weights: (found[weights], -max(weights)))
    alone = [tuple(float(i == k) for i in range(len(members))) for k in range(len(members))]
    return FittedWeights(best, found[best], tuple(found[weights] for weights in alone))


def _grid(count: int, steps: int) -> Iterator[tuple[float, ...]]:
    """Yield all weights that are multiples of ``1 / steps`` and whose sum is 1."""
    for parts in itertools.product(range(steps + 1), repeat=count - 1):
        if sum(parts) <= steps:
            yield tuple(part / steps for part in (*parts, steps - sum(parts)))


def _comparisons(labels_n: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which (small, large) faces are of one person, and which of two."""
    itself = np.eye(len(labels_n), dtype=bool)
    alike = (labels_n[:, None] == labels_n[None]) & (labels_n >= 0)[:, None]
    same = alike & ~itself
    same |= itself & ~same.any(1)[:, None]
    return same, ~alike & ~itself


def _auc(same: NDArray[np.float32], different: NDArray[np.float32]) -> float:
    """Return P(same > different) + P(equal) / 2."""
    ordered = np.sort(different)
    below = np.searchsorted(ordered, same, "left") + np.searchsorted(ordered, same, "right")
    return float(below.mean() / (2 * len(ordered)))


def some_rows(labels_n: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most 1,024 rows to fit on: of faces with an identity, where there are any, up to eight of
    each of evenly chosen people, so that whoever has another image is looked at with it.

    Args:
        labels_n: of a view; -1 for no identity.

    """
    named = np.flatnonzero(labels_n >= 0)
    if not len(named):
        return np.linspace(0, len(labels_n) - 1, min(MOST_FACES, len(labels_n))).astype(np.int64)
    if len(named) <= MOST_FACES:
        return named
    rows = named[np.argsort(labels_n[named], kind="stable")]
    _, first, counts = np.unique(labels_n[rows], return_index=True, return_counts=True)
    person = np.repeat(np.arange(len(counts)), counts)
    few = np.arange(len(rows)) - first[person] < _EACH
    rows, person = rows[few], person[few]
    many = max(2, min(len(counts), MOST_FACES * len(counts) // len(rows)))
    chosen = np.linspace(0, len(counts) - 1, many).astype(np.int64)
    return np.sort(rows[np.isin(person, chosen)][:MOST_FACES])


def fit_route(
    dataset: PairDataset, side_px: int, runs: Sequence[Path], rest: Path, device: str = "cpu"
) -> FittedWeights:
    """Return the weights of ``runs`` for faces of up to ``side_px``, by plain bicubic copies of that side of
    a view's HR faces (:func:`some_rows`); the view holds people whom no member was trained on.

    Raises:
        SpecError, DataError: see :func:`fit_weights`; or a member is damaged.

    """
    rows = some_rows(dataset.labels)
    count = len(rows)
    whole = [dataset.batch(rows[at : at + _BATCH], 0) for at in range(0, count, _BATCH)]
    large = np.concatenate([batch.hr_bchw.permute(0, 2, 3, 1).numpy() for batch in whole])
    labels = np.concatenate([batch.label_b.numpy() for batch in whole])
    small = np.concatenate(
        [resize_batch(large[at : at + _BATCH], side_px, "bicubic", True) for at in range(0, count, _BATCH)]
    )

    def rows_of(path: Path, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        embed: Embedder = load_member(path, device)
        return embed(list(faces))

    return fit_weights([rows_of(path, small) for path in runs], rows_of(rest, large), labels)
