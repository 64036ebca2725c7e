"""The order of an epoch: a pure function of (seed, epoch), the same for every rank, worker and restart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import digest_of
from lrfr.pairs.build.plan import UNIT_ROWS

WINDOW_ROWS = 4096


def _random_words(seed: int, epoch: int, name: str, count: int) -> NDArray[np.uint64]:
    key = int(digest_of([seed, epoch, name])[:32], 16)
    return np.asarray(np.random.Philox(key=key).random_raw(count), np.uint64)


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool = True) -> NDArray[np.int64]:
    """Return a permutation of ``range(count)``.

    Units of 64 neighboring rows are permuted, then rows are shuffled inside windows of 4,096, so that reading
    touches few pages at a time. Rows already lie in random order in a base, so batches are as mixed as those
    of a full shuffle.
    """
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    units = (count + UNIT_ROWS - 1) // UNIT_ROWS
    unit_order = np.argsort(_random_words(seed, epoch, "units", units), kind="stable")
    rows = (unit_order[:, None] * UNIT_ROWS + np.arange(UNIT_ROWS)).reshape(-1)
    rows = rows[rows < count]
    window = np.arange(count) // WINDOW_ROWS
    return np.asarray(rows[np.lexsort((_random_words(seed, epoch, "rows", count), window))], np.int64)
