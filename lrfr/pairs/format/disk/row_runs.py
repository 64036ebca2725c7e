"""Copying rows of columns to their places among the rows of several tables: neighbors that stay neighbors go
as they lie, for a part that grows a view a little leaves most of them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# the keys of a table, where they end, some rows of it, and the places of these among others
KeyRows = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
# rows whose keys are copied at once: eight bytes of index stand for every byte of a key
_GATHER_ROWS = 1 << 14
# of neighbors on average, from which on runs are copied as they lie
_LONG_RUN = 8
_Runs = tuple[NDArray[np.int64], NDArray[np.int64]]


def _runs(rows: NDArray[np.int64], places: NDArray[np.int64]) -> _Runs | None:
    """Return where runs of neighbors begin and stop, None where they are short."""
    if not len(rows):
        return rows, rows
    stops = np.append(np.flatnonzero((np.diff(rows) != 1) | (np.diff(places) != 1)) + 1, len(rows))
    return None if _LONG_RUN * len(stops) > len(rows) else (np.append(0, stops[:-1]), stops)


def copy_rows(
    into: NDArray[Any], places: NDArray[np.int64], column: NDArray[Any], rows: NDArray[np.int64]
) -> None:
    """Set ``into[places] = column[rows]``."""
    # a mapped column was compared with its file when it was asked for, not once for each run
    column, runs = np.asarray(column), _runs(rows, places)
    if runs is None:
        into[places] = column[rows]
        return
    firsts, stops = runs
    sizes = (stops - firsts).tolist()
    for place, row, size in zip(places[firsts].tolist(), rows[firsts].tolist(), sizes, strict=True):
        into[place : place + size] = column[row : row + size]


def gather_keys(
    blob: NDArray[np.uint8], ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the keys of some rows, one after another, and where each ends."""
    return join_keys([(blob, ends, rows, np.arange(len(rows)))], len(rows))


def join_keys(tables: Sequence[KeyRows], count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the keys of rows of several tables, one after another, and where each ends.

    Args:
        tables: of each its keys, where they end, some rows, and their places among all.
        count: of the places.

    """
    lengths = np.zeros(count, np.int64)
    for _, ends, rows, places in tables:
        lengths[places] = ends[rows] - np.where(rows > 0, ends[rows - 1], 0)
    new_ends = np.cumsum(lengths)
    result = np.empty(int(new_ends[-1]) if count else 0, np.uint8)
    for blob, ends, rows, places in tables:
        keys, runs = np.asarray(blob), _runs(rows, places)
        if runs is None:
            _copy_scattered(result, new_ends, (keys, ends, rows, places), lengths)
            continue
        firsts, stops = runs
        into = new_ends[places[firsts]] - lengths[places[firsts]]
        source = ends[rows[firsts]] - lengths[places[firsts]]
        sizes = (new_ends[places[stops - 1]] - into).tolist()
        for start, place, size in zip(source.tolist(), into.tolist(), sizes, strict=True):
            result[place : place + size] = keys[start : start + size]
    return result, new_ends


def _copy_scattered(
    into: NDArray[np.uint8], new_ends: NDArray[np.int64], table: KeyRows, lengths: NDArray[np.int64]
) -> None:
    """Copy keys byte by byte: an index stands for each."""
    blob, ends, rows, places = table
    for first in range(0, len(rows), _GATHER_ROWS):
        some = slice(first, first + _GATHER_ROWS)
        own = lengths[places[some]]
        before = np.cumsum(own) - own
        steps = np.arange(int(own.sum())) - np.repeat(before, own)
        source = np.repeat(ends[rows[some]] - own, own) + steps
        into[np.repeat(new_ends[places[some]] - own, own) + steps] = blob[source]
