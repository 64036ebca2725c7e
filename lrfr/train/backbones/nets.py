"""The two module types that methods deal in: a backbone, and the named networks of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from lrfr.train.backbones.features import Features
from lrfr.train.backbones.parts.input_shift import without_shifts

STAGES = ("layer1", "layer2", "layer3", "layer4")


class Backbone(nn.Module):
    """A recognizer on [-1, 1] RGB: float [B, 3, H, W] to raw embeddings [B, emb_dim].

    Attributes:
        revision: raised by hand when the same weights embed otherwise, or fresh weights are drawn otherwise.
        emb_dim: embedding size D.
        tap_channels: channels of the maps after the four stages.

    """

    revision: ClassVar[int] = 1

    emb_dim: int
    tap_channels: tuple[int, ...]

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES) -> Features:
        """Return the embedding, the maps named in ``taps`` (``layer2``, ``layer3.0``) in network order, and
        any attention.
        """
        raise NotImplementedError

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Return raw embeddings [B, D]."""
        return self.run(x_bchw, ()).embedding_bd

    def fitted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return another network's weights as this one can start from: a network that has one for inputs of
        other sides changes what depends on them.
        """
        return dict(state)

    def plain_state(self) -> dict[str, Tensor]:
        """Return the weights for programs that know the architecture and nothing of ours."""
        return without_shifts(self.state_dict())


class Nets(nn.ModuleDict):
    """The networks of a run by name: ``net`` (the recognizer), ``head``, and what else a method has."""

    def __getitem__(self, key: str) -> Any:
        """Return one network (typed Any: a method knows its own networks)."""
        return super().__getitem__(key)
