"""Run a spec on a batch of faces: every number comes from (seed, key, variant, step), so batching and order
never matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.image import ImageU8, check_image
from lrfr.core.streams import Stream, sample_part, stream, streams_of
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.model import Spec
from lrfr.degrade.spec.steps import Step
from lrfr.degrade.values.distributions import Draw, is_law, pick


@dataclass(frozen=True)
class Degraded:
    """One degraded face.

    Attributes:
        image: uint8 [h, w, 3] RGB at its native size.
        trace: JSON-able record: ``key``, ``variant``, ``seed``, ``spec`` (digest of what
            decides pixels) and ``steps``, a list of
            ``{"id", "op", "params"}`` of the ops that were applied, in their order.

    """

    image: ImageU8
    trace: dict[str, Any]


class Pipeline:
    """A spec that is ready to run.

    Args:
        spec: the resolved recipe.

    Raises:
        SpecError: an op's parameters fail a check that needs the op's library.
        EnvironmentFault: an op's library or file is missing.

    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._digest = spec.pixel_digest
        for step in ops_of(spec.steps):
            assert step.op is not None
            try:
                step.op.prepare()
            except SpecError as error:
                error.file, error.line = error.file or step.where[0], error.line or step.where[1]
                error.path = error.path or step.id
                raise

    @property
    def cost_ms(self) -> float:
        """Expected cost in milliseconds of one 112x112 image on one core (rough; for planning only)."""
        return sum(_expected_cost_ms(step) for step in self.spec.steps)

    @property
    def portable(self) -> bool:
        """Whether every op gives the same bytes on every CPU kind."""
        return all(step.op is not None and step.op.is_portable() for step in ops_of(self.spec.steps))

    def run(self, keys: Sequence[bytes], images: Sequence[ImageU8], variant: int = 0) -> list[Degraded]:
        """Degrade a batch.

        Args:
            keys: the source's key of each face.
            images: uint8 [H, W, 3] RGB, of any size each.
            variant: which of the degraded versions of each face, from 0.

        Raises:
            ValueError: an image is not uint8 [H, W, 3], or the two lengths differ.

        """
        if len(keys) != len(images):
            raise ValueError(f"{len(keys)} keys for {len(images)} images")
        samples = [sample_part(key, variant) for key in keys]
        batch = _Batch(self.spec.seed, samples, [check_image(image) for image in images])
        everyone = list(range(len(images)))
        for step in self.spec.steps:
            batch.run(step, everyone, "")
        head = {"variant": variant, "seed": self.spec.seed, "spec": self._digest}
        return [
            Degraded(np.ascontiguousarray(image), {"key": key_text(key), **head, "steps": steps})
            for key, image, steps in zip(keys, batch.images, batch.applied, strict=True)
        ]


