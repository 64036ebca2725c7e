"""Octuplet loss (Knoche et al., FG 2023), an outside baseline: batch-hard triplets across HR and LR, to
fine-tune a recognizer.

``sum over the blocks HR-HR, HR-LR, LR-HR, LR-LR of max(0, hardest positive - hardest negative + margin)``,
mean over anchors. It needs several images of an identity in a batch (``train.images_per_id``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.table import build_backbone
from lrfr.train.methods.base import Losses, Method, Parents, start_from

Metric = Literal["euclidean", "euclidean_squared", "cosine"]


def pairwise(x_bd: Tensor, y_bd: Tensor, metric: Metric) -> Tensor:
    """Return distances [B, B]; the gradient of ``euclidean`` at zero distance is zero."""
    if metric == "cosine":
        return 1 - F.normalize(x_bd) @ F.normalize(y_bd).T
    # rounding can make a difference of near equals negative
    squared = (x_bd.square().sum(1)[:, None] + y_bd.square().sum(1)[None] - 2 * x_bd @ y_bd.T).clamp(min=0)
    if metric == "euclidean_squared":
        return squared
    apart = squared > 0
    return torch.where(
        apart, torch.where(apart, squared, torch.ones_like(squared)).sqrt(), torch.zeros_like(squared)
    )


def batch_hard(distance_bb: Tensor, labels_b: Tensor, margin: float) -> Tensor:
    """Return the mean over anchors of the hinge on hardest positive and hardest negative; an image is no
    positive of itself, and one without an identity (label < 0) counts as a person of its own.
    """
    itself = torch.eye(len(labels_b), dtype=torch.bool, device=labels_b.device)
    same = (labels_b[:, None] == labels_b[None]) & (labels_b >= 0)[:, None] | itself
    positive = same & ~itself
    # an anchor without a positive or without a negative says nothing; it is left out of the mean too
    usable = positive.any(1) & (~same).any(1)
    hardest_positive = distance_bb.masked_fill(~positive, float("-inf")).amax(1)
    hardest_negative = distance_bb.masked_fill(same, float("inf")).amin(1)
    hinge = F.relu(
        torch.where(usable, hardest_positive - hardest_negative, -torch.ones_like(hardest_positive)) + margin
    )
    return (hinge * usable).sum() / usable.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Octuplet(Method):
    """Octuplet loss: batch-hard triplets across HR and LR, a fine-tune.

    Four triplet blocks on normalized embeddings; no classification head.

    Attributes:
        metric: distance between embeddings.
        triplet_margin: of the hinge.

    """

    unstated: ClassVar = {"metric": "the released code's default is euclidean"}

    metric: Metric = "euclidean"
    triplet_margin: float = 0.5  # as published, for distances of unit vectors in [0, 2]

    def needs(self) -> Mapping[str, str]:
        """Return the recognizer to fine-tune."""
        return {"init": "baseline"}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net``, started from the parent."""
        nets = Nets({"net": build_backbone(self.backbone)})
        start_from(nets, (parents or {}).get("init"))
        return nets

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total`` and the four blocks."""
        both = F.normalize(nets["net"](torch.cat([batch.hr_bchw, batch.lr_bchw])).float())
        sides = dict(zip(("hr", "lr"), both.chunk(2), strict=True))
        blocks = {
            f"{a}_{b}": batch_hard(
                pairwise(sides[a], sides[b], self.metric), batch.label_b, self.triplet_margin
            )
            for a in sides
            for b in sides
        }
        return {"total": torch.stack(list(blocks.values())).sum(), **blocks}
