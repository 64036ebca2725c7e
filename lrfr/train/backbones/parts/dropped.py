"""Embeddings of one batch under many dropout masks: how much a network agrees with itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lrfr.core.errors import SpecError


def dropped_embeddings(net: nn.Module, x_bchw: Tensor, passes: int, rate: float, seed: int) -> Tensor:
    """Return embeddings [passes, B, D] under dropout before the last fully connected layer (SER-FIQ, Terhörst
    et al., CVPR 2020, "on-top" of a network trained without any).

    What stands before the layer runs once. The masks are functions of the seed alone, the same for every
    face, so that a face's numbers do not depend on its batch.

    Args:
        net: in evaluation mode.
        x_bchw: float [B, 3, H, W].
        passes: number of masks.
        rate: share of the layer's inputs that each mask drops.
        seed: of the masks.

    Raises:
        SpecError: the network has no fully connected layer.

    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise SpecError("this network has no fully connected layer to drop inputs of", hint="kind norm")
    count = len(x_bchw)

    def drop(module: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        flat = inputs[0]
        generator = torch.Generator().manual_seed(seed)
        kept = torch.rand(passes, 1, flat.shape[1], generator=generator) >= rate
        scaled = kept.to(flat.device, flat.dtype) / (1 - rate)
        dropped: Tensor = (flat[None] * scaled).reshape(passes * count, -1)
        return dropped

    handle = layers[-1].register_forward_pre_hook(drop)
    try:
        with torch.no_grad():
            found: Tensor = net(x_bchw)
    finally:
        handle.remove()
    return found.reshape(passes, count, -1).float()
