"""What a first look at faces leaves for the shards that are written next, so that no face is read or decoded
twice: its HR record and, where they cost little, its degraded ones.

A file of entries a scan task, in the store's ``tmp``; an entry is the degraded records, where there are some,
and the HR payload, each behind a check. It may only save time: a face without an entry, or with a damaged
one, is read again from its source.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from lrfr.core.files import discard, open_regular, temp_name
from lrfr.pairs.format.records import Buffer, Record

# below it, nothing is won
LEAST_FACES = 512
# of disk, and of what is free there
MOST_BYTES, MOST_SHARE = 8 << 30, 1 / 8
ENTRY = np.dtype(
    [("file", "<i4"), ("size", "<u4"), ("block", "<u4"), ("at", "<u8"), ("seed", "<u8"), ("mark", "<u8")]
)
_MOST_ENTRY = 1 << 28
_MOST_OPEN = 64
_WRITTEN_BYTES = 1 << 18
_CHECK = struct.Struct("<Q")
# bytes of payload and tail, codec, height, width
_RECORD = struct.Struct("<IIBHH")


def entry_seed(key: bytes, sha256: bytes) -> int:
    """Return what seeds the checks of a face's entry: those of another key or of other bytes do not pass."""
    return xxhash.xxh3_64_intdigest(key + sha256)


def stamp_mark(stamp: Sequence[int]) -> int:
    """Return 64 bits, not 0, that name a stamp on this machine."""
    return hash(tuple(stamp)) & (2**64 - 1) or 1


