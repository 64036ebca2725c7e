"""Run the steps of a plan: what is done is not redone, what fails does not stop the rest, and a kill loses
one step at most.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import json_of, make_folder, write_atomic
from lrfr.core.files.inside import refuse_link
from lrfr.core.progress import SILENT, Hooks
from lrfr.experiment.steps.command_plan import Step
from lrfr.experiment.steps.launch import Launch, LocalLaunch
from lrfr.pairs.format.sealed import validated

LOCKED = 4
ENDED_BADLY = {"failed", "stopped"}
BAD = {*ENDED_BADLY, "skipped"}
# exit codes of commands that were interrupted, and of processes that a signal ended
_STOPPED = {130, 143, -signal.SIGINT, -signal.SIGTERM}
_LOCK_PATIENCE_S = 900.0
_POLL_S = 2.0

OnStep = Callable[[Step, str, float | None], None]


@dataclass(frozen=True)
class StepRecord:
    """What is kept of one run of a step, under ``steps/ID.json``.

    Attributes:
        id: of the step.
        argv: its command line.
        digest: its identity: this command line and those before it.
        code: exit code.
        seconds: how long it took.
        result: what the command answered.
        error: why it failed.

    """

    id: str
    argv: Sequence[str]
    digest: str
    code: int
    seconds: float
    result: object = None
    error: Mapping[str, object] | None = None


class StepRunner:
    """Runs command lines in ``folder`` and keeps one record a step under ``steps/``.

    Args:
        folder: the experiment's folder; every path of the command lines is relative to it.
        launcher: words before a step's own, by default this interpreter running lrfr.
        jobs: how many steps may run side by side; each then gets its share of the cores.
        launch: how a command line is run: as a child process, or as a Ray task.

    """

    def __init__(
        self,
        folder: Path,
        launcher: tuple[str, ...] = (sys.executable, "-m", "lrfr"),
        jobs: int = 1,
        launch: Launch | None = None,
    ) -> None:
        self.folder = folder
        self.launcher = launcher
        self.jobs = jobs
        self.launch = launch or LocalLaunch()
        self.records = folder / "steps"
        self._stopping = threading.Event()

    def record(self, step: Step) -> StepRecord | None:
        """Return what is known of an earlier run of this step."""
        path = self.records / f"{step.id}.json"
        try:
            return validated(StepRecord, json_of(path), path)
        except (OSError, ValueError, DataError):
            return None

    def done(self, step: Step, digest: str) -> bool:
        """Say whether this very step, after these very steps, has succeeded and its product is there."""
        record = self.record(step)
        known = record is not None and record.code == 0 and record.digest == digest
        return known and (self.folder / step.product).exists()

    def run(self, steps: list[Step], on_step: OnStep, hooks: Hooks = SILENT) -> dict[str, str]:
        """Run all steps and return the state of each: ``kept``, ``done``, ``failed``, ``stopped`` (asked to
        end before it had) or ``skipped``.

        Once the hooks ask to stop, nothing new begins, what runs is asked to end, the rest is ``skipped``.
        """
        for own in (self.records, self.folder / "logs"):
            refuse_link(own)
            make_folder(own)
        digests = digests_of(steps)
        states: dict[str, str] = {}
        waiting = list(steps)
        running: dict[Future[str], str] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while waiting or running:
                    if hooks.stopping() and not self._stopping.is_set():
                        self._stop()
                    ready = [step for step in waiting if states.keys() >= {*step.needs, *step.after}]
                    for step in ready[: self.jobs - len(running)]:
                        waiting.remove(step)
                        running[pool.submit(self._step, step, digests[step.id], dict(states), on_step)] = (
                            step.id
                        )
                    for future in wait(running, _POLL_S, return_when=FIRST_COMPLETED).done:
                        states[running.pop(future)] = future.result()
            except BaseException:
                self._stop()
                raise
        return {step.id: states[step.id] for step in steps}

    def _step(self, step: Step, digest: str, ended: dict[str, str], on_step: OnStep) -> str:
        start = time.monotonic()
        if self._stopping.is_set() or any(ended[name] in BAD for name in step.needs):
            state = "skipped"
        elif not step.after and self.done(step, digest):
            state = "kept"
        else:
            on_step(step, "running", None)
            code = self._execute(step, digest)
            stopped = self._stopping.is_set() or code in _STOPPED
            state = "done" if code == 0 else "stopped" if stopped else "failed"
        on_step(step, state, time.monotonic() - start if state in {"done", *ENDED_BADLY} else None)
        return state

    def _execute(self, step: Step, digest: str) -> int:
        """Run one command line; a step that is still running elsewhere (its output is locked) is waited
        for.
        """
        argv = _existing(step, self.folder)
        start = time.monotonic()
        while True:
            code, answer = self._launch(argv, self.folder / "logs" / f"{step.id}.log")
            if code != LOCKED or self._stopping.wait(_POLL_S) or time.monotonic() - start > _LOCK_PATIENCE_S:
                break
        seconds = round(time.monotonic() - start, 1)
        error = answer.get("error")
        record = StepRecord(
            step.id,
            argv,
            digest,
            code,
            seconds,
            answer.get("result"),
            error if isinstance(error, dict) else None,
        )
        text = json.dumps(asdict(record), sort_keys=True, indent=1, default=str)
        write_atomic(self.records / f"{step.id}.json", text.encode(), self.records)
        return code

    def _launch(self, argv: list[str], log: Path) -> tuple[int, Mapping[str, object]]:
        environment = dict(os.environ)
        if self.jobs > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.jobs))
        code, stdout = self.launch([*self.launcher, *argv, "--json"], self.folder, log, environment)
        try:
            answer = json.loads(stdout.decode("utf-8").splitlines()[-1])
            return code, dict(answer)
        except (ValueError, IndexError, TypeError):
            return code, {"error": {"message": f"no JSON answer; see {log.name}"}}

    def _stop(self) -> None:
        self._stopping.set()
        self.launch.stop()


def digests_of(steps: list[Step]) -> dict[str, str]:
    """Return the identity of every step of a plan: its own command line and the identities of the steps that
    it needs.
    """
    digests: dict[str, str] = {}
    for step in steps:
        digests[step.id] = step.digest(digests)
    return digests


def _existing(step: Step, folder: Path) -> list[str]:
    """Return the command line without the results of steps that failed (a report shows what there is)."""
    return [
        word
        for word in step.argv
        if not step.after or not word.startswith("results/") or (folder / word).exists()
    ]
