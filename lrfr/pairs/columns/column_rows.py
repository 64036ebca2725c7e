"""Columns of functions for some rows of a base, which may grow: what other rows have is kept, and what is
missing is computed.

New values lie in a folder of their own until all are there, so a call that was killed goes on. Then the
chunks that gain rows are written anew beside the old ones, the manifest is replaced, and what it no longer
names goes last: killed anywhere, the column is the old one or the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import digest_of, discard, sha256_hex
from lrfr.pairs.columns.column_manifest import CHUNK_ROWS, ColumnManifest, ColumnPlace
from lrfr.pairs.columns.column_write import (
    ChunkReport,
    ImageFunction,
    begun,
    computed,
    one_kind,
    seal_column,
    write_chunk,
    write_function,
    write_present,
)
from lrfr.pairs.columns.row_array import BaseColumn
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.array_file import map_array

# what one task computes and a kill can lose; few, as a few rows should keep several processes busy
PART_ROWS = 2048


@dataclass(frozen=True)
class Staged(ColumnPlace):
    """Where new values lie until all are there: beside the column, without a manifest.

    Attributes:
        rows_digest: names the rows.

    """

    rows_digest: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the values."""
        column = ColumnPlace(self.store, self.base, self.name, self.producer).folder
        return column.with_name(f"{column.name}-{self.rows_digest}")


@dataclass(frozen=True)
class RowsTask:
    """Compute the values of some rows from their HR images and write them.

    Attributes:
        place: where to.
        start: how many of the missing rows come before.
        rows: of the base, int64 ``[n]``.
        function: gives the values of some images.
        dtype: of the values, "" for that of the function.

    """

    place: Staged
    start: int
    rows: NDArray[np.int64]
    function: ImageFunction
    dtype: str

    def run(self) -> ChunkReport:
        """Return what was written."""
        values = computed(self.place, self.rows.tolist(), self.function)
        return write_chunk(self.place, self.start, values, self.dtype)


def write_rows(
    place: ColumnPlace, function: ImageFunction, dtype: str, runner: Runner, wanted: NDArray[np.bool_]
) -> int:
    """Let a base's column have values for some rows at least; return how many were computed.

    Args:
        place: of the column.
        function: gives the values of some images; the processes of ``runner`` must be able to import it.
        dtype: of the values, "" for that of the function.
        runner: where it is computed.
        wanted: which rows ``[rows]``; of none the first is taken, as a column has to know its width.

    Raises:
        SpecError: the function gives something else than a row for each image.
        DataError: it gives other types or widths than the column has.

    """
    held = _held(place, len(wanted))
    missing = np.flatnonzero(wanted & ~held.has)
    if not len(missing) and held.column:
        return 0
    missing = missing if len(missing) or held.has.any() else np.arange(1)
    if len(missing) + sum(report.images for report in held.chunks.values()) == len(wanted):
        return write_function(place, function, dtype, runner)
    staged = Staged(*_named(place), digest_of([sha256_hex(missing.tobytes()), PART_ROWS])[:16])
    _join(place, held, _computed_parts(staged, function, dtype, runner, missing))
    return len(missing)


@dataclass(frozen=True)
class _Held:
    """What is there.

    Attributes:
        column: the column so far; None without one.
        chunks: whole chunks that a write of all rows left which did not end, by first row.
        has: which rows have a value ``[rows]``.

    """

    column: BaseColumn | None
    chunks: Mapping[int, ChunkReport]
    has: NDArray[np.bool_]


def _held(place: ColumnPlace, rows: int) -> _Held:
    if place.manifest.exists():
        column = BaseColumn(place.folder, ColumnManifest.read(place.manifest))
        return _Held(column, {}, column.has(np.arange(rows)))
    chunks, has = begun(place), np.zeros(rows, np.bool_)
    for start, report in chunks.items():
        has[start : start + report.images] = True
    return _Held(None, chunks, has)


def _named(place: ColumnPlace) -> tuple[Any, str, str, str]:
    return place.store, place.base, place.name, place.producer


@dataclass(frozen=True)
class _Parts:
    """The new values.

    Attributes:
        place: where they lie.
        rows: of the base, int64 ``[n]``, in order.
        reports: of each part, by how many of the rows come before.

    """

    place: Staged
    rows: NDArray[np.int64]
    reports: Mapping[int, ChunkReport]

    def between(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Yield the values from one place to another, in parts."""
        for first, report in sorted(self.reports.items()):
            if first < stop and first + report.images > start and report.chunk:
                yield map_array(self.place.folder / report.chunk.file)[max(0, start - first) : stop - first]


def _computed_parts(
    staged: Staged, function: ImageFunction, dtype: str, runner: Runner, missing: NDArray[np.int64]
) -> _Parts:
    before = begun(staged)
    tasks = [
        RowsTask(staged, start, missing[start : start + PART_ROWS], function, dtype)
        for start in range(0, len(missing), PART_ROWS)
        if start not in before
    ]
    done = sum(report.images for report in before.values())
    made = runner.run(tasks, 0.0, staged.name, done, len(missing))
    return _Parts(staged, missing, before | {task.start: one for task, one in zip(tasks, made, strict=True)})


def _join(place: ColumnPlace, held: _Held, parts: _Parts) -> None:
    """Write the chunks that gain rows, and the manifest of all; remove what is no part of the column then."""
    old = held.column.manifest if held.column else None
    kind = one_kind(place, [*held.chunks.values(), *parts.reports.values()], old)
    row_shape = (kind[1],) if kind[1] else ()
    reports: list[ChunkReport] = []
    for start, stop in _spans(old, len(held.has)):
        first, last = np.searchsorted(parts.rows, [start, stop]).tolist()
        if first == last and start in held.chunks:
            reports.append(held.chunks[start])
        elif first == last and old is not None:
            chunk = old.chunks[len(reports)]
            reports.append(ChunkReport(chunk.rows, chunk, *kind))
        else:
            values = np.zeros((stop - start, *row_shape), kind[0])
            if held.column is not None:
                values[:] = held.column.take_any(np.arange(start, stop))
            if first < last:
                values[parts.rows[first:last] - start] = np.concatenate(list(parts.between(first, last)))
            reports.append(write_chunk(place, start, values))
    present = held.has.copy()
    present[parts.rows] = True
    seal_column(place, len(present), reports, None if present.all() else write_present(place, present))
    kept = {chunk.file for chunk in ColumnManifest.read(place.manifest).files}
    for path in place.folder.glob("*.npy"):
        if path.name not in kept:
            discard(path)
    for left in place.folder.parent.glob(f"{place.folder.name}-*"):
        discard(left)


def _spans(old: ColumnManifest | None, rows: int) -> Iterator[tuple[int, int]]:
    """Yield first row and end of the chunks that a column has, or will have."""
    sizes = [chunk.rows for chunk in old.chunks] if old else [CHUNK_ROWS] * (rows // CHUNK_ROWS + 1)
    start = 0
    for size in sizes:
        if start < rows:
            yield start, min(rows, start + size)
        start += size
