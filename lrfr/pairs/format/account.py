"""What became of everything that was seen on the way from a source to a view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from lrfr.pairs.format.sealed import STRICT

Word = Annotated[str, Field(max_length=64)]
Number = Annotated[int, Field(ge=0, le=2**48)]
Counts = Mapping[Word, Number]


@dataclass(frozen=True)
class Account:
    """Everything seen and its end; the parts always add up to what was seen.

    Attributes:
        seen: by unit: ``file``, ``folder``, ``line``, ``row``, ``member``, ``record``, ``image``, ``face``.
        used: by unit; of folders those that were walked, of other things also labels that were read.
        refused: by reason code.
        skipped: by reason.
        unit: what a face is.

    """

    seen: Counts = field(default_factory=dict)
    used: Counts = field(default_factory=dict)
    refused: Counts = field(default_factory=dict)
    skipped: Counts = field(default_factory=dict)
    unit: Word = "face"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        ends = sum(map(total, (self.used, self.refused, self.skipped)))
        if total(self.seen) != ends:
            raise AssertionError(f"{total(self.seen)} things were seen, {ends} have an end: {self}")

    def told(self) -> str:
        """Return the account on one line: what was seen, and every end."""
        parts = [f"{_listed(self.seen)} seen", f"{_listed(self.used)} used"]
        parts += [f"refused {code} {number}" for code, number in sorted(self.refused.items())]
        parts += [f"skipped {reason} {number}" for reason, number in sorted(self.skipped.items())]
        return "; ".join(parts)

    def without(self, left_out: Mapping[str, int]) -> Account:
        """Return the account where some of the used faces are skipped after all, by reason."""
        found = {name: count for name, count in left_out.items() if count}
        used = {**self.used, self.unit: self.used.get(self.unit, 0) - total(found)}
        return replace(self, used=used, skipped={**self.skipped, **found})


def total(counts: Mapping[str, int]) -> int:
    """Return the sum of some counts."""
    return sum(counts.values())


def _listed(counts: Mapping[str, int]) -> str:
    return (
        ", ".join(
            f"{number} {unit}{'' if number == 1 else 's'}"
            for unit, number in sorted(counts.items())
            if number
        )
        or "nothing"
    )
