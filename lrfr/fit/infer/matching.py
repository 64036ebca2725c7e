"""From single faces to how a whole camera draws: histograms under which simulated faces have, on average,
what the camera's crops have.

Posteriors of single faces are no population: their mean is wider than the truth, and dividing them by the
prior one variable at a time goes wrong where variables stand for each other (blur and filter, two noises). So
the faces of all banks are given weights, a product of one histogram a variable over how they were drawn, and
the histograms are moved until the weighted means of summary statistics agree with the crops'. The summaries
are the network's posteriors and second moments of the statistics; the nearest to the prior of what agrees is
taken (maximum entropy), so nothing is claimed that the crops do not tell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.clusters import clusters
from lrfr.fit.infer.evidence import Evidence
from lrfr.fit.infer.prior_space import Variable
from lrfr.fit.infer.summaries import TINY, Histograms, LogTable, Summaries, own_classes

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Goal = tuple[Floats, Floats]
_RATE = 0.08
_STEPS = 250
_CERTAIN = 1 - 1e-6


@dataclass(frozen=True)
class Population:
    """How faces are drawn: one group, or several with shares.

    Attributes:
        shares: of the groups, [K], largest first.
        groups: for each group, for each variable, the histogram over its own classes: both of a gate, those
            that are present of anything else.
        members: which group each crop lies in, [N].

    """

    shares: Floats
    groups: tuple[Histograms, ...]
    members: NDArray[np.int64]

    def alone(self, group: int) -> Population:
        """Return one of the groups as the only one."""
        rows = np.zeros(int((self.members == group).sum()), np.int64)
        return Population(np.ones(1), (self.groups[group],), rows)


class Matcher:
    """Weights the faces of banks so that they agree with crops.

    Args:
        banks: of all rounds.
        drawn: for each bank, the histograms that it was drawn from.
        variables: of the prior.
        summaries: of faces.
        seed: of clusterings and resamplings.

    """

    def __init__(
        self,
        banks: Sequence[Bank],
        drawn: Sequence[Histograms],
        variables: Sequence[Variable],
        summaries: Summaries,
        seed: int,
    ) -> None:
        import torch

        self.variables, self.summaries, self.seed = variables, summaries, seed
        self.prior = drawn[0]
        self._table = LogTable(variables, self.prior)
        self.widths = [own_classes(variable) for variable in variables]
        classes = np.concatenate([bank.classes for bank in banks]).astype(np.int64)
        self._places = torch.from_numpy(self._flat(classes))
        self._faces = torch.from_numpy(np.concatenate([summaries(bank.stats) for bank in banks]))
        self._squares = torch.square(self._faces)
        shares = np.array([len(bank) for bank in banks], np.float64)
        rows = [self._log_flat(one)[self._places.numpy()].sum(axis=1) for one in drawn]
        logs = np.stack(rows, axis=1) + np.log(shares / shares.sum())
        self._log_q = torch.from_numpy(np.logaddexp.reduce(logs, axis=1))

    def _flat(self, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where each class stands in one row of all histograms, the last place for absence."""
        starts = np.concatenate([[0], np.cumsum(self.widths)])
        found = np.empty_like(classes)
        for k, variable in enumerate(self.variables):
            own = classes[:, k] - (variable.count - self.widths[k])
            found[:, k] = np.where(own >= 0, starts[k] + own, starts[-1])
        return found

    def _log_flat(self, histograms: Histograms) -> Floats:
        return np.append(np.log(np.concatenate(histograms) + TINY), 0.0)

    def target(self, stats: NDArray[np.float32], weights: Floats | None = None) -> tuple[Floats, Floats]:
        """Return mean and variance of the mean of the crops' summaries."""
        found = self.summaries(stats)
        weight = np.ones(len(found)) if weights is None else weights
        total = max(float(weight.sum()), 2.0)
        mean = weight @ found / total
        variance = weight @ np.square(found - mean) / total / total
        return mean, variance + 1e-6

    def fit(self, evidence: Evidence, groups: int = 1) -> Population:
        """Return the population of crops; groups are clusters of the crops, each fitted for itself."""
        members = clusters(self.summaries(evidence.stats), groups, self.seed)
        found = []
        for k in range(groups):
            own = evidence.take(members == k)
            held = {v: law.masses(self.variables[v]) for v, law in own.known(self.variables).items()}
            found.append(self.refit(self.target(own.stats), None, held))
        shares = np.bincount(members, minlength=groups) / len(members)
        return Population(shares, tuple(found), members)

    def refit(
        self,
        goal: Goal,
        start: Histograms | None,
        held: Mapping[int, Floats],
        steps: int = _STEPS,
    ) -> Histograms:
        """Return the histograms that agree with a goal, some of them held.

        Args:
            goal: of :meth:`target`.
            start: where to begin; None for the prior.
            held: histograms that stay, by the number of their variable.
            steps: of the descent.

        """
        if len(held) == len(self.variables):
            return tuple(held[k] for k in range(len(held)))
        return self._among(held)._run(goal, start or self.prior, steps, held)

    def _among(self, held: Mapping[int, Floats]) -> Matcher:
        """Return the matcher of those faces alone to which held histograms give any weight."""
        import torch

        stays = np.ones(sum(self.widths) + 1, np.bool_)
        starts = np.cumsum([0, *self.widths])
        for k, masses in held.items():
            stays[starts[k] : starts[k + 1]] = masses > 0
        rows = torch.from_numpy(stays)[self._places].all(dim=1)
        if rows.all() or not rows.any():
            return self
        found = copy.copy(self)
        for name in ("_places", "_faces", "_squares", "_log_q"):
            setattr(found, name, getattr(self, name)[rows])
        return found

    def resampled(
        self, stats: NDArray[np.float32], population: Population, times: int = 16
    ) -> list[Population]:
        """Return populations of crops drawn again: how far they move is how well they are known."""
        random = np.random.default_rng([self.seed, 11])
        found = []
        for _ in range(times):
            groups = []
            for k, group in enumerate(population.groups):
                own = stats[population.members == k]
                drawn = np.bincount(random.integers(0, len(own), len(own)), minlength=len(own))
                goal = self.target(own, drawn.astype(np.float64))
                held = {v: mass for v, mass in enumerate(group) if mass.max() > _CERTAIN}
                groups.append(self.refit(goal, group, held, _STEPS // 4))
            found.append(Population(population.shares, tuple(groups), population.members))
        return found

    def misfit(self, goal: Goal, groups: Sequence[Histograms], shares: Sequence[float]) -> float:
        """Return how far weighted faces are from a goal, in squared standard errors."""
        import torch

        logs = torch.from_numpy(np.stack([self._log_flat(group) for group in groups]))
        with torch.no_grad():
            return float(self._misfit(goal, logs, torch.log(torch.tensor(shares, dtype=torch.float64))))

    def with_another(
        self, goal: Goal, population: Population, group: int, variable: int
    ) -> Callable[[Floats], float]:
        """Return :meth:`misfit` as a function of one histogram of one group, all others left alone."""
        import torch

        logs = [torch.from_numpy(self._log_flat(one)) for one in population.groups]
        each = torch.stack([row[self._places].sum(dim=1) for row in logs], dim=1)
        each = each + torch.log(torch.from_numpy(population.shares))
        places = self._places[:, variable]
        rest = each[:, group] - logs[group][places]
        start = sum(self.widths[:variable])

        def misfit(masses: Floats) -> float:
            """Return the misfit with these masses."""
            row = torch.zeros(sum(self.widths) + 1, dtype=torch.float64)
            row[start : start + len(masses)] = torch.from_numpy(np.log(masses + TINY))
            changed = each.clone()
            changed[:, group] = rest + row[places]
            with torch.no_grad():
                return float(self._apart(goal, changed))

        return misfit

    def _misfit(self, goal: Goal, logs: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        import torch

        return self._apart(goal, torch.stack([row[self._places].sum(dim=1) for row in logs], dim=1) + shares)

    def _slope(self, goal: Goal, row: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the misfit by a group's log histograms: that by each face, summed over the
        faces of each class (some times faster than through the look-up).
        """
        import torch

        each = row[self._places].sum(dim=1).requires_grad_(True)
        (by_face,) = torch.autograd.grad(self._apart(goal, each[:, None]), each)
        flat = self._places.reshape(-1)
        weights = by_face[:, None].expand(self._places.shape).reshape(-1)
        return torch.bincount(flat, weights=weights, minlength=len(row))

    def _apart(self, goal: Goal, each: torch.Tensor) -> torch.Tensor:
        """Return the misfit of faces that each group draws with some log probability, [N, K]."""
        import torch

        weights = torch.softmax(torch.logsumexp(each, dim=1) - self._log_q, dim=0)
        mean = weights @ self._faces
        with torch.no_grad():
            # what the finite bank adds: few faces with large weights prove little
            own = torch.square(weights)
            noise = own @ self._squares - 2 * mean * (own @ self._faces) + torch.square(mean) * own.sum()
            noise = torch.clamp(noise, min=0)
        apart = torch.square(mean - torch.from_numpy(goal[0])) / (torch.from_numpy(goal[1]) + noise)
        return apart.sum()

    def _run(self, goal: Goal, start: Histograms, steps: int, held: Mapping[int, Floats]) -> Histograms:
        import torch

        table, free = self._table, self._table.of(start).requires_grad_(True)
        fixed = table.of(tuple(held.get(k, one) for k, one in enumerate(start)))
        moves = torch.tensor([[k not in held] for k in range(len(start))])
        optimizer = torch.optim.Adam([free], lr=_RATE)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * (1 - 0.9 * step / steps)
            logs = torch.where(moves, table.normal(free), fixed)
            optimizer.zero_grad()
            row = table.row(logs)
            slope = self._slope(goal, row.detach())
            ((row * slope).sum() + table.cost(logs)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            row = table.row(torch.where(moves, table.normal(free), fixed))[:-1]
        return tuple(np.exp(part) for part in np.split(row.numpy(), np.cumsum(self.widths)[:-1]))
