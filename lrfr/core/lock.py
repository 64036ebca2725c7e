"""One writer per store: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lrfr.core.errors import EnvironmentFault, LockedError, SpecError
from lrfr.core.files import is_alive, json_of, make_folder, write_fault

ORPHAN_SECONDS = 10.0
_HOW = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# lies in a folder that mirrors a store elsewhere
ORIGIN = "origin.json"


@contextmanager
def store_lock(store: Path) -> Iterator[None]:
    """Hold the store's lock.

    Raises:
        LockedError: another process holds it; names its pid and host.
        SpecError: the folder mirrors a store at an address, which is only read.
        EnvironmentFault: the folder cannot be written.

    """
    if (store / ORIGIN).exists():
        url = _url(store / ORIGIN)
        hint = "change a store in a folder and copy it there"
        raise SpecError("a store at an address is only read", file=url, hint=hint)
    make_folder(store)
    path = store / ".lock"
    try:
        descriptor = os.open(path, _HOW, 0o666)
    except OSError as error:
        raise write_fault(error, path, 0) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise EnvironmentFault("not a regular file", file=str(path))
        _take(descriptor, path)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_locked(store: Path) -> bool:
    """Return whether another process holds the lock of a folder."""
    try:
        with store_lock(store):
            return False
    except LockedError:
        return True


def _url(origin: Path) -> str | None:
    try:
        told = json_of(origin, most=1 << 20)
    except (OSError, ValueError):
        return None
    return str(told.get("url")) if isinstance(told, dict) else None


def _take(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(descriptor)
            # a killed build's workers notice its end within a moment; until then they still hold the
            # inherited lock
            if not _is_dead(holder) or time.monotonic() > deadline:
                who = f"pid {holder.get('pid', 'unknown')} on host {holder.get('host', 'unknown')}"
                raise LockedError(
                    f"another process writes this store: {who}", file=str(path), hint="wait for it or stop it"
                ) from None
            time.sleep(0.05)
        except OSError:
            # a file system without locks: equal bytes and the last rename make concurrent writers harmless
            return


def _sign(descriptor: int) -> None:
    """Write down who holds a lock, for messages; on a full disk it is held all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return holder if isinstance(holder, dict) else {}
    except (ValueError, OSError):
        return {}


def _is_dead(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    return holder.get("host") == socket.gethostname() and isinstance(pid, int) and not is_alive(pid)
