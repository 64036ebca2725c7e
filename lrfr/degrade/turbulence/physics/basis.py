"""Separable PSF bases: un-centered two-dimensional PCA with only the strongest products kept.

A PSF h (K x K) is written as sum c_ab b_a b_b^T over pairs of one set of K-vectors: turbulence is isotropic,
so rows and columns share it and every vector is exactly even or odd. The mean is inside the span
(un-centered), and coefficients are scaled so that each PSF sums to one: a constant picture stays constant.
Two things make few terms enough:

* Products of two late vectors carry next to nothing: a bank keeps the ``num_pairs`` strongest, about half of
  all.
* What counts is the error in the picture, and pictures have little power at high frequencies. The analysis
  therefore runs on PSFs filtered with gain (1 + f / f0)^(-1/2) along both axes; compared with plain PCA this
  wins 3 to 7 dB in the picture.

Source: Zhang and Zhou, "(2D)2PCA", Neurocomputing 69 (2005), with the covariance averaged over the PSF's
mirror images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor

_CORNER = 0.1  # f0 in cycles per pixel: about where a face crop's spectrum begins to fall


@dataclass(frozen=True)
class Basis:
    """A set of separable basis functions.

    Attributes:
        vectors_kv: vectors, float32 [K, V], each even or odd, strongest first, orthonormal once filtered.
        pairs_m2: the products kept, int64 [M, 2]: the vector along y and the one along x, sorted by the
            latter.

    """

    vectors_kv: Tensor
    pairs_m2: Tensor

    @property
    def window_px(self) -> int:
        """Side K of the PSF window."""
        return self.vectors_kv.shape[0]

    @cached_property
    def analysis_kv(self) -> Tensor:
        """Dual vectors, float32 [K, V]: their products with a PSF are its coefficients."""
        emphasis = _emphasis(self.window_px)
        return emphasis @ emphasis @ self.vectors_kv

    @cached_property
    def parity(self) -> Tensor:
        """Return +1 for an even vector, -1 for an odd one, float32 [V]."""
        return torch.sign((self.vectors_kv * self.vectors_kv.flip(0)).sum(0))

    @cached_property
    def pair_sums(self) -> Tensor:
        """Sum of each product over the window, float32 [M]."""
        total = self.vectors_kv.sum(0)
        return total[self.pairs_m2[:, 0]] * total[self.pairs_m2[:, 1]]

    def unit_sum(self, coefficients_nm: Tensor) -> Tensor:
        """Scale coefficients so that every PSF sums to one."""
        return coefficients_nm / (coefficients_nm @ self.pair_sums)[:, None]

    def project(self, psfs_nkk: Tensor) -> Tensor:
        """Return the coefficients of PSFs, float32 [N, M], scaled to unit sum."""
        full = self.analysis_kv.T @ (psfs_nkk @ self.analysis_kv)
        return self.unit_sum(full[:, self.pairs_m2[:, 0], self.pairs_m2[:, 1]])

    def reconstruct(self, coefficients_nm: Tensor) -> Tensor:
        """Return the PSFs float32 [N, K, K] of coefficients [N, M]."""
        size = self.vectors_kv.shape[1]
        full = coefficients_nm.new_zeros(len(coefficients_nm), size, size)
        full[:, self.pairs_m2[:, 0], self.pairs_m2[:, 1]] = coefficients_nm
        return self.vectors_kv @ full @ self.vectors_kv.T


def fit_basis(psfs_nkk: Tensor, num_vectors: int, num_pairs: int) -> Basis:
    """Fit a basis to PSFs float32 [N, K, K], each weighted by its inverse energy (the error that counts is
    relative).

    ``num_pairs`` is a lower bound: mirror pairs (a, b) and (b, a) are kept together.
    """
    emphasis = _emphasis(psfs_nkk.shape[1])
    filtered = emphasis @ (psfs_nkk / psfs_nkk.square().sum((1, 2), keepdim=True).sqrt()) @ emphasis
    rows = filtered.reshape(-1, filtered.shape[2]).double()
    columns = filtered.transpose(1, 2).reshape(-1, filtered.shape[1]).double()
    moment = rows.T @ rows + columns.T @ columns
    # mirror images count alike, which makes every vector even or odd
    moment = moment + moment.flip(0, 1)
    _, vectors = torch.linalg.eigh(moment)
    vectors_kv = _clean_parity(vectors.flip(1)[:, :num_vectors]).float()
    strength = (vectors_kv.T @ (filtered @ vectors_kv)).square().mean(0)
    strength = strength + strength.T
    threshold = strength.flatten().sort(descending=True).values[num_pairs - 1]
    # the kept set is symmetric, so swapping the columns only sorts it by the horizontal vector, as the
    # renderer goes through it
    return Basis(
        torch.linalg.solve(emphasis, vectors_kv), (strength >= threshold).nonzero().flip(1).contiguous()
    )


def _emphasis(size: int) -> Tensor:
    """Return the symmetric filter with gain (1 + f / f0)^(-1/2), by cosine transform, float32 [size,
    size].
    """
    transform = dct(np.eye(size), axis=0, norm="ortho")
    gain = (1 + np.arange(size) / (2 * size) / _CORNER) ** -0.5
    return torch.from_numpy(transform.T @ (gain[:, None] * transform)).float()


def _clean_parity(vectors_kv: Tensor) -> Tensor:
    """Make each vector exactly even or odd, and its largest entry positive, so that a refit gives the same
    signs.
    """
    mirrored = vectors_kv.flip(0)
    parity = torch.sign((vectors_kv * mirrored).sum(0))
    vectors_kv = (vectors_kv + parity * mirrored) / 2
    # of an odd vector's two equal peaks the first is meant; rounding must not decide
    half = vectors_kv[: vectors_kv.shape[0] // 2 + 1]
    peak = half.gather(0, half.abs().argmax(0, keepdim=True))
    unit: Tensor = vectors_kv * torch.sign(peak) / torch.linalg.vector_norm(vectors_kv, dim=0)
    return unit
