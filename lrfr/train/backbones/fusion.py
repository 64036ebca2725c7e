"""How CATFace joins its identity map and its soft-biometric map, and the fusions that it is compared with.

A fusion takes two maps [B, C, H, W] and returns one of ``channels`` channels; :class:`Fused` puts it on a
frozen two-branch net and makes an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.nets import STAGES, Backbone
from lrfr.train.backbones.parts.multibranch import MultiBranch, attend, tokens, untokens


class CrossAttention(nn.Module):
    """Each stream asks the other: ``softmax(Q_FR K_SB^T / sqrt d) V_SB`` and the reverse, plus the stream
    itself (CATFace, Eq. 13-14).
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_fr, self.k_fr, self.v_fr, self.q_sb, self.k_sb, self.v_sb = (
            nn.Linear(channels, channels) for _ in range(6)
        )

    def forward(self, fr_bchw: Tensor, sb_bchw: Tensor) -> tuple[Tensor, Tensor]:
        """Return both streams after their exchange."""
        fr, sb = tokens(fr_bchw), tokens(sb_bchw)
        from_sb = attend(self.q_fr(fr), self.k_sb(sb), self.v_sb(sb), self.heads)
        from_fr = attend(self.q_sb(sb), self.k_fr(fr), self.v_fr(fr), self.heads)
        return fr_bchw + untokens(from_sb, fr_bchw), sb_bchw + untokens(from_fr, sb_bchw)


