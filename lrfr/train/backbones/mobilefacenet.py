"""MobileFaceNet (Chen et al., 2018) with the layer names of insightface's ``arcface_torch``.

``scale`` 2 is the 2.06 M parameter net there, ``scale`` 1 the 1.2 M original, ``scale`` 4 with more units the
large one there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.backbones.features import Features, full_precision
from lrfr.train.backbones.nets import STAGES, Backbone
from lrfr.train.backbones.parts.prelu import PReLU


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` that leaves autocast on a CPU where it is strided and depthwise.

    There the bfloat16 gradient of torch 2.13 takes 5 to 50 times as long as the float32 one; three such
    layers took half of a MobileFaceNet's step.
    """

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Convolve with the layer's own weight."""
        return self.run(x_bchw, self.weight, self.bias)

    def run(self, x_bchw: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve with another weight and bias of the same shape; the output has the kind of numbers of
        ``x_bchw``.
        """
        if (
            self.groups == 1
            or self.stride[0] == 1
            or x_bchw.dtype != torch.bfloat16
            or x_bchw.device.type != "cpu"
        ):
            return F.conv2d(x_bchw, weight, bias, self.stride, self.padding, 1, self.groups)
        with full_precision(x_bchw):
            return F.conv2d(x_bchw.float(), weight, bias, self.stride, self.padding, 1, self.groups).to(
                x_bchw.dtype
            )


class ConvBlock(nn.Module):
    """Convolution, BN and, unless ``linear``, PReLU."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, *, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        padding = 1 if kernel == 3 else 0
        layers: list[nn.Module] = [
            Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(c_out),
        ]
        self.layers = nn.Sequential(*layers, *([] if linear else [PReLU(c_out)]))

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Run the layers; statistics that stand still become part of the convolution, a quarter less work in
        training.
        """
        convolution, norm, *activation = self.layers
        if norm.training:
            y_bchw: Tensor = self.layers(x_bchw)
            return y_bchw
        y_bchw = _folded(x_bchw, cast(Conv2d, convolution), cast(nn.BatchNorm2d, norm))
        return activation[0](y_bchw) if activation else y_bchw


def _folded(x_bchw: Tensor, convolution: Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return norm(convolution(x)) for a norm in evaluation mode, as one convolution."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = convolution.weight * gain.view(-1, 1, 1, 1)
    return convolution.run(x_bchw, weight, norm.bias - norm.running_mean * gain)


class DepthWise(nn.Module):
    """1x1 to ``hidden`` channels, 3x3 depthwise, linear 1x1; with a shortcut in :class:`Residual`."""

    def __init__(
        self, c_in: int, c_out: int, hidden: int, stride: int = 2, *, residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvBlock(c_in, hidden, 1),
            ConvBlock(hidden, hidden, 3, stride, groups=hidden),
            ConvBlock(hidden, c_out, 1, linear=True),
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Run the layers and the shortcut."""
        y_bchw: Tensor = self.layers(x_bchw)
        return x_bchw + y_bchw if self.residual else y_bchw


class Residual(nn.Module):
    """A row of :class:`DepthWise` with shortcuts."""

    def __init__(self, channels: int, count: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(DepthWise(channels, channels, hidden, 1, residual=True) for _ in range(count))
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Run the row."""
        y_bchw: Tensor = self.layers(x_bchw)
        return y_bchw


class GlobalDepthWise(nn.Module):
    """The tail: linear 7x7 depthwise convolution, flatten, FC without bias, BN."""

    def __init__(self, final_px: int, emb_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBlock(512, 512, final_px, groups=512, linear=True),
            nn.Flatten(),
            nn.Linear(512, emb_dim, bias=False),
            nn.BatchNorm1d(emb_dim),
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return embeddings."""
        embedding: Tensor = self.layers(x_bchw)
        return embedding


@dataclass(frozen=True)
class MobileLayout:
    """What a MobileFaceNet is built from.

    Attributes:
        blocks: units of the four parts; one in the first is the plain depthwise layer after the stem.
        scale: multiplies the channels between the depthwise layers; a multiple of 1/64.
        emb_dim: embedding size D.
        final_px: side of the last map.

    """

    blocks: tuple[int, ...] = (1, 4, 6, 2)
    scale: float = 2
    emb_dim: int = 512
    final_px: int = 7


def _overlaps(old: int, new: int) -> Tensor:
    """Return which share of each of ``old`` places in a row lies in each of ``new``, float ``[new, old]``."""
    ends = torch.arange(new + 1) * (old / new)
    starts = torch.arange(old, dtype=torch.float32)
    return (torch.minimum(ends[1:, None], starts + 1) - torch.maximum(ends[:-1, None], starts)).clamp(min=0)


# the only weight whose shape depends on the side of the input
_TAIL = "features.layers.0.layers.0.weight"


class MobileFaceNet(Backbone):
    """MobileFaceNet on [-1, 1] RGB.

    ``input_scale`` and ``input_shift`` are buffers: imported weights may expect another range than [-1, 1]
    (:meth:`plain_state` does without); the shift may be one number a channel, ``[3, 1, 1]``.
    """

    def __init__(self, layout: MobileLayout) -> None:
        super().__init__()
        blocks, emb_dim, final_px = layout.blocks, layout.emb_dim, layout.final_px
        # Table 1 of the paper is scale 1; the expansions inside a unit (128, 256, 512) do not grow with it
        narrow, wide = int(64 * layout.scale), int(128 * layout.scale)
        self.layers = nn.ModuleList(
            [
                ConvBlock(3, narrow, 3, 2),
                ConvBlock(narrow, narrow, 3, groups=min(64, narrow))
                if blocks[0] == 1
                else Residual(narrow, blocks[0], 128),
                DepthWise(narrow, narrow, 128),
                Residual(narrow, blocks[1], 128),
                DepthWise(narrow, wide, 256),
                Residual(wide, blocks[2], 256),
                DepthWise(wide, wide, 512),
                Residual(wide, blocks[3], 256),
            ]
        )
        self.conv_sep = ConvBlock(wide, 512, 1)
        self.features = GlobalDepthWise(final_px, emb_dim)
        self.emb_dim, self.tap_channels = emb_dim, (narrow, narrow, wide, wide)
        self.input_scale: Tensor
        self.input_shift: Tensor
        self.register_buffer("input_scale", torch.ones(()))
        self.register_buffer("input_shift", torch.zeros(()))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def fitted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of a MobileFaceNet for another input side with the kernel of the tail brought to
        this one's last map, each weight to the places that its area covers, so that their sum stays.
        """
        kernel, own = state.get(_TAIL), self.state_dict()[_TAIL]
        if kernel is None or kernel.shape == own.shape or kernel.shape[:2] != own.shape[:2]:
            return dict(state)
        shares = _overlaps(kernel.shape[-1], own.shape[-1]).to(kernel.device)
        return {**state, _TAIL: shares @ kernel.float() @ shares.T}

    def plain_state(self) -> dict[str, Tensor]:
        """Return the weights with the input's scale and shift folded into the first layer, under the names of
        ``arcface_torch`` alone.

        The scale is folded exactly. The shift is, but for the first row and column of the first map: there a
        part of the kernel lies on padding, which stays zero and is not shifted.
        """
        state = {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("input_")}
        first, norm = "layers.0.layers.0.weight", "layers.0.layers.1.running_mean"
        shift_o = (state[first].sum((2, 3)) * self.input_shift.flatten()).sum(1)
        return state | {first: state[first] * self.input_scale, norm: state[norm] - shift_o}

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding and the maps after the four parts (56, 28, 14 and 7 px at 112)."""
        x_bchw = x_bchw * self.input_scale + self.input_shift
        found = {}
        for index, layer in enumerate(self.layers):
            x_bchw = layer(x_bchw)
            if index % 2:
                found[STAGES[index // 2]] = x_bchw
        x_bchw = self.conv_sep(x_bchw)
        with full_precision(x_bchw):
            embedding = self.features(x_bchw.float())
        return Features(embedding, tuple(found[name] for name in STAGES if name in taps))
