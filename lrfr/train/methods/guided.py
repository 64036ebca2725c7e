"""Guided mode: a share of the training faces is restyled in the direction that the recognizer likes least.

The style coordinates o0 ~ N(0, I) of a face take one sign step up the gradient of the recognition loss,
inside a box around o0. The recognizer is in evaluation mode for that inner step: the published code let
batch-norm statistics follow the synthetic faces. Nothing of the step reaches the weights' gradients, and the
generator never learns.

Source: Liu, Kim, Jain, Liu, ECCV 2022, section 3.3 (k = 1, alpha = eps = 0.314, a quarter of the batch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import find_weights, read_weights
from lrfr.degrade.style.weight_files import cached_weights
from lrfr.train.heads.exchange import alone
from lrfr.train.heads.margins import rows_cost_nothing
from lrfr.train.losses.draws import normals, onto

LossOf = Callable[[Tensor, Tensor], Tensor]
"""Faces ``[B, 3, H, W]`` and labels ``[B]`` to the scalar recognition loss."""


@dataclass(frozen=True)
class GuidedSpec:
    """Settings of the guided mode.

    Attributes:
        weights: shipped name or file of style weights; empty switches the mode off.
        share: part of each batch that is restyled.
        alpha: size of a sign step.
        eps: half the side of the box around the random start.
        steps: sign steps; 0 gives unguided random styles.
        seed: seed of the random starts and of which faces are restyled.

    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weights: str = ""
    share: float = 0.25
    alpha: float = 0.314
    eps: float = 0.314
    steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work."""
        if not (0 <= self.share <= 1 and self.alpha >= 0 and self.eps >= 0 and self.steps >= 0):
            raise ValueError("guided: share must be in [0, 1], alpha, eps and steps must not be negative")


def restyle(
    spec: GuidedSpec, nets: nn.Module, loss_of: LossOf, clean_bchw: Tensor, label_b: Tensor, *, step: int
) -> tuple[Tensor, Tensor]:
    """Choose a share of a batch and restyle it.

    Args:
        spec: settings; the mode is on.
        nets: every network that ``loss_of`` runs; held in evaluation mode during the inner step.
        loss_of: the recognition loss.
        clean_bchw: float faces in [-1, 1].
        label_b: their labels; rows with a negative label are never restyled.
        step: number of the training step, which keys the random numbers.

    Returns:
        The chosen rows ``[R]`` and their restyled faces, float32 ``[R, 3, H, W]``.

    """
    rows = chosen_rows(spec, label_b, step)
    faces, labels = clean_bchw[rows].float(), label_b[rows]
    if not len(rows):
        return rows, faces
    device = clean_bchw.device
    generator = _generator(spec).to(device)
    start_bk = onto(normals(spec.seed, f"guided-{step}", (len(label_b), generator.layout.n_basis)), device)
    start_bk = start_bk[rows]
    shape = (len(rows), *generator.noise_shape(*faces.shape[2:]))
    noise_bnhw = onto(normals(spec.seed, f"guided-noise-{step}", shape), device)
    with evaluating(nets):
        z_bk = guided_styles(
            spec,
            lambda z_bk: generator(faces, z_bk, noise_bnhw),
            lambda x_bchw: loss_of(x_bchw, labels),
            start_bk,
        )
    # from the same noise as in the inner step, or the style would have been chosen for another face
    with torch.no_grad():
        styled = generator(faces, z_bk, noise_bnhw)
        # a batch with too few labels may have rows without one among the chosen; they stay as they are
        return rows, torch.where((labels >= 0)[:, None, None, None], styled, faces)


def guided_styles(
    spec: GuidedSpec,
    restyled: Callable[[Tensor], Tensor],
    loss_of: Callable[[Tensor], Tensor],
    start_bk: Tensor,
) -> Tensor:
    """Return coordinates ``[B, n_basis]`` whose ``restyled`` faces raise the loss: sign steps from
    ``start_bk``, clamped to its box.
    """
    z_bk = start_bk
    for _ in range(spec.steps):
        with torch.enable_grad():
            z_bk = z_bk.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss_of(restyled(z_bk)), z_bk)
        z_bk = z_bk + spec.alpha * gradient.sign()
        z_bk = torch.minimum(torch.maximum(z_bk, start_bk - spec.eps), start_bk + spec.eps)
    return z_bk.detach()


def chosen_rows(spec: GuidedSpec, label_b: Tensor, step: int) -> Tensor:
    """Return the rows to restyle: round(share * B) at random among those with a label; filled up with others
    on a GPU, which is not asked how many those are, and among processes, whose heads wait for each other.
    """
    order = normals(spec.seed, f"guided-rows-{step}", (len(label_b),)).argsort()
    count = round(spec.share * len(label_b))
    if rows_cost_nothing(label_b) and alone():
        return order[label_b[order] >= 0][:count].sort().values
    order = onto(order, label_b.device)
    labeled_first = order[(label_b[order] < 0).to(torch.uint8).argsort(stable=True)]
    return labeled_first[:count].sort().values


@contextmanager
def evaluating(nets: nn.Module) -> Iterator[None]:
    """Hold modules in evaluation mode; each gets its own mode back."""
    training = [module for module in nets.modules() if module.training]
    nets.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def weights_digest(spec: GuidedSpec) -> str:
    """Return the digest of the style weights that ``spec`` names."""
    return str(read_weights(find_weights(spec.weights)).digest)


def _generator(spec: GuidedSpec) -> StyleGenerator:
    """Return the generator of the weights, read again only where their file is another one."""
    found = find_weights(spec.weights).stat()
    return _read_once(spec.weights, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _read_once(weights: str, *stamp: int) -> StyleGenerator:
    return cached_weights(weights, str(read_weights(find_weights(weights)).digest)).generator