class MultiScaleFeedForward(nn.Module):
    """MFFNL: 1x1 to ``ratio`` C channels, depthwise 3x3, 1x7 and 7x1 on a third of them each plus a shortcut,
    1x1 back; a shortcut around.

    BN and GELU follow each part.
    """

    def __init__(self, channels: int, ratio: int = 3) -> None:
        super().__init__()
        wide, third = channels * ratio, channels * ratio // 3
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide), nn.GELU())
        shapes = ((3, 3), (1, 7), (7, 1))
        self.depthwise = nn.ModuleList(
            nn.Conv2d(third, third, shape, padding=(shape[0] // 2, shape[1] // 2), groups=third)
            for shape in shapes
        )
        self.after = nn.Sequential(nn.BatchNorm2d(wide), nn.GELU())
        self.reduce = nn.Sequential(nn.Conv2d(wide, channels, 1), nn.BatchNorm2d(channels), nn.GELU())

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return the map after the feed-forward part."""
        wide = self.expand(x_bchw)
        parts = [layer(part) for layer, part in zip(self.depthwise, wide.chunk(3, dim=1), strict=True)]
        y_bchw: Tensor = self.reduce(self.after(torch.cat(parts, dim=1) + wide))
        return x_bchw + y_bchw


class ChannelAttention(nn.Module):
    """CAF: attention between channels within groups of ``group`` channels, on the concatenated streams, plus
    a shortcut.
    """

    def __init__(self, channels: int, group: int = 32) -> None:
        super().__init__()
        self.group = group
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return the map plus its channel attention."""
        x_bnc = tokens(x_bchw)
        batch, count, channels = x_bnc.shape
        shape = (batch, count, channels // self.group, self.group)
        # [B, groups, channels of a group, N]
        q, k, v = (layer(x_bnc).reshape(shape).permute(0, 2, 3, 1) for layer in (self.q, self.k, self.v))
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(self.group), dim=-1)
        attended: Tensor = (weights @ v).reshape(batch, channels, count).reshape(x_bchw.shape)
        return x_bchw + attended


class Catf(nn.Module):
    """Cross attention, then MFFNL on each stream, then CAF on their concatenation; the last two can be left
    out.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        group: int = 32,
        *,
        feed_forward: bool = True,
        channel_attention: bool = True,
    ) -> None:
        super().__init__()
        self.cross = CrossAttention(channels, heads)
        self.fr_forward: nn.Module = MultiScaleFeedForward(channels) if feed_forward else nn.Identity()
        self.sb_forward: nn.Module = MultiScaleFeedForward(channels) if feed_forward else nn.Identity()
        self.caf: nn.Module = ChannelAttention(2 * channels, group) if channel_attention else nn.Identity()
        self.channels = 2 * channels

    def forward(self, fr_bchw: Tensor, sb_bchw: Tensor) -> Tensor:
        """Return the joined map [B, 2C, H, W]."""
        fr_bchw, sb_bchw = self.cross(fr_bchw, sb_bchw)
        joined: Tensor = self.caf(torch.cat([self.fr_forward(fr_bchw), self.sb_forward(sb_bchw)], dim=1))
        return joined


class Concat(nn.Module):
    """Channels side by side."""

    def __init__(self, channels: int, **unused: Any) -> None:
        super().__init__()
        self.channels = 2 * channels

    def forward(self, fr_bchw: Tensor, sb_bchw: Tensor) -> Tensor:
        """Return [B, 2C, H, W]."""
        return torch.cat([fr_bchw, sb_bchw], dim=1)


class Add(nn.Module):
    """The sum of the streams."""

    def __init__(self, channels: int, **unused: Any) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, fr_bchw: Tensor, sb_bchw: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        return fr_bchw + sb_bchw


class SqueezeExcite(nn.Module):
    """Concatenation under a squeeze-and-excitation gate (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, reduction: int = 16, **unused: Any) -> None:
        super().__init__()
        self.channels = 2 * channels
        hidden = max(1, self.channels // reduction)
        self.gate = nn.Sequential(
            nn.Linear(self.channels, hidden), nn.ReLU(), nn.Linear(hidden, self.channels), nn.Sigmoid()
        )

    def forward(self, fr_bchw: Tensor, sb_bchw: Tensor) -> Tensor:
        """Return [B, 2C, H, W]."""
        both = torch.cat([fr_bchw, sb_bchw], dim=1)
        gated: Tensor = both * self.gate(both.mean((2, 3)))[:, :, None, None]
        return gated


class LinearCross(nn.Module):
    """One direction of CMX's exchange: a stream reads the other's context ``softmax(k^T v)`` with itself as
    the query.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.split = nn.Linear(channels, 2 * channels)
        self.kv = nn.Linear(channels, 2 * channels, bias=False)
        self.join, self.norm = nn.Linear(2 * channels, channels), nn.LayerNorm(channels)

    def halves(self, x_bnc: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two ReLU halves (y, u)."""
        y, u = torch.relu(self.split(x_bnc)).chunk(2, dim=-1)
        return y, u

    def context(self, u_bnc: Tensor) -> Tensor:
        """Return ``softmax(k^T v * scale)`` over the rows, [B, heads, d, d]."""
        k, v = (self._heads(x) for x in self.kv(u_bnc).chunk(2, dim=-1))
        return torch.softmax(k.transpose(2, 3) @ v * (u_bnc.shape[-1] // self.heads) ** -0.5, dim=-2)

    def _heads(self, x_bnc: Tensor) -> Tensor:
        return x_bnc.reshape(*x_bnc.shape[:2], self.heads, -1).transpose(1, 2)

    def read(self, x_bnc: Tensor, y_bnc: Tensor, u_bnc: Tensor, context: Tensor) -> Tensor:
        """Return the stream after reading the other's context."""
        v_bnc = (self._heads(u_bnc) @ context).transpose(1, 2).flatten(2)
        joined: Tensor = self.norm(x_bnc + self.join(torch.cat([y_bnc, v_bnc], dim=-1)))
        return joined


class FeatureFusionModule(nn.Module):
    """FFM of CMX (Zhang et al., 2023): linear cross attention, concatenation, channel embedding."""

    def __init__(self, channels: int, heads: int = 8, **unused: Any) -> None:
        super().__init__()
        self.fr, self.sb = LinearCross(channels, heads), LinearCross(channels, heads)
        self.shortcut = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.embed = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.norm = nn.BatchNorm2d(channels)
        self.channels = channels

    def forward(self, fr_bchw: Tensor, sb_bchw: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        fr, sb = tokens(fr_bchw), tokens(sb_bchw)
        (fr_y, fr_u), (sb_y, sb_u) = self.fr.halves(fr), self.sb.halves(sb)
        fr_context, sb_context = self.fr.context(fr_u), self.sb.context(sb_u)
        fr = self.fr.read(fr, fr_y, fr_u, sb_context)
        sb = self.sb.read(sb, sb_y, sb_u, fr_context)
        both = torch.cat([untokens(fr, fr_bchw), untokens(sb, sb_bchw)], dim=1)
        joined: Tensor = self.norm(self.shortcut(both) + self.embed(both))
        return joined


FUSIONS: dict[str, Callable[..., Any]] = {
    "catf": Catf,
    "cross": lambda channels, heads=8, group=32: Catf(
        channels, heads, group, feed_forward=False, channel_attention=False
    ),
    "catf-no-mffnl": lambda channels, heads=8, group=32: Catf(channels, heads, group, feed_forward=False),
    "catf-no-caf": lambda channels, heads=8, group=32: Catf(channels, heads, group, channel_attention=False),
    "concat": Concat,
    "add": Add,
    "senet": SqueezeExcite,
    "ffm": FeatureFusionModule,
}


@dataclass(frozen=True)
class FusionLayout:
    """What a fusion is built from.

    Attributes:
        kind: a name of :data:`FUSIONS`.
        heads, group: of its attention.
        emb_dim: embedding size D.
        final_px: side of the maps.

    """

    kind: str
    heads: int = 8
    group: int = 32
    emb_dim: int = 512
    final_px: int = 7


class Fused(Backbone):
    """A two-branch net, a fusion of its maps, and BN, flatten, FC, BN to the embedding.

    Args:
        branches: the two-branch net of step 1.
        layout: of the fusion and of what follows it.
        train_branches: let the two-branch net learn (else it stays frozen in evaluation mode).

    """

    def __init__(
        self,
        branches: MultiBranch,
        layout: FusionLayout,
        *,
        train_branches: bool = False,
    ) -> None:
        super().__init__()
        self.train_branches = train_branches
        self.branches = branches.requires_grad_(train_branches)
        nn.ModuleList([branches.fr_fc, branches.sb_fc]).requires_grad_(False)  # unused: DDP would wait
        make = FUSIONS[layout.kind]
        self.fusion = make(branches.tap_channels[0], heads=layout.heads, group=layout.group)
        channels, emb_dim = self.fusion.channels, layout.emb_dim
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Flatten(),
            nn.Linear(channels * layout.final_px**2, emb_dim),
            nn.BatchNorm1d(emb_dim),
        )
        self.emb_dim, self.tap_channels = emb_dim, (channels,)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen branches stay in evaluation mode."""
        super().train(mode)
        if not self.train_branches:
            self.branches.eval()
        return self

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding and the joined map."""
        fr, sb = self.branches.maps(x_bchw)
        joined = self.fusion(fr.map_bchw, sb.map_bchw)
        with full_precision(x_bchw):
            embedding = self.head(joined.float())
        return Features(embedding, (joined,))
