"""The columns of a list of faces: names, places and attributes in the least memory that their kinds allow."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.format.disk.row_runs import gather_keys

Place = Any
# one for all faces without attributes: there may be millions
NONE: Mapping[str, int] = MappingProxyType({})
_INT64 = 2**63


def packed(kind: str, values: NDArray[Any]) -> array[int]:
    """Return numbers as an array that can grow."""
    result = array(kind)
    result.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return result


class Names:
    """A column of names of which many are equal: each is kept once."""

    __slots__ = ("_known", "_names", "_numbers")

    def __init__(self, names: Iterable[str] = (), numbers: array[int] | None = None) -> None:
        self._names = list(names)
        self._known = {name: number for number, name in enumerate(self._names)}
        self._numbers = array("i") if numbers is None else numbers

    def extend(self, names: list[str]) -> None:
        """Add names."""
        known = self._known
        for name in dict.fromkeys(names):
            if name not in known:
                known[name] = len(self._names)
                self._names.append(name)
        self._numbers.extend([known[name] for name in names])

    def at(self, row: int) -> str:
        """Return the name of a row."""
        return self._names[self._numbers[row]]

    def names(self) -> list[str]:
        """Return every name, in the order they came."""
        return self._names

    def columns(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Return the number of every row's name, int32 ``[n]``, and the names."""
        return np.frombuffer(self._numbers, np.int32), tuple(self._names)

    def take(self, rows: NDArray[np.int64]) -> Names:
        """Return the column of some rows."""
        taken = Names(numbers=packed("i", np.frombuffer(self._numbers, np.int32)[rows]))
        # shared: both may append, and no name ever gets another number
        taken._names, taken._known = self._names, self._known
        return taken


_Column: TypeAlias = "array[int] | list[Any]"


class Places:
    """Places: nothing where they are the keys, numbers of 64 bits, tuples as a column an item, or objects."""

    __slots__ = ("_columns", "_count", "_odd", "_of_key", "_plain")

    def __init__(self) -> None:
        self._columns: list[_Column] = []
        self._count = 0
        # the places that are not as the first one is
        self._odd: dict[int, Place] = {}
        self._of_key: type | None = None
        self._plain = False

    @property
    def are_keys(self) -> bool:
        """Whether most places are the keys."""
        return self._of_key is not None

    def extend(self, places: list[Place], keys: list[str]) -> None:
        """Add the places of faces with these keys."""
        if not self._count and places:
            self._begin(places[0], keys[0])
        if not self._extended(places, keys):
            for place, key in zip(places, keys, strict=True):
                self._append(place, key)

    def _extended(self, places: list[Place], keys: list[str]) -> bool:
        """Add places together, where all are as the first one was."""
        if self._of_key is not None:
            if self._of_key is not str or places != keys:
                return False
        else:
            kinds, widths = set(map(type, places)), len(self._columns)
            if not self._plain and (kinds != {tuple} or set(map(len, places)) != {widths} or not widths):
                return False
            items = [places] if self._plain else list(zip(*places, strict=True))
            try:
                added = [_added(column, some) for column, some in zip(self._columns, items, strict=True)]
            except (TypeError, OverflowError):
                return False
            for column, some in zip(self._columns, added, strict=True):
                column.extend(some)
        self._count += len(places)
        return True

    def _append(self, place: Place, key: str) -> None:
        if not (place == key if self._of_key is str else self._put(place, key)):
            self._odd[self._count] = place
        self._count += 1

    def _begin(self, place: Place, key: str) -> None:
        if type(place) in (str, bytes) and place in (key, _encoded(key)):
            self._of_key = type(place)
        else:
            self._plain = type(place) is not tuple
            items = (place,) if self._plain else place
            self._columns = [array("q") if type(item) is int else [] for item in items]

    def _put(self, place: Place, key: str) -> bool:
        """Append a place to its columns, where it is as the first one was."""
        if self._of_key:
            return bool(place == _encoded(key))
        items = (place,) if self._plain else place
        if not self._plain and (type(items) is not tuple or len(items) != len(self._columns)):
            items = (None,) * len(self._columns)
        fits = True
        for column, item in zip(self._columns, items, strict=True):
            whole = type(item) is int and -_INT64 <= item < _INT64
            fits &= whole or type(column) is list
            column.append(item if whole or type(column) is list else 0)
        return fits and (self._plain or items is place)

    def at(self, row: int, key: str) -> Place:
        """Return the place of a row; its key is asked for where places are keys."""
        if self._odd and row in self._odd:
            return self._odd[row]
        if self._of_key:
            return key if self._of_key is str else _encoded(key)
        if self._plain:
            return self._columns[0][row]
        return tuple([column[row] for column in self._columns])

    def many(self, rows: list[int], keys: list[str]) -> list[Place]:
        """Return the places of some rows, whose keys are given."""
        if self._of_key is str and not self._odd:
            return keys
        return [self.at(row, key) for row, key in zip(rows, keys, strict=True)]

    def take(self, rows: NDArray[np.int64]) -> Places:
        """Return the column of some rows."""
        taken = Places()
        taken._count, taken._of_key, taken._plain = len(rows), self._of_key, self._plain
        taken._columns = [_picked(column, rows) for column in self._columns]
        if self._odd:
            numbers = enumerate(rows.tolist())
            taken._odd = {new: self._odd[old] for new, old in numbers if old in self._odd}
        return taken


