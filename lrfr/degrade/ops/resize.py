"""Resizing: ``down``, ``up`` and ``down_up`` with every filter of Pillow (antialiased) and of OpenCV (not
antialiased).

"Bicubic" names two operators: Pillow's widens its cubic (a = -0.5) with the scale, OpenCV's samples four
pixels (a = -0.75). At 112 -> 7 they differ by 17 to 19 gray levels on faces, so ``antialias`` has no default
anywhere.

Bilinear and bicubic with antialias run through PyTorch's uint8 kernel, which follows Pillow's fixed-point
arithmetic (at most two levels apart) and takes a whole batch at once. The other Pillow filters run through
Pillow, the rest through OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from lrfr.core.errors import SpecError
from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.ops.resize_kernels import (
    by_opencv,
    by_pillow,
    by_torch,
    floats_by_pillow,
    floats_by_torch,
    light_to_srgb,
    srgb_to_light,
)
from lrfr.degrade.values.distributions import Choice, Value
from lrfr.degrade.values.params import Real, Whole, Word

ANTIALIASED = ("box", "bilinear", "hamming", "bicubic", "lanczos")
SAMPLED = ("nearest", "nearest_exact", "linear", "cubic", "area", "lanczos4")
_TORCH = ("bilinear", "bicubic")
# OpenCV sums these in floating point or hands them to vendor code: bytes move with the CPU
_UNSTABLE = ("linear", "cubic", "lanczos4")
MAX_SIDE_PX = 4096


def check_filter(name: str, antialias: bool) -> str:
    """Return ``name`` when it exists for this setting of antialias.

    Raises:
        SpecError: the filter does not exist there; the message names those that do.

    """
    known = ANTIALIASED if antialias else SAMPLED
    if name not in known:
        flag = str(antialias).lower()
        other = {"bilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos4"}
        twin = other.get(name) or {value: key for key, value in other.items()}.get(name)
        hint = f"with antialias: {flag} it is called '{twin}'" if twin in known else None
        raise SpecError(
            f"filter '{name}' does not exist with antialias: {flag}; expected one of {', '.join(known)}",
            hint=hint,
        )
    return name


def resize_batch(
    images_nhwc: ImageU8, size_px: int | tuple[int, int], filter: str, antialias: bool, transfer: str = "srgb"
) -> NDArray[np.uint8]:
    """Resize a batch of equally sized images.

    Args:
        images_nhwc: uint8 [N, H, W, 3] RGB.
        size_px: side of the square result, or (height, width).
        filter: one of :data:`ANTIALIASED` when ``antialias`` (Pillow's operators), else one of
            :data:`SAMPLED` (OpenCV's).
        antialias: widen the filter with the scale, so that every input pixel counts.
        transfer: ``srgb`` works on the stored values, ``linear`` on light (decoded by the sRGB curve and
            encoded again).

    Returns:
        uint8 [N, height, width, 3]; the input itself when the size does not change.

    Raises:
        SpecError: the filter does not exist for this setting of ``antialias``.

    """
    height, width = (size_px, size_px) if isinstance(size_px, int) else size_px
    check_filter(filter, antialias)
    # an empty batch has nothing to stack
    if images_nhwc.shape[1:3] == (height, width) or not len(images_nhwc):
        return images_nhwc
    if transfer == "linear":
        return _resize_light(images_nhwc, height, width, filter, antialias)
    if not antialias:
        return np.stack([by_opencv(image, height, width, filter) for image in images_nhwc])
    if filter in _TORCH:
        return by_torch(images_nhwc, height, width, filter)
    return np.stack([by_pillow(image, height, width, filter) for image in images_nhwc])


def _resize_light(
    images_nhwc: ImageU8, height: int, width: int, filter: str, antialias: bool
) -> NDArray[np.uint8]:
    """Resize in linear light, in float32 with one rounding at the end."""
    light = srgb_to_light(np.arange(256) / 255.0).astype(np.float32)[images_nhwc]
    if not antialias:
        resized: NDArray[Any] = np.stack([by_opencv(image, height, width, filter) for image in light])
    elif filter in _TORCH:
        resized = floats_by_torch(light, height, width, filter)
    else:
        resized = np.stack([floats_by_pillow(image, height, width, filter) for image in light])
    # bicubic and Lanczos overshoot; the curve has no value for light below 0
    return np.rint(255.0 * light_to_srgb(np.clip(resized, 0.0, 1.0))).astype(np.uint8)


def resize_each(
    images: Sequence[ImageU8], sizes_hw: Sequence[tuple[int, int]], params: Sequence[Params], key: str
) -> list[ImageU8]:
    """Resize each image to its own size with the filter ``params[key]``; those that share shape, size and
    filter run as one batch.

    Raises:
        SpecError: a target side is above :data:`MAX_SIDE_PX`.

    """
    if len(images) == 1:  # common on the fly, where the bookkeeping of groups would show
        image, size_hw, p = images[0], sizes_hw[0], params[0]
        if image.shape[:2] == size_hw:
            return [image]
        _check_sides(size_hw)
        batch = image[None]  # a view, where a stack copies
        return [resize_batch(batch, size_hw, p.get(key, p["filter"]), p["antialias"], p["transfer"])[0]]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, (image, size_hw, p) in enumerate(zip(images, sizes_hw, params, strict=True)):
        if image.shape[:2] != size_hw:
            operator = (p.get(key, p["filter"]), p["antialias"], p["transfer"])
            groups.setdefault((image.shape, size_hw, operator), []).append(row)
    result: list[ImageU8] = list(images)
    for (_, size_hw, operator), rows in groups.items():
        _check_sides(size_hw)
        resized = resize_batch(np.stack([images[row] for row in rows]), size_hw, *operator)
        for row, image in zip(rows, resized, strict=True):
            result[row] = image
    return result


def _check_sides(size_hw: tuple[int, int]) -> None:
    if max(size_hw) > MAX_SIDE_PX:
        raise SpecError(f"a resize asks for {size_hw[1]}x{size_hw[0]} px; {MAX_SIDE_PX} is the largest side")


class Resize(Op):
    """Resize to the target, up or down; the base of ``down``, ``up`` and ``down_up``.

    One target (``size`` in px, ``ratio`` or ``factor``), a filter and ``antialias``:

    ``size`` gives a square of that side; ``ratio`` multiplies both sides, ``factor`` divides them (rounded,
    at least 1 px). ``filter`` may be a ``choice``; ``antialias`` has no default on purpose; ``transfer``
    defaults to the spec's ``image.transfer``.
    """

    iso: ClassVar[str | None] = "inter-eye distance (7.4.8)"
    cost_ms: ClassVar[float] = 0.03
    records_unset: ClassVar[bool] = False

    size: Annotated[Value | None, Whole(1, MAX_SIDE_PX)] = None
    ratio: Annotated[Value | None, Real(0.001, 64)] = None
    factor: Annotated[Value | None, Real(1 / 64, 1000)] = None
    filter: Annotated[Value, Word((*ANTIALIASED, *SAMPLED))]
    antialias: bool
    transfer: Annotated[Value, Word(("srgb", "linear"))] = "srgb"

    @model_validator(mode="after")
    def _one_target(self) -> Resize:
        targets = [name for name in ("size", "ratio", "factor") if getattr(self, name) is not None]
        if len(targets) != 1:
            got = " and ".join(targets) or "none"
            raise ValueError(f"expected exactly one of size, ratio, factor; got {got}")
        for name in self._filters():
            try:
                check_filter(name, self.antialias)
            except SpecError as error:
                raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from None
        return self

    def _filters(self) -> list[str]:
        found: list[Any] = []
        for value in (self.filter, getattr(self, "up_filter", None)):
            found += value.options if isinstance(value, Choice) else [value]
        return [name for name in found if name is not None]

    def is_portable(self) -> bool:
        """Return False for OpenCV's interpolating filters and for linear light."""
        return self.transfer == "srgb" and not any(name in _UNSTABLE for name in self._filters())

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Resize each image to its own target (see :class:`Op`)."""
        sizes = [cls.final_hw(image, p) for image, p in zip(images, params, strict=True)]
        return resize_each(images, sizes, params, "filter")

    @staticmethod
    def target_hw(image: ImageU8, params: Params) -> tuple[int, int]:
        """Return the (height, width) that ``params`` ask for."""
        if "size" in params:
            return params["size"], params["size"]
        scale = params["ratio"] if "ratio" in params else 1.0 / params["factor"]
        return max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))

    @classmethod
    def final_hw(cls, image: ImageU8, params: Params) -> tuple[int, int]:
        """Return the (height, width) that the image gets."""
        return cls.target_hw(image, params)


class Down(Resize):
    """Shrink to the target; a side that is already as small stays as it is."""

    severity_range: ClassVar[dict[str, Span]] = {"size": Span(112, 7, geometric=True, whole=True)}

    @classmethod
    def final_hw(cls, image: ImageU8, params: Params) -> tuple[int, int]:
        """Return the target, side by side but never above the image's."""
        height, width = cls.target_hw(image, params)
        return min(height, image.shape[0]), min(width, image.shape[1])


class Up(Resize):
    """Enlarge to the target; a side that is already as large stays as it is."""

    # it adds pixels between the eyes and lowers no component of the standard
    iso: ClassVar[str | None] = None

    @classmethod
    def final_hw(cls, image: ImageU8, params: Params) -> tuple[int, int]:
        """Return the target, side by side but never below the image's."""
        height, width = cls.target_hw(image, params)
        return max(height, image.shape[0]), max(width, image.shape[1])


class DownUp(Resize):
    """Shrink to the target and return to the size before; ``up_filter`` (default: the filter drawn for the
    way down).
    """

    severity_range: ClassVar[dict[str, Span]] = Down.severity_range
    cost_ms: ClassVar[float] = 0.05

    up_filter: Annotated[Value | None, Word((*ANTIALIASED, *SAMPLED))] = None

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Resize each image down and back (see :class:`Op`)."""
        small = Down.apply(images, params, streams)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return resize_each(small, sizes, params, "up_filter")
