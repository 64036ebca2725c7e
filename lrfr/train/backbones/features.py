"""What a recognizer hands to a loss: embedding, taps, attention and logits."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """The outputs of one network on one batch.

    Attributes:
        embedding_bd: float [B, D], raw (not normalized).
        taps: feature maps [B, C, H, W], in the order of the network.
        attention: pairs of attention tensors, one pair a unit or branch: (channel gate, spatial gate) of CBAM
            units, (attention map, values) of self-attention branches.
        logits_bc: float [B, classes], scaled and with margin, where a head was asked.

    """

    embedding_bd: Tensor
    taps: tuple[Tensor, ...] = ()
    attention: tuple[tuple[Tensor, Tensor], ...] = ()
    logits_bc: Tensor | None = None


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context without autocast for what follows ``x`` (the last FC and the margins need float32)."""
    kind = x.device.type
    return (
        torch.autocast(kind, enabled=False)
        if kind != "meta" and torch.is_autocast_enabled(kind)
        else nullcontext()
    )
