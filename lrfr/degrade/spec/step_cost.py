"""What a pipeline's steps come to: the ops in it and their cost."""

from __future__ import annotations

from collections.abc import Sequence

from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import is_law


def ops_of(steps: Sequence[Step]) -> list[Step]:
    """Return the op steps of a pipeline, depth first."""
    found: list[Step] = []
    for step in steps:
        found += [step] if step.kind == "op" else ops_of(step.children)
    return found


def expected_cost_ms(step: Step) -> float:
    """Return a step's expected cost in milliseconds of one 112x112 image on one core (rough)."""
    if step.op is not None:
        return step.p * step.op.cost_ms
    costs = [expected_cost_ms(child) for child in step.children]
    if step.kind == "one_of":
        return (
            step.p
            * sum(cost * weight for cost, weight in zip(costs, step.weights, strict=True))
            / sum(step.weights)
        )
    count = sum(step.count.extent()) / 2 if is_law(step.count) else float(step.count)  # type: ignore[union-attr, arg-type]
    if step.kind == "some_of":
        return step.p * sum(costs) * count / len(costs)
    return step.p * sum(costs) * (count if step.kind == "steps" else 1.0)
