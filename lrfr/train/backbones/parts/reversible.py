"""An i-RevNet run backwards: the decoder that turns a recognizer's last map into a face (QualNet).

i-RevNet (Jacobsen et al., ICLR 2018) maps an image to features and loses nothing: pixels are moved into
channels and residual functions are added in turn to one half of them. Each block is undone exactly, so the
backward way is a decoder, with as many layers as the network has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MULT = 4  # channels of a block over those inside its bottleneck


class RevBlock(nn.Module):
    """``(x1, x2) -> (x2, x1 + f(x2))``, both halved in side first where ``stride`` is 2; :meth:`inverse`
    undoes it.

    Args:
        channels: of a half after the block.
        stride: 2 moves 2x2 pixels into channels.

    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        c_in, inside = channels // stride**2, max(1, channels // _MULT)
        self.f = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.ReLU(),
            nn.Conv2d(c_in, inside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, inside, 3, padding=1, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU(),
            nn.Conv2d(inside, channels, 3, padding=1, bias=False),
        )

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two halves after the block."""
        return _squeeze(x2, self.stride), _squeeze(x1, self.stride) + self.f(x2)

    def inverse(self, y1: Tensor, y2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two halves before the block."""
        x2 = _spread(y1, self.stride)
        return _spread(y2 - self.f(x2), self.stride), x2


def _squeeze(x: Tensor, stride: int) -> Tensor:
    return F.pixel_unshuffle(x, stride) if stride > 1 else x


def _spread(x: Tensor, stride: int) -> Tensor:
    return F.pixel_shuffle(x, stride) if stride > 1 else x


class InverseDecoder(nn.Module):
    """A recognizer's map [B, C, F, F] to a face [B, 3, S, S], S = F * 2**halvings: a 3x3 bridge to i-RevNet's
    features, then its inverse.

    Args:
        channels: C.
        blocks: blocks of each halving stage (before them one halving takes no weights), then of the last
            stage, which keeps the side: k numbers for k halvings.
        stage: of the recognizer whose map is decoded.
        padding: i-RevNet widens by this before its last stage (4: 96 to 384 to 1536 as published).

    """

    def __init__(self, channels: int, blocks: Sequence[int], stage: str = "layer4", padding: int = 4) -> None:
        super().__init__()
        self.stage = stage
        half = 3 * 2  # of 12 channels at half the side
        stages = []
        for count in blocks[:-1]:
            half *= 4
            stages += [RevBlock(half, 2), *(RevBlock(half) for _ in range(count - 1))]
        self.padded, self.kept = half * padding, half
        stages += [RevBlock(self.padded) for _ in range(blocks[-1])]
        self.bridge = nn.Conv2d(channels, 2 * self.padded, 3, padding=1)
        self.blocks = nn.ModuleList(stages)

    def forward(self, map_bchw: Tensor) -> Tensor:
        """Return the face; in [0, 1] once trained, and not cut to it."""
        y1, y2 = self.bridge(map_bchw).chunk(2, dim=1)
        for block in reversed(self.blocks):
            assert isinstance(block, RevBlock)
            if y1.shape[1] == self.padded and len(block.f[-1].weight) != self.padded:  # type: ignore[arg-type]
                y1, y2 = y1[:, : self.kept], y2[:, : self.kept]  # what the widening has added
            y1, y2 = block.inverse(y1, y2)
        face_b3hw: Tensor = F.pixel_shuffle(torch.cat([y1[:, :6], y2[:, :6]], dim=1), 2)
        return face_b3hw
