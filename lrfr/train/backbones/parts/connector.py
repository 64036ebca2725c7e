"""Layers between a student and a teacher of other widths: the hints of FitNets (Romero et al., ICLR 2015),
and of the released code of F-SKD.

They learn with the student and embed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lrfr.train.backbones.features import Features
from lrfr.train.backbones.nets import STAGES

Kind = Literal["none", "linear", "conv1x1"]


class Connector(nn.Module):
    """Bring a student's features to a teacher's widths.

    Args:
        kind: ``linear``: every map goes through a 1x1 convolution with bias; ``conv1x1``: through one without
            and a batch norm. An embedding of another width goes through a linear layer in both.
        student: the student's backbone.
        teacher: the teacher's; one without maps has its embedding connected alone.
        maps: how many of the maps, from the first on, are compared.
        embeds: whether embeddings are compared.

    """

    def __init__(
        self, kind: Kind, student: Any, teacher: Any, *, maps: int = len(STAGES), embeds: bool = True
    ) -> None:
        super().__init__()
        pairs = zip(student.tap_channels, getattr(teacher, "tap_channels", ()), strict=False)
        self.maps = nn.ModuleList(_layer(kind, c_in, c_out) for c_in, c_out in islice(pairs, maps))
        width = int(teacher.emb_dim)
        self.embedding: nn.Module | None = None
        if embeds and student.emb_dim != width:
            self.embedding = nn.Linear(student.emb_dim, width, bias=False)

    def forward(self, student: Features, teacher: Features) -> Features:
        """Return the student's features in the teacher's widths, maps resized where their sides differ."""
        maps = tuple(self._maps(student.taps, teacher.taps))
        embedding = student.embedding_bd
        if self.embedding is not None:
            embedding = self.embedding(embedding.float())
        return replace(student, taps=maps, embedding_bd=embedding)

    def _maps(self, taps: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
        found = []
        for layer, tap, other in zip(self.maps, taps, wanted, strict=False):
            y_bchw = layer(tap)
            if y_bchw.shape[2:] != other.shape[2:]:
                y_bchw = F.interpolate(y_bchw, other.shape[2:], mode="bilinear", align_corners=False)
            found.append(y_bchw)
        return found


def _layer(kind: Kind, c_in: int, c_out: int) -> nn.Module:
    if kind == "linear":
        return nn.Conv2d(c_in, c_out, 1)
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
