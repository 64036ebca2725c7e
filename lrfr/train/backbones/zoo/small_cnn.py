"""Small convolutional networks that take faces of 7 to 28 px as they are, without enlarging them to 112 px.

All four stages lie between the face's own side and 7 px, so nothing is spent on maps that hold no more than
the picture does: the stem keeps the side up to 14 px and halves 28 px. Units are those of iResNet (BN, 3x3,
BN, PReLU, 3x3, BN), the tail is its flatten, FC and BN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.nets import STAGES, Backbone
from lrfr.train.backbones.parts.prelu import PReLU


@dataclass(frozen=True)
class SmallLayout:
    """What a network is built from.

    Attributes:
        side_px: side of the input.
        widths: channels of the four stages.
        strides: of the convolution that opens each stage; a stage of stride 1 and the width of the one before
            has none.
        units: residual units of each stage.
        emb_dim: embedding size D.

    """

    side_px: int = 7
    widths: tuple[int, int, int, int] = (128, 128, 128, 128)
    strides: tuple[int, int, int, int] = (1, 1, 1, 1)
    units: tuple[int, int, int, int] = (1, 1, 1, 1)
    emb_dim: int = 512

    @property
    def final_px(self) -> int:
        """Side of the last map."""
        side = self.side_px
        for stride in self.strides:
            side = -(-side // stride)
        return side


class Unit(nn.Module):
    """``x + BN(conv(PReLU(BN(conv(BN(x))))))``; the last BN begins at zero, so that a fresh unit is the
    identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Run the unit."""
        y_bchw: Tensor = self.layers(x_bchw)
        return x_bchw + y_bchw


def _stage(c_in: int, width: int, stride: int, units: int) -> nn.Sequential:
    opening: list[nn.Module] = []
    if stride != 1 or c_in != width:
        opening = [
            nn.Conv2d(c_in, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
        ]
    return nn.Sequential(*opening, *(Unit(width) for _ in range(units)))


class SmallCnn(Backbone):
    """A recognizer of small faces on [-1, 1] RGB, float [B, 3, side_px, side_px]."""

    def __init__(self, layout: SmallLayout) -> None:
        super().__init__()
        self.side_px, self.emb_dim, self.tap_channels = layout.side_px, layout.emb_dim, layout.widths
        before = (3, *layout.widths[:3])
        self.stages = nn.ModuleList(
            _stage(c_in, width, stride, units)
            for c_in, width, stride, units in zip(
                before, layout.widths, layout.strides, layout.units, strict=True
            )
        )
        last = layout.widths[-1]
        self.norm = nn.BatchNorm2d(last)
        self.fc = nn.Linear(last * layout.final_px**2, layout.emb_dim, bias=False)
        self.features = nn.BatchNorm1d(layout.emb_dim)

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding and the maps after the four stages.

        Raises:
            ValueError: the input has another side; the FC knows one alone.

        """
        if x_bchw.shape[-2:] != (self.side_px, self.side_px):
            raise ValueError(f"this network takes {self.side_px} px, got {tuple(x_bchw.shape[-2:])}")
        found = {}
        for name, stage in zip(STAGES, self.stages, strict=True):
            x_bchw = stage(x_bchw)
            found[name] = x_bchw
        x_bchw = self.norm(x_bchw)
        with full_precision(x_bchw):
            embedding = self.features(self.fc(torch.flatten(x_bchw.float(), 1)))
        return Features(embedding, tuple(found[name] for name in STAGES if name in taps))
