"""Class weights spread over processes (Partial FC, An et al., CVPR 2022): each holds C / world_size classes.

A sharded head stands in for the whole one: the same loss, logits and gradients. Every process sees the
embeddings of the whole global batch and computes the logits of its classes; the softmax is joined by three
small exchanges, and a method that asks for logits gets those of its own rows. With ``sample_rate`` below 1
the loss looks at the batch's targets and a random share of the other classes, and no other class moves;
logits and cosines are of every class, and a method that compares those moves them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.backbones.features import full_precision
from lrfr.train.heads.exchange import add_up, gather_labels, gather_rows, own_rows
from lrfr.train.heads.margins import Head, Margin, mean_of, rows_cost_nothing

# the second draws a number of classes that no label changes; the third moves every class where a method
# compares logits or cosines, which are of all classes
CLASS_DRAW_REVISION = 3


class ShardedHead(nn.Module):
    """One process's share of a :class:`~lrfr.train.heads.margins.Head`; made by :func:`shard_head`.

    ``weight`` holds the classes ``first .. first + len``. Shares are of equal size; the last may hold
    classes that do not exist, whose logits are excluded.
    """

    def __init__(self, head: Head, rank: int, world_size: int, sample_rate: float) -> None:
        super().__init__()
        weight_cd: Tensor = head.weight
        self.margin: Margin = head.margin
        self.sample_rate, self.world_size = sample_rate, world_size
        self.num_classes = weight_cd.shape[0]
        self.share = -(-self.num_classes // world_size)
        self.first = rank * self.share
        # a classifier that a method has frozen stays frozen
        self.weight = nn.Parameter(self.cut(weight_cd.detach()).clone(), weight_cd.requires_grad)
        self.looked_at = torch.zeros(self.share, dtype=torch.bool)

    def cut(self, full_cd: Tensor) -> Tensor:
        """Return this process's rows of a tensor over all classes, padded with zeros."""
        rows = full_cd[self.first : self.first + self.share]
        return F.pad(rows, (0, 0, 0, self.share - rows.shape[0]))

    def real(self, local_cd: Tensor) -> Tensor:
        """Return the rows of a share that are of classes which exist."""
        return local_cd[: max(0, self.num_classes - self.first)]

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
            emb, labels = gather_rows(_floats(embedding_bd)), gather_labels(labels_b)
            known = labels >= 0  # the same on every process
            if rows_cost_nothing(labels):
                if not bool(known.any()):
                    return (emb.sum() + self.weight.sum()) * 0.0
                if not bool(known.all()):
                    emb, labels = emb[known], labels[known]
            place_b, mine_b, classes = self._places(labels)
            cos_bc = self._products(emb, self.weight[classes])
            own_b = torch.where(mine_b, cos_bc.gather(1, place_b[:, None]).squeeze(1), cos_bc.new_zeros(()))
            cos_b = add_up(own_b)
            norm_b = emb.detach().norm(dim=1)
            if self.training:
                self._observe(cos_b.detach(), norm_b, labels >= 0)
            target_b = self.margin.scale * self.margin.target(cos_b, norm_b)
            others_bc = self.margin.scale * self.margin.others(cos_bc, cos_b.detach())
            loss_b = self._cross_entropy(target_b, others_bc, place_b, mine_b, classes)
            return loss_b.mean() if rows_cost_nothing(labels) else mean_of(loss_b, known)[0]

    def _observe(self, cos_b: Tensor, norm_b: Tensor, known_b: Tensor) -> None:
        """Let the margin's statistics see the rows that have an identity, of the global batch."""
        if not rows_cost_nothing(known_b):
            self.margin.observe_known(cos_b, norm_b, known_b)
        elif bool(known_b.all()):
            self.margin.observe(cos_b, norm_b)
        elif bool(known_b.any()):
            self.margin.observe(cos_b[known_b], norm_b[known_b])

    def _products(self, emb_bd: Tensor, weight_cd: Tensor) -> Tensor:
        if not self.margin.normalized:
            return F.linear(emb_bd, weight_cd)
        return F.linear(F.normalize(emb_bd), F.normalize(weight_cd)).clamp(-1, 1)

    def _look_at_all(self) -> None:
        """Let every class move: what is compared of all of them gives all of them a gradient."""
        if self.training and torch.is_grad_enabled():
            self.looked_at = torch.ones_like(self.looked_at, device=self.weight.device)

    def cosine(self, embedding_bd: Tensor) -> Tensor:
        """Return the cosines of this process's rows to every class, [B, C]; every process must call."""
        self._look_at_all()
        with full_precision(embedding_bd):
            cos_bc = self._products(gather_rows(_floats(embedding_bd)), self.weight)
            return own_rows(cos_bc)[:, : self.num_classes]

    def logits(self, embedding_bd: Tensor, labels_b: Tensor) -> Tensor:
        """Return the whole head's logits of this process's rows, [B, C] (see
        :meth:`~lrfr.train.heads.margins.Head.logits`); every process must call.
        """
        self._look_at_all()
        with full_precision(embedding_bd):
            emb, labels = gather_rows(_floats(embedding_bd)), gather_labels(labels_b)
            cos_bc, known_b = self._products(emb, self.weight), labels >= 0
            local_b = labels - self.first
            mine_b = known_b & (local_b >= 0) & (local_b < self.share)
            place_b = local_b.clamp(0, self.share - 1)
            own_b = cos_bc.gather(1, place_b[:, None]).squeeze(1)
            seen_b = torch.where(mine_b, own_b.detach(), own_b.new_zeros(()))
            if dist.is_initialized():
                dist.all_reduce(seen_b)
            norm_b = emb.detach().norm(dim=1)
            if self.training:
                self._observe(seen_b, norm_b, known_b)
            told_bc = self.margin.others(cos_bc, seen_b)
            target_b = self.margin.target(own_b, norm_b)
            column = torch.arange(self.share, device=labels.device) == place_b[:, None]
            told_bc = torch.where(column & mine_b[:, None], target_b[:, None], told_bc)
            with_margin_bc = torch.where(known_b[:, None], told_bc, cos_bc)
            return own_rows(self.margin.scale * with_margin_bc)[:, : self.num_classes]

    def _places(self, labels_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each label's column here (0 where it lives elsewhere), whether it lives here, and the
        classes looked at.
        """
        local = labels_b - self.first
        mine = (local >= 0) & (local < self.share)
        classes = torch.arange(self.share, device=labels_b.device)
        if self.sample_rate < 1:
            classes = self._sample(torch.where(mine, local, self.share))
        columns = torch.zeros(self.share, dtype=torch.long, device=labels_b.device)
        columns[classes] = torch.arange(len(classes), device=labels_b.device)
        return (
            torch.where(mine, columns[local.clamp(0, self.share - 1)], torch.zeros_like(local)),
            mine,
            classes,
        )

    def _sample(self, target_b: Tensor) -> Tensor:
        """Return the classes looked at, in order: the targets (``share`` where a row has none here), and at
        random as many others as make the rate; a number that no label changes, so that no GPU is asked.
        """
        count = min(self.share, max(math.ceil(self.sample_rate * self.share), len(target_b)))
        score = torch.rand(self.share + 1, device=target_b.device).index_fill(0, target_b, 2.0)
        # targets always: without them their rows would get no gradient towards their faces
        classes = score[: self.share].topk(count).indices.sort().values
        if self.looked_at.device != classes.device:
            self.looked_at = torch.zeros_like(self.looked_at, device=classes.device)
        if self.training:  # who looks without learning, to find a style, moves no class
            self.looked_at.index_fill_(0, classes, True)
        return classes

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
        rest_b = add_up(torch.exp(others_bc - peak_b[:, None]).sum(1))
        return torch.log(rest_b + torch.exp(target_b - peak_b)) - (target_b - peak_b)


def _floats(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def only_what_was_seen(head: ShardedHead, state: Mapping[str, Any]) -> Iterator[None]:
    """Put back, after an optimizer's step, the classes that no part of the batch looked at: neither momentum
    nor decay moves them (Partial FC keeps them out of the optimizer).

    Args:
        head: a head that samples classes.
        state: the optimizer's state of its weight; tensors of the weight's shape are its rows' own.

    """
    seen_c1 = head.looked_at.to(head.weight.device)[:, None]
    head.looked_at = torch.zeros_like(head.looked_at)

    def rows() -> dict[str, Tensor]:
        own = {key: value for key, value in state.items() if _is_of(value, head.weight)}
        return {"": head.weight.detach(), **own}

    before = {key: tensor.clone() for key, tensor in rows().items()}
    yield
    with torch.no_grad():
        for key, tensor in rows().items():
            # what the optimizer has made only now starts from nothing, as it would for a class seen first
            old = before[key] if key in before else torch.zeros_like(tensor)
            tensor.copy_(torch.where(seen_c1, tensor, old))


def _is_of(value: object, weight: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == weight.shape


def shard_head(head: Head, rank: int, world_size: int, sample_rate: float = 1.0) -> ShardedHead:
    """Return this process's share of ``head``."""
    return ShardedHead(head, rank, world_size, sample_rate)
