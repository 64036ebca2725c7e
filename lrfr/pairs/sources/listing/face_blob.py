"""A list of faces as JSON and arrays, as it is kept between two commands."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.sources.listing.face_columns import Attributes, Names, Place, Places, packed
from lrfr.pairs.sources.listing.face_list import FaceList

_KINDS: dict[type | None, str] = {str: "str", bytes: "bytes", None: ""}


class NotKept(Exception):
    """A place or attribute that JSON cannot spell: the list is not kept."""


def pack_faces(faces: FaceList) -> tuple[Mapping[str, Any], list[bytes]]:
    """Return a header of plain data, and the columns one after another.

    Raises:
        NotKept: a place is none of numbers, texts, bytes and tuples of them.

    """
    keys, ends = faces.key_columns()
    places, attributes = faces._places, faces._attributes
    columns = [_packed_column(column) for column in places._columns]
    header = {
        "labels": faces._labels.names(),
        "splits": faces._splits.names(),
        "faults": [[row, *told] for row, told in faces._faults.items()],
        "place": {
            "of_key": _KINDS[places._of_key],
            "plain": places._plain,
            "columns": [names for names, _ in columns],
            "odd": [[row, _spelled(place)] for row, place in places._odd.items()],
        },
        "attributes": {
            "names": [list(names) for names in attributes._names],
            "none": attributes._numbers is None,
            "odd": [[row, _flags(some)] for row, some in attributes._odd.items()],
        },
    }
    numbers = attributes._numbers
    blobs = [
        keys.tobytes(),
        ends.tobytes(),
        faces.labels()[0].tobytes(),
        faces.splits()[0].tobytes(),
        *(data for _, data in columns),
        b"" if numbers is None else numbers.tobytes(),
        bytes(attributes._values),
        attributes._ends.tobytes(),
    ]
    return header, blobs


def unpack_faces(header: Mapping[str, Any], blobs: Sequence[memoryview]) -> FaceList:
    """Return the list of :func:`pack_faces`.

    Raises:
        ValueError, TypeError, KeyError, IndexError: it is not one.

    """
    parts = iter(blobs)
    faces = FaceList()
    faces._keys = bytearray(next(parts))
    faces._ends = packed("q", _climbing(next(parts), len(faces._keys)))
    count = len(faces._ends)
    faces._labels = Names(header["labels"], _numbers(next(parts), count, len(header["labels"])))
    faces._splits = Names(header["splits"], _numbers(next(parts), count, len(header["splits"])))
    faces._places = _places(header["place"], parts, count)
    faces._attributes = _attributes(header["attributes"], parts, count)
    faces._faults = {int(row): (str(code), str(detail)) for row, code, detail in header["faults"]}
    return faces


def _packed_column(column: array[int] | list[Any]) -> tuple[list[object] | None, bytes]:
    """Return the different items of a column and which each is; numbers are kept as they are."""
    if isinstance(column, array):
        return None, column.tobytes()
    try:
        number = {item: place for place, item in enumerate(dict.fromkeys(column))}
    except TypeError:
        raise NotKept from None
    return [_spelled(item) for item in number], array("i", map(number.__getitem__, column)).tobytes()


def _places(header: Mapping[str, Any], parts: Iterator[memoryview], count: int) -> Places:
    places = Places()
    places._count, places._plain = count, bool(header["plain"])
    places._of_key = {name: kind for kind, name in _KINDS.items()}[header["of_key"]]
    for names in header["columns"]:
        if names is None:
            places._columns.append(packed("q", _of_length(np.frombuffer(next(parts), np.int64), count)))
        else:
            items = [_read(item) for item in names]
            places._columns.append([items[at] for at in _numbers(next(parts), count, len(items))])
    places._odd = {int(row): _read(item) for row, item in header["odd"]}
    return places


def _attributes(header: Mapping[str, Any], parts: Iterator[memoryview], count: int) -> Attributes:
    attributes = Attributes()
    numbers, values, ends = next(parts), next(parts), next(parts)
    if header["none"]:
        return attributes
    attributes._names = [tuple(map(str, names)) for names in header["names"]]
    attributes._known = {names: number for number, names in enumerate(attributes._names)}
    attributes._numbers = _numbers(numbers, count, len(attributes._names), least=-1)
    attributes._values = bytearray(values)
    attributes._ends = packed("q", _of_length(_climbing(ends, len(values)), count))
    attributes._odd = {int(row): {str(name): int(flag) for name, flag in some} for row, some in header["odd"]}
    return attributes


def _numbers(data: memoryview, count: int, names: int, least: int = 0) -> array[int]:
    numbers = _of_length(np.frombuffer(data, np.int32), count)
    if count and (numbers.min() < least or numbers.max() >= names):
        raise ValueError("a number without a name")
    return packed("i", numbers)


def _of_length(column: NDArray[Any], count: int) -> NDArray[Any]:
    if len(column) != count:
        raise ValueError("a column of another length")
    return column


def _climbing(data: memoryview, last: int) -> NDArray[np.int64]:
    ends = np.frombuffer(data, np.int64)
    if int(ends[-1] if len(ends) else 0) != last or (np.diff(ends, prepend=0) < 0).any():
        raise ValueError("ends that are none")
    return ends


def _spelled(place: Place) -> object:
    """Return a place as JSON spells it: bytes as an object, tuples as lists."""
    if place is None or type(place) in (str, int):
        return place
    if type(place) is bytes:
        return {"bytes": place.hex()}
    if type(place) is tuple:
        return [_spelled(item) for item in place]
    raise NotKept


def _read(value: object) -> Place:
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"])
    return tuple(map(_read, value)) if isinstance(value, list) else value


def _flags(some: Any) -> list[list[object]]:
    if any(type(flag) is not int for flag in some.values()):
        raise NotKept
    return [[name, flag] for name, flag in some.items()]
