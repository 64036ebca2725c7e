"""The one training loop: resumable to the bit, on one process or many, for every method alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrfr.core.errors import DataError, NumericFault
from lrfr.core.files import make_folder
from lrfr.core.progress import SILENT, Hooks, stop_on_signal
from lrfr.train import checkpoint
from lrfr.train.backbones.embedder import Embed
from lrfr.train.engine import determinism
from lrfr.train.engine.distributed import World
from lrfr.train.engine.journal import Journal, ScalarWriter
from lrfr.train.engine.loaders import Loader, make_loader
from lrfr.train.engine.prefetch import Prefetch
from lrfr.train.engine.state import Run, flip
from lrfr.train.methods.base import Losses, Method, Parents
from lrfr.train.settings import TrainSettings

if TYPE_CHECKING:
    from lrfr.pairs.dataset import Batch, PairDataset

Evaluate = Callable[[Embed], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a call of :func:`fit` may be told besides the run itself; no part of the run's identity.

    Attributes:
        parents: finished networks by role.
        evaluate: ``evaluate(embed) -> metrics``; the first metric chooses ``best`` (higher is better).
        world: this process among its peers.
        max_steps: stop at this step, keeping the schedule of the whole run.
        board: a TensorBoard writer.

    """

    parents: Parents | None = None
    evaluate: Evaluate | None = None
    world: World = field(default_factory=World)
    max_steps: int | None = None
    board: ScalarWriter | None = None


