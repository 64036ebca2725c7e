"""Progress, remarks and the wish to stop, as one small object that every long function takes; and the
signals that say such a wish, as exceptions that reach the end of a command, whatever they meet on their way.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

# how soon a signal whose exception was dropped is sent again
_LOOK_S = 0.05


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
    now = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in now.items() if handler is not signal.SIG_IGN}

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


class Asked(BaseException):
    """A signal arrived.

    Attributes:
        number: which.
        met: whether it came to where commands end; set by :func:`asked_in`.

    """

    number: int = 0
    met: bool = False


class Interrupted(Asked, KeyboardInterrupt):
    """SIGINT arrived. Not the plain ``KeyboardInterrupt``: where that passes a string that is executed, the
    interpreter ends by the signal, whatever its exit code was to be.
    """

    number = signal.SIGINT


class Terminated(Asked):
    """SIGTERM arrived."""

    number = signal.SIGTERM


_KINDS: dict[int, type[Asked]] = {signal.SIGINT: Interrupted, signal.SIGTERM: Terminated}


def raise_signals() -> None:
    """Raise :class:`Interrupted` and :class:`Terminated` from now on.

    A handler raises wherever the program is: also in an import within a library's ``try``, in a destructor
    or in a callback from native code, and there its exception is dropped. One that is gone before it was met
    sends its signal once more. Signals that the caller of the process has turned off (``nohup``, a job in
    the background of a script) stay so.
    """
    for number in _KINDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    sys.unraisablehook = _say_dropped  # by default: "Exception ignored in", with a traceback


def end_by_signals() -> None:
    """Let the system end the process from now on: nothing is left to be put in order."""
    for number in _KINDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def asked_in(error: BaseException) -> Asked | None:
    """Return the signal that an exception is, or that it was raised for, as met."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        if isinstance(found, Asked):
            found.met = True
            return found
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return None


def _on_signal(number: int, frame: FrameType | None) -> None:
    asked = _KINDS[number]()
    # not threading.Thread: this may have interrupted one that holds its locks
    _thread.start_new_thread(_look_after, (weakref.ref(asked), number))
    try:
        raise asked
    finally:
        del asked  # its traceback holds this frame


def _look_after(asked: weakref.ref[Asked], number: int) -> None:
    """Send a signal once more if its exception goes before it was met."""
    while True:
        time.sleep(_LOOK_S)
        there = asked()
        if there is None:
            break
        if there.met:
            return
        del there
    if callable(signal.getsignal(number)):
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _say_dropped(dropped: sys.UnraisableHookArgs) -> None:
    if not issubclass(dropped.exc_type, Asked):
        sys.__unraisablehook__(dropped)
