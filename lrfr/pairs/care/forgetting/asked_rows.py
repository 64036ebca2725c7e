"""Which rows of a store a list of identities or keys means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.lists.names import spelled
from lrfr.pairs.build.growth import find_hashes
from lrfr.pairs.format.manifests import BaseManifest
from lrfr.pairs.format.rows import StoredRows, order_of
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import salted


@dataclass(frozen=True)
class Asked:
    """What is to be forgotten: names of identities, or keys of faces."""

    kind: Literal["ids", "keys"]
    names: tuple[str, ...]

    @classmethod
    def of(cls, ids: Iterable[str] | None, keys: Iterable[str] | None) -> Asked:
        """Return what was given, sorted, each name once.

        Raises:
            SpecError: both kinds or none, one text in place of a list, or an empty list.

        """
        if (ids is None) == (keys is None):
            raise SpecError("identities or keys to forget: one of the two", hint="ids=[...] or keys=[...]")
        kind: Literal["ids", "keys"] = "keys" if ids is None else "ids"
        given = keys if ids is None else ids
        assert given is not None
        if isinstance(given, str | bytes):
            raise SpecError(f"{kind}: a list of names, not one text")
        names = tuple(sorted(set(given)))
        if not names or not all(isinstance(name, str) and name for name in names):
            raise SpecError(f"{kind}: a list of names that are not empty")
        return cls(kind, names)


@dataclass(frozen=True)
class Doomed:
    """A base with rows that go: bool ``[rows]``."""

    base: BaseManifest
    table: StoredRows
    rows: NDArray[np.bool_]

    @property
    def kept(self) -> NDArray[np.int64]:
        """The rows that stay."""
        return np.flatnonzero(~self.rows)


@dataclass(frozen=True)
class Found:
    """What a list means in a store.

    Attributes:
        doomed: the bases that hold rows of it.
        keys: of all faces that go, bytes.
        labels: names of identities of which nothing is left.
        content: sha256 of the source bytes of faces that go, where no face that stays has the same.
        unknown: names of the list that match nothing.
        same_bytes: faces that stay although they have source bytes of one that goes.

    """

    doomed: tuple[Doomed, ...]
    keys: frozenset[bytes]
    labels: frozenset[str]
    content: frozenset[bytes]
    unknown: tuple[str, ...]
    same_bytes: int

    def digests(self, salt: str) -> NDArray[np.uint8]:
        """Return the salted digests of keys and source bytes that may not come back, uint8 ``[n, 16]``."""
        names = [salted(salt, "key", key) for key in self.keys]
        names += [salted(salt, "content", item) for item in self.content]
        return np.frombuffer(b"".join(sorted(names)), np.uint8).reshape(-1, 16)


def find_rows(store: StoreFiles, asked: Asked) -> Found:
    """Find the rows that a list means in every base, shown by a view or not.

    Raises:
        DataError: a manifest or row table is damaged, so what it holds cannot be known.

    """
    tables = {key: store.rows(key) for key in store.bases()}
    bases = {key: store.base_manifest(key) for key in tables}
    met = {name for key in tables for name in _meant(asked, tables[key], bases[key].permutation_seed)[1]}
    names = _spelled_as_here(asked, set(asked.names) - met, tables)
    unknown = sorted(set(asked.names) - met - set(names.values()))
    full = Asked(asked.kind, (*sorted(met), *sorted(names)))
    doomed = _doomed(full, bases, tables)
    if asked.kind == "ids" and doomed:
        # another base may have the same face under another label, and shares its variants
        keys = {_text(item.table.key(row)) for item in doomed for row in np.flatnonzero(item.rows).tolist()}
        doomed = _doomed(Asked("keys", tuple(sorted(keys))), bases, tables)
    return _found(doomed, tables, tuple(unknown))


def _doomed(
    asked: Asked, bases: Mapping[str, BaseManifest], tables: Mapping[str, StoredRows]
) -> tuple[Doomed, ...]:
    found = []
    for key, table in tables.items():
        rows, _ = _meant(asked, table, bases[key].permutation_seed)
        if rows.any():
            found.append(Doomed(bases[key], table, rows))
    return tuple(found)


def _found(doomed: tuple[Doomed, ...], tables: Mapping[str, StoredRows], unknown: tuple[str, ...]) -> Found:
    going = {item.base.id: item.rows for item in doomed}
    keys = {item.table.key(row) for item in doomed for row in np.flatnonzero(item.rows).tolist()}
    content = {bytes(line) for item in doomed for line in np.asarray(item.table.digests[item.rows])}
    labels, left, same = set(), set(), {}
    for key, table in tables.items() if doomed else ():
        stays = ~going[key] if key in going else np.ones(len(table), bool)
        left |= {table.label_names[number] for number in np.unique(table.labels[stays]) if number >= 0}
        if key in going:
            gone = np.unique(table.labels[going[key]])
            labels |= {table.label_names[number] for number in gone if number >= 0}
        for row in np.flatnonzero(stays & _has(table.digests, content)).tolist():
            same[table.key(row)] = bytes(table.digests[row])
    own = frozenset(content - set(same.values()))
    return Found(doomed, frozenset(keys), frozenset(labels - left), own, unknown, len(same))


def _has(digests: NDArray[np.uint8], wanted: set[bytes]) -> NDArray[np.bool_]:
    """Return which rows have one of some digests, bool ``[n]``."""
    lines = np.ascontiguousarray(digests).view("V32").ravel()
    return np.isin(lines, np.frombuffer(b"".join(sorted(wanted)), "V32"))


def _meant(asked: Asked, table: StoredRows, seed: int) -> tuple[NDArray[np.bool_], set[str]]:
    """Return the rows of a table that a list means, bool ``[rows]``, and the names that are there."""
    if asked.kind == "ids":
        wanted = set(asked.names)
        numbers = [number for number, name in enumerate(table.label_names) if name in wanted]
        return np.isin(table.labels, numbers), {table.label_names[number] for number in numbers}
    at = find_hashes(order_of(seed, map(_bytes, asked.names)), table.order)
    rows = np.zeros(len(table), bool)
    rows[at[at >= 0]] = True
    return rows, {name for name, row in zip(asked.names, at.tolist(), strict=True) if row >= 0}


def _spelled_as_here(asked: Asked, open_: set[str], tables: Mapping[str, StoredRows]) -> dict[str, str]:
    """Return what the store has for listed names that it does not have as they stand, with the listed one.

    Only the spelling may differ (composed letters, backslashes, ``./``): what is removed for good is never
    guessed.
    """
    wanted = {spelled(name): name for name in open_}
    found: dict[str, str] = {}
    for table in tables.values() if open_ else ():
        rows = range(len(table))
        own = table.label_names if asked.kind == "ids" else (_text(table.key(row)) for row in rows)
        found |= {name: wanted[spelled(name)] for name in own if spelled(name) in wanted}
    return found


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
