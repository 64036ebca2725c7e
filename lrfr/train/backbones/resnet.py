"""Plain ResNets with ReLU: those of MAug for faces (max-pool stem, dropout tail) and those for 32x32
digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.backbones.nets import STAGES
from lrfr.train.backbones.parts.attention import Cbam
from lrfr.train.backbones.parts.staged import Gates, Staged, Unit, conv


class Basic(Unit):
    """Two 3x3 convolutions (He et al., CVPR 2016)."""

    expansion = 1

    def __init__(self, c_in: int, channels: int, stride: int, *, attention: bool = False) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.cbam = Cbam(channels) if attention else None
        self.downsample = _shortcut(c_in, channels, stride)

    def attend(self, x_bchw: Tensor) -> tuple[Tensor, Gates | None]:
        """Return the output and, with attention, the (channel, spatial) gates."""
        y_bchw = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x_bchw)))))
        y_bchw, gates = (y_bchw, None) if self.cbam is None else self.cbam(y_bchw)
        return F.relu(y_bchw + self.downsample(x_bchw)), gates


class Bottleneck(Unit):
    """1x1, 3x3 with the stride, 1x1 to four times the channels."""

    expansion = 4

    def __init__(self, c_in: int, channels: int, stride: int, *, attention: bool = False) -> None:
        super().__init__()
        c_out = channels * self.expansion
        self.conv1, self.bn1 = conv(c_in, channels, 1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = conv(channels, c_out, 1), nn.BatchNorm2d(c_out)
        self.cbam = Cbam(c_out) if attention else None
        self.downsample = _shortcut(c_in, c_out, stride)

    def attend(self, x_bchw: Tensor) -> tuple[Tensor, Gates | None]:
        """Return the output and, with attention, the (channel, spatial) gates."""
        y_bchw = F.relu(self.bn1(self.conv1(x_bchw)))
        y_bchw = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y_bchw)))))
        y_bchw, gates = (y_bchw, None) if self.cbam is None else self.cbam(y_bchw)
        return F.relu(y_bchw + self.downsample(x_bchw)), gates


def _shortcut(c_in: int, c_out: int, stride: int) -> nn.Module:
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    return nn.Sequential(conv(c_in, c_out, 1, stride), nn.BatchNorm2d(c_out))


@dataclass(frozen=True)
class ResLayout:
    """What a plain ResNet is built from.

    Attributes:
        units: units of the (three or four) stages.
        block: :class:`Basic` or :class:`Bottleneck`.
        width: channels of the stem; stage i has 2**i times as many, times the block's expansion.
        emb_dim: embedding size D of the ``fc`` tail.
        stem_stride: 1 as published, 2 for the tiny preset.
        pool: max-pool of stride 2 after the stem (faces), none for digits.
        tail: ``fc`` (BN, dropout 0.4, flatten, FC, BN, L2 normalization: MAug) or ``gap`` (D = channels of
            the last stage).
        final_px: side of the last map of the ``fc`` tail.
        attention: a CBAM in every unit.

    """

    units: tuple[int, ...]
    block: type[Basic] | type[Bottleneck] = Basic
    width: int = 64
    emb_dim: int = 512
    stem_stride: int = 1
    pool: bool = True
    tail: Literal["fc", "gap"] = "fc"
    final_px: int = 7
    attention: bool = False

    def stage(self, c_in: int, index: int) -> nn.Sequential:
        """Return stage ``index`` (from 0) on ``c_in`` channels; every stage but the first halves the map."""
        channels = self.width * 2**index
        make = partial(self.block, attention=self.attention)
        rest = (make(self.channels(index), channels, 1) for _ in range(self.units[index] - 1))
        return nn.Sequential(make(c_in, channels, 1 if index == 0 else 2), *rest)

    def channels(self, index: int) -> int:
        """Return the channels that leave stage ``index``."""
        return (self.width << index) * self.block.expansion


class ResNet(Staged):
    """ResNet on [-1, 1] RGB."""

    def __init__(self, layout: ResLayout) -> None:
        super().__init__()
        self.conv1 = conv(3, layout.width, 3, layout.stem_stride)
        self.bn1 = nn.BatchNorm2d(layout.width)
        self.pool = nn.MaxPool2d(3, 2, 1) if layout.pool else nn.Identity()
        c_in = layout.width
        for index in range(len(layout.units)):
            setattr(self, STAGES[index], layout.stage(c_in, index))
            c_in = layout.channels(index)
        self.tap_channels = tuple(map(layout.channels, range(len(layout.units))))
        self.tail = layout.tail
        self.emb_dim = layout.emb_dim if layout.tail == "fc" else c_in
        if layout.tail == "fc":
            self.add_tail(c_in, layout.final_px, layout.emb_dim, 0.4)  # MAug's released code drops 0.4
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, x_bchw: Tensor) -> Tensor:
        """Return the stem's map."""
        pooled: Tensor = self.pool(F.relu(self.bn1(self.conv1(x_bchw))))
        return pooled

    def embed_map(self, x_bchw: Tensor) -> Tensor:
        """Return the embedding [B, D] of the last stage's map."""
        return x_bchw.mean((2, 3)).float() if self.tail == "gap" else F.normalize(self.run_tail(x_bchw))
