"""Writing columns: in chunks that are committed one by one, so that a write that was killed goes on."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import discard, make_folder, sha256_file, sha256_hex, sync_folder, write_atomic
from lrfr.pairs.columns.column_manifest import (
    CHUNK_ROWS,
    Chunk,
    ColumnManifest,
    ColumnPlace,
    as_dtype,
    converted,
)
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.array_file import map_array
from lrfr.pairs.format.reader import open_base

# what a function of images gives for them: one number or one row of numbers each
ImageFunction = Callable[[Sequence[NDArray[np.uint8]]], Any]
CALL_IMAGES = 256


@dataclass(frozen=True)
class ChunkReport(TaskReport):
    """A chunk that was written, and the type and width of its values."""

    chunk: Chunk | None = None
    dtype: str = ""
    width: int = 0


@dataclass(frozen=True)
class ChunkTask:
    """Compute the values of some rows from their HR images and write them.

    Attributes:
        place: of the column.
        start, stop: the rows.
        function: gives the values of some images.
        dtype: of the values, "" for that of the function.

    """

    place: ColumnPlace
    start: int
    stop: int
    function: ImageFunction
    dtype: str

    def run(self) -> ChunkReport:
        """Return what was written."""
        values = computed(self.place, range(self.start, self.stop), self.function)
        return write_chunk(self.place, self.start, values, self.dtype)


def computed(place: ColumnPlace, rows: Sequence[int], function: ImageFunction) -> NDArray[Any]:
    """Return what a function gives for the HR images of some rows, ``[n]`` or ``[n, D]``.

    Raises:
        SpecError: something else than a row of one width for each image.
        DataError: a record is damaged.

    """
    shards = open_base(place.store.base(place.base))
    parts = []
    for start in range(0, len(rows), CALL_IMAGES):
        images = list(shards.images(rows[start : start + CALL_IMAGES]))
        parts.append(_values(function(images), len(images)))
    try:
        return np.concatenate(parts)
    except (ValueError, TypeError) as error:
        raise SpecError(f"the function gives rows of several widths or types: {error}") from None


def _values(found: object, count: int) -> NDArray[Any]:
    """Return what a function gave for some images as an array with a row for each."""
    if hasattr(found, "detach"):  # a tensor, without importing torch for it
        found = found.detach().cpu().numpy()
    values = np.asarray(found)
    if values.ndim not in (1, 2) or len(values) != count or values.dtype == object:
        raise SpecError(
            f"the function gave {values.dtype} {list(values.shape)} for {count} images",
            hint=f"[{count}] or [{count}, D] of numbers",
        )
    return values


def write_chunk(place: ColumnPlace, start: int, values: NDArray[Any], dtype: str = "") -> ChunkReport:
    """Write the rows from ``start`` on.

    Raises:
        SpecError: a column cannot hold these values.
        EnvironmentFault: the disk is full, or may not be written.

    """
    kept = np.ascontiguousarray(converted(values, as_dtype(dtype or values.dtype)))
    chunk = _write_array(place, f"{start:012d}", kept)
    return ChunkReport(len(kept), chunk, kept.dtype.name, kept.shape[1] if kept.ndim == 2 else 0)


def _write_array(place: ColumnPlace, name: str, kept: NDArray[Any]) -> Chunk:
    content = io.BytesIO()
    little = kept.astype(kept.dtype.newbyteorder("<"), copy=False)
    np.lib.format.write_array(content, little, version=(1, 0), allow_pickle=False)
    data = content.getvalue()
    digest = sha256_hex(data)
    chunk = Chunk(f"{name}-{digest}.npy", len(kept), len(data), digest)
    write_atomic(place.folder / chunk.file, data, place.store.tmp)
    return chunk


def write_function(place: ColumnPlace, function: ImageFunction, dtype: str, runner: Runner) -> int:
    """Write what a function gives for the HR images of a base; return how many rows were computed.

    Chunks of an earlier call that did not end are kept.

    Args:
        place: of the column.
        function: gives the values of some images; the processes of ``runner`` must be able to import it.
        dtype: of the values, "" for that of the function.
        runner: where it is computed.

    Raises:
        SpecError: it gives something else than a row for each image.

    """
    rows = place.store.base_manifest(place.base).rows
    there = begun(place)
    tasks = [
        ChunkTask(place, start, min(rows, start + CHUNK_ROWS), function, dtype)
        for start in range(0, rows, CHUNK_ROWS)
        if start not in there
    ]
    done = sum(report.images for report in there.values())
    made = runner.run(tasks, 0.0, place.name, done, rows)
    reports = there | {task.start: report for task, report in zip(tasks, made, strict=True)}
    seal_column(place, rows, [reports[start] for start in sorted(reports)])
    return sum(report.images for report in made)


def write_values(
    place: ColumnPlace,
    parts: Iterable[NDArray[Any]],
    dtype: str = "",
    present: NDArray[np.bool_] | None = None,
) -> None:
    """Write values that are there already.

    Args:
        place: of the column.
        parts: all rows of the base in order, ``CHUNK_ROWS`` at a time.
        dtype: of the values, "" for that of the parts.
        present: which rows have a value ``[rows]``; None for all.

    """
    there, reports, start = begun(place), [], 0
    for values in parts:
        report = write_chunk(place, start, values, dtype)
        before = there.get(start)
        if before is not None and before.chunk != report.chunk and before.chunk is not None:
            discard(place.folder / before.chunk.file)
        reports.append(report)
        start += len(values)
    mask = None if present is None or present.all() else write_present(place, present)
    seal_column(place, place.store.base_manifest(place.base).rows, reports, mask)


def in_chunks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield an array in parts of the rows of a chunk."""
    for start in range(0, len(values), CHUNK_ROWS):
        yield values[start : start + CHUNK_ROWS]


