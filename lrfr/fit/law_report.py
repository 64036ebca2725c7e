"""How well each distribution of a fitted spec is known: bootstrap intervals, and what single faces tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from lrfr.degrade.spec.model import Spec
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Law, value_json
from lrfr.fit.fit_record import FittedLaw
from lrfr.fit.infer.bank import Bank
from lrfr.fit.infer.fitted_spec import flow
from lrfr.fit.infer.matching import Population
from lrfr.fit.infer.posteriors import Reader
from lrfr.fit.infer.prior_space import Variable

Floats = NDArray[np.float64]
_MOST = 1000


def told_shares(reader: Reader, variables: Sequence[Variable], bank: Bank) -> Mapping[str, float]:
    """Return for each variable the share of its entropy that single faces take away.

    Args:
        reader: the network.
        variables: of the prior.
        bank: simulated faces that the network was not trained on.

    """
    posteriors = reader.posteriors(bank.stats[:_MOST])
    found = {}
    for k, variable in enumerate(variables):
        true = bank.classes[:_MOST, k]
        present = np.ones(len(true), bool) if variable.kind != "value" else true > 0
        if present.sum() < 20:
            found[variable.name] = 0.0
            continue
        table = posteriors[k][present]
        counts = np.bincount(true[present], minlength=table.shape[1]) / present.sum()
        if variable.kind == "value":
            table = table[:, 1:] / np.maximum(table[:, 1:].sum(axis=1, keepdims=True), 1e-9)
            counts, picked = counts[1:], true[present] - 1
        else:
            picked = true[present]
        entropy = -float((counts * np.log(counts + 1e-12)).sum())
        cross = -float(np.log(table[np.arange(len(picked)), picked] + 1e-9).mean())
        found[variable.name] = 0.0 if entropy < 0.05 else float(np.clip(1 - cross / entropy, 0, 1))
    return found


def with_intervals(
    spec: Spec,
    tail: int,
    variables: Sequence[Variable],
    again: Sequence[Population],
    told: Mapping[str, float],
) -> tuple[FittedLaw, ...]:
    """Return every distribution of a spec with the interval of its mean over resampled crops."""
    steps = spec.steps[: len(spec.steps) - tail]
    places = _gates_above(variables) | {variable.name: k for k, variable in enumerate(variables)}
    groups = len(again[0].groups)
    found = []
    for name, value in _open(steps):
        base, group = _base(name, places, groups)
        if base in places:
            k = places[base]
            interval = _interval(variables[k], [one.groups[group][k] for one in again])
            letter = "abcdef"[group] if groups > 1 else ""
            found.append(FittedLaw(letter, base, flow(value), interval, told.get(variables[k].name, 0.0)))
    return tuple(found)


def _gates_above(variables: Sequence[Variable]) -> dict[str, int]:
    """Return the number of the gate of each member of a choice under the name that it has where that member
    was left alone.
    """
    gates = {variable.place[:-1]: k for k, variable in enumerate(variables) if variable.kind == "gate"}
    found = {}
    for variable in variables:
        if variable.kind == "value" and variable.place[:-2][-1:] == ("one_of",):
            above = gates.get(variable.place[:-3])
            if above is not None:
                found[f"{variable.step}?"] = above
    return found


def _base(name: str, places: Mapping[str, int], groups: int) -> tuple[str, int]:
    """Return the name in the prior and the number of the group of a name in the spec."""
    if groups == 1 or name in places:
        return name, 0
    found = re.fullmatch(r"(.+)-([a-f])([.?:].*)", name)
    if found and "abcdef".index(found[2]) < groups:
        return found[1] + found[3], "abcdef".index(found[2])
    return name, 0


def _open(steps: Sequence[Step]) -> Iterator[tuple[str, object]]:
    for step in steps:
        if step.p < 1:
            yield f"{step.id}?", step.p
        if step.kind == "one_of":
            yield (
                f"{step.id}:",
                dict(zip([c.own_id or c.label for c in step.children], step.weights, strict=True)),
            )
        if step.op is not None:
            for field in type(step.op).model_fields:
                value = getattr(step.op, field)
                if isinstance(value, Law) or field in step.op.model_fields_set:
                    yield f"{step.id}.{field}", value_json(value)
        yield from _open(step.children)


def _interval(variable: Variable, drawn: Sequence[Floats]) -> str:
    if variable.kind == "gate":
        return _ends([float(one[1]) for one in drawn], (0, 1))
    if variable.kind == "choice":
        return "; ".join(
            f"{word} {_ends([float(one[k]) for one in drawn], (0, 1))}"
            for k, word in enumerate(variable.words[1:])
        )
    if variable.words and not all(isinstance(w, int | float) for w in variable.words):
        return "-"
    centers = variable.centers()
    return _ends([float(one @ centers) for one in drawn], (float(centers.min()), float(centers.max())))


def _ends(values: Sequence[float], most: tuple[float, float]) -> str:
    """Return a 95 % interval by the spread of few resamplings, whose own quantiles lie too near, inside what
    is possible.
    """
    middle, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(student_t.ppf(0.975, len(values) - 1)) * spread
    low, high = np.clip([middle - half, middle + half], *most)
    return f"[{low:.3g}, {high:.3g}]"
