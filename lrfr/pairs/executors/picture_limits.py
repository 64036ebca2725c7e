"""The last line against a picture that stalls or a record that lies: what one face may take of time and
memory, and what its reader may say.

Codecs and formats have caps of their own, before anything is decoded; this holds what they do not know,
readers of packages included. The time is the processor's, so a busy machine refuses nothing: a picture that
is used takes milliseconds of the minute. Who waits (a place that is away, a reader that sleeps) ends the run
after ten minutes by the clock; a face is not refused for it, for the next run may get it.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from lrfr.core.errors import DataError, EnvironmentFault, ImageFault, LrfrError
from lrfr.core.image import ImageU8, check_image, read_picture

SECONDS = 60.0
WAITING_SECONDS = 600.0
# of this machine's memory, beyond what the process has when its task begins
MEMORY_SHARE = 0.5
T = TypeVar("T")


class _Late(BaseException):
    """The time is over; no reader that catches every Exception may swallow it."""


class _Waiting(_Late):
    """The time of the clock is over."""


class FaceLimits:
    """Holds the work on each face of a block to its time: ``with FaceLimits() as within: within(work)``.

    In a process's main thread, where tasks run, work is ended when its time is over, as soon as the library
    that it is in comes back, at most half as much later; elsewhere it is refused once it has ended. Timers
    are set once for the block, not for each face, and an alarm that somebody else has set stays theirs.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._timers: dict[int, tuple[float, float]] = {}
        self._inside = False
        self._cpu_s = self._clock_s = 0.0

    def __enter__(self) -> FaceLimits:
        if threading.current_thread() is threading.main_thread():
            self._set(signal.SIGPROF, signal.ITIMER_PROF, SECONDS)
            # it comes every half minute of work: calls of libraries that it meets go on by themselves
            signal.siginterrupt(signal.SIGPROF, False)
            if not signal.getitimer(signal.ITIMER_REAL)[0]:
                self._set(signal.SIGALRM, signal.ITIMER_REAL, WAITING_SECONDS)
        return self

    def _set(self, number: int, timer: int, seconds: float) -> None:
        self._handlers[number] = signal.signal(number, self._on_time)
        self._timers[timer] = signal.setitimer(timer, seconds / 2, seconds / 2)

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            signal.setitimer(timer, 0)
        for number, handler in self._handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for timer, before in self._timers.items():  # of a block around this one, or of a profiler
            signal.setitimer(timer, *before)

    def _on_time(self, number: int, frame: FrameType | None) -> None:
        if not self._inside:
            return
        if number == signal.SIGPROF and time.thread_time() - self._cpu_s > SECONDS:
            self._inside = False
            raise _Late
        if number == signal.SIGALRM and time.monotonic() - self._clock_s > WAITING_SECONDS:
            self._inside = False
            raise _Waiting

    def __call__(self, work: Callable[[], T]) -> T:
        """Return what the work on one face gives.

        Raises:
            ImageFault: the work's own; E_SLOW: it took more than :data:`SECONDS` of the processor; E_BOMB:
                more memory than there is; E_RECORD: it ended in an error that is none of lrfr's.
            EnvironmentFault: it waited for more than :data:`WAITING_SECONDS`.
            LrfrError: the work's own.

        """
        begun, self._clock_s = time.thread_time(), time.monotonic()
        self._cpu_s, self._inside = begun, bool(self._timers)
        try:
            try:
                found = work()
            finally:
                self._inside = False
        except _Waiting:
            waited = f"a face was waited for longer than {WAITING_SECONDS:g} s"
            hint = "is the place of its source away? run the same command again to go on"
            raise EnvironmentFault(waited, hint=hint) from None
        except _Late:
            raise _slow() from None
        except Exception as error:  # of any kind: of whoever made the file, or its reader
            if isinstance(error, LrfrError) and not isinstance(error, DataError):
                raise
            raise _as_fault(error) from None
        if time.thread_time() - begun > SECONDS:
            raise _slow()
        return found


def within_limits(work: Callable[[], T]) -> T:
    """Return what the work on one face gives, where it is the only one; raises as :class:`FaceLimits`."""
    with FaceLimits() as within:
        return within(work)


def _as_fault(error: Exception) -> ImageFault:
    """Return what a face is refused with for an error of its reader or decoder."""
    if isinstance(error, ImageFault):
        return error
    if isinstance(error, OSError):
        return ImageFault("E_READ", error.strerror or str(error))
    if isinstance(error, MemoryError):
        return ImageFault("E_BOMB", "more memory than one picture may take")
    said = error.message if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return ImageFault("E_RECORD", said[:300])


def _slow() -> ImageFault:
    return ImageFault("E_SLOW", f"more than {SECONDS:g} s of one core")


def checked_content(content: object) -> bytes | np.ndarray:
    """Return what a source gave for a face, bytes or an array.

    Raises:
        ImageFault: E_RECORD for anything else.

    """
    if not isinstance(content, bytes | np.ndarray):
        raise ImageFault("E_RECORD", f"its source gives {type(content).__name__}, not bytes or an array")
    return content


def picture_within_limits(read: Callable[[], object]) -> tuple[bytes | None, ImageU8]:
    """Return what a source gives for a face where it is looked at in the process of the command: its bytes,
    None for an array, and its pixels uint8 ``[h, w, 3]``.

    Raises:
        ImageFault, EnvironmentFault, LrfrError: as :func:`within_limits`.

    """

    def look() -> tuple[bytes | None, ImageU8]:
        content = checked_content(read())
        if isinstance(content, np.ndarray):
            return None, check_image(content)
        return content, read_picture(content).pixels

    return within_limits(look)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Refuse this process more than :data:`MEMORY_SHARE` of the machine's memory beyond what it has, for the
    time of the block: a picture that wants more is an E_BOMB and not the end of all.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = _held_bytes()
    if held and before[0] == resource.RLIM_INFINITY:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (held + int(MEMORY_SHARE * whole), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _held_bytes() -> int:
    """Return the bytes of addresses that this process has, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as told:
            return int(told.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
