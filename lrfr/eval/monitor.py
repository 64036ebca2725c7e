"""What a training loop calls at intervals: ``evaluate(embed) -> {name: value}`` on embedded faces or on
held-out rows of a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Embed, PairList, Size
from lrfr.eval.protocols.pair_lists import synthetic_pairs
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.report.compare import size_pair
from lrfr.eval.settings import Settings

if TYPE_CHECKING:
    from lrfr.pairs.dataset import PairDataset

Evaluate = Callable[[Embed], dict[str, float]]
_READ = 64


def embedded_evaluator(sizes: Sequence[Size] = (112, 28, 14, 7), pairs: int = 400) -> Evaluate:
    """Return an evaluator on embedded invented faces that no training uses; the pairs are rendered once, at
    the first call.
    """
    return pairs_evaluator(lambda: synthetic_pairs(identities=40, count=pairs), sizes)


def view_evaluator(
    dataset: PairDataset, sizes: Sequence[Size] = (112, 28, 14, 7), pairs: int = 1000, seed: int = 0
) -> Evaluate:
    """Return an evaluator on the rows of ``dataset``, for example ``PairDataset(store, view,
    split="dev")``.
    """
    return pairs_evaluator(lambda: view_pairs(dataset, pairs, seed), sizes)


def pairs_evaluator(make: Callable[[], PairList], sizes: Sequence[Size]) -> Evaluate:
    """Return an evaluator of cross-resolution accuracy; the first metric is that of the smallest side, by
    which ``best`` is chosen.
    """
    settings = Settings(sizes=tuple(sizes), matching=("cross",), replicates=0)
    made: list[PairList] = []

    def evaluate(embed: Embed) -> dict[str, float]:
        if not made:
            made.append(make())
        results = verify_pairs(embed, made[0], settings)
        return {
            f"accuracy {size_pair(result)}": float(result["metrics"]["accuracy"]["value"])
            for result in reversed(results)
        }

    return evaluate


def view_pairs(dataset: PairDataset, count: int = 1000, seed: int = 0) -> PairList:
    """Draw balanced pairs from a view's HR crops, in ten folds; the same seed gives the same pairs.

    Raises:
        DataError: fewer than two identities, or none with two images.

    """
    generator = np.random.default_rng(seed)
    label = dataset.labels
    groups = [np.flatnonzero(label == number) for number in range(dataset.num_classes)]
    several = [group for group in groups if len(group) > 1]
    if len(groups) < 2 or not several:
        raise DataError(
            f"{len(groups)} identities, {len(several)} of them with two images or more: no pairs can be drawn"
        )
    drawn = np.array([_draw(generator, several, groups, same=row % 2 == 0) for row in range(count)], np.int64)
    used, place = np.unique(drawn, return_inverse=True)
    pixels: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = []
    for start in range(0, len(used), _READ):
        batch = dataset.batch(used[start : start + _READ], 0)
        pixels += list(batch.hr_bchw.permute(0, 2, 3, 1).contiguous().numpy())
    left, right = place.reshape(count, 2).T
    return PairList(
        "view",
        pixels,
        left,
        right,
        np.arange(count) % 2 == 0,
        identity=label[used],
        alignment="as in the view",
    )


def _draw(
    generator: np.random.Generator, several: list[np.ndarray], groups: list[np.ndarray], *, same: bool
) -> tuple[int, int]:
    """Return the positions of one pair."""
    if same:
        first, second = generator.choice(several[generator.integers(len(several))], 2, replace=False)
        return int(first), int(second)
    a, b = generator.choice(len(groups), 2, replace=False)
    return int(generator.choice(groups[a])), int(generator.choice(groups[b]))
