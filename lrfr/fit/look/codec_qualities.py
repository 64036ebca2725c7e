"""A camera that compresses at a few qualities only: which, and how often each.

The evidence of single crops (:mod:`lrfr.fit.look.codec_marks`) is divided among qualities by expectation and
maximization. A few qualities stand where they explain the crops better than any even range does, at the price
of the Bayesian information criterion (half the logarithm of the number of crops for each number).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lrfr.fit.look.codec_marks import QUALITIES

Floats = NDArray[np.float64]
_STEPS = 60
_MOST = 5
_BESIDE = 2  # qualities that a face cannot tell from its neighbor
_COVERED = 0.96
_LEAST_COMPRESSED = 0.1
_LEAST_CROPS = 20


def few_qualities(evidence: Floats) -> dict[int, float] | None:
    """Return qualities with their shares of the compressed crops; None where a range explains as much.

    Args:
        evidence: log probability ratios of each quality over no codec, [N, len(QUALITIES)].

    """
    if len(evidence) < _LEAST_CROPS:
        return None
    logs = np.concatenate([evidence, np.zeros((len(evidence), 1))], axis=1)  # the last: no codec
    shares, _ = _divided(logs)
    peaks = _peaks(shares[:-1])
    if shares[-1] > 1 - _LEAST_COMPRESSED or peaks is None:
        return None
    peaks = _refined(logs, peaks)
    own, gain = _divided(logs[:, [*peaks, -1]])
    price = 0.5 * math.log(len(logs))
    if gain - (2 * len(peaks) - 1) * price <= _best_range(logs) - 2 * price:
        return None
    order = np.argsort(peaks)
    return {QUALITIES[peaks[k]]: float(own[k] / own[:-1].sum()) for k in order}


def _divided(logs: Floats) -> tuple[Floats, float]:
    """Return the shares of columns under which rows are most probable, and the log probability."""
    top = logs.max(axis=1, keepdims=True)
    ratio = np.exp(logs - top)
    shares = np.full(logs.shape[1], 1 / logs.shape[1])
    for _ in range(_STEPS):
        parts = ratio * shares
        shares = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares, float((np.log(ratio @ shares) + top[:, 0]).sum())


def _peaks(shares: Floats) -> list[int] | None:
    left, found, total = shares.copy(), list[int](), shares.sum()
    while left.sum() > (1 - _COVERED) * total:
        if len(found) == _MOST:
            return None
        top = int(np.argmax(left))
        left[max(top - _BESIDE, 0) : top + _BESIDE + 1] = 0
        found.append(top)
    return found


def _refined(logs: Floats, peaks: list[int]) -> list[int]:
    """Move each peak to the neighbor that explains the crops best."""
    for place in range(len(peaks)):
        near = [peaks[place] + k for k in (-2, -1, 0, 1, 2)]
        tries = [
            [*peaks[:place], k, *peaks[place + 1 :]]
            for k in near
            if 0 <= k < len(QUALITIES) and k not in (*peaks[:place], *peaks[place + 1 :])
        ]
        peaks = max(tries, key=lambda one: _divided(logs[:, [*one, -1]])[1])
    return peaks


def _best_range(logs: Floats) -> float:
    """Return the log probability under the best even range of qualities, with some crops not compressed."""
    top = logs.max(axis=1, keepdims=True)
    ratio = np.exp(logs - top)
    sums = np.concatenate([np.zeros((len(logs), 1)), np.cumsum(ratio[:, :-1], axis=1)], axis=1)
    ends = np.arange(0, len(QUALITIES) + 1, 3)
    low, high = np.meshgrid(ends, ends, indexing="ij")
    low, high = low[low < high], high[low < high]
    inside = (sums[:, high] - sums[:, low]) / (high - low)
    gains = [
        (np.log((1 - none) * inside + none * ratio[:, -1:] + 1e-300)).sum(axis=0)
        for none in np.linspace(0, 0.9, 10)
    ]
    return float(np.max(gains) + top.sum())
