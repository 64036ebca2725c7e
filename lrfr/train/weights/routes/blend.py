"""Several recognizers as one: the weighted sum of their unit embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError
from lrfr.core.image import ImageU8


def unit(rows_nd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows_nd, axis=1, keepdims=True)
    return np.asarray(rows_nd / np.maximum(lengths, 1e-12), np.float32)


class Blend:
    """Embed every face with all members: ``e = sum_k w_k e_k / |e_k|``.

    Its length says how much they agree: 1 where all say the same.

    Args:
        members: pairs of weight and embedder; the weights are above 0, and their sum is 1.

    """

    def __init__(self, members: Sequence[tuple[float, Embedder]]) -> None:
        self.members = list(members)

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return embeddings float32 [N, D].

        Raises:
            SpecError: the members embed into spaces of different sizes.

        """
        rows = [embed(images) for _, embed in self.members]
        if len({one.shape[1] for one in rows}) > 1:
            sizes = ", ".join(str(one.shape[1]) for one in rows)
            raise SpecError(f"members of embedding sizes {sizes} have no mean")
        parts = (np.float32(w) * unit(one) for (w, _), one in zip(self.members, rows, strict=True))
        return np.asarray(sum(parts), np.float32)

    def routes(self, height: int, width: int) -> list[tuple[int, Any]]:
        """Return input side and network of every member for such an image: a foreign file's embedder for
        itself, None where it is not known.
        """
        return [one for _, embed in self.members for one in routes_of(embed, height, width)]


def routes_of(embed: Any, height: int, width: int) -> list[tuple[int, Any]]:
    """Return input side and network of everything that an embedder runs for such an image."""
    if hasattr(embed, "routes"):
        found: list[tuple[int, Any]] = embed.routes(height, width)
        return found
    if not hasattr(embed, "route"):
        return [(getattr(embed, "size_px", max(height, width)), None)]
    side_px, net = embed.route(height, width)
    return [(side_px, net if isinstance(net, nn.Module) else None)]
