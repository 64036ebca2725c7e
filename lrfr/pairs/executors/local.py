"""Tasks on this machine: one after the other in this process, or in a pool of processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import EnvironmentFault, LrfrError, SpecError
from lrfr.core.progress import Stopped
from lrfr.pairs.executors.base import R, Stopping, Task, end_with, one_opencv_thread, prepare_worker

# what tasks import when they first run, loaded once by the server so that every further worker starts at once
_PRELOAD = ("torch", "lrfr.degrade.pipeline", "lrfr.degrade.ops.resize")


class Serial:
    """One task after the other, in this process."""

    def run(self, tasks: Sequence[Task[R]], stopping: Stopping) -> Iterator[tuple[int, R]]:
        """Run tasks in order and yield (index, report)."""
        for index, task in enumerate(tasks):
            if stopping():
                raise Stopped
            with one_opencv_thread():
                report = task.run()
            yield index, report


@dataclass(frozen=True)
class Processes:
    """A pool of processes on this machine.

    Attributes:
        workers: how many.
        start: how they are started: ``forkserver``, ``spawn`` or ``fork``.

    """

    workers: int
    start: str = "forkserver"

    def run(self, tasks: Sequence[Task[R]], stopping: Stopping) -> Iterator[tuple[int, R]]:
        """Run tasks and yield (index, report) as they finish."""
        context = multiprocessing.get_context(self.start)
        if self.start == "forkserver":
            modules = {type(task).__module__ for task in tasks} - {"__main__"}
            context.set_forkserver_preload([*_PRELOAD, *sorted(modules)])
        workers = min(self.workers, len(tasks))
        # plain shared bytes: a worker that is killed can leave no lock behind
        started, leave = context.RawValue("b", 0), context.RawValue("b", 0)
        pool = ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(), started, leave))
        try:
            yield from _drive(pool, tasks, workers, stopping)
        except BrokenProcessPool:
            raise why_broken(bool(started.value), self.start) from None
        except BaseException as error:
            # a signal's own exception: whoever asks twice does not want to wait for the running shards
            leave.value = not isinstance(error, Exception)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _drive(
    pool: ProcessPoolExecutor, tasks: Sequence[Task[R]], workers: int, stopping: Stopping
) -> Iterator[tuple[int, R]]:
    """Keep at most one task waiting per worker, so that a stop is a stop."""
    waiting = iter(enumerate(tasks))
    running: dict[Future[R], int] = {}
    while True:
        # one that runs and one that waits for each worker: none of them idles between tasks
        while len(running) < 2 * workers and not stopping():
            entry = next(waiting, None)
            if entry is None:
                break
            running[pool.submit(_run, entry[1])] = entry[0]
        if not running:
            break
        if stopping():
            running = {future: index for future, index in running.items() if not future.cancel()}
        for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()
    if stopping():
        raise Stopped


def _run(task: Task[R]) -> R:
    return task.run()


def _start_worker(parent: int, started: ctypes.c_byte, leave: ctypes.c_byte) -> None:
    """Prepare a worker: one thread, the terminal's Ctrl-C left to the parent, an end when the parent has gone
    or says so.
    """
    started.value = True
    # Ctrl-C reaches the whole process group; the parent alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prepare_worker()
    end_with(parent, leave)


def why_broken(started: bool, start: str, hint: str = "run the same command again to go on") -> LrfrError:
    """Return the fault of a pool whose workers died."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    if not started and start != "fork" and script and not _asks_its_name(Path(script)):
        return SpecError(
            "no worker process could start: each imports this script, which works when it is imported",
            file=script,
            hint="put what it runs under 'if __name__ == \"__main__\":' (or take the executor 'serial')",
        )
    return EnvironmentFault("a worker process died (killed, or out of memory)", hint=hint)


def _asks_its_name(script: Path) -> bool:
    try:
        return "__main__" in script.read_text("utf-8", "replace")
    except OSError:
        return True
