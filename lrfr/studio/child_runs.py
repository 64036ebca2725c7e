"""Commands that a page has started: processes of their own that end with the server."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lrfr.core.errors import DataError, LockedError
from lrfr.core.files import data_of, discard, scratch_folder
from lrfr.core.machine import ENDS_WITH

MOST, LINES, LINE_CHARS = 2, 40, 400
MAX_OUT_BYTES = 1024 * 1024
_ENDED_KEPT = 16
_GRACE_S = 20.0
_PROGRESS = re.compile(r"^[\w -]+: (\d+)/(\d+), (\S+) (\S+)/s, ETA (\d+) s")


@dataclass
class Child:
    """One command.

    Attributes:
        id: random.
        kind: ``make-pairs`` or ``fit``.
        words: its command line, as it can be typed.
        process: of it.
        result: file that it writes, whose text the page may take over.
        lines: its last remarks.
        done, total, rate: of its last report of progress.

    """

    id: str
    kind: str
    words: Sequence[str]
    process: subprocess.Popen[str]
    result: Path | None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES))
    done: int = 0
    total: int = 0
    rate: str = ""
    out: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    stopped: bool = False
    threads: list[threading.Thread] = field(default_factory=list)

    def state(self) -> str:
        """Return ``running``, ``done``, ``stopped`` or ``failed``."""
        code = self.process.poll()
        if code is None or any(thread.is_alive() for thread in self.threads):
            return "running"
        self.ended = self.ended or time.monotonic()
        return "done" if code == 0 else "stopped" if self.stopped else "failed"

    def as_json(self) -> Mapping[str, object]:
        """Return what a page shows of it."""
        state = self.state()
        seconds = (self.ended or time.monotonic()) - self.began
        return {
            "id": self.id,
            "kind": self.kind,
            "state": state,
            "command": list(self.words),
            "lines": list(self.lines),
            "done": self.done,
            "total": self.total,
            "rate": self.rate,
            "seconds": round(seconds, 1),
            "told": _told(self.out) if state != "running" else None,
            "text": self._text() if state == "done" else None,
        }

    def _text(self) -> str | None:
        if self.result is None:
            return None
        try:
            return data_of(self.result, most=MAX_OUT_BYTES).decode("utf-8", "replace")
        except OSError:
            return None


def _told(out: str) -> object:
    """Return the JSON object that a command printed, None where it is none."""
    try:
        return json.loads(out)
    except (ValueError, RecursionError):
        return None


class ChildRuns:
    """The commands of one server; at most two run at once.

    Args:
        folder: in which they run: where the studio was started.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = scratch_folder("studio")
        self._children: dict[str, Child] = {}
        self._lock = threading.Lock()

    def file(self, text: str) -> Path:
        """Return a new file of the scratch folder that holds a text."""
        path = self.scratch / f"{secrets.token_hex(4)}.yaml"
        path.write_text(text, "utf-8")
        return path

    def start(self, kind: str, words: Sequence[str], result: Path | None = None) -> Child:
        """Start ``lrfr WORDS --json``.

        Raises:
            LockedError: two run already.

        """
        with self._lock:
            running = [child for child in self._children.values() if child.state() == "running"]
            if len(running) >= MOST:
                raise LockedError(f"{MOST} commands run already", hint="stop one, or wait")
            for old in list(self._children)[: max(0, len(self._children) - _ENDED_KEPT)]:
                if self._children[old].state() != "running":
                    del self._children[old]
            child = Child(secrets.token_hex(12), kind, ["lrfr", *words], self._process(words), result)
            self._children[child.id] = child
        for read, stream in ((_read_lines, child.process.stderr), (_read_out, child.process.stdout)):
            child.threads.append(threading.Thread(target=read, args=(child, stream), daemon=True))
            child.threads[-1].start()
        return child

    def _process(self, words: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - our own command lines
            [sys.executable, "-m", "lrfr", *words, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=self.folder,
            env={**os.environ, ENDS_WITH: str(os.getpid())},
        )

    def __getitem__(self, name: str) -> Child:
        """Return a command by its id.

        Raises:
            DataError: there is none.

        """
        child = self._children.get(name)
        if child is None:
            raise DataError("there is no command of this id")
        return child

    def stop(self, name: str) -> Child:
        """Ask a command to stop; what it has finished is kept. Asked again, it is ended."""
        child = self[name]
        if child.process.poll() is None:
            child.process.send_signal(signal.SIGKILL if child.stopped else signal.SIGTERM)
            child.stopped = True
        return child

    def close(self) -> None:
        """End all commands and remove the scratch folder."""
        for child in self._children.values():
            if child.process.poll() is None:
                child.process.terminate()
        for child in self._children.values():
            try:
                child.process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        discard(self.scratch)


def _read_lines(child: Child, stream: IO[str]) -> None:
    with stream:
        for line in iter(lambda: stream.readline(LINE_CHARS), ""):
            text = line.rstrip("\n")
            found = _PROGRESS.match(text)
            if found:
                child.done, child.total = int(found[1]), int(found[2])
                child.rate = f"{found[3]} {found[4]}/s"
            elif text:
                child.lines.append(text)


def _read_out(child: Child, stream: IO[str]) -> None:
    with stream:
        child.out = stream.read(MAX_OUT_BYTES)
        while stream.read(MAX_OUT_BYTES):
            child.out = ""  # more than anybody shows
