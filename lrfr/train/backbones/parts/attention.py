"""Gates inside backbones: squeeze and excitation, and the CBAM (Woo et al., ECCV 2018) of the A-SKD and F-SKD
tables.
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


class SqueezeExcite(nn.Module):
    """Channel gate of the mean alone (Hu et al., CVPR 2018), without biases, as the IR-SE nets of the field
    have it.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1, self.fc2 = (
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return the gated map."""
        gate_bc11 = self.fc2(torch.relu(self.fc1(x_bchw.mean((2, 3), keepdim=True))))
        return x_bchw * torch.sigmoid(gate_bc11)
