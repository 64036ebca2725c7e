"""How a build is run and watched: which executor, how many workers, who hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.executors.base import Executor, R, Task
from lrfr.pairs.executors.local import Processes, Serial
from lrfr.pairs.executors.ray import OnRay, ray_session

EXECUTORS = ("auto", "serial", "process", "ray")
# starting processes that import torch takes some seconds
AUTO_SERIAL_SECONDS = 15.0


@dataclass(frozen=True)
class Runner:
    """How work is run and watched.

    Attributes:
        executor: ``auto``, ``serial``, ``process`` or ``ray``; ``auto`` takes processes once the work is
            worth their start, and Ray where an address is given.
        workers: how many tasks at once.
        ray_address: of a running Ray cluster.
        scratch: local folder for LMDB files while they are built (for stores on a network file system).
        hooks: told of progress (``phase=...``), asked between tasks whether to stop.
        start: start method of worker processes.
        on_phase: told of every phase that begins: its name, images that are there already, and all.

    """

    executor: str = "auto"
    workers: int = 1
    ray_address: str | None = None
    scratch: Path | None = None
    hooks: Hooks = SILENT
    start: str = "forkserver"
    on_phase: Callable[[str, int, int], None] | None = None

    def chosen(self, seconds: float) -> str:
        """Return which executor takes work that lasts ``seconds`` on one core.

        Raises:
            SpecError: there is no such executor.

        """
        if self.executor not in EXECUTORS:
            raise SpecError(f"no executor '{self.executor}'", hint=did_you_mean(self.executor, EXECUTORS))
        if self.executor != "auto":
            return self.executor
        if self.ray_address:
            return "ray"
        return "serial" if self.workers < 2 or seconds < AUTO_SERIAL_SECONDS else "process"

    def place(self, seconds: float = 0.0) -> Executor:
        """Return the executor for work that lasts ``seconds`` on one core."""
        kind = self.chosen(seconds)
        if kind == "serial":
            return Serial()
        if kind == "process":
            return Processes(self.workers, self.start)
        return OnRay(self.workers, self.ray_address)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep what is dear to start (a Ray session) for all phases of one run."""
        if self.chosen(0.0) != "ray":
            yield
            return
        with ray_session(self.workers, self.ray_address):
            yield

    def run(
        self,
        tasks: Sequence[Task[R]],
        seconds: float,
        phase: str,
        done: int,
        total: int,
        *,
        each: Callable[[int, R], None] | None = None,
    ) -> list[R]:
        """Run tasks and return their reports in order.

        Args:
            tasks: the work.
            seconds: what all of it takes on one core, roughly.
            phase: its name in progress reports.
            done: images of this phase that were there before.
            total: images of this phase.
            each: given the number and the report of every task as it ends.

        Raises:
            Stopped: the hooks said so; what was finished is kept.

        """
        reports: dict[int, R] = {}
        if tasks:
            if self.on_phase:
                self.on_phase(phase, done, total)
            for index, report in self.place(seconds).run(tasks, self.hooks.stopping):
                reports[index] = report
                if each:
                    each(index, report)
                done += report.images
                self.hooks.progress(done, total, phase=phase)
        return [reports[index] for index in range(len(tasks))]
