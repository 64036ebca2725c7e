"""Alignment error: the crop that an aligner cuts when its landmarks are off, as they are on small faces.

Only the degraded side moves; its HR face stays aligned, so a pair shows a network what the error does. Before
``down`` the op moves the HR face; after ``down``, with ``size``, it cuts the crop straight from the native
pixels of a small face, in one interpolation, as an aligner does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from lrfr.core.image import ImageU8
from lrfr.core.landmarks import TEMPLATE, similarity
from lrfr.core.streams import Stream
from lrfr.degrade.ops.base import Op, Params, Span
from lrfr.degrade.ops.resize import MAX_SIDE_PX
from lrfr.degrade.values.distributions import Draw, Law, Normal, Value, tidy
from lrfr.degrade.values.params import Real, Whole, Word

BORDERS = ("black", "edge", "reflect")
FILTERS = ("bilinear", "cubic")
_LANDMARKS = (TEMPLATE - 55.5) / 112  # shares of the side, from the crop's middle
_STANDARD = Normal(0.0, 1.0, (-4.0, 4.0))
_LEAST_SCALE, _MOST_SCALE = 0.25, 4.0
# fixed point: positions in 2^-24 px and weights in 2^-11, so that the bytes are the same on every CPU
_PLACE_BITS, _WEIGHT_BITS = 24, 11
_MOST_SAMPLES = 16
# samples at once: what they need stays in the cache
_BLOCK = 1 << 11


class Misalign(Op):
    """Cut the face again, turned, scaled and shifted as by wrong landmarks.

    Attributes:
        roll: turn of the face in degrees, counter-clockwise as seen.
        scale: size of the face in the new crop over that in a right one.
        shift_x: shift of the face to the right, a share of the side.
        shift_y: shift of the face downwards, a share of the side.
        landmark_px: standard deviation of each coordinate of the five landmarks in pixels of the image as it
            comes to this step; the crop is then what the similarity of the wrong landmarks gives (Umeyama,
            as alignment does), so that roll, scale and shift come together as a detector makes them.
        landmark_share: the same as a share of the side, for an image that is not yet small.
        size: side of the crop in px; without it the image keeps its own.
        border: what lies outside the image: ``black`` as aligners leave it, ``edge`` or ``reflect``.
        filter: how a level between pixels is found: ``bilinear`` (the default), or ``cubic``, the convolution
            of Keys (IEEE Trans. ASSP 29, 1981) with a = -1, which ``Image.transform`` of Pillow uses for
            "bicubic": sharper than the cubics of the resize ops, and not free of ripples on an even slope.

    """

    cost_ms: ClassVar[float] = 1.5
    records_unset: ClassVar[bool] = False
    severity_range: ClassVar[dict[str, Span]] = {"landmark_share": Span(0.0, 0.1)}

    roll: Annotated[Value, Real(-180, 180)] = 0.0
    scale: Annotated[Value, Real(_LEAST_SCALE, _MOST_SCALE)] = 1.0
    shift_x: Annotated[Value, Real(-1, 1)] = 0.0
    shift_y: Annotated[Value, Real(-1, 1)] = 0.0
    landmark_px: Annotated[Value | None, Real(0, 64)] = None
    landmark_share: Annotated[Value | None, Real(0, 0.5)] = None
    size: Annotated[Value | None, Whole(1, MAX_SIDE_PX)] = None
    border: Annotated[Value, Word(BORDERS)] = "black"
    filter: Annotated[Value | None, Word(FILTERS)] = None

    @model_validator(mode="after")
    def _says_something(self) -> Misalign:
        if self.landmark_px is not None and self.landmark_share is not None:
            raise ValueError("give the error of landmarks as landmark_px or as landmark_share, not both")
        if not self.model_fields_set - {"border", "filter"}:
            raise ValueError("give one of roll, scale, shift_x, shift_y, landmark_px, landmark_share, size")
        return self

    def sample(self, draw: Draw) -> Params:
        """Draw the parameters and, where landmarks are wrong, ``errors``: x1, y1 to x5, y5, in px or
        shares as their deviation is.
        """
        params = super().sample(draw)
        if not isinstance(self.filter, Law):
            draw.skip(-1)  # the errors have the slots that they had before there was a filter
        spread = params.get("landmark_px", params.get("landmark_share"))
        if spread is None:
            draw.skip(10)
            return params
        drawn = [_STANDARD.draw(draw.uniform) for _ in range(10)]
        return {**params, "errors": [tidy(spread * float(one)) for one in drawn]}

    @classmethod
    def apply(
        cls, images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
    ) -> list[ImageU8]:
        """Cut each face again (see :class:`~lrfr.degrade.ops.base.Op`)."""
        return [_cut(image, p) for image, p in zip(images, params, strict=True)]


def displacement(params: Params, side_px: int) -> NDArray[np.float64]:
    """Return the ``[2, 3]`` similarity that ``params`` move a face by, in shares of the side from the middle.

    Args:
        params: what :meth:`Misalign.sample` drew.
        side_px: side of the image that the landmarks were found on.

    """
    landmarks = np.eye(2, 3)
    if "errors" in params:
        errors = np.array(params["errors"], np.float64).reshape(5, 2)
        errors = errors / side_px if "landmark_px" in params else errors
        landmarks = similarity(_LANDMARKS + errors, _LANDMARKS)
        size = math.hypot(landmarks[0, 0], landmarks[1, 0])
        landmarks *= min(max(size, _LEAST_SCALE), _MOST_SCALE) / max(size, 1e-9)
    roll_rad = math.radians(params["roll"])
    # rows run downwards, so that a counter-clockwise turn as seen has this sign
    c, s = params["scale"] * math.cos(roll_rad), params["scale"] * math.sin(roll_rad)
    given = np.array([[c, s, params["shift_x"]], [-s, c, params["shift_y"]], [0.0, 0.0, 1.0]])
    moved: NDArray[np.float64] = (given @ np.vstack([landmarks, [0.0, 0.0, 1.0]]))[:2]
    return moved


def _cut(image: ImageU8, params: Params) -> ImageU8:
    height, width = image.shape[:2]
    side = min(height, width)
    out_hw = (params["size"], params["size"]) if "size" in params else (height, width)
    moved = displacement(params, side)
    if out_hw == (height, width) and np.array_equal(moved, np.eye(2, 3)):
        return image
    step = side / min(out_hw)  # px of the image a px of the crop, before the error
    shrink = step / math.hypot(moved[0, 0], moved[1, 0])
    samples = min(max(math.ceil(shrink - 1e-6), 1), _MOST_SAMPLES)
    kind = _CubicSource if params.get("filter") == "cubic" else _Source
    source = kind.of(image, params["border"])
    crop = np.empty((*out_hw, 3), np.uint8)
    rows = max(1, _BLOCK // (out_hw[1] * samples**2))
    for start in range(0, out_hw[0], rows):
        block = range(start, min(start + rows, out_hw[0]))
        source.cut(*_places(moved, (height, width), out_hw, samples, block), crop[start : block.stop])
    return crop


def _places(
    moved: NDArray[np.float64], in_hw: tuple[int, int], out_hw: tuple[int, int], samples: int, rows: range
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return where each sample of some rows of the crop lies in the image, x and y, in units of 2^-24 px."""
    side = min(in_hw)
    step = side / (min(out_hw) * samples)
    # a similarity [[c, s], [-s, c]] turned back; nine digits, as C libraries differ in the last
    c, s, (tx, ty) = moved[0, 0], moved[0, 1], moved[:, 2]
    unit = c * c + s * s
    c, s, shift = c / unit, s / unit, (tidy((c * tx - s * ty) / unit), tidy((s * tx + c * ty) / unit))
    turn, cross = (round(tidy(value) * step * 2 ** (_PLACE_BITS - 1)) for value in (c, s))
    # twice the distance from the middle, a whole number
    u = 2 * np.arange(out_hw[1] * samples, dtype=np.int64) - (out_hw[1] * samples - 1)
    lines = np.arange(rows.start * samples, rows.stop * samples, dtype=np.int64)
    v = 2 * lines[:, None] - (out_hw[0] * samples - 1)
    x0, y0 = (
        round(((extent - 1) / 2 - offset * side) * 2**_PLACE_BITS)
        for extent, offset in zip(in_hw[::-1], shift, strict=True)
    )
    return turn * u - cross * v + x0, cross * u + turn * v + y0


