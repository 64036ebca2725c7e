"""One writer per store: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrfr.errors import LockedError
from lrfr.pairs.files import make_folder, write_fault


@contextmanager
def store_lock(store: Path) -> Iterator[None]:
    """Hold the store's lock.

    Raises:
        LockedError: another process holds it; names its pid and host.
        EnvironmentFault: the folder cannot be written.

    """
    make_folder(store)
    path = store / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise write_fault(error, path, 0) from error
    try:
        _take(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"another process writes this store: {_holder(descriptor)}", file=str(path), hint="wait for it or stop it"
        ) from None
    except OSError:
        # a file system without locks: equal bytes and the last rename make concurrent writers harmless
        return


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"pid {holder['pid']} on host {holder['host']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "pid unknown"
