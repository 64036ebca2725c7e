"""Error versus reject: what is gained by refusing the comparisons of poorest quality (ISO/IEC 29794-1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lrfr.eval.embeddings import Bools
from lrfr.eval.scoring.metrics import F64

FRACTIONS = tuple(round(0.05 * step, 2) for step in range(20))
# norms of networks that end in a normalization differ by rounding alone, which is no quality
_SPREAD = 1e-3


def pair_quality(left_nd: NDArray[np.float32], right_nd: NDArray[np.float32]) -> F64 | None:
    """Return the quality of each comparison, the smaller norm of its two embeddings; None where all norms are
    alike.
    """
    norms = [np.linalg.norm(side.astype(np.float64), axis=1) for side in (left_nd, right_nd)]
    both = np.concatenate(norms)
    if not len(both) or np.ptp(both) <= _SPREAD * both.max():
        return None
    return np.asarray(np.minimum(*norms), np.float64)


def error_versus_reject(
    scores: F64, same: Bools, quality: F64, threshold: float, fractions: tuple[float, ...] = FRACTIONS
) -> dict[str, list[float]]:
    """Return ``reject`` and ``fnmr``: the share of mated comparisons below the threshold among those that are
    left when ``floor(reject * n)`` of the poorest quality are refused (ISO/IEC 29794-1, error versus discard
    characteristic). The threshold stays that of all comparisons.

    Of equal qualities the comparison with the higher score is refused first, so that the order of a list
    decides nothing and ties flatter nobody.

    Args:
        scores: of all comparisons, [P].
        same: which are mated.
        quality: of each, higher is better.
        threshold: scores from here on are accepted.
        fractions: in [0, 1).

    """
    mated, worth = scores[same], quality[same]
    missed = (mated < threshold)[np.lexsort((-mated, worth))]
    left = np.cumsum(missed[::-1])[::-1]  # misses from a place on
    firsts = [int(np.floor(fraction * len(mated) + 1e-9)) for fraction in fractions]
    rates = [float(left[first] / (len(mated) - first)) for first in firsts]
    return {"reject": list(fractions), "fnmr": rates}
