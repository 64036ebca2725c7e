"""The linear style subspace: ten style coordinates become one latent vector, and their norm is the
magnitude.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StyleSubspace(nn.Module):
    """Affine map ``w = z U + mu`` whose rows of ``U`` are kept orthonormal, so that ``|w - mu| = |z|``.

    Args:
        n_basis: number of style coordinates (10 in the paper).
        latent: length of ``w``; must be at least ``n_basis``.

    Source: Liu, Kim, Jain, Liu, ECCV 2022, section 3.1.

    """

    def __init__(self, n_basis: int, latent: int) -> None:
        super().__init__()
        if n_basis > latent:
            raise ValueError(f"{n_basis} orthonormal directions do not fit in {latent} dimensions")
        self.basis_kl = nn.Parameter(nn.init.orthogonal_(torch.empty(n_basis, latent)))
        self.mean_l = nn.Parameter(torch.zeros(latent))

    def forward(self, z_bk: Tensor) -> Tensor:
        """Map style coordinates ``[B, n_basis]`` to latents ``[B, latent]``."""
        return z_bk @ self.basis_kl + self.mean_l

    def orthonormality_error(self) -> float:
        """Return max|U U^T - I|."""
        basis_kl = self.basis_kl.detach()
        unit_kk = torch.eye(len(basis_kl), device=basis_kl.device)
        return float((basis_kl @ basis_kl.T - unit_kk).abs().max())

    @torch.no_grad()
    def retract(self) -> None:
        """Replace U by the orthonormal frame of its QR decomposition, each row keeping its sense."""
        q_lk, r_kk = torch.linalg.qr(self.basis_kl.double().T)
        self.basis_kl.copy_((q_lk * r_kk.diagonal().sign()).T)
