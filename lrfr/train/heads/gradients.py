"""How much a face asks of a network: sums of gradient norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.heads.margins import Head

Compare = Callable[[Tensor, Tensor], Tensor]


def margin_gradient_sum(net: nn.Module, head: Head, faces_bchw: Tensor, label_b: Tensor) -> float:
    """Return the sum over the network's parameters of the L2 norm of the margin loss's gradient (MAug
    Fig. 3b), over one batch, in evaluation mode; nothing is trained.

    Args:
        net: a recognizer.
        head: its classifier.
        faces_bchw: float faces in [-1, 1], at the network's input side.
        label_b: their classes.

    """
    modes = [module for module in (*net.modules(), *head.modules()) if module.training]
    parameters = list(net.parameters())
    learns = [parameter.requires_grad for parameter in parameters]
    net.eval()
    head.eval()
    try:
        net.requires_grad_(True)
        with torch.enable_grad():
            loss = F.cross_entropy(head.logits(net(faces_bchw), label_b), label_b)
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
        return float(sum(gradient.double().norm() for gradient in _there(found)))
    finally:
        for module in modes:
            module.training = True
        for parameter, own in zip(parameters, learns, strict=True):
            parameter.requires_grad_(own)


def _there(gradients: Iterable[Tensor | None]) -> Iterable[Tensor]:
    return (gradient for gradient in gradients if gradient is not None)


@torch.no_grad()
def chosen_classes(net: nn.Module, head: Head, faces_bchw: Tensor) -> Tensor:
    """Return the class [B] that each face is nearest to; of a training face whom it shows, mostly."""
    return head.cosine(net.eval()(faces_bchw)).argmax(dim=1)


def slope(compare: Compare, errors_m: Tensor, others_d: Tensor) -> Tensor:
    """Return D times the derivative [M] of a distance of two vectors by the error of their first dimension.

    Args:
        compare: (student [1, D], teacher [1, D]) to a scalar.
        errors_m: errors of the first dimension.
        others_d: errors of the other D - 1.

    """
    found = []
    for error in errors_m.double():
        first = error.clone().requires_grad_(True)
        student = torch.cat([first[None], others_d.double()])[None]
        (gradient,) = torch.autograd.grad(compare(student, torch.zeros_like(student)), first)
        found.append(gradient * student.shape[1])
    return torch.stack(found)
