"""Two ways to run a command line and read its answer: here, or as a Ray task on any node that shares the
folder.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lrfr.core.files import opened_to_append
from lrfr.core.machine import ENDS_WITH


class Launch(Protocol):
    """Run ``words`` in ``folder``, stderr appended to ``log``; return the exit code and stdout."""

    def __call__(
        self, words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Run to the end."""
        ...

    def stop(self) -> None:
        """End what is running, from another thread."""
        ...


class LocalLaunch:
    """Child processes of this one."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(
        self, words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Run a child process to its end."""
        with opened_to_append(log) as stderr:
            child = subprocess.Popen(  # noqa: S603 - our own command lines
                words,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**environment, ENDS_WITH: str(os.getpid())},
            )
        self._children.add(child)
        if self._stopped:  # while it was being started
            child.terminate()
        try:
            stdout, _ = child.communicate()
        except BaseException:  # a Ray task that is canceled
            child.terminate()
            child.wait()
            raise
        finally:
            self._children.discard(child)
        return child.returncode, stdout

    def stop(self) -> None:
        """Ask every child to end; lrfr's commands then save and say how to go on."""
        self._stopped = True
        for child in list(self._children):
            child.terminate()


class RayLaunch:
    """Ray tasks of ``cores`` CPUs each, inside an open session; every node must see the experiment's folder
    under the same path.
    """

    def __init__(self, ray: Any, cores: int) -> None:
        self._ray = ray
        self._run = ray.remote(num_cpus=cores, max_retries=0)(_in_worker)
        self._running: set[Any] = set()

    def __call__(
        self, words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Run a task to its end; one that Ray has lost counts as failed."""
        reference = self._run.remote(list(words), folder.absolute(), log.absolute(), dict(environment))
        self._running.add(reference)
        try:
            answer: tuple[int, bytes] = self._ray.get(reference)
        except (self._ray.exceptions.RayError, KeyboardInterrupt) as error:
            return 1, f'{{"error": {{"message": "the Ray task ended: {type(error).__name__}"}}}}'.encode()
        finally:
            self._running.discard(reference)
        return answer

    def stop(self) -> None:
        """Cancel every task; its child is asked to end."""
        for reference in list(self._running):
            self._ray.cancel(reference)


def _in_worker(words: list[str], folder: Path, log: Path, environment: dict[str, str]) -> tuple[int, bytes]:
    return LocalLaunch()(words, folder, log, environment)
