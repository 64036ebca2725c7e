"""What a store writes down about its views: what each shows, and where its faces came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from lrfr.pairs.format.manifests import Count, Id, Sha256, Text, Up
from lrfr.pairs.format.sealed import STRICT, Manifest


@dataclass(frozen=True)
class VariantRef:
    """A degraded variant in a view.

    Attributes:
        weight: how often it is shown, against the others.
        spec: the spec's name, for people.
        spec_digest: of the whole spec.
        variant: number of the draw.
        up: how it is brought to the network's input size when read.
        license: terms that the spec states: a line, or one for each kind of source.

    """

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    spec: Text
    spec_digest: Sha256
    variant: Count
    up: Up
    license: Text | Mapping[str, Text] | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class RowFilter:
    """Which rows a view keeps: of identities with at least ``min_per_id`` rows, of these identities (None
    for all), of this split ("" for all).
    """

    min_per_id: Count = 0
    ids: tuple[Text, ...] | None = None
    split: Text = ""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class ViewPart:
    """One part of a view: a base with its degraded variants, none of which ever changes.

    Attributes:
        base: id of the base.
        lr: ids of its variants, in the order of the view's.
        mask: sha256 of the file in ``masks/`` that says which rows it shows; None for all.

    """

    base: Id
    lr: Annotated[tuple[Id, ...], Field(max_length=10_000)]
    mask: Sha256 | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class View(Manifest):
    """What an experiment trains on: some rows of some parts and some of their degraded variants.

    Attributes:
        name: for people, in no id.
        id: of what it shows: its rows, variants, weights (see :func:`lrfr.pairs.views.view_id`).
        parts: where its rows lie; in no id.
        variants: none for HR alone.
        filter: which rows.
        former: ids that the same view had under older versions of lrfr.
        holdout: share of the identities held out of the split ``train``, in no id.

    """

    kind: ClassVar[str] = "view"
    later: ClassVar[frozenset[str]] = frozenset({"holdout"})
    name: Text
    id: Sha256
    parts: Annotated[tuple[ViewPart, ...], Field(min_length=1, max_length=100_000)]
    variants: Annotated[tuple[VariantRef, ...], Field(max_length=10_000)]
    filter: RowFilter
    former: tuple[Sha256, ...] = ()
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    sealed: Text = field(default="", compare=False)

    def __post_init__(self) -> None:
        if any(len(part.lr) != len(self.variants) for part in self.parts):
            raise ValueError("every part needs a store for each variant of the view")

    @property
    def digest(self) -> str:
        """The view's id, as runs and results name it."""
        return self.id

    @property
    def stores(self) -> tuple[str, ...]:
        """The ids of the bases and variants that it needs."""
        return tuple(key for part in self.parts for key in (part.base, *part.lr))

    @classmethod
    def settled(cls, value: dict[str, object]) -> dict[str, object]:
        """Bring a view of one base, of before the layout was settled, to its final form."""
        refs = value.get("variants")
        if "base" not in value or not isinstance(refs, list):
            return value
        kept = [{name: item for name, item in ref.items() if name != "action"} for ref in refs]
        part = {"base": value["base"], "lr": [ref.get("action") for ref in refs]}
        rest = {name: item for name, item in value.items() if name != "base"}
        return rest | {"variants": kept, "parts": [part]}


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


@dataclass(frozen=True)
class EarlierReport:
    """What :class:`SourceReport` says of one source."""

    source: Mapping[str, object]
    refused: Mapping[str, Count]
    flagged: Mapping[str, Count]
    seen: Count
    account: Account = field(default_factory=Account)

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class SourceReport(Manifest):
    """Where the faces of a view came from and what was refused on the way; for people, and hashed into
    nothing.

    Attributes:
        source: kind and parameters.
        refused: number of refused faces by reason.
        flagged: number of remarked faces by remark.
        seen: number of faces looked at, with what should have been one.
        account: everything that was seen and its end; empty in reports of an older lrfr. Of a view that was
            extended it ends at the store, for the view's filter leaves rows of all sources out.
        earlier: the reports on the sources that a grown view had before.
        lists: sha256 of the list of refused faces; while another one takes its place, of both ("" for none).

    """

    kind: ClassVar[str] = "report"
    later: ClassVar[frozenset[str]] = frozenset({"lists"})
    source: Mapping[str, object]
    refused: Mapping[str, Count]
    flagged: Mapping[str, Count]
    seen: Count
    account: Account = field(default_factory=Account)
    earlier: tuple[EarlierReport, ...] = ()
    lists: tuple[Text, ...] = ()
    sealed: Text = field(default="", compare=False)

    @property
    def own(self) -> EarlierReport:
        """What is said of the source that came last."""
        return EarlierReport(self.source, self.refused, self.flagged, self.seen, self.account)

    @property
    def told(self) -> tuple[EarlierReport, ...]:
        """What is said of every source, the last one last."""
        return (*self.earlier, self.own)


@dataclass(frozen=True)
class Moved:
    """What became of a view, base or variant when rows were forgotten.

    Attributes:
        kind: ``view``, ``base`` or ``lr``.
        old: its id.
        new: what stands in its place; "" where nothing is left of it.
        name: of a view.

    """

    kind: Literal["view", "base", "lr"]
    old: Text
    new: Text
    name: Text = ""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Forgetting(Manifest):
    """One act of forgetting: what was asked for by kind and number, and what became of it; no names.

    Attributes:
        act: id of the act.
        date: UTC, to the second.
        asked: what the list held.
        names: number of names in the list.
        faces: number of faces forgotten.
        records: HR and LR images removed.
        moved: ids before and after.
        salt: of the digests.
        request: salted digest of the list, by which the same command goes on.
        digests: sha256 of the file of the salted digests of keys and source bytes.
        state: ``begun``; ``decided`` once everything new is written and only what is old must go; ``done``.

    """

    kind: ClassVar[str] = "forgotten"
    act: Id
    date: Word
    asked: Literal["ids", "keys"]
    names: Count
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    request: Sha256
    faces: Count = 0
    records: Count = 0
    moved: tuple[Moved, ...] = ()
    digests: Sha256 | None = None
    state: Literal["begun", "decided", "done"] = "begun"
    sealed: Text = field(default="", compare=False)


def salted(salt: str, kind: Literal["key", "content"], name: bytes) -> bytes:
    """Return the 16 bytes that stand for a forgotten key or the sha256 of its source bytes."""
    return hashlib.blake2b(name, key=bytes.fromhex(salt), person=kind.encode(), digest_size=16).digest()
