"""What imported weights need before they are one of our networks: input, eps, statistics, dead weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrfr.train.backbones.mobilefacenet import ConvBlock, MobileFaceNet
from lrfr.train.backbones.parts.input_shift import first_convolution, shift_input
from lrfr.train.weights.foreign.input_contract import InputContract

_VANISHED = 1e-20


@torch.no_grad()
def take_input(net: nn.Module, contract: InputContract) -> None:
    """Let a network that expects ``contract`` take [-1, 1] RGB: exactly, whatever its convolution pads."""
    _, convolution = first_convolution(net)
    if contract.channels == "bgr":
        convolution.weight.copy_(convolution.weight.flip(1))
    mean_c, std_c = torch.tensor(contract.mean), torch.tensor(contract.std)
    # (127.5 (x + 1) - mean) / std = scale (x + shift)
    scale_c, shift_c = 127.5 / std_c, (127.5 - mean_c) / 127.5
    same = len(set(contract.mean)) == len(set(contract.std)) == 1
    if isinstance(net, MobileFaceNet) and same:
        net.input_scale.fill_(float(scale_c[0]))
        net.input_shift.fill_(float(scale_c[0] * shift_c[0]))
        return
    convolution.weight.mul_(scale_c.view(1, 3, 1, 1))
    if isinstance(net, MobileFaceNet):
        net.input_shift = shift_c.view(3, 1, 1)
    elif bool((shift_c != 0).any()):
        shift_input(net, shift_c)


@torch.no_grad()
def absorb_eps(net: nn.Module, eps: float) -> None:
    """Let batch norms divide by what they were trained with: their own eps is another."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            module.running_var.add_(eps - module.eps)


@torch.no_grad()
def drop_vanished(net: nn.Module) -> None:
    """Set to zero what weight decay has left of dead weights: below 1e-20 they change no output, and make a
    CPU several times slower.
    """
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor[tensor.abs() < _VANISHED] = 0


@torch.no_grad()
def settle_norms(net: nn.Module, norms: Sequence[str], faces_bchw: Tensor) -> None:
    """Give norms that were folded the statistics of real activations; the function stays the same.

    With mean m and variance v measured on faces, scale g sqrt(v + eps) and shift g m + b give the same
    function in evaluation mode as gain g and offset b, and nearly the same in training mode, which is what
    makes the net trainable.
    """
    wanted: list[Any] = [net.get_submodule(name) for name in norms]
    seen: dict[Any, Tensor] = {}
    hooks = [
        norm.register_forward_pre_hook(lambda norm, inputs: seen.__setitem__(norm, inputs[0]))
        for norm in wanted
    ]
    for block in (module for module in net.modules() if isinstance(module, ConvBlock)):
        # a block in evaluation mode calls neither its convolution nor its norm
        hooks.append(
            block.register_forward_pre_hook(
                lambda block, inputs: seen.__setitem__(block.layers[1], block.layers[0](inputs[0]))
            )
        )
    net.eval()(faces_bchw)
    for hook in hooks:
        hook.remove()
    for norm in wanted:
        axes = [axis for axis in range(seen[norm].ndim) if axis != 1]
        mean, variance = seen[norm].mean(axes), seen[norm].var(axes, unbiased=False)
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        offset = norm.bias - norm.running_mean * gain
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(offset + gain * mean)
