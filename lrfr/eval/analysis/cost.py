"""What a model costs: parameters, multiply-adds and measured throughput per input size (BTNet Fig. 5 and
6).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfr.eval.embeddings import Embed

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


def throughput(embed: Embed, size_px: int, *, batch: int = 32, seconds: float = 1.0) -> float:
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


def measure(embed: Embed, sizes_px: list[int]) -> list[dict[str, Any]]:
    """Return one row per size: throughput of any embedder; parameters and multiply-adds where it says which
    network runs.

    An embedder says so by ``route(height, width) -> (input side, network)``, as those of checkpoints do.
    """
    rows: list[dict[str, Any]] = []
    for size in sizes_px:
        row: dict[str, Any] = {"size_px": size, "images_per_s": throughput(embed, size)}
        route = getattr(embed, "route", None)
        if route is not None:
            side, net = route(size, size)
            if hasattr(net, "parameters"):
                row |= {"input_px": side, "parameters": count_parameters(net), "macs": count_macs(net, side)}
        rows.append(row)
    return rows
