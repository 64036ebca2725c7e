"""Groups of crops that look as if they came from different cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STARTS, _STEPS = 8, 30
# the leading components say what faces differ in, the last are noise
_FIRST, _LAST = 2.0, 0.1


def clusters(summaries: NDArray[np.float64], groups: int, seed: int) -> NDArray[np.int64]:
    """Return which of some clusters each crop lies in, the largest being 0 (k-means, best of some starts).

    Args:
        summaries: uncorrelated components of each crop, the leading first, [N, C].
        groups: how many clusters.
        seed: of the starts.

    """
    points = summaries / (summaries.std(axis=0) + 1e-6)
    points = points * np.sqrt(np.linspace(_FIRST, _LAST, points.shape[1]))
    random = np.random.default_rng([seed, groups])
    best, least = np.zeros(len(points), np.int64), np.inf
    for _ in range(_STARTS if groups > 1 else 0):
        middles = points[random.choice(len(points), groups, replace=False)]
        for _ in range(_STEPS):
            distance = np.square(points[:, None] - middles[None]).sum(axis=2)
            nearest = distance.argmin(axis=1)
            middles = np.stack(
                [
                    points[nearest == k].mean(axis=0) if (nearest == k).any() else middles[k]
                    for k in range(groups)
                ]
            )
        if (cost := float(distance.min(axis=1).sum())) < least:
            best, least = nearest, cost
    order = np.argsort(-np.bincount(best, minlength=groups), kind="stable")
    return np.argsort(order)[best]
