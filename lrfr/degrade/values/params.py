"""Parameter fields of ops: the check that turns what stands in a spec into a
:data:`~lrfr.degrade.values.distributions.Value`.

Used as ``sigma: Annotated[Value, Real(0.05, 50)]``; pydantic calls the check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lrfr.core.errors import did_you_mean
from lrfr.degrade.values.distributions import (
    Chi,
    Choice,
    Law,
    LogUniform,
    Normal,
    RandInt,
    Scalar,
    SquareUniform,
    Uniform,
    Value,
)

MAX_CHOICES = 1000
MAX_CHI_DF = 100
LAWS = {
    "uniform": (),
    "log_uniform": (),
    "square_uniform": (),
    "randint": (),
    "choice": ("weights",),
    "normal": ("clip",),
    "chi": ("scale", "clip"),
}


class _Field:
    """Base of the fields: ``check`` is what pydantic calls, ``schema`` what ``lrfr spec schema`` prints."""

    def check(self, raw: Any) -> Any:
        raise NotImplementedError

    def schema(self) -> Mapping[str, object]:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)


def _number(raw: Any, what: str = "a number") -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError(f"expected {what}, got {shown(raw)}")
    try:
        finite = math.isfinite(raw)
    except OverflowError:
        finite = False
    if not finite or abs(raw) > 1e15:
        raise ValueError(f"expected {what} of ordinary size, got {shown(raw)}")
    return raw


def _whole(raw: Any) -> int:
    if isinstance(raw, float) and math.isfinite(raw) and raw == int(raw):
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"expected a whole number, got {shown(raw)}")
    return int(_number(raw, "a whole number"))


def shown(raw: Any) -> str:
    """Return a short form of any value for an error message."""
    text = f"'{raw}'" if isinstance(raw, str) else ("nothing" if raw is None else str(raw))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _pair(raw: Any, law: str, number: Callable[[Any], Any]) -> tuple[Any, Any]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise ValueError(f"expected {law}: [low, high], got {shown(raw)}")
    low, high = number(raw[0]), number(raw[1])
    if low > high:
        raise ValueError(f"{law}: low {low} is above high {high}")
    return low, high


def _choice(raw: Mapping[str, Any], item: Callable[[Any], Scalar]) -> Choice:
    options = raw["choice"]
    if not isinstance(options, list) or not 1 <= len(options) <= MAX_CHOICES:
        raise ValueError(f"expected choice: a list of 1 to {MAX_CHOICES} values, got {shown(options)}")
    return Choice(tuple(item(option) for option in options), weights_of(raw.get("weights"), len(options)))


def weights_of(raw: Any, count: int) -> tuple[float, ...]:
    """Check a list of weights (None: all equal); they are shares of a whole, never cumulative."""
    if raw is None:
        return (1.0,) * count
    if not isinstance(raw, list) or len(raw) != count:
        got = f"{len(raw)} weights" if isinstance(raw, list) else shown(raw)
        raise ValueError(f"expected {count} weights, one for each choice, got {got}")
    weights = tuple(float(_number(weight, "a weight")) for weight in raw)
    if min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights must be >= 0 and not all 0, got {shown(raw)}")
    return weights


def _law_name(raw: Mapping[str, Any]) -> str:
    names = [key for key in raw if key in LAWS]
    if len(names) != 1:
        raise ValueError(f"expected one of {', '.join(LAWS)}, got the keys {shown(list(raw))}")
    for key in raw:
        if key not in (names[0], *LAWS[names[0]]):
            raise ValueError(
                f"unknown key '{key}' beside '{names[0]}'; {did_you_mean(key, [names[0], *LAWS[names[0]]])}"
            )
    return names[0]


@dataclass(frozen=True)
class Real(_Field):
    """A real number or law inside [low, high]."""

    low: float = -math.inf
    high: float = math.inf

    def _range(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"

    def _scalar(self, raw: Any) -> Scalar:
        return float(_number(raw))

    def _inside(self, extent: tuple[float, float]) -> None:
        if extent[0] < self.low or extent[1] > self.high:
            got = f"{extent[0]:g}" if extent[0] == extent[1] else f"{extent[0]:g} to {extent[1]:g}"
            raise ValueError(f"expected a value in {self._range()}, got {got}")

    def check(self, raw: Any) -> Value:
        """Return the value, or raise ``ValueError`` with what was expected."""
        if isinstance(raw, Law):
            raw = raw.as_json()
        if not isinstance(raw, dict):
            scalar = self._scalar(raw)
            self._inside((float(scalar), float(scalar)))
            return scalar
        law = self._law(_law_name(raw), raw)
        self._inside(law.extent())
        return law

    def _law(self, name: str, raw: Mapping[str, Any]) -> Law:
        if name == "choice":
            return _choice(raw, self._scalar)
        if name == "randint":
            return RandInt(*_pair(raw[name], name, _whole))
        if name == "normal":
            return self._normal(raw)
        if name == "chi":
            return self._chi(raw)
        low, high = _pair(raw[name], name, lambda x: float(_number(x)))
        if name == "uniform":
            return Uniform(low, high)
        if low < 0 or (low == 0 and name == "log_uniform"):
            raise ValueError(f"{name} needs low {'>' if name == 'log_uniform' else '>='} 0, got {low:g}")
        return LogUniform(low, high) if name == "log_uniform" else SquareUniform(low, high)

    def _clip(self, raw: Mapping[str, Any]) -> tuple[float, float]:
        if "clip" in raw:
            return _pair(raw["clip"], "clip", lambda x: float(_number(x)))
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("this parameter has no natural range: add clip: [low, high]")
        return float(self.low), float(self.high)

    def _normal(self, raw: Mapping[str, Any]) -> Normal:
        spread = raw["normal"]
        if not isinstance(spread, list) or len(spread) != 2:
            raise ValueError(f"expected normal: [mean, std], got {shown(spread)}")
        mean, std = float(_number(spread[0])), float(_number(spread[1]))
        if std < 0:
            raise ValueError(f"normal needs std >= 0, got {std:g}")
        return Normal(mean, std, self._clip(raw))

    def _chi(self, raw: Mapping[str, Any]) -> Chi:
        df = _whole(raw["chi"])
        if not 1 <= df <= MAX_CHI_DF:
            raise ValueError(f"expected chi: degrees of freedom in [1, {MAX_CHI_DF}], got {df}")
        scale = float(_number(raw.get("scale", 1.0)))
        if scale < 0:
            raise ValueError(f"chi needs scale >= 0, got {scale:g}")
        return Chi(df, scale, self._clip(raw))

    def schema(self) -> Mapping[str, object]:
        """Return the JSON Schema: a number in the range, or any law."""
        scalar = {"type": "number", **_limits(self.low, self.high)}
        return {"anyOf": [scalar, {"$ref": "#/$defs/Distribution"}]}


def _limits(low: float, high: float) -> dict[str, float]:
    limits = {"minimum": low, "maximum": high}
    return {key: value for key, value in limits.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Whole(Real):
    """A whole number or a law of whole numbers (``randint``, ``choice``) inside [low, high]."""

    def _scalar(self, raw: Any) -> Scalar:
        return _whole(raw)

    def _law(self, name: str, raw: Mapping[str, Any]) -> Law:
        if name not in {"randint", "choice"}:
            raise ValueError(f"expected a whole number, randint or choice, got {name}")
        return super()._law(name, raw)

    def schema(self) -> Mapping[str, object]:
        """Return the JSON Schema: an integer in the range, or a law of integers."""
        scalar = {"type": "integer", **_limits(self.low, self.high)}
        return {"anyOf": [scalar, {"$ref": "#/$defs/Distribution"}]}


@dataclass(frozen=True)
class Word(_Field):
    """One of ``words``, or a ``choice`` among them."""

    words: tuple[str, ...]

    def check(self, raw: Any) -> Value:
        """Return the word or choice, or raise ``ValueError`` with what was expected."""
        if isinstance(raw, Law):
            raw = raw.as_json()
        if isinstance(raw, dict):
            if _law_name(raw) != "choice":
                raise ValueError("expected a word or choice")
            return _choice(raw, self._word)
        return self._word(raw)

    def _word(self, raw: Any) -> str:
        # YAML reads 420 as a number; a word written with digits is still a word
        word = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        if not isinstance(word, str) or word not in self.words:
            raise ValueError(
                f"expected one of {', '.join(self.words)}, got {shown(raw)}; "
                f"{did_you_mean(shown(raw), self.words)}"
            )
        return word

    def schema(self) -> Mapping[str, object]:
        """Return the JSON Schema: one of the words, or a choice."""
        return {"anyOf": [{"enum": list(self.words)}, {"$ref": "#/$defs/Distribution"}]}


@dataclass(frozen=True)
class License(_Field):
    """Terms of use of the faces: one line of text, or a mapping from the kind of source to such a line."""

    max_chars: int = 500

    def check(self, raw: Any) -> str | dict[str, str]:
        """Return the terms, or raise ``ValueError`` with what was expected."""
        if isinstance(raw, dict) and raw:
            return {kind: self._line(text) for kind, text in raw.items()}
        return self._line(raw)

    def _line(self, raw: Any) -> str:
        if not isinstance(raw, str) or not raw.strip() or not raw.isprintable() or len(raw) > self.max_chars:
            raise ValueError(
                f"expected one line of text of at most {self.max_chars} characters, or a mapping of "
                f"sources to such lines, got {shown(raw)}"
            )
        return raw

    def schema(self) -> Mapping[str, object]:
        """Return the JSON Schema: a text, or an object of texts."""
        line = {"type": "string", "minLength": 1, "maxLength": self.max_chars}
        return {"anyOf": [line, {"type": "object", "minProperties": 1, "additionalProperties": line}]}


_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
LAW_SCHEMA: Mapping[str, object] = {
    "description": "A law that is drawn once for every face.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "uniform": _PAIR,
        "log_uniform": {**_PAIR, "items": {"type": "number", "exclusiveMinimum": 0}},
        "square_uniform": {**_PAIR, "items": {"type": "number", "minimum": 0}},
        "randint": {**_PAIR, "items": {"type": "integer"}},
        "choice": {"type": "array", "minItems": 1, "maxItems": MAX_CHOICES},
        "weights": {"type": "array", "items": {"type": "number", "minimum": 0}},
        "normal": _PAIR,
        "chi": {"type": "integer", "minimum": 1, "maximum": MAX_CHI_DF},
        "scale": {"type": "number", "minimum": 0},
        "clip": _PAIR,
    },
    "oneOf": [{"required": [name]} for name in LAWS],
}
