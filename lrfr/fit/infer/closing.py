"""Leaving out of a population what the crops do not ask for: steps that happen in a part of the crops or in
none, members of choices, all but one word of laws of words (filters, passes of a codec).

What stands for something else (read noise for photon noise, a filter for blur) is seen by a joint fit alone:
each is left out in turn, everything else is fitted again, and that stands where the misfit does not rise by
more than the numbers that are saved cost (2 squared standard errors each, as Akaike's criterion has it).
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
_OFTEN = 0.5  # a step above it may be one that always happens
_MOST_WORDS = 6


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
    """Return a population of one group with as much closed as the crops allow: first what leaves out the most
    numbers, steps and members of choices, the rarest first; then all words of a law but the one that agrees
    best; then gates of what always happens.
    """
    words = [[(k, one) for one in np.eye(len(found[k]))] for k in _of_words(matcher, held)]
    now, misfit = Closed(found, held), matcher.misfit(goal, [found], [1.0])
    for tries in [*([one] for one in _left_out(matcher, found)), *words, *_always(matcher, found)]:
        ends = list[tuple[float, int, float, Closed]]()
        for k, masses in tries:
            gate, left = matcher.variables[k].kind == "gate", now.histograms[k] * masses
            if k in now.held if gate else left.sum() < 1 - _SURE:
                continue
            trial = {**now.held, k: masses if gate else left / left.sum()}
            again = matcher.refit(goal, now.histograms, trial, _STEPS)
            bar = misfit + _PRICE * _saved(matcher, matcher.variables[k], masses)
            ends.append((matcher.misfit(goal, [again], [1.0]), len(ends), bar, Closed(again, trial)))
        if ends and (best := min(ends))[0] <= best[2]:
            misfit, now = best[0], best[3]
    return now


def _of_words(matcher: Matcher, held: Mapping[int, Floats]) -> list[int]:
    """Return the laws of few words that are not known."""
    return [
        k
        for k, variable in enumerate(matcher.variables)
        if variable.kind == "value" and 1 < len(variable.words) <= _MOST_WORDS and k not in held
    ]


def _left_out(matcher: Matcher, found: Histograms) -> list[tuple[int, Floats]]:
    """Return the variable and which of its classes stay of steps that may be left out and of members of
    choices, those first whose loss moves the fewest faces.
    """
    options = []
    for k, variable in enumerate(matcher.variables):
        own = found[k]
        if variable.kind == "gate":
            options.append((float(own[1]), k, np.array([1.0, 0.0])))
        if variable.kind == "choice":
            for member in np.flatnonzero(own < _SURE):
                options.append((float(own[member]), k, 1.0 - np.eye(len(own))[member]))
    return [(k, masses) for _, k, masses in sorted(options, key=lambda one: one[0])]


def _always(matcher: Matcher, found: Histograms) -> Iterator[list[tuple[int, Floats]]]:
    """Yield the gates of steps that may happen always, the surest first."""
    gates = [k for k, v in enumerate(matcher.variables) if v.kind == "gate" and found[k][1] > _OFTEN]
    for k in sorted(gates, key=lambda one: float(found[one][0])):
        yield [(k, np.array([0.0, 1.0]))]


def _saved(matcher: Matcher, variable: Variable, masses: Floats) -> float:
    """Return how many numbers go with what is left out: the gate or weight, two of each law below it."""
    if variable.kind == "value":
        return float(len(masses) - 1)
    if variable.kind == "gate" and masses[1]:
        return 1.0
    place = variable.place[:-1]
    above = place if variable.kind == "gate" else (*place, "one_of", int(np.argmin(masses)))
    below = [v for v in matcher.variables if v.kind == "value" and v.place[: len(above)] == above]
    return 1.0 + 2.0 * len(below)
