"""Inception-ResNet v1 (Szegedy et al., AAAI 2017) as FaceNet's public ports have it, with the layer names of
``facenet-pytorch``.

It is made for 160 px and takes every side from 75 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.nets import STAGES, Backbone

Shape = int | tuple[int, int]
_EPS = 1e-3


class Convolution(nn.Module):
    """Convolution, BN, ReLU; ``same`` keeps the side, otherwise nothing is padded."""

    def __init__(
        self, c_in: int, c_out: int, kernel: Shape = 1, stride: int = 1, *, same: bool = False
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else 0
        self.conv = nn.Conv2d(c_in, c_out, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=_EPS)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Run the layers."""
        return F.relu(self.bn(self.conv(x_bchw)))


class Joined(nn.Module):
    """Branches beside each other, brought back to the input's channels, scaled, and added to it."""

    def __init__(
        self, channels: int, branches: Sequence[nn.Module], width: int, scale: float, *, last: bool = False
    ) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)
        self.count, self.scale, self.last = len(branches), scale, last
        self.conv2d = nn.Conv2d(width, channels, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Run the branches and the shortcut; the last unit of the net has no ReLU."""
        y_bchw = self.conv2d(torch.cat(_branches(self, x_bchw), 1)) * self.scale + x_bchw
        return y_bchw if self.last else F.relu(y_bchw)


class Reduced(nn.Module):
    """Branches of stride 2 and a max-pool beside each other."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        for index, branch in enumerate([*branches, nn.MaxPool2d(3, 2)]):
            self.add_module(f"branch{index}", branch)
        self.count = len(branches) + 1

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return all branches' channels."""
        return torch.cat(_branches(self, x_bchw), 1)


def _branches(module: Joined | Reduced, x_bchw: Tensor) -> list[Tensor]:
    return [getattr(module, f"branch{index}")(x_bchw) for index in range(module.count)]


@dataclass(frozen=True)
class InceptionLayout:
    """What an Inception-ResNet v1 is built from.

    Attributes:
        units: residual units of the three stages; one more ends the third.
        shrink: divides all channels.
        emb_dim: embedding size D.
        dropout: probability before the FC.

    """

    units: tuple[int, int, int] = (5, 10, 5)
    shrink: int = 1
    emb_dim: int = 512
    dropout: float = 0.6

    def widths(self, *channels: int) -> tuple[int, ...]:
        """Return channels of the published net, shrunk."""
        return tuple(count // self.shrink for count in channels)

    def block35(self) -> Joined:
        """Return a unit of the first stage."""
        c, w, joined = self.widths(256, 32, 96)
        branches = [
            Convolution(c, w),
            nn.Sequential(Convolution(c, w), Convolution(w, w, 3, same=True)),
            nn.Sequential(
                Convolution(c, w), Convolution(w, w, 3, same=True), Convolution(w, w, 3, same=True)
            ),
        ]
        return Joined(c, branches, joined, 0.17)

    def cross(self, channels: int, width: int, kernel: int, scale: float, *, last: bool = False) -> Joined:
        """Return a unit of the second or third stage, whose square kernel is a row and a column."""
        c, w = self.widths(channels, width)
        row, column = Convolution(w, w, (1, kernel), same=True), Convolution(w, w, (kernel, 1), same=True)
        branches = [Convolution(c, w), nn.Sequential(Convolution(c, w), row, column)]
        return Joined(c, branches, 2 * w, scale, last=last)


class InceptionResNet(Backbone):
    """Inception-ResNet v1 on [-1, 1] RGB; its taps are the stem's pool and the stages."""

    def __init__(self, layout: InceptionLayout) -> None:
        super().__init__()
        a, b, c, d, e = layout.widths(32, 64, 80, 192, 256)
        self.conv2d_1a, self.conv2d_2a = Convolution(3, a, 3, 2), Convolution(a, a, 3)
        self.conv2d_2b, self.maxpool_3a = Convolution(a, b, 3, same=True), nn.MaxPool2d(3, 2)
        self.conv2d_3b, self.conv2d_4a = Convolution(b, c), Convolution(c, d, 3)
        self.conv2d_4b = Convolution(d, e, 3, 2)
        first, second, third = layout.units
        self.repeat_1 = nn.Sequential(*(layout.block35() for _ in range(first)))
        f, g = layout.widths(384, 896)
        branch = nn.Sequential(Convolution(e, d), Convolution(d, d, 3, same=True), Convolution(d, e, 3, 2))
        self.mixed_6a = Reduced([Convolution(e, f, 3, 2), branch])
        self.repeat_2 = nn.Sequential(*(layout.cross(896, 128, 7, 0.1) for _ in range(second)))
        self.mixed_7a = Reduced(
            [
                nn.Sequential(Convolution(g, e), Convolution(e, f, 3, 2)),
                nn.Sequential(Convolution(g, e), Convolution(e, e, 3, 2)),
                nn.Sequential(Convolution(g, e), Convolution(e, e, 3, same=True), Convolution(e, e, 3, 2)),
            ]
        )
        self.repeat_3 = nn.Sequential(*(layout.cross(1792, 192, 3, 0.2) for _ in range(third)))
        self.block8 = layout.cross(1792, 192, 3, 1.0, last=True)
        (h,) = layout.widths(1792)
        self.dropout = nn.Dropout(layout.dropout)
        self.last_linear = nn.Linear(h, layout.emb_dim, bias=False)
        self.last_bn = nn.BatchNorm1d(layout.emb_dim, eps=_EPS)
        self.emb_dim, self.tap_channels = layout.emb_dim, (b, e, g, h)

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding and the maps (38, 17, 8 and 3 px at 160)."""
        stem = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x_bchw))))
        one = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(stem))))
        two = self.repeat_2(self.mixed_6a(one))
        three = self.block8(self.repeat_3(self.mixed_7a(two)))
        pooled = self.dropout(three.mean((2, 3)))
        with full_precision(pooled):
            embedding = self.last_bn(self.last_linear(pooled.float()))
        maps = dict(zip(STAGES, (stem, one, two, three), strict=True))
        return Features(embedding, tuple(maps[name] for name in STAGES if name in taps))
