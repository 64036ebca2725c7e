"""What a model costs: parameters, multiply-adds and measured throughput per input size (BTNet Fig. 5 and
6).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.eval.results import Cost

if TYPE_CHECKING:
    from torch import nn

_MAX_BATCHES = 100


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable and frozen parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, size_px: int) -> int:
    """Return the multiply-adds of one forward pass of a [1, 3, size, size] input (half of torch's FLOP
    count).
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    training = net.training
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net.eval()(torch.zeros(1, 3, size_px, size_px))
    net.train(training)
    return int(counter.get_total_flops()) // 2


def throughput(embed: Embedder, size_px: int, *, batch: int = 32, seconds: float = 1.0) -> float:
    """Return images per second of ``embed`` on gray noise at ``size_px``: the median of batches over about
    ``seconds``.
    """
    noise = np.random.default_rng(0).integers(0, 256, (batch, size_px, size_px, 3), dtype=np.uint8)
    images = list(noise)
    embed(images)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < _MAX_BATCHES):
        start = time.perf_counter()
        embed(images)
        times.append(time.perf_counter() - start)
    return batch / float(np.median(times))


def measure(embed: Embedder, sizes_px: Sequence[int]) -> tuple[Cost, ...]:
    """Return one row per size: throughput of any embedder; parameters and multiply-adds where it says which
    network runs.

    An embedder says so by ``route(height, width) -> (input side, network)``, as those of checkpoints do.
    """
    return tuple(_one(embed, size) for size in sizes_px)


def _one(embed: Embedder, size_px: int) -> Cost:
    speed = throughput(embed, size_px)
    route = getattr(embed, "route", None)
    if route is None:
        return Cost(size_px, speed)
    side, net = route(size_px, size_px)
    if not hasattr(net, "parameters"):
        return Cost(size_px, speed)
    return Cost(size_px, speed, side, count_parameters(net), count_macs(net, side))
