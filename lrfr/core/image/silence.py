"""Keeping C libraries from writing about damaged files to standard error, where nobody sees which it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
