"""BTNet (Lin et al.): one trunk for 112 px and light branches for smaller inputs, with batch norms of their
own.

A branch for resolution r is an iResNet built for r whose later units *are* the trunk's (the same modules);
its own are the stem, the stages before k, the first unit of stage k, and every batch norm. A branch pack
stores exactly these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from lrfr.core.errors import DataError, SpecError
from lrfr.train.backbones.features import Features
from lrfr.train.backbones.iresnet import IResNet, btnet_strides
from lrfr.train.backbones.nets import STAGES, Backbone

Indicator = Literal["max", "min", "avg"]
Rule = Literal["floor", "near", "ceil"]


def owned_stage(resolution_px: int, size_px: int = 112) -> int:
    """Return k: a branch owns the stages before ``layer_k`` and that stage's first unit (28 -> 2, 14 -> 3, 7
    -> 4 at 112).

    Raises:
        SpecError: the resolution is not ``size_px`` halved one to four times.

    """
    known = {size_px >> k: k for k in range(1, 5)}
    if resolution_px not in known:
        raise SpecError(f"no branch for {resolution_px} px", hint=f"use {', '.join(map(str, known))}")
    return known[resolution_px]


def select_branch(
    height: int, width: int, resolutions: Sequence[int], indicator: Indicator = "max", rule: Rule = "ceil"
) -> int:
    """Return the resolution whose net takes an image (BTNet, section 4.3: best are ``max`` and ``ceil``).

    Args:
        height: of the image, px.
        width: of the image, px.
        resolutions: resolutions that there are nets for, the trunk's included.
        indicator: which number stands for the image: larger side, smaller side, or floor of the mean.
        rule: ``ceil`` the smallest resolution that is not below, ``floor`` the largest not above, ``near``
            the nearest (ties go down).

    """
    side = {"max": max(height, width), "min": min(height, width), "avg": (height + width) // 2}[indicator]
    ordered = sorted(resolutions)
    above = [r for r in ordered if r >= side]
    below = [r for r in ordered if r <= side]
    if rule == "ceil":
        return above[0] if above else ordered[-1]
    if rule == "floor":
        return below[-1] if below else ordered[0]
    return min(ordered, key=lambda r: (abs(r - side), r))


class BTNet(Backbone):
    """A trunk and its branches.

    Args:
        trunk: an iResNet for ``size_px``.
        branches: input side in px to the same iResNet built with :func:`branch_arguments`.
        size_px: input side of the trunk.
        shift: moves k up (+) or down (-): how much of the net a branch owns (BTNet, Fig. 7).
        pretrained: branches start as copies of the trunk's weights (else from scratch).
        fix_trunk: share the trunk's layers, frozen (else a branch is a whole net of its own).

    """

    def __init__(
        self,
        trunk: IResNet,
        branches: dict[int, IResNet],
        *,
        size_px: int = 112,
        shift: int = 0,
        pretrained: bool = True,
        fix_trunk: bool = True,
    ) -> None:
        super().__init__()
        self.trunk, self.size_px, self.shift = trunk.requires_grad_(False), size_px, shift
        self.emb_dim, self.tap_channels = trunk.emb_dim, trunk.tap_channels
        self.branches = nn.ModuleDict()
        for resolution, branch in branches.items():
            if pretrained:
                copy_matching(branch, trunk)
            if fix_trunk:
                tie(branch, trunk, self.owned_stage(resolution))
            self.branches[str(resolution)] = branch

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the branches; the trunk stays in evaluation mode."""
        super().train(mode)
        self.trunk.eval()
        return self

    def owned_stage(self, resolution_px: int) -> int:
        """Return k of a branch, shifted."""
        return max(1, min(4, owned_stage(resolution_px, self.size_px // self.trunk.stem_stride) + self.shift))

    def tap(self, resolution_px: int) -> str:
        """Return the name of the unit where a branch is compared with the trunk: its last own one, or the
        first whose map is as large as the trunk's.
        """
        alike = owned_stage(resolution_px, self.size_px // self.trunk.stem_stride)
        return f"layer{max(alike, self.owned_stage(resolution_px))}.0"

    def net(self, resolution_px: int) -> IResNet:
        """Return the net for an input side: a branch, or the trunk."""
        if resolution_px == self.size_px:
            return self.trunk
        branch = self.branches[str(resolution_px)]
        assert isinstance(branch, IResNet)
        return branch

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Run the net of the input's own side."""
        return self.net(x_bchw.shape[-1]).run(x_bchw, taps)

    def pack(self, resolution_px: int) -> dict[str, Tensor]:
        """Return the branch pack: the tensors that the branch does not share with the trunk."""
        shared = {tensor.data_ptr() for tensor in self.trunk.state_dict().values()}
        branch = self.net(resolution_px).state_dict()
        return {name: tensor for name, tensor in branch.items() if tensor.data_ptr() not in shared}

    def load_pack(self, resolution_px: int, pack: dict[str, Tensor]) -> None:
        """Copy a branch pack into its branch.

        Raises:
            DataError: the pack is of another branch or architecture.

        """
        own = self.pack(resolution_px)
        if own.keys() != pack.keys() or any(own[name].shape != pack[name].shape for name in own):
            raise DataError(f"this branch pack does not fit the {resolution_px} px branch of this trunk")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(pack[name])


def branch_arguments(trunk: IResNet, resolution_px: int, size_px: int = 112) -> Mapping[str, object]:
    """Return the arguments that turn the trunk's architecture into that of a branch: no stride where the map
    is small already.
    """
    return {"strides": btnet_strides(resolution_px, size_px // trunk.stem_stride), "stem_stride": 1}


def copy_matching(branch: nn.Module, trunk: nn.Module) -> None:
    """Copy the trunk's tensors of equal name and shape (a branch may lack the shortcut of its first
    stage).
    """
    source = trunk.state_dict()
    with torch.no_grad():
        for name, tensor in branch.state_dict().items():
            if name in source and source[name].shape == tensor.shape:
                tensor.copy_(source[name])


def tie(branch: IResNet, trunk: IResNet, k: int) -> None:
    """Make the units of the branch after ``layer_k.0``, and its tail, the trunk's own layers, batch norms
    excepted.
    """
    for stage, name, unit in branch.walk():
        if (int(stage[-1]), int(name.split(".")[1])) > (k, 0):
            _share(unit, trunk.get_submodule(name))
    branch.fc = trunk.fc


def _share(unit: nn.Module, source: nn.Module) -> None:
    for name, child in list(unit.named_children()):
        twin = getattr(source, name)
        if isinstance(child, nn.Conv2d) and child.stride != twin.stride:
            # the trunk strides where the branch's map is small already: the weights alone are shared
            child.weight = twin.weight
        elif isinstance(child, nn.Conv2d | nn.PReLU):
            setattr(unit, name, twin)
        elif isinstance(child, nn.Sequential):
            for index, layer in enumerate(child):
                if isinstance(layer, nn.Conv2d) and layer.stride != twin[index].stride:
                    layer.weight = twin[index].weight
                elif isinstance(layer, nn.Conv2d):
                    child[index] = twin[index]