class _Batch:
    """The state of one call of :meth:`Pipeline.run`: the images so far and what was applied to each."""

    def __init__(self, seed: int, samples: list[bytes], images: list[ImageU8]) -> None:
        self.seed = seed
        self.samples = samples
        self.images = images
        self.applied: list[list[dict[str, Any]]] = [[] for _ in samples]
        self._kinds: dict[str, Callable[[Step, list[int], list[Stream], str], None]] = {
            "op": self._apply,
            "one_of": self._one_of,
            "some_of": self._some_of,
            "shuffle": self._shuffle,
            "steps": self._steps,
        }

    def run(self, step: Step, rows: list[int], suffix: str) -> None:
        """Run one step on those of ``rows`` where its gate fires; ``suffix`` tells repetitions apart."""
        name = step.id + suffix
        streams = streams_of(self.seed, [self.samples[row] for row in rows], name)
        if step.p < 1.0:
            fired = [index for index, source in enumerate(streams) if source.u(0) < step.p]
            rows, streams = [rows[index] for index in fired], [streams[index] for index in fired]
        if rows:
            self._kinds[step.kind](step, rows, streams, suffix)

    def _apply(self, step: Step, rows: list[int], streams: list[Stream], suffix: str) -> None:
        assert step.op is not None
        params = [step.op.sample(Draw(source)) for source in streams]
        results = step.op.apply([self.images[row] for row in rows], params, streams)
        for row, image, drawn in zip(rows, results, params, strict=True):
            self.images[row] = image
            self.applied[row].append({"id": step.id + suffix, "op": step.label, "params": drawn})

    def _one_of(self, step: Step, rows: list[int], streams: list[Stream], suffix: str) -> None:
        picked = [pick(step.weights, source.u(1)) for source in streams]
        for index, child in enumerate(step.children):
            self._run_some(
                child, [row for row, chosen in zip(rows, picked, strict=True) if chosen == index], suffix
            )

    def _some_of(self, step: Step, rows: list[int], streams: list[Stream], suffix: str) -> None:
        members: list[list[int]] = [[] for _ in step.children]
        for row, source in zip(rows, streams, strict=True):
            draw = Draw(source)
            count = draw(step.count)
            for index in _permutation(draw, len(step.children))[:count]:
                members[index].append(row)
        for child, chosen in zip(step.children, members, strict=True):
            self._run_some(child, chosen, suffix)

    def _shuffle(self, step: Step, rows: list[int], streams: list[Stream], suffix: str) -> None:
        orders = [
            _keep_order(_permutation(Draw(source), len(step.children)), step.in_order) for source in streams
        ]
        for turn in range(len(step.children)):
            for index, child in enumerate(step.children):
                self._run_some(
                    child,
                    [row for row, order in zip(rows, orders, strict=True) if order[turn] == index],
                    suffix,
                )

    def _steps(self, step: Step, rows: list[int], streams: list[Stream], suffix: str) -> None:
        if step.count == 1:
            for child in step.children:
                self.run(child, rows, suffix)
            return
        counts = [Draw(source)(step.count) for source in streams]
        for turn in range(max(counts)):
            again = [row for row, count in zip(rows, counts, strict=True) if count > turn]
            for child in step.children:
                self.run(child, again, f"{suffix}@{turn}")

    def _run_some(self, child: Step, rows: list[int], suffix: str) -> None:
        if rows:
            self.run(child, rows, suffix)


def _permutation(draw: Draw, count: int) -> list[int]:
    """Return a uniformly random order of ``range(count)``."""
    keys = [draw.uniform() for _ in range(count)]
    return sorted(range(count), key=lambda index: keys[index])


def _keep_order(order: list[int], in_order: tuple[int, ...]) -> list[int]:
    """Put the members of ``in_order`` into that order, on the places that they took."""
    members = iter(in_order)
    return [next(members) if index in in_order else index for index in order]


def ops_of(steps: Sequence[Step]) -> list[Step]:
    """Return the op steps of a pipeline, depth first."""
    found: list[Step] = []
    for step in steps:
        found += [step] if step.kind == "op" else ops_of(step.children)
    return found


def _expected_cost_ms(step: Step) -> float:
    if step.op is not None:
        return step.p * step.op.cost_ms
    costs = [_expected_cost_ms(child) for child in step.children]
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


def key_text(key: bytes) -> str:
    """Return a key as JSON-able text (lossless)."""
    return key.decode("utf-8", "surrogateescape")


def replay(trace: dict[str, Any], image: ImageU8) -> ImageU8:
    """Apply the recorded ops with their recorded parameters and the same noise fields; the result equals the
    first run's bytes.

    Raises:
        DataError: the record lacks something or holds values that the op does not take.

    """
    try:
        key = str(trace["key"]).encode("utf-8", "surrogateescape")
        for step in trace["steps"]:
            if step["op"] not in OPS:
                raise DataError(
                    f"the trace names an unknown op '{step['op']}'",
                    hint=did_you_mean(step["op"], OPS.names()),
                )
            op = OPS[step["op"]]
            source = stream(int(trace["seed"]), key, int(trace["variant"]), step["id"])
            image = op.apply([image], [step["params"]], [source])[0]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the trace cannot be replayed: {type(error).__name__}: {error}") from None
    return np.ascontiguousarray(image)
