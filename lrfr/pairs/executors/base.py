"""What runs where: a task does one piece of work, an executor runs many, here or elsewhere."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lrfr.core.files import is_alive

Stopping = Callable[[], bool]

_WATCHER = "lrfr-watch-parent"

_BY_IMPORT = (
    "this script does its work when it is imported, as worker processes do: put what it runs under\n"
    '    if __name__ == "__main__":'
)


@dataclass(frozen=True)
class TaskReport:
    """What a task tells whoever started it; tasks add fields of their own, all small and picklable.

    Attributes:
        images: how many images it dealt with, for progress.

    """

    images: int = 0


R = TypeVar("R", bound=TaskReport)
R_co = TypeVar("R_co", bound=TaskReport, covariant=True)


class Task(Protocol[R_co]):
    """One piece of work: a small, picklable value whose result does not depend on where it runs."""

    def run(self) -> R_co:
        """Do it and return a small report."""


class Executor(Protocol):
    """Where tasks run."""

    def run(self, tasks: Sequence[Task[R]], stopping: Stopping) -> Iterator[tuple[int, R]]:
        """Run tasks and yield (index, report) as they finish, in any order.

        Args:
            tasks: the work.
            stopping: asked between tasks; once true, running tasks finish and nothing new starts.

        Raises:
            Stopped: ``stopping`` said so before all were done.
            LrfrError: a task failed.
            EnvironmentFault: the place where they run is broken.

        """


def prepare_worker() -> None:
    """Keep a worker process to one thread: parallelism comes from the number of workers."""
    import cv2

    cv2.setNumThreads(1)
    # torch may be imported already, or later
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        # not imported here for it: most tasks need no torch
        sys.modules["torch"].set_num_threads(1)


def end_with(parent: int, leave: ctypes.c_byte | None = None) -> None:
    """End this worker process, in the middle of a task, soon after process ``parent`` has gone or ``leave``
    is set. A second call adds nothing.
    """
    if not any(thread.name == _WATCHER for thread in threading.enumerate()):
        threading.Thread(target=_watch, args=(parent, leave), name=_WATCHER, daemon=True).start()


def _watch(parent: int, leave: ctypes.c_byte | None) -> None:
    # polled: a parent that was killed cannot tell its workers
    while is_alive(parent) and not (leave is not None and leave.value):
        time.sleep(0.2)
    # at once: a shard without sidecar is written again
    os._exit(1)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV to one thread for the time of the block; the caller's own number is put back."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def refuse_while_imported() -> None:
    """End a worker process that is importing the script of its parent and would start the work once more.

    A new process (spawn, forkserver) imports the script that was run; without a guard that script would do
    there all that it does. Called at the head of what scripts run.

    Raises:
        SystemExit: says what to write.

    """
    # the flag multiprocessing itself asks before it refuses to start processes
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(_BY_IMPORT)
