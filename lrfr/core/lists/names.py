"""Names of a list and names of files: the same picture, spelled by two systems."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
# folders that stand before the names of one side only
_MOST_FOLDERS = 6


@dataclass(frozen=True)
class Matched:
    """Which of the names that a list holds are which of the known ones.

    Attributes:
        known: by listed name; those that match nothing are missing.
        how: what was done to make them match, "" where they are equal or differ in spelling alone.

    """

    known: Mapping[str, str]
    how: str = ""


def spelled(name: str) -> str:
    r"""Return one spelling of a name: ``\`` is ``/``, no ``./`` before it, composed letters, and bytes that
    are not UTF-8 as Latin-1.
    """
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        name = os.fsencode(name).decode("latin-1")
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def match_names(listed: Collection[str], known: Collection[str], *, loosely: bool = True) -> Matched:
    """Find the known name that each listed one means.

    Equal names match, then names that are equal in :func:`spelled`. Where that finds fewer than half, folders
    before the names and suffixes behind them are left out on one side: the way that matches most, if it
    matches at least half and no name twice.

    Args:
        listed: the names that somebody wrote.
        known: the names that may be meant.
        loosely: whether folders and suffixes may be left out.

    """
    there = _as_set(known)
    exact = {name: name for name in listed if name in there}
    if len(exact) == len(listed):
        return Matched(exact)
    own = _unique(known, spelled)
    near = exact | {name: own[spelled(name)] for name in listed if name not in exact and spelled(name) in own}
    near = _one_to_one(near)
    wanted = min(len(listed), len(known)) / 2
    if len(near) >= max(1.0, wanted) or not loosely:
        return Matched(near)
    best = Matched(near)
    for how, ours, theirs in _WAYS:
        table = _unique(known, theirs)
        found = _one_to_one({name: table[ours(name)] for name in listed if ours(name) in table})
        if len(found) > len(best.known) and len(found) >= wanted:
            best = Matched(found, how)
    return best


def _as_set(names: Collection[str]) -> Collection[str]:
    return names if isinstance(names, set | frozenset | dict) else set(names)


def _unique(names: Iterable[str], change: Callable[[str], str]) -> dict[str, str]:
    """Return name by changed name, without those that meet."""
    table: dict[str, str] = {}
    met = set()
    for name in names:
        changed = change(name)
        if changed in table:
            met.add(changed)
        table[changed] = name
    return {changed: name for changed, name in table.items() if changed not in met}


def _one_to_one(found: Mapping[str, str]) -> dict[str, str]:
    back = _unique(found, lambda name: found[name])
    return {name: known for known, name in back.items()}


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(spelled(name))
    return stem if suffix.lower() in _SUFFIXES else spelled(name)


def _below(count: int, stem: bool) -> Callable[[str], str]:
    """Return what leaves out the first folders of a name."""

    def change(name: str) -> str:
        parts = (_stem if stem else spelled)(name).split("/")
        return "/".join(parts[count:]) if len(parts) > count else "\0" + name

    return change


def _last(stem: bool) -> Callable[[str], str]:
    return lambda name: (_stem if stem else spelled)(name).rsplit("/", 1)[-1]


_WAYS: list[tuple[str, Callable[[str], str], Callable[[str], str]]] = [
    ("without suffixes", _stem, _stem),
    *(
        way
        for stem, also in ((False, ""), (True, " and suffixes"))
        for count in range(1, _MOST_FOLDERS + 1)
        for way in (
            (f"without the list's first {count} folders{also}", _below(count, stem), _below(0, stem)),
            (f"without the source's first {count} folders{also}", _below(0, stem), _below(count, stem)),
        )
    ),
    ("by file names alone", _last(False), _last(False)),
    ("by file names without suffixes", _last(True), _last(True)),
]
