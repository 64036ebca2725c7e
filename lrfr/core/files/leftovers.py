"""Temporary files that name their owner, and what is removed of those whose owner is dead."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path


def discard(path: Path) -> None:
    """Remove a temporary file or folder if it is there; failing to is no reason to hide the first error."""
    shutil.rmtree(path, ignore_errors=True)  # of a file or a link it removes nothing
    with suppress(OSError):
        path.unlink(missing_ok=True)


def temp_name(tmp: Path, name: str) -> Path:
    """Return a temporary path that names its owner, so that :func:`sweep` can tell the dead from the
    living.
    """
    return tmp / f"{name}.{_host()}.{os.getpid()}.{time.monotonic_ns()}"


def scratch_folder(what: str, place: str | Path | None = None) -> Path:
    """Return a new private folder ``lrfr-WHAT-PID-...`` in ``place`` (by default where temporary files go);
    those of processes that were killed are removed.
    """
    within = Path(place or tempfile.gettempdir())
    for old in within.glob(f"lrfr-{what}-*-*"):
        pid, _, _ = old.name.removeprefix(f"lrfr-{what}-").partition("-")
        if pid.isdecimal() and not old.is_symlink() and _is_mine(old) and not is_alive(int(pid)):
            discard(old)
    return Path(tempfile.mkdtemp(prefix=f"lrfr-{what}-{os.getpid()}-", dir=within))


@contextmanager
def scratch(what: str, place: str | Path | None = None) -> Iterator[Path]:
    """Yield a folder of :func:`scratch_folder` for the time of the block."""
    folder = scratch_folder(what, place)
    try:
        yield folder
    finally:
        discard(folder)


def _is_mine(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.getuid()
    except OSError:
        return False


def sweep(tmp: Path) -> int:
    """Remove what builds left behind and return how many files and folders: those of dead processes of this
    machine, of this very process (who holds the store's lock), and foreign ones older than a day.
    """
    gone = 0
    for path in tmp.iterdir() if tmp.is_dir() else ():
        parts = path.name.rsplit(".", 3)
        if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
            continue
        local = parts[1] == _host()
        gone_owner = int(parts[2]) == os.getpid() or not is_alive(int(parts[2]))
        if (local and gone_owner) or (not local and time.time() - path.stat().st_mtime > 86_400):
            discard(path)
            gone += 1
    return gone


def _host() -> str:
    return socket.gethostname().replace(".", "-") or "host"


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine lives (a zombie does not)."""
    if not 0 < pid < 1 << 31:  # as forged: no process has such a number
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # a killed child that nobody has waited for yet still has a pid, but writes no more
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rsplit(")", 1)[-1].split()[0] != "Z"
    except (OSError, IndexError):
        return True


@lru_cache(maxsize=256)
def sweep_beside(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder of results, once a process: names of
    :func:`temp_name` alone, for the folder may be anyone's.
    """
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            parts = entry.name.rsplit(".", 3)
            if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
                continue
            if parts[1] == _host() and not is_alive(int(parts[2])):
                discard(folder / entry.name)
