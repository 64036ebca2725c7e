"""Blurs: Gaussian, motion, defocus and the kernel families of Real-ESRGAN; and the opposite, unsharp masking;
all exact, none shifts the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import model_validator

from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade import kernels
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.values.distributions import Draw, Value, tidy
from lrfr.degrade.values.params import Real, Whole, Word

SHARPNESS = "sharpness (7.3.8)"
FAMILIES = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc")


class GaussianBlur(Op):
    """Gaussian blur: ``sigma`` (px), or ``sigma_x``, ``sigma_y`` and ``angle`` (degrees); 2 ceil(3 sigma) + 1
    taps.
    """

    iso: ClassVar[str | None] = SHARPNESS
    cost_ms: ClassVar[float] = 0.1
    records_unset: ClassVar[bool] = False
    severity_range: ClassVar[dict[str, Span]] = {"sigma": Span(0.5, 6.5)}

    sigma: Annotated[Value | None, Real(0, 20)] = None
    sigma_x: Annotated[Value | None, Real(0.05, 20)] = None
    sigma_y: Annotated[Value | None, Real(0.05, 20)] = None
    angle: Annotated[Value, Real(-360, 360)] = 0.0

    @model_validator(mode="after")
    def _round_or_elliptic(self) -> GaussianBlur:
        pair = (self.sigma_x is not None) + (self.sigma_y is not None)
        if pair == 1 or (self.sigma is None) == (pair == 0):
            raise ValueError("expected either sigma, or both sigma_x and sigma_y")
        return self

    def sample(self, draw: Draw) -> Params:
        """Draw the widths."""
        drawn = dict(super().sample(draw))
        # a round kernel has no direction; recording one would suggest that it matters
        if "sigma" in drawn:
            del drawn["angle"]
        return drawn

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Blur each image (see :class:`Op`)."""
        return [cls._one(image, p) for image, p in zip(images, params, strict=True)]

    @staticmethod
    def _one(image: ImageU8, p: Params) -> ImageU8:
        if "sigma" in p:
            return kernels.blur_separable(image, p["sigma"])
        # three sigma of the longer axis, as for round kernels
        size = 2 * math.ceil(3 * max(p["sigma_x"], p["sigma_y"])) + 1
        kernel = kernels.gaussian(size, p["sigma_x"], p["sigma_y"], p["angle"])
        return kernels.convolve(image, kernels.trim(kernels.quantize(kernel)))


