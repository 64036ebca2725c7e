"""Arrays in ``.npy`` files: small ones are read, large ones mapped and asked for their size at every access,
rows of columns read by their place. A file that was cut short is an error, where touching its map would end
the process.
"""

from __future__ import annotations

import math
import os
import weakref
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import open_regular, opened

HINT = "lrfr store verify, then lrfr store repair"
# what is smaller is read: several processes that share a map of it would save nothing
MAPPED_BYTES = 1 << 20
_MOST_SIDES, _LONGEST = 8, 1 << 48
# of a file, from which on reading all of it beats reading row by row
_DENSE = 1 / 8


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of an ``.npy`` file says.

    Attributes:
        shape: of the array.
        dtype: of its values.
        order: C or F.
        start: where the values begin.
        size: of the file in bytes.

    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    start: int
    size: int


def array_header(path: Path, hint: str = "lrfr store verify") -> ArrayHeader:
    """Read the header of an ``.npy`` file of plain numbers.

    Raises:
        DataError: it is none, or its header promises other than what follows (nothing is allocated).

    """
    try:
        with opened(path) as handle:
            version = np.lib.format.read_magic(handle)
            if version not in {(1, 0), (2, 0)}:
                raise ValueError("another version of the format")
            read = np.lib.format.read_array_header_1_0
            shape, fortran, dtype = (read if version[0] == 1 else np.lib.format.read_array_header_2_0)(handle)
            start, size = handle.tell(), os.fstat(handle.fileno()).st_size
        possible = len(shape) <= _MOST_SIDES and all(0 <= side < _LONGEST for side in shape)
        if dtype.hasobject or not dtype.itemsize or not possible:
            raise ValueError("no table of plain numbers")
        if math.prod(shape) * dtype.itemsize != size - start:
            raise ValueError("the header does not fit what follows")
    except (
        Exception
    ) as error:  # a header is a literal of Python: its parser and tokenizer have errors of their own
        raise DataError(f"not an array: {error or type(error).__name__}", file=str(path), hint=hint) from None
    return ArrayHeader(shape, dtype, "F" if fortran else "C", start, size)


def arrays_of(handle: IO[bytes], file: str, *, growth: int = 1, hint: str = HINT) -> dict[str, NDArray[Any]]:
    """Return the arrays of an open ``.npz`` file by name.

    Args:
        handle: of its bytes, at their start.
        file: its name, for errors.
        growth: how many times its size it may unfold to; 1 where nothing in it is packed.
        hint: what helps where it is damaged.

    Raises:
        DataError: it is none, holds what are no plain numbers, or unfolds to more.

    """
    try:
        size = handle.seek(0, os.SEEK_END)
        with zipfile.ZipFile(handle) as archive:
            unfolded = sum(item.file_size for item in archive.infolist())
        if unfolded > growth * size:
            raise ValueError(f"{size} bytes that unfold to {unfolded}")
        handle.seek(0)
        with np.load(handle, allow_pickle=False) as table:
            return {name: table[name] for name in table.files}
    except Exception as error:  # of the archive, of what packs it, of headers: see array_header
        raise DataError(f"not arrays: {error or type(error).__name__}", file=file, hint=hint) from None


class MappedArray(np.memmap):
    """A mapped array that compares its file with the size it had before it lends anything."""

    def __getitem__(self, index: Any) -> Any:
        """Return what numpy would; what shares no memory with the file is a plain array."""
        check_whole(self)
        found = np.ndarray.__getitem__(self, index)
        if isinstance(found, MappedArray) and found._mmap is None:  # type: ignore[attr-defined]
            return found.view(np.ndarray)
        return found

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Return the results of functions as plain arrays."""
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain


def check_whole(array: object) -> None:
    """Refuse a mapped array whose file was cut short since.

    Raises:
        DataError: names the file.

    """
    held: Any = getattr(array, "_mmap", None)
    if held is not None and held.size() < len(held):
        raise DataError(
            f"cut short while it is read: {held.size()} bytes where {len(held)} were mapped",
            file=str(getattr(array, "filename", None) or ""),
            hint=HINT,
        )


def map_array(path: Path, hint: str = "lrfr store verify") -> NDArray[Any]:
    """Return an ``.npy`` file of plain numbers, mapped where it is large.

    Raises:
        DataError: it is none, or it was cut short.

    """
    head = array_header(path, hint)
    if head.size - head.start > MAPPED_BYTES:
        with opened(path) as handle:
            found = MappedArray(handle, head.dtype, "r", head.start, head.shape, head.order)
        found.filename = str(path)
        check_whole(found)
        return found
    with opened(path) as handle:
        handle.seek(head.start)
        data = handle.read(head.size - head.start)
    if len(data) != head.size - head.start:
        raise DataError("cut short while it is read", file=str(path), hint=HINT)
    return np.frombuffer(data, head.dtype).reshape(head.shape, order=head.order)


class ArrayFile:
    """The rows of an ``.npy`` file, read by their place.

    Args:
        path: of the file.
        shape, dtype: what it must hold.
        held: a descriptor that is closed together with the file.

    Raises:
        DataError: it holds something else.

    """

    def __init__(
        self, path: Path, shape: Sequence[int], dtype: str, hint: str = HINT, held: int | None = None
    ) -> None:
        self.path, self._hint = path, hint
        head = array_header(path)
        if head.shape != tuple(shape) or head.dtype != dtype or head.order != "C":
            raise DataError(
                f"not the {dtype} {list(shape)} that the manifest says", file=str(path), hint=hint
            )
        self._start, self.shape, self.dtype = head.start, head.shape, head.dtype
        self._row_bytes = math.prod(head.shape[1:]) * head.dtype.itemsize
        try:
            self._descriptor = open_regular(path)
        except OSError as error:
            raise DataError(f"cannot read: {error.strerror}", file=str(path), hint=hint) from None
        weakref.finalize(self, _close, [self._descriptor, *([] if held is None else [held])])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows in memory of their own.

        Raises:
            DataError: the file was cut short, or cannot be read.

        """
        if len(rows) > _DENSE * self.shape[0]:
            first, stop = int(rows.min()), int(rows.max()) + 1
            return self._between(first, stop)[rows - first]
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        into, width = found.reshape(-1).view(np.uint8).data, self._row_bytes
        breaks = (np.flatnonzero(np.diff(rows) != 1) + 1).tolist()
        for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            self._fill(into[start * width : stop * width], int(rows[start]) if len(rows) else 0)
        return found

    def _between(self, first: int, stop: int) -> NDArray[Any]:
        found = np.empty((stop - first, *self.shape[1:]), self.dtype)
        self._fill(found.reshape(-1).view(np.uint8).data, first)
        return found

    def _fill(self, into: memoryview, row: int) -> None:
        """Read bytes from a row on."""
        place, done = self._start + row * self._row_bytes, 0
        while done < len(into):
            try:
                count = os.preadv(self._descriptor, [into[done:]], place + done)
            except OSError as error:
                raise DataError(
                    f"cannot read: {error.strerror}", file=str(self.path), hint=self._hint
                ) from None
            if not count:
                raise DataError("cut short while it is read", file=str(self.path), hint=self._hint)
            done += count


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
