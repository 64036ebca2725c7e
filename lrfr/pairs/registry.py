"""Open LMDB files of this process: each opened once, checked before it is mapped, never carried across a fork.

LMDB refuses a second open of one file in a process, dies by SIGBUS on a truncated one and must not be used after a fork;
this registry answers all three. It is the one deliberate piece of process-wide state in lrfr.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrfr.errors import DataError
from lrfr.pairs.files import sha256_file

FileKey = tuple[int, int]
MAX_OPEN = 256


@dataclass
class _Entry:
    env: Any
    stamp: tuple[int, ...]
    users: int = 0
    transactions: dict[int, Any] = field(default_factory=dict)


class Registry:
    """Open environments, the oldest closed first, by (device, inode), one read transaction per environment and thread."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[FileKey, _Entry] = OrderedDict()
        self._names: dict[str, FileKey] = {}
        self._hashed: dict[FileKey, tuple[int, ...]] = {}

    @contextmanager
    def value(self, path: Path, key: bytes, expected: Expected) -> Iterator[memoryview]:
        """Lend the value of ``key`` as a view of the map; it must not be kept after the block ends.

        Raises:
            DataError: the file is missing, has another size or hash than expected, or is damaged.

        """
        import lmdb

        entry = self._acquire(path, expected)
        try:
            transaction = entry.transactions.get(threading.get_ident())
            if transaction is None:
                transaction = entry.env.begin(buffers=True)
                entry.transactions[threading.get_ident()] = transaction
            found = transaction.get(key)
        except lmdb.Error as error:
            raise DataError(f"damaged database: {error}", file=str(path), hint="lrfr store repair") from None
        else:
            if found is None:
                raise DataError(f"block {int.from_bytes(key, 'big')} is missing", file=str(path), hint="lrfr store repair")
            yield memoryview(found)
        finally:
            with self._lock:
                entry.users -= 1

    def _acquire(self, path: Path, expected: Expected) -> _Entry:
        name = str(path)
        with self._lock:
            entry = self._entries.get(self._names.get(name, (0, 0)))
            if entry is None:
                entry = self._open(path, name, expected)
            entry.users += 1
            return entry

    def _open(self, path: Path, name: str, expected: Expected) -> _Entry:
        """Check and open a file; another name of a file that is open already shares its environment."""
        stamp = _stamp(path)
        key = (stamp[0], stamp[1])
        entry = self._entries.get(key)
        if entry is not None and entry.stamp != stamp:
            self._close(key)
            entry = None
        if entry is None:
            self._check(path, key, stamp, expected)
            self._make_room()
            entry = self._entries[key] = _Entry(_open(path), stamp)
        self._names[name] = key
        self._entries.move_to_end(key)
        return entry

    def _check(self, path: Path, key: FileKey, stamp: tuple[int, ...], expected: Expected) -> None:
        if stamp[2] != expected.size:
            raise DataError(f"{stamp[2]} bytes where {expected.size} were written", file=str(path), hint="lrfr store repair")
        if expected.sha256 is not None and self._hashed.get(key) != stamp:
            if sha256_file(path) != expected.sha256:
                raise DataError("the file does not match its sha256", file=str(path), hint="lrfr store verify, then lrfr store repair")
            self._hashed[key] = stamp

    def _make_room(self) -> None:
        for key in list(self._entries):
            if len(self._entries) < self._limit:
                return
            if self._entries[key].users == 0:
                self._close(key)

    def _close(self, key: FileKey) -> None:
        entry = self._entries.pop(key)
        self._names = {name: other for name, other in self._names.items() if other != key}
        entry.transactions.clear()
        if entry.users == 0:
            entry.env.close()

    def clear(self) -> None:
        """Close everything (files are opened again when next needed)."""
        with self._lock:
            for key in list(self._entries):
                self._close(key)

    def forget_after_fork(self) -> None:
        """Drop what a forked child inherited: transactions first, then environments, as LMDB asks."""
        self._lock = threading.Lock()
        for entry in self._entries.values():
            entry.transactions.clear()
        self._entries.clear()
        self._names.clear()


@dataclass(frozen=True)
class Expected:
    """What a closed shard file must be: its size in bytes and, where it is to be checked, its sha256."""

    size: int
    sha256: str | None = None


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"shard cannot be read: {error.strerror}", file=str(path), hint="lrfr store repair") from None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _open(path: Path) -> Any:
    import lmdb

    try:
        return lmdb.open(str(path), subdir=False, readonly=True, lock=False, create=False, readahead=_readahead(path), max_spare_txns=4)
    except lmdb.Error as error:
        raise DataError(f"damaged database: {error}", file=str(path), hint="lrfr store repair") from None


def _readahead(path: Path) -> bool:
    """Read ahead only where the whole folder fits into half of the memory; otherwise every page fault would read far too much."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        folder = sum(entry.stat().st_size for entry in os.scandir(path.parent))
    except (OSError, ValueError):
        return False
    return folder < memory // 2


REGISTRY = Registry()
os.register_at_fork(after_in_child=REGISTRY.forget_after_fork)
