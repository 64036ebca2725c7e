"""Class weights spread over processes (Partial FC, An et al., CVPR 2022): each holds C / world_size classes.

Every process sees the embeddings of the whole global batch, computes the logits of its classes, and the
softmax is joined by three small exchanges. With ``sample_rate`` below 1 a process looks at its batch's
targets and a random share of its other classes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import SpecError
from lrfr.train.backbones.features import full_precision
from lrfr.train.heads.margins import Head, Margin


class _Gather(torch.autograd.Function):
    """Concatenate over processes; the gradient of a process's own rows is the sum over processes."""

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


def _gather(local: Tensor) -> Tensor:
    return _Gather.apply(local) if dist.is_initialized() else local  # type: ignore[no-untyped-call]


def _sum(local: Tensor) -> Tensor:
    return _Sum.apply(local) if dist.is_initialized() else local  # type: ignore[no-untyped-call]


class ShardedHead(nn.Module):
    """One process's share of a :class:`~lrfr.train.heads.margins.Head`; made by :func:`shard_head`.

    ``weight`` holds the classes ``first .. first + len``. Shares are of equal size; the last may hold
    classes that do not exist, whose logits are excluded.
    """

    def __init__(
        self, margin: Margin, weight_cd: Tensor, rank: int, world_size: int, sample_rate: float
    ) -> None:
        super().__init__()
        self.margin, self.sample_rate = margin, sample_rate
        self.num_classes = weight_cd.shape[0]
        self.share = -(-self.num_classes // world_size)
        self.first, self.world_size = rank * self.share, world_size
        self.weight = nn.Parameter(self.cut(weight_cd.detach()).clone())

    def cut(self, full_cd: Tensor) -> Tensor:
        """Return this process's rows of a tensor over all classes, padded with zeros."""
        rows = full_cd[self.first : self.first + self.share]
        return F.pad(rows, (0, 0, 0, self.share - rows.shape[0]))

    def join(self, local_cd: Tensor) -> Tensor:
        """Return the tensor over all classes of every process's share."""
        if self.world_size == 1:
            return local_cd
        parts = [torch.empty_like(local_cd) for _ in range(self.world_size)]
        dist.all_gather(parts, local_cd.detach().contiguous())
        return torch.cat(parts)[: self.num_classes]

    def forward(self, embedding_bd: Tensor, labels_b: Tensor) -> Tensor:
        """Return the mean cross-entropy over the rows of the global batch that have an identity."""
        with full_precision(embedding_bd):
            emb, labels = _gather(embedding_bd.float()), _gather_labels(labels_b)
            known = labels >= 0  # the same on every process
            if not bool(known.any()):
                return (emb.sum() + self.weight.sum()) * 0.0
            if not bool(known.all()):
                emb, labels = emb[known], labels[known]
            place_b, mine_b, classes = self._places(labels)
            cos_bc = F.linear(F.normalize(emb), F.normalize(self.weight[classes])).clamp(-1, 1)
            own_b = torch.where(mine_b, cos_bc.gather(1, place_b[:, None]).squeeze(1), cos_bc.new_zeros(()))
            cos_b = _sum(own_b)
            norm_b = emb.detach().norm(dim=1)
            if self.training:
                self.margin.observe(cos_b.detach(), norm_b)
            target_b = self.margin.scale * self.margin.target(cos_b, norm_b)
            others_bc = self.margin.scale * self.margin.others(cos_bc, cos_b.detach())
            return self._cross_entropy(target_b, others_bc, place_b, mine_b, classes)

    def logits(self, embedding_bd: Tensor, labels_b: Tensor | None = None) -> Tensor:
        """Refuse: no process holds the logits of every class.

        Raises:
            SpecError: always.

        """
        raise SpecError(
            "this method compares logits of every class, and train.shard_classes spreads them over processes",
            hint="--set shard_classes=false",
        )

    cosine = logits

    def _places(self, labels_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each label's column here (0 where it lives elsewhere), whether it lives here, and the
        classes looked at.
        """
        local = labels_b - self.first
        mine = (local >= 0) & (local < self.share)
        classes = torch.arange(self.share, device=labels_b.device)
        if self.sample_rate < 1:
            wanted = torch.rand(self.share, device=labels_b.device) < self.sample_rate
            # targets always: without them their rows would get no gradient towards their faces
            wanted[local[mine]] = True
            # never none: there is no largest logit among no classes
            classes = classes[wanted] if bool(wanted.any()) else classes[:1]
        columns = torch.zeros(self.share, dtype=torch.long, device=labels_b.device)
        columns[classes] = torch.arange(len(classes), device=labels_b.device)
        return (
            torch.where(mine, columns[local.clamp(0, self.share - 1)], torch.zeros_like(local)),
            mine,
            classes,
        )

    def _cross_entropy(
        self, target_b: Tensor, others_bc: Tensor, place_b: Tensor, mine_b: Tensor, classes: Tensor
    ) -> Tensor:
        columns = torch.arange(others_bc.shape[1], device=others_bc.device)
        hidden = ((columns == place_b[:, None]) & mine_b[:, None]) | (
            self.first + classes >= self.num_classes
        )
        others_bc = others_bc.masked_fill(hidden, float("-inf"))
        # the largest logit over all processes is taken off before exp, so that no process overflows
        peak_b = torch.maximum(others_bc.detach().amax(1), target_b.detach())
        if dist.is_initialized():
            dist.all_reduce(peak_b, dist.ReduceOp.MAX)
        rest_b = _sum(torch.exp(others_bc - peak_b[:, None]).sum(1))
        return (torch.log(rest_b + torch.exp(target_b - peak_b)) - (target_b - peak_b)).mean()


def _gather_labels(labels_b: Tensor) -> Tensor:
    if not dist.is_initialized():
        return labels_b
    parts = [torch.empty_like(labels_b) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, labels_b.contiguous())
    return torch.cat(parts)


def shard_head(head: Head, rank: int, world_size: int, sample_rate: float = 1.0) -> ShardedHead:
    """Return this process's share of ``head``.

    Raises:
        SpecError: the head is not normalized, so that shards of it cannot be joined.

    """
    if not head.margin.normalized:
        raise SpecError("train.shard_classes needs a margin on cosines, not 'softmax'")
    return ShardedHead(head.margin, head.weight, rank, world_size, sample_rate)
