"""Whether specs can be run, where two of them differ, and whether their pixels do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from lrfr.core.errors import LrfrError
from lrfr.degrade.inspect.trial import try_pipeline
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec
from lrfr.degrade.spec.step_cost import ops_of


@dataclass(frozen=True)
class Checked:
    """A spec that can be run here.

    Attributes:
        spec: its name.
        digest: of what it means.
        cost_ms: expected milliseconds of one 112 px image on one core.
        portable: whether its pixels are the same on every machine.
        lowers: the quality components of ISO/IEC 29794-5 that its ops lower.

    """

    spec: str
    digest: str
    cost_ms: float
    portable: bool
    lowers: tuple[str, ...]

    def row(self) -> list[object]:
        """Return its cells in a table."""
        return [self.spec, self.digest[:12], self.cost_ms, self.portable, ", ".join(self.lowers) or "-"]


def check_specs(
    sources: Iterable[str], overrides: Sequence[str] = ()
) -> tuple[list[Checked], list[LrfrError]]:
    """Open specs with all that they need, try each on faces; return those that can be run, and what is wrong
    with others.
    """
    found, faults = [], []
    for source in sources:
        try:
            spec = load_spec(source, overrides)
            pipeline = Pipeline(spec)
            try_pipeline(pipeline)
        except LrfrError as error:
            faults.append(error)
        else:
            cost_ms = round(pipeline.cost_ms, 3)
            ops = [step.op for step in ops_of(spec.steps) if step.op is not None]
            lowers = tuple(dict.fromkeys(op.iso for op in ops if op.iso is not None))
            found.append(Checked(spec.name, spec.digest, cost_ms, pipeline.portable, lowers))
    return found, faults


@dataclass(frozen=True)
class Difference:
    """A place where two specs differ: the values of both, None where there is none."""

    place: str
    a: object
    b: object


@dataclass(frozen=True)
class Comparison:
    """Whether two specs give the same pixels, and every place where they differ."""

    same_pixels: bool
    differences: tuple[Difference, ...]


def compare(first: str, second: str) -> Comparison:
    """Compare two specs (files, presets or texts) with all defaults filled in.

    Raises:
        SpecError: one of them is wrong.

    """
    one, other = load_spec(first), load_spec(second)
    places = tuple(differences(one.as_json(), other.as_json()))
    return Comparison(one.pixel_digest == other.pixel_digest, places)


def differences(one: object, other: object, place: str = "") -> Iterator[Difference]:
    """Yield the places where two plain values differ; lists that hold mappings are gone through."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from differences(one.get(key), other.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(one, list) and isinstance(other, list) and _has_mappings([*one, *other]):
        for index, (a, b) in enumerate(zip_longest(one, other)):
            yield from differences(a, b, f"{place}[{index}]")
    elif one != other:
        yield Difference(place, one, other)


def _has_mappings(items: list[object]) -> bool:
    return any(isinstance(item, dict) for item in items)
