"""A foreign model as a frozen network of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.core.errors import SpecError
from lrfr.train.backbones.features import Features
from lrfr.train.backbones.nets import STAGES, Nets
from lrfr.train.weights.foreign.runtimes.onnx_file import in_calls
from lrfr.train.weights.foreign.subject import ForeignEmbedder

# calls of one size, so that an embedding does not depend on which faces are beside it
CALL_FACES = 16


class ForeignNet(nn.Module):
    """Embeddings of a foreign model; it has no parameters, and gives no maps.

    Args:
        embed: the model, which runs on the CPU.

    Attributes:
        emb_dim: embedding size D.

    Raises:
        DataError: it gives no embeddings.

    """

    tap_channels: tuple[int, ...] = ()

    def __init__(self, embed: ForeignEmbedder) -> None:
        super().__init__()
        self.embed = embed
        side = embed.size_px
        self.emb_dim = embed([np.full((side, side, 3), 127, np.uint8)]).shape[1]

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return raw embeddings float32 [B, D] of faces in [-1, 1]."""
        side, contract = self.embed.size_px, self.embed.contract
        faces = x_bchw.detach().float().cpu()
        if faces.shape[-2:] != (side, side):
            faces = F.interpolate(faces, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        pixels = ((faces + 1) * 127.5).permute(0, 2, 3, 1).numpy()
        call = self.embed.forward.batch or CALL_FACES
        rows = in_calls(self.embed.forward, contract.apply(pixels), call)
        return torch.from_numpy(rows).to(x_bchw.device)

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding.

        Raises:
            SpecError: maps are asked for.

        """
        if taps:
            raise SpecError(
                f"a foreign file gives embeddings alone ({self.emb_dim} wide), and this method compares maps "
                f"({', '.join(taps)})",
                file=str(self.embed.source.path),
                hint="--set distance=embedding, rkd or logexp; or make a network of it: lrfr import-weights",
            )
        return Features(self.forward(x_bchw))


def foreign_nets(embed: ForeignEmbedder) -> Nets:
    """Return the networks of a foreign file: ``net`` alone."""
    return Nets({"net": ForeignNet(embed)})
