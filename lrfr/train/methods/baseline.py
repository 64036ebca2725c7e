"""Baselines: a recogniser and a margin, on HR faces, on LR faces, or on both.

With a view of one size this is the single-resolution net; with a view of many sizes the multi-resolution net (BTNet's phi_mr v1,
v2, v3 are views of the specs ``btnet-v1``, ``-v2``, ``-v3``); with ``--init`` a fine-tune. The HR teacher of the distilling
methods is this with ``side: hr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lrfr.pairs.dataset import Batch
from lrfr.train.margins import HeadSpec
from lrfr.train.methods.base import Losses, Method
from lrfr.train.nets import Nets


@dataclass(frozen=True, kw_only=True)
class Baseline(Method):
    """Margin softmax on one side of the pairs.

    Attributes:
        side: ``hr``, ``lr``, or ``both``: half the loss on each.

    """

    side: Literal["hr", "lr", "both"] = "hr"
    head: HeadSpec = field(default_factory=lambda: HeadSpec("cosface", 30.0, 0.25))  # released F-SKD code

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total``, the margin loss."""
        sides = {"hr": [batch.hr_bchw], "lr": [batch.lr_bchw], "both": [batch.hr_bchw, batch.lr_bchw]}[self.side]
        parts = [nets["head"](nets["net"](x_bchw), batch.label_b) for x_bchw in sides]
        return {"total": sum(parts[1:], parts[0]) / len(parts)}
