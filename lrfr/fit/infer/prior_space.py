"""What a prior leaves open, as variables with classes: each gate, each choice among steps, each drawn
parameter of a spec.

A prior is an ordinary spec. Whatever it draws is fitted inside its range; whatever it fixes stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.degrade.spec.face_plan import Act
from lrfr.degrade.spec.model import Spec
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Choice, Law, LogUniform, RandInt, Scalar, SquareUniform

Place = tuple[str | int, ...]
BINS = 16
SIZE_BINS = 24
_INSIDE = 5  # values of a bin that stand for it where faces are drawn from a histogram


@dataclass(frozen=True)
class Variable:
    """One thing that a prior leaves open.

    Attributes:
        name: ``step.parameter``, ``step?`` for a gate, ``step:`` for a choice among steps.
        place: where its value stands in the spec's plain data.
        step: id of the step (of the container for a choice).
        kind: ``gate``, ``choice`` or ``value``.
        parameter: of the op, "" for gates and choices.
        edges: of the classes of a value, in the unit of the parameter, [B + 1]; none for words.
        scale: ``log`` or ``linear``: how a value's classes are spaced, and what is even inside one.
        words: names of the classes of gates, choices and values that are words or few numbers.
        whole: whether values are whole numbers.

    """

    name: str
    place: Place
    step: str
    kind: str
    parameter: str = ""
    edges: tuple[float, ...] = ()
    scale: str = "linear"
    words: tuple[Scalar, ...] = ()
    whole: bool = False

    @property
    def count(self) -> int:
        """How many classes it has; class 0 of a value is its absence."""
        if self.kind == "value":
            return 1 + (len(self.words) or len(self.edges) - 1)
        return len(self.words)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, for people."""
        if self.kind != "value":
            return tuple(map(str, self.words))
        own = self.words or [f"{a:.4g}" for a in self.centers()]
        return ("none", *map(str, own))

    def centers(self) -> NDArray[np.float64]:
        """Return the middle of each class of a value, its absence left out."""
        if self.words:
            numbers = [w if isinstance(w, int | float) else k for k, w in enumerate(self.words)]
            return np.array(numbers, np.float64)
        edges = np.array(self.edges)
        if self.whole:
            return np.asarray((edges[:-1] + edges[1:] - 1) / 2)
        if self.scale == "log":
            return np.asarray(np.sqrt(edges[:-1] * edges[1:]))
        return np.asarray((edges[:-1] + edges[1:]) / 2)

    def class_of(self, value: Scalar | None) -> int:
        """Return the class of a drawn value, 0 for none."""
        if value is None:
            return 0
        if self.words:
            return 1 + self.words.index(value)
        return 1 + int(np.clip(np.searchsorted(self.edges, float(value), "right") - 1, 0, self.count - 2))

    def literal(self, weights: NDArray[np.float64], count: int = _INSIDE) -> Mapping[str, object]:
        """Return a histogram over the present classes [B] as a spec's ``choice``, of ``count`` values a
        class.
        """
        if self.words:
            options, shares = list(self.words), list(weights)
        else:
            options, shares = [], []
            for low, high, weight in zip(self.edges[:-1], self.edges[1:], weights, strict=True):
                inside = self._inside(low, high, count)
                options += inside
                shares += [weight / len(inside)] * len(inside)
        kept = [(o, float(f"{w:.3g}")) for o, w in zip(options, shares, strict=True) if w > 5e-4 / count]
        kept = kept or [(options[int(np.argmax(shares))], 1.0)]
        return {"choice": [o for o, _ in kept], "weights": [w for _, w in kept]}

    def _inside(self, low: float, high: float, count: int) -> list[Scalar]:
        if self.whole:
            found = np.arange(round(low), max(round(high), round(low) + 1))
            return [
                int(v) for v in found[np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]
            ]
        at = (np.arange(count) + 0.5) / count
        values = low * (high / low) ** at if self.scale == "log" else low + (high - low) * at
        return [float(f"{value:.4g}") for value in values]


def variables_of(spec: Spec) -> list[Variable]:
    """Return what a prior leaves open, in the order of its steps.

    Steps inside ``shuffle``, ``some_of`` and repetitions keep what they draw and are not fitted.
    """
    return list(_walk(spec.steps, ("pipeline",)))


