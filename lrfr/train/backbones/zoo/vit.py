"""Vision transformers (Dosovitskiy et al., ICLR 2021) as face recognizers, with the layer names of timm.

``flat`` is the tail of insightface's ``arcface_torch`` and of CVLface: all patches, flattened, go through two
linear layers with BN, and there is no class token. ``token`` is timm's: the embedding is the normalized class
token. Their training tricks (masked patches, stochastic depth) are not here. CVLface's key-point relative
positions are an option of ``flat``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.nets import STAGES, Backbone
from lrfr.train.backbones.zoo.key_points import KeyPointLinear


@dataclass(frozen=True)
class VitLayout:
    """What a vision transformer is built from.

    Attributes:
        size_px: side of its input: it takes no other.
        patch_px: side of a patch.
        dim: width of a token, which is D of the tail ``token``.
        depth: blocks, four or more.
        heads: of the attention.
        mlp_ratio: hidden width of a block's MLP, in widths.
        tail: ``flat`` or ``token``, see above.
        emb_dim: embedding size D of the tail ``flat``.
        key_points: whether attention is biased by where patches lie relative to the landmarks of an aligned
            face (KP-RPE); tail ``flat`` alone.

    """

    size_px: int = 112
    patch_px: int = 8
    dim: int = 512
    depth: int = 12
    heads: int = 8
    mlp_ratio: float = 4.0
    tail: Literal["flat", "token"] = "flat"
    emb_dim: int = 512
    key_points: bool = False


class Attention(nn.Module):
    """Multi-head self-attention; the tail ``token`` has biases before it."""

    def __init__(self, layout: VitLayout) -> None:
        super().__init__()
        self.heads = layout.heads
        self.qkv = nn.Linear(layout.dim, 3 * layout.dim, bias=layout.tail == "token")
        self.proj = nn.Linear(layout.dim, layout.dim)

    def forward(self, x_btd: Tensor, bias_1htt: Tensor | None = None) -> Tensor:
        """Return tokens of the same shape; ``bias_1htt`` is added before the softmax."""
        b, t, d = x_btd.shape
        q, k, v = self.qkv(x_btd).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y_bhtd = F.scaled_dot_product_attention(q, k, v, attn_mask=bias_1htt)
        mixed: Tensor = self.proj(y_bhtd.transpose(1, 2).reshape(b, t, d))
        return mixed


class Mlp(nn.Module):
    """Two linear layers; GELU between them in timm's nets, ReLU6 in insightface's."""

    def __init__(self, layout: VitLayout) -> None:
        super().__init__()
        hidden = int(layout.dim * layout.mlp_ratio)
        self.fc1, self.fc2 = nn.Linear(layout.dim, hidden), nn.Linear(hidden, layout.dim)
        self.act: nn.Module = nn.GELU() if layout.tail == "token" else nn.ReLU6()

    def forward(self, x_btd: Tensor) -> Tensor:
        """Return tokens of the same shape."""
        y_btd: Tensor = self.fc2(self.act(self.fc1(x_btd)))
        return y_btd


class Block(nn.Module):
    """Attention and MLP, each after a layer norm and beside a shortcut."""

    def __init__(self, layout: VitLayout) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(layout), _norm(layout)
        self.attn, self.mlp = Attention(layout), Mlp(layout)

    def forward(self, x_btd: Tensor, bias_1htt: Tensor | None = None) -> Tensor:
        """Return tokens of the same shape."""
        x_btd = x_btd + self.attn(self.norm1(x_btd), bias_1htt)
        y_btd: Tensor = x_btd + self.mlp(self.norm2(x_btd))
        return y_btd


def _norm(layout: VitLayout) -> nn.LayerNorm:
    return nn.LayerNorm(layout.dim, eps=1e-6 if layout.tail == "token" else 1e-5)


class Patches(nn.Module):
    """Cut the picture into patches, each a token."""

    def __init__(self, layout: VitLayout) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, layout.dim, layout.patch_px, layout.patch_px)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return tokens [B, T, D], row by row."""
        tokens: Tensor = self.proj(x_bchw)
        return tokens.flatten(2).transpose(1, 2)


class Vit(Backbone):
    """A vision transformer on [-1, 1] RGB of one size."""

    def __init__(self, layout: VitLayout) -> None:
        super().__init__()
        if layout.depth < len(STAGES):
            raise ValueError(f"{layout.depth} blocks: four or more are needed")
        self.side = layout.size_px // layout.patch_px
        patches, token = self.side**2, layout.tail == "token"
        self.patch_embed = Patches(layout)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, layout.dim)) if token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + token, layout.dim))
        self.blocks = nn.ModuleList(Block(layout) for _ in range(layout.depth))
        self.norm = _norm(layout)
        self.emb_dim = layout.dim if token else layout.emb_dim
        self.tap_channels = (layout.dim,) * len(STAGES)
        # the block after which each stage ends
        self._ends = [layout.depth * (stage + 1) // len(STAGES) - 1 for stage in range(len(STAGES))]
        self.feature: nn.Sequential | None = None
        if not token:
            self.feature = nn.Sequential(
                nn.Linear(layout.dim * patches, layout.dim, bias=False),
                nn.BatchNorm1d(layout.dim, eps=2e-5),
                nn.Linear(layout.dim, layout.emb_dim, bias=False),
                nn.BatchNorm1d(layout.emb_dim, eps=2e-5),
            )
        self._init_weights()
        # after them: it begins at zero, where it changes nothing
        points = KeyPointLinear(self.side, layout.heads, layout.depth) if layout.key_points else None
        self.keypoint_linear = points

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding and, after each quarter of the blocks, the patches as a map [B, dim, h, w]."""
        x_btd = self.patch_embed(x_bchw)
        first = 0
        if self.cls_token is not None:
            x_btd = torch.cat([self.cls_token.expand(len(x_btd), -1, -1), x_btd], dim=1)
            first = 1
        x_btd = x_btd + self.pos_embed
        found = {}
        points = self.keypoint_linear
        biases: Iterable[Tensor | None] = repeat(None) if points is None else points.biases()
        for index, (block, bias_1htt) in enumerate(zip(self.blocks, biases, strict=False)):
            x_btd = block(x_btd, bias_1htt)
            if index in self._ends:
                found[STAGES[self._ends.index(index)]] = x_btd
        x_btd = self.norm(x_btd)
        with full_precision(x_btd):
            x_btd = x_btd.float()
            embedding = x_btd[:, 0] if self.feature is None else self.feature(x_btd.flatten(1))
        maps = (
            found[name][:, first:].transpose(1, 2).unflatten(2, (self.side, -1))
            for name in found
            if name in taps
        )
        return Features(embedding, tuple(maps))
