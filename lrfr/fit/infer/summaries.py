"""What is averaged over faces when a population is matched, how often each class was drawn, and all log
histograms as one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.posteriors import Reader
from lrfr.fit.infer.prior_space import Variable

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Histograms = tuple[Floats, ...]
_COMPONENTS = 64
_PRODUCTS = 12
_NEAR_PRIOR = 2.0  # what a nat of distance from the prior costs, in squared standard errors
_ROUGH = 0.3
_SMOOTHED = 4  # classes; of more, neighbors are held alike
TINY = 1e-9


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


class LogTable:
    """Log histograms of all variables as rows of one table, zeros behind the shorter ones: some times faster
    than one tensor a variable.

    Args:
        variables: of the prior.
        prior: their histograms.

    """

    def __init__(self, variables: Sequence[Variable], prior: Histograms) -> None:
        import torch

        widths = np.array([own_classes(variable) for variable in variables])
        self._there = torch.from_numpy(np.arange(widths.max()) < widths[:, None])
        self._prior = self.of(prior)
        smooth = [v.kind == "value" and not v.words and own_classes(v) > _SMOOTHED for v in variables]
        self._smooth = torch.tensor(smooth)[:, None] & self._there[:, 2:]

    def of(self, histograms: Histograms) -> torch.Tensor:
        """Return the table of some histograms, [V, B]."""
        import torch

        found = torch.zeros(self._there.shape, dtype=torch.float64)
        found[self._there] = torch.from_numpy(np.log(np.concatenate(histograms) + TINY))
        return found

    def normal(self, free: torch.Tensor) -> torch.Tensor:
        """Return a table whose rows are log histograms."""
        import torch

        masked = free.masked_fill(~self._there, -torch.inf)
        return torch.log_softmax(masked, dim=1).masked_fill(~self._there, 0.0)

    def row(self, logs: torch.Tensor) -> torch.Tensor:
        """Return all histograms one behind the other, and a place for absence, [sum of classes + 1]."""
        import torch

        return torch.cat([logs[self._there], torch.zeros(1, dtype=torch.float64)])

    def cost(self, logs: torch.Tensor) -> torch.Tensor:
        """Return what log histograms cost: distance from the prior, roughness."""
        import torch

        change = logs - self._prior
        bend = (change[:, 2:] - 2 * change[:, 1:-1] + change[:, :-2]) * self._smooth
        return _NEAR_PRIOR * (logs.exp() * change).sum() + _ROUGH * torch.square(bend).sum()
