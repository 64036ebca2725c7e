"""Settings of the training loop, the learning-rate schedules and the optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal

from lrfr.core.errors import SpecError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Adapter:
    """Low-rank adaptation (LoRA, Hu et al., ICLR 2022, section 4.1) of convolutions, linear layers and
    attention: ``W + alpha / rank * B A``, with W frozen and A, B learned.

    Attributes:
        kind: ``lora``.
        rank: r, rows of A and columns of B; layers that are no larger than that stay as they are.
        alpha: weight of the addition, times r.

    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: Literal["lora"] = "lora"
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        if self.rank < 1 or not math.isfinite(self.alpha) or self.alpha <= 0:
            raise SpecError(f"train.adapter needs a rank of 1 or more and a positive alpha: {self}")

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / self.rank


# ends included; what is not here is checked by its type or in the settings' own check
RANGES: Mapping[str, tuple[float, float]] = {
    "length": (0, 1e12),
    "batch_size": (1, 1 << 24),
    "accumulate": (1, 1 << 24),
    "lr": (0, 1e6),
    "momentum": (0, 1),
    "weight_decay": (0, 1e6),
    "gamma": (0, 1e6),
    "power": (0, 1e3),
    "warmup": (0, 1e12),
    "clip_norm": (0, 1e12),
    "seed": (0, 2**63 - 1),
    "threads": (0, 4096),
    "images_per_id": (0, 1 << 24),
    "read_threads": (0, 4096),
    "read_workers": (0, 4096),
    "log_every": (1, 1 << 40),
    "save_every": (0, 1 << 40),
    "eval_every": (0, 1 << 40),
    "keep": (1, 1 << 20),
}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a method is trained; all of it but :attr:`WATCHED` belongs to the identity of a run.

    ``revision`` is raised by hand when the loop computes other weights for the same settings.

    Attributes:
        unit: what ``length``, ``milestones`` and ``warmup`` count: epochs or optimizer steps.
        length: how long to train.
        batch_size: pairs of one optimizer step, over all processes.
        accumulate: parts into which each process cuts its share of the batch, one backward pass each.
        optimizer: ``sgd`` or ``adamw``.
        lr: learning rate after the warm-up.
        schedule: ``constant``, ``step``, ``poly`` or ``cosine``.
        milestones: where ``step`` multiplies the rate by ``gamma``.
        power: exponent of ``poly``.
        warmup: linear start from zero.
        clip_norm: largest gradient norm over all networks; 0 does not clip.
        amp: ``none``, ``bf16`` or ``fp16`` (with loss scaling) autocast.
        deterministic: the same bits again from the same start; off, faster kernels of a GPU whose sums come
            in any order, so that a run repeats itself up to rounding.
        compile: let ``torch.compile`` fuse what the networks and losses do; the first step takes minutes.
        sync_bn: batch norms over all processes' faces (GPUs); for a few faces a process.
        channels_last: memory format of convolutions.
        ema_decay: decay of averaged weights, which are then the ones that embed; 0 keeps none.
        flip: horizontal flip with p = 0.5: one draw a pair (``joint``), one a side (``independent``), of the
            LR side alone (``lr``: a teacher's mirror images are not needed), or ``none``.
        seed: order of the data, first weights, flips and dropout.
        threads: CPU threads of torch, 0 for all usable cores; a run keeps the number it began with.
        shard_classes: spread the class weights over the processes.
        sample_rate: share of the other classes that a sharded head looks at in a step.
        images_per_id: images of each identity in a batch, for methods that compare faces within one; 0 draws
            faces freely.
        weight_column: name of a column of the view (:meth:`lrfr.Store.write_column`): how often a face comes
            in an epoch, in proportion; "" shows each once.
        read_threads: threads that decode ahead, besides the one that always does.
        read_workers: processes that decode ahead in place of threads, for machines where decoding is what
            training waits for; 0 for none.
        cache_teacher: keep what frozen teachers give for each face (and its mirror image) beside the base, so
            that they run once a face: ``auto`` for foreign files, whose numbers are the same either way;
            ``always`` for every teacher whose embeddings suffice, or refuse; ``never``.
        adapter: learn a small addition to the recognizer's weights in place of the weights, see
            :class:`Adapter`; none by default.
        log_every, save_every, eval_every: in steps; 0 saves or evaluates only at the end.
        save_minutes: save whenever so much time has passed since the last checkpoint, too; 0 does not.
        keep: full checkpoints to keep.

    """

    revision: ClassVar[int] = 1
    # how a run is watched and on what it runs, not what it computes
    WATCHED: ClassVar[frozenset[str]] = frozenset(
        {
            "log_every",
            "save_every",
            "save_minutes",
            "eval_every",
            "keep",
            "threads",
            "read_threads",
            "read_workers",
        }
    )

    unit: Literal["epoch", "step"] = "epoch"
    length: float = 10
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: Literal["constant", "step", "poly", "cosine"] = "step"
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    power: float = 2.0
    warmup: float = 0
    clip_norm: float = 0.0
    amp: Literal["none", "bf16", "fp16"] = "none"
    deterministic: bool = True
    compile: bool = False
    sync_bn: bool = False
    channels_last: bool = True
    ema_decay: float = 0.0
    flip: Literal["joint", "independent", "lr", "none"] = "joint"
    seed: int = 0
    threads: int = 0
    shard_classes: bool = False
    sample_rate: float = 1.0
    images_per_id: int = 0
    weight_column: str = ""
    read_threads: int = 0
    read_workers: int = 0
    cache_teacher: Literal["auto", "always", "never"] = "auto"
    adapter: Adapter | None = None
    log_every: int = 1
    save_every: int = 200
    save_minutes: float = 0.0
    eval_every: int = 0
    keep: int = 2

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        positive = {
            "length": self.length,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "log_every": self.log_every,
        }
        bad = [f"train.{name} must be positive, is {value}" for name, value in positive.items() if value <= 0]
        bad += [
            f"train.{f.name} is {getattr(self, f.name)}"
            for f in fields(self)
            if not _finite(getattr(self, f.name))
        ]
        bad += [
            f"train.{name} must be {low} to {high}, is {getattr(self, name)}"
            for name, (low, high) in RANGES.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.batch_size % self.accumulate:
            bad.append(
                f"train.batch_size {self.batch_size} is not a multiple of train.accumulate {self.accumulate}"
            )
        if self.nesterov and self.momentum <= 0:
            bad.append("train.nesterov needs train.momentum above 0")
        if self.sample_rate < 1 and not self.shard_classes:
            bad.append("train.sample_rate below 1 is of a spread head: set train.shard_classes, too")
        if self.weight_column and self.images_per_id:
            bad.append("train.weight_column and train.images_per_id do not go together")
        if self.save_minutes < 0:
            bad.append(f"train.save_minutes must be 0 or more, is {self.save_minutes}")
        if self.keep < 1:
            bad.append("train.keep must be at least 1")
        if not 0 <= self.ema_decay < 1 or not 0 < self.sample_rate <= 1:
            bad.append("train.ema_decay must be in [0, 1) and train.sample_rate in (0, 1]")
        if bad:
            raise SpecError("; ".join(bad))

    def total_steps(self, batches_per_epoch: int) -> int:
        """Return the number of optimizer steps."""
        return max(1, self._steps(self.length, batches_per_epoch))

    def lr_at(self, step: int, batches_per_epoch: int) -> float:
        """Return the learning rate of ``step`` (from 0), a pure function, so that a resumed run needs no
        scheduler state.

        ``poly`` is ``base * (1 - (step - w) / (T - w)) ** power`` after w warm-up steps (BTNet's code);
        ``cosine`` goes to zero at T.
        """
        total, warmup = self.total_steps(batches_per_epoch), self._steps(self.warmup, batches_per_epoch)
        if step < warmup:
            return self.lr * step / warmup
        progress = (step - warmup) / max(1, total - warmup)
        if self.schedule == "poly":
            return float(self.lr * (1 - progress) ** self.power)
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(progress * math.pi))
        if self.schedule == "step":
            passed = sum(step >= self._steps(milestone, batches_per_epoch) for milestone in self.milestones)
            return float(self.lr * self.gamma**passed)
        return self.lr

    def _steps(self, amount: float, batches_per_epoch: int) -> int:
        return round(amount * batches_per_epoch) if self.unit == "epoch" else round(amount)

    def make_optimizer(
        self, parameters: Iterable[nn.Parameter], fused: bool = False
    ) -> torch.optim.Optimizer:
        """Return the optimizer over the parameters that want a gradient; ``fused`` into one kernel, which on
        a GPU also skips a step of fp16 without asking the host.
        """
        import torch

        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        if self.optimizer == "adamw":
            return torch.optim.AdamW(
                wanted, self.lr, weight_decay=self.weight_decay, foreach=not fused, fused=fused
            )
        return torch.optim.SGD(
            wanted,
            self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            foreach=not fused,
            fused=fused,
        )


def _finite(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
