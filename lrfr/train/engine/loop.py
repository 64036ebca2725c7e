"""The one training loop: resumable to the bit, on one process or many, for every task alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from lrfr.core.errors import DataError, NumericFault
from lrfr.core.files import make_folder
from lrfr.core.progress import SILENT, Hooks, stop_on_signal
from lrfr.train import checkpoint
from lrfr.train.engine import determinism
from lrfr.train.engine.journal import Journal, ScalarWriter
from lrfr.train.engine.prefetch import Prefetch
from lrfr.train.engine.task import Pace, Task
from lrfr.train.methods.base import Losses

T = TypeVar("T", bound=Task[Any])


@dataclass(frozen=True)
class FitResult:
    """What a call of the loop did.

    Attributes:
        steps: optimizer steps of the whole run so far.
        total: steps that the settings ask for.
        started_at: step at which this call began (``total``: the run was finished before).
        digest: sha256 of the last checkpoint's manifest.
        metrics: the last evaluation.

    """

    steps: int
    total: int
    started_at: int
    digest: str
    metrics: dict[str, float] = field(default_factory=dict)


def run_task(
    make: Callable[[], T],
    pace: Pace,
    run_dir: Path,
    *,
    max_steps: int | None = None,
    board: ScalarWriter | None = None,
    hooks: Hooks = SILENT,
) -> tuple[FitResult, T]:
    """Train a task in ``run_dir``, from its last good checkpoint where there is one.

    What a step draws is a function of seed and step, and a checkpoint holds everything else: a run that is
    killed and started again gives the bits of one that is not (same threads, versions and kind of machine).

    Args:
        make: makes the task, under the run's seed, threads and kernels.
        pace: how long, and how often to speak and save.
        run_dir: folder of the run; this call owns it.
        max_steps: stop at this step, keeping the schedule of the whole run.
        board: a TensorBoard writer.
        hooks: progress in images, notes; a stop ends the call after the step under way, which is saved.

    Returns:
        What was done, and the task as it ended.

    Raises:
        NumericFault: a loss, gradient or weight is not finite; the last good checkpoint stays.
        DataError: no usable batch, or the data is damaged.

    """
    make_folder(run_dir)
    with determinism.threads(pace.threads), determinism.deterministic(), stop_on_signal() as signaled:
        torch.manual_seed(pace.seed)
        task = make()
        session = _Session(task, pace, run_dir, board, hooks)
        start = session.resume()
        end = min(pace.total, max_steps or pace.total)
        steps = session.train(start, end, lambda: signaled.asked() or hooks.stopping())
        if steps == pace.total:
            session.finish()
    return FitResult(steps, pace.total, start, session.digest), task


class _Session:
    """One call of :func:`run_task`."""

    def __init__(
        self, task: Task[Any], pace: Pace, run_dir: Path, board: ScalarWriter | None, hooks: Hooks
    ) -> None:
        self.task, self.pace, self.run_dir, self.hooks = task, pace, run_dir, hooks
        self.world = task.state.world
        self.journal = Journal(run_dir / "journal.jsonl", board)
        self.pending: list[tuple[int, Losses]] = []
        self.digest = ""

    def resume(self) -> int:
        """Load the newest intact checkpoint and return its step, 0 without one."""
        # newest first; an older one costs time, not the run: its steps are taken again, to the same bits
        for folder in reversed(checkpoint.steps(self.run_dir)):
            try:
                saved = checkpoint.load(folder)
            except DataError as error:
                self.hooks.note(f"passing over a damaged checkpoint: {error}")
                continue
            self.task.state.load(saved, str(folder))
            self.task.recall(saved.state)
            self.digest = checkpoint.read_manifest(folder).digest
            return int(saved.state["step"])
        return 0

    def train(self, start: int, end: int, stop_asked: Callable[[], bool]) -> int:
        """Take the steps from ``start`` to ``end``; return where it stopped."""
        if start >= end:
            return start
        if self.world.leads:
            self.journal.open_at(start)
        self._report(start)
        batches = Prefetch(self.task.batches(start, end))
        clock, waited = time.perf_counter(), 0.0
        step = start
        try:
            for item in batches:
                self._step(step, item)
                step += 1
                # losses stay on the device until then: a look at each of them would make every step wait
                if _due(step, self.pace.log_every) or step == end:
                    now = time.perf_counter()
                    self._drain(now - clock, batches.waited_s - waited)
                    clock, waited = now, batches.waited_s
                # everybody stops at the same step, or the others would wait for ever in the next exchange
                stopping = self.world.any(stop_asked())
                if self.task.due(step):
                    self._look(step)
                if _due(step, self.pace.save_every) or step == end or stopping:
                    self._save(step)
                if stopping:
                    break
        finally:
            batches.close()
            self.journal.close()
        return step

    def _step(self, step: int, item: Any) -> None:
        """Take a step; what it draws depends on seed, step and rank alone."""
        # no two (seed, step, rank) give one number below 1,000,003 steps and 65,537 ranks
        torch.manual_seed((self.pace.seed * 1_000_003 + step) * 65_537 + self.world.rank)
        self.pending.append((step, self.task.step(item, step)))

    def _report(self, steps: int, **info: float) -> None:
        self.hooks.progress(steps * self.pace.images, self.pace.total * self.pace.images, **info)

    def _drain(self, seconds: float, waited_s: float) -> None:
        """Write the losses gathered since the last call; the values leave the device here, and here they are
        checked.
        """
        lines, self.pending = self.pending, []
        rate, wait = round(len(lines) * self.pace.images / seconds, 1), round(waited_s / seconds, 4)
        for step, losses in lines:
            values = {name: float(value) for name, value in losses.items()}
            if self.world.leads:
                place = self.task.place(step)
                self.journal.write({"step": step + 1, **place, "loss": values, "rate": rate, "wait": wait})
            self._check(step + 1, values)
        step, losses = lines[-1]
        self._report(step + 1, loss=float(losses["total"]), wait=round(wait, 3))

    def _check(self, step: int, values: dict[str, float]) -> None:
        """Refuse losses that are not finite; fp16's scaler skips steps of infinite gradients by itself."""
        # the norm is measured before the scaler skips the step
        excused = {"grad_norm"} if self.task.state.scaler.is_enabled() else set()
        bad = [name for name, value in values.items() if not math.isfinite(value) and name not in excused]
        if bad:
            self.journal.flush()
            raise NumericFault(
                f"{', '.join(bad)} is not finite at step {step}",
                file=str(self.run_dir),
                hint="the last checkpoint is good; lower the learning rate, clip gradients or switch "
                "autocast off",
            )

    def _look(self, step: int) -> None:
        """Let the leader look, and keep the best; joining class shards is everybody's work."""
        best = False
        if self.world.leads:
            sight = self.task.look(step)
            best = sight.best
            if sight.line:
                self.journal.write({"step": step, **sight.line})
        if self.world.any(best):
            # the best weights are for use, not for going on: they need no optimizer
            snapshot = self._snapshot(step, full=False)
            if self.world.leads:
                checkpoint.save(self.run_dir / "best", snapshot)

    def _snapshot(self, step: int, full: bool = True) -> checkpoint.Checkpoint:
        state = self.task.state
        notes = {
            "step": step,
            **self.task.notes(step),
            "scaler": state.scaler.state_dict(),
            "random": "seeded from (seed, step, rank) before every step",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        optimizer = state.optimizer_tensors() if full else {}
        return checkpoint.Checkpoint(
            dict(self.task.identity), state.model(), notes, optimizer, state.averaged()
        )

    def _save(self, step: int) -> None:
        """Write a checkpoint and drop the oldest beyond ``keep``; refuse weights that are not finite."""
        snapshot = self._snapshot(step)
        bad = [name for name, tensor in snapshot.model.items() if not _finite(tensor)]
        if bad:
            raise NumericFault(
                f"weights are not finite at step {step}: {', '.join(bad[:3])}",
                file=str(self.run_dir),
                hint="nothing was saved",
            )
        if self.world.leads:
            # the journal first: no checkpoint is ahead of its losses
            self.journal.flush()
            folder = self.run_dir / "checkpoints" / f"step-{step:08d}"
            self.digest = checkpoint.save(folder, snapshot)
            checkpoint.prune(self.run_dir, self.pace.keep)
        # nobody leaves, or is killed by the leader's end, before the checkpoint is written
        self.world.barrier()

    def finish(self) -> None:
        """Let the leader do what is left after the last step."""
        if self.world.leads:
            self.task.finish()
        self.world.barrier()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
