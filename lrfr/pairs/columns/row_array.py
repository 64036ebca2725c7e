"""Reading columns: chunks on disk behind one array."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import sha256_file
from lrfr.pairs.columns.column_manifest import Chunk, ColumnManifest, ColumnPlace
from lrfr.pairs.format.disk.array_file import ArrayFile
from lrfr.pairs.format.remote.mirror import keep

Index = int | slice | Sequence[int] | NDArray[np.integer[Any]] | NDArray[np.bool_]
_HINT = "lrfr store verify; remove the column's folder and write it again"


class BaseColumn:
    """The column of one base. Chunks are checked and opened when they are first needed, so it may be pickled
    and carried across a fork.

    Args:
        folder: of the column.
        manifest: what it says of itself.
        check: also compare a chunk's sha256 before it is first used (its size is always compared).

    """

    def __init__(self, folder: Path, manifest: ColumnManifest, check: bool = True) -> None:
        self.folder, self.manifest, self.check = folder, manifest, check
        rows = [chunk.rows for chunk in manifest.chunks]
        self._starts = np.cumsum([0, *rows], dtype=np.int64)
        if self._starts[-1] != manifest.rows:
            raise DataError(
                f"{self._starts[-1]} rows in chunks where {manifest.rows} belong",
                file=str(folder / "manifest.json"),
                hint=_HINT,
            )
        self._present: NDArray[np.bool_] | np.bool_ | None = None
        self._files: dict[int, ArrayFile] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "manifest": self.manifest, "check": self.check}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __len__(self) -> int:
        return self.manifest.rows

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some rows have a value."""
        if self._present is None:
            mask = self._open_now(lambda manifest: manifest.present)
            self._present = mask.take(np.arange(len(self))) if mask else np.True_
        return np.broadcast_to(self._present, len(self))[rows]

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows, ``[n]`` or ``[n, width]``, in memory of their own.

        Raises:
            DataError: a chunk is missing or damaged, or a row has no value.

        """
        missing = rows[~self.has(rows)]
        if len(missing):
            raise DataError(
                f"{len(missing)} rows have no value, the first is row {missing[0]} of the base",
                file=str(self.folder),
                hint="the column was written for a view that does not show them",
            )
        return self.take_any(rows)

    def take_any(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows, zeros where one has no value."""
        found = np.empty((len(rows), *self.manifest.row_shape), self.manifest.dtype)
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(chunks).tolist():
            members = np.flatnonzero(chunks == number)
            found[members] = self._chunk(number).take(rows[members] - self._starts[number])
        return found

    def _chunk(self, number: int) -> ArrayFile:
        """Return the file of one chunk."""
        found = self._files.get(number)
        if found is None:
            with self._lock:
                found = self._files.get(number)
                if found is None:
                    found = self._open_now(lambda manifest: manifest.chunks[number])
                    assert found is not None
                    self._files[number] = found
        return found

    def _open_now(self, which: Callable[[ColumnManifest], Chunk | None]) -> ArrayFile | None:
        """Return a file of the column; one that is no longer there may have been replaced by one of more
        rows, where the manifest has been, too.
        """
        chunk = which(self.manifest)
        try:
            return self._open(chunk) if chunk else None
        except DataError:
            now = ColumnManifest.read(self.folder / "manifest.json")
            if now == self.manifest or _layout(now) != _layout(self.manifest):
                raise
            self.manifest = now
        chunk = which(now)
        return self._open(chunk) if chunk else None

    def _open(self, chunk: Chunk) -> ArrayFile:
        path = self.folder / chunk.file
        held = keep(path, chunk.bytes, chunk.sha256)
        try:
            fault = chunk_fault(path, chunk, self.check)
            if fault:
                raise DataError(fault, file=str(path), hint=_HINT)
            mask = chunk is self.manifest.present
            shape = (chunk.rows,) if mask else (chunk.rows, *self.manifest.row_shape)
            return ArrayFile(path, shape, "bool" if mask else self.manifest.dtype, _HINT, held)
        except DataError:
            if held is not None:
                os.close(held)
            raise


def _layout(manifest: ColumnManifest) -> tuple[object, ...]:
    return manifest.dtype, manifest.width, [chunk.rows for chunk in manifest.chunks]


def chunk_fault(path: Path, chunk: Chunk, check: bool = True) -> str:
    """Return what is wrong with a chunk's file, "" if nothing."""
    try:
        size = os.stat(path).st_size
        if size != chunk.bytes:
            return f"{size} bytes where {chunk.bytes} were written"
        if check and sha256_file(path) != chunk.sha256:
            return "the content does not match its sha256"
    except OSError as error:
        return f"cannot read: {error.strerror}"
    return ""


def open_column(place: ColumnPlace, check: bool = True) -> BaseColumn:
    """Open a column.

    Raises:
        DataError: its manifest is missing or damaged.

    """
    return BaseColumn(place.folder, ColumnManifest.read(place.manifest), check)


class RowArray:
    """A column by the positions of a dataset: ``array[5]``, ``array[10:20]``, ``array[positions]``,
    ``np.asarray(array)``. Nothing is read before it is asked for.

    Args:
        columns: of the bases, one after another.
        rows: of each position, numbered through all bases.

    """

    def __init__(self, columns: Sequence[BaseColumn], rows: NDArray[np.int64]) -> None:
        self._columns, self._rows = tuple(columns), rows
        self._starts = np.cumsum([0, *map(len, self._columns)], dtype=np.int64)

    @property
    def name(self) -> str:
        """Name of the column."""
        return self._columns[0].manifest.name

    @property
    def producer(self) -> str:
        """What computed it."""
        return self._columns[0].manifest.producer

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self._columns[0].manifest.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(len,)`` or ``(len, width)``."""
        return (len(self._rows), *self._columns[0].manifest.row_shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, positions: Index) -> NDArray[Any]:
        """Return the rows of positions as numpy would of an array, in memory of their own.

        Raises:
            IndexError: there is no such position.
            DataError: a chunk is missing or damaged.

        """
        rows = np.asarray(self._rows[positions])
        found = self._take(rows.reshape(-1))
        return found.reshape((*rows.shape, *self.shape[1:]))

    def _take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        if len(self._columns) == 1:
            return self._columns[0].take(rows)
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for owner in np.unique(owners).tolist():
            members = np.flatnonzero(owners == owner)
            found[members] = self._columns[owner].take(rows[members] - self._starts[owner])
        return found

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows as one array."""
        if copy is False:
            raise ValueError("a column lies in files; reading all of it makes a copy")
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"<column {self.name}: {self.dtype.name} {list(self.shape)}>"
