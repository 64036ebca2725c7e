"""Quality of faces from what a recognizer makes of them; higher is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def norms(embedding_nd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the L2 norm of each raw embedding: networks trained by a margin make it small for poor faces
    (MagFace, Meng et al., CVPR 2021; AdaFace, Kim et al., CVPR 2022).
    """
    return np.asarray(np.linalg.norm(embedding_nd.astype(np.float64), axis=1), np.float32)


def agreement(embedding_mnd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how near a face's embeddings under m dropout masks lie to each other, in (0, 1]: ``2 sigmoid(-2
    / m^2 sum_(i<j) |x_i - x_j|)`` of unit vectors (SER-FIQ, Terhörst et al., CVPR 2020, Eq. 2).
    """
    passes, count, _ = embedding_mnd.shape
    # in double: the root of a difference of near equals would lose half the digits
    rows = embedding_mnd.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=2, keepdims=True), np.finfo(np.float32).tiny)
    found = np.empty(count, np.float32)
    for face in range(count):
        own = rows[:, face]
        apart = np.sqrt(np.maximum(2 - 2 * own @ own.T, 0))
        np.fill_diagonal(apart, 0)  # rounding
        found[face] = 2 / (1 + np.exp(apart.sum() / passes**2))
    return found
