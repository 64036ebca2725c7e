"""Value literals of the spec language: a parameter is a scalar or a law that is drawn once for every face.

In YAML: ``7``, ``{uniform: [0.2, 3]}``, ``{log_uniform: [16, 128]}``, ``{square_uniform: [0, 3]}``,
``{randint: [30, 95]}`` (both ends included), ``{choice: [7, 14, 20], weights: [1, 1, 2]}``, ``{normal: [0,
1], clip: [-2, 2]}``, ``{chi: 10, scale: 1, clip: [0, 9]}``.

Every draw is the inverse distribution function of uniform slots, so it needs no generator state, and drawn
reals are rounded to nine significant digits, so a last-bit difference between two C libraries cannot reach a
pixel or a trace.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from pydantic import BaseModel

from lrfr.core.streams import Stream

Scalar = float | int | str | bool
NextUniform = Callable[[], float]

_NORMAL = NormalDist()
_TINY = 2.0**-54


def tidy(x: float) -> float:
    """Round a real to nine significant digits."""
    return float(f"{x:.9g}")


def _standard_normal(u: float) -> float:
    return _NORMAL.inv_cdf(max(u, _TINY))


def _cut(x: float, clip: tuple[float, float]) -> float:
    return min(max(x, clip[0]), clip[1])


class Law:
    """Base of the laws; not an ABC, whose instance checks are slow and would be made for every value of every
    face.
    """

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take as many uniform slots as the law needs and return a value."""
        raise NotImplementedError

    def extent(self) -> tuple[float, float]:
        """Return the smallest and largest value."""
        raise NotImplementedError

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        raise NotImplementedError


@dataclass(frozen=True)
class Uniform(Law):
    """Uniform real in [low, high)."""

    low: float
    high: float

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take one slot."""
        return tidy(self.low + (self.high - self.low) * next_u())

    def extent(self) -> tuple[float, float]:
        """Return the smallest and largest value."""
        return self.low, self.high

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True)
class LogUniform(Law):
    """Real in [low, high) whose logarithm is uniform; low > 0."""

    low: float
    high: float

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take one slot."""
        return tidy(self.low * math.exp(math.log(self.high / self.low) * next_u()))

    def extent(self) -> tuple[float, float]:
        """Return the smallest and largest value."""
        return self.low, self.high

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"log_uniform": [self.low, self.high]}


@dataclass(frozen=True)
class SquareUniform(Law):
    """Real in [low, high) whose square is uniform, as the width of a Gaussian whose variance is; low >= 0."""

    low: float
    high: float

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take one slot."""
        return tidy(math.sqrt(self.low**2 + (self.high**2 - self.low**2) * next_u()))

    def extent(self) -> tuple[float, float]:
        """Return the smallest and largest value."""
        return self.low, self.high

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"square_uniform": [self.low, self.high]}


@dataclass(frozen=True)
class RandInt(Law):
    """Uniform integer in [low, high], both ends included."""

    low: int
    high: int

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take one slot."""
        return self.low + int(next_u() * (self.high - self.low + 1))

    def extent(self) -> tuple[float, float]:
        """Return the smallest and largest value."""
        return self.low, self.high

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"randint": [self.low, self.high]}


@dataclass(frozen=True)
class Choice(Law):
    """One of ``options`` with probability proportional to ``weights`` (never cumulative)."""

    options: tuple[Scalar, ...]
    weights: tuple[float, ...]

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take one slot."""
        return self.options[pick(self.weights, next_u())]

    def extent(self) -> tuple[float, float]:
        """Return the smallest and largest number among the options."""
        numbers = [float(option) for option in self.options]
        return min(numbers), max(numbers)

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"choice": list(self.options), "weights": list(self.weights)}


@dataclass(frozen=True)
class Normal(Law):
    """Normal law, cut (not redrawn) to ``clip``."""

    mean: float
    std: float
    clip: tuple[float, float]

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take one slot."""
        return tidy(_cut(self.mean + self.std * _standard_normal(next_u()), self.clip))

    def extent(self) -> tuple[float, float]:
        """Return the clip."""
        return self.clip

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"normal": [self.mean, self.std], "clip": list(self.clip)}


@dataclass(frozen=True)
class Chi(Law):
    """Norm of a vector of ``df`` independent normals of standard deviation ``scale``, cut to ``clip``."""

    df: int
    scale: float
    clip: tuple[float, float]

    def draw(self, next_u: NextUniform) -> Scalar:
        """Take ``df`` slots."""
        norm = math.sqrt(math.fsum(_standard_normal(next_u()) ** 2 for _ in range(self.df)))
        return tidy(_cut(self.scale * norm, self.clip))

    def extent(self) -> tuple[float, float]:
        """Return the clip."""
        return self.clip

    def as_json(self) -> Mapping[str, object]:
        """Return the literal as it stands in a spec."""
        return {"chi": self.df, "scale": self.scale, "clip": list(self.clip)}


Value = Scalar | Law


def is_law(value: object) -> bool:
    """Return whether ``value`` is drawn (a law) rather than fixed (a scalar)."""
    return isinstance(value, Law)


def value_json(value: Any) -> Any:
    """Return a parameter as it stands in a spec: a law as its literal, a group of settings as a mapping."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return value.as_json() if isinstance(value, Law) else value


def pick(weights: tuple[float, ...], u: float) -> int:
    """Return the index that the uniform number ``u`` selects among ``weights``."""
    sums = _running(weights)
    return bisect.bisect_right(sums, u * sums[-1], 0, len(sums) - 1)


@functools.lru_cache(maxsize=1024)
def _running(weights: tuple[float, ...]) -> list[float]:
    return list(itertools.accumulate(weights))


class Draw:
    """Hands out one stream's parameter slots in order: slot 0 is the step's gate, so the first draw is slot
    1.

    A scalar takes a slot too: replacing ``7`` by ``{uniform: [5, 9]}`` leaves the draws of the step's later
    parameters alone.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._slot = 0

    def uniform(self) -> float:
        """Return the next uniform number in [0, 1)."""
        self._slot = slot = self._slot + 1
        return self.stream.u(slot)

    def coin(self, p: float) -> bool:
        """Return True with probability ``p``."""
        return self.uniform() < p

    def order(self, count: int, in_order: Sequence[int] = ()) -> list[int]:
        """Return a uniformly random order of ``range(count)``; the members of ``in_order`` share out the
        places that they took in that order.
        """
        keys = [self.uniform() for _ in range(count)]
        order = sorted(range(count), key=lambda index: keys[index])
        members = iter(in_order)
        return [next(members) if index in in_order else index for index in order]

    def skip(self, count: int) -> None:
        """Pass over the slots of ``count`` scalars."""
        self._slot += count

    def __call__(self, value: Value | None) -> Any:
        """Return the concrete value of a scalar or law."""
        if isinstance(value, Law):
            return value.draw(self.uniform)
        self.skip(1)
        return value
