"""Leaving out of a population what the crops do not ask for: steps that happen in a part of the crops or in
none, and members of choices.

What stands for something else (read noise for photon noise) is seen by a joint fit alone: each gate is
closed in turn, everything else is fitted again, and it stays closed where the misfit does not rise by more
than the numbers that are saved cost (2 squared standard errors each, as Akaike's criterion has it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.fit.infer.evidence import Evidence
from lrfr.fit.infer.matching import Goal, Matcher, Population
from lrfr.fit.infer.prior_space import Variable
from lrfr.fit.infer.summaries import Histograms

Floats = NDArray[np.float64]
_PRICE = 2.0
_STEPS = 90
_SURE = 0.97


@dataclass(frozen=True)
class Closed:
    """A population without what it does not need.

    Attributes:
        histograms: of each variable.
        held: those that are not to be moved.

    """

    histograms: Histograms
    held: Mapping[int, Floats]


def closed(matcher: Matcher, evidence: Evidence, population: Population) -> Population:
    """Return a population with as much closed in each group as its crops allow."""
    groups = []
    for k, found in enumerate(population.groups):
        own = evidence.take(population.members == k)
        held = {v: law.masses(matcher.variables[v]) for v, law in own.known(matcher.variables).items()}
        groups.append(close(matcher, matcher.target(own.stats), found, held).histograms)
    return replace(population, groups=tuple(groups))


def close(matcher: Matcher, goal: Goal, found: Histograms, held: Mapping[int, Floats]) -> Closed:
    """Return a population of one group with as much closed as the crops allow, the rarest first."""
    now, misfit = Closed(found, held), matcher.misfit(goal, [found], [1.0])
    for k, member in sorted(_options(matcher, found), key=lambda one: float(found[one[0]][one[1]])):
        variable, masses = matcher.variables[k], now.histograms[k].copy()
        if k in now.held and variable.kind == "gate":
            continue
        masses[member] = 0.0
        if masses.sum() < 1 - _SURE:
            continue
        masses /= masses.sum()
        trial = {**now.held, k: masses}
        again = matcher.refit(goal, now.histograms, trial, _STEPS)
        apart = matcher.misfit(goal, [again], [1.0])
        if apart <= misfit + _PRICE * _saved(matcher, variable, member):
            now, misfit = Closed(again, trial), apart
    return now


def _options(matcher: Matcher, found: Histograms) -> Iterator[tuple[int, int]]:
    """Yield the variable and the class of all that may be left out."""
    for k, variable in enumerate(matcher.variables):
        if variable.kind == "gate" and found[k][1] < _SURE:
            yield k, 1
        if variable.kind == "choice":
            yield from ((k, member) for member in range(len(found[k])) if found[k][member] < _SURE)


def _saved(matcher: Matcher, variable: Variable, member: int) -> float:
    """Return how many numbers go with a step: its gate or weight, two of each law below it."""
    above = variable.place[:-1] if variable.kind == "gate" else (*variable.place[:-1], "one_of", member)
    below = [v for v in matcher.variables if v.kind == "value" and v.place[: len(above)] == above]
    return 1.0 + 2.0 * len(below)
