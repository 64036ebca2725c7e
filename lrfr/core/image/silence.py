"""Keeping C libraries from writing about damaged files to standard error, where nobody sees which it was."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path


def may_silence() -> bool:
    """Return whether there is a standard error, and no second thread that could write or fork meanwhile."""
    if threading.active_count() > 1:
        return False
    try:
        os.fstat(2)
    except OSError:
        return False
    return True


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Point file descriptor 2 at nothing for a moment; only where :func:`may_silence`."""
    kept = os.dup(2)
    try:
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nothing, 2)
        os.close(nothing)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def silent_where_allowed() -> Iterator[bool]:
    """Point file descriptor 2 at nothing for many pictures at once, and tell whether that could be done."""
    with ExitStack() as stack:
        silent = may_silence()
        try:
            if silent:
                stack.enter_context(silent_stderr())
        except OSError:  # no descriptor is left
            silent = False
        yield silent


@lru_cache(maxsize=1)
def mute_libtiff() -> bool:
    """Take from Pillow's own copy of libtiff the handler that prints; False where that copy is not found.

    Unlike a file descriptor it can be done beside other threads: the handler serves printing alone, and
    Pillow hears of errors by what a call returns.
    """
    from PIL import Image

    for path in _libtiffs(Path(Image.__file__).parent):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                handler = getattr(library, name)
                handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                handler(None)
            return True
    return False


def _libtiffs(package: Path) -> list[Path]:
    """Return the copies of libtiff of Pillow's wheels, of Linux and macOS, or else those that are loaded."""
    found = [*package.parent.glob("pillow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")]
    if not found:
        with suppress(OSError):
            lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
            found = [Path(line.split(maxsplit=5)[5]) for line in lines if "/libtiff" in line]
    return sorted(set(found))