def _walk(steps: Sequence[Step], place: Place) -> Iterator[Variable]:
    for index, step in enumerate(steps):
        here = (*place, index)
        if 0.0 < step.p < 1.0:
            yield Variable(f"{step.id}?", (*here, "p"), step.id, "gate", words=("off", "on"))
        if step.op is not None:
            yield from _parameters(step, here)
        elif step.kind == "one_of":
            words = ("none", *(_title(child) for child in step.children))
            if len(step.children) > 1:
                yield Variable(f"{step.id}:", (*here, "weights"), step.id, "choice", words=words)
            yield from _walk(step.children, (*here, "one_of"))
        elif step.kind == "steps" and step.count == 1:
            yield from _walk(step.children, (*here, "steps"))


def _title(step: Step) -> str:
    return step.own_id or step.label


def _parameters(step: Step, place: Place) -> Iterator[Variable]:
    assert step.op is not None
    for field in type(step.op).model_fields:
        law = getattr(step.op, field)
        if isinstance(law, Law):
            yield _variable(step, place, field, law)


def _variable(step: Step, place: Place, field: str, law: Law) -> Variable:
    name, at = f"{step.id}.{field}", (*place, field)
    if isinstance(law, Choice):
        numbers = all(isinstance(o, int | float) and not isinstance(o, bool) for o in law.options)
        if not numbers or len(law.options) <= SIZE_BINS:
            return Variable(name, at, step.id, "value", field, words=tuple(dict.fromkeys(law.options)))
    low, high = law.extent()
    whole = isinstance(law, RandInt) or (
        isinstance(law, Choice) and all(isinstance(o, int) for o in law.options)
    )
    log = isinstance(law, LogUniform) or (field in {"size", "photons"} and low > 0)
    scale = "log" if log else "linear"
    edges = _edges(low, high + whole, scale, whole, SIZE_BINS if field == "size" else BINS)
    if isinstance(law, SquareUniform):
        edges = tuple(math.sqrt(e) for e in np.linspace(low**2, high**2, BINS + 1))
    return Variable(name, at, step.id, "value", field, edges, scale, (), whole)


def _edges(low: float, high: float, scale: str, whole: bool, bins: int) -> tuple[float, ...]:
    high = high if high > low else low + (1e-6 * abs(low) or 1e-6)
    raw = np.geomspace(low, high, bins + 1) if scale == "log" else np.linspace(low, high, bins + 1)
    if whole:
        raw = np.unique(np.rint(raw))
    return tuple(float(f"{edge:.9g}") for edge in raw)


def classes_of(
    variables: Sequence[Variable], plans: Sequence[Sequence[Act]], spec: Spec
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return what was drawn for each face: classes int16 [N, V] and values float32 [N, V] (nan for none)."""
    chosen = _chosen(spec.steps)
    classes = np.zeros((len(plans), len(variables)), np.int16)
    values = np.full((len(plans), len(variables)), np.nan, np.float32)
    for row, plan in enumerate(plans):
        drawn = {act.step.id: act.params for act in plan}
        fired = set(drawn) | {up for act in plan for up in chosen.get(act.step.id, {})}
        picks = {up: k for act in plan for up, k in chosen.get(act.step.id, {}).items()}
        for column, variable in enumerate(variables):
            if variable.kind == "gate":
                classes[row, column] = variable.step in fired
            elif variable.kind == "choice":
                classes[row, column] = picks.get(variable.step, -1) + 1
            elif variable.step in drawn:
                value = drawn[variable.step].get(variable.parameter)
                if variable.parameter == "times":
                    quality = drawn[variable.step].get("quality")
                    value = len(quality) if isinstance(quality, list) else 1
                # of several passes the last is seen best
                value = value[-1] if isinstance(value, list) else value
                classes[row, column] = variable.class_of(value)
                values[row, column] = value if isinstance(value, int | float) else classes[row, column]
    return classes, values


def _chosen(steps: Sequence[Step]) -> dict[str, dict[str, int]]:
    """Return for each op the containers above it, and which of their children leads to it."""
    found: dict[str, dict[str, int]] = {}

    def walk(step: Step, above: Mapping[str, int]) -> None:
        if step.op is not None:
            found[step.id] = dict(above)
        for index, child in enumerate(step.children):
            walk(child, {**above, step.id: index})

    for step in steps:
        walk(step, {})
    return found
