"""What an operator is: validated parameters, ``sample`` that draws them for one face, and a pure ``apply``.

A new op is one class that derives from :class:`Op`, one line in ``OPS`` and one test::

    class Fade(Op):
        "Multiply the image by a factor."
        cost_ms: ClassVar[float] = 0.02
        severity_range: ClassVar[dict[str, Span]] = {"factor": Span(1.0, 0.1)}
        factor: Annotated[Value, Real(0, 1)]

        @classmethod
        def apply(cls, images, params, streams):
            return [(image * p["factor"]).astype(np.uint8) for image, p in zip(images, params, strict=True)]
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from lrfr.core.errors import SpecError, shortly
from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.values.distributions import Draw, Law, Value, tidy, value_json
from lrfr.degrade.values.params import Real

# what was drawn for one face, JSON-able; each op's own, so a mapping and no class
Params = Mapping[str, Any]
_LISTS = (list, tuple, np.ndarray)
_RESULT = "expected a list of arrays [H, W, 3] of uint8, one for each image"


@dataclass(frozen=True)
class Span:
    """What severity 0 and severity 1 mean for one parameter: linear between ``mild`` and ``worst``, or
    geometric, or whole.
    """

    mild: float
    worst: float
    geometric: bool = False
    whole: bool = False

    def at(self, severity: float) -> float | int:
        """Return the parameter at a severity in [0, 1]."""
        if self.geometric:
            value = self.mild * (self.worst / self.mild) ** severity
        else:
            value = self.mild + (self.worst - self.mild) * severity
        return round(value) if self.whole else tidy(value)


class Op(BaseModel):
    """Base of all operators: a frozen set of validated parameters, each a scalar or a distribution.

    Class attributes:
        portable: same bytes on every CPU kind (see docs/spec.md); False for floating-point networks and a few
            OpenCV filters.
        cost_ms: rough cost in milliseconds of one 112x112 image on one core; the pair store plans shards with
            it.
        iso: component of ISO/IEC 29794-5 that the op lowers, or None.
        revision: part of every digest of a spec that uses the op; raised by hand when the same parameters may
            give other pixels. A new parameter whose default leaves the pixels alone is declared last and
            needs no new revision.
        incidental: parameters that no digest sees, because another one holds the digest of what they name.
        later: parameters that the first edition did not have; its digests were taken of all parameters.
        records_unset: whether a face's parameters hold those that the spec does not set (None).
        severity_range: parameter -> :class:`Span`; non-empty where ``severity`` may stand in place of these
            parameters.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    portable: ClassVar[bool] = True
    cost_ms: ClassVar[float] = 0.1
    iso: ClassVar[str | None] = None
    revision: ClassVar[int] = 1
    incidental: ClassVar[frozenset[str]] = frozenset()
    later: ClassVar[frozenset[str]] = frozenset()
    records_unset: ClassVar[bool] = True
    severity_range: ClassVar[dict[str, Span]] = {}

    severity: Annotated[Value | None, Real(0, 1)] = None

    @model_validator(mode="before")
    @classmethod
    def _severity_stands_alone(cls, raw: Any) -> Any:
        """With ``severity`` its parameters must be absent; they are filled with the mild end and never
        read.
        """
        if not isinstance(raw, dict) or raw.get("severity") is None:
            return raw
        if not cls.severity_range:
            raise ValueError("this op has no severity range; set its parameters")
        both = [name for name in cls.severity_range if name in raw]
        if both:
            raise ValueError(f"severity already sets '{both[0]}'; give one of them")
        return {**raw, **{name: span.at(0.0) for name, span in cls.severity_range.items()}}

    def sample(self, draw: Draw) -> Params:
        """Draw the concrete, JSON-able parameters of one face; always the same number of slots in the same
        order.
        """
        values, laws, rest = self._drawn
        params = dict(values)
        if self.severity is not None:
            severity = draw(self.severity)
            spans = {name: span.at(severity) for name, span in self.severity_range.items()}
            params = {"severity": severity, **spans, **params}
        for scalars, name, law in laws:
            draw.skip(scalars)
            params[name] = law.draw(draw.uniform)
        draw.skip(rest)
        return params

    @functools.cached_property
    def _drawn(self) -> tuple[Params, list[tuple[int, str, Law]], int]:
        """What ``sample`` goes by, kept because it runs for every face.

        Returns:
            The parameters that are recorded; those that are laws, each with the number of scalars between it
            and the law before; the scalars after the last.

        """
        hidden = {"severity", *(self.severity_range if self.severity is not None else ())}
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in hidden}
        laws, scalars = [], 0
        for name, value in values.items():
            if isinstance(value, Law):
                laws.append((scalars, name, value))
                scalars = 0
            else:
                scalars += 1
        kept = {name: value for name, value in values.items() if self.records_unset or value is not None}
        return kept, laws, scalars

    @classmethod
    @abstractmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Return the degraded images: a pure function of the three lists, image by image.

        The result for one image never depends on the others in the batch. Nothing but ``params`` and
        ``streams`` enters, so a recorded trace reproduces the pixels. Inputs are never written to.
        """

    @classmethod
    def recorded(cls, params: Params) -> Params:
        """Return the parameters as a trace keeps them: nothing in it may depend on where files lie."""
        return params

    @classmethod
    def restored(cls, params: Params, ops: Sequence[Op]) -> Params:
        """Return recorded parameters as ``apply`` takes them; ``ops`` of a spec say where files lie."""
        return params

    def prepare(self) -> None:
        """Check what needs a heavy import (run when a pipeline is built, not when a spec is read).

        Raises:
            SpecError: a parameter is wrong.
            EnvironmentFault: a package or file is missing.

        """

    def is_portable(self) -> bool:
        """Return whether these parameters give the same bytes on every CPU kind."""
        return self.portable

    def as_json(self) -> Mapping[str, object]:
        """Return the parameters as they stand in a resolved spec, defaults written out."""
        hidden = set(self.severity_range) if self.severity is not None else {"severity"}
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in hidden}
        return {name: value_json(value) for name, value in values.items() if value is not None}

    def identity(self) -> Mapping[str, object]:
        """Return what decides the op's pixels: its revision and the parameters that are not at default."""
        fields = type(self).model_fields
        decisive = {
            name: value
            for name, value in self.as_json().items()
            if name not in self.incidental
            and value != value_json(fields[name].get_default(call_default_factory=True))
        }
        return {**decisive, "revision": self.revision}


def checked_apply(
    op: Op | type[Op],
    name: str,
    images: Sequence[ImageU8],
    params: Sequence[Params],
    streams: Sequence[Stream],
) -> Sequence[ImageU8]:
    """Return what the op called ``name`` makes of images: an op may be anyone's, and what is no image would
    show far from here, if at all.

    Raises:
        SpecError: it gives another number of images, or something that is no uint8 [H, W, 3].

    """
    results = op.apply(images, params, streams)
    if not isinstance(results, _LISTS):
        raise SpecError(f"the op '{name}' gave {shortly(results)}", hint=_RESULT)
    if len(results) != len(images):
        raise SpecError(f"the op '{name}' gave {len(results)} images for {len(images)}")
    for image in results:
        if not isinstance(image, np.ndarray):
            raise SpecError(f"the op '{name}' gave {shortly(image)} for an image", hint=_RESULT)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise SpecError(f"the op '{name}' gave {image.dtype} {list(image.shape)}", hint=_RESULT)
    return results
