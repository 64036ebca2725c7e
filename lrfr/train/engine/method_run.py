"""A method in training: its networks under one optimizer, and one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lrfr.core.errors import SpecError
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.teacher import FrozenTeacher
from lrfr.train.engine.adapters import add_adapters
from lrfr.train.engine.distributed import Objective, World, data_parallel
from lrfr.train.engine.state import RunState
from lrfr.train.heads.margins import Head
from lrfr.train.heads.partial_fc import ShardedHead, only_what_was_seen, shard_head
from lrfr.train.methods.base import Losses, Method
from lrfr.train.settings import TrainSettings


class Run:
    """Everything that a step of a method changes.

    Args:
        method: the method.
        nets: its networks, on the CPU, in their first state.
        settings: the loop's settings.
        world: this process among its peers.

    """

    def __init__(self, method: Method, nets: Nets, settings: TrainSettings, world: World) -> None:
        self.method, self.settings, self.world = method, settings, world
        shards = _shard(nets, settings, world) if settings.shard_classes else {}
        self.nets = nets.to(world.device)
        method.train_mode(self.nets)
        self.learning = add_adapters(self.nets["net"], settings.adapter) if settings.adapter else None
        if settings.channels_last:
            self.nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.sync_bn:
            _synchronize(self.nets, world)
        objective = data_parallel(Objective(self.nets, self._losses), world, shards)
        self.objective = cast(nn.Module, torch.compile(objective)) if settings.compile else objective
        trained = [parameter for parameter in self.nets.parameters() if parameter.requires_grad]
        self.optimizer = settings.make_optimizer(trained, fused=world.kind != "cpu")
        self.state = RunState(self.nets, [self.optimizer], world, settings.amp, shards)
        if settings.ema_decay:
            self.state.keep_averages("")

    def step(self, batch: Batch, step: int, lr: float) -> Losses:
        """Take one optimizer step on a batch and return the mean losses of its parts, detached, with
        ``grad_norm``.
        """
        scaler = self.state.scaler
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        parts = _cut(self.prepare(batch), self.settings.accumulate)
        summed: Losses = {}
        for index, part in enumerate(parts):
            with self._sync_on(index == len(parts) - 1), self.state.autocast():
                losses = self.objective(part, step)
            scaler.scale(losses["total"] / len(parts)).backward()
            for name, value in losses.items():
                summed[name] = summed.get(name, 0) + value.detach().float() / len(parts)
        scaler.unscale_(self.optimizer)
        self._agree_on_overflow()
        summed = self.world.mean(summed)
        summed["grad_norm"] = self._clip()
        with self._sampled_classes():
            scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.average(self.settings.ema_decay)
        return summed

    def _losses(self, batch: Batch, step: int) -> Losses:
        for net in self.nets.values():
            if isinstance(net, FrozenTeacher):
                net.remember(batch.hr_bchw, batch.columns)
        return self.method.losses(self.nets, batch, step)

    def prepare(self, batch: Batch) -> Batch:
        """Return a uint8 batch as float on the device in the run's memory format; a prepared one as it is."""
        if batch.hr_bchw.is_floating_point():
            return batch
        if self.world.kind == "cuda":
            batch = batch.pin_memory()  # from memory that may move, a copy makes the host wait
        batch = batch.to(self.world.device).as_float()
        if not self.settings.channels_last:
            return batch
        hr, lr = (x.contiguous(memory_format=torch.channels_last) for x in (batch.hr_bchw, batch.lr_bchw))
        return replace(batch, hr_bchw=hr, lr_bchw=lr)

    def _sync_on(self, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients on the last part only."""
        return nullcontext() if last or self.world.size == 1 else cast(Any, self.objective).no_sync()

    def _agree_on_overflow(self) -> None:
        """Let every process skip the step where the shard of one has overflowed (fp16)."""
        if self.world.size > 1 and self.state.scaler.is_enabled():
            for found in self.state.scaler._found_inf_per_device(self.optimizer).values():
                dist.all_reduce(found, dist.ReduceOp.MAX)

    @contextmanager
    def _sampled_classes(self) -> Iterator[None]:
        """Leave the classes that a sampled head has not looked at as they are."""
        with ExitStack() as stack:
            if self.settings.sample_rate < 1:
                for head in self.state.shards.values():
                    stack.enter_context(only_what_was_seen(head, self.optimizer.state[head.weight]))
            yield

    def _clip(self) -> Tensor:
        """Clip all gradients together and return their norm before it; shards of the head count over all
        processes.
        """
        names, shards = self.state.names, self.state.shards
        whole = [p.grad for name, p in names.items() if p.grad is not None and name not in shards]
        norm = torch.nn.utils.get_total_norm(whole, foreach=True)
        if shards:
            grads = [head.weight.grad for head in self.state.shards.values()]
            squares = [grad.square().sum() for grad in grads if grad is not None]
            shard = torch.stack(squares).sum() if squares else norm.new_zeros(())
            if self.world.size > 1:
                dist.all_reduce(shard)
            norm = (norm.square() + shard).sqrt()
        if self.settings.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(names.values(), self.settings.clip_norm, norm, foreach=True)
        return norm.detach()


def _synchronize(nets: Nets, world: World) -> None:
    """Let the batch norms that train see the faces of all processes; alone, they do already.

    Raises:
        SpecError: there is no GPU, for which alone torch has it.

    """
    if world.kind != "cuda":
        raise SpecError("train.sync_bn needs GPUs", hint="--set sync_bn=false")
    if world.size > 1:
        for name, net in nets.items():
            if not isinstance(net, FrozenTeacher):
                nets[name] = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]


def _shard(nets: Nets, settings: TrainSettings, world: World) -> dict[str, ShardedHead]:
    """Put this process's share in the place of every head of the run; a teacher's stays whole."""
    heads = {name: net for name, net in nets.items() if isinstance(net, Head)}
    if not heads:
        raise SpecError(
            "train.shard_classes spreads class weights, and this method has none",
            hint="--set shard_classes=false",
        )
    shards = {}
    for name, head in heads.items():
        nets[name] = share = shard_head(head, world.rank, world.size, settings.sample_rate)
        shards[f"{name}.weight"] = share
    return shards


def _cut(batch: Batch, parts: int) -> list[Batch]:
    if parts == 1:
        return [batch]
    size = -(-len(batch.label_b) // parts)
    return [batch.part(slice(start, start + size)) for start in range(0, len(batch), size)]
