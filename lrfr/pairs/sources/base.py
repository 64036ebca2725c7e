"""What every source of faces offers: a list of faces, what it saw besides, and the bytes of one face."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.sources.listing.face_columns import Place
from lrfr.pairs.sources.listing.face_list import Face, FaceList, in_key_order

__all__ = ["Content", "Face", "FaceList", "Listing", "Other", "Place", "Source", "Tally", "in_key_order"]

Content = bytes | NDArray[np.uint8]
NO_IDENTITY = frozenset({"", "-1", "-1.0", "none", "null"})


def identity_name(text: str) -> str:
    """Return the name of an identity, "" where a label says that there is none: nothing, -1, none or null."""
    name = text.strip()
    return "" if name.lower() in NO_IDENTITY else name


# columns and fields that name the identity, the surest first; ``id`` last, for it may number the row
LABEL_NAMES = (
    "identity",
    "label",
    "labels",
    "cls",
    "celeb_id",
    "person_id",
    "subject_id",
    "identity_id",
    "class_id",
    "label_id",
    "celebrity",
    "celeb",
    "person",
    "subject",
    "person_name",
    "identity_name",
    "id",
)


def label_name(names: Iterable[str], known: Sequence[str] = LABEL_NAMES) -> str | None:
    """Return which of the names of columns is the identity's, None where none is; ``CelebID``, ``celeb id``
    and ``celeb_id`` are one.
    """
    plain = {_snake(name): name for name in names}
    return next((plain[word] for word in known if word in plain), None)


def _snake(name: str) -> str:
    return re.sub(r"[\s-]+|(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()


def no_identity_note(file: str, columns: Iterable[str]) -> str:
    """Return the note that no column of a table names the identity."""
    return (
        f"no column of {file} names the identity, so the faces have none (columns: "
        f"{', '.join(name[:40] for name in columns)}; known: {', '.join(LABEL_NAMES)})"
    )


# what a source passes over, and is no fault of a face
SKIPS = {
    "hidden": "its name begins with a dot",
    "system": "made by a file system or a tool",
    "not a picture": "not a picture by its name or its first bytes",
    "not a file": "a pipe, socket or device",
    "link": "a link to a folder",
    "link out": "a link to a folder outside the source (links=all follows it)",
    "link loop": "a link to a folder that is walked already",
    "broken link": "a link to nothing",
    "duplicate": "the same face stands in the list before",
    "comment": "a line that begins with #",
    "header": "a line or record that describes the others",
    "not listed": "the list of the data set does not name it",
    "other picture": "its sample has another picture, which is used",
    "not asked for": "a list, archive or other file that belongs to no face",
    "split": "of another split than the view's",
    "excluded": "a list of faces or identities that are not wanted names it",
    "forgotten": "the store was made to forget it",
    "ids": "of an identity that the view does not keep",
    "min per id": "of an identity with too few faces for the view",
}


@dataclass(frozen=True, slots=True)
class Other:
    """Something seen that gave no face.

    Attributes:
        unit: what it is: ``file``, ``folder``, ``link``, ``line``, ``row``, ``member``, ``record``.
        name: of it.
        why: a key of :data:`SKIPS`, or the reason code by which it is refused.
        detail: more about it.

    """

    unit: str
    name: str
    why: str
    detail: str = ""

    @property
    def refused(self) -> bool:
        """Whether it should have been a face."""
        return self.why not in SKIPS


@dataclass(frozen=True)
class Listing:
    """Everything that a look into a source found.

    Attributes:
        faces: in any order; a listing keeps any sequence in columns.
        unit: what a face is there: ``file``, ``line``, ``member``, ...
        seen: number of things by unit, counted as they were met.
        used: number of things by unit that gave no face and were used: folders that were walked, labels.
        others: the rest, one by one.
        notes: what to tell about the source.
        left_out: number of faces and others that were left out by reason, and that no list names.

    """

    faces: FaceList
    unit: str = "face"
    seen: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    others: tuple[Other, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "faces", FaceList.of(self.faces))


class Tally:
    """Collects a :class:`Listing`; whatever is seen must be given an end."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.faces = FaceList()
        self.notes: list[str] = []
        self._seen: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._others: list[Other] = []

    def see(self, unit: str = "", count: int = 1) -> None:
        """Count something that was met."""
        self._seen[unit or self.unit] += count

    def use(self, unit: str, count: int = 1) -> None:
        """Say that something without a face is used."""
        self._used[unit] += count

    def end(self, unit: str, name: str, why: str, detail: str = "") -> None:
        """Say why something gives no face."""
        self._others.append(Other(unit or self.unit, name, why, detail))

    def listing(self) -> Listing:
        """Return everything."""
        return Listing(
            self.faces,
            self.unit,
            dict(self._seen),
            dict(self._used),
            tuple(self._others),
            tuple(self.notes),
        )


