"""PReLU whose gradient is made of whole-tensor operations on a CPU, where torch's own takes a third of a
MobileFaceNet's step.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEAST = 1e-38


class PReLU(nn.PReLU):
    """``torch.nn.PReLU`` with the same parameters, values and gradients (the slopes' up to the order of the
    sum).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x where it is positive, slope times x elsewhere; channels are dimension 1."""
        if self.training and x.device.type == "cpu":
            y: Tensor = _CpuPReLU.apply(x, self.weight)  # type: ignore[no-untyped-call]
            return y
        return super().forward(x)


class _CpuPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        shape = [1, -1] + [1] * (x.dim() - 2)
        # one pass: the gradient where x is below the smallest positive number, 0 elsewhere
        on_negatives = torch.ops.aten.hardtanh_backward(grad, x, -math.inf, _LEAST)
        grad_x = torch.addcmul(grad, on_negatives, (slope.to(x.dtype) - 1).view(shape))
        grad_slope = on_negatives.mul_(x).sum([axis for axis in range(x.dim()) if axis != 1]).to(slope.dtype)
        return grad_x, grad_slope
