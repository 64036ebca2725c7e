"""Phase to space: a small network from Zernike coefficients to the PSF's basis coefficients, and the banks
that carry it.

A bank is what one strength range needs: optical sampling, basis, and the network (the strong bank has none:
beyond D/r0 = 4 a network of this size is tens of percent off, while the exact matrix DFT costs milliseconds).
Idea: Mao, Chimitt, Chan, "Accelerating Atmospheric Turbulence Simulation via Learned Phase-to-Space
Transform", ICCV 2021. ``bank_training.py`` makes banks, ``banks.py`` reads and writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrfr.degrade.turbulence.physics.basis import Basis
from lrfr.degrade.turbulence.physics.psf import PsfModel
from lrfr.degrade.turbulence.strength import MAX_BLUR_D_OVER_R0


@dataclass(frozen=True)
class BankSpec:
    """How one bank is built; it is made for strengths ``min_strength`` .. ``max_strength`` (D/r0 of the
    blur).
    """

    min_strength: float
    max_strength: float
    psf: PsfModel
    num_vectors: int
    num_pairs: int
    hidden: tuple[int, ...]  # widths of the hidden layers; empty: exact PSFs only

    @property
    def weakest_drawn(self) -> float:
        """Where the log-uniform strengths of the training begin: a little below the range; under 0.1 the PSF
        is Airy's.
        """
        return max(0.1, 0.8 * self.min_strength)


BANKS: dict[str, BankSpec] = {
    "weak": BankSpec(0.0, 2.0, PsfModel(window_px=21), num_vectors=8, num_pairs=40, hidden=(128, 128, 128)),
    "mid": BankSpec(2.0, 4.0, PsfModel(window_px=25), num_vectors=10, num_pairs=64, hidden=(128, 128, 128)),
    "strong": BankSpec(
        4.0,
        MAX_BLUR_D_OVER_R0,
        PsfModel(num_modes=66, window_px=33, pupil_samples=48),
        num_vectors=16,
        num_pairs=196,
        hidden=(),
    ),
}


@dataclass(frozen=True)
class Network:
    """A perceptron with SiLU: ``layers`` are (weight [out, in], bias [out]) in float32."""

    layers: Sequence[tuple[Tensor, Tensor]]

    def __call__(self, coefficients_nz: Tensor) -> Tensor:
        """Return basis coefficients [N, M] (not yet of unit sum) of Zernike coefficients [N, J - 3] in
        radians.
        """
        value = coefficients_nz
        for weight, bias in self.layers[:-1]:
            value = torch.nn.functional.silu(torch.addmm(bias, value, weight.T))
        weight, bias = self.layers[-1]
        return torch.addmm(bias, value, weight.T)


@dataclass(frozen=True, eq=False)
class Bank:
    """One strength range, ready to use: its :class:`PsfModel`, :class:`Basis` and, for learned banks,
    :class:`Network`.
    """

    name: str
    spec: BankSpec
    basis: Basis
    network: Network | None

    @property
    def psf(self) -> PsfModel:
        """The exact model that the bank stands for."""
        return self.spec.psf

    def coefficients(self, zernike_nz: Tensor, exact: bool) -> Tensor:
        """Return unit-sum basis coefficients float32 [N, M] of Zernike coefficients [N, J - 3]; ``exact``
        bypasses the network.
        """
        if exact or self.network is None:
            return self.basis.project(self.psf(zernike_nz))
        return self.basis.unit_sum(self.network(zernike_nz))

    def diffraction(self, exact: bool) -> Tensor:
        """Return the coefficients at zero phase, float32 [1, M].

        In the bank that reaches down to zero strength they are the network's own, so that they cancel without
        turbulence.
        """
        return self.coefficients(torch.zeros(1, self.psf.num_modes - 3), exact or self.spec.min_strength > 0)
