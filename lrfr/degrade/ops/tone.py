"""Light and color: tone curves by table, uneven light, color cast, gray, occlusion, identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.kernels import round_u8
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.values.distributions import Draw, Value
from lrfr.degrade.values.params import Real, Whole

EXPOSURE = "under-exposure prevention"
LEVELS = np.arange(256, dtype=np.float64)
MAX_DRAWS = 10


def _table(curve: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round a curve of 256 levels; the first rounding hides last-bit differences between math libraries."""
    return round_u8(np.round(curve, 6))


def _look_up(image: ImageU8, table: NDArray[np.uint8]) -> ImageU8:
    import cv2

    return np.asarray(cv2.LUT(image, table), np.uint8)


class Gamma(Op):
    """Power curve 255 (v / 255)^gamma; above 1 darkens, below 1 brightens."""

    iso: ClassVar[str | None] = EXPOSURE
    cost_ms: ClassVar[float] = 0.04
    severity_range: ClassVar[dict[str, Span]] = {"gamma": Span(1.0, 4.0)}

    gamma: Annotated[Value, Real(0.05, 20)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Apply the curve to each image (see :class:`Op`)."""
        return [
            _look_up(image, _table(255 * (LEVELS / 255) ** p["gamma"]))
            for image, p in zip(images, params, strict=True)
        ]


class Brightness(Op):
    """Multiply by ``factor``."""

    iso: ClassVar[str | None] = EXPOSURE
    cost_ms: ClassVar[float] = 0.04
    severity_range: ClassVar[dict[str, Span]] = {"factor": Span(1.0, 0.2)}

    factor: Annotated[Value, Real(0, 10)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Scale each image (see :class:`Op`)."""
        return [
            _look_up(image, _table(LEVELS * p["factor"])) for image, p in zip(images, params, strict=True)
        ]


class Contrast(Op):
    """Stretch by ``factor`` around the mean luminance of the image (rounded to a level)."""

    iso: ClassVar[str | None] = "dynamic range"
    cost_ms: ClassVar[float] = 0.06
    severity_range: ClassVar[dict[str, Span]] = {"factor": Span(1.0, 0.2)}

    factor: Annotated[Value, Real(0, 10)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Stretch each image (see :class:`Op`)."""
        result = []
        for image, p in zip(images, params, strict=True):
            gray = _gray(image)
            # whole-number mean: the sum of bytes is exact, so is its rounding
            mean = (2 * int(gray.sum(dtype=np.int64)) + gray.size) // (2 * gray.size)
            result.append(_look_up(image, _table(mean + (LEVELS - mean) * p["factor"])))
        return result


def _gray(image: ImageU8) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


class Saturation(Op):
    """Blend with the luminance: 0 is gray, 1 the image, above 1 more colorful."""

    iso: ClassVar[str | None] = "natural color"
    cost_ms: ClassVar[float] = 0.15
    severity_range: ClassVar[dict[str, Span]] = {"factor": Span(1.0, 0.0)}

    factor: Annotated[Value, Real(0, 10)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Blend each image (see :class:`Op`)."""
        result = []
        for image, p in zip(images, params, strict=True):
            gray = _gray(image)[:, :, None].astype(np.float32)
            result.append(round_u8(gray + (image - gray) * np.float32(p["factor"])))
        return result


class Illumination(Op):
    """Uneven light from one side: gain 1 + ``strength`` sin(pi/2 t), t from -1 (shadow) to 1 (light) along
    ``angle`` (degrees).
    """

    iso: ClassVar[str | None] = "illumination uniformity"
    cost_ms: ClassVar[float] = 0.35
    severity_range: ClassVar[dict[str, Span]] = {"strength": Span(0.0, 0.95)}

    strength: Annotated[Value, Real(0, 1)]
    angle: Annotated[Value, Real(-360, 360)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Light each image (see :class:`Op`)."""
        return [
            round_u8(image * cls.gain(image, p)[:, :, None]) for image, p in zip(images, params, strict=True)
        ]

    @staticmethod
    def gain(image: ImageU8, p: Params) -> NDArray[np.float64]:
        """Return the gain [H, W], rounded to 1/4096 so that the product with a byte is exact."""
        cosine, sine = math.cos(math.radians(p["angle"])), math.sin(math.radians(p["angle"]))
        x = np.linspace(-1, 1, image.shape[1])
        y = np.linspace(1, -1, image.shape[0])
        # divided by its largest value, so that t reaches -1 and 1 in the corners for every angle
        along = (cosine * x[None, :] + sine * y[:, None]) / (abs(cosine) + abs(sine))
        return np.asarray(np.rint(4096 * (1 + p["strength"] * np.sin(math.pi / 2 * along))) / 4096)


class ColorCast(Op):
    """Gain of each channel: ``red``, ``green``, ``blue``."""

    iso: ClassVar[str | None] = "natural color"
    cost_ms: ClassVar[float] = 0.08
    severity_range: ClassVar[dict[str, Span]] = {"blue": Span(1.0, 0.4)}

    red: Annotated[Value, Real(0, 4)] = 1.0
    green: Annotated[Value, Real(0, 4)] = 1.0
    blue: Annotated[Value, Real(0, 4)] = 1.0

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Tint each image (see :class:`Op`)."""
        result = []
        for image, p in zip(images, params, strict=True):
            curves = [_table(LEVELS * p[name]) for name in ("red", "green", "blue")]
            result.append(_look_up(image, np.stack(curves, axis=1).reshape(1, 256, 3)))
        return result


class Grayscale(Op):
    """Luminance (BT.601) in all three channels."""

    iso: ClassVar[str | None] = "natural color"
    cost_ms: ClassVar[float] = 0.02

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Make each image gray (see :class:`Op`)."""
        import cv2

        return [np.asarray(cv2.cvtColor(_gray(image), cv2.COLOR_GRAY2RGB), np.uint8) for image in images]


class Occlude(Op):
    """Cover a box: ``area`` (share of the image), ``aspect`` (width / height), place ``x``, ``y`` (0 left or
    top, 1 right or bottom).

    The box gets the level ``fill``; with ``outside: true`` all around it does: a crop pasted at its place.
    What does not fit is clipped. ``redraw: true`` draws as torchvision's RandomResizedCrop: area and aspect
    again (ten times at most, then the whole picture) until the box fits a square, and with uniform ``x`` and
    ``y`` each place equally likely.
    """

    iso: ClassVar[str | None] = "face occlusion prevention"
    cost_ms: ClassVar[float] = 0.02
    later: ClassVar[frozenset[str]] = frozenset({"redraw"})
    severity_range: ClassVar[dict[str, Span]] = {"area": Span(0.0, 0.6)}

    area: Annotated[Value, Real(0, 1)]
    aspect: Annotated[Value, Real(0.05, 20)] = 1.0
    x: Annotated[Value, Real(0, 1)] = 0.5
    y: Annotated[Value, Real(0, 1)] = 0.5
    fill: Annotated[Value, Whole(0, 255)] = 0
    outside: bool = False
    redraw: bool = False

    def sample(self, draw: Draw) -> Params:
        """Draw the box, again and again where that is asked for; only what is used is recorded."""
        params = dict(super().sample(draw))
        if not params["redraw"]:
            del params["redraw"]
            return params
        for _ in range(MAX_DRAWS):
            if params["area"] * max(params["aspect"], 1 / params["aspect"]) <= 1:
                return params
            area = params["area"] if self.severity is not None else draw(self.area)
            params |= {"area": area, "aspect": draw(self.aspect)}
        return params | {"area": 1.0, "aspect": 1.0}

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Cover a box in each image (see :class:`Op`)."""
        return [cls._one(image, p) for image, p in zip(images, params, strict=True)]

    @staticmethod
    def _one(image: ImageU8, p: Params) -> ImageU8:
        height, width = image.shape[:2]
        # an extreme aspect asks for more than the picture: it is clipped, and covers less than ``area``
        box_h = min(height, round(math.sqrt(p["area"] * height * width / p["aspect"])))
        box_w = min(width, round(math.sqrt(p["area"] * height * width * p["aspect"])))
        top, left = (_place(p, name, free) for name, free in (("y", height - box_h), ("x", width - box_w)))
        box = (slice(top, top + box_h), slice(left, left + box_w))
        covered: NDArray[Any] = np.full_like(image, p["fill"]) if p["outside"] else image.copy()
        covered[box] = image[box] if p["outside"] else p["fill"]
        return covered


def _place(p: Params, name: str, free_px: int) -> int:
    """Return the first pixel of a box that leaves ``free_px`` pixels free."""
    if "redraw" in p:
        return min(free_px, int(float(p[name]) * (free_px + 1)))
    return round(float(p[name]) * free_px)


class Identity(Op):
    """Leave the image as it is (useful in ``one_of``)."""

    cost_ms: ClassVar[float] = 0.0

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Return the images (see :class:`Op`)."""
        return list(images)