class Source:
    """A list of faces with their bytes. Sources are small, picklable values; ``read`` works in any
    process.
    """

    kind = ""
    # rough cost of reading one face, for choosing an executor
    cost_ms = 0.15

    def faces(self) -> Sequence[Face]:
        """List all faces (in any order; keys must be unique).

        Raises:
            SpecError: the source is not what it was said to be.
            DataError: an index of the source is damaged.

        """
        return self.listing().faces

    def listing(self) -> Listing:
        """List all faces and account for everything else that was seen.

        A source that has nothing to say besides its faces offers :meth:`faces` alone.

        Raises:
            SpecError, DataError: as :meth:`faces`.

        """
        if type(self).faces is Source.faces:
            raise NotImplementedError
        faces = FaceList.of(self.faces())
        return Listing(faces, seen={"face": len(faces)})

    def read(self, place: Place) -> Content:
        """Return encoded image bytes, or pixels as uint8 ``[h, w, 3]`` RGB.

        Raises:
            ImageFault: the face cannot be read.

        """
        raise NotImplementedError

    def fingerprint(self, place: Place) -> str | None:
        """Return a digest that names the content without reading it, or None where only the bytes can
        tell.
        """
        return None

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return numbers that change when the bytes of a face may have: size, times and inode of the file
        behind it and, inside an archive, where it lies; None where it must be read. For the scan cache.
        """
        return None

    def stamps(self, places: Sequence[Place]) -> list[tuple[int, ...] | None]:
        """Return :meth:`stamp` of many places; sources that ask each file only once do so here."""
        return [self.stamp(place) for place in places]

    @property
    def stamps_as_read(self) -> bool:
        """Whether :meth:`read_stamped` costs no more than :meth:`read`."""
        return False

    def read_stamped(self, place: Place) -> tuple[Content, tuple[int, ...] | None]:
        """Return what :meth:`read` does, and :meth:`stamp` as it was before a byte was read.

        Raises:
            ImageFault: the face cannot be read.

        """
        stamp = self.stamp(place)
        return self.read(place), stamp

    def origins(self) -> Sequence[Path] | None:
        """Return every file and folder that :meth:`listing` is made from, there or not: while the stamps of
        all of them stay, and the numbers of :meth:`describe`, a listing may be kept; None where only listing
        tells.
        """
        return None

    def walks(self) -> Path | None:
        """Return the folder that is looked through for whatever lies in it; None where a list or an archive
        says what is a face.
        """
        return None

    def describe(self) -> dict[str, str | int]:
        """Return the source in words for manifests and cards: kind and parameters, no absolute path."""
        return {"kind": self.kind}


def file_stamp(path: str | Path) -> tuple[int, ...] | None:
    """Return (size, mtime, ctime, inode) of a file, None if it cannot be asked."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # no file may be called so: too long, a NUL
        return None
    return stamp_of(found)


def stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """Return :func:`file_stamp` of what was told of a file."""
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
