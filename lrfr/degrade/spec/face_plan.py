"""What a spec does to one face, drawn before any pixel is touched: gates, choices and parameters depend on
the face's streams alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lrfr.core.streams import Stream, step_part
from lrfr.degrade.ops.base import Op, Params
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Draw, pick

Turn = tuple[int, ...]


class Act(NamedTuple):
    """One op that runs on a face.

    Attributes:
        turn: when it runs, as its place among the steps, turns and repetitions; acts of several faces with
            the same turn are the same op of the same step.
        name: the step's id with its repetition, which names the stream.
        step, op: the step and its operator.
        params: what was drawn.
        stream: for what the op draws itself.

    """

    turn: Turn
    name: str
    step: Step
    op: Op
    params: Params
    stream: Stream


class FacePlan:
    """The acts of one face, in the order in which they run.

    Args:
        steps: of the spec.
        seed: of the spec.
        sample: the face's and variant's part of the streams' identities.

    """

    def __init__(self, steps: Sequence[Step], seed: int, sample: bytes) -> None:
        self.acts: list[Act] = []
        self._seed = seed
        self._sample = sample
        self._all(steps, (), "")

    def _all(self, steps: Sequence[Step], turn: Turn, suffix: str) -> None:
        for index, step in enumerate(steps):
            self._one(step, (*turn, index), suffix)

    def _one(self, step: Step, turn: Turn, suffix: str) -> None:
        """Plan a step if its gate fires; ``suffix`` tells repetitions apart."""
        name = step.id + suffix
        source = Stream(self._seed, self._sample + step_part(name))
        if step.p < 1.0 and source.u(0) >= step.p:
            return
        op = step.op
        if op is not None:
            self.acts.append(Act(turn, name, step, op, op.sample(Draw(source)), source))
        else:
            _CONTAINERS[step.kind](self, step, turn, suffix, source)

    def _one_of(self, step: Step, turn: Turn, suffix: str, source: Stream) -> None:
        index = pick(step.weights, source.u(1))
        self._one(step.children[index], (*turn, index), suffix)

    def _some_of(self, step: Step, turn: Turn, suffix: str, source: Stream) -> None:
        draw = Draw(source)
        count = draw(step.count)
        for index in sorted(draw.order(len(step.children))[:count]):
            self._one(step.children[index], (*turn, index), suffix)

    def _shuffle(self, step: Step, turn: Turn, suffix: str, source: Stream) -> None:
        order = Draw(source).order(len(step.children), step.in_order)
        for place, index in enumerate(order):
            self._one(step.children[index], (*turn, place, index), suffix)

    def _steps(self, step: Step, turn: Turn, suffix: str, source: Stream) -> None:
        if step.count == 1:
            self._all(step.children, turn, suffix)
            return
        for again in range(Draw(source)(step.count)):
            self._all(step.children, (*turn, again), f"{suffix}@{again}")


_CONTAINERS = {
    "one_of": FacePlan._one_of,
    "some_of": FacePlan._some_of,
    "shuffle": FacePlan._shuffle,
    "steps": FacePlan._steps,
}


def by_turn(plans: Sequence[Sequence[Act]]) -> list[list[tuple[int, Act]]]:
    """Return the acts of several faces, each beside its face's number, as groups that run together; groups
    lie in an order that keeps every face's own.
    """
    groups: dict[Turn, list[tuple[int, Act]]] = {}
    for row, acts in enumerate(plans):
        for act in acts:
            groups.setdefault(act.turn, []).append((row, act))
    return [groups[turn] for turn in sorted(groups)]
