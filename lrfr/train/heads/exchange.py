"""What the processes of a training tell each other about classes and rows; alone, everything stays as it is.

Gradients follow the contract of DDP, which averages those of whole parameters over the processes: what is
computed here of a whole batch gives each process's rows, and each share of class weights, the gradient of the
mean over the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Rows(torch.autograd.Function):
    """Concatenate rows over processes; the gradient of a process's own rows is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        # DDP divides by the number of processes what is already the gradient of the global mean
        return gradient.chunk(dist.get_world_size())[dist.get_rank()] * dist.get_world_size()


class _Sum(torch.autograd.Function):
    """Sum over processes of a value that enters the loss of each of them once; the gradient passes
    through.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _OwnRows(torch.autograd.Function):
    """From all rows of a process's own classes to a process's own rows of all classes."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor) -> Tensor:
        parts = [torch.empty_like(columns) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, columns.contiguous())
        own = [part.chunk(len(parts))[dist.get_rank()] for part in parts]
        return torch.cat(own, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        size = dist.get_world_size()
        parts = [torch.empty_like(gradient) for _ in range(size)]
        dist.all_gather(parts, gradient)
        mine = [part.chunk(size, dim=1)[dist.get_rank()] for part in parts]
        # every process has a loss of its own here, and DDP would average them
        return torch.cat(mine) / size


def alone() -> bool:
    """Return whether there is no other process to keep in step with."""
    return not dist.is_initialized() or dist.get_world_size() == 1


def gather_rows(local: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks; every process has as many."""
    return _Rows.apply(local) if dist.is_initialized() else local  # type: ignore[no-untyped-call]


def gather_labels(labels_b: Tensor) -> Tensor:
    """Return the labels of all processes."""
    if not dist.is_initialized():
        return labels_b
    parts = [torch.empty_like(labels_b) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, labels_b.contiguous())
    return torch.cat(parts)


def add_up(local: Tensor) -> Tensor:
    """Return the sum over processes of what enters the loss of each of them."""
    return _Sum.apply(local) if dist.is_initialized() else local  # type: ignore[no-untyped-call]


def own_rows(columns: Tensor) -> Tensor:
    """Return all classes of this process's rows, of all rows of each process's classes."""
    return _OwnRows.apply(columns) if dist.is_initialized() else columns  # type: ignore[no-untyped-call]


def share_of_rows(known_b: Tensor) -> Tensor | float:
    """Return what the mean over this process's known rows weighs, so that the mean over processes is the
    mean over all known rows; of ``[B, K]``, for each of K.
    """
    if alone():
        return 1.0
    count = known_b.sum(0).float()
    total = count.clone()
    dist.all_reduce(total)
    return dist.get_world_size() * count / total.clamp(min=1)


def known_everywhere(values_bk: Tensor, known_b: Tensor) -> Tensor:
    """Return the values of the known rows of all processes, detached.

    Args:
        values_bk: float [known rows, K] of this process.
        known_b: bool [B], which rows of its batch they are; B is the same on every process.

    """
    if alone():
        return values_bk
    whole = values_bk.new_zeros((len(known_b), values_bk.shape[1]))
    whole[known_b] = values_bk
    parts = [torch.empty_like(whole) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, whole)
    return torch.cat(parts)[gather_labels(known_b.long()) > 0]


def observe_all(margin: Any, cos_b: Tensor, norm_b: Tensor, known_b: Tensor) -> None:
    """Let a margin's running statistics see the known rows of all processes, without choosing rows.

    Args:
        margin: a :class:`~lrfr.train.heads.margins.Margin`; one without buffers is spared the exchange.
        cos_b: cosine of each row to its target, detached; anything where it has none.
        norm_b: norm of its embedding.
        known_b: bool [B], which rows have an identity.

    """
    if not any(True for _ in margin.buffers()):
        return
    if not alone():
        told_b3 = torch.stack([cos_b, norm_b, known_b.to(cos_b.dtype)], dim=1)
        parts = [torch.empty_like(told_b3) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, told_b3)
        cos_b, norm_b, told_b = torch.cat(parts).unbind(1)
        known_b = told_b > 0
    margin.observe_known(cos_b, norm_b, known_b)


def observe_everywhere(margin: Any, cos_b: Tensor, norm_b: Tensor, known_b: Tensor) -> None:
    """Let a margin's running statistics (its buffers) see the known rows of all processes.

    Args:
        margin: a :class:`~lrfr.train.heads.margins.Margin`; one without buffers is spared the exchange.
        cos_b: cosine of each known row to its target, detached.
        norm_b: norm of its embedding.
        known_b: bool [B], which rows of the process's batch they are.

    """
    if any(True for _ in margin.buffers()):
        cos_b, norm_b = known_everywhere(torch.stack([cos_b, norm_b], dim=1), known_b).unbind(1)
    if len(cos_b):
        margin.observe(cos_b, norm_b)
