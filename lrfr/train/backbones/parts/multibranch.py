"""The two-branch recognizer of CATFace: shared layers, then one branch for identity (FR) and one for soft
biometrics (SB).

Both branches end in self-attention over the N = H*W tokens of their map. The attention weights are shared by
HQ and LQ faces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.iresnet import IResNet
from lrfr.train.backbones.nets import STAGES, Backbone
from lrfr.train.backbones.parts.attention import Cbam


def tokens(x_bchw: Tensor) -> Tensor:
    """Return a map as tokens [B, N, C]."""
    return x_bchw.flatten(2).transpose(1, 2)


def untokens(x_bnc: Tensor, like_bchw: Tensor) -> Tensor:
    """Return tokens as a map of the shape of ``like_bchw``."""
    return x_bnc.transpose(1, 2).reshape(like_bchw.shape)


def attend(q_bnc: Tensor, k_bnc: Tensor, v_bnc: Tensor, heads: int) -> Tensor:
    """Return ``softmax(Q K^T / sqrt(d)) V`` per head, d = C / heads, heads concatenated: [B, N, C]."""
    batch, count, channels = q_bnc.shape
    q, k, v = (
        x.reshape(batch, count, heads, channels // heads).transpose(1, 2) for x in (q_bnc, k_bnc, v_bnc)
    )
    weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(channels // heads), dim=-1)
    return (weights @ v).transpose(1, 2).reshape(batch, count, channels)


class SelfAttention(nn.Module):
    """Multi-head self-attention with a shortcut (CATFace, Eq. 8-9 with ``heads`` 1)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x_bchw: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the map plus its attention, and (attention before the output projection, values), both [B,
        N, C].
        """
        x_bnc = tokens(x_bchw)
        v_bnc = self.v(x_bnc)
        a_bnc = attend(self.q(x_bnc), self.k(x_bnc), v_bnc, self.heads)
        return x_bchw + untokens(self.out(a_bnc), x_bchw), (a_bnc, v_bnc)


@dataclass(frozen=True)
class BranchMap:
    """A branch's output map [B, C, H, W] and its attention pair."""

    map_bchw: Tensor
    attention: tuple[Tensor, Tensor]


class MultiBranch(Backbone):
    """Shared stem and layers, an FR and an SB branch.

    Args:
        fr: an iResNet; its stem and stages before ``split`` are shared, the rest is the FR branch.
        sb: the same architecture; its stages from ``split`` on are the SB branch.
        emb_dim: embedding size D of the FR branch.
        attributes: number of soft-biometric attributes.
        heads: attention heads; 1 is Eq. 8-9.
        split: first stage that each branch has for itself.
        attention: ``self-attention`` ends a branch, or a ``cbam`` in its place (Tables 4, 6 and 7).

    """

    def __init__(
        self,
        fr: IResNet,
        sb: IResNet,
        *,
        emb_dim: int = 512,
        attributes: int = 5,
        heads: int = 8,
        split: int = 4,
        attention: Literal["self-attention", "cbam"] = "self-attention",
    ) -> None:
        super().__init__()
        self.conv1, self.bn1, self.prelu = fr.conv1, fr.bn1, fr.prelu
        self.shared = nn.Sequential(*(unit for name in STAGES[: split - 1] for unit in getattr(fr, name)))
        self.fr = nn.Sequential(*(unit for name in STAGES[split - 1 :] for unit in getattr(fr, name)))
        self.sb = nn.Sequential(*(unit for name in STAGES[split - 1 :] for unit in getattr(sb, name)))
        channels = fr.tap_channels[-1]  # both branches end in the last stage, wherever they part
        self.fr_attention, self.sb_attention = (
            Cbam(channels) if attention == "cbam" else SelfAttention(channels, heads) for _ in range(2)
        )
        self.fr_fc, self.sb_fc = nn.Linear(channels, emb_dim), nn.Linear(channels, attributes)
        self.emb_dim, self.tap_channels = emb_dim, (channels, channels)

    def maps(self, x_bchw: Tensor) -> tuple[BranchMap, BranchMap]:
        """Return the FR and the SB branch's map and attention."""
        shared = self.shared(self.prelu(self.bn1(self.conv1(x_bchw))))
        return BranchMap(*self.fr_attention(self.fr(shared))), BranchMap(*self.sb_attention(self.sb(shared)))

    def embed_map(self, fr: BranchMap) -> Tensor:
        """Return embeddings [B, D]: global average pool, FC."""
        with full_precision(fr.map_bchw):
            embedding: Tensor = self.fr_fc(fr.map_bchw.float().mean((2, 3)))
        return embedding

    def attribute_logits(self, sb: BranchMap) -> Tensor:
        """Return attribute logits [B, A]: global average pool, FC."""
        with full_precision(sb.map_bchw):
            logits: Tensor = self.sb_fc(sb.map_bchw.float().mean((2, 3)))
        return logits

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the FR embedding, both maps as taps, and both attention pairs."""
        fr, sb = self.maps(x_bchw)
        return Features(self.embed_map(fr), (fr.map_bchw, sb.map_bchw), (fr.attention, sb.attention))