@dataclass(frozen=True)
class Spool:
    """Where the entries of some faces lie.

    Attributes:
        first: path of file 0; those of the others have another number in it.
        entries: ``ENTRY [n]``, of each face its file (-1 for none), bytes and those of its degraded
            records, place, seed of its checks and the mark of its stamp before it was read (0 for none).

    """

    first: str
    entries: NDArray[Any]

    @classmethod
    def empty(cls, tmp: Path, faces: int) -> Spool:
        """Return one without entries, with names of its own in ``tmp``."""
        entries = np.zeros(faces, ENTRY)
        entries["file"] = -1
        return cls(str(temp_name(tmp, "spool-0")), entries)

    def file(self, number: int) -> Path:
        """Return the path of a file."""
        folder, name = os.path.split(self.first)
        return Path(folder, f"spool-{number}{name.removeprefix('spool-0')}")

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Spool:
        """Return where the entries of some of the faces lie."""
        return replace(self, entries=self.entries[rows])

    def of(self, rows: NDArray[np.integer], keys: Iterable[bytes], digests: NDArray[np.uint8]) -> Spool:
        """Return where the entries of some rows of a plan lie; none passes that was made of another key or of
        other bytes.
        """
        found, sums = self.take(rows), digests.tobytes()
        seeds = (entry_seed(key, sums[at : at + 32]) for at, key in zip(count(0, 32), keys, strict=False))
        found.entries["seed"] = np.fromiter(seeds, np.uint64, len(rows))
        return found

    def mark(self, rows: Sequence[int], stamps: Sequence[Sequence[int] | None]) -> None:
        """Note the stamps of some faces before they are read."""
        marks = [stamp_mark(stamp) if stamp else 0 for stamp in stamps]
        self.entries["mark"][rows] = np.array(marks, np.uint64)

    def put(self, rows: Sequence[int], number: int, entries: NDArray[Any]) -> None:
        """Take in what a scan task wrote to file ``number``."""
        entries["file"] = np.where(entries["size"] > 0, number, -1)
        entries["mark"] = self.entries["mark"][rows]
        self.entries[rows] = entries

    def files_allowed(self, file_bytes: int) -> int:
        """Return how many files of ``file_bytes`` the disk may hold for a while."""
        try:
            free = shutil.disk_usage(os.path.dirname(self.first)).free
        except OSError:
            return 0
        return int(min(MOST_BYTES, MOST_SHARE * free) // file_bytes)


def kept_row_bytes(size_px: int) -> int:
    """Return what an entry takes for an image of a face, rather more than less: 6 bits a pixel."""
    return 3 * size_px * size_px // 4 + 1024


class SpoolWriter:
    """Writes one file of entries; use as a context manager. A fault of the disk ends it without an error.

    Args:
        path: the file.
        faces: number of faces of the task.
        most_bytes: of the file.

    """

    def __init__(self, path: Path, faces: int, most_bytes: int) -> None:
        self._faces, self._rows = faces, list[tuple[int, int, int, int]]()
        self._path, self._most, self._end = path, most_bytes, 0
        self._parts, self._waiting = list[Buffer](), 0
        self._handle: Any = None

    def __enter__(self) -> SpoolWriter:
        try:
            self._handle = self._path.open("wb", buffering=_WRITTEN_BYTES)
        except OSError:
            self._give_up()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._handle:
                self._flush()
            if self._handle:
                self._handle.close()
        except OSError:
            self._give_up()

    def add(self, index: int, payload: Buffer, records: Sequence[Record], seed: int) -> None:
        """Append the entry of a face: its HR payload and its degraded records."""
        if not self._handle:
            return
        block = _packed(records, seed) if records else b""
        size = len(block) + _CHECK.size + len(payload)
        if size > _MOST_ENTRY or self._end + size > self._most:
            return
        self._parts += (block, _CHECK.pack(xxhash.xxh3_64_intdigest(payload, seed)), payload)
        self._rows.append((index, size, len(block), self._end))
        self._end += size
        self._waiting += size
        if self._waiting >= _WRITTEN_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Write the entries that wait in one go."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._waiting = 0
        try:
            self._write(data)
        except OSError:
            self._give_up()

    def _write(self, block: bytes) -> None:
        self._handle.write(block)

    def entries(self) -> NDArray[Any]:
        """Return ``ENTRY [faces]`` with places alone; to be asked when all is written."""
        found = np.zeros(self._faces, ENTRY)
        if self._rows:
            rows = np.array(self._rows, np.uint64)
            at = rows[:, 0].astype(np.int64)
            for column, name in enumerate(("size", "block", "at"), 1):
                found[name][at] = rows[:, column]
        return found

    def _give_up(self) -> None:
        """Leave the space to what needs it."""
        self._handle = None
        self._rows.clear()
        discard(self._path)


def _packed(records: Sequence[Record], seed: int) -> bytes:
    parts: list[Buffer] = []
    for _, codec, height, width, payload, tail in records:
        parts += (_RECORD.pack(len(payload), len(tail), codec, height, width), payload, tail)
    body = b"".join(parts)
    return _CHECK.pack(xxhash.xxh3_64_intdigest(body, seed)) + body


def _unpacked(data: bytes, row: int, seed: int) -> list[Record]:
    """Return the records that :func:`_packed` wrote, under a row number; none where the check fails."""
    place, found = _CHECK.size, list[Record]()
    if xxhash.xxh3_64_intdigest(memoryview(data)[place:], seed) != _CHECK.unpack_from(data)[0]:
        return found
    while place < len(data):
        length, more, codec, height, width = _RECORD.unpack_from(data, place)
        start = place + _RECORD.size
        end = start + length
        place = end + more
        found.append(Record(row, codec, height, width, data[start:end], data[end:place]))
    return found


class SpoolReader:
    """Reads the entries of a spool; use as a context manager."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._entries: list[tuple[int, int, int, int, int, int]] = spool.entries.tolist()
        self._open: dict[int, int] = {}

    def __enter__(self) -> SpoolReader:
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def payload(self, index: int) -> Buffer | None:
        """Return the HR payload of a face's entry; None where it has no sound one."""
        number, size, block, at, seed, _ = self._entries[index]
        if number < 0:
            return None
        try:
            data = self._read(number, size - block, at + block)
            payload = memoryview(data)[_CHECK.size :]
            return payload if xxhash.xxh3_64_intdigest(payload, seed) == _CHECK.unpack_from(data)[0] else None
        except (OSError, struct.error):
            return None

    def records(self, index: int, row: int, slots: Sequence[int]) -> list[Record] | None:
        """Return some degraded records of a face's entry under a row number; None where it has no sound
        one.
        """
        number, _, size, at, seed, _ = self._entries[index]
        if number < 0:
            return None
        try:
            found = _unpacked(self._read(number, size, at), row, seed)
            return [found[slot] for slot in slots]
        except (OSError, struct.error, IndexError):
            return None

    def _read(self, number: int, size: int, at: int) -> bytes:
        descriptor = self._open.get(number)
        if descriptor is None:
            if len(self._open) >= _MOST_OPEN:
                self.__exit__()
            descriptor = open_regular(self._spool.file(number))
            self._open[number] = descriptor
        return os.pread(descriptor, size, at)
