"""Faces as sources list them, in columns: of millions an object each would cost four times the memory."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.format.disk.row_runs import gather_keys
from lrfr.pairs.sources.listing.face_columns import NONE, Attributes, Names, Place, Places, packed, spelled

# bytes a key up to which keys are sorted as one array of fixed width
_SORTED_BYTES = 128
# faces that are objects before they are put into columns together
_PENDING = 1024


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a source.

    Attributes:
        key: its name, unique in the source and stable (a relative path, never only a base name).
        label: the identity's name; "" where unknown.
        place: whatever the source needs to find the bytes (plain data).
        attributes: binary attributes, 1 or 0; a missing name means unknown.
        split: name of the split it belongs to; "" for none.
        fault: reason code when the source already knows that it cannot be used.
        detail: more about the fault: file and line, or what was found.

    """

    key: str
    label: str
    place: Place = None
    attributes: Mapping[str, int] = field(default_factory=lambda: NONE)
    split: str = ""
    fault: str = ""
    detail: str = ""

    @property
    def key_bytes(self) -> bytes:
        """The key as bytes: the sample key of every random stream."""
        return self.key.encode("utf-8", "surrogateescape")


class FaceList(Sequence[Face]):
    """Faces in columns; each is an object only while somebody looks at it.

    Sources append to a list of their own; what a :class:`~lrfr.pairs.sources.base.Listing` holds is not
    changed any more.

    Args:
        faces: to begin with.

    """

    __slots__ = ("_attributes", "_ends", "_faults", "_keys", "_labels", "_pending", "_places", "_splits")

    def __init__(self, faces: Iterable[Face] = ()) -> None:
        self._pending: list[Face] = []
        self._keys = bytearray()
        self._ends = array("q")
        self._labels = Names()
        self._splits = Names()
        self._places = Places()
        self._attributes = Attributes()
        self._faults: dict[int, tuple[str, str]] = {}
        self.extend(faces)

    @classmethod
    def of(cls, faces: Iterable[Face]) -> FaceList:
        """Return faces as a list in columns; one that is, is returned itself."""
        return faces if isinstance(faces, FaceList) else cls(faces)

    def append(self, face: Face) -> None:
        """Add a face. A key that UTF-8 cannot spell (half a surrogate pair) is taken with backslashes."""
        self._pending.append(face)
        if len(self._pending) == _PENDING:
            self._settle()

    def extend(self, faces: Iterable[Face]) -> None:
        """Add faces."""
        for face in faces:
            self.append(face)

    def add_files(
        self, keys: list[str], labels: list[str], splits: Sequence[str] = (), places: Sequence[Place] = ()
    ) -> None:
        """Add faces without attributes; unless told otherwise, of no split, and where their keys say."""
        self._settle()
        count = len(keys)
        self._put(keys, labels, list(splits) or [""] * count, list(places) or keys, [NONE] * count)

    def _settle(self) -> None:
        """Put into columns what was added, many faces at a time."""
        faces, self._pending = self._pending, []
        if not faces:
            return
        row, keys = len(self._ends), [face.key for face in faces]
        labels, splits = [face.label for face in faces], [face.split for face in faces]
        places, attributes = [face.place for face in faces], [face.attributes for face in faces]
        self._put(keys, labels, splits, places, attributes)
        for number, face in enumerate(faces, row):
            if face.fault or face.detail:
                self._faults[number] = (face.fault, face.detail)

    def _put(
        self,
        keys: list[str],
        labels: list[str],
        splits: list[str],
        places: list[Place],
        attributes: list[Mapping[str, int]],
    ) -> None:
        encoded = spelled(keys)
        row, start = len(self._ends), len(self._keys)
        self._keys += b"".join(encoded)
        self._ends.extend(itertools.islice(itertools.accumulate(map(len, encoded), initial=start), 1, None))
        self._labels.extend(labels)
        self._splits.extend(splits)
        self._places.extend(places, keys)
        self._attributes.extend(row, attributes)

    def __iadd__(self, faces: Iterable[Face]) -> FaceList:
        self.extend(faces)
        return self

    def __len__(self) -> int:
        return len(self._ends) + len(self._pending)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FaceList | list | tuple):
            return NotImplemented
        return len(self) == len(other) and all(map(Face.__eq__, self, other))

    def __hash__(self) -> int:
        raise TypeError("a list of faces has no hash")

    def __repr__(self) -> str:
        return f"FaceList({list(self[:3])!r}{', ...' if len(self) > 3 else ''})"

    @overload
    def __getitem__(self, row: int) -> Face: ...
    @overload
    def __getitem__(self, row: slice) -> FaceList: ...
    def __getitem__(self, row: int | slice) -> Face | FaceList:
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        if not -len(self) <= row < len(self):
            raise IndexError(f"face {row} of {len(self)}")
        row = row + len(self) if row < 0 else row
        return self._face(row, self.key_at(row))

    def __iter__(self) -> Iterator[Face]:
        for row, key in enumerate(self.keys()):
            yield self._face(row, key)

    def _face(self, row: int, data: bytes) -> Face:
        key = data.decode("utf-8", "surrogateescape")
        place, label, split = self._places.at(row, key), self._labels.at(row), self._splits.at(row)
        fault, detail = self._faults.get(row, ("", "")) if self._faults else ("", "")
        return Face(key, label, place, self._attributes.at(row), split, fault, detail)

    def key_at(self, row: int) -> bytes:
        """Return the key of a face as bytes."""
        if self._pending:
            self._settle()
        return bytes(self._keys[self._ends[row - 1] if row else 0 : self._ends[row]])

    def keys(self) -> Iterator[bytes]:
        """Yield the key of every face as bytes."""
        self._settle()
        for start in range(0, len(self._ends), _PENDING):
            yield from self._in_turn(start, min(start + _PENDING, len(self._ends)))

    def _in_turn(self, start: int, stop: int) -> list[bytes]:
        """Return the keys of neighbors: they are copied out together."""
        first = self._ends[start - 1] if start else 0
        ends = [end - first for end in self._ends[start:stop]]
        block = bytes(self._keys[first : first + ends[-1]])
        return [block[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]

    def keys_of(self, rows: Sequence[int]) -> list[bytes]:
        """Return the keys of some faces as bytes."""
        self._settle()
        if rows and rows[-1] - rows[0] + 1 == len(rows) and list(rows) == list(range(rows[0], rows[-1] + 1)):
            return self._in_turn(rows[0], rows[-1] + 1)
        keys, ends = self._keys, self._ends
        return [bytes(keys[ends[row - 1] if row else 0 : ends[row]]) for row in rows]

    def key_columns(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return all keys one after another, uint8, and where each ends, int64 ``[n]``."""
        self._settle()
        return np.frombuffer(self._keys, np.uint8), np.frombuffer(self._ends, np.int64)

    def places(self, rows: Iterable[int]) -> list[Place]:
        """Return what the source needs to find the bytes of some faces."""
        self._settle()
        if self._places.are_keys:
            numbers = list(rows)
            return self._places.many(
                numbers, [key.decode("utf-8", "surrogateescape") for key in self.keys_of(numbers)]
            )
        return [self._places.at(row, "") for row in rows]

    @property
    def faults(self) -> Mapping[int, tuple[str, str]]:
        """Reason code and detail, by row, of faces that are refused by their list."""
        self._settle()
        return MappingProxyType({row: told for row, told in self._faults.items() if told[0]})

    def labels(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Return the number of every face's label, int32 ``[n]``, and the labels in the order they came."""
        self._settle()
        return self._labels.columns()

    def splits(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Return the number of every face's split, int32 ``[n]``, and the splits in the order they came."""
        self._settle()
        return self._splits.columns()

    def attributes(self) -> tuple[NDArray[np.int8], tuple[str, ...]]:
        """Return the attributes of all faces, int8 ``[n, a]``, 1, 0 or -1 for unknown, and their names."""
        self._settle()
        return self._attributes.columns(len(self))

    def names(self) -> set[str]:
        """Return every name of a label, split or attribute, also such as no face has any more."""
        self._settle()
        return {*self._labels.names(), *self._splits.names(), *self._attributes.names()}

    def take(self, rows: NDArray[np.int64]) -> FaceList:
        """Return some of the faces, in the order of ``rows``."""
        self._settle()
        taken = FaceList()
        keys, ends = gather_keys(*self.key_columns(), rows)
        taken._keys, taken._ends = bytearray(keys), packed("q", ends)
        taken._labels, taken._splits = self._labels.take(rows), self._splits.take(rows)
        taken._places = self._places.take(rows)
        taken._attributes = self._attributes.take(rows)
        if self._faults:
            numbers = enumerate(rows.tolist())
            taken._faults = {new: self._faults[old] for new, old in numbers if old in self._faults}
        return taken

    def _copy(self) -> FaceList:
        self._settle()
        return copy(self)

    def with_splits(self, numbers: NDArray[np.integer], names: Sequence[str]) -> FaceList:
        """Return the same faces with other splits.

        Args:
            numbers: which of the names each face has, ``[n]``.
            names: of the splits.

        """
        changed = self._copy()
        changed._splits = Names(names, packed("i", np.asarray(numbers, np.int32)))
        return changed

    def with_attributes(self, attributes: list[Mapping[str, int]]) -> FaceList:
        """Return the same faces with other attributes, a mapping each."""
        changed, given = self._copy(), Attributes()
        given.extend(0, attributes)
        changed._attributes = given
        return changed

    def refused(self, codes: Mapping[int, str]) -> FaceList:
        """Return the same faces, of which those of some rows are refused by a reason code."""
        changed = self._copy()
        faults = {row: (code, self._faults.get(row, ("", ""))[1]) for row, code in codes.items()}
        changed._faults = {**self._faults, **faults}
        return changed

    def key_order(self) -> NDArray[np.int64]:
        """Return the numbers of the faces in the order of the bytes of their keys."""
        self._settle()
        ends = np.frombuffer(self._ends, np.int64)
        longest = int(np.diff(ends, prepend=0).max(initial=0))
        if longest > _SORTED_BYTES or 0 in self._keys:
            keys = list(self.keys())
            return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
        table = np.fromiter(self.keys(), f"S{max(1, longest)}", len(self))
        return np.argsort(table, kind="stable")


def in_key_order(faces: Sequence[Face]) -> FaceList:
    """Return faces sorted by the bytes of their keys."""
    listed = FaceList.of(faces)
    return listed.take(listed.key_order())
