"""Noise: Gaussian, Poisson (photons, low light), speckle and read noise; every face and variant has its own
field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.noise_tables import normal_field, poisson_field, snap_photons
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.values.distributions import Draw, Value, is_law, tidy
from lrfr.degrade.values.params import Real

MAX_PHOTONS = 10_000


def _normal_like(image: ImageU8, stream: Stream, gray: bool) -> NDArray[np.float32]:
    """Return a standard normal field for an image: [H, W, 3], the same in all channels when ``gray``."""
    import cv2

    if not gray:
        return normal_field(stream.words_u16(image.size), image.shape)
    plane = normal_field(stream.words_u16(image.shape[0] * image.shape[1]), image.shape[:2])
    # one plane of words, not three: a gray field takes a third of the random numbers
    field: NDArray[np.float32] = cv2.merge([plane, plane, plane])
    return field


def _added(image: ImageU8, change: NDArray[Any]) -> ImageU8:
    """Return image + change, rounded half to even and clipped."""
    import cv2

    # OpenCV adds, rounds and saturates in one pass over the picture
    return np.asarray(cv2.add(image, change, dtype=cv2.CV_8U), np.uint8)


def _with_coin(params: Params, draw: Draw) -> Params:
    """Replace the probability ``gray_p`` by its outcome ``gray``."""
    drawn = dict(params)
    drawn["gray"] = draw.coin(drawn.pop("gray_p"))
    return drawn


class GaussianNoise(Op):
    """Additive Gaussian noise: ``sigma`` in gray levels; with probability ``gray_p`` the same in all
    channels.
    """

    cost_ms: ClassVar[float] = 0.13
    severity_range: ClassVar[dict[str, Span]] = {"sigma": Span(1, 80)}

    sigma: Annotated[Value, Real(0, 255)]
    gray_p: Annotated[Value, Real(0, 1)] = 0.0

    def sample(self, draw: Draw) -> Params:
        """Draw sigma and whether the field is gray."""
        return _with_coin(super().sample(draw), draw)

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Add a field to each image (see :class:`Op`)."""
        result = []
        for image, p, stream in zip(images, params, streams, strict=True):
            field = _normal_like(image, stream, p["gray"])
            field *= np.float32(p["sigma"])
            result.append(_added(image, field))
        return result


