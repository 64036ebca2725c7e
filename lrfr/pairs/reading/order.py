"""Which positions an epoch shows, and when: every order is a pure function of (seed, epoch)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of
from lrfr.core.streams import row_words
from lrfr.pairs.format.shard_layout import UNIT_ROWS

WINDOW_ROWS = 4096
# raised when the same labels, seed and epoch give other draws of identities and images
IDENTITY_DRAW_REVISION = 2


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool = True) -> NDArray[np.int64]:
    """Return a permutation of ``range(count)``: the same for every rank, worker and restart.

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


def weighted_order(weights: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return as many positions as there are weights, each ``floor`` or ``ceil`` of n times its share of all
    weights often, in the mixed order of :func:`epoch_order`; a pure function of weights, seed and epoch.

    Systematic resampling: of all draws with these expectations it has nearly the least variance.

    Raises:
        DataError: a weight is negative or no number, or none is positive.

    """
    weights = np.asarray(weights, np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
        raise DataError("weights of rows must be numbers of 0 or more, some above 0")
    count, ends = len(weights), np.cumsum(weights)
    start = int(_random_words(seed, epoch, "weights", 1)[0] >> np.uint64(11)) / 2**53
    points = (np.arange(count) + start) / count * ends[-1]
    # a point that rounding puts on the end of all belongs to the last row of any weight
    drawn = np.minimum(np.searchsorted(ends, points, side="right"), np.flatnonzero(weights)[-1])
    return np.asarray(drawn[epoch_order(count, seed, epoch)], np.int64)


class Identities:
    """Positions grouped by identity, for batches of P identities with K images each.

    An epoch shows every identity that has at least K images once, with K different ones of them, all drawn
    anew. Identities with fewer images, and positions without identity, are not shown: :attr:`left_out`
    counts them.

    Args:
        labels: of every position, int64 ``[n]``; -1 for none.
        images: K.

    Raises:
        DataError: no identity has K images.

    """

    def __init__(self, labels: NDArray[np.int64], images: int) -> None:
        self.images = images
        # stable: within an identity, positions stay in the order of the rows on every machine
        self._by_label = np.argsort(labels, kind="stable")
        counts = np.bincount(labels[labels >= 0])
        self._numbers = np.flatnonzero(counts >= images)
        if not len(self._numbers):
            raise DataError(f"no identity has {images} images", hint="take a smaller images_per_id")
        self._counts = counts[self._numbers]
        firsts = np.cumsum(counts) - counts + np.count_nonzero(labels < 0)
        self._firsts = firsts[self._numbers]
        self.left_out = len(labels) - int(self._counts.sum())

    def __len__(self) -> int:
        """Return how many positions an epoch shows."""
        return len(self._numbers) * self.images

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the positions of an epoch, those of one identity one after another.

        The work grows with the identities that are shown, not with the rows. What an identity draws does not
        depend on which others there are.
        """
        key = int(digest_of([seed, epoch, "identities"])[:16], 16)
        chosen = np.empty((len(self._numbers), self.images), np.int64)
        for place in range(self.images):
            # Floyd's sample without replacement (Bentley and Floyd, CACM 1987), one step for all identities
            last = self._counts - self.images + place
            drawn = row_words(self._numbers, key, place + 1) % (last + 1).astype(np.uint64)
            taken = (chosen[:, :place] == drawn.astype(np.int64)[:, None]).any(axis=1)
            chosen[:, place] = np.where(taken, last, drawn.astype(np.int64))
        turn = np.argsort(row_words(self._numbers, key, 0), kind="stable")
        return np.asarray(self._by_label[(self._firsts[:, None] + chosen)[turn]].reshape(-1), np.int64)


def _random_words(seed: int, epoch: int, name: str, count: int) -> NDArray[np.uint64]:
    key = int(digest_of([seed, epoch, name])[:32], 16)
    return np.asarray(np.random.Philox(key=key).random_raw(count), np.uint64)
