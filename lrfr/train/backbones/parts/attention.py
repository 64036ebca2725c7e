"""Attention modules inside backbones: CBAM gates (Woo et al., ECCV 2018) as the A-SKD and F-SKD tables use
them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Cbam(nn.Module):
    """Channel gate, then spatial gate.

    The channel gate is a shared two-layer MLP (C -> C/16 -> C) on the average- and the max-pooled vector,
    summed, sigmoid. The spatial gate is a 7x7 convolution with BN over the channel maximum and mean, sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.spatial = nn.Sequential(
            nn.Conv2d(2, 1, 7, padding=3, bias=False),
            nn.BatchNorm2d(1, momentum=0.01),  # the authors' code: one channel needs a slow mean
        )

    def forward(self, x_bchw: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the gated map and the gates: channel [B, C] and spatial [B, 1, H, W], both in (0, 1)."""
        channel_bc = torch.sigmoid(self.mlp(x_bchw.mean((2, 3))) + self.mlp(x_bchw.amax((2, 3))))
        x_bchw = x_bchw * channel_bc[:, :, None, None]
        summary = torch.cat([x_bchw.amax(1, keepdim=True), x_bchw.mean(1, keepdim=True)], dim=1)
        spatial_b1hw = torch.sigmoid(self.spatial(summary))
        return x_bchw * spatial_b1hw, (channel_bc, spatial_b1hw)
