"""A polite end: the first Ctrl-C or SIGTERM lets the step finish and the checkpoint be written, the second is
the usual one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopFlag:
    """Which signal asked to stop, 0 for none."""

    signum = 0


@contextmanager
def stop_on_signal() -> Iterator[StopFlag]:
    """Yield a flag that the first SIGINT or SIGTERM raises; handlers are put back after it, and at the end
    the signal is delivered.
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

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        put_back()
    if flag.signum:
        signal.raise_signal(flag.signum)
