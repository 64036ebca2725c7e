"""The frozen identity network: any recognizer that lrfr trained, kept differentiable with respect to its
input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from lrfr.train.backbones.net_embedder import Embedder
from lrfr.train.checkpoint import digest_of
from lrfr.train.weights.load_nets import load_embedder


@dataclass(frozen=True)
class Recognizer:
    """An identity network.

    Attributes:
        embed: float32 faces ``[B, 3, H, W]`` in [-1, 1] to embeddings ``[B, D]``; gradients reach the faces,
            never the weights.
        digest: sha256 of its checkpoint's manifest.

    """

    embed: Callable[[Tensor], Tensor]
    digest: str


def load_recognizer(path: Path, size_px: int, device: str = "cpu") -> Recognizer:
    """Load the recognizer of a checkpoint or run for faces of side ``size_px`` on ``device``.

    Raises:
        DataError: no checkpoint there, or damaged.

    """
    embedder = load_embedder(path, device)
    assert isinstance(embedder, Embedder)
    embedder.nets.eval().requires_grad_(False)
    side, net = embedder.route(size_px, size_px)

    def embed(x_bchw: Tensor) -> Tensor:
        if x_bchw.shape[-1] != side:
            x_bchw = F.interpolate(
                x_bchw, (side, side), mode="bicubic", antialias=True, align_corners=False
            ).clamp(-1, 1)
        return net(x_bchw)

    return Recognizer(embed, digest_of(path))


def identity_distance(first_bd: Tensor, second_bd: Tensor) -> Tensor:
    """Return 1 - cos of each pair of rows, in [0, 2]."""
    return 1 - F.cosine_similarity(first_bd, second_bd)