@dataclass(frozen=True)
class FitResult:
    """What a call of :func:`fit` did.

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


@dataclass
class _Session:
    """The parts of one call of :func:`fit`."""

    run: Run
    loader: Loader
    run_dir: Path
    journal: Journal
    identity: Mapping[str, Any]
    evaluate: Evaluate | None
    hooks: Hooks
    total: int
    pending: list[tuple[int, int, float, Losses]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    best: float = -math.inf
    digest: str = ""


def fit(
    method: Method,
    dataset: PairDataset,
    run_dir: Path,
    settings: TrainSettings,
    *,
    identity: Mapping[str, Any],
    options: FitOptions | None = None,
    hooks: Hooks = SILENT,
) -> FitResult:
    """Train ``method`` on ``dataset`` in ``run_dir``, from its last good checkpoint where there is one.

    A step's data, flips and random numbers are functions of the seed and the step, and a checkpoint holds
    everything else, so that a run that is killed and started again gives the same losses and weights as one
    that is not (same thread count, versions and kind of machine).

    Args:
        method: what to train.
        dataset: the view's pairs.
        run_dir: folder of the run; this call owns it.
        settings: how.
        identity: JSON kept in every checkpoint: ``method`` and ``options``, digests of view and spec.
        options: parents, evaluation, processes, an early end.
        hooks: progress in images, notes about damaged checkpoints; once a stop is asked for, the step
            under way is finished and saved, and the result says how far it came.

    Raises:
        NumericFault: a loss, gradient or weight is not finite; the last good checkpoint stays.
        DataError: no usable batch, or the view is damaged.

    """
    options = options or FitOptions()
    make_folder(run_dir)
    loader = make_loader(dataset, settings, options.world)
    with determinism.threads(settings.threads), determinism.deterministic():
        torch.manual_seed(settings.seed)
        names = tuple(dataset.attribute_names)
        run = Run(method, method.build(dataset.num_classes, options.parents, names), settings, options.world)
        whole = {**identity, "num_classes": dataset.num_classes, "attribute_names": list(names)}
        total = settings.total_steps(loader.batches_per_epoch)
        session = _Session(
            run,
            loader,
            run_dir,
            Journal(run_dir / "journal.jsonl", options.board),
            whole,
            options.evaluate,
            hooks,
            total,
        )
        start = _resume(session)
        with stop_on_signal() as stop:
            asked = lambda: stop.asked() or hooks.stopping()  # noqa: E731
            steps = _train(session, start, min(total, options.max_steps or total), asked)
    return FitResult(steps, total, start, session.digest, session.metrics)


def _resume(session: _Session) -> int:
    """Load the newest intact checkpoint and return its step, 0 without one."""
    for folder in reversed(checkpoint.steps(session.run_dir)):
        try:
            saved = checkpoint.load(folder)
        except DataError as error:
            session.hooks.note(f"passing over a damaged checkpoint: {error}")
            continue
        session.run.load(saved, str(folder))
        session.digest = checkpoint.read_manifest(folder).digest
        session.metrics, session.best = saved.state["metrics"], saved.state["best"]
        if session.best is None:
            session.best = -math.inf
        return int(saved.state["step"])
    return 0


def _train(session: _Session, start: int, end: int, asked: Callable[[], bool]) -> int:
    if start >= end:
        return start
    settings, world = session.run.settings, session.run.world
    if world.leads:
        session.journal.open_at(start)
    step = start
    session.hooks.progress(start * settings.batch_size, session.total * settings.batch_size)
    prefetch = Prefetch(_batches(session, start, end))
    clock, waited = time.perf_counter(), 0.0
    try:
        for epoch, batch in prefetch:
            torch.manual_seed((settings.seed * 1_000_003 + step) * 65_537 + world.rank)
            lr = settings.lr_at(step, session.loader.batches_per_epoch)
            session.pending.append((step + 1, epoch, lr, session.run.step(batch, step, lr)))
            step += 1
            if _due(step, settings.log_every) or step == end:
                now = time.perf_counter()
                rate = len(session.pending) * settings.batch_size / (now - clock)
                _drain(session, rate, (prefetch.waited_s - waited) / (now - clock))
                clock, waited = now, prefetch.waited_s
            stopping = world.any(asked())
            if _due(step, settings.eval_every) or step == session.total:
                _evaluate(session, step)
            if _due(step, settings.save_every) or step == end or stopping:
                _save(session, step)
            if stopping:
                break
    finally:
        prefetch.close()
        session.journal.close()
    return step


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _batches(session: _Session, start: int, end: int) -> Iterator[tuple[int, Batch]]:
    """Yield (epoch, flipped and prepared batch) of steps ``start`` to ``end``."""
    loader, settings = session.loader, session.run.settings
    step = start
    while step < end:
        epoch, place = divmod(step, loader.batches_per_epoch)
        for batch in loader.iterate(epoch, place):
            yield epoch, session.run.prepare(flip(batch, settings.flip, settings.seed, epoch))
            step += 1
            if step == end:
                return


def _drain(session: _Session, rate: float, wait: float) -> None:
    """Write the losses gathered since the last call; the values leave the device here, and here they are
    checked.
    """
    lines = session.pending
    session.pending = []
    for step, epoch, lr, losses in lines:
        values = {name: float(value) for name, value in losses.items()}
        scaled = (
            session.run.settings.amp == "fp16"
        )  # the scaler skips steps with infinite gradients by itself
        bad = [
            name
            for name, value in values.items()
            if not math.isfinite(value) and not (scaled and name == "grad_norm")
        ]
        if session.run.world.leads:
            session.journal.write(
                {
                    "step": step,
                    "epoch": epoch,
                    "lr": lr,
                    "loss": values,
                    "rate": round(rate, 1),
                    "wait": round(wait, 4),
                }
            )
        if bad:
            session.journal.flush()
            raise NumericFault(
                f"{', '.join(bad)} is not finite at step {step}",
                file=str(session.run_dir),
                hint="the last checkpoint is good; lower the learning rate, clip gradients or switch "
                "autocast off",
            )
    step, _, _, losses = lines[-1]
    size = session.run.settings.batch_size
    session.hooks.progress(
        step * size, session.total * size, loss=float(losses["total"]), wait=round(wait, 3)
    )


def _evaluate(session: _Session, step: int) -> None:
    """Let the leader measure the (averaged) weights, and keep the best; joining class shards is everybody's
    work.
    """
    if session.evaluate is None:
        return
    better = False
    if session.run.world.leads:
        with session.run.averaged_in_place():
            session.metrics = session.evaluate(session.run.method.embedder(session.run.nets))
        session.journal.write({"step": step, "eval": session.metrics})
        first = next(iter(session.metrics.values()), -math.inf)
        better = first > session.best
        session.best = max(first, session.best)
    if session.run.world.any(better):
        snapshot = _snapshot(session, step, full=False)
        if session.run.world.leads:
            checkpoint.save(session.run_dir / "best", snapshot)


def _snapshot(session: _Session, step: int, full: bool = True) -> checkpoint.Checkpoint:
    run = session.run
    state = {
        "step": step,
        "epoch": step // session.loader.batches_per_epoch,
        "batch_in_epoch": step % session.loader.batches_per_epoch,
        "metrics": session.metrics,
        "best": None if session.best == -math.inf else session.best,
        "scaler": run.scaler.state_dict(),
        "random": "seeded from (seed, step, rank) before every step",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return checkpoint.Checkpoint(
        dict(session.identity), run.model(), state, run.optimizer_tensors() if full else {}, run.averaged()
    )


def _save(session: _Session, step: int) -> None:
    """Write a checkpoint and drop the oldest beyond ``keep``; refuse weights that are not finite."""
    snapshot = _snapshot(session, step)
    bad = [name for name, tensor in snapshot.model.items() if not _finite(tensor)]
    if bad:
        raise NumericFault(
            f"weights are not finite at step {step}: {', '.join(bad[:3])}",
            file=str(session.run_dir),
            hint="nothing was saved",
        )
    if session.run.world.leads:
        session.journal.flush()
        folder = session.run_dir / "checkpoints" / f"step-{step:08d}"
        session.digest = checkpoint.save(folder, snapshot)
        checkpoint.prune(session.run_dir, session.run.settings.keep)
    session.run.world.barrier()


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
