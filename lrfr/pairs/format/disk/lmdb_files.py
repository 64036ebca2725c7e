"""Open LMDB files of this process: each opened once, checked before it is read, never out of its bounds.

Files are read by place (``pread``), not mapped: what was cut short or cannot be read is an error then, where
touching a map would end the process, and what a map of a network file system costs is saved. The registry is
the one deliberate piece of process-wide state in lrfr.
"""

from __future__ import annotations

import functools
import os
import resource
import threading
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from lrfr.core.errors import DataError
from lrfr.core.files import discard, open_regular, sha256_file
from lrfr.pairs.format.disk.open_file import OpenFile
from lrfr.pairs.format.remote.mirror import Mirror, keep
from lrfr.pairs.format.remote.shard_cache import CacheUser

FileKey = tuple[int, int]
# each holds a file descriptor: what every process has of them, and what views of many variants take
FEW_OPEN, MAX_OPEN = 256, 8192


@dataclass(frozen=True)
class Expected:
    """What a closed shard file must be.

    Attributes:
        size: in bytes.
        sha256: where it is to be checked.
        folder_bytes: of all shards beside it, which tells whether to read ahead; 0 where nobody knows.
        content: the sha256 all the same, by which a file of a store at an address is fetched.

    """

    size: int
    sha256: str | None = None
    folder_bytes: int = 0
    content: str = ""


class Registry:
    """Open files by (device, inode); of more than ``limit`` (as many as the
    process may have) the one opened first is let go.

    Readers take no lock: they hold the :class:`OpenFile`, which stays open, while they read.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit, self._fixed = limit or FEW_OPEN, limit is not None
        self._lock = threading.Lock()
        self._files: OrderedDict[FileKey, OpenFile] = OrderedDict()
        self._names: dict[str, OpenFile] = {}
        self._alive: WeakValueDictionary[FileKey, OpenFile] = WeakValueDictionary()
        self._hashed: dict[FileKey, tuple[int, ...]] = {}

    def file(self, path: str, expected: Expected) -> OpenFile:
        """Return an open file, to be held while it is read.

        Raises:
            DataError: the file is missing, has another size or hash than expected, or is damaged.

        """
        # no lock: one look into a dictionary is atomic, and every read of training comes through here
        return self._names.get(path) or self._open(path, expected)

    def _open(self, path: str, expected: Expected) -> OpenFile:
        """Have a file fetched where its store lies elsewhere, check and open it."""
        try:
            return self._opened(path, expected, self._keep(path, expected))
        except DataError:
            if not self._drop(path):
                raise
        # it was damaged on this machine's disk: once more from where it came from
        return self._opened(path, expected, self._keep(path, expected))

    def _keep(self, path: str, expected: Expected) -> int | None:
        """Return what keeps a fetched file in the cache; no lock is held, for it may take minutes."""
        return keep(Path(path), expected.size, expected.content, CacheUser(self._let_go, self._held))

    def _held(self) -> int:
        """Return the bytes of fetched files that somebody reads."""
        with self._lock:
            return sum(opened.stamp[2] for opened in list(self._alive.values()) if opened.fetched)

    def _let_go(self) -> bool:
        """Let go of the fetched file that was opened first; return whether there was one."""
        with self._lock:
            first = next((key for key, opened in self._files.items() if opened.fetched), None)
            if first is not None:
                self._forget(first)
            return first is not None

    def _drop(self, path: str) -> bool:
        """Remove a file that was fetched; return whether it was one."""
        fetched = Mirror.of(Path(path)) is not None
        if fetched:
            discard(Path(path))
        return fetched

    def _opened(self, path: str, expected: Expected, held: int | None) -> OpenFile:
        """Check and open a file; another name of a file that is open already shares its environment."""
        with ExitStack() as unused, self._lock:
            if held is not None:
                unused.callback(os.close, held)
            stamp = _stamp(path)
            key = (stamp[0], stamp[1])
            # a file that was let go may still be in some reader's hand; it is taken back
            opened = self._alive.get(key)
            if opened is None or opened.stamp != stamp:
                self._forget(key)
                del opened
                self._check(path, key, stamp, expected)
                opened = self._alive[key] = OpenFile(path, _open_file(path, stamp, expected), stamp, held)
                unused.pop_all()
            if len(self._files) >= self._limit and not self._fixed:
                self._limit = max(self._limit, _most_open())
            while len(self._files) >= self._limit:
                self._forget(next(iter(self._files)))
            self._files[key] = self._names[path] = opened
            opened.names.add(path)
            return opened

    def _check(self, path: str, key: FileKey, stamp: tuple[int, ...], expected: Expected) -> None:
        """Refuse a file of another size or hash before it is opened."""
        if stamp[2] != expected.size:
            raise DataError(
                f"{stamp[2]} bytes where {expected.size} were written", file=path, hint="lrfr store repair"
            )
        if expected.sha256 is not None and self._hashed.get(key) != stamp:
            if sha256_file(Path(path)) != expected.sha256:
                raise DataError(
                    "the file does not match its sha256",
                    file=path,
                    hint="lrfr store verify, then lrfr store repair",
                )
            self._hashed[key] = stamp

    def _forget(self, key: FileKey) -> None:
        opened = self._files.pop(key, None)
        for name in opened.names if opened else ():
            self._names.pop(name, None)

    def clear(self) -> None:
        """Let go of every file (they are opened again when next needed)."""
        with self._lock:
            self._files.clear()
            self._names = {}

    def forget_after_fork(self) -> None:
        """Close what a forked child inherited: what keeps a fetched file in the cache is its parent's."""
        # the lock may have been held by a thread that does not exist in the child
        self._lock = threading.Lock()
        for opened in list(self._alive.values()):
            opened.close()
        self._alive.clear()
        self._files.clear()
        self._names = {}


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise DataError(
            f"shard cannot be read: {error.strerror}", file=path, hint="lrfr store repair"
        ) from None
    return _told(found)


def _told(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _open_file(path: str, stamp: tuple[int, ...], expected: Expected) -> int:
    """Open the file that was checked."""
    try:
        descriptor = open_regular(path)
        if expected.folder_bytes >= _memory() // 2 and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        if _told(os.fstat(descriptor)) == stamp:
            return descriptor
        fault = "it is being replaced"
        os.close(descriptor)
    except OSError as error:
        fault = str(error.strerror)
    raise DataError(f"shard cannot be read: {fault}", file=path, hint="lrfr store repair")


@functools.cache
def _memory() -> int:
    """Return the bytes of memory of this machine: what fits into half of it is read ahead; of a larger folder
    every record would come with far too much around it.
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0


def _most_open() -> int:
    """Return how many files may be open: half of the descriptors of this process, of which it asks for more
    where it may have them. A file that is let go and opened again costs more than a pair.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_OPEN if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_OPEN)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # not allowed: fewer files stay open
    return MAX_OPEN if soft == resource.RLIM_INFINITY else min(MAX_OPEN, soft // 2)


REGISTRY = Registry()
os.register_at_fork(after_in_child=REGISTRY.forget_after_fork)
