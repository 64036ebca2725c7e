"""The PReLU of the backbones against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lrfr.train.backbones.parts.prelu import PReLU


@pytest.mark.parametrize("shape", [(3, 5), (2, 5, 4, 3)])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs, ours = nn.PReLU(shape[1]).double(), PReLU(shape[1]).double()
    with torch.no_grad():
        theirs.weight.uniform_(-1, 1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    x.view(-1)[0] = 0.0
    grad = torch.randn(shape, dtype=torch.float64)
    answers = []
    for layer in (theirs, ours):
        given = x.clone().requires_grad_()
        y = layer(given)
        y.backward(grad)
        answers.append((y, given.grad, layer.weight.grad))
    for found, expected in zip(answers[1], answers[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_finite_differences() -> None:
    torch.manual_seed(1)
    layer = PReLU(4).double()
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)), (x, layer.weight)
    )


def test_autocast_keeps_the_slope_in_float32() -> None:
    layer = PReLU(4)
    x = torch.randn(8, 4, 56, 56, dtype=torch.bfloat16, requires_grad=True)
    layer(x).float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(
        layer.weight.grad, x.detach().float().clamp(max=0).sum((0, 2, 3)), rtol=2**-8, atol=0
    )
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
