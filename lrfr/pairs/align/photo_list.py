"""The photographs that are to be aligned, and what else lies among them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from lrfr.core.errors import SpecError
from lrfr.pairs.sources.base import SKIPS, Face, Place, Source
from lrfr.pairs.sources.folder import FolderSource
from lrfr.pairs.sources.table import open_source

_FURTHER = re.compile(r"~\d+\.[^./]+$")
_JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Photo:
    """One photograph.

    Attributes:
        key: its name in its source, with its suffix.
        place: whatever the source needs to find its bytes.
        stamp: changes when its content may have changed; "" where only the bytes can tell.

    """

    key: str
    place: Place
    stamp: str


@dataclass(frozen=True)
class PhotoList:
    """A source of photographs.

    Attributes:
        source: where they are read from.
        photos: the photographs, by key.
        passed_over: (name, why) of what lies there and is no photograph.

    """

    source: Source
    photos: tuple[Photo, ...]
    passed_over: tuple[tuple[str, str], ...] = ()


def list_photos(text: str, out: Path) -> PhotoList:
    """List a folder of photographs or any other source (``kind:place``).

    Args:
        text: what the user wrote.
        out: where crops will go; it may not lie among the photographs.

    Raises:
        SpecError: no such source, keys that are not unique, or crops that would lie among photographs.

    """
    try:
        source = open_source(text)
    except SpecError as error:  # here they are named without an option
        hint = (error.hint or "").replace("--source ", "lrfr align ") or None
        raise SpecError(error.message, file=error.file, line=error.line, hint=hint) from None
    if isinstance(source, FolderSource):
        inside, around = out.resolve(), source.root.resolve()
        if inside == around or around in inside.parents:
            raise SpecError(
                "the crops would lie among the photographs",
                file=str(out),
                hint=f"beside them: --out {shlex.quote(f'{source.root}-aligned')}",
            )
        # what a link shows lies elsewhere too: its crops would be there twice
        source = replace(source, links="none")
    listing = source.listing()
    if not listing.faces:
        source.faces()
    passed = [
        (item.name, SKIPS.get(item.why, item.why))
        for item in listing.others
        if item.unit != "folder" or item.why == "link"
    ]
    faces = sorted(listing.faces, key=lambda face: face.key)
    for before, face in pairwise(faces):
        if before.key == face.key:
            raise SpecError(f"two photographs are called '{face.key}'", file=text)
    return PhotoList(source, tuple(_photo(source, face) for face in faces), tuple(sorted(passed)))


def _photo(source: Source, face: Face) -> Photo:
    mark = source.fingerprint(face.place) or source.stamp(face.place)
    return Photo(face.key, face.place, "" if mark is None else str(mark))


def crop_name(key: str, number: int = 0) -> str:
    """Return the name of a crop's file: the photograph's own, so that lists made for photographs fit crops.

    A JPEG stays a JPEG; what is neither JPEG nor PNG has ``.png`` appended. Further faces of a photograph
    are ``name~2.jpg``, ``name~3.jpg``.
    """
    stem, suffix = os.path.splitext(key)
    if suffix.lower() not in (*_JPEG, ".png"):
        stem, suffix = key, ".png"
    return f"{stem}{suffix}" if number == 0 else f"{stem}~{number + 1}{suffix}"


def crop_names(key: str, count: int, taken: Collection[str] = ()) -> list[str]:
    """Return the names of a photograph's crops; those of its further faces pass over names in ``taken``."""
    names, number = [crop_name(key)], 0
    while len(names) < count:
        number += 1
        name = crop_name(key, number)
        names += [] if name in taken else [name]
    return names[:count]


def own_names(keys: Iterable[str]) -> frozenset[str]:
    """Return the names of first crops that look like those of another photograph's further faces."""
    return frozenset(name for name in map(crop_name, keys) if _FURTHER.search(name))


def is_jpeg(name: str) -> bool:
    """Return whether a crop of this name is written as JPEG."""
    return os.path.splitext(name)[1].lower() in _JPEG


def name_fault(key: str) -> str:
    """Return why a key can be no file name below a folder or no line of a table, "" when it can."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts or not path.name or "\\" in key or "\0" in key:
        return "its name leads out of the folder"
    try:
        os.fsencode(key)
    except UnicodeError:
        return "no file can have its name"
    if any(mark in key for mark in "\t\r\n") or key != key.strip():
        return "a tab, a line break or white space at an end of its name"
    return ""


def taken_twice(keys: Iterable[str]) -> set[str]:
    """Return the keys whose first crop would lie where another's does."""
    owner: dict[str, str] = {}
    twice: set[str] = set()
    for key in keys:
        first = owner.setdefault(crop_name(key), key)
        twice |= {key} if first != key else set()
    return twice
