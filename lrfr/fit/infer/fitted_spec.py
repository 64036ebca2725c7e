"""A spec with other distributions in the places that a prior left open."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lrfr.degrade.spec.model import Spec, parse_spec
from lrfr.degrade.spec.steps import Step
from lrfr.fit.infer.prior_space import Variable

Literals = Mapping[str, object]


def spec_text(data: Mapping[str, object], comments: Sequence[str] = ()) -> str:
    """Return the plain data of a spec as YAML, one step a line."""
    lines = [f"# {line}" for line in comments]
    for key, value in data.items():
        if key == "pipeline":
            lines.append("pipeline:")
            assert isinstance(value, list)
            for step in value:
                lines.append(f"  - {flow(step)}")
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"


def short_form(spec: Spec) -> Mapping[str, object]:
    """Return the plain data of a spec without what equals its default: it means the same."""
    data = {key: value for key, value in spec.as_json().items() if (key, value) != ("variants", 1)}
    return {**data, "pipeline": [_short(step) for step in spec.steps]}


def _short(step: Step) -> Mapping[str, object]:
    found = dict(step.as_json())
    if step.p == 1.0:
        del found["p"]
    if step.op is not None:
        for name, field in type(step.op).model_fields.items():
            if name in found and found[name] == field.default:
                del found[name]
    elif step.kind in found:
        found[step.kind] = [_short(child) for child in step.children]
    return found


def flow(value: object) -> str:
    """Return plain data as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1 << 30, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def with_literals(spec: Spec, literals: Literals, variables: Sequence[Variable]) -> Mapping[str, Any]:
    """Return the spec's plain data with the literals of some variables (by name) put in."""
    data = copy.deepcopy(dict(spec.as_json()))
    for variable in variables:
        if variable.name in literals:
            _put(data, variable.place, literals[variable.name])
    return data


def _put(data: Any, place: Sequence[str | int], value: object) -> None:
    for key in place[:-1]:
        data = data[key]
    data[place[-1]] = value


def histogram_literals(
    histograms: Sequence[NDArray[np.float64]], variables: Sequence[Variable]
) -> dict[str, object]:
    """Return gates, weights and ``choice`` literals that draw from a histogram over each variable's own
    classes.
    """
    return {v.name: literal_of(v, h) for v, h in zip(variables, histograms, strict=True)}


def literal_of(variable: Variable, histogram: NDArray[np.float64]) -> object:
    """Return what stands in the spec for one variable's histogram."""
    if variable.kind == "gate":
        return share(float(histogram[1]))
    if variable.kind == "choice":
        return [share(float(w)) for w in histogram]
    law = variable.literal(histogram)
    options = law["choice"]
    assert isinstance(options, list)
    return options[0] if len(options) == 1 else law


def share(value: float) -> float:
    """Return a probability in three digits."""
    return float(f"{min(max(value, 0.0), 1.0):.3f}")


def read_back(data: Mapping[str, object]) -> Spec:
    """Return the spec of plain data, checked as any other."""
    return parse_spec(spec_text(data))