@dataclass(frozen=True)
class _Source:
    """An image to cut from, its channels in numbers that hold two, so that a place is looked up and weighted
    for both at once: red and green (from bit 32) in uint64, blue in uint32, each ``[h * w]``.
    """

    border: str
    height: int
    width: int
    two: NDArray[Any]
    blue: NDArray[Any]

    @classmethod
    def of(cls, image: ImageU8, border: str) -> _Source:
        if border == "black":
            image = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        two = image[..., 0].astype(np.uint64) | image[..., 1].astype(np.uint64) << 32
        height, width = image.shape[:2]
        return cls(border, height, width, two.ravel(), image[..., 2].astype(np.uint32).ravel())

    def cut(self, x: NDArray[Any], y: NDArray[Any], crop: ImageU8) -> None:
        """Fill some rows of a crop with the means of the samples at places in 2^-24 px."""
        if self.border == "black":
            x, y = x + (1 << _PLACE_BITS), y + (1 << _PLACE_BITS)
        columns, rows = x >> _PLACE_BITS, y >> _PLACE_BITS
        weights = tuple((p >> (_PLACE_BITS - _WEIGHT_BITS)) & ((1 << _WEIGHT_BITS) - 1) for p in (x, y))
        left, right = (_inside(columns + k, self.width, self.border) for k in (0, 1))
        top, bottom = (_inside(rows + k, self.height, self.border) * self.width for k in (0, 1))
        corners = (top + left, top + right, bottom + left, bottom + right)
        samples = x.shape[0] // crop.shape[0]
        two = _summed(_mixed(self.two, corners, weights, 32), samples)
        crop[..., 0], crop[..., 1] = _rounded(two & 0xFFFF, samples), _rounded(two >> 32, samples)
        crop[..., 2] = _rounded(_summed(_mixed(self.blue, corners, weights, 0), samples), samples)


