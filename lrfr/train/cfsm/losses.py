"""Losses of the style generator: adversarial, identity with a target that grows with the magnitude, reconstruction at z = 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lrfr.degrade.stylegan.calibration import IdentityRange
from lrfr.degrade.stylegan.generator import StyleGenerator
from lrfr.train.cfsm.discriminator import Discriminator, least_squares

Recogniser = Callable[[Tensor], Tensor]
"""Float32 faces ``[B, 3, H, W]`` in [-1, 1] to embeddings ``[B, D]``, differentiable."""


def identity_distance(first_bd: Tensor, second_bd: Tensor) -> Tensor:
    """Return 1 - cos of each pair of rows, in [0, 2]."""
    return 1 - F.cosine_similarity(first_bd, second_bd)


@dataclass(frozen=True)
class GeneratorLosses:
    """The two kinds of generator step; they alternate.

    Attributes:
        identity_range: target distance C(a) of a face styled with magnitude a.
        identity_weight: lambda_id (8, 5 and 2 in the published runs).
        orthonormality_weight: weight of mean((U U^T - I)^2) (1 in the paper).

    Source: Liu et al., ECCV 2022, section 3.2.

    """

    identity_range: IdentityRange
    identity_weight: float
    orthonormality_weight: float

    def style_step(self, nets: tuple[StyleGenerator, Discriminator], recogniser: Recogniser, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Return the losses of styled fakes: deceive the critics at the identity distance that the magnitude asks for."""
        generator, discriminator = nets
        fake = generator(x, z)
        adversarial = least_squares(discriminator(fake), 1.0)
        with torch.no_grad():
            clean = recogniser(x)
        gap = identity_distance(clean, recogniser(fake)) - self.identity_range.target(z.norm(dim=1))
        parts = {"adversarial": adversarial, "identity": gap.square().mean(), "orthonormality": generator.subspace.penalty()}
        total = adversarial + self.identity_weight * parts["identity"] + self.orthonormality_weight * parts["orthonormality"]
        return {"total": total, **parts, "fake": fake.detach()}

    def anchor_step(self, generator: StyleGenerator, x: Tensor, z_zero: Tensor) -> dict[str, Tensor]:
        """Return the losses of the reconstruction with z = 0: mean|x - G(x, 0)|."""
        fake = generator(x, z_zero)
        parts = {"anchor": (x - fake).abs().mean(), "orthonormality": generator.subspace.penalty()}
        return {"total": parts["anchor"] + self.orthonormality_weight * parts["orthonormality"], **parts, "fake": fake.detach()}
