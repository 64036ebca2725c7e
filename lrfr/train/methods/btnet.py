"""BTNet: one trunk for every size, then branches that take small faces at their own resolution.

``btnet-trunk`` trains an iResNet with CurricularFace on faces shrunk to a mix of sizes and enlarged again
(the view's spec: ``btnet-v1`` uniform over 112, 56, 28, 14, 7; ``btnet-v2``; ``btnet-v3``). ``btnet-branch``
then trains light branches under the frozen trunk and classifier:
``L = CurricularFace(kappa*(phi(x_r))) + 0.5 * (MSE(z_r, z) + MSE(e_r, e))``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import SpecError
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.branched import BTNet, Indicator, Rule, branch_arguments, select_branch
from lrfr.train.backbones.iresnet import IResNet
from lrfr.train.backbones.net_embedder import Embedder, InputSpec
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.table import build_backbone
from lrfr.train.heads.margins import Head, HeadSpec
from lrfr.train.losses.distances import mse
from lrfr.train.methods.base import Losses, Method, Parents, Wants
from lrfr.train.methods.baseline import Baseline

# torch's words for the filters by which a view may enlarge; the others it has not
_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "cubic": "bicubic",
    "bicubic": "bicubic",
    "nearest": "nearest",
    "nearest_exact": "nearest-exact",
    "area": "area",
    "box": "area",
}
_HEAD = HeadSpec("curricularface", 64.0, 0.5, "normal")
_BILINEAR = InputSpec(filter="bilinear")


@dataclass(frozen=True, kw_only=True)
class BtnetTrunk(Baseline):
    """BTNet, first part: one net for a mix of sizes, CurricularFace."""

    side: Literal["hr", "lr", "both"] = "lr"
    head: HeadSpec = field(default_factory=lambda: _HEAD)
    input: InputSpec = field(default_factory=lambda: _BILINEAR)


@dataclass(frozen=True, kw_only=True)
class BtnetBranch(Method):
    """BTNet, second part: light branches for 28, 14 and 7 px under the frozen trunk.

    Several train side by side, as they share nothing that learns.

    Attributes:
        branches_px: input sides of the branches.
        distill: weight of the distillation (0.5; 0 switches it off).
        feat_mse: ``mean`` over all elements (code) or ``batch``: mean over the batch of sums (Eq. 2).
        embed_mse: weight of the embedding's part within it (code 1, paper 0).
        bct: keep the trunk's classifier, weights and t, unchanged; else every branch has one of its own.
        bct_update_t: let CurricularFace's t move all the same (released code).
        fix_trunk: share the trunk's layers, frozen.
        pretrained: branches, and classifiers of their own, start from the trunk's weights.
        bn: train ``all`` batch norms, or ``official``: of the layers shared with the trunk only those with
            ``bn`` in their names, so the shortcuts' and the last one stay frozen there.
        shift: moves the border between branch and trunk.
        indicator: which side of an image chooses its branch.
        rule: how it chooses.

    """

    unstated: ClassVar = {
        "embed_mse": "absent from Eq. 2-3; the released code has 1",
        "feat_mse": "Eq. 2 divides a sum of squares by the batch size; the released code takes the element "
        "mean",
        "bn": "paper: all layers; the released code filters by name",
        "bct_update_t": "not stated; in the released code t keeps moving",
    }
    at_test: ClassVar = frozenset({"indicator", "rule"})

    head: HeadSpec = field(default_factory=lambda: _HEAD)
    input: InputSpec = field(default_factory=lambda: _BILINEAR)
    branches_px: tuple[int, ...] = (28, 14, 7)
    distill: float = 0.5
    feat_mse: Literal["mean", "batch"] = "mean"
    embed_mse: float = 1.0
    bct: bool = True
    bct_update_t: bool = False
    fix_trunk: bool = True
    pretrained: bool = True
    bn: Literal["all", "official"] = "all"
    shift: int = 0
    # section 4.3: with these two a face never meets a net that would have to shrink it
    indicator: Indicator = "max"
    rule: Rule = "ceil"

    def needs(self) -> Mapping[str, str]:
        """Return the trunk's role and method."""
        return {"trunk": "btnet-trunk"}

    def wants(self) -> Mapping[str, Wants]:
        """Return what must agree: a branch is the trunk from some layer on, and has its classifier."""
        return {"trunk": Wants(layers=True, head=self.bct or self.pretrained)}

    def build(
        self, num_classes: int, parents: Parents | None = None, attribute_names: Sequence[str] = ()
    ) -> Nets:
        """Return ``net`` (a :class:`BTNet`) and ``head``, the trunk's where it has as many classes; without
        ``bct`` ``head_<px>``, one a branch.
        """
        if self.input.filter not in _MODES:
            raise SpecError(
                f"btnet-branch shrinks faces in training and has no filter '{self.input.filter}'",
                hint=f"--set input.filter=bilinear, or a view that enlarges by {', '.join(_MODES)}",
            )
        parents = parents or {}
        trunk = build_backbone(self.backbone)
        if not isinstance(trunk, IResNet):
            raise SpecError(f"btnet-branch needs an iResNet, not '{self.backbone}'")
        parent = parents.get("trunk")
        if parent is not None:
            trunk.load_state_dict(parent["net"].state_dict())
        heads = {
            name: self._classifier(trunk.emb_dim, num_classes, parent)
            for name in (["head"] if self.bct else [f"head_{px}" for px in self.branches_px])
        }
        net = BTNet(
            trunk,
            {px: self._branch(trunk, px) for px in self.branches_px},
            size_px=self.input.size_px,
            shift=self.shift,
            pretrained=self.pretrained,
            fix_trunk=self.fix_trunk,
        )
        # the released code goes by names only where it fixes the trunk
        if self.bn == "official" and self.fix_trunk:
            _freeze_unnamed_bn(net)
        return Nets({"net": net, **heads})

    def _classifier(self, emb_dim: int, num_classes: int, parent: Nets | None) -> Head:
        """Return a classifier: with BCT the trunk's, else one that starts from it or from scratch."""
        head = replace(self.head, update_t=not self.bct or self.bct_update_t).build(emb_dim, num_classes)
        wanted = parent is not None and (self.bct or self.pretrained)
        # another set of classes cannot take over the trunk's classifier; then it is trained
        if wanted and parent is not None and parent["head"].weight.shape == head.weight.shape:
            head.load_state_dict(parent["head"].state_dict())
            head.requires_grad_(not self.bct)
        return head

    def revisions(self) -> Mapping[str, int]:
        """Return the revisions of the parts; ``bn: official`` trains the branch's own shortcuts since its
        second, and without ``bct`` every branch has a classifier of its own since its.
        """
        own = {"bn": 2 if self.bn == "official" else 1, "classifiers": 1 if self.bct else 2}
        return {**super().revisions(), **{part: number for part, number in own.items() if number > 1}}

    def _branch(self, trunk: IResNet, resolution_px: int) -> IResNet:
        branch = build_backbone(self.backbone, **branch_arguments(trunk, resolution_px, self.input.size_px))
        assert isinstance(branch, IResNet)
        return branch

    def losses(self, nets: Nets, batch: Batch, step: int) -> Losses:
        """Return ``total`` and, for every branch, ``margin_<px>``, ``feature_<px>`` and
        ``embedding_<px>``.
        """
        net: BTNet = nets["net"]
        names = sorted({net.tap(px) for px in self.branches_px})
        with torch.no_grad():
            # one pass of the trunk serves every branch
            teacher = net.trunk.run(batch.hr_bchw, names)
        taps = dict(zip(names, teacher.taps, strict=True))
        parts: Losses = {}
        total: Any = 0
        for px in self.branches_px:
            student = net.net(px).run(self._shrink(batch.hr_bchw, px), (net.tap(px),))
            head = nets["head" if self.bct else f"head_{px}"]
            parts[f"margin_{px}"] = head(student.embedding_bd, batch.label_b)
            parts[f"feature_{px}"] = mse(student.taps[0], taps[net.tap(px)], self.feat_mse)
            parts[f"embedding_{px}"] = mse(student.embedding_bd, teacher.embedding_bd, self.feat_mse)
            distill = parts[f"feature_{px}"] + self.embed_mse * parts[f"embedding_{px}"]
            total = total + parts[f"margin_{px}"] + self.distill * distill
        return {"total": total, **parts}

    def _shrink(self, x_bchw: Tensor, side_px: int) -> Tensor:
        mode = _MODES[self.input.filter]
        widened = self.input.antialias and mode in {"bilinear", "bicubic"}
        return F.interpolate(x_bchw, size=(side_px, side_px), mode=mode, antialias=widened)

    def embedder(self, nets: Nets) -> Embedder:
        """Return ``embed(images)`` that routes each image to the net of its size."""
        net: BTNet = nets["net"]
        sides = (self.input.size_px, *self.branches_px)
        return Embedder(net, partial(self._route, net, sides), self.input)

    def _route(self, net: BTNet, sides: tuple[int, ...], height: int, width: int) -> tuple[int, IResNet]:
        px = select_branch(height, width, sides, self.indicator, self.rule)
        return px, net.net(px)


def _freeze_unnamed_bn(net: BTNet) -> None:
    """Freeze the batch norms that the released code freezes: no ``bn`` in the name, and behind the branch's
    own units.
    """
    for px, branch in net.branches.items():
        last_own = (net.owned_stage(int(px)), 0)
        for name, module in branch.named_modules():
            unit = tuple(int(part) for part in re.findall(r"\d+", name)[:2])
            own = name.startswith("layer") and unit <= last_own
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and "bn" not in name and not own:
                module.requires_grad_(False)
