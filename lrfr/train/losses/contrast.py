"""A contrast of each student embedding with the teacher's embeddings of other people, and the queue that
keeps those.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import SpecError


class TeacherQueue(nn.Module):
    """The teacher's last ``size`` embeddings, normalized, with their identities; the oldest are overwritten
    first.

    MoCo (He et al., CVPR 2020) needs a momentum encoder so that its queue stays consistent; here the teacher
    stands still, so no entry grows old and the queue may be as long as the training set. It is part of a
    checkpoint. Over several processes it holds the leader's.
    """

    def __init__(self, size: int, emb_dim: int) -> None:
        super().__init__()
        self.emb_kd: Tensor
        self.identity_k: Tensor
        self.pushed: Tensor
        self.register_buffer("emb_kd", torch.zeros(size, emb_dim))
        self.register_buffer("identity_k", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        student_bd: Tensor,
        teacher_bd: Tensor,
        identity_b: Tensor,
        scale: float,
        *,
        limit: float = 1.0,
        weight_b: Tensor | None = None,
    ) -> Tensor:
        """Add the teacher's batch to the queue and return the batch mean of InfoNCE (van den Oord et al.,
        2018).

        ``-log(e^{s c_i} / (e^{s c_i} + sum_k e^{s c_ik}))``: c_i is the cosine of the student's face i with
        the teacher's, c_ik that with entry k, over the entries of other people. A face without an identity
        (label < 0) counts as a person of its own.

        Args:
            student_bd: student's embeddings of the LR faces, of any norm.
            teacher_bd: teacher's embeddings of the same faces in HR, of any norm.
            identity_b: their labels.
            scale: s, the inverse temperature.
            limit: entries whose cosine with the teacher's embedding of face i is above it are no others of
                i: for faces whose identity nobody knows, and mixes of faces. 1 asks only the identities.
            weight_b: weight of every face in the mean; None weighs all alike.

        Raises:
            SpecError: the batch is larger than the queue.

        """
        student_bd, teacher_bd = F.normalize(student_bd.float()), F.normalize(teacher_bd.detach().float())
        # pushed before it is compared: the rest of the batch is among the others from the first step on
        places_b = self._push(teacher_bd, identity_b)
        places_k = torch.arange(len(self.identity_k), device=identity_b.device)
        own_bk = (identity_b[:, None] == self.identity_k) & (identity_b >= 0)[:, None] | (
            places_b[:, None] == places_k
        )
        if limit < 1:
            own_bk = own_bk | (teacher_bd @ self.emb_kd.T > limit)
        others_bk = (student_bd @ self.emb_kd.T).masked_fill(
            own_bk | (places_k >= self.pushed), float("-inf")
        )
        logits = scale * torch.cat([(student_bd * teacher_bd).sum(1, keepdim=True), others_bk], 1)
        loss_b = F.cross_entropy(logits, torch.zeros_like(identity_b), reduction="none")
        return loss_b.mean() if weight_b is None else (loss_b * weight_b).sum() / weight_b.sum()

    def _push(self, teacher_bd: Tensor, identity_b: Tensor) -> Tensor:
        """Write a batch and return its places."""
        size, count = len(self.identity_k), len(identity_b)
        if count > size:
            raise SpecError(
                f"a batch of {count} does not fit a queue of {size}",
                hint=f"set contrast_queue to {count} or more",
            )
        places_b = (self.pushed + torch.arange(count, device=identity_b.device)) % size
        self.emb_kd[places_b], self.identity_k[places_b] = teacher_bd, identity_b
        self.pushed += count
        return places_b
