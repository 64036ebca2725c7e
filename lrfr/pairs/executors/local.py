"""Where tasks run: in this process, in a pool of processes, or on a Ray cluster. The bytes do not depend on
it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.core.errors import EnvironmentFault, SpecError, did_you_mean
from lrfr.pairs.build.tasks import Task, limit_torch_threads, quiet_threads

EXECUTORS = ("auto", "serial", "process", "ray")
AUTO_SERIAL_SECONDS = 15.0
Stop = Callable[[], bool]
Outcome = tuple[int, dict[str, Any]]
Progress = Callable[..., None]


class Stopped(Exception):
    """The user asked to stop; every finished shard is committed."""


def choose(kind: str, seconds: float, workers: int, ray_address: str | None = None) -> str:
    """Return the executor to use; ``auto`` takes processes once the work is worth their start.

    Raises:
        SpecError: no such executor.

    """
    if kind not in EXECUTORS:
        raise SpecError(f"no executor '{kind}'", hint=did_you_mean(kind, EXECUTORS))
    if kind != "auto":
        return kind
    if ray_address:
        return "ray"
    return "serial" if workers < 2 or seconds < AUTO_SERIAL_SECONDS else "process"


def execute(
    tasks: Sequence[Task],
    kind: str,
    workers: int,
    *,
    stop: Stop = lambda: False,
    ray_address: str | None = None,
    start: str = "forkserver",
) -> Iterator[Outcome]:
    """Run tasks and yield (index, report) as they finish, in any order.

    Args:
        tasks: the work.
        kind: ``serial``, ``process`` or ``ray``.
        workers: how many at once.
        stop: asked between tasks; once true, running tasks finish and nothing new starts.
        ray_address: of a running cluster; a local one is started without it.
        start: how worker processes are started.

    Raises:
        Stopped: ``stop`` said so.
        LrfrError: a task failed.

    """
    if not tasks:
        return
    if kind == "serial":
        yield from _serial(tasks, stop)
    elif kind == "process":
        yield from _process(tasks, min(workers, len(tasks)), stop, start)
    else:
        from lrfr.pairs.executors.ray import run_on_ray

        yield from run_on_ray(tasks, workers, stop, ray_address)


@contextmanager
def session(runner: Runner) -> Iterator[None]:
    """Keep what is dear to start (a Ray session) for all phases of one run."""
    if choose(runner.executor, 0.0, runner.workers, runner.ray_address) != "ray":
        yield
        return
    from lrfr.pairs.executors.ray import ray_session

    with ray_session(runner.workers, runner.ray_address):
        yield


def _serial(tasks: Sequence[Task], stop: Stop) -> Iterator[Outcome]:
    for index, task in enumerate(tasks):
        if stop():
            raise Stopped
        yield index, task.run()


def _process(tasks: Sequence[Task], workers: int, stop: Stop, start: str) -> Iterator[Outcome]:
    import multiprocessing

    context = multiprocessing.get_context(start)
    if start == "forkserver":
        # imported once by the server, so that every further worker starts at once
        context.set_forkserver_preload(
            ["torch", "lrfr.pairs.build.tasks", "lrfr.degrade.pipeline", "lrfr.degrade.ops.resize"]
        )
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(os.getpid(),)
    )
    try:
        yield from _drive(pool, tasks, workers, stop)
    except BrokenProcessPool:
        raise EnvironmentFault(
            "a worker process died (killed, or out of memory)", hint="run the same command again to go on"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drive(pool: ProcessPoolExecutor, tasks: Sequence[Task], workers: int, stop: Stop) -> Iterator[Outcome]:
    """Keep at most one task waiting per worker, so that a stop is a stop."""
    waiting = iter(enumerate(tasks))
    running: dict[Future[dict[str, Any]], int] = {}
    while True:
        while len(running) < 2 * workers and not stop():
            entry = next(waiting, None)
            if entry is None:
                break
            running[pool.submit(_run, entry[1])] = entry[0]
        if not running:
            break
        if stop():
            running = {future: index for future, index in running.items() if not future.cancel()}
        for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()
    if stop():
        raise Stopped


def _run(task: Task) -> dict[str, Any]:
    return task.run()


def _start_worker(parent: int) -> None:
    """Prepare a worker: one thread, the terminal's Ctrl-C left to the parent, an end when the parent has
    gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    quiet_threads()
    limit_torch_threads()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while _lives(parent):
        time.sleep(0.2)
    os._exit(1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class Runner:
    """How work is run and watched.

    Attributes:
        executor: ``auto``, ``serial``, ``process`` or ``ray``.
        workers: how many tasks at once.
        ray_address: of a running Ray cluster.
        scratch: local folder for LMDB files while they are built (for stores on a network file system).
        stop: asked between tasks.
        on_progress: called with (done, total, phase=...).
        start: start method of worker processes.

    """

    executor: str = "auto"
    workers: int = 1
    ray_address: str | None = None
    scratch: Path | None = None
    stop: Stop = lambda: False
    on_progress: Progress = lambda done, total, **info: None
    start: str = "forkserver"

    def run(
        self, tasks: Sequence[Task], seconds: float, phase: str, done: int, total: int
    ) -> list[dict[str, Any]]:
        """Run tasks and return their reports in order; ``done`` of ``total`` images were there before."""
        kind = choose(self.executor, seconds, self.workers, self.ray_address)
        reports: list[dict[str, Any]] = [{} for _ in tasks]
        options: dict[str, Any] = {"stop": self.stop, "ray_address": self.ray_address, "start": self.start}
        for index, report in execute(tasks, kind, self.workers, **options):
            reports[index] = report
            done += report.get("images", 0)
            self.on_progress(done, total, phase=phase)
        return reports
