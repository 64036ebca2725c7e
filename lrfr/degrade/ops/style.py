"""The learned degradation ``style``: the same person in the style of an unlabeled low-quality target set
(CFSM).

Source: Liu, Kim, Jain, Liu, "Controllable and Guided Face Synthesis for Unconstrained Face Recognition", ECCV
2022; used by CATFace for half of its degraded faces.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, ClassVar

from pydantic import PrivateAttr, StrictBool, StrictStr, model_validator

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.style.generator_card import SHIPPED, find_weights, read_weights
from lrfr.degrade.values.distributions import Chi, Draw, Value, tidy
from lrfr.degrade.values.params import Real, Whole

RANDOM = "random"
MAX_MAGNITUDE = 6.0


@dataclass(frozen=True)
class Direction(Whole):
    """``random``, or the number of a basis direction (``3`` or ``basis 3``), or a distribution of those."""

    def check(self, raw: Any) -> Value:
        """Return ``random``, a whole number or a distribution."""
        if raw == RANDOM:
            return RANDOM
        if isinstance(raw, str) and raw.removeprefix("basis ").isdigit():
            raw = int(raw.removeprefix("basis "))
        return super().check(raw)

    def schema(self) -> Mapping[str, object]:
        """Return the JSON Schema."""
        return {
            "anyOf": [{"const": RANDOM}, {"type": "string", "pattern": "^basis [0-9]+$"}, super().schema()]
        }


class Style(Op):
    """Restyle a face with a trained generator.

    Attributes:
        weights: name of shipped weights (``tiny``) or path of a file that ``lrfr train cfsm`` wrote.
        sha256: digest of that file; filled in when the spec is read, so that the spec's own digest names the
            pixels.
        magnitude: how far from the input: 0 gives it back, 3 is typical, beyond 6 is outside of the training.
            The default is the distribution of the training, the norm of ten normals.
        direction: ``random`` (uniform on the sphere), or the number of a basis direction.
        calibrated: the magnitude m asks for the identity distance C(m), through the curve measured after
            training; otherwise it is the norm of the style coordinates as it is.

    """

    portable: ClassVar[bool] = False
    cost_ms: ClassVar[float] = 20.0
    incidental: ClassVar[frozenset[str]] = frozenset({"weights"})  # sha256 names them, wherever they lie
    severity_range: ClassVar[dict[str, Span]] = {"magnitude": Span(0.5, MAX_MAGNITUDE)}

    weights: StrictStr = "tiny"
    sha256: StrictStr | None = None
    magnitude: Annotated[Value, Real(-MAX_MAGNITUDE, MAX_MAGNITUDE)] = Chi(10, 1.0, (0.0, MAX_MAGNITUDE))
    direction: Annotated[Value, Direction(0, 1023)] = RANDOM
    calibrated: StrictBool = True
    _n_basis: int = PrivateAttr(0)

    @model_validator(mode="before")
    @classmethod
    def _pin_weights(cls, raw: Any) -> Any:
        """Write down the digest of the weights; weights other than the stated ones are refused."""
        if not isinstance(raw, dict) or not isinstance(raw.get("weights", "tiny"), str):
            return raw
        try:
            digest = read_weights(find_weights(raw.get("weights", "tiny"))).digest
        except LrfrError as error:
            raise ValueError(f"{error.message}; {error.hint}" if error.hint else str(error)) from None
        if raw.get("sha256") not in (None, digest):
            raise ValueError(f"the weights have sha256 {digest[:12]}..., not the one stated")
        return {**raw, "sha256": digest}

    @model_validator(mode="after")
    def _direction_exists(self) -> Style:
        count = self._n_basis = read_weights(find_weights(self.weights)).card.layout.n_basis
        direction = self.direction
        if isinstance(direction, int):
            last: float = direction
        else:
            last = 0 if direction == RANDOM else direction.extent()[1]  # type: ignore[union-attr]
        if last >= count:
            raise ValueError(f"direction {last:g} of {count}: they are numbered from 0")
        return self

    def sample(self, draw: Draw) -> Params:
        """Draw magnitude and unit direction; the direction's normals come first, whether they are used or
        not.
        """
        # a uniform number may be 0, whose quantile is minus infinity
        normals = [NormalDist().inv_cdf(max(draw.uniform(), 2.0**-54)) for _ in range(self._n_basis)]
        params = dict(super().sample(draw))
        if params["direction"] == RANDOM:
            length = math.hypot(*normals)
            params["direction"] = [tidy(x / length) for x in normals]
        else:
            params["direction"] = [float(k == params["direction"]) for k in range(len(normals))]
        return params

    @classmethod
    def recorded(cls, params: Params) -> Params:
        """Leave out the path of weights that are not shipped: ``sha256`` names them."""
        shipped = os.path.isfile(SHIPPED / f"{params['weights']}.safetensors")
        return params if shipped else {**params, "weights": ""}

    @classmethod
    def restored(cls, params: Params, ops: Sequence[Op]) -> Params:
        """Find weights that are not shipped by their digest, at the place that a spec names."""
        if params["weights"]:
            return params
        for op in ops:
            if isinstance(op, Style) and op.sha256 == params["sha256"]:
                return {**params, "weights": op.weights}
        raise DataError(
            f"the trace needs the style weights with sha256 {params['sha256'][:12]}...",
            hint="give the spec that names them",
        )

    def prepare(self) -> None:
        """Load the generator, so that damaged weights stop a run before its first face."""
        from lrfr.degrade.style.weight_files import cached_weights

        assert self.sha256 is not None
        cached_weights(self.weights, self.sha256)

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Return the faces in their styles, each at its own size; loads the weights once in each process."""
        from lrfr.degrade.style.render import render_style
        from lrfr.degrade.style.weight_files import cached_weights

        result = []
        for image, drawn, stream in zip(images, params, streams, strict=True):
            model = cached_weights(drawn["weights"], drawn["sha256"])
            norm = model.card.norm_for(drawn["magnitude"]) if drawn["calibrated"] else drawn["magnitude"]
            result += render_style(
                model.generator, [image], [[norm * x for x in drawn["direction"]]], [stream]
            )
        return result