class PoissonNoise(Op):
    """Photon noise: ``photons`` at white, so a pixel of level v holds Poisson(v / 255 * photons) photons.

    A drawn photon count is snapped to the nearest 2^(k/8) (at most 4.4 % away; the trace records what was
    used), a fixed one is used as it is. With probability ``gray_p`` the noise of the luminance is added to
    all channels. ``scale`` multiplies the noise, as in Real-ESRGAN: about the noise of photons / scale^2.
    """

    cost_ms: ClassVar[float] = 0.2
    later: ClassVar[frozenset[str]] = frozenset({"scale"})
    severity_range: ClassVar[dict[str, Span]] = {"photons": Span(1024, 8, geometric=True)}

    photons: Annotated[Value, Real(1, MAX_PHOTONS)]
    gray_p: Annotated[Value, Real(0, 1)] = 0.0
    scale: Annotated[Value, Real(0, 20)] = 1.0

    def sample(self, draw: Draw) -> Params:
        """Draw the photon count, whether the noise is gray, and its scale."""
        drawn = dict(super().sample(draw))
        if not is_law(self.scale):
            # the coin keeps the slot that it had before there was a scale
            draw.skip(-1)
        if drawn["scale"] == 1.0:
            del drawn["scale"]
        params = _with_coin(drawn, draw)
        if is_law(self.photons) or self.severity is not None:
            # a table of quantiles for every drawn count would cost more than the noise itself
            return {**params, "photons": snap_photons(params["photons"])}
        return params

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Replace each image by a photon count (see :class:`Op`)."""
        return [cls._one(image, p, stream) for image, p, stream in zip(images, params, streams, strict=True)]

    @staticmethod
    def _one(image: ImageU8, p: Params, stream: Stream) -> ImageU8:
        import cv2

        if "scale" not in p and not p["gray"]:
            return expose(image, p["photons"], p["photons"], stream)
        seen = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if p["gray"] else image
        # signed: the noise goes up as well as down
        if "scale" in p:
            counts = poisson_field(seen, p["photons"], stream.words_u16(seen.size))
            change = (counts * (255.0 / p["photons"]) - seen) * p["scale"]
        else:
            change = expose(seen, p["photons"], p["photons"], stream).astype(np.int16) - seen
        return _added(image, cv2.merge([change, change, change]) if p["gray"] else change)


def expose(image: ImageU8, photons: float, white: float, stream: Stream) -> ImageU8:
    """Return the picture of a sensor that gets ``photons`` photons from a white pixel and shows ``white``
    photons as 255.
    """
    import cv2

    counts = poisson_field(image, photons, stream.words_u16(image.size))
    return np.asarray(cv2.convertScaleAbs(counts, alpha=255.0 / white), np.uint8)


class LowLight(Op):
    """Too little light: a white pixel gets ``exposure`` * ``photons`` photons where ``photons`` would show as
    255; Poisson noise.

    The image becomes darker and noisier together. Drawn light is snapped so that exposure * photons is a
    power 2^(k/8).
    """

    iso: ClassVar[str | None] = "under-exposure prevention"
    cost_ms: ClassVar[float] = 0.22
    severity_range: ClassVar[dict[str, Span]] = {"exposure": Span(1.0, 0.05, geometric=True)}

    exposure: Annotated[Value, Real(0.005, 1)]
    photons: Annotated[Value, Real(10, MAX_PHOTONS)] = 1000.0

    def sample(self, draw: Draw) -> Params:
        """Draw exposure and photons."""
        params = dict(super().sample(draw))
        if is_law(self.exposure) or is_law(self.photons) or self.severity is not None:
            # the product decides which table is needed, so the product is what is snapped; the exposure
            # follows
            params["exposure"] = tidy(
                snap_photons(params["exposure"] * params["photons"]) / params["photons"]
            )
        return params

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Expose each image (see :class:`Op`)."""
        return [
            # tidied again: the product has to name the very table that sample() snapped to
            expose(image, tidy(p["exposure"] * p["photons"]), p["photons"], stream)
            for image, p, stream in zip(images, params, streams, strict=True)
        ]


class Speckle(Op):
    """Multiplicative Gaussian noise: v (1 + ``sigma`` z)."""

    cost_ms: ClassVar[float] = 0.16
    severity_range: ClassVar[dict[str, Span]] = {"sigma": Span(0.01, 0.6)}

    sigma: Annotated[Value, Real(0, 4)]
    gray_p: Annotated[Value, Real(0, 1)] = 0.0

    def sample(self, draw: Draw) -> Params:
        """Draw sigma and whether the field is gray."""
        return _with_coin(super().sample(draw), draw)

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Modulate each image (see :class:`Op`)."""
        result = []
        for image, p, stream in zip(images, params, streams, strict=True):
            field = _normal_like(image, stream, p["gray"])
            field *= np.float32(p["sigma"])
            field *= image
            result.append(_added(image, field))
        return result


class ReadNoise(Op):
    """Read-out noise of a sensor: ``electrons`` (rms) against a ``full_well`` of electrons at white;
    Gaussian, in every pixel.
    """

    cost_ms: ClassVar[float] = 0.13
    severity_range: ClassVar[dict[str, Span]] = {"electrons": Span(1, 60)}

    electrons: Annotated[Value, Real(0, 1000)]
    full_well: Annotated[Value, Real(10, 200_000)] = 1000.0

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Add a field to each image (see :class:`Op`)."""
        result = []
        for image, p, stream in zip(images, params, streams, strict=True):
            field = _normal_like(image, stream, False)
            # electrons to gray levels: the full well is what shows as 255
            field *= np.float32(255.0 * p["electrons"] / p["full_well"])
            result.append(_added(image, field))
        return result
