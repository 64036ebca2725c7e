"""The Ray executor: one task a shard, only small reports in the object store; Ray is imported here alone."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lrfr.core.errors import EnvironmentFault, LrfrError, missing_extra
from lrfr.core.files import scratch_folder
from lrfr.core.machine import quiet_libraries
from lrfr.core.progress import Stopped
from lrfr.pairs.executors.base import R, Stopping, Task, end_with, prepare_worker

# only small reports pass through it; left to itself Ray takes about a third of the memory
OBJECT_STORE_BYTES = 100 * 1024 * 1024
# of a task whose worker died; tasks leave nothing behind until they commit, so they may run again
RETRIES = 3
# how often a stop is looked for while shards run
WAIT_SECONDS = 30.0


@contextmanager
def ray_session(workers: int, address: str | None = None) -> Iterator[Any]:
    """Start a local Ray (or join the cluster at ``address``) for the time of the block and yield the module;
    share a running one.

    Raises:
        EnvironmentFault: Ray cannot start.

    """
    if address is None:
        _use_own_token()
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    folder = None if address else _own_folder()
    try:
        with _own_sigterm():
            _start(ray, workers, address, folder)
        yield ray
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class OnRay:
    """A local Ray, or the cluster at ``address``.

    Attributes:
        workers: tasks at once; a cluster takes as many as it has cores.
        address: of a running cluster; None starts a local Ray, or shares the one that runs.

    """

    workers: int
    address: str | None = None

    def run(self, tasks: Sequence[Task[R]], stopping: Stopping) -> Iterator[tuple[int, R]]:
        """Run tasks and yield (index, report) as they finish.

        Raises:
            EnvironmentFault: Ray cannot start, or a worker died more often than the retries allow.

        """
        ray = _import_ray()
        with ray_session(self.workers, self.address):
            slots = _cluster_slots(ray, self.workers) if self.address else self.workers
            yield from _drive(ray, tasks, slots, stopping)


def _import_ray() -> Any:
    quiet_libraries()
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "dev") from None
    return ray


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does on SIGTERM: Ray puts an exit of its own there as it starts."""
    mine = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stop:
        if stop.code == signal.SIGTERM and callable(before):
            before(signal.SIGTERM, None)
        raise
    finally:
        if mine and before is not None:
            signal.signal(signal.SIGTERM, before)


def _own_folder() -> str:
    """Return a new folder for a session, and remove those of sessions whose process has been killed."""
    return str(scratch_folder("ray", _short_folder()))


def _short_folder() -> str:
    """Return a short writable folder: Ray puts sockets there, and their paths may have 107 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 20 else "/tmp"  # noqa: S108 - a private folder is made inside it


def _start(ray: Any, workers: int, address: str | None, folder: str | None) -> None:
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    try:
        if address:
            ray.init(address=address, **common)
            return
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            _temp_dir=folder,
            object_store_memory=OBJECT_STORE_BYTES,
            **common,
        )
    except Exception as error:
        where = f"the cluster at {address}" if address else "a local Ray"
        raise EnvironmentFault(
            f"cannot use {where}: {error}", hint="--executor process needs no Ray"
        ) from None


def _use_own_token() -> None:
    """Give Ray a token of this process alone; left to itself it writes one to the home folder."""
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        if (
            "ray" not in sys.modules
        ):  # Ray reads the mode when it is imported; later it turns the token on by itself and says so
            os.environ["RAY_AUTH_MODE"] = "token"


def _cluster_slots(ray: Any, workers: int) -> int:
    return max(workers, int(ray.cluster_resources().get("CPU", workers)))


def _drive(ray: Any, tasks: Sequence[Task[R]], slots: int, stopping: Stopping) -> Iterator[tuple[int, R]]:
    # no more in flight than can run: a stop then waits for running shards only, and nothing queues in the
    # object store
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_work)
    waiting = iter(enumerate(tasks))
    running: dict[Any, int] = {}
    while True:
        while len(running) < slots and not stopping():
            entry = next(waiting, None)
            if entry is None:
                break
            running[remote.remote(entry[1])] = entry[0]
        if not running:
            break
        done, _ = ray.wait(list(running), num_returns=1, timeout=WAIT_SECONDS)
        for reference in done:
            yield running.pop(reference), _fetch(ray, reference)
    if stopping():
        raise Stopped


def _fetch(ray: Any, reference: Any) -> Any:
    """Return a task's report."""
    try:
        report = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        raise EnvironmentFault(
            "a Ray worker ran out of memory", hint="use fewer --workers; run the same command again to go on"
        ) from None
    except ray.exceptions.RayTaskError as error:
        cause = error.as_instanceof_cause()
        raise (cause if isinstance(cause, LrfrError) else error) from None
    except ray.exceptions.RayError as error:  # a worker, a node, or what it held
        what = "worker" if isinstance(error, ray.exceptions.WorkerCrashedError) else "node"
        raise EnvironmentFault(
            f"a Ray {what} died again and again ({type(error).__name__})",
            hint="run the same command again to go on",
        ) from None
    if isinstance(report, LrfrError):
        raise report
    return report


def _work(task: Task[R]) -> R | LrfrError:
    """Run one task in a Ray worker; errors come back as values, so that their fields survive."""
    prepare_worker()
    # the node's own process: it goes with the driver's, and would leave a running task behind
    end_with(os.getppid())
    try:
        return task.run()
    except LrfrError as error:
        return error
