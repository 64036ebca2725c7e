"""Layers of the style generator: residual blocks, style-driven normalization, per-sample layer norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """Normalize each sample over channels and space (unbiased std), then scale and shift each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain_c = nn.Parameter(torch.rand(channels))
        self.bias_c = nn.Parameter(torch.zeros(channels))

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return the normalized ``[B, C, H, W]``."""
        mean_b = x_bchw.mean((1, 2, 3), keepdim=True)
        std_b = x_bchw.std((1, 2, 3), keepdim=True)
        return (x_bchw - mean_b) / (std_b + 1e-5) * self.gain_c[:, None, None] + self.bias_c[:, None, None]


class ResidualBlock(nn.Module):
    """Two reflection-padded 3x3 convolutions with instance norm; with a style, the norms are affine in it
    (AdaIN).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = reflected_conv(channels, channels, 3)
        self.conv2 = reflected_conv(channels, channels, 3)

    def forward(self, x_bchw: Tensor, style_b2pc: Tensor | None = None) -> Tensor:
        """Return ``x + f(x)``.

        Args:
            x_bchw: features.
            style_b2pc: ``[B, 2, 2, C]``, for each of the two norms a bias row and a weight row; None for
                plain instance norm.

        """
        first, second = (None, None) if style_b2pc is None else (style_b2pc[:, 0], style_b2pc[:, 1])
        hidden = F.relu(_adain(self.conv1(x_bchw), first))
        return x_bchw + _adain(self.conv2(hidden), second)


def _adain(x_bchw: Tensor, style_bpc: Tensor | None) -> Tensor:
    normal = F.instance_norm(x_bchw)
    if style_bpc is None:
        return normal
    bias_bc, weight_bc = style_bpc.unbind(1)
    return normal * weight_bc[:, :, None, None] + bias_bc[:, :, None, None]


def reflected_conv(channels_in: int, channels_out: int, kernel: int) -> nn.Conv2d:
    """Return a same-size convolution with reflection padding."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, padding_mode="reflect")
