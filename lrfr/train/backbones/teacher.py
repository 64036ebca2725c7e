"""A network that never learns: frozen, always in evaluation mode, never under the gradient tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from lrfr.core.errors import SpecError
from lrfr.train.backbones.features import Features
from lrfr.train.backbones.nets import STAGES


class FrozenTeacher(nn.Module):
    """Wrap ``net`` so that no call can train it.

    ``train()`` leaves it in evaluation mode (batch-norm statistics and dropout stay still), its parameters
    ask for no gradient, and every call runs without recording. It is left out of checkpoints: a run names its
    teacher instead.

    Attributes:
        column: name of the column of a batch that holds its embeddings of the HR faces; None has them
            computed. Asked about other images than those it was told of, it computes.

    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net.requires_grad_(False)
        self.column: str | None = None
        self._known: tuple[Tensor, Tensor] | None = None
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever is asked."""
        return super().train(False)

    def remember(self, x_bchw: Tensor, columns: Any) -> None:
        """Take the embeddings of these images from the columns of their batch."""
        if self.column is not None:
            self._known = (x_bchw, columns[self.column])

    def forward(self, *inputs: Any) -> Any:
        """Call the network without recording."""
        known = self._recalled(inputs[0]) if len(inputs) == 1 else None
        if known is not None:
            return known
        with torch.no_grad():
            return self.net(*inputs)

    def run(self, x_bchw: Tensor, taps: Sequence[str] = STAGES, **options: Any) -> Any:
        """Call the network's ``run`` without recording (embedding, taps and attention).

        Raises:
            SpecError: maps are asked for where embeddings are kept.

        """
        known = self._recalled(x_bchw)
        if known is not None and not taps:
            return Features(known)
        if self.column is not None and taps:
            raise SpecError(
                f"kept embeddings of a teacher have no maps ({', '.join(taps)}), which this method compares",
                hint="--set distance=embedding, rkd or logexp; or --set cache_teacher=never",
            )
        with torch.no_grad():
            return self.net.run(x_bchw, taps, **options)

    def _recalled(self, x_bchw: Any) -> Tensor | None:
        if self._known is None or not isinstance(x_bchw, Tensor):
            return None
        images, embedding_bd = self._known
        same = x_bchw.data_ptr() == images.data_ptr() and x_bchw.shape == images.shape
        return embedding_bd if same else None


def teachers_of(nets: nn.ModuleDict, net: nn.Module) -> list[FrozenTeacher]:
    """Return what wraps ``net`` among the networks of a run."""
    return [one for one in nets.values() if isinstance(one, FrozenTeacher) and one.net is net]
