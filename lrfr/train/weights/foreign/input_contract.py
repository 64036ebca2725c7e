"""What a foreign model takes: size, layout, channel order and range of its input."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from lrfr.core.errors import DataError, SpecError, did_you_mean

Three = tuple[float, float, float]
Origin = Literal["stated", "metadata", "graph", "assumed"]
METADATA_KEY = "lrfr.input"
MAX_SIDE_PX = 1024
# name -> mean and standard deviation on the scale 0 .. 255, in the order R, G, B
RANGES: dict[str, tuple[Three, Three]] = {
    "-1,1": ((127.5,) * 3, (127.5,) * 3),
    "0,1": ((0.0,) * 3, (255.0,) * 3),
    "0,255": ((0.0,) * 3, (1.0,) * 3),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


@dataclass(frozen=True)
class InputContract:
    """The input of a recognizer: ``(x - mean) / std`` of faces x in 0 .. 255.

    Attributes:
        size_px: side of the square face.
        layout: ``nchw`` or ``nhwc``.
        channels: order of the channels, ``rgb`` or ``bgr``.
        mean: of each channel on the scale 0 .. 255, in the order R, G, B whatever ``channels`` is.
        std: of each channel on that scale, none of them 0.

    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    size_px: int = 112
    layout: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: Three = RANGES["-1,1"][0]
    std: Three = RANGES["-1,1"][1]

    def __post_init__(self) -> None:
        """Refuse what no face can be brought to.

        Raises:
            SpecError: a side or a standard deviation cannot be.

        """
        if not 1 <= self.size_px <= MAX_SIDE_PX or min(map(abs, self.std)) < 1e-6:
            raise SpecError(
                f"no input of a recognizer: {self.size_px} px, std {list(self.std)}",
                hint=f"1 to {MAX_SIDE_PX} px, and no standard deviation of 0",
            )

    def __str__(self) -> str:
        mean, std = _short(self.mean), _short(self.std)
        return f"{self.channels.upper()}, {self.size_px} px, {self.layout.upper()}, (x - {mean}) / {std}"

    @property
    def range_name(self) -> str:
        """A name of :data:`RANGES`, or ``mean/std``, as :func:`parse_range` reads it."""
        named = [name for name, pair in RANGES.items() if pair == (self.mean, self.std)]
        return named[0] if named else f"{_short(self.mean)}/{_short(self.std)}"

    def apply(self, faces_nhwc: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Return RGB faces in 0 .. 255, ``[N, H, W, 3]``, as the model takes them: float32, contiguous."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        x_nhwc = (faces_nhwc.astype(np.float32) - mean) / std
        if self.channels == "bgr":
            x_nhwc = x_nhwc[..., ::-1]
        return np.ascontiguousarray(x_nhwc.transpose(0, 3, 1, 2) if self.layout == "nchw" else x_nhwc)

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form, as cards, ``run.json`` and ONNX metadata hold it."""
        plain: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def read(cls, data: object, file: str) -> Self:
        """Return the contract of its JSON form, found in ``file``.

        Raises:
            DataError: it is none.

        """
        try:
            return TypeAdapter(cls).validate_python(data)
        except (ValidationError, SpecError) as error:
            fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.message
            raise DataError(f"its input contract is damaged: {fault}", file=file) from None


@dataclass(frozen=True)
class Stated:
    """What a person says of a foreign model's input; what is None is read from the file or assumed.

    Attributes:
        input_range: as :func:`parse_range` takes it.
        bgr: whether the channels are in the order B, G, R.

    """

    input_range: str | None = None
    bgr: bool | None = None

    def over(self, found: InputContract) -> InputContract:
        """Return what was found in a file, with what is stated here put in its place.

        Raises:
            SpecError: the range is none.

        """
        if self.input_range is not None:
            mean, std = parse_range(self.input_range)
            found = dataclasses.replace(found, mean=mean, std=std)
        if self.bgr is not None:
            found = dataclasses.replace(found, channels="bgr" if self.bgr else "rgb")
        return found


def parse_range(text: str) -> tuple[Three, Three]:
    """Return mean and standard deviation, on the scale 0 .. 255, of a range as people write it.

    Args:
        text: a name of :data:`RANGES`, another ``low,high``, or ``mean/std`` with one number or three (R, G,
            B) each: ``127/128``, ``104,117,123/1``.

    Raises:
        SpecError: it is none of these.

    """
    text = text.replace(" ", "")
    if text in RANGES:
        return RANGES[text]
    try:
        left, slash, right = text.partition("/")
        if slash:
            mean, std = _three(left), _three(right)
        else:
            low, high = map(float, text.split(","))
            # low = (0 - mean) / std and high = (255 - mean) / std
            std = _three(str(255 / (high - low)))
            mean = _three(str(-low * std[0]))
    except (ValueError, ZeroDivisionError):
        raise SpecError(
            f"'{text}' is no input range",
            hint=f"{did_you_mean(text, RANGES)}; low,high such as -1,1; or mean/std such as 127/128",
        ) from None
    if not np.isfinite([*mean, *std]).all() or min(map(abs, std)) < 1e-6:
        raise SpecError(f"'{text}' is no input range", hint="finite numbers, and no standard deviation of 0")
    return mean, std


def from_metadata(found: Mapping[str, str], file: str) -> InputContract | None:
    """Return the contract in a model's metadata, None if it states none.

    Raises:
        DataError: what stands there is damaged.

    """
    text = found.get(METADATA_KEY)
    return None if text is None else InputContract.read(json_of(text, METADATA_KEY, file), file)


def json_of(text: str, key: str, file: str) -> object:
    """Return what stands in an entry of a model's metadata.

    Raises:
        DataError: it is no JSON.

    """
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError(f"the metadata '{key}' is no JSON", file=file) from None
    return found


def _three(text: str) -> Three:
    numbers = [float(word) for word in text.split(",")]
    if len(numbers) == 1:
        numbers *= 3
    first, second, third = numbers
    return first, second, third


def _short(numbers: Sequence[float]) -> str:
    words = [f"{number:g}" for number in numbers]
    return words[0] if len(set(words)) == 1 else ",".join(words)
