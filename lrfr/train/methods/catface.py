"""CATFace: identity and soft biometrics in two branches with self-attention distillation, then fused by cross
attention.

Step 1: ``L = 3 AdaFace + sum_a lambda_a BCE_a + 0.5 distill_FR + 0.5 distill_SB`` on HQ and LQ faces, where a
branch's distillation is ``2 - cos(A_l, A_h) - cos(V_l, V_h)`` of its attention. Step 2: the branches frozen,
their maps fused (CATF or an ablation), AdaFace alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.fusion import FUSIONS, Fused, FusionLayout
from lrfr.train.backbones.iresnet import IResNet
from lrfr.train.backbones.net_embedder import Embedder, single
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.parts.multibranch import BranchMap, MultiBranch
from lrfr.train.backbones.table import build_backbone
from lrfr.train.heads.exchange import share_of_rows
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.losses.distances import cosine, mse
from lrfr.train.methods.base import Losses, Method, Parents
from lrfr.train.methods.guided import GuidedSpec, restyle, weights_digest

Distill = Literal["self-attention", "cbam", "features", "none"]


@dataclass(frozen=True, kw_only=True)
class CatFace(Method):
    """CATFace: identity and soft biometrics with self-attention distillation (1), fused (2).

    Attributes:
        step: 1 or 2.
        attribute_weights: weight of every soft biometric's cross-entropy; those that the view lacks are left
            out.
        margin_weight: of AdaFace in step 1.
        distill_weight: of each branch's distillation.
        distill: what the LQ copy's branch is compared with the HQ face's by (Tables 4, 6 and 7):
            ``self-attention``, the gates of a ``cbam`` in its place, the branch's ``features``, or ``none``.
        distill_metric: ``cosine`` (Eq. 11-12), or ``l2``, mean squared difference.
        heads: attention heads; 1 reproduces Eq. 8.
        split: first stage that each branch has for itself.
        detach_hq: no gradient through the HQ side of the distillation.
        cls_on: classification losses on ``both`` copies or on ``hr`` alone.
        fusion: a name of :data:`~lrfr.train.backbones.fusion.FUSIONS` (step 2).
        group: channels of a group in channel attention (Cc).
        train_backbone: let the branches learn in step 2.
        emb_dim: embedding size D.
        guided: restyle a share of the HR faces against the recognizer and take them as LQ copies; off without
            ``guided.weights``.

    """

    unstated: ClassVar = {
        "split": "the depth of the shared part is not stated",
        "heads": "Eq. 8 writes one head, Fig. 3 several",
        "detach_hq": "not stated",
        "cls_on": "implied by the rows 'Aug'",
        "train_backbone": "not stated for step 2",
        "group": "not stated",
        "distill_metric": "Eq. 11-12 are cosines; of the rows 'feature distill' no metric is stated",
        "head": "AdaFace without constants; these are AdaFace's own; Eq. 5 means t_alpha 1",
    }

    head: HeadSpec = field(default_factory=lambda: HeadSpec("adaface", 64.0, 0.4))
    step: Literal[1, 2] = 1
    attribute_weights: dict[str, float] = field(
        default_factory=lambda: {"Male": 1.0, "Bald": 1.0, "Big_Nose": 0.5, "Chubby": 0.5, "Narrow_Eyes": 0.5}
    )
    margin_weight: float = 3.0  # section 4.1.4
    distill_weight: float = 0.5
    distill: Distill = "self-attention"
    distill_metric: Literal["cosine", "l2"] = "cosine"
    heads: int = 8
    split: Literal[1, 2, 3, 4] = 4
    detach_hq: bool = True
    cls_on: Literal["both", "hr"] = "both"
    fusion: str = "catf"
    group: int = 32
    train_backbone: bool = False
    emb_dim: int = 512
    guided: GuidedSpec = field(default_factory=GuidedSpec)

    def files(self) -> Mapping[str, str]:
        """Return the digest of the style weights, where faces are restyled."""
        return {"guided": weights_digest(self.guided)} if self.guided.weights else {}

    def needs(self) -> Mapping[str, str]:
        """Return step 1's role and method, for step 2."""
        return {"step1": "catface"} if self.step == 2 else {}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net``, ``head`` and ``attributes`` (the columns that the view has)."""
        if self.fusion not in FUSIONS:
            raise SpecError(f"unknown fusion '{self.fusion}'", hint=did_you_mean(self.fusion, FUSIONS))
        parents = parents or {}
        attributes = Attributes(attribute_names, self.attribute_weights)
        base = build_backbone(self.backbone)
        if not isinstance(base, IResNet):
            raise SpecError(f"catface needs an iResNet, not '{self.backbone}'")
        if "init" in parents:
            base.load_state_dict(parents["init"]["net"].state_dict())
        other = build_backbone(self.backbone) if "init" not in parents else deepcopy(base)
        assert isinstance(other, IResNet)
        branches = MultiBranch(
            base,
            other,
            emb_dim=self.emb_dim,
            attributes=len(attributes.names),
            heads=self.heads,
            split=self.split,
            attention="cbam" if self.distill == "cbam" else "self-attention",
        )
        net: nn.Module = branches
        if self.step == 2:
            if "step1" in parents:
                branches.load_state_dict(parents["step1"]["net"].state_dict())
            net = Fused(
                branches,
                FusionLayout(self.fusion, self.heads, self.group, self.emb_dim, base.final_px),
                train_branches=self.train_backbone,
            )
        return Nets(
            {"net": net, "head": self.head.build(self.emb_dim, num_classes), "attributes": attributes}
        )

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total`` and, in step 1, ``margin``, ``attributes``, ``distill_fr`` and ``distill_sb``."""
        both, labels, truth = batch.hr_bchw, batch.label_b, batch.attributes_ba
        # without distillation and losses on it, an LQ copy is not looked at: the rows "no aug"
        if self.cls_on == "both" or (self.step == 1 and self.distill != "none"):
            both = torch.cat([both, self._copies(nets, batch, step)])
            labels, truth = torch.cat([labels] * 2), torch.cat([truth] * 2)
        count = len(batch.label_b) if self.cls_on == "hr" else len(labels)
        if self.step == 2:
            return {"total": nets["head"](nets["net"](both)[:count], labels[:count])}
        net: MultiBranch = nets["net"]
        fr, sb = net.maps(both)
        margin = nets["head"](net.embed_map(fr)[:count], labels[:count])
        attributes = nets["attributes"](net.attribute_logits(sb)[:count], truth[:count])
        distill_fr, distill_sb = self._distill(fr), self._distill(sb)
        total = self.margin_weight * margin + attributes + self.distill_weight * (distill_fr + distill_sb)
        return {
            "total": total,
            "margin": margin,
            "attributes": attributes,
            "distill_fr": distill_fr,
            "distill_sb": distill_sb,
        }

    def _copies(self, nets: Nets, batch: Batch, step: int) -> Tensor:
        """Return the LQ copies, some of them guided styles of the HQ faces."""
        if not self.guided.weights:
            return batch.lr_bchw

        def loss_of(x_bchw: Tensor, label_b: Tensor) -> Tensor:
            loss: Tensor = nets["head"](nets["net"](x_bchw), label_b)
            return loss

        rows, styled = restyle(self.guided, nets, loss_of, batch.hr_bchw, batch.label_b, step=step)
        return batch.lr_bchw.index_copy(0, rows, styled.to(batch.lr_bchw.dtype))

    def _distill(self, branch: BranchMap) -> Tensor:
        """Compare the LQ half's attention, or map, with the HQ half's."""
        if self.distill == "none":
            return branch.map_bchw.sum() * 0.0
        compared = (branch.map_bchw,) if self.distill == "features" else branch.attention
        measure = cosine if self.distill_metric == "cosine" else mse
        parts = []
        for tensor in compared:
            hq, lq = tensor.chunk(2)
            parts.append(measure(lq, hq.detach() if self.detach_hq else hq))
        return torch.stack(parts).sum()

    def attribute_predictor(self, nets: Nets) -> Embedder:
        """Return ``predict(images) -> logits [N, A]`` with ``attribute_names``."""
        branches: MultiBranch = nets["net"].branches if self.step == 2 else nets["net"]
        predictor = single(nets["net"], self.input, partial(_logits, branches))
        predictor.attribute_names = tuple(nets["attributes"].names)
        return predictor


