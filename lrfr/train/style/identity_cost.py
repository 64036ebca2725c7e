"""What a generator does to identity: distances at each magnitude, and the figures that a training is accepted
by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.magnitude import IdentityCurve, IdentityRange
from lrfr.train.losses.draws import normals
from lrfr.train.style.recognizer import Recognizer, identity_distance

NORMS = tuple(0.5 * step for step in range(13))


def directions(seed: int, count: int, n_basis: int) -> Tensor:
    """Return ``count`` unit vectors, uniform on the sphere, float32 ``[count, n_basis]``."""
    return torch.nn.functional.normalize(normals(seed, "measure", (count, n_basis)))


@torch.no_grad()
def distances(
    generator: StyleGenerator, recognizer: Recognizer, x_bchw: Tensor, norms: Sequence[float], seed: int
) -> NDArray[np.float64]:
    """Return 1 - cos between each face and its styled version, ``[len(norms), B]``; each face keeps one
    random direction and noise.
    """
    noise_shape = (len(x_bchw), *generator.noise_shape(*x_bchw.shape[2:]))
    unit_bk = directions(seed, len(x_bchw), generator.layout.n_basis).to(x_bchw.device)
    noise_bnhw = normals(seed, "measure-noise", noise_shape).to(x_bchw.device)
    clean_bd = recognizer.embed(x_bchw)
    faces = (generator(x_bchw, norm * unit_bk, noise_bnhw) for norm in norms)
    found = [identity_distance(clean_bd, recognizer.embed(face)) for face in faces]
    return np.stack([distance_b.double().cpu().numpy() for distance_b in found])


def measure_curve(
    generator: StyleGenerator, recognizer: Recognizer, x_bchw: Tensor, seed: int
) -> IdentityCurve:
    """Return the mean identity distance at the norms 0, 0.5, ... 6."""
    means = distances(generator, recognizer, x_bchw, NORMS, seed).mean(1)
    return IdentityCurve(NORMS, tuple(float(mean) for mean in means))


@dataclass(frozen=True)
class Acceptance:
    """Figures of a trained generator.

    Attributes:
        orthonormality: max|U U^T - I|.
        anchor: mean|x - G(x, 0)|, pixels in [-1, 1].
        spearman: rank correlation of magnitude (0 to 6) and identity distance of one face, mean over faces.
        spearman_pooled: the same over all faces and magnitudes at once, which differences between faces
            lower.
        calibration: mean over magnitudes 1 to 6 of |mean over faces of 1 - cos, minus C(m)|, with calibrated
            norms.
        calibration_per_face: mean|1 - cos - C(m)| over faces and magnitudes.

    """

    orthonormality: float
    anchor: float
    spearman: float
    spearman_pooled: float
    calibration: float
    calibration_per_face: float


@torch.no_grad()
def accept(
    generator: StyleGenerator,
    recognizer: Recognizer,
    x_bchw: Tensor,
    *,
    curve: IdentityCurve,
    wanted: IdentityRange,
    seed: int,
) -> Acceptance:
    """Measure a generator on faces ``x_bchw`` that its training and its curve have not seen."""
    from scipy.stats import spearmanr

    magnitudes = np.arange(7.0)
    found = distances(generator, recognizer, x_bchw, [curve.norm_for(m, wanted) for m in magnitudes], seed)
    asked = np.broadcast_to(magnitudes[:, None], found.shape)
    rebuilt = generator(x_bchw, x_bchw.new_zeros(len(x_bchw), generator.layout.n_basis))
    return Acceptance(
        generator.subspace.orthonormality_error(),
        float((x_bchw - rebuilt).abs().mean()),
        float(np.mean([spearmanr(magnitudes, face).statistic for face in found.T])),
        float(spearmanr(asked.ravel(), found.ravel()).statistic),
        float(np.abs(found[1:].mean(1) - wanted.target(magnitudes[1:])).mean()),
        float(np.abs(found[1:] - wanted.target(asked[1:])).mean()),
    )
