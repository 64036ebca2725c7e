"""Who this process is among its peers: one alone, or one of those that ``torchrun`` started (gloo on CPU,
nccl on GPU).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lrfr.core.machine import checked_device

# the leader makes views, keeps a teacher's embeddings and measures while the others wait: for hours, maybe,
# and nccl gives up after ten minutes, gloo after thirty. A process that ends still ends all of them.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class World:
    """Rank of this process, number of processes and its device; ``patient`` is a group of them that waits as
    long as one of them works.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    patient: Any = field(default=None, repr=False, compare=False)

    @property
    def leads(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    @property
    def kind(self) -> str:
        """Kind of the device, without its number: ``cpu`` or ``cuda``."""
        return self.device.split(":")[0]

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.barrier(self.patient)

    def any(self, flag: bool) -> bool:
        """Return whether any process says yes."""
        if self.size == 1:
            return flag
        votes = torch.tensor([float(flag)])
        dist.all_reduce(votes, group=self.patient)
        return bool(votes.item() > 0)

    def mean(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean of each loss over the processes, so that all see, and judge, the same numbers."""
        if self.size == 1:
            return dict(losses)
        stacked = torch.stack(list(losses.values()))
        dist.all_reduce(stacked)
        return dict(zip(losses, stacked / self.size, strict=True))

    def share(self, count: int) -> slice:
        """Return this process's part of ``count`` rows."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)


class Votes:
    """Agree on wishes without waiting: what any process wished at one step, all learn at the next (alone, at
    once). The exchange runs between the CPUs while the next step is taken.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._group: Any = dist.new_group(backend="gloo") if world.size > 1 else None
        self._sent: tuple[Tensor, Any] | None = None

    def cast(self, *wishes: bool) -> tuple[bool, ...]:
        """Send this step's wishes and return what was agreed at the step before."""
        if self.world.size == 1:
            return wishes
        agreed = self.close() or (False,) * len(wishes)
        votes = torch.tensor(wishes, dtype=torch.int32)
        work = dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._sent = votes, work
        return agreed

    def close(self) -> tuple[bool, ...]:
        """Take in what is under way."""
        if self._sent is None:
            return ()
        (votes, work), self._sent = self._sent, None
        work.wait()
        return tuple(vote > 0 for vote in votes.tolist())


@contextmanager
def join_world(device: str | None = None) -> Iterator[World]:
    """Join the processes of ``torchrun`` (its environment variables), or be alone; leave the group at the
    end.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, or by default ``auto``: a GPU where there is one.

    Raises:
        EnvironmentFault: there is no such device.

    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = checked_device(device or "auto")
    if size == 1:
        yield World(device=device)
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield World(dist.get_rank(), size, device, dist.new_group(backend="gloo", timeout=_PATIENCE))
    finally:
        dist.destroy_process_group()


class Objective(nn.Module):
    """A function of networks as a module, which is what DDP wraps."""

    def __init__(self, nets: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.nets, self.function = nets, function

    def forward(self, *arguments: Any) -> Any:
        """Return what the function does."""
        return self.function(*arguments)


def data_parallel(objective: Objective, world: World, apart: Iterable[str] = ()) -> nn.Module:
    """Return ``objective`` with its gradients averaged over the processes, all but those of the parameters
    ``apart``; alone, return it as it is.
    """
    if world.size == 1:
        return objective
    ignored = [f"nets.{name}" for name in apart]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(objective, ignored)  # type: ignore[no-untyped-call]
    # gloo on the CPU takes no list of devices
    devices = [world.device] if world.kind == "cuda" else None
    return DistributedDataParallel(objective, device_ids=devices)