def _mixed(
    lane: NDArray[Any], corners: tuple[NDArray[Any], ...], weights: tuple[NDArray[Any], ...], bits: int
) -> NDArray[Any]:
    """Return the rounded mean of four corners by whole weights, of the channels at bit 0 and ``bits``."""
    one = 1 << _WEIGHT_BITS
    wx, wy = (np.asarray(weight, lane.dtype) for weight in weights)
    upper_left, upper_right, lower_left, lower_right = (lane.take(corner) for corner in corners)
    upper = upper_left * (one - wx) + upper_right * wx
    lower = lower_left * (one - wx) + lower_right * wx
    half, most = (value | value << bits for value in (1 << (2 * _WEIGHT_BITS - 1), 255))
    # 30 bits a channel at most: none runs over into the next
    levels: NDArray[Any] = upper * (one - wy) + lower * wy + half
    return levels >> (2 * _WEIGHT_BITS) & most


@dataclass(frozen=True)
class _CubicSource:
    """As :class:`_Source` for the cubic filter, whose sums fall below 0: channels one by one, int32
    ``[3, h * w]``.
    """

    border: str
    height: int
    width: int
    flat: NDArray[Any]

    @classmethod
    def of(cls, image: ImageU8, border: str) -> _CubicSource:
        if border == "black":
            image = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        height, width = image.shape[:2]
        return cls(border, height, width, np.ascontiguousarray(image.reshape(-1, 3).T, np.int32))

    def cut(self, x: NDArray[Any], y: NDArray[Any], crop: ImageU8) -> None:
        """Fill some rows of a crop with the means of the samples at places in 2^-24 px."""
        if self.border == "black":
            x, y = x + (1 << _PLACE_BITS), y + (1 << _PLACE_BITS)
        across, down = (_cubic_weights(p) for p in (x, y))
        columns, rows = x >> _PLACE_BITS, y >> _PLACE_BITS
        at = [_inside(columns + k, self.width, self.border) for k in (-1, 0, 1, 2)]
        levels = np.full((3, *x.shape), 1 << (2 * _WEIGHT_BITS - 1), np.int64)
        for k, weight in zip((-1, 0, 1, 2), down, strict=True):
            start = _inside(rows + k, self.height, self.border) * self.width
            taps = zip(at, across, strict=True)
            line = sum(self.flat.take(start + column, axis=1) * share for column, share in taps)
            levels += line * weight.astype(np.int64)
        samples = x.shape[0] // crop.shape[0]
        for k, channel in enumerate(np.clip(levels >> (2 * _WEIGHT_BITS), 0, 255)):
            crop[..., k] = _rounded(_summed(channel, samples), samples)


def _cubic_weights(place: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the weights, int32 in 2^-11, of the four pixels around places in 2^-24 px; they sum to one."""
    one, bits = 1 << _WEIGHT_BITS, 2 * _WEIGHT_BITS
    part = (place >> (_PLACE_BITS - _WEIGHT_BITS)) & (one - 1)
    square, cube = part * part * one, part * part * part
    first = (2 * square - cube - (part << bits)) >> bits
    third = (square - cube + (part << bits)) >> bits
    fourth = (cube - square) >> bits
    weights = (first, one - first - third - fourth, third, fourth)
    return [weight.astype(np.int32) for weight in weights]


def _summed(levels: NDArray[Any], samples: int) -> NDArray[Any]:
    """Return the sum of all samples of each px: no frequency above the crop's own folds back."""
    if samples == 1:
        return levels
    height, width = levels.shape[0] // samples, levels.shape[1] // samples
    parts = levels.reshape(height, samples, width, samples)
    return np.asarray(parts.sum(axis=(1, 3), dtype=levels.dtype))


def _rounded(sums: NDArray[Any], samples: int) -> NDArray[Any]:
    return (sums + samples**2 // 2) // samples**2


def _inside(index: NDArray[Any], extent: int, border: str) -> NDArray[Any]:
    if border == "reflect" and extent > 1:
        folded = np.abs(index) % (2 * extent - 2)
        return np.asarray(np.minimum(folded, 2 * extent - 2 - folded))
    return np.asarray(np.clip(index, 0, extent - 1))
