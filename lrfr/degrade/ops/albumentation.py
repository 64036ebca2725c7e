"""Any image transform of albumentations 2.0.8 by name, reseeded for every face and variant from our own
streams.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.image import ImageU8
from lrfr.core.machine import quiet_libraries
from lrfr.core.streams import Stream
from lrfr.degrade.ops.base import Op, Params
from lrfr.degrade.values.distributions import Draw

# transforms that run code or read files of the user's choice
_REFUSED = frozenset(
    {
        "Lambda",
        "FDA",
        "HistogramMatching",
        "PixelDistributionAdaptation",
        "TemplateTransform",
        "MixUp",
        "OverlayElements",
        "TextImage",
    }
)


class Albumentations(Op):
    """One transform of albumentations: ``transform`` (class name) and its ``params`` (with albumentations'
    own ranges).

    The transform always runs (its ``p`` is 1; the step's ``p`` is the gate). Its draws depend on the face and
    variant alone. Not
    portable: many of its filters round differently from one CPU or OpenCV version to the next.
    """

    portable: ClassVar[bool] = False
    cost_ms: ClassVar[float] = 0.5

    transform: str
    params: Annotated[dict[str, Any], Field(default_factory=dict)]

    @field_validator("params")
    @classmethod
    def _gate_is_the_step(cls, params: dict[str, Any]) -> dict[str, Any]:
        if "p" in params:
            raise ValueError("the step's own 'p' is the gate; leave 'p' out of params")
        return params

    def prepare(self) -> None:
        """Build the transform once, so that an unknown name or parameter is an error of the spec."""
        _build(self.transform, self.params)

    def sample(self, draw: Draw) -> Params:
        """Return name and parameters; the transform draws the rest itself."""
        return {"transform": self.transform, "params": self.params}

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Run the transform on each image (see :class:`Op`)."""
        built: dict[str, Any] = {}
        result = []
        for image, p, stream in zip(images, params, streams, strict=True):
            name = json.dumps(p, sort_keys=True)
            if name not in built:
                built[name] = _build(p["transform"], p["params"])
            transform = built[name]
            # a generator that ran on would tie a face to its neighbors in the batch
            transform.set_random_seed(stream.seed32())
            changed = _changed(transform, p["transform"], image)
            if changed.dtype != np.uint8 or changed.ndim != 3 or changed.shape[2] != 3:
                raise SpecError(
                    f"albumentations.{p['transform']} gave {changed.dtype} {list(changed.shape)}, not a "
                    f"uint8 RGB image"
                )
            result.append(changed)
        return result


def _changed(transform: Any, name: str, image: ImageU8) -> Any:
    """Return what a transform makes of a face alone; some want masks, boxes or further pictures."""
    try:
        return np.asarray(transform(image=image)["image"])
    except Exception as error:  # of any kind: it is the library's, and what the spec asks of it
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise SpecError(
            f"albumentations.{name} cannot take a face of {image.shape[1]}x{image.shape[0]} px alone: "
            f"{type(error).__name__}: {first[:200]}"
        ) from None


def _library() -> Any:
    quiet_libraries()
    import albumentations

    return albumentations


def _build(name: str, params: Mapping[str, object]) -> Any:
    library = _library()
    kind = getattr(library, name, None)
    if name in _REFUSED or not (
        isinstance(kind, type) and issubclass(kind, library.ImageOnlyTransform | library.DualTransform)
    ):
        known = [
            word for word in dir(library) if isinstance(getattr(library, word), type) and word not in _REFUSED
        ]
        raise SpecError(
            f"albumentations has no usable image transform '{name}'",
            hint=did_you_mean(name, known).split("? ")[0],
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # albumentations only warns of parameters that it does not know; here they are errors
            transform = kind(**params, p=1.0)
        except (TypeError, ValueError) as error:
            first = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise SpecError(f"albumentations.{name} refuses its params: {' '.join(first[:3])}") from None
    unknown = [str(warning.message) for warning in caught if "not valid" in str(warning.message)]
    if unknown:
        raise SpecError(f"albumentations.{name}: {unknown[0]}")
    # a Compose is what carries the seed of a transform
    return library.Compose([transform], seed=0)
