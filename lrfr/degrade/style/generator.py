"""The style generator ``G(x, z)``: content encoder, style-driven decoder, linear style subspace."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.degrade.style.generator_card import Layout
from lrfr.degrade.style.layers import LayerNorm, ResidualBlock, reflected_conv
from lrfr.degrade.style.subspace import StyleSubspace

_TINY = 1e-12  # keeps the norm's gradient finite at z = 0


class StyleGenerator(nn.Module):
    """Turn a clean face into the same face in a style; the norm of z is the magnitude, z = 0 means
    reconstruction.

    Source: Liu, Kim, Jain, Liu, "Controllable and Guided Face Synthesis for Unconstrained Face Recognition",
    ECCV 2022, section 3.1; layer table after MUNIT (Huang et al., ECCV 2018).

    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        dim, wide = layout.dim, 4 * layout.dim
        self.subspace = StyleSubspace(layout.n_basis, layout.latent)
        self.stem = nn.Sequential(
            *_normed(reflected_conv(3, dim, 7)),
            *_normed(nn.Conv2d(dim, 2 * dim, 4, 2, 1)),
            *_normed(nn.Conv2d(2 * dim, wide, 4, 2, 1)),
        )
        self.content = nn.Sequential(*(ResidualBlock(wide) for _ in range(layout.n_res)))
        self.styled = nn.ModuleList(ResidualBlock(wide) for _ in range(layout.n_res))
        self.style_mlp = nn.Sequential(
            nn.Linear(layout.latent, wide),
            nn.ReLU(),
            nn.Linear(wide, wide),
            nn.ReLU(),
            nn.Linear(wide, layout.n_res * 4 * wide),
        )
        self.head = nn.Sequential(
            *_upsampled(wide, 2 * dim), *_upsampled(2 * dim, dim), reflected_conv(dim, 3, 7), nn.Tanh()
        )
        self.noise_gain_nc = nn.Parameter(0.1 * torch.randn(layout.n_res, wide)) if layout.noise else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def noise_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of one face's noise."""
        return self.layout.n_res, height // 4, width // 4

    def forward(self, x_bchw: Tensor, z_bk: Tensor, noise_bnhw: Tensor | None = None) -> Tensor:
        """Return the styled faces.

        Args:
            x_bchw: float32 ``[B, 3, H, W]`` in [-1, 1]; H and W multiples of 4.
            z_bk: float32 ``[B, n_basis]`` style coordinates.
            noise_bnhw: standard normals ``[B, *noise_shape(H, W)]``; None for none, and unused by layouts
                without noise.

        Returns:
            float32 ``[B, 3, H, W]`` in [-1, 1].

        """
        style = self.style_mlp(self.subspace(z_bk)).unflatten(
            1, (self.layout.n_res, 2, 2, 4 * self.layout.dim)
        )
        hidden = self.content(self.stem(x_bchw))
        for index, block in enumerate(self.styled):
            if self.noise_gain_nc is not None and noise_bnhw is not None:
                hidden = hidden + self.noise_gain_nc[index, :, None, None] * noise_bnhw[:, index, None]
            hidden = block(hidden, style[:, index])
        out: Tensor = self.head(hidden)
        if not self.layout.residual:
            return out
        coarse = F.interpolate(F.avg_pool2d(x_bchw, 4), scale_factor=4, mode="bilinear", align_corners=False)
        weight = 1 - torch.exp(-0.5 * (z_bk.square().sum(1) + _TINY).sqrt())
        return (x_bchw + weight[:, None, None, None] * (coarse + out - x_bchw)).clamp(-1, 1)


def _normed(conv: nn.Conv2d) -> tuple[nn.Module, ...]:
    return conv, nn.InstanceNorm2d(conv.out_channels), nn.ReLU()


def _upsampled(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    return (
        nn.Upsample(scale_factor=2),
        nn.Conv2d(channels_in, channels_out, 5, padding=2),
        LayerNorm(channels_out),
        nn.ReLU(),
    )
