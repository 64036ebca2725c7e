"""How long things take on this machine, and how much training fits into some minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass

# seconds a piece on one core, from runs on two-core machines; only what trains is measured
ALIGN_S, PAIR_S, START_S = 0.03, 0.006, 4.0
_BATCH = 16


@dataclass(frozen=True)
class Pace:
    """Seconds that a face takes in a network of some backbone, all cores at work.

    Attributes:
        train_s: forward and backward.
        embed_s: forward alone.

    """

    train_s: float
    embed_s: float


def pace_of(backbone: str) -> Pace:
    """Measure a backbone on this machine for about a second."""
    import torch

    from lrfr.train.backbones.table import build_backbone

    net = build_backbone(backbone)
    faces = torch.zeros(_BATCH, 3, 112, 112).contiguous(memory_format=torch.channels_last)
    net.train()

    def train() -> None:
        net(faces).square().mean().backward()

    def embed() -> None:
        with torch.no_grad():
            net(faces)

    train_s = _seconds(train) / _BATCH
    net.eval()
    return Pace(train_s, _seconds(embed) / _BATCH)


def _seconds(work: object) -> float:
    """Return the shortest of some runs, after one that warms up."""
    assert callable(work)
    work()
    best, end = float("inf"), time.monotonic() + 0.5
    while True:
        start = time.monotonic()
        work()
        best = min(best, time.monotonic() - start)
        if time.monotonic() > end:
            return best


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        steps: of the optimizer.
        batch_size: faces a step.
        seconds: that it may take.

    """

    steps: int
    batch_size: int
    seconds: float


def length_of(faces: int, seconds: float, face_s: float, most_passes: int, most_batch: int = 64) -> Length:
    """Return a training that fits into some seconds: at least 20 steps, at most some passes."""
    batch_size = next((size for size in (64, 32, 16, 8, 4) if size <= most_batch and 2 * size <= faces), 2)
    most = max(20, most_passes * faces // batch_size)
    steps = max(20, min(most, int(seconds / (batch_size * face_s))))
    return Length(steps, batch_size, steps * batch_size * face_s)
