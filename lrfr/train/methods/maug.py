"""MAug + LogExp: HR and LR faces through one network, pulled together by a distance that grows with every
coordinate's gap.

``L = lambda * LogExp(f_HR, f_LR) + 1/2 CosFace(f_HR) + 1/2 CosFace(f_LR)`` on L2-normalized embeddings; both
sides move. The view mixes 7, 14 and 20 px as 1:1:2 (spec ``maug-paper``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.nets import Nets
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.losses.distances import logexp
from lrfr.train.methods.base import Losses, Method

Pull = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Maug(Method):
    """MAug + LogExp: HR and LR through one net, pulled together.

    Attributes:
        lambda_: weight of the distance (written ``lambda``); 1, best on XQLFW 5.
        distance: ``logexp``, or the alternatives ``l1``, ``l2``, ``smooth-l1``.
        p: exponent of LogExp.
        reduction: ``paper`` (per sample, divided by D) or ``official`` (one log over the batch, divided by
            B).
        bn: HR and LR as two batches (``separate``) or as one (``joint``).

    """

    unstated: ClassVar = {
        "reduction": "Eq. 3 is per sample and divides by D; the released code takes one log over the batch "
        "and divides by B",
        "bn": "not stated; the released code passes HR and LR separately",
    }

    backbone: str = "lrfr-resnet34"
    head: HeadSpec = field(default_factory=lambda: HeadSpec("cosface", 48.0, 0.4))
    lambda_: float = 1.0
    distance: Literal["logexp", "l1", "l2", "smooth-l1"] = "logexp"
    p: float = 1.0
    reduction: Literal["paper", "official"] = "paper"
    bn: Literal["separate", "joint"] = "separate"

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total``, ``margin_hr``, ``margin_lr`` and ``distance``."""
        net = nets["net"]
        if self.bn == "joint":
            hr_bd, lr_bd = net(torch.cat([batch.hr_bchw, batch.lr_bchw])).chunk(2)
        else:
            hr_bd, lr_bd = net(batch.hr_bchw), net(batch.lr_bchw)  # each side its own statistics, as released
        margin_hr, margin_lr = nets["head"](hr_bd, batch.label_b), nets["head"](lr_bd, batch.label_b)
        distance = self.pull()(F.normalize(hr_bd.float()), F.normalize(lr_bd.float()))
        total = self.lambda_ * distance + 0.5 * margin_hr + 0.5 * margin_lr
        return {"total": total, "margin_hr": margin_hr, "margin_lr": margin_lr, "distance": distance}

    def pull(self) -> Pull:
        """Return the distance of (student, teacher) embeddings [B, D] that are of unit length."""
        table: dict[str, Pull] = {
            "logexp": lambda x, y: logexp(x, y, self.p, self.reduction),
            "l1": F.l1_loss,
            "l2": lambda x, y: F.mse_loss(x, y) / 2,
            "smooth-l1": F.smooth_l1_loss,
        }
        return table[self.distance]
