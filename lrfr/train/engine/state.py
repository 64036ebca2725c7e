"""One training run in memory: networks, optimizer, loss scaler and averaged weights, one step, and its state
as tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from lrfr.pairs.dataset import Batch
from lrfr.train import checkpoint
from lrfr.train.backbones.nets import Nets
from lrfr.train.engine.distributed import World
from lrfr.train.heads.partial_fc import ShardedHead, shard_head
from lrfr.train.methods.base import Losses, Method
from lrfr.train.settings import TrainSettings

_AMP = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Objective(nn.Module):
    """The method's losses as a module, which is what DDP wraps."""

    def __init__(self, method: Method, nets: Nets) -> None:
        super().__init__()
        self.method, self.nets = method, nets

    def forward(self, batch: Batch, step: int) -> Losses:
        """Return the method's losses."""
        return self.method.losses(self.nets, batch, step)


class Run:
    """Everything that a step changes.

    Args:
        method: the method.
        nets: its networks, on the CPU, in their first state.
        settings: the loop's settings.
        world: this process among its peers.

    """

    def __init__(self, method: Method, nets: Nets, settings: TrainSettings, world: World) -> None:
        self.method, self.settings, self.world = method, settings, world
        if settings.shard_classes:
            nets["head"] = shard_head(cast(Any, nets["head"]), world.rank, world.size, settings.sample_rate)
        self.nets = nets.to(world.device)
        method.train_mode(self.nets)
        if settings.channels_last:
            self.nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective: nn.Module = Objective(method, self.nets)
        if world.size > 1:
            self.objective = _data_parallel(self.objective, world)
        self.names = {
            name: parameter for name, parameter in self.nets.named_parameters() if parameter.requires_grad
        }
        self.optimizer = settings.make_optimizer(self.names.values())
        self.scaler = torch.amp.GradScaler(world.device.split(":")[0], enabled=settings.amp == "fp16")
        self.ema = (
            {key: value.clone() for key, value in checkpoint.model_tensors(self.nets).items()}
            if settings.ema_decay
            else {}
        )

    def step(self, batch: Batch, step: int, lr: float) -> Losses:
        """Take one optimizer step on a batch and return the mean losses of its parts, detached, with
        ``grad_norm``.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        parts = _cut(self.prepare(batch), self.settings.accumulate)
        summed: Losses = {}
        for index, part in enumerate(parts):
            with self._sync_on(index == len(parts) - 1), self._autocast():
                losses = self.objective(part, step)
            self.scaler.scale(losses["total"] / len(parts)).backward()
            for name, value in losses.items():
                summed[name] = summed.get(name, 0) + value.detach().float() / len(parts)
        self.scaler.unscale_(self.optimizer)
        summed = self._mean_over_processes(summed)
        summed["grad_norm"] = self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self._average()
        return summed

    def _mean_over_processes(self, losses: Losses) -> Losses:
        """Return the losses of the global batch, so that every process sees, and judges, the same numbers."""
        if self.world.size == 1:
            return losses
        stacked = torch.stack(list(losses.values()))
        dist.all_reduce(stacked)
        return dict(zip(losses, stacked / self.world.size, strict=True))

    def prepare(self, batch: Batch) -> Batch:
        """Return a uint8 batch as float on the device in the run's memory format; a prepared one as it is."""
        if batch.hr_bchw.is_floating_point():
            return batch
        batch = batch.to(self.world.device).as_float()
        if not self.settings.channels_last:
            return batch
        hr, lr = (x.contiguous(memory_format=torch.channels_last) for x in (batch.hr_bchw, batch.lr_bchw))
        return replace(batch, hr_bchw=hr, lr_bchw=lr)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.amp == "none":
            return nullcontext()
        return torch.autocast(self.world.device.split(":")[0], _AMP[self.settings.amp])

    def _sync_on(self, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients on the last part only."""
        return nullcontext() if last or self.world.size == 1 else cast(Any, self.objective).no_sync()

    def _clip(self) -> Tensor:
        """Clip all gradients together and return their norm before it; shards of the head count over all
        processes.
        """
        whole = [
            p.grad for name, p in self.names.items() if p.grad is not None and self._sharded(name) is None
        ]
        norm = torch.nn.utils.get_total_norm(whole, foreach=True)
        if self.settings.shard_classes:
            shard = self.nets["head"].weight.grad.square().sum()
            if self.world.size > 1:
                dist.all_reduce(shard)
            norm = (norm.square() + shard).sqrt()
        if self.settings.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(
                self.names.values(), self.settings.clip_norm, norm, foreach=True
            )
        return norm.detach()

    @torch.no_grad()
    def _average(self) -> None:
        if not self.ema:
            return
        now = checkpoint.model_tensors(self.nets)
        for name, average in self.ema.items():
            if average.is_floating_point():
                average.lerp_(now[name], 1 - self.settings.ema_decay)
            else:
                average.copy_(now[name])

    @contextmanager
    def averaged_in_place(self) -> Iterator[None]:
        """Put the averaged weights into the networks for a while, where they are kept."""
        if not self.ema:
            yield
            return
        now = {name: tensor.clone() for name, tensor in checkpoint.model_tensors(self.nets).items()}
        checkpoint.load_model(self.nets, self.ema, "averaged weights")
        try:
            yield
        finally:
            checkpoint.load_model(self.nets, now, "weights")

    def model(self) -> checkpoint.Tensors:
        """Return the tensors of the networks, class shards joined (every process must call)."""
        return {
            name: self._join(name, tensor) for name, tensor in checkpoint.model_tensors(self.nets).items()
        }

    def averaged(self) -> checkpoint.Tensors:
        """Return the averaged tensors, class shards joined."""
        return {name: self._join(name, tensor) for name, tensor in self.ema.items()}

    def optimizer_tensors(self) -> checkpoint.Tensors:
        """Return the optimizer's tensors as ``<parameter>/<key>``, class shards joined."""
        result = {}
        for name, parameter in self.names.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    result[f"{name}/{key}"] = (
                        self._join(name, value) if value.shape == parameter.shape else value
                    )
        return result

    def load(self, saved: checkpoint.Checkpoint, place: str) -> None:
        """Take over a checkpoint's state, bit for bit."""
        checkpoint.load_model(
            self.nets, {name: self._cut_shard(name, value) for name, value in saved.model.items()}, place
        )
        for name, value in saved.ema.items():
            self.ema[name].copy_(self._cut_shard(name, value))
        self.optimizer.state.clear()
        for entry, tensor in saved.optimizer.items():
            name, key = entry.rsplit("/", 1)
            parameter = self.names[name]
            value = self._cut_shard(name, tensor).to(parameter.device) if tensor.ndim else tensor.cpu()
            self.optimizer.state[parameter][key] = value
        self.scaler.load_state_dict(saved.state["scaler"])

    def _sharded(self, name: str) -> ShardedHead | None:
        head = self.nets["head"] if "head" in self.nets else None
        return head if name == "head.weight" and isinstance(head, ShardedHead) else None

    def _join(self, name: str, tensor: Tensor) -> Tensor:
        head = self._sharded(name)
        return head.join(tensor) if head is not None else tensor

    def _cut_shard(self, name: str, tensor: Tensor) -> Tensor:
        head = self._sharded(name)
        return head.cut(tensor) if head is not None else tensor


def _data_parallel(objective: nn.Module, world: World) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    sharded = [name for name, module in objective.named_modules() if isinstance(module, ShardedHead)]
    ignored = [f"{name}.weight" for name in sharded]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(objective, ignored)  # type: ignore[no-untyped-call]
    devices = [world.device] if world.device.startswith("cuda") else None
    return DistributedDataParallel(objective, device_ids=devices)


def _cut(batch: Batch, parts: int) -> list[Batch]:
    if parts == 1:
        return [batch]
    size = -(-len(batch.label_b) // parts)
    spans = [slice(start, start + size) for start in range(0, len(batch.label_b), size)]
    return [replace(batch, **{f.name: getattr(batch, f.name)[span] for f in fields(batch)}) for span in spans]


def flip(batch: Batch, mode: str, seed: int, epoch: int) -> Batch:
    """Return a uint8 batch with its random horizontal flips; a draw is a function of (seed, epoch, row, side)
    alone.
    """
    if mode == "none":
        return batch
    rows = batch.row_b.numpy()
    hr_b = _coin(rows, seed, epoch, 0)
    lr_b = hr_b if mode == "joint" else _coin(rows, seed, epoch, 1)
    return replace(batch, hr_bchw=_mirror(batch.hr_bchw, hr_b), lr_bchw=_mirror(batch.lr_bchw, lr_b))


def _mirror(x_bchw: Tensor, where_b: NDArray[np.bool_]) -> Tensor:
    mask = torch.from_numpy(where_b)[:, None, None, None]
    return torch.where(mask, x_bchw.flip(3), x_bchw)


def _coin(rows: NDArray[np.int64], seed: int, epoch: int, side: int) -> NDArray[np.bool_]:
    """Toss a fair coin for every row: one bit of a SplitMix64 hash."""
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64)
        for word in (seed, epoch, side):
            x = x + np.uint64((word * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return (x & np.uint64(1)).astype(np.bool_)
