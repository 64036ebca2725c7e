"""Sealed JSON files as frozen dataclasses: the head that every one has, and checked reading."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lrfr.core.errors import DataError
from lrfr.core.files import canonical, read_sealed, seal

FORMAT = "LRS1"
LAYOUT = 3
MEND = "lrfr store verify, then lrfr store repair"

STRICT = ConfigDict(extra="forbid", strict=True)
T = TypeVar("T")


class Manifest:
    """What every sealed file shares: its head (format, layout, kind), its reading and its writing."""

    kind: ClassVar[str]
    # fields that older files lack: at their default they are left out, so that nothing sealed before moves
    later: ClassVar[frozenset[str]] = frozenset()
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def seal(self) -> bytes:
        """Return the file's bytes."""
        return seal({**plain_fields(self), "format": FORMAT, "layout": LAYOUT, "kind": self.kind})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a file.

        Raises:
            DataError: missing, damaged, of another layout or kind, or a field is not what it must be; names
                the file and the field.

        """
        value = read_sealed(path, MEND)
        head = Head(*(value.pop(name, None) for name in ("format", "layout", "kind")))
        check_layout(head, path)
        if head.kind != cls.kind:
            raise DataError(f"a file of kind {head.kind!r} where a {cls.kind} belongs", file=str(path))
        value["sealed"] = value.pop("digest")
        return validated(cls, cls.settled(value), path)

    @classmethod
    def settled(cls, value: dict[str, object]) -> dict[str, object]:
        """Return the fields as they are today; kinds of which other forms exist bring them to it."""
        return value


@dataclass(frozen=True)
class Head:
    """What a file says it is."""

    format: object
    layout: object
    kind: object


def read_head(path: Path) -> Head:
    """Read what a sealed file says it is.

    Raises:
        DataError: missing or damaged.

    """
    value = read_sealed(path, MEND)
    return Head(value.get("format"), value.get("layout"), value.get("kind"))


def is_older(head: Head) -> bool:
    """Return whether an older version of lrfr wrote a file with this head."""
    numbered = isinstance(head.layout, int) and head.layout < LAYOUT
    return head.format == "LRS1-view" or (head.format == FORMAT and (numbered or head.layout is None))


def check_layout(head: Head, path: Path) -> None:
    """Refuse what another version of lrfr has laid out.

    Raises:
        DataError: says what to run.

    """
    if head.format == FORMAT and head.layout == LAYOUT:
        return
    root = path.parent.parent if path.parent.name == "views" else path.parent.parent.parent
    newer = "read it with the version of lrfr that wrote it"
    hint = f"run lrfr store upgrade {root}" if is_older(head) else newer
    raise DataError(
        f"format {head.format!r}, layout {head.layout!r}; this version reads {FORMAT}, layout {LAYOUT}",
        file=str(path),
        hint=hint,
    )


def plain_fields(value: object) -> dict[str, object]:
    """Return the fields of a dataclass as plain values: those that two equal ones share, without the fields
    of its ``later`` that are at their defaults, in it and in what it holds.
    """
    later: frozenset[str] = getattr(value, "later", frozenset())
    return {
        item.name: _plain(held)
        for item in fields(value)  # type: ignore[arg-type]
        if item.compare
        for held in [getattr(value, item.name)]
        if not (item.name in later and held == item.default)
    }


def _plain(value: object) -> object:
    if is_dataclass(value):
        return plain_fields(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def validated(cls: type[T], value: Mapping[str, object], path: Path) -> T:
    """Return a dataclass of JSON values, every field checked.

    Raises:
        DataError: names the file and the first field that is wrong.

    """
    try:
        # as JSON, so that strict mode takes arrays for tuples
        found: T = _adapter(cast(Hashable, cls)).validate_json(canonical(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(first["msg"], file=str(path), path=place or None, hint=MEND) from None
    return found
