"""What is averaged over faces when a population is matched, and how often each class was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.posteriors import Reader
from lrfr.fit.infer.prior_space import Variable

Floats = NDArray[np.float64]
Histograms = tuple[Floats, ...]
_COMPONENTS = 64
_PRODUCTS = 12


def own_classes(variable: Variable) -> int:
    """Return how many classes a histogram of a variable has: its absence is a matter of gates."""
    return variable.count if variable.kind == "gate" else variable.count - 1


def prior_histograms(bank: Bank, variables: Sequence[Variable]) -> Histograms:
    """Return how often each class was drawn in a bank."""
    found = []
    for k, variable in enumerate(variables):
        first = variable.count - own_classes(variable)
        counts = np.bincount(bank.classes[:, k], minlength=variable.count)[first:].astype(np.float64) + 0.05
        found.append(counts / counts.sum())
    return tuple(found)


class Summaries:
    """What is averaged over faces: posteriors and moments, as uncorrelated components.

    Args:
        reader: the network.
        space: statistics [N, D] to a few coordinates of spread about 1.
        bank: faces that the components are found on.

    """

    def __init__(self, reader: Reader, space: Any, bank: Bank) -> None:
        self._reader, self._space = reader, space
        raw = self._raw(bank.stats)
        self._middle, self._spread = raw.mean(axis=0), raw.std(axis=0) + 1e-6
        scaled = (raw - self._middle) / self._spread
        _, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        self._vectors = vectors[:, ::-1][:, :_COMPONENTS]

    def _raw(self, stats: NDArray[np.float32]) -> Floats:
        found = np.clip(self._space(stats), -5, 5)
        few = found[:, :_PRODUCTS]
        upper = np.triu_indices(few.shape[1])
        products = (few[:, :, None] * few[:, None, :])[:, upper[0], upper[1]]
        return np.concatenate([*self._reader.posteriors(stats), found, products], axis=1)

    def __call__(self, stats: NDArray[np.float32]) -> Floats:
        """Return float64 [N, components]."""
        return np.asarray((self._raw(stats) - self._middle) / self._spread @ self._vectors)
