"""Weights that expect another input than [-1, 1]: the scale goes into the first convolution, a shift stands
before it.

A shift cannot be folded into a padded convolution: the padding of the foreign net is zero in its own range.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

NAME = "input_shift"


class ShiftedConv2d(nn.Conv2d):
    """A convolution of ``x + input_shift``; it has the parameters of the ``nn.Conv2d`` that it replaces."""

    input_shift: Tensor

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> ShiftedConv2d:
        """Return a convolution with the same weights, not copied, and a shift of zero a channel."""
        with torch.device("meta"):
            made = cls(
                convolution.in_channels,
                convolution.out_channels,
                convolution.kernel_size,  # type: ignore[arg-type]
                convolution.stride,  # type: ignore[arg-type]
                convolution.padding,  # type: ignore[arg-type]
                groups=convolution.groups,
                bias=convolution.bias is not None,
            )
        made.weight, made.bias = convolution.weight, convolution.bias
        made.register_buffer(NAME, torch.zeros(convolution.in_channels, 1, 1, device=made.weight.device))
        return made

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Convolve the shifted picture; what is padded stays zero."""
        return super().forward(x_bchw + self.input_shift.to(x_bchw.dtype))


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    """Return name and module of the convolution that takes the picture."""
    return next(
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == 3
    )


def shift_input(net: nn.Module, shift_c: Tensor) -> None:
    """Let ``net`` see ``x + shift_c``, one number a channel."""
    name, convolution = first_convolution(net)
    shifted = ShiftedConv2d.of(convolution)
    shifted.input_shift.copy_(shift_c.view(-1, 1, 1))
    net.set_submodule(name, shifted)


def adopt_shifts(nets: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give ``nets`` the shifts that a file of weights has, so that it can be loaded."""
    for name, tensor in tensors.items():
        place, _, last = name.rpartition(".")
        if last == NAME:
            try:
                module = nets.get_submodule(place)
            except AttributeError:  # the caller compares all names, and says so
                continue
            own = getattr(module, NAME, None)
            if type(module) is nn.Conv2d and place:
                nets.set_submodule(place, ShiftedConv2d.of(module))
            elif isinstance(own, Tensor) and tensor.shape == (3, 1, 1) != own.shape:
                module.register_buffer(NAME, own.new_zeros(3, 1, 1))  # one number a channel, not for all


def input_mean(net: nn.Module) -> tuple[float, ...] | None:
    """Return what the weights without the shift expect to be subtracted from 0 .. 255 before the division by
    127.5, R, G, B; None where there is no shift.
    """
    found = next((m for m in net.modules() if isinstance(m, ShiftedConv2d)), None)
    if found is None:
        return None
    return tuple(round(float(127.5 - 127.5 * shift), 4) for shift in found.input_shift.flatten())


def without_shifts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without their shift: exact for an input of which :func:`input_mean` is subtracted."""
    return {
        name: tensor for name, tensor in state.items() if name.rpartition(".")[2] != NAME or "." not in name
    }
