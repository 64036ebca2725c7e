"""Which variant each row shows in an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import digest_of
from lrfr.core.streams import row_words


def draw_variants(
    digest: str, epoch: int, rows: NDArray[np.int64], weights: Sequence[float]
) -> NDArray[np.int64]:
    """Return the variant that each row shows in an epoch, drawn by the weights from a hash of (view, epoch,
    row): no row's draw says anything about another row's, or about its own of another epoch.

    Args:
        digest: of the view.
        epoch: from 0.
        rows: positions ``[n]`` in the view.
        weights: of the variants, each above 0; they need not add up to 1.

    """
    return _by_weight(row_words(rows, int(digest_of([digest, "variant", epoch])[:16], 16)), weights)


def draw_as_before(
    digest: str, epoch: int, rows: NDArray[np.int64], weights: Sequence[float]
) -> NDArray[np.int64]:
    """Return what rows of a base showed before their store was upgraded: the golden-ratio sequence over row
    numbers, turned by a hash of view and epoch.
    """
    start = int(digest_of([digest, "variant", epoch])[:16], 16)
    with np.errstate(over="ignore"):
        turned = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    return _by_weight(turned, weights)


def _by_weight(words: NDArray[np.uint64], weights: Sequence[float]) -> NDArray[np.int64]:
    share = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    edges = np.cumsum(np.asarray(weights, np.float64)) / float(np.sum(weights))
    return np.minimum(np.searchsorted(edges, share, side="right"), len(weights) - 1)
