"""What was seen of a source's bytes, kept so that a file whose stamp is the same is not read again.

A file of chunks, appended as they come and each with its own digest: a killed scan keeps what it saw. It may
only save time: what is damaged or foreign in it is passed over, and its loss costs one more look.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import data_of, make_folder, write_atomic
from lrfr.core.image import REMARKS

MAGIC = b"LRSCAN1\n"
FLAGS = tuple(sorted(REMARKS))
# of two times: a clock that ticks this slowly stamps two writes alike
TICK_NS, COARSE_TICK_NS = 100_000_000, 2_000_000_000
_HEAD = struct.Struct("<I16s")
_ENTRY = np.dtype([("ticket", "<u8", 2), ("sha256", "u1", 32), ("size", "<u8"), ("flags", "<u4")])
_MOST_ROWS, _MOST_BYTES = 1 << 24, 1 << 32
_HOW = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# of entries that nobody finds, before the file is written anew
_SLACK_ROWS = 65_536


# to copy a state is half the price of making one, and it is done for every face of every run
_EMPTY = hashlib.blake2b(digest_size=16)


def ticket_of(key: bytes, stamp: Sequence[int]) -> bytes:
    """Return 16 bytes that name a face under a stamp."""
    state = _EMPTY.copy()
    state.update(_numbers(len(stamp)) % tuple(stamp) + key)
    return state.digest()


@lru_cache
def _numbers(count: int) -> bytes:
    return b"%d " * count


def is_settled(stamp: Sequence[int], now_ns: int) -> bool:
    """Return whether whoever writes to a file from ``now_ns`` on must change its stamp.

    A file written within one tick of the clock before it was stamped may be written again under the same
    times; the tick is taken for coarse where the times are whole seconds.
    """
    mtime, ctime = stamp[1:3]
    last = max(mtime, ctime)
    tick = COARSE_TICK_NS if mtime % 1_000_000_000 == 0 == ctime % 1_000_000_000 else TICK_NS
    return last + tick <= now_ns


@dataclass(frozen=True)
class Hits:
    """The tickets that are known.

    Attributes:
        at: int64 ``[k]``, which of those that were asked for.
        digests: uint8 ``[k, 32]``.
        sizes: uint64 ``[k]``, bytes.
        flags: remarks by the number of the hit, of those that have some.

    """

    at: NDArray[np.int64]
    digests: NDArray[np.uint8]
    sizes: NDArray[np.uint64]
    flags: Mapping[int, tuple[str, ...]]


class ScanCache:
    """The entries of one cache file; use as a context manager.

    Args:
        path: the file, which need not be there.

    Attributes:
        note: what to tell about the file, "" when it is sound.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.note = ""
        data = _bytes(path)
        self._end, chunks = _sound(data)
        if self._end < len(data):
            self.note = (
                f"the scan cache {path.name} is damaged or of another version from byte {self._end} on: "
                "what it lacks is read again"
            )
        table = np.concatenate([np.zeros(0, _ENTRY), *(np.frombuffer(chunk, _ENTRY) for chunk in chunks)])
        self._table = table[np.argsort(table["ticket"][:, 0], kind="stable")]
        self._high = np.ascontiguousarray(self._table["ticket"][:, 0])
        self._hits = [np.zeros(0, np.int64)]
        self._handle: Any = None

    def __enter__(self) -> ScanCache:
        return self

    def __exit__(self, *error: object) -> None:
        if self._handle:
            self._handle.close()
        self._handle = None

    def __len__(self) -> int:
        return len(self._table)

    def hits(self, tickets: bytes) -> Hits:
        """Return what is known under every 16 bytes of ``tickets``."""
        at = _find(np.frombuffer(tickets, "<u8").reshape(-1, 2), self._table["ticket"], self._high)
        known = np.flatnonzero(at >= 0)
        self._hits.append(at[known])
        hit = self._table[at[known]]
        odd = np.flatnonzero(hit["flags"])
        remarks = dict(zip(odd.tolist(), map(_flags, hit["flags"][odd].tolist()), strict=True))
        return Hits(known, hit["sha256"], hit["size"], remarks)

    def find(self, tickets: bytes) -> list[tuple[str, int, tuple[str, ...]] | None]:
        """Return (sha256, size, flags) of every 16 bytes of ``tickets``, None where nothing is known."""
        hits = self.hits(tickets)
        found: list[tuple[str, int, tuple[str, ...]] | None] = [None] * (len(tickets) // 16)
        for number, at in enumerate(hits.at.tolist()):
            sha256 = hits.digests[number].tobytes().hex()
            found[at] = (sha256, int(hits.sizes[number]), hits.flags.get(number, ()))
        return found

    def add(self, entries: Iterable[tuple[bytes, str, int, tuple[str, ...]]]) -> None:
        """Append (ticket, sha256, size, flags) of some faces in one write."""
        rows = list(entries)
        if not rows or not self._open():
            return
        chunk = np.zeros(len(rows), _ENTRY)
        chunk["ticket"] = np.frombuffer(b"".join(row[0] for row in rows), "<u8").reshape(-1, 2)
        digests = bytes.fromhex("".join(row[1] for row in rows))
        chunk["sha256"] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
        chunk["size"] = [row[2] for row in rows]
        chunk["flags"] = [sum(1 << FLAGS.index(flag) for flag in row[3]) if row[3] else 0 for row in rows]
        try:
            self._handle.write(_packed(chunk))
        except OSError:
            # a full disk is told by whoever needs the space; the torn end is cut off next time
            self._handle.close()
            self._handle = None

    def _open(self) -> bool:
        """Open the file for appending behind its sound part, unless another process writes to it."""
        if self._handle:
            return True
        make_folder(self._path.parent)
        try:
            handle = os.fdopen(os.open(self._path, _HOW, 0o666), "r+b", 0)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            handle.truncate(self._end)
            handle.seek(self._end)
            if not self._end:
                handle.write(MAGIC)
        except OSError:
            handle.close()
            return False
        self._handle = handle
        return True

    def prune(self, tmp: Path) -> None:
        """Forget what was not found, where that is most of a large file."""
        live = np.unique(np.concatenate(self._hits))
        if len(self) <= 2 * len(live) + _SLACK_ROWS or not self._end:
            return
        chunks = [self._table[live[at : at + _SLACK_ROWS]] for at in range(0, len(live), _SLACK_ROWS)]
        data = MAGIC + b"".join(map(_packed, chunks))
        write_atomic(self._path, data, tmp)
        self._end = len(data)


def _bytes(path: Path) -> bytes:
    try:
        return data_of(path, most=_MOST_BYTES, linked=False)
    except OSError:
        return b""


def _packed(chunk: NDArray[Any]) -> bytes:
    body = struct.pack("<I", len(chunk)) + chunk.tobytes()
    return _HEAD.pack(len(chunk), hashlib.blake2b(body, digest_size=16).digest()) + body[4:]


def _sound(data: bytes) -> tuple[int, list[memoryview]]:
    """Return where the sound part of a file ends, and its chunks."""
    if not data.startswith(MAGIC):
        return 0, []
    view, place, chunks = memoryview(data), len(MAGIC), []
    while place + _HEAD.size <= len(data):
        rows, digest = _HEAD.unpack_from(data, place)
        start, end = place + _HEAD.size, place + _HEAD.size + rows * _ENTRY.itemsize
        if not 0 < rows <= _MOST_ROWS or end > len(data):
            break
        body = hashlib.blake2b(struct.pack("<I", rows), digest_size=16)
        body.update(view[start:end])
        if body.digest() != digest:
            break
        chunks.append(view[start:end])
        place = end
    return place, chunks


@lru_cache(maxsize=256)
def _flags(mask: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(FLAGS) if mask >> bit & 1)


def _find(
    wanted: NDArray[np.uint64], table: NDArray[np.uint64], high: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the place of every wanted ticket in a table that is sorted by its first words, -1 for none."""
    at = np.searchsorted(high, wanted[:, 0])
    found = np.full(len(wanted), -1, np.int64)
    inside = np.flatnonzero(at < len(table))
    # two tickets of one first word do not happen by chance; whoever makes them is looked at again
    hit = inside[(table[at[inside]] == wanted[inside]).all(1)]
    found[hit] = at[hit]
    return found
