"""iResNet: the face recognizer of ArcFace, F-SKD and BTNet, with the layer names of insightface's
``arcface_torch``.

Stem, four stages and a tail are attributes of the same names as there, so public weights load by name. Every
stage and unit output can be read by name (``layer2``, ``layer3.0``) through :meth:`IResNet.run`; there are no
hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from lrfr.train.backbones.nets import STAGES
from lrfr.train.backbones.parts.attention import Cbam, SqueezeExcite
from lrfr.train.backbones.parts.prelu import PReLU
from lrfr.train.backbones.parts.staged import Gates, Staged, Unit, conv
from lrfr.train.backbones.parts.wavelet import WaveDown


class IResUnit(Unit):
    """BN, conv3x3, BN, PReLU, conv3x3 with the stride, BN, plus shortcut; no activation after the sum."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        attention: bool = False,
        wavelet: str | None = None,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = conv(c_in, c_out, 3)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.prelu = PReLU(c_out)
        self.conv2 = conv(c_out, c_out, 3, stride, wavelet)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.cbam = Cbam(c_out) if attention else None
        self.se = SqueezeExcite(c_out) if squeeze else None
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(conv(c_in, c_out, 1, stride, wavelet), nn.BatchNorm2d(c_out))

    def attend(self, x_bchw: Tensor) -> tuple[Tensor, Gates | None]:
        """Return the output and, for CBAM units, the (channel, spatial) gates."""
        y_bchw = self.conv1(self.bn1(x_bchw))
        y_bchw = self.bn3(self.conv2(self.prelu(self.bn2(y_bchw))))
        gates = None
        if self.se is not None:
            y_bchw = self.se(y_bchw)
        if self.cbam is not None:
            y_bchw, gates = self.cbam(y_bchw)
        return y_bchw + (x_bchw if self.downsample is None else self.downsample(x_bchw)), gates


class IrUnit(IResUnit):
    """The unit of AdaFace and CVLface: as in an iResNet, but the shortcut is bare where the channels stay."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        attention: bool = False,
        wavelet: str | None = None,
        squeeze: bool = False,
    ) -> None:
        super().__init__(c_in, c_out, stride, attention=attention, wavelet=wavelet, squeeze=squeeze)
        if c_in == c_out and stride != 1:
            self.downsample = WaveDown(wavelet) if wavelet is not None else nn.MaxPool2d(1, stride)


class FaceXUnit(Unit):
    """The unit of FaceX-Zoo's ResNet-ir: no BN before the PReLU, and a bare sub-sampling shortcut where the
    channels stay.

    In a WaveResNet the shortcut's sub-sampling becomes the LL band too.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        *,
        attention: bool = False,
        wavelet: str | None = None,
        squeeze: bool = False,
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = conv(c_in, c_out, 3)
        self.prelu = PReLU(c_out)
        self.conv2 = conv(c_out, c_out, 3, stride, wavelet)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.se = SqueezeExcite(c_out) if squeeze else None
        self.downsample: nn.Module
        if c_in != c_out:
            self.downsample = nn.Sequential(conv(c_in, c_out, 1, stride, wavelet), nn.BatchNorm2d(c_out))
        elif wavelet is not None and stride == 2:
            self.downsample = WaveDown(wavelet)
        else:
            self.downsample = nn.MaxPool2d(1, stride)

    def attend(self, x_bchw: Tensor) -> tuple[Tensor, Gates | None]:
        """Return the output; there are no gates."""
        y_bchw = self.bn3(self.conv2(self.prelu(self.conv1(self.bn1(x_bchw)))))
        if self.se is not None:
            y_bchw = self.se(y_bchw)
        return y_bchw + self.downsample(x_bchw), None


