"""Progress, remarks and the wish to stop, as one small object that every long function takes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol


class OnProgress(Protocol):
    """``on_progress(done, total, **info)``: items done of all; ``info`` holds what else is worth showing."""

    def __call__(self, done: int, total: int, **info: Any) -> None:
        """Take a report."""


class Stopped(Exception):
    """A stop was asked for; everything finished so far is kept, and the same call goes on from there."""


class Hooks:
    """How a long function talks to whoever called it; by default it says nothing and never stops.

    Args:
        on_progress: called with (done, total, **info), from the calling thread.
        on_note: called with one sentence that a person should see.
        should_stop: asked between pieces of work; once true, the function finishes what runs and raises
            :class:`Stopped`, or returns where it says so.

    """

    def __init__(
        self,
        on_progress: OnProgress | None = None,
        on_note: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._on_progress, self._on_note, self._should_stop = on_progress, on_note, should_stop

    def __repr__(self) -> str:
        given = {"on_progress": self._on_progress, "on_note": self._on_note, "should_stop": self._should_stop}
        return f"Hooks({', '.join(name for name, call in given.items() if call is not None)})"

    def progress(self, done: int, total: int, **info: Any) -> None:
        """Report that ``done`` of ``total`` items are done."""
        if self._on_progress is not None:
            self._on_progress(done, total, **info)

    def note(self, text: str) -> None:
        """Say one sentence that a person should see."""
        if self._on_note is not None:
            self._on_note(text)

    def stopping(self) -> bool:
        """Return whether a stop was asked for."""
        return self._should_stop is not None and self._should_stop()


SILENT = Hooks()


class Pace:
    """Items a second since the first report, so that what an earlier run has done is not counted; a new phase
    starts again.
    """

    def __init__(self) -> None:
        self.first = self.last = 0
        self.since: float | None = None

    def rate(self, done: int) -> float:
        """Return the rate, 0 at the first report."""
        now = time.monotonic()
        if self.since is None or done < self.last:
            self.first, self.since = done, now
        self.last = done
        return (done - self.first) / max(now - self.since, 1e-6)


class StopFlag:
    """Which signal asked to stop, 0 for none."""

    signum = 0

    def asked(self) -> bool:
        """Return whether one did."""
        return self.signum != 0


@contextmanager
def stop_on_signal(on_first: Callable[[], None] | None = None) -> Iterator[StopFlag]:
    """Yield a flag that the first SIGINT or SIGTERM raises; a second signal acts as it would have before.

    At the end the handlers are put back and the signal that came is delivered, so that a script ends as any
    script that was interrupted. Outside the main thread nothing is caught.

    Args:
        on_first: called once when the first signal arrives.

    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(signum: int, frame: FrameType | None) -> None:
        flag.signum = signum
        put_back()
        if on_first is not None:
            on_first()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        put_back()
    if flag.signum:
        signal.raise_signal(flag.signum)
