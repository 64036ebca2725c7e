"""Run a spec on a batch of faces: every number comes from (seed, key, variant, step), so batching and order
never matter.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrfr.core.errors import DataError, SpecError, as_count, did_you_mean
from lrfr.core.image import ImageU8, square_fit
from lrfr.core.streams import MAX_VARIANT, sample_part, stream
from lrfr.degrade.any_picture import Picture, as_face, key_bytes, key_text
from lrfr.degrade.ops.base import Params, checked_apply
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.face_plan import Act, FacePlan, by_turn
from lrfr.degrade.spec.model import Spec, load_spec
from lrfr.degrade.spec.step_cost import expected_cost_ms, ops_of


class Applied(NamedTuple):
    """One op that was applied to a face: the step's id, the op's name and the parameters that were drawn."""

    id: str
    op: str
    params: Params


@dataclass(frozen=True)
class Trace:
    """What was drawn for a face; :func:`replay` makes the same pixels of it.

    Attributes:
        key: the face's sample key as text.
        variant: which of the degraded versions of the face, from 0.
        seed: the spec's seed.
        spec: digest of what decides the spec's pixels.
        steps: the ops that were applied, in their order.

    """

    key: str
    variant: int
    seed: int
    spec: str
    steps: Sequence[Applied]

    def as_json(self) -> Mapping[str, object]:
        """Return the plain data of a line of ``trace.jsonl``."""
        steps = [{"id": step.id, "op": step.op, "params": dict(step.params)} for step in self.steps]
        return {**vars(self), "steps": steps}

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Trace:
        """Return the trace that :meth:`as_json` wrote; other keys of the line are left aside.

        Raises:
            DataError: something is missing or of another type.

        """
        try:
            steps = [Applied(str(one["id"]), str(one["op"]), dict(one["params"])) for one in line["steps"]]
            seed, variant = int(line["seed"]), int(line["variant"])
            return cls(str(line["key"]), variant, seed, str(line["spec"]), steps)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a trace: {type(error).__name__}: {error}") from None


@dataclass(frozen=True)
class Degraded:
    """One degraded face.

    Attributes:
        image: uint8 [h, w, 3] RGB at its native size.
        trace: what was drawn for it.

    """

    image: ImageU8
    trace: Trace


class Pipeline:
    """A spec that is ready to run on batches.

    Args:
        spec: the resolved recipe, or what :func:`~lrfr.degrade.spec.model.load_spec` takes: the name of a
            preset, the path of a file or the text of a spec.

    Raises:
        SpecError: the spec is wrong, or an op's parameters fail a check that needs the op's library.
        EnvironmentFault: an op's library or file is missing.

    """

    def __init__(self, spec: Spec | str | Path) -> None:
        self.spec = spec if isinstance(spec, Spec) else load_spec(spec)
        self._digest = self.spec.pixel_digest
        for step in ops_of(self.spec.steps):
            assert step.op is not None
            try:
                step.op.prepare()
            except SpecError as error:
                error.file, error.line = error.file or step.where[0], error.line or step.where[1]
                error.path = error.path or step.id
                raise

    def __repr__(self) -> str:
        return f"Pipeline({self.spec.name!r})"

    @property
    def cost_ms(self) -> float:
        """Expected cost in milliseconds of one 112x112 image on one core (rough; for planning only)."""
        return sum(expected_cost_ms(step) for step in self.spec.steps)

    @property
    def portable(self) -> bool:
        """Whether every op gives the same bytes on every CPU kind."""
        return all(step.op is not None and step.op.is_portable() for step in ops_of(self.spec.steps))

    def run(
        self,
        keys: Sequence[bytes | str | int],
        images: Sequence[Picture] | None = None,
        variant: int = 0,
        *,
        fit: bool = True,
    ) -> list[Degraded]:
        """Degrade a batch.

        Args:
            keys: the source's key of each face.
            images: a picture for each key (see :func:`~lrfr.degrade.any_picture.as_face`), of any size each.
            variant: which of the degraded versions of each face, from 0.
            fit: cut every picture to its central square and bring it to the spec's ``image.size`` first;
                without, the spec runs on the pixels as they come.

        Raises:
            SpecError: something is no picture or no key, or the two lengths differ.

        """
        listed = hasattr(keys, "__len__") and hasattr(images, "__len__")
        if images is None or not listed or isinstance(keys, bytes | str) or getattr(images, "ndim", 4) != 4:
            hint = "for pictures without keys there is degrade_images(pictures, spec)"
            raise SpecError(
                "expected a list of keys and a list of pictures: run([key], [picture])", hint=hint
            )
        if len(keys) != len(images):
            raise SpecError(f"{len(keys)} keys for {len(images)} images")
        names = [key_bytes(key) for key in keys]
        done, plans = self.run_faces(names, [as_face(image) for image in images], variant, fit=fit)
        return [
            Degraded(image, self.trace(name, variant, acts))
            for name, image, acts in zip(names, done, plans, strict=True)
        ]

    def trace(self, name: bytes, variant: int, acts: Sequence[Act]) -> Trace:
        """Return the record of what :meth:`run_faces` did to a face."""
        steps = [Applied(act.name, act.step.label, act.op.recorded(act.params)) for act in acts]
        return Trace(key_text(name), variant, self.spec.seed, self._digest, steps)

    def run_faces(
        self, names: Sequence[bytes], faces: Sequence[ImageU8], variant: int, *, fit: bool = True
    ) -> tuple[list[ImageU8], list[list[Act]]]:
        """Degrade as :meth:`run` does what is known to be keys and faces (uint8 [H, W, 3]); the pixels and
        what was done to each, for :meth:`trace`.
        """
        done = [self._fitted(face) for face in faces] if fit else list(faces)
        variant = as_count(variant, "variant", most=MAX_VARIANT)
        plans = [self._planned(name, variant) for name in names]
        for group in by_turn(plans):
            first = group[0][1]
            inputs, params, streams = [], [], []
            for row, act in group:
                inputs.append(done[row])
                params.append(act.params)
                streams.append(act.stream)
            results = checked_apply(first.op, first.step.label, inputs, params, streams)
            for (row, _), image in zip(group, results, strict=True):
                done[row] = image
        return [np.ascontiguousarray(image) for image in done], plans

    def run_face(self, name: bytes, face: ImageU8, variant: int) -> tuple[ImageU8, list[Act]]:
        """Degrade one face as :meth:`run_faces` does, without the lists that a batch needs."""
        acts = self._planned(name, as_count(variant, "variant", most=MAX_VARIANT))
        image = self._fitted(face)
        for act in acts:
            image = checked_apply(act.op, act.step.label, [image], [act.params], [act.stream])[0]
        return np.ascontiguousarray(image), acts

    def _planned(self, name: bytes, variant: int) -> list[Act]:
        return FacePlan(self.spec.steps, self.spec.seed, sample_part(name, variant)).acts

    def _fitted(self, face: ImageU8) -> ImageU8:
        side = self.spec.image.size_px
        return face if face.shape == (side, side, 3) else square_fit(face, side)


def replay(trace: Trace, image: ImageU8, spec: Spec | None = None) -> ImageU8:
    """Apply the recorded ops with their recorded parameters and the same noise fields; the result equals the
    first run's bytes.

    Args:
        trace: the record of that run.
        image: the face as it went in, uint8 [H, W, 3], fitted already.
        spec: the spec of that run; only needed where it names weights that are not shipped.

    Raises:
        DataError: the record names an unknown op, or holds values that the op does not take.

    """
    key = trace.key.encode("utf-8", "surrogateescape")
    named = [step.op for step in ops_of(spec.steps) if step.op is not None] if spec is not None else []
    try:
        for step in trace.steps:
            if step.op not in OPS:
                hint = did_you_mean(step.op, OPS.names())
                raise DataError(f"the trace names an unknown op '{step.op}'", hint=hint)
            source = stream(trace.seed, key, trace.variant, step.id)
            op = OPS[step.op]
            image = checked_apply(op, step.op, [image], [op.restored(step.params, named)], [source])[0]
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise DataError(f"the trace cannot be replayed: {type(error).__name__}: {error}") from None
    return np.ascontiguousarray(image)
