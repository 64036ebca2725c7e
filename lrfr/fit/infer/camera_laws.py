"""From a population to a spec that a person reads: the simplest laws, gates, weights and groups."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.degrade.spec.model import Spec
from lrfr.fit.infer.evidence import Evidence
from lrfr.fit.infer.fitted_spec import literal_of, read_back, share, with_literals
from lrfr.fit.infer.matching import Matcher, Population
from lrfr.fit.infer.prior_space import Variable, variables_of
from lrfr.fit.infer.simple_laws import simplest

Floats = NDArray[np.float64]
_NEVER = 0.03  # a gate below it is taken for closed
_GATE_COST = 2.0  # of a probability that is neither 0 nor 1, in squared standard errors; of a step at all


class Words:
    """Puts a population of one group into words, one variable after the other.

    Args:
        matcher: of the camera.
        evidence: the crops of the group.
        population: what was found for it.

    """

    def __init__(self, matcher: Matcher, evidence: Evidence, population: Population) -> None:
        self.matcher, self.population = matcher, population
        self.known = evidence.known(matcher.variables)
        self._goal = matcher.target(evidence.stats)
        self._found = list(population.groups[0])

    def literals(self, *, simple: bool) -> dict[str, object]:
        """Return what stands in the spec for each variable."""
        return {v.name: self._literal(k, v, simple) for k, v in enumerate(self.matcher.variables)}

    def _literal(self, k: int, variable: Variable, simple: bool) -> object:
        if k in self.known:
            return self.known[k].literal
        if not simple or variable.kind == "choice":
            return literal_of(variable, self._found[k])
        if variable.kind == "gate":
            return self._gate(k)
        law = simplest(variable, self._found[k], self._misfit(k))
        self._found[k] = law.masses
        return law.literal

    def _gate(self, k: int) -> float:
        """Return a gate's probability, 0 or 1 where that agrees as well."""
        own, misfit = self._found[k], self._misfit(k)
        tries = [(own, _GATE_COST), (np.array([1.0, 0.0]), -_GATE_COST), (np.array([0.0, 1.0]), 0.0)]
        self._found[k] = min(tries, key=lambda one: misfit(one[0]) + one[1])[0]
        return share(float(self._found[k][1]))

    def _misfit(self, k: int) -> Callable[[Floats], float]:
        now = replace(self.population, groups=(tuple(self._found),))
        return self.matcher.with_another(self._goal, now, 0, k)


def literals_of(
    matcher: Matcher, evidence: Evidence, population: Population, *, simple: bool
) -> list[dict[str, object]]:
    """Return for each group what stands in the spec for each variable."""
    return [
        Words(matcher, evidence.take(population.members == k), population.alone(k)).literals(simple=simple)
        for k in range(len(population.groups))
    ]


def camera_spec(
    prior: Spec, literals: Sequence[Mapping[str, object]], shares: Sequence[float], tail: int, name: str
) -> Spec:
    """Return the spec of one group, or of several under a ``one_of``.

    Args:
        prior: whose places are filled.
        literals: of each group, by variable.
        shares: of the groups.
        tail: how many steps at the end are the same for all groups.
        name: of the spec.

    """
    variables = variables_of(prior)
    groups = [_tidied(with_literals(prior, found, variables)) for found in literals]
    head = {**groups[0], "name": name}
    own = [group["pipeline"][: len(group["pipeline"]) - tail if tail else None] for group in groups]
    after = groups[0]["pipeline"][len(groups[0]["pipeline"]) - tail :] if tail else []
    if len(groups) == 1:
        return read_back({**head, "pipeline": [*_closed(own[0]), *after]})
    members = [
        {
            "op": "group",
            "id": f"group-{'abcdef'[k]}",
            "steps": [_suffixed(s, "abcdef"[k]) for s in _closed(steps)],
        }
        for k, steps in enumerate(own)
    ]
    one_of = {"op": "cameras", "id": "cameras", "one_of": members, "weights": [share(s) for s in shares]}
    return read_back({**head, "pipeline": [one_of, *after]})


def _tidied(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return copy.deepcopy(dict(data))


def _closed(steps: Sequence[Any]) -> list[Any]:
    """Leave out steps that never fire and choices never taken; what always happens loses its gate."""
    found = []
    for step in steps:
        kept = _one_closed(step)
        if kept is not None:
            found.append(kept)
    return found


def _one_closed(step: Mapping[str, Any]) -> Mapping[str, Any] | None:
    kept = dict(step)
    p = float(kept.get("p", 1.0))
    if p < _NEVER:
        return None
    kept["p"] = 1.0 if p > 1 - _NEVER else p
    if kept["p"] == 1.0:
        del kept["p"]
    if "one_of" in kept:
        pairs = [
            (w, _one_closed(child))
            for w, child in zip(kept["weights"], kept["one_of"], strict=True)
            if w >= _NEVER
        ]
        alive = [(w, child) for w, child in pairs if child is not None]
        if not alive:
            return None
        if len(alive) == 1:
            return alone(kept, alive[0][1])
        total = sum(w for w, _ in alive)
        kept["one_of"] = [child for _, child in alive]
        kept["weights"] = [share(w / total) for w, _ in alive]
    return kept


def alone(container: Mapping[str, Any], child: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the only child of a container as a step that happens as often as in it."""
    p = share(float(container.get("p", 1.0)) * float(child.get("p", 1.0)))
    return {**{key: value for key, value in child.items() if key != "p"}, **({"p": p} if p < 1 else {})}


def _suffixed(step: Mapping[str, Any], letter: str) -> Mapping[str, Any]:
    found = dict(step)
    if "id" in found:
        found["id"] = f"{found['id']}-{letter}"
    for kind in ("one_of", "steps", "some_of", "shuffle"):
        if kind in found:
            found[kind] = [_suffixed(child, letter) for child in found[kind]]
    return found
