"""The prior of one camera: what is supposed of any camera, with the structure that its crops have shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.core.errors import SpecError
from lrfr.degrade.spec.model import Spec, load_spec, parse_spec
from lrfr.degrade.spec.steps import CONTAINERS
from lrfr.fit.infer.fitted_spec import read_back
from lrfr.fit.infer.prior_space import variables_of
from lrfr.fit.structure_scan import Structure

DEFAULT = "camera"
SHIPPED = (DEFAULT, "camera-air")
_SPREAD_PX = 2.0
_EVERYWHERE = 0.05


def shaped_prior(given: str | Path | None, structure: Structure) -> Spec:
    """Return the prior of a camera.

    Args:
        given: a spec of the user's own (preset, file or text), or a shipped prior, ``camera`` (None) or
            ``camera-air``, whose sizes and filter of the way down come from the structure. How small faces
            become crops always does.
        structure: of the camera.

    Raises:
        SpecError: the given spec is wrong, is for another size of faces, or draws nothing.

    """
    if given is None or given in SHIPPED:
        data = dict(_shipped(str(given or DEFAULT)).as_json())
        data["pipeline"] = [_own(step, structure) for step in data["pipeline"]]  # type: ignore[attr-defined]
    else:
        data = dict(given_prior(given).as_json())
    steps = copy.deepcopy(data["pipeline"])
    assert isinstance(steps, list)
    tail = structure.tail()
    shaped = {**data, "name": "prior", "variants": 1, "pipeline": [*_named(steps, tail), *tail]}
    shaped["store"] = structure.store()
    return read_back(shaped)


def given_prior(given: str | Path) -> Spec:
    """Return a prior as it was written.

    Raises:
        SpecError: it is wrong, for another size of faces, or leaves nothing open.

    """
    if given in SHIPPED:
        return _shipped(str(given))
    spec = load_spec(given)
    if spec.image.size_px != 112:
        raise SpecError(f"the prior is for faces of {spec.image.size_px} px, expected 112", file=str(given))
    if not variables_of(spec):
        hint = "write {uniform: [low, high]}, or a p below 1, where the camera is not known"
        raise SpecError("the prior draws nothing that could be fitted", file=str(given), hint=hint)
    return spec


def _shipped(name: str) -> Spec:
    return parse_spec(resources.files("lrfr.fit").joinpath("priors", f"{name}.yaml").read_text("utf-8"))


def _own(step: Mapping[str, Any], structure: Structure) -> Mapping[str, Any]:
    if step.get("id") == "size":
        step = {**structure.down_step(), "size": _wide_sizes(structure)}
        if structure.down_antialias:
            # blur and noise can stand for another filter in the scan, which has neither
            step["filter"] = {"choice": list(dict.fromkeys([structure.down, "box", "bicubic"]))}
        return step
    if step.get("id") == "codec":
        return {**step, "subsampling": structure.subsampling}
    return step


def _wide_sizes(structure: Structure) -> object:
    """Return the sizes to try: near those that were seen, and a little everywhere between."""
    # faces of 112 px are not enlarged on the way down, whatever the scan says
    sides = np.array([min(side, 112) for side, _ in structure.sizes])
    shares = np.array([share for _, share in structure.sizes])
    if structure.told_by == "spectrum":
        low, high = max(6, round(0.85 * sides.min())), min(112, round(1.15 * sides.max()))
        return {"randint": [low, max(high, low + 1)]}
    low, high = max(4, round(sides.min() - 3)), min(112, round(sides.max() + 3))
    grid = np.arange(low, high + 1)
    near = np.exp(-0.5 * ((grid[:, None] - sides[None]) / _SPREAD_PX) ** 2) @ shares
    weights = (1 - _EVERYWHERE) * near / near.sum() + _EVERYWHERE / len(grid)
    return {"choice": grid.tolist(), "weights": [float(f"{w:.4g}") for w in weights]}


def _named(steps: Sequence[Any], tail: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Give every step an id that no other has, so that what is fitted can be named and edited; those of the
    camera's own tail are taken.
    """
    theirs = {str(step["id"]) for step in tail}
    taken = theirs | set(_ids(steps))

    def free(name: str) -> str:
        while name in taken:
            name = f"{name}-own"
        taken.add(name)
        return name

    def with_id(step: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        own = step.get("id")
        kept = own if own is not None and own not in theirs else free(own or name)
        found = {"op": step.get("op", "group"), "id": kept, **step} | {"id": kept}
        for kind in CONTAINERS:
            if kind in found:
                found[kind] = [with_id(child, f"{kept}-{k}") for k, child in enumerate(found[kind])]
                if "op" not in step:
                    found.pop("op")
        return found

    return [with_id(step, f"s{index}") for index, step in enumerate(steps)]


def _ids(steps: Sequence[Any]) -> Iterator[str]:
    for step in steps:
        if step.get("id") is not None:
            yield step["id"]
        for kind in CONTAINERS:
            yield from _ids(step.get(kind, ()))