def _logits(branches: MultiBranch, x_bchw: Tensor) -> Tensor:
    return branches.attribute_logits(branches.maps(x_bchw)[1])


class Attributes(nn.Module):
    """Weighted binary cross-entropy of soft biometrics; unknown ones (-1) are left out.

    Args:
        view: attribute names of the view, in the order of its columns.
        weights: name to weight.

    Raises:
        DataError: the view has none of them.

    """

    def __init__(self, view: Sequence[str], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.names = sorted(
            name for name in weights if name in view
        )  # a checkpoint keeps the options, not their order
        if not self.names:
            raise DataError(
                f"the view has none of the attributes {', '.join(weights)}",
                hint="use a source with attributes",
            )
        self.columns: Tensor
        self.weights: Tensor
        self.register_buffer(
            "columns", torch.tensor([list(view).index(name) for name in self.names]), persistent=False
        )
        self.register_buffer(
            "weights", torch.tensor([weights[name] for name in self.names]), persistent=False
        )

    def forward(self, logits_ba: Tensor, truth_ba: Tensor) -> Tensor:
        """Return the sum over attributes of weight times the mean cross-entropy over the faces that have it,
        such that its mean over processes is that over all faces.
        """
        truth_ba = truth_ba[:, self.columns]
        known = (truth_ba >= 0).float()
        losses = F.binary_cross_entropy_with_logits(
            logits_ba.float(), truth_ba.clamp(min=0).float(), reduction="none"
        )
        means = (losses * known).sum(0) / known.sum(0).clamp(min=1)
        return (self.weights * means * share_of_rows(known)).sum()
