"""LoRA: a recognizer's weights stand still, and a small addition to them learns (Hu et al., ICLR 2022; on
convolutions as PETALface, Narayan et al., WACV 2025).

The addition is a parametrization of the weight itself, so every way to use a layer sees it, and what a
checkpoint holds is the sum: whoever reads it needs to know of no adapter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lrfr.core.errors import SpecError
from lrfr.train.backbones.features import full_precision
from lrfr.train.settings import Adapter

_NAME = re.compile(r"(.*)\.parametrizations\.(\w+)\.(original|0\.down_ri|0\.up_or)")


class LowRank(nn.Module):
    """``W + scale * B A``, B from zero, A drawn as a linear layer's weight is.

    Args:
        weight: W, of any shape with outputs first.
        adapter: rank and scale.

    """

    def __init__(self, weight: Tensor, adapter: Adapter) -> None:
        super().__init__()
        self.scale = adapter.scale
        self.down_ri = nn.Parameter(weight.new_empty(adapter.rank, weight[0].numel()))
        self.up_or = nn.Parameter(weight.new_zeros(len(weight), adapter.rank))
        nn.init.kaiming_uniform_(self.down_ri, math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the addition."""
        return self.merged(weight, self.down_ri, self.up_or)

    def merged(self, weight: Tensor, down_ri: Tensor, up_or: Tensor) -> Tensor:
        """Return W with the addition of some A and B."""
        with full_precision(weight):
            return weight + (self.scale * (up_or @ down_ri)).view(weight.shape)


@dataclass(frozen=True)
class Learning:
    """How much of a recognizer learns: layers with an addition, parameters that learn, and all of them."""

    layers: int
    learning: int
    parameters: int

    def __str__(self) -> str:
        share = 100 * self.learning / self.parameters
        return (
            f"{self.learning:,} of {self.parameters:,} parameters learn ({share:.1f} %, {self.layers} layers)"
        )


def add_adapters(net: nn.Module, adapter: Adapter) -> Learning:
    """Freeze a recognizer, statistics too, and add to every layer that would have learned and is larger than
    the rank.

    Raises:
        SpecError: there is no such layer.

    """
    parameters = sum(parameter.numel() for parameter in net.parameters())
    found = list(_layers(net, adapter.rank))
    if not found:
        raise SpecError(
            f"no layer of this backbone is larger than rank {adapter.rank}", hint="a smaller rank"
        )
    net.requires_grad_(False)
    for module, name in found:
        addition = LowRank(getattr(module, name).detach(), adapter)
        parametrize.register_parametrization(module, name, addition)
    hold_statistics(net)
    learning = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    return Learning(len(found), learning, parameters)


def hold_statistics(net: nn.Module) -> None:
    """Put the batch norms of a network into evaluation mode."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _layers(net: nn.Module, rank: int) -> Iterator[tuple[nn.Module, str]]:
    for module in list(net.modules()):
        names = ["weight"] if isinstance(module, nn.Linear) else []
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            names = ["weight"]
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            names = ["in_proj_weight"]
        for name in names:
            weight = getattr(module, name)
            if weight.requires_grad and min(len(weight), weight[0].numel()) > rank:
                yield module, name


def plain(nets: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the names and with the values that networks without adapters would have."""
    found = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            found[name] = tensor
        elif match[3] == "original":
            stem = f"{match[1]}.parametrizations.{match[2]}.0"
            addition = nets.get_submodule(stem)
            assert isinstance(addition, LowRank)
            with torch.no_grad():
                merged = addition.merged(tensor, tensors[f"{stem}.down_ri"], tensors[f"{stem}.up_or"])
            found[f"{match[1]}.{match[2]}"] = merged
    return found


def additions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the A and B among tensors."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if (match := _NAME.fullmatch(name)) and match[3] != "original"
    }


def with_additions(
    own: Mapping[str, Tensor], saved: Mapping[str, Tensor], learned: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of networks with adapters: W of their own, A and B of ``learned``, the rest of
    ``saved``, which names its tensors as :func:`plain` does.
    """
    found = {name: tensor for name, tensor in saved.items()}
    for name, tensor in own.items():
        match = _NAME.fullmatch(name)
        if match is not None:
            found.pop(f"{match[1]}.{match[2]}", None)
            found[name] = tensor if match[3] == "original" else learned[name]
    return found
