"""Multi-scale patch discriminator with the least-squares loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_SCALE_PX = 32


def scale_sizes(size_px: int) -> list[int]:
    """Return the sides of the pyramid that are judged: ``size_px`` and its halves down to 32 px, three at
    most.

    The published third scale of 112 px (28 px, maps of 1x1) has a dead instance norm and is left out.
    """
    sizes = [size_px]
    while len(sizes) < 3 and (sizes[-1] + 1) // 2 >= MIN_SCALE_PX:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


class Discriminator(nn.Module):
    """One patch critic for each scale of :func:`scale_sizes`.

    Args:
        size_px: side of the images, at least 32.
        dim: channels of the first convolution (64 as published).

    """

    def __init__(self, size_px: int, dim: int) -> None:
        super().__init__()
        if size_px < MIN_SCALE_PX:
            raise ValueError(f"images of {size_px} px are smaller than the smallest scale, {MIN_SCALE_PX} px")
        self.critics = nn.ModuleList(_critic(side, dim) for side in scale_sizes(size_px))

    def forward(self, x_bchw: Tensor) -> list[Tensor]:
        """Return one map of scores for each scale (real near 1, fake near 0)."""
        maps = []
        for index, critic in enumerate(self.critics):
            if index:
                x_bchw = F.avg_pool2d(x_bchw, 3, 2, 1, count_include_pad=False)
            maps.append(critic(x_bchw).float())
        return maps


def least_squares(maps: Sequence[Tensor], target: float) -> Tensor:
    """Return the sum over scales of mean((score - target)^2) (LSGAN, Mao et al., ICCV 2017)."""
    total = (maps[0] - target).square().mean()
    for scores in maps[1:]:
        total = total + (scores - target).square().mean()
    return total


def accuracy(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the share of images on the right side of 0.5, each judged by its mean score over patches and
    scales (0.5 is a draw).
    """
    right_b = torch.cat([_verdict(real) > 0.5, _verdict(fake) < 0.5])
    return right_b.float().mean()


def _verdict(maps: Sequence[Tensor]) -> Tensor:
    return torch.stack([scores.flatten(1).mean(1) for scores in maps]).mean(0)


def _critic(side: int, dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for level in range(4):
        width = dim * 2**level
        side //= 2
        layers.append(nn.Conv2d(channels, width, 4, 2, 1))
        if level and side >= 2:
            layers.append(nn.InstanceNorm2d(width))
        layers.append(nn.LeakyReLU(0.2))
        channels = width
    layers.append(nn.Conv2d(channels, 1, 3, padding=1))
    critic = nn.Sequential(*layers)
    for module in critic.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
    return critic
