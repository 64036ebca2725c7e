"""What a training loop calls at intervals: ``evaluate(embed) -> {name: value}`` on embedded faces or on
held-out rows of a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.core.image import ImageU8
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import PairList, draw_distinct, groups_of, synthetic_pairs
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.report.compare import size_pair
from lrfr.eval.settings import Settings

if TYPE_CHECKING:
    from lrfr.pairs.reading.dataset import PairDataset

Evaluate = Callable[[Embedder], dict[str, float]]
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

    def evaluate(embed: Embedder) -> dict[str, float]:
        if not made:
            made.append(make())
        results = verify_pairs(embed, made[0], settings)
        return {
            f"accuracy {size_pair(result)}": result.metrics["accuracy"].value for result in reversed(results)
        }

    return evaluate


def view_pairs(dataset: PairDataset, count: int = 1000, seed: int = 0) -> PairList:
    """Draw balanced pairs from a view's HR crops, none twice while there are others; the same seed gives the
    same pairs.

    Raises:
        DataError: fewer than two identities, or none with two images.

    """
    generator = np.random.default_rng(seed)
    label = dataset.labels
    groups, several = groups_of(label, dataset.num_classes)
    chosen = draw_distinct(generator, groups, several, count)
    kinds = [[(a, b) for a, b, same in chosen if same == kind] for kind in (True, False)]
    drawn = np.array([kinds[row % 2][row // 2 % len(kinds[row % 2])] for row in range(count)], np.int64)
    used, place = np.unique(drawn, return_inverse=True)
    pixels: list[ImageU8] = []
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
