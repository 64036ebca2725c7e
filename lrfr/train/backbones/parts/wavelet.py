"""Wavelet down-sampling: the low-pass half of a 2-D DWT in place of strides and pooling (WaveResNet)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def low_pass_taps(wavelet: str) -> Tensor:
    """Return the decomposition low-pass filter of a pywavelets ``wavelet`` as float32 [L], reversed for
    correlation.
    """
    return torch.tensor(pywt.Wavelet(wavelet).dec_lo[::-1], dtype=torch.float32)


@lru_cache(maxsize=32)
def low_pass(wavelet: str) -> tuple[float, ...]:
    """Return :func:`low_pass_taps` as numbers of the host, which no device is asked for."""
    return tuple(np.array(pywt.Wavelet(wavelet).dec_lo[::-1], np.float32).tolist())


def dwt_ll(x_bchw: Tensor, taps: Tensor | tuple[float, ...]) -> Tensor:
    """Return the LL band of one DWT level, [B, C, ceil(H/2), ceil(W/2)].

    ``ptwt.wavedec2(mode="periodic")`` has the same numbers in a larger map, but from the odd samples where a
    filter has 4, 8, ... taps, computes all four bands, takes as long, and refuses maps that are smaller than
    the filter (8 px under db10); so this is written out.

    The border is periodic, which keeps exactly half the samples for every wavelet; it equals ``pywt.dwt2``
    with ``mode="periodization"`` (an odd side repeats its last row first). The Haar LL band is twice the 2x2
    mean.

    Args:
        x_bchw: float [B, C, H, W].
        taps: low-pass filter [L] from :func:`low_pass`, or from :func:`low_pass_taps`.

    """
    if isinstance(taps, Tensor):
        taps = tuple(taps.tolist())
    height, width = x_bchw.shape[-2:]
    if height % 2 or width % 2:
        x_bchw = F.pad(x_bchw, (0, width % 2, 0, height % 2), mode="replicate")
    if len(taps) == 2 and taps[0] == taps[1]:
        return F.avg_pool2d(x_bchw, 2) * (2.0 * taps[0] ** 2 * 2.0)
    return _filter(_filter(x_bchw, taps, -1), taps, -2)


def _filter(x_bchw: Tensor, taps: tuple[float, ...], axis: int) -> Tensor:
    """Filter and halve one axis: output k is the sum over i of taps[i] * x[2k + i - (L/2 - 1)], indices
    modulo the side.
    """
    length, side = len(taps), x_bchw.shape[axis]
    start = torch.arange(0, side, 2, device=x_bchw.device) - (length // 2 - 1)
    result = torch.zeros_like(x_bchw.index_select(axis, start % side))
    for offset in range(length):
        result = result + taps[offset] * x_bchw.index_select(axis, (start + offset) % side)
    return result


class WaveDown(nn.Module):
    """Parameter-free down-sampling by two: the LL band (replaces ``MaxPool2d`` with stride 2)."""

    def __init__(self, wavelet: str = "haar") -> None:
        super().__init__()
        self.taps = low_pass(wavelet)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return the LL band of ``x_bchw``."""
        return dwt_ll(x_bchw, self.taps)


class WaveConv2d(nn.Conv2d):
    """A strided convolution as WaveConv: LL band first, then the same convolution at stride 1.

    It has the weights, names and parameter count of the ``nn.Conv2d`` that it replaces.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        padding: int,
        bias: bool,
        wavelet: str = "haar",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=1, padding=padding, bias=bias)
        self.down = WaveDown(wavelet)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Convolve the LL band of ``x_bchw``."""
        return super().forward(self.down(x_bchw))
