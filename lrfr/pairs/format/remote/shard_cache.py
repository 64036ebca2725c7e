"""The cache on this machine's disk: files that are whole or absent, shared by processes, under one cap.

A file in use is held by a shared lock on the file itself, which the system releases when its process ends;
only what nobody holds is removed, the longest unused first. Files that are being fetched count by the size
they will have.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import discard, is_alive, make_folder, open_regular, temp_name, write_fault

DEFAULT_BYTES = 64 << 30
# for files that other processes use, and for those in the hands of this one's threads
WAIT_S, OWN_WAIT_S = 20.0, 3.0
_LOCKS = 256


@dataclass(frozen=True)
class CacheUser:
    """What a process holds of the cache.

    Attributes:
        let_go: lets go of one file that nothing reads, and says whether there was one.
        held: returns the bytes of files that are read.

    """

    let_go: Callable[[], bool] = lambda: False
    held: Callable[[], int] = lambda: 0


NOBODY = CacheUser()


@dataclass(frozen=True)
class ShardCache:
    """A cache folder.

    Attributes:
        root: the folder.
        most_bytes: of all shards and columns in it.

    """

    root: Path
    most_bytes: int

    @classmethod
    def here(cls, folder: Path | None = None, most_bytes: int | None = None) -> ShardCache:
        """Return the cache that is asked for, else that of ``LRFR_CACHE_DIR`` and ``LRFR_CACHE_BYTES``, else
        ``~/.cache/lrfr`` with 64 GiB.

        Raises:
            SpecError: the size is none.

        """
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lrfr"
        said = os.environ.get("LRFR_CACHE_BYTES", "")
        if most_bytes is None and said and not said.isdigit():
            raise SpecError(f"LRFR_CACHE_BYTES is '{said[:40]}', not a number of bytes")
        chosen = most_bytes if most_bytes is not None else int(said or DEFAULT_BYTES)
        return cls((folder or Path(os.environ.get("LRFR_CACHE_DIR") or home)).absolute(), chosen)

    @contextmanager
    def one_at_a_time(self, name: str) -> Iterator[None]:
        """Hold one of a few locks: two processes never fetch the same file."""
        folder = self.root / "locks"
        make_folder(folder)
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def fetch(self, path: Path, size: int | None, write: Callable[[Path], None], user: CacheUser) -> None:
        """Make a file of the cache, if it is not there.

        Args:
            path: where it goes.
            size: bytes it will have; None for tables, which are small and under no cap.
            write: writes it to a temporary path, and raises where it is not what it should be.
            user: what this process holds.

        Raises:
            EnvironmentFault: there is no room.

        """
        with self.one_at_a_time(f"{hash_of(path) % _LOCKS:03d}"):
            if held_size(path) == size or (size is None and path.exists()):
                return
            scratch = self._reserve(size or 0, user)
            try:
                write(scratch)
                make_folder(path.parent)
                os.replace(scratch, path)
            except OSError as error:
                raise write_fault(error, path, size or 0) from error
            finally:
                discard(scratch)

    def _reserve(self, size: int, user: CacheUser) -> Path:
        """Make room and return the temporary path that keeps it."""
        make_folder(self.root / "tmp")
        begun = time.monotonic()
        while size <= self.most_bytes:
            with self.one_at_a_time("room"):
                if self._make_room(size):
                    scratch = temp_name(self.root / "tmp", str(size))
                    scratch.touch()
                    return scratch
            if not user.let_go():
                # nobody but this process can make room for itself
                own = user.held() + size > self.most_bytes
                if time.monotonic() - begun > (OWN_WAIT_S if own else WAIT_S):
                    break
                time.sleep(0.05)
        used = sum(length for _, length, path in self._files() if not _is_free(path))
        raise EnvironmentFault(
            f"the cache holds at most {self.most_bytes:,} bytes, {used:,} are in use, {size:,} are needed",
            file=str(self.root),
            hint=f"a --cache-size (LRFR_CACHE_BYTES) of {used + size} and more",
        )

    def _make_room(self, size: int) -> bool:
        """Remove what was not used for longest until ``size`` more bytes fit; return whether they do."""
        found = sorted(self._files())
        over = sum(item[1] for item in found) + self._coming() + size - self.most_bytes
        over = max(over, size - shutil.disk_usage(self.root).free)
        for _, length, path in found:
            if over <= 0:
                break
            if _remove_unused(path):
                over -= length
        return over <= 0

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (last use, bytes, path) of every shard and chunk."""
        for pattern in ("*/base/*/*.mdb", "*/lr/*/*.mdb", "*/columns/*/*/*.npy"):
            for path in (self.root / FOLDER).glob(pattern):
                try:
                    found = path.stat()
                except OSError:
                    continue  # somebody has just removed it
                mark = _used(path)
                yield mark.stat().st_mtime if mark.exists() else found.st_mtime, found.st_size, path

    def _coming(self) -> int:
        """Return the bytes of what others fetch; what the dead have left is removed."""
        total = 0
        for path in (self.root / "tmp").iterdir():
            parts = path.name.split(".")
            if len(parts) != 4 or not parts[0].isdigit() or not parts[2].isdigit():
                continue
            if parts[1] == temp_name(path, "0").name.split(".")[1] and not is_alive(int(parts[2])):
                discard(path)
            else:
                total += int(parts[0])
        return total


# the folder of the cache in which stores are mirrored; its name tells the path of a mirrored file from others
FOLDER = "lrfr-remote-1"


def hash_of(path: Path) -> int:
    """Return a number of a path that is the same in every process."""
    return zlib.crc32(os.fsencode(path))


def held_size(path: Path) -> int:
    """Return the size of a file, -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def hold(path: Path, size: int | None) -> int | None:
    """Return a descriptor that keeps a file of the cache from being removed until it is closed; None where
    it is not there or has another size.
    """
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        mine, there = os.fstat(descriptor), path.stat()
        if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino) and size in (None, mine.st_size):
            _used(path).touch()
            return descriptor
    except OSError:
        pass  # removed in this moment
    os.close(descriptor)
    return None


def _used(path: Path) -> Path:
    """Return the file whose time says when a file was last opened: its own time tells readers that it is the
    one they checked.
    """
    return path.with_name(f".{path.name}.used")


def _remove_unused(path: Path) -> bool:
    try:
        descriptor = open_regular(path)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        discard(_used(path))
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_free(path: Path) -> bool:
    try:
        descriptor = open_regular(path)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def wrong_content(url: str) -> DataError:
    """Return the error for bytes that are not what the store's own files say, twice in a row."""
    return DataError(
        "the bytes that came do not match their sha256",
        file=url,
        hint="copy the store again; after a change of a served folder: lrfr store index",
    )