class MotionBlur(Op):
    """Straight, centered, anti-aliased motion: ``length`` (px, any real from 1) along ``angle`` (degrees,
    counter-clockwise).
    """

    iso: ClassVar[str | None] = SHARPNESS
    cost_ms: ClassVar[float] = 0.13
    severity_range: ClassVar[dict[str, Span]] = {"length": Span(3, 31)}

    length: Annotated[Value, Real(1, 101)]
    angle: Annotated[Value, Real(-360, 360)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Blur each image (see :class:`Op`)."""
        lines = [kernels.quantize(kernels.motion(p["length"], p["angle"])) for p in params]
        return [kernels.convolve(image, line) for image, line in zip(images, lines, strict=True)]


class Defocus(Op):
    """Out-of-focus blur: a disk of ``radius`` (px) with an anti-aliased rim."""

    iso: ClassVar[str | None] = SHARPNESS
    cost_ms: ClassVar[float] = 0.2
    severity_range: ClassVar[dict[str, Span]] = {"radius": Span(0.5, 8)}

    radius: Annotated[Value, Real(0, 40)]

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Blur each image (see :class:`Op`)."""
        disks = [kernels.trim(kernels.quantize(kernels.disk(p["radius"]))) for p in params]
        return [kernels.convolve(image, disk) for image, disk in zip(images, disks, strict=True)]


class KernelMix(Op):
    """The blur of Real-ESRGAN: one of seven kernel families with drawn size and shape.

    ``size`` (even draws count one up), ``sigma_x`` and ``sigma_y`` (px), ``angle`` (degrees), ``beta`` of the
    generalized and ``beta_plateau`` of the plateau families, ``cutoff`` (radians a pixel) of ``sinc``;
    without ``cutoff`` it is uniform in [pi/3, pi) below size 13 and in [pi/5, pi) from there on, as in the
    paper's code. The ``iso`` families use ``sigma_x`` alone.
    """

    iso: ClassVar[str | None] = SHARPNESS
    cost_ms: ClassVar[float] = 0.8
    severity_range: ClassVar[dict[str, Span]] = {"sigma_x": Span(0.2, 3), "sigma_y": Span(0.2, 3)}

    family: Annotated[Value, Word(FAMILIES)]
    size: Annotated[Value, Whole(3, 51)] = 21
    sigma_x: Annotated[Value, Real(0.05, 20)] = 1.0
    sigma_y: Annotated[Value, Real(0.05, 20)] = 1.0
    angle: Annotated[Value, Real(-360, 360)] = 0.0
    beta: Annotated[Value, Real(0.1, 8)] = 1.0
    beta_plateau: Annotated[Value, Real(0.1, 8)] = 1.0
    cutoff: Annotated[Value | None, Real(0.1, math.pi)] = None

    def sample(self, draw: Draw) -> Params:
        """Draw the family and its shape; parameters that the family does not use are left out of the
        record.
        """
        drawn = dict(super().sample(draw))
        # an even kernel has no center pixel and would shift the picture by half a pixel
        drawn["size"] |= 1
        if drawn["cutoff"] is None:
            # drawn for every family, so that what follows in the stream does not depend on the family
            lowest = math.pi / 3 if drawn["size"] < 13 else math.pi / 5
            drawn["cutoff"] = tidy(lowest + (math.pi - lowest) * draw.uniform())
        family = drawn["family"]
        used = (
            {"severity", "family", "size", "cutoff"}
            if family == "sinc"
            else {"severity", "family", "size", "sigma_x"}
        )
        if family.endswith("aniso"):
            used |= {"sigma_y", "angle"}
        if family.startswith("generalized"):
            used.add("beta")
        if family.startswith("plateau"):
            used.add("beta_plateau")
        return {name: value for name, value in drawn.items() if name in used}

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Blur each image (see :class:`Op`)."""
        weights = [kernels.trim(kernels.quantize(cls.kernel(p))) for p in params]
        return [kernels.convolve(image, kernel) for image, kernel in zip(images, weights, strict=True)]

    @staticmethod
    def kernel(p: Params) -> kernels.Kernel:
        """Return the float kernel of drawn parameters."""
        if p["family"] == "sinc":
            return kernels.sinc(p["size"], p["cutoff"])
        sigma_y, angle = p["sigma_y"] if "sigma_y" in p else p["sigma_x"], p.get("angle", 0.0)
        if p["family"].startswith("plateau"):
            return kernels.plateau(p["size"], p["sigma_x"], sigma_y, angle, p["beta_plateau"])
        return kernels.gaussian(p["size"], p["sigma_x"], sigma_y, angle, p.get("beta", 1.0))


class Sharpen(Op):
    """Unsharp masking with a soft mask, as Real-ESRGAN does to HR: add ``amount`` times what a Gaussian blur
    takes away.

    Only places that differ from the blur by more than ``threshold`` gray levels are sharpened; the mask of
    these places is blurred in the same way, so it has no rim (``soft: false`` leaves it hard; ``threshold:
    0`` sharpens all that is not flat). The blur has ``sigma`` (px) and ``size`` taps (even draws count one
    up; default 2 ceil(3 sigma) + 1). The other defaults are those of the released code.
    """

    cost_ms: ClassVar[float] = 3.0
    severity_range: ClassVar[dict[str, Span]] = {"amount": Span(0.25, 8.0)}

    amount: Annotated[Value, Real(0, 20)] = 0.5
    sigma: Annotated[Value, Real(0.05, 20)] = 8.0
    size: Annotated[Value | None, Whole(3, 151)] = None
    threshold: Annotated[Value, Real(0, 255)] = 10.0
    soft: bool = True

    def sample(self, draw: Draw) -> Params:
        """Draw the strength and the blur; the size is recorded as it is used."""
        drawn = dict(super().sample(draw))
        if drawn["size"] is None:
            drawn["size"] = 2 * math.ceil(3 * drawn["sigma"]) + 1
        # as for kernels: an even one has no center pixel
        drawn["size"] |= 1
        return drawn

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Sharpen each image (see :class:`Op`)."""
        return [cls._one(image, p) for image, p in zip(images, params, strict=True)]

    @staticmethod
    def _one(image: ImageU8, p: Params) -> ImageU8:
        # whole numbers throughout: whether a pixel is above the threshold is the same on every CPU
        blur = kernels.gaussian_sums(image, p["sigma"], p["size"])
        lost = image * kernels.SUMS_UNIT - blur
        mask = (np.abs(lost) > p["threshold"] * kernels.SUMS_UNIT).astype(np.uint8)
        share = kernels.gaussian_sums(mask, p["sigma"], p["size"]) / kernels.SUMS_UNIT if p["soft"] else mask
        sharp = np.clip(image + p["amount"] * (lost / kernels.SUMS_UNIT), 0, 255)
        return kernels.round_u8(image + share * (sharp - image))
