"""The one training loop: resumable to the bit, on one process or many, for every task alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lrfr.core.errors import DataError, NumericFault
from lrfr.core.files import make_folder
from lrfr.core.progress import SILENT, Hooks, stop_on_signal
from lrfr.train import checkpoint
from lrfr.train.checkpoint.shared_save import save_together
from lrfr.train.engine import determinism
from lrfr.train.engine.background import Prefetch, Writer, on_host
from lrfr.train.engine.distributed import Votes
from lrfr.train.engine.journal import Journal, ScalarWriter
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
        hooks: progress in images, notes; a stop ends the call after the step under way (of several processes
            after the next), which is saved.

    Returns:
        What was done, and the task as it ended.

    Raises:
        NumericFault: a loss, gradient or weight is not finite; the last good checkpoint stays.
        DataError: no usable batch, or the data is damaged.
        EnvironmentFault: a checkpoint could not be written; said when it is known, some steps later.

    """
    make_folder(run_dir)
    kernels = determinism.kernels(pace.deterministic)
    with determinism.threads(pace.threads), kernels, stop_on_signal() as signaled:
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
        self.writer, self.votes = Writer(), Votes(self.world)
        self.share_group: Any = dist.new_group(backend="gloo") if task.state.spread else None
        self.saved_at = time.monotonic()

    def resume(self) -> int:
        """Load the newest intact checkpoint and return its step, 0 without one."""
        # newest first; an older one costs time, not the run: its steps are taken again, to the same bits
        for folder in reversed(checkpoint.steps(self.run_dir)):
            try:
                saved = checkpoint.load(folder, rows=self.task.state.rows())
            except DataError as error:
                self.hooks.note(f"passing over a damaged checkpoint: {error}")
                continue
            step = self.task.state.load(saved, str(folder))
            self.task.recall(saved.state)
            self.digest = checkpoint.read_manifest(folder).digest
            return step
        return 0

    def train(self, start: int, end: int, stop_asked: Callable[[], bool]) -> int:
        """Take the steps from ``start`` to ``end``; return where it stopped."""
        if start >= end:
            return start
        if self.world.leads:
            lost = self.journal.open_at(start)
            if lost:
                self.hooks.note(f"{self.journal.path}: {lost} damaged lines are left out")
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
                self.writer.check()
                # everybody stops at the same step, or the others would wait for ever in the next exchange
                stopping, saving = self.votes.cast(stop_asked(), self._long_since_saved())
                if self.task.due(step):
                    self._look(step)
                if _due(step, self.pace.save_every) or step == end or stopping or saving:
                    self._save(step)
                if stopping:
                    break
        finally:
            batches.close()
            self.votes.close()
            self.writer.close()
            self.journal.close()
        # nobody leaves, or is killed by the leader's end, before the checkpoint is written
        self.world.barrier()
        return step

    def _long_since_saved(self) -> bool:
        """Return, once for each time it has passed, whether the leader's clock says to save."""
        now = time.monotonic()
        due = 0 < self.pace.save_minutes * 60 <= now - self.saved_at
        if due:
            self.saved_at = now
        return due and self.world.leads

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
        for (step, _), values in zip(lines, _numbers([losses for _, losses in lines]), strict=True):
            if self.world.leads:
                place = self.task.place(step)
                self.journal.write({"step": step + 1, **place, "loss": values, "rate": rate, "wait": wait})
            self._check(step + 1, values)
        self._report(step + 1, loss=values["total"], wait=round(wait, 3))

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
            self._write(self.run_dir / "best", step, full=False)

    def _snapshot(self, step: int, full: bool) -> checkpoint.Checkpoint:
        """Return what this process writes of the state, in memory that no later step changes."""
        state = self.task.state
        notes = {
            "step": step,
            **self.task.notes(step),
            "scaler": state.scaler.state_dict(),
            "random": "seeded from (seed, step, rank) before every step",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        optimizer = on_host(state.optimizer_tensors(whole=False)) if full else {}
        averages = on_host(state.averaged(whole=False))
        model = on_host(state.model(whole=False))
        return checkpoint.Checkpoint(dict(self.task.identity), model, notes, optimizer, averages)

    def _save(self, step: int) -> None:
        """Have a checkpoint written and the oldest beyond ``keep`` dropped; refuse weights that are not
        finite.
        """
        state = self.task.state
        bad = _not_finite({**state.model(whole=False), **state.share(optimizer=False)})
        if self.world.any(bool(bad)):
            raise NumericFault(
                f"weights are not finite at step {step}: {', '.join(bad[:3])}",
                file=str(self.run_dir),
                hint="nothing was saved",
            )
        # the journal first: no checkpoint is ahead of its losses
        self.journal.flush()
        self.saved_at = time.monotonic()
        self._write(self.run_dir / "checkpoints" / f"step-{step:08d}", step, full=True)

    def _write(self, folder: Path, step: int, full: bool) -> None:
        """Copy the state, and let it be written while training goes on."""
        share = on_host(self.task.state.share(full)) if self.share_group else {}
        if not self.world.leads and not share:
            return
        self.writer.wait()  # two copies in memory, and two writers on a disk, help nobody
        snapshot, group = self._snapshot(step, full), self.share_group

        def work() -> None:
            digest = (
                save_together(folder, snapshot, share, group) if group else checkpoint.save(folder, snapshot)
            )
            if full:
                self.digest = digest
                if self.world.leads:
                    checkpoint.prune(self.run_dir, self.pace.keep)

        self.writer.submit(work)

    def finish(self) -> None:
        """Let the leader do what is left after the last step."""
        if self.world.leads:
            self.task.finish()
        self.world.barrier()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _numbers(lines: Sequence[Losses]) -> list[dict[str, float]]:
    """Return losses as numbers of the host; the device is asked once."""
    flat = [value.detach().double() for losses in lines for value in losses.values()]
    values = iter(torch.stack(flat).tolist())
    return [{name: next(values) for name in losses} for losses in lines]


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors that are not finite; the device is asked once."""
    floats = {
        name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()
    }
    if not floats:
        return []
    good = torch.stack([torch.isfinite(tensor).all() for tensor in floats.values()]).tolist()
    return [name for name, fine in zip(floats, good, strict=True) if not fine]
