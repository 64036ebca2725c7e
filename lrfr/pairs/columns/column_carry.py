"""Carrying columns to another base whose rows come from older ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.columns.column_manifest import CHUNK_ROWS, ColumnManifest, ColumnPlace, manifest_files
from lrfr.pairs.columns.column_write import write_values
from lrfr.pairs.columns.row_array import BaseColumn
from lrfr.pairs.format.store_files import StoreFiles


@dataclass(frozen=True)
class Origin:
    """Where rows of a new base come from: a base of this or another store."""

    store: StoreFiles
    base: str


@dataclass(frozen=True)
class Carried:
    """What became of the columns of older bases: those that came along, and those that could not, as name and
    producer.
    """

    carried: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]


def carry_columns(
    store: StoreFiles,
    base: str,
    origins: Sequence[Origin],
    origin_n: NDArray[np.int64],
    row_n: NDArray[np.int64],
) -> Carried:
    """Give a base the columns of the bases that its rows come from: after some rows were forgotten (one
    origin, fewer rows), or stores were merged (several). The caller holds the store's lock.

    Args:
        store: of the new base.
        base: its id.
        origins: the older bases.
        origin_n: of each new row, its origin ``[n]``, or -1 for a row that is new altogether.
        row_n: of each new row, its row there ``[n]``.

    Returns:
        What came along. A column is left where an origin in use does not have it, or as another type or
        width, or where rows are new altogether: ``Store.write_column`` with its producer computes it.

    """
    used = sorted(set(origin_n.tolist()))
    known: dict[tuple[str, str], dict[int, BaseColumn]] = {}
    for number in used:
        for path in manifest_files(origins[number].store, origins[number].base) if number >= 0 else ():
            manifest = ColumnManifest.read(path)
            key = (manifest.name, manifest.producer)
            known.setdefault(key, {})[number] = BaseColumn(path.parent, manifest)
    carried, left = [], []
    for key, columns in sorted(known.items()):
        kinds = {(column.manifest.dtype, column.manifest.width) for column in columns.values()}
        if len(columns) < len(used) or len(kinds) > 1:
            left.append(key)
            continue
        place = ColumnPlace(store, base, *key)
        if not place.manifest.exists():
            present = np.zeros(len(row_n), np.bool_)
            for number, column in columns.items():
                members = np.flatnonzero(origin_n == number)
                present[members] = column.has(row_n[members])
            write_values(place, _gathered(columns, origin_n, row_n), present=present)
        carried.append(key)
    return Carried(tuple(carried), tuple(left))


def _gathered(
    columns: dict[int, BaseColumn], origin_n: NDArray[np.int64], row_n: NDArray[np.int64]
) -> Iterator[NDArray[Any]]:
    first = next(iter(columns.values())).manifest
    for start in range(0, len(row_n), CHUNK_ROWS):
        origins, rows = origin_n[start : start + CHUNK_ROWS], row_n[start : start + CHUNK_ROWS]
        values = np.empty((len(rows), *first.row_shape), first.dtype)
        for number, column in columns.items():
            members = np.flatnonzero(origins == number)
            values[members] = column.take_any(rows[members])
        yield values
