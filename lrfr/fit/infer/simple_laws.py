"""The simplest distribution that agrees with the crops: fixed, uniform, log-uniform, whole, normal, else the
histogram.

Every family is tried in the place of the histogram, all else left alone; it stands where the misfit does not
rise by more than what its fewer parameters save (2 squared standard errors each, as Akaike's criterion has
it).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lrfr.fit.infer.prior_space import Variable

Floats = NDArray[np.float64]
_COST = 2.0
_NEAREST = 14  # candidates of a family whose misfit is looked at: the nearest to the histogram
_RARE = 0.02


@dataclass(frozen=True)
class SimpleLaw:
    """A distribution in its simplest words.

    Attributes:
        literal: what stands in the spec.
        masses: of the present classes, [B].
        parameters: how many it has.

    """

    literal: object
    masses: Floats
    parameters: float


def simplest(variable: Variable, histogram: Floats, misfit: Callable[[Floats], float]) -> SimpleLaw:
    """Return the law of a value that agrees best for its number of parameters.

    Args:
        variable: of kind ``value``.
        histogram: over its present classes, [B].
        misfit: of the camera with other masses in the histogram's place.

    """
    if variable.words and not _numbers(variable):
        return _by_words(variable, histogram)
    found = [*candidates(variable, histogram)]
    scored = [(misfit(law.masses) + _COST * law.parameters, k) for k, law in enumerate(found)]
    return found[min(scored)[1]]


def _numbers(variable: Variable) -> bool:
    return all(isinstance(word, int | float) and not isinstance(word, bool) for word in variable.words)


def candidates(variable: Variable, histogram: Floats) -> Iterator[SimpleLaw]:
    """Yield the histogram and, of each family, the laws that are nearest to it (Wasserstein-1 over the
    classes).
    """
    if variable.words:
        yield _by_words(variable, histogram)
        yield _by_words(variable, np.eye(len(histogram))[int(np.argmax(histogram))])
        return
    spread = math.exp(-float((histogram * np.log(histogram + 1e-9)).sum()))
    yield SimpleLaw(variable.literal(histogram, 1), histogram, max(3.0, spread))
    own = np.cumsum(histogram)
    for family, parameters in (("fixed", 1.0), ("uniform", 2.0), ("log_uniform", 2.0), ("normal", 2.0)):
        laws = list(_family(variable, family))
        apart = [float(np.abs(np.cumsum(masses) - own).sum()) for _, masses in laws]
        for k in np.argsort(apart, kind="stable")[:_NEAREST]:
            yield SimpleLaw(laws[k][0], laws[k][1], parameters)


def _by_words(variable: Variable, histogram: Floats) -> SimpleLaw:
    kept = np.flatnonzero(histogram >= _RARE)
    if len(kept) == 1:
        return SimpleLaw(variable.words[int(kept[0])], np.eye(len(histogram))[kept[0]], 1.0)
    total = histogram[kept].sum()
    weights = [float(f"{histogram[k] / total:.3f}") for k in kept]
    return SimpleLaw(
        {"choice": [variable.words[k] for k in kept], "weights": weights}, histogram, len(kept) - 0.5
    )


def _family(variable: Variable, family: str) -> Iterator[tuple[object, Floats]]:
    """Yield literals of one family with their masses over the classes."""
    edges = np.array(variable.edges)
    if family == "normal":
        if not variable.whole and variable.scale == "linear":
            yield from _normals(edges)
        return
    if family == "log_uniform" and (variable.whole or variable.scale != "log"):
        return
    ends = np.unique(np.rint(edges)) if variable.whole else edges
    log = family == "log_uniform"
    if family == "fixed":
        for low, high in itertools.pairwise(ends):
            middle = math.sqrt(low * high) if variable.scale == "log" else (low + high) / 2
            yield _tidy(int(low) if variable.whole else middle, variable), _masses(edges, low, high, log)
        return
    for low, high in itertools.combinations(_halves(ends, variable), 2):
        if high > low:
            yield _interval(family, float(low), float(high), variable), _masses(edges, low, high, log)


def _halves(ends: Floats, variable: Variable) -> Floats:
    """Return the ends of classes and their middles."""
    middles = np.sqrt(ends[1:] * ends[:-1]) if variable.scale == "log" else (ends[1:] + ends[:-1]) / 2
    found = np.sort(np.concatenate([ends, middles]))
    return np.unique(np.rint(found)) if variable.whole else found


def _interval(family: str, low: float, high: float, variable: Variable) -> object:
    if variable.whole:
        return {"randint": [int(low), int(high) - 1]}
    return {family: [_tidy(low, variable), _tidy(high, variable)]}


def _tidy(value: float, variable: Variable) -> float | int:
    """Return a number in three digits, inside the prior's range."""
    if variable.whole:
        return int(value)
    return min(max(float(f"{value:.3g}"), variable.edges[0]), variable.edges[-1])


def _masses(edges: Floats, low: float, high: float, log: bool) -> Floats:
    """Return how much of an interval's probability lies in each class."""
    a, b = (math.log(max(x, 1e-12)) for x in (low, high)) if log else (low, high)
    at = np.log(np.maximum(edges, 1e-12)) if log else edges
    return np.diff(np.clip((at - a) / max(float(b - a), 1e-12), 0, 1))


def _normals(edges: Floats) -> Iterator[tuple[object, Floats]]:
    span = edges[-1] - edges[0]
    clip = [float(edges[0]), float(edges[-1])]
    for mean in np.linspace(edges[0], edges[-1], 33):
        for std in span * np.geomspace(0.02, 0.35, 12):
            cut = norm.cdf((edges - mean) / std)
            masses = np.diff(cut)
            # what lies outside is cut to the ends
            masses[0] += cut[0]
            masses[-1] += 1 - cut[-1]
            yield {"normal": [float(f"{mean:.3g}"), float(f"{std:.3g}")], "clip": clip}, masses
