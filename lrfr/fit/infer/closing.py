"""Leaving out of a population what the crops do not ask for: steps that happen in a part of the crops or in
none, members of choices, all but one word of laws of words (filters, passes of a codec).

What stands for something else (read noise for photon noise, a filter for blur) is seen by a joint fit alone:
each is left out in turn, everything else is fitted again, and that stands where the misfit does not rise by
more than the numbers that are saved cost (2 squared standard errors each, as Akaike's criterion has it).

One at a time finds no exchange: motion blur with read noise agrees as well as Gaussian blur alone, and no
single step between them pays. So what then stands is forbidden in turn, and all is left out anew from the
start, with its rivals there again; what is simpler and costs no more stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
_NONE = 1e-6  # what a held histogram is left with where it has nothing
_SOME = 0.01  # of the prior, where what is exchanged for was never found


@dataclass(frozen=True)
class Closed:
    """A population without what it does not need.

    Attributes:
        histograms: of each variable.
        held: those that are not to be moved.
        misfit: of the crops, in squared standard errors.
        numbers: how many it has.

    """

    histograms: Histograms
    held: Mapping[int, Floats]
    misfit: float
    numbers: float

    @property
    def cost(self) -> float:
        """Misfit and price of its numbers."""
        return self.misfit + _PRICE * self.numbers


def closed(matcher: Matcher, evidence: Evidence, population: Population) -> Population:
    """Return a population with as much closed in each group as its crops allow."""
    groups = []
    for k, found in enumerate(population.groups):
        own = evidence.take(population.members == k)
        held = {v: law.masses(matcher.variables[v]) for v, law in own.known(matcher.variables).items()}
        groups.append(exchange(matcher, matcher.target(own.stats), found, held).histograms)
    return replace(population, groups=tuple(groups))


def exchange(matcher: Matcher, goal: Goal, found: Histograms, held: Mapping[int, Floats]) -> Closed:
    """Return what :func:`close` leaves of everything, or the simplest of what it leaves without each step and
    member that then stood: fewer numbers, and no higher cost. Of two that are as simple the first stays, as
    misfits of a few standard errors do not tell which is true.
    """
    best, without = close(matcher, goal, found, held), dict(held)
    ends = {"gate": np.array([1.0, 0.0]), "choice": np.zeros(1)}
    never = {k: ends[v.kind] * found[k] for k, v in enumerate(matcher.variables) if v.kind in ends}
    least = _numbers(matcher.variables, found, {**held, **never})  # of what is there in any case
    asked = set[tuple[int, int]]()
    while ahead := [one for one in _standing(matcher, best) if one not in asked]:
        k, gone = ahead[0]
        asked.add(ahead[0])
        masses = (found[k] + _SOME * matcher.prior[k]) * (np.arange(len(found[k])) != gone)
        start = {**without, k: masses / masses.sum()}
        again = matcher.refit(goal, found, start, _STEPS)
        # no saving of numbers makes that good
        if matcher.misfit(goal, [again], [1.0]) > best.cost - _PRICE * least:
            continue
        trial = close(matcher, goal, again, start)
        if trial.numbers < best.numbers and trial.cost < best.cost:
            best, without = trial, start
    return best


def close(matcher: Matcher, goal: Goal, found: Histograms, held: Mapping[int, Floats]) -> Closed:
    """Return a population of one group with as much closed as the crops allow: first what leaves out the most
    numbers, steps and members of choices, the rarest first; then all words of a law but the one that agrees
    best; then gates of what always happens.
    """

    def seen(histograms: Histograms, held: Mapping[int, Floats]) -> Closed:
        misfit = matcher.misfit(goal, [histograms], [1.0])
        return Closed(histograms, held, misfit, _numbers(matcher.variables, histograms, held))

    words = [[(k, one) for one in np.eye(len(found[k]))] for k in _of_words(matcher, held)]
    now = seen(found, held)
    for tries in [*([one] for one in _left_out(matcher, found)), *words, *_always(matcher, found)]:
        ends = list[tuple[float, int, Closed]]()
        for k, masses in tries:
            gate, left = matcher.variables[k].kind == "gate", now.histograms[k] * masses
            nothing = k in now.held and (gate or not now.held[k][masses == 0].any())
            if nothing or (not gate and left.sum() < 1 - _SURE):
                continue
            left[left < _NONE] = 0.0
            trial = {**now.held, k: masses if gate else left / left.sum()}
            again = seen(matcher.refit(goal, now.histograms, trial, _STEPS), trial)
            ends.append((again.misfit, len(ends), again))
        if ends and (best := min(ends)[2]).cost <= now.cost:
            now = best
    return now


def _standing(matcher: Matcher, found: Closed) -> list[tuple[int, int]]:
    """Return variable and class of the steps and members that might be exchanged, those with the most laws
    first.
    """
    options = []
    for k, variable in enumerate(matcher.variables):
        own = found.histograms[k]
        ends = {"gate": [1], "choice": range(len(own))}.get(variable.kind, [])
        options += [(k, gone) for gone in ends if own[gone] > 1 - _SURE]
    return sorted(options, key=lambda one: -_below(matcher.variables, *one))


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


def _below(variables: Sequence[Variable], k: int, member: int) -> int:
    """Return how many laws lie below a gate, or a member of a choice."""
    place = variables[k].place[:-1]
    above = place if variables[k].kind == "gate" else (*place, "one_of", member)
    return sum(v.kind == "value" and v.place[: len(above)] == above for v in variables)


def _numbers(variables: Sequence[Variable], found: Histograms, held: Mapping[int, Floats]) -> float:
    """Return how many numbers a population has: one of each gate and of each further member or word, two of
    every other law, none of what is held, or lies below what never happens.
    """
    closed = list[tuple[str | int, ...]]()
    for k, variable in enumerate(variables):
        if k in held and variable.kind != "value":
            never = np.flatnonzero(held[k] == 0)
            if variable.kind == "gate":
                closed += [variable.place[:-1]] * (1 in never)
            else:
                closed += [(*variable.place[:-1], "one_of", int(member)) for member in never]
    total = 0.0
    for k, variable in enumerate(variables):
        if any(variable.place[: len(place)] == place for place in closed):
            continue
        if variable.kind == "value" and not variable.words:
            total += 2.0 * (k not in held)
        elif variable.kind == "gate":
            total += k not in held
        else:
            total += len(found[k]) - 1 if k not in held else np.count_nonzero(held[k]) - 1
    return total