def begun(place: ColumnPlace) -> dict[int, ChunkReport]:
    """Return the chunks that a write left which did not end, by first row; whatever else is there is removed,
    and damaged ones, too.
    """
    make_folder(place.folder)
    make_folder(place.store.tmp)
    found: dict[int, ChunkReport] = {}
    for path in sorted(place.folder.glob("*.npy")):
        report = _whole(path)
        start = path.name.split("-")[0]
        if report is None or not start.isdecimal() or int(start) in found:
            discard(path)
        else:
            found[int(start)] = report
    return found


def _whole(path: Path) -> ChunkReport | None:
    digest = path.stem.split("-")[-1]
    if sha256_file(path) != digest:
        return None
    values = map_array(path)
    chunk = Chunk(path.name, len(values), os.stat(path).st_size, digest)
    return ChunkReport(len(values), chunk, values.dtype.name, values.shape[1] if values.ndim == 2 else 0)


def write_present(place: ColumnPlace, present: NDArray[np.bool_]) -> Chunk:
    """Write which rows have a value, bool ``[rows]``."""
    return _write_array(place, "present", present)


def one_kind(
    place: ColumnPlace, reports: Sequence[ChunkReport], old: ColumnManifest | None = None
) -> tuple[str, int]:
    """Return type and width of the values of chunks, and of the column that they shall become part of.

    Raises:
        DataError: there are several.

    """
    kinds = sorted(
        {(report.dtype, report.width) for report in reports} | ({(old.dtype, old.width)} if old else set())
    )
    if len(kinds) > 1:
        raise DataError(
            f"chunks of several types or widths: {kinds}",
            file=str(place.folder),
            hint="remove the folder, and give another producer when the function changes",
        )
    return kinds[0]


def seal_column(
    place: ColumnPlace, rows: int, reports: Sequence[ChunkReport], present: Chunk | None = None
) -> None:
    """Write the manifest of a column whose chunks are there, in row order.

    Raises:
        DataError: they are of several types or widths, or of other rows than the base's.

    """
    dtype, width = one_kind(place, reports)
    chunks = tuple(report.chunk for report in reports if report.chunk)
    if sum(chunk.rows for chunk in chunks) != rows:
        raise DataError(
            f"{sum(chunk.rows for chunk in chunks)} rows where the base has {rows}", file=str(place.folder)
        )
    manifest = ColumnManifest(
        place.name, place.base, place.producer, as_dtype(dtype), width, rows, chunks, present
    )
    sync_folder(place.folder)
    write_atomic(place.manifest, manifest.seal(), place.store.tmp)
