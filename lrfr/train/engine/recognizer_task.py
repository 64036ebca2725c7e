"""Training a recognizer by a method on a view's pairs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core.embedder import Embedder
from lrfr.core.progress import SILENT, Hooks
from lrfr.train.backbones.teacher import teachers_of
from lrfr.train.checkpoint import checked
from lrfr.train.engine.distributed import World
from lrfr.train.engine.journal import ScalarWriter
from lrfr.train.engine.loaders import Loader, flip, make_loader
from lrfr.train.engine.loop import FitResult, run_task
from lrfr.train.engine.method_run import Run
from lrfr.train.engine.task import Pace, Sight, Task
from lrfr.train.methods.base import Losses, Method, Parents
from lrfr.train.settings import TrainSettings

if TYPE_CHECKING:
    from lrfr.pairs.format.pair_batch import Batch
    from lrfr.pairs.reading.dataset import PairDataset

Evaluate = Callable[[Embedder], dict[str, float]]


class RecognizerTask(Task["Batch"]):
    """A method's run over a view.

    Args:
        run: the method in training.
        loader: batches of this process.
        identity: JSON kept in every checkpoint.
        evaluate: measures an embedder, None for never.

    """

    def __init__(
        self, run: Run, loader: Loader, identity: Mapping[str, object], evaluate: Evaluate | None = None
    ) -> None:
        self.run, self.loader, self.identity, self.evaluate = run, loader, identity, evaluate
        self.state, self.settings = run.state, run.settings
        self.total = self.settings.total_steps(loader.batches_per_epoch)
        self.metrics: dict[str, float] = {}
        self.best = -math.inf

    def batches(self, start: int, end: int) -> Iterator[Batch]:
        """Yield flipped and prepared batches."""
        step = start
        while step < end:
            epoch, place = divmod(step, self.loader.batches_per_epoch)
            for batch in self.loader.iterate(epoch, place):
                yield self.run.prepare(flip(batch, self.settings.flip, self.settings.seed, epoch))
                step += 1
                if step == end:
                    return

    def step(self, item: Batch, step: int) -> Losses:
        """Take one optimizer step at the schedule's learning rate."""
        return self.run.step(item, step, self._lr(step))

    def _lr(self, step: int) -> float:
        return self.settings.lr_at(step, self.loader.batches_per_epoch)

    def place(self, step: int) -> Mapping[str, float]:
        """Return epoch and learning rate."""
        return {"epoch": step // self.loader.batches_per_epoch, "lr": self._lr(step)}

    def due(self, step: int) -> bool:
        """Evaluate every ``eval_every`` steps and at the end."""
        every = self.settings.eval_every
        return self.evaluate is not None and (step == self.total or (every > 0 and step % every == 0))

    def look(self, step: int) -> Sight:
        """Measure the (averaged) weights; the first metric says whether they are the best."""
        assert self.evaluate is not None
        with self.state.averaged_in_place():
            self.metrics = self.evaluate(self.run.method.embedder(self.run.nets))
        first = next(iter(self.metrics.values()), -math.inf)
        better = first > self.best
        self.best = max(first, self.best)
        return Sight({"eval": self.metrics}, better)

    def notes(self, step: int) -> Mapping[str, object]:
        """Return the place in the data and the evaluation."""
        epoch, batch = divmod(step, self.loader.batches_per_epoch)
        best = None if self.best == -math.inf else self.best
        return {"epoch": epoch, "batch_in_epoch": batch, "metrics": self.metrics, "best": best}

    def recall(self, notes: Mapping[str, object]) -> None:
        """Take over the evaluation."""
        told = checked(_Evaluation, notes, Path("state.json"))
        self.metrics = dict(told.metrics)
        self.best = -math.inf if told.best is None else told.best


@dataclass(frozen=True)
class _Evaluation:
    """What a checkpoint says of the evaluation."""

    metrics: Mapping[str, int | float]
    best: int | float | None


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What a call of :func:`fit` may be told besides the run itself; no part of the run's identity.

    Attributes:
        parents: finished networks by role.
        evaluate: ``evaluate(embed) -> metrics``; the first metric chooses ``best`` (higher is better).
        world: this process among its peers.
        max_steps: stop at this step, keeping the schedule of the whole run.
        board: a TensorBoard writer.
        kept: role to the column of the data set that holds a frozen teacher's embeddings of the HR faces.

    """

    parents: Parents | None = None
    evaluate: Evaluate | None = None
    world: World = field(default_factory=World)
    max_steps: int | None = None
    board: ScalarWriter | None = None
    kept: Mapping[str, str] = field(default_factory=dict)


def fit(
    method: Method,
    dataset: PairDataset,
    run_dir: Path,
    settings: TrainSettings,
    *,
    identity: Mapping[str, object],
    options: FitOptions | None = None,
    hooks: Hooks = SILENT,
) -> FitResult:
    """Train ``method`` on ``dataset`` in ``run_dir``; see :func:`~lrfr.train.engine.loop.run_task`.

    Args:
        method: what to train.
        dataset: the view's pairs.
        run_dir: folder of the run; this call owns it.
        settings: how.
        identity: JSON kept in every checkpoint: ``method`` and ``options``, digests of view and spec.
        options: parents, evaluation, processes, an early end.
        hooks: progress in images, notes, stop.

    Raises:
        NumericFault: a loss, gradient or weight is not finite; the last good checkpoint stays.
        DataError: no usable batch, or the view is damaged.

    """
    options = options or FitOptions()
    world, names = options.world, list(dataset.attribute_names)
    loader = make_loader(dataset, settings, world)
    known = {**identity, "num_classes": dataset.num_classes, "attribute_names": names}

    def make() -> RecognizerTask:
        nets = method.build(dataset.num_classes, options.parents, tuple(names))
        for role, column in options.kept.items():
            for teacher in teachers_of(nets, (options.parents or {})[role]["net"]):
                teacher.column = column
        run = Run(method, nets, settings, world)
        if run.learning and settings.adapter:
            hooks.note(f"{settings.adapter.kind} of rank {settings.adapter.rank}: {run.learning}")
        return RecognizerTask(run, loader, known, options.evaluate)

    pace = _pace(settings, loader.batches_per_epoch)
    result, task = run_task(
        make, pace, run_dir, max_steps=options.max_steps, board=options.board, hooks=hooks
    )
    return dataclasses.replace(result, metrics=task.metrics)


def _pace(settings: TrainSettings, batches_per_epoch: int) -> Pace:
    return Pace(
        total=settings.total_steps(batches_per_epoch),
        images=settings.batch_size,
        seed=settings.seed,
        threads=settings.threads,
        log_every=settings.log_every,
        save_every=settings.save_every,
        save_minutes=settings.save_minutes,
        keep=settings.keep,
        deterministic=settings.deterministic,
    )
