"""Choosing by validation crops: which candidate is kept, and which of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.progress import SILENT, Hooks
from lrfr.degrade.spec.model import Spec
from lrfr.fit.infer.camera_laws import alone
from lrfr.fit.infer.fitted_spec import read_back
from lrfr.fit.infer.matching import Population
from lrfr.fit.judge.two_sample import Nearness, frechet, share_nearer

# what may be left out, what says least first; a size is never
_MAY_GO = (
    "sharpen",
    "read",
    "illumination",
    "light",
    "contrast",
    "saturation",
    "cast",
    "gamma",
    "gray",
    "motion",
    "air",
)
_TOLERANCE = 1.01
_BETTER = 0.95  # of the validation distance, where more is claimed than by a simpler candidate
_SURE = 0.9  # share of resamplings in which that has to be nearer


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A spec that might be kept."""

    name: str
    spec: Spec
    population: Population | None = None


class Chooser:
    """Chooses among candidates.

    Args:
        real: validation crops in the ruler's coordinates, [N, d].
        look: gives simulated faces of a spec in the same coordinates, always with the same draws.
        seed: of resamplings.
        hooks: progress of simplifying.

    """

    def __init__(
        self, real: Floats, look: Callable[[Spec], Floats], seed: int, hooks: Hooks = SILENT
    ) -> None:
        self.real, self.look, self.seed, self.hooks = real, look, seed, hooks

    def distance(self, spec: Spec) -> float:
        """Return the Frechet distance of a spec to the validation crops."""
        return frechet(self.real, self.look(spec))

    def run(self, candidates: Sequence[Candidate]) -> tuple[Candidate, Mapping[str, Nearness]]:
        """Return the nearest candidate, without steps that it does not need, and how near all are.

        Args:
            candidates: the simplest first, which is the structure scan; a more complex one must be clearly
                nearer.

        """
        seen = {one.name: self.look(one.spec) for one in candidates}
        near = {name: Nearness.of(self.real, faces) for name, faces in seen.items()}
        kept = first = candidates[0]
        for one in candidates[1:]:
            if near[one.name].energy >= near[first.name].energy:
                continue
            if kept is first or (
                near[one.name].frechet < _BETTER * near[kept.name].frechet
                and share_nearer(self.real, (seen[one.name], seen[kept.name]), self.seed) >= _SURE
            ):
                kept = one
        if kept.population is None:
            return kept, near
        simpler = Simplifier(self.distance, self.hooks).run(kept.spec)
        found = near["fit, simplified"] = Nearness.of(self.real, self.look(simpler))
        no_farther = found.frechet <= _TOLERANCE * near[kept.name].frechet
        if no_farther and found.energy < near[first.name].energy:
            kept = replace(kept, spec=simpler)
        return kept, near


class Simplifier:
    """Removes steps one by one as long as the distance does not rise.

    Args:
        distance: of a spec to the camera, always measured with the same draws.
        hooks: progress in removals tried.

    """

    def __init__(self, distance: Callable[[Spec], float], hooks: Hooks = SILENT) -> None:
        self.distance, self.hooks = distance, hooks

    def run(self, spec: Spec) -> Spec:
        """Return the spec without the steps that it does not need."""
        best = self.distance(spec)
        bar = best * _TOLERANCE
        for done, name in enumerate(_MAY_GO):
            shorter = _without(spec, name)
            if shorter is not None:
                found = self.distance(shorter)
                if found <= bar:
                    spec, bar = shorter, min(bar, found * _TOLERANCE)
            self.hooks.progress(done + 1, len(_MAY_GO), phase="simplify")
        return spec


def _without(spec: Spec, name: str) -> Spec | None:
    """Return a spec without the steps of an id (or group member of that id); None where it has none."""
    data = dict(spec.as_json())
    removed = [0]
    steps = list(_kept(data["pipeline"], name, removed))
    if not removed[0] or not steps:
        return None
    return read_back({**data, "pipeline": steps})


def _kept(steps: Any, name: str, removed: list[int]) -> Iterator[Mapping[str, Any]]:
    for step in steps:
        own = str(step.get("id", ""))
        if own == name or own.rsplit("-", 1)[0] == name:
            removed[0] += 1
            continue
        found = dict(step)
        for kind in ("one_of", "steps"):
            if kind not in found:
                continue
            before = found[kind]
            inner = [list(_kept([child], name, removed)) for child in before]
            found[kind] = [child for kept in inner for child in kept]
            if "weights" in found:
                weights = [w for w, kept in zip(found["weights"], inner, strict=True) if kept]
                found["weights"] = weights
        if any(kind in found and not found[kind] for kind in ("one_of", "steps")):
            continue
        single = "one_of" in found and len(found["one_of"]) == 1
        yield alone(found, found["one_of"][0]) if single else found
