"""A network that never learns: frozen, always in evaluation mode, never under the gradient tape."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn


class FrozenTeacher(nn.Module):
    """Wrap ``net`` so that no call can train it.

    ``train()`` leaves it in evaluation mode (batch-norm statistics and dropout stay still), its parameters
    ask for no gradient, and every call runs without recording. It is left out of checkpoints: a run names its
    teacher instead.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode whatever is asked."""
        return super().train(False)

    def forward(self, *inputs: Any) -> Any:
        """Call the network without recording."""
        with torch.no_grad():
            return self.net(*inputs)

    def run(self, *inputs: Any, **options: Any) -> Any:
        """Call the network's ``run`` without recording (embedding, taps and attention)."""
        with torch.no_grad():
            return self.net.run(*inputs, **options)