def _added(column: _Column, items: Iterable[Any]) -> _Column:
    """Return items as their column keeps them, or raise a TypeError or OverflowError."""
    if isinstance(column, list):
        return list(items)
    some = list(items)
    if set(map(type, some)) != {int}:
        raise TypeError
    return array("q", some)


def _picked(column: _Column, rows: NDArray[np.int64]) -> _Column:
    if isinstance(column, list):
        return list(map(column.__getitem__, rows))
    return packed("q", np.frombuffer(column, np.int64)[rows])


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


class Attributes:
    """Attributes: a byte each, and which names they have; nothing while no face has any."""

    __slots__ = ("_ends", "_known", "_names", "_numbers", "_odd", "_values")

    def __init__(self) -> None:
        self._names: list[tuple[str, ...]] = []
        self._known: dict[tuple[str, ...], int] = {}
        self._numbers: array[int] | None = None
        self._values = bytearray()
        self._ends = array("q")
        # what is no small number
        self._odd: dict[int, Mapping[str, int]] = {}

    def extend(self, row: int, attributes: list[Mapping[str, int]]) -> None:
        """Add the attributes of the rows from ``row`` on."""
        if self._numbers is not None or any(attributes):
            for number, some in enumerate(attributes, row):
                self._append(number, some)

    def _append(self, row: int, attributes: Mapping[str, int]) -> None:
        if not attributes and self._numbers is None:
            return
        if self._numbers is None:
            self._numbers, self._ends = array("i", [-1]) * row, array("q", [0]) * row
        values = _small(attributes)
        if values is None:
            self._odd[row], values = dict(attributes), b""
        names = tuple(attributes) if values else ()
        number = self._known.get(names) if names else -1
        if number is None:
            number = self._known[names] = len(self._names)
            self._names.append(names)
        self._values += values
        self._numbers.append(number)
        self._ends.append(len(self._values))

    def at(self, row: int) -> Mapping[str, int]:
        """Return the attributes of a row."""
        if self._numbers is None:
            return NONE
        number = self._numbers[row]
        if number < 0:
            return self._odd.get(row, NONE)
        start = self._ends[row - 1] if row else 0
        return dict(zip(self._names[number], self._values[start : self._ends[row]], strict=True))

    def names(self) -> set[str]:
        """Return every name of an attribute."""
        return {name for some in (*self._names, *self._odd.values()) for name in some}

    def columns(self, count: int) -> tuple[NDArray[np.int8], tuple[str, ...]]:
        """Return the attributes of all ``count`` rows, int8 ``[n, a]``, and their sorted names."""
        if self._numbers is None:
            return np.empty((count, 0), np.int8), ()
        numbers = np.frombuffer(self._numbers, np.int32)
        present = [self._names[number] for number in np.unique(numbers[numbers >= 0]).tolist()]
        names = tuple(sorted({name for some in (*present, *self._odd.values()) for name in some}))
        place = {name: column for column, name in enumerate(names)}
        table = np.full((count, len(names)), -1, np.int8)
        values, ends = np.frombuffer(self._values, np.uint8), np.frombuffer(self._ends, np.int64)
        for some in present:
            rows, width = np.flatnonzero(numbers == self._known[some]), len(some)
            found = values[(ends[rows] - width)[:, None] + np.arange(width)]
            table[rows[:, None], [place[name] for name in some]] = found.astype(np.int8)
        for row, mapping in self._odd.items():
            for name, value in mapping.items():
                table[row, place[name]] = value
        return table, names

    def take(self, rows: NDArray[np.int64]) -> Attributes:
        """Return the column of some rows."""
        taken = Attributes()
        if self._numbers is None:
            return taken
        taken._names, taken._known = self._names, self._known
        taken._numbers = packed("i", np.frombuffer(self._numbers, np.int32)[rows])
        values = np.frombuffer(self._values, np.uint8)
        some, ends = gather_keys(values, np.frombuffer(self._ends, np.int64), rows)
        taken._values, taken._ends = bytearray(some), packed("q", ends)
        if self._odd:
            numbers = enumerate(rows.tolist())
            taken._odd = {new: self._odd[old] for new, old in numbers if old in self._odd}
        return taken


def _small(attributes: Mapping[str, int]) -> bytes | None:
    try:
        values = bytes(attributes.values())
    except (TypeError, ValueError):
        return None
    return values if max(values, default=0) < 128 else None


def spelled(keys: Sequence[str]) -> list[bytes]:
    """Return keys as bytes, whatever a list has called them."""
    try:
        return list(map(str.encode, keys))
    except UnicodeEncodeError:  # half of a surrogate pair in one of them: a byte of a name, or nonsense
        return list(map(_spelled, keys))


def _spelled(key: str) -> bytes:
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return key.encode("utf-8", "backslashreplace")
