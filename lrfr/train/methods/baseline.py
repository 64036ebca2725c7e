"""Baselines: a recognizer and a margin, on HR faces, on LR faces, or on both.

With a view of one size this is the single-resolution net; with a view of many sizes the multi-resolution net
(BTNet's phi_mr v1, v2, v3 are views of the specs ``btnet-v1``, ``-v2``, ``-v3``); with ``--init`` a
fine-tune. The HR teacher of the distilling methods is this with ``side: hr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.nets import Nets
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.methods.base import Losses, Method
from lrfr.train.methods.guided import GuidedSpec, restyle, weights_digest


@dataclass(frozen=True, kw_only=True)
class Baseline(Method):
    """A recognizer on HR, on LR or on both, with no distillation.

    Attributes:
        side: ``hr``, ``lr``, or ``both``: half the loss on each.
        guided: restyle a share of the HR faces (on every side) against the recognizer; off without
            ``guided.weights``.

    """

    side: Literal["hr", "lr", "both"] = "hr"
    head: HeadSpec = field(default_factory=lambda: HeadSpec("cosface", 30.0, 0.25))  # released F-SKD code
    guided: GuidedSpec = field(default_factory=GuidedSpec)

    def files(self) -> Mapping[str, str]:
        """Return the digest of the style weights, where faces are restyled."""
        return {"guided": weights_digest(self.guided)} if self.guided.weights else {}

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total``, the margin loss."""
        sides = {"hr": [batch.hr_bchw], "lr": [batch.lr_bchw], "both": [batch.hr_bchw, batch.lr_bchw]}[
            self.side
        ]

        def loss_of(x_bchw: Tensor, label_b: Tensor) -> Tensor:
            loss: Tensor = nets["head"](nets["net"](x_bchw), label_b)
            return loss

        if self.guided.weights:
            rows, styled = restyle(self.guided, nets, loss_of, batch.hr_bchw, batch.label_b, step=step)
            sides = [x_bchw.index_copy(0, rows, styled.to(x_bchw.dtype)) for x_bchw in sides]
        parts = [loss_of(x_bchw, batch.label_b) for x_bchw in sides]
        return {"total": sum(parts[1:], parts[0]) / len(parts)}
