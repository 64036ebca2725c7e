"""The log of a store: what may differ between equal runs. Nothing reads it back into an id.

One JSON line an event, each with its time and run: ``unended`` (the run before was killed), ``start``,
``phase`` (with what was there before), ``refused`` (faces, by reason), and ``end``, ``stopped``, ``failed``
or, where it could not begin, ``rejected``.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import secrets
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from lrfr.core.errors import LrfrError
from lrfr.core.files import opened, opened_to_append, parsed
from lrfr.core.progress import Stopped

# of the log's end, where the last event is looked for
_TAIL_BYTES = 1 << 16


class RunLog:
    """The lines of one run; a log that cannot be written is no reason to end a run.

    As a context it writes the last line: how the run ended.

    Args:
        root: the store.
        view: that the run makes.

    """

    def __init__(self, root: Path, view: str) -> None:
        self._path = root / "run.log"
        self._view = view
        self._run = secrets.token_hex(4)
        self._begun = 0.0
        self._ended: dict[str, object] = {}

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._begun:
            if isinstance(error, LrfrError):
                self._write("rejected", view=self._view, error=_told(error))
            return
        spent: dict[str, object] = {"seconds": round(time.time() - self._begun, 3)}
        if error is None:
            self._write("end", **spent, **self._ended)
        elif isinstance(error, Stopped | KeyboardInterrupt):
            self._write("stopped", **spent)
        else:
            self._write("failed", **spent, error=_told(error))

    def start(self) -> None:
        """Say that the run begins, once it holds the store's lock, and that the one before has not ended."""
        before = _last_begun(self._path)
        if before:
            self._write("unended", before=before)
        self._begun = time.time()
        told = {"host": platform.node(), "pid": os.getpid(), "command": sys.argv}
        self._write("start", view=self._view, **told, python=platform.python_version(), versions=_versions())

    def phase(self, name: str, done: int, total: int) -> None:
        """Say that a phase begins: its name, images that were there before, and all."""
        self._write("phase", phase=name, resumed=done > 0, there=done, total=total)

    def refused(self, seen: int, counts: object) -> None:
        """Say how many faces were seen, and how many of them refused for which reason."""
        self._write("refused", seen=seen, refused=counts)

    def ended(self, **told: object) -> None:
        """Say what the last line tells of a run that ends well."""
        self._ended = told

    def _write(self, event: str, **told: object) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": now, "run": self._run, "event": event, **told}) + "\n"
        # one write in append mode: lines of two processes do not mix
        with suppress(OSError), opened_to_append(self._path) as handle:
            handle.write(line.encode())


def _last_begun(path: Path) -> str:
    """Return the run that began last and has not ended, "" where there is none."""
    with suppress(OSError), opened(path, linked=False) as handle:
        handle.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        for text in reversed(handle.read().splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                line = parsed(text)
                if line["event"] in {"end", "stopped", "failed"}:
                    return ""
                if line["event"] == "start":
                    return str(line["run"])
    return ""


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:1000]


@functools.cache
def _versions() -> dict[str, str]:
    names = ("lrfr", "numpy", "opencv-python-headless", "pillow", "torch", "lmdb", "albumentations", "ray")
    return {name: version(name) for name in (*names, "zstandard")}
