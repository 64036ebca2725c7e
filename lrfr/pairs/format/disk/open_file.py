"""One shard file, or another LMDB file, while it is open: read by place, never out of its bounds."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lrfr.core.errors import DataError
from lrfr.pairs.format.disk.lmdb_pages import LmdbPages
from lrfr.pairs.format.records import BLOCK_HEAD_BYTES, HEAD_BYTES, block_key, offsets_start, read_count


class PlacedBlock(NamedTuple):
    """A block whose head was checked: where its records lie in the file.

    Attributes:
        offsets: of its records and of the end, from ``start``; they rise.
        start: where the records begin.

    """

    offsets: memoryview
    start: int


class OpenFile:
    """One open file; closed when nobody holds it any more."""

    def __init__(self, path: str, descriptor: int, stamp: tuple[int, ...], held: int | None = None) -> None:
        self.path = path
        self.fetched = held is not None
        self.descriptor, self.stamp = descriptor, stamp
        # what keeps it in the cache is let go with it
        self.close = weakref.finalize(self, _close, [descriptor, *([] if held is None else [held])])
        self.names: set[str] = set()
        self.blocks: dict[int, PlacedBlock] = {}
        self._page_bytes: int | None = None
        self._places: dict[bytes, tuple[int, int]] | None = None

    def read(self, start: int, count: int) -> bytes:
        """Return bytes of the file.

        Raises:
            DataError: it was cut short since, or cannot be read.

        """
        try:
            data = os.pread(self.descriptor, count, start)
            while len(data) < count and (
                more := os.pread(self.descriptor, count - len(data), start + len(data))
            ):
                data += more
        except OSError as error:
            raise DataError(
                f"cannot read: {error.strerror}", file=self.path, hint="lrfr store repair"
            ) from None
        if len(data) != count:
            raise DataError("cut short while it is read", file=self.path, hint="lrfr store repair")
        return data

    def heads(self, most: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with the first bytes of its value.

        Raises:
            DataError: the file is damaged.

        """
        for key, (start, size) in self._pages().items():
            yield key, self.read(start, min(size, most))

    def get(self, key: bytes) -> bytes:
        """Return a value, found by descending through the pages.

        Raises:
            DataError: the key is missing, or the file is damaged.

        """
        place = self._pages().find(key)
        if place is None:
            raise self._missing(key)
        return self.read(*place)

    def value(self, key: bytes) -> bytes:
        """Return a value of a shard, all of whose few keys are remembered.

        Raises:
            DataError: the key is missing, or the file is damaged.

        """
        return self.read(*self._place(key))

    def block(self, number: int) -> PlacedBlock:
        """Return where the records of a block lie, looked up once and remembered (4 bytes a record).

        Raises:
            DataError: the block is missing or damaged.

        """
        found = self.blocks.get(number)
        if found is None:
            found = self.blocks[number] = self._block(*self._place(block_key(number)))
        return found

    def _pages(self) -> LmdbPages:
        """Return its pages; kept, they and this would keep each other open."""
        pages = LmdbPages(self.read, self.stamp[2], self._page_bytes)
        self._page_bytes = pages.page_bytes
        return pages

    def _place(self, key: bytes) -> tuple[int, int]:
        if self._places is None:
            self._places = dict(self._pages().items())
        found = self._places.get(key)
        if found is None:
            raise self._missing(key)
        return found

    def _missing(self, key: bytes) -> DataError:
        return DataError(
            f"damaged database: the key {key.hex()} is missing", file=self.path, hint="lrfr store repair"
        )

    def _block(self, start: int, size: int) -> PlacedBlock:
        count = read_count(self.read(start, min(size, BLOCK_HEAD_BYTES)))
        records = offsets_start(count)
        if records > size:
            raise DataError("not a block of format LRS1")
        offsets = memoryview(self.read(start + BLOCK_HEAD_BYTES, records - BLOCK_HEAD_BYTES)).cast("I")
        steps = np.diff(np.asarray(offsets).astype(np.int64))
        if offsets[0] or offsets[-1] != size - records or (steps < HEAD_BYTES).any():
            raise DataError("the block's list of records is damaged")
        return PlacedBlock(offsets, start + records)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