@dataclass(frozen=True)
class IResLayout:
    """What an iResNet is built from.

    Attributes:
        units: units of the four stages.
        width: channels of the stem; the stages have 1, 2, 4 and 8 times as many.
        emb_dim: embedding size D.
        strides: stride of the first unit of each stage (see :func:`btnet_strides`).
        stem_stride: 1 as published, 2 for the tiny presets.
        tail: ``fc`` (BN, flatten, FC, BN with fixed scale) or ``gap`` (global average pool, D = 8 * width).
        attention: a CBAM in every unit.
        wavelet: a pywavelets name turns every stride of two into a WaveConv (WaveResNet); None keeps strides.
        final_px: side of the last map: 7 at 112x112 as published.
        dropout: probability before the FC.
        unit: makes the units; :class:`FaceXUnit` gives FaceX-Zoo's ResNet-ir, :class:`IrUnit` AdaFace's IR.
        squeeze: squeeze and excitation in every unit (the IR-SE of the field).

    """

    units: tuple[int, ...] = (3, 4, 14, 3)
    width: int = 64
    emb_dim: int = 512
    strides: tuple[int, ...] = (2, 2, 2, 2)
    stem_stride: int = 1
    tail: Literal["fc", "gap"] = "fc"
    attention: bool = False
    wavelet: str | None = None
    final_px: int = 7
    dropout: float = 0.0
    unit: type[IResUnit] | type[FaceXUnit] = IResUnit
    squeeze: bool = False

    def stage(self, c_in: int, index: int) -> nn.Sequential:
        """Return stage ``index`` (from 0) on ``c_in`` channels; only its first unit strides."""
        c_out = self.width * 2**index

        def unit(c_from: int, stride: int) -> Unit:
            return self.unit(
                c_from,
                c_out,
                stride,
                attention=self.attention,
                wavelet=self.wavelet,
                squeeze=self.squeeze,
            )

        rest = (unit(c_out, 1) for _ in range(self.units[index] - 1))
        return nn.Sequential(unit(c_in, self.strides[index]), *rest)


class IResNet(Staged):
    """iResNet on [-1, 1] RGB."""

    def __init__(self, layout: IResLayout) -> None:
        super().__init__()
        width = layout.width
        self.conv1 = conv(3, width, 3, layout.stem_stride, layout.wavelet)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = PReLU(width)
        c_in = width
        for index, name in enumerate(STAGES):
            setattr(self, name, layout.stage(c_in, index))
            c_in = width * 2**index
        self.tail, self.stem_stride, self.final_px = layout.tail, layout.stem_stride, layout.final_px
        self.emb_dim = layout.emb_dim if layout.tail == "fc" else c_in
        self.tap_channels = tuple(width * 2**index for index in range(len(STAGES)))
        if layout.tail == "fc":
            self.add_tail(c_in, layout.final_px, layout.emb_dim, layout.dropout)
            self.features.weight.requires_grad_(False)  # a scale before an L2 normalization has no meaning
        self._init_weights()

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.1)  # arcface_torch; BN follows, so the scale is free

    def stem(self, x_bchw: Tensor) -> Tensor:
        """Return the stem's map."""
        y_bchw: Tensor = self.prelu(self.bn1(self.conv1(x_bchw)))
        return y_bchw

    def embed_map(self, x_bchw: Tensor) -> Tensor:
        """Return the embedding [B, D] of the last stage's map."""
        if self.tail == "gap":
            return x_bchw.mean((2, 3)).float()
        return self.run_tail(x_bchw)


def btnet_strides(resolution_px: int, size_px: int = 112) -> tuple[int, ...]:
    """Return the stage strides of an iResNet whose input is ``resolution_px`` instead of ``size_px`` (BTNet,
    section 3.2).

    Stage i keeps its stride of two only where the map is still larger than the trunk's map at that stage, so
    that every resolution ends in the same final map: 112 -> (2, 2, 2, 2), 28 -> (1, 1, 2, 2), 7 -> (1, 1, 1,
    1).
    """
    return tuple(2 if resolution_px % (size_px // 2**stage) == 0 else 1 for stage in range(4))
