"""What a model costs: parameters, multiply-adds and measured throughput per input size (BTNet Fig. 5 and
6).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.eval.results import Cost

if TYPE_CHECKING:
    from torch import nn

_MAX_BATCHES = 100


class Counts(NamedTuple):
    """What one network is made of, and what one face costs it."""

    parameters: int
    macs: int
    bytes: int


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


def count_bytes(net: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers; shared ones count once."""
    tensors = {tensor.data_ptr(): tensor for tensor in (*net.parameters(), *net.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


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
    """Return one row per size: throughput of any embedder; parameters, multiply-adds and bytes where it says
    which network runs.

    An embedder says so by ``route(height, width) -> (input side, network)``, as those of checkpoints do, or
    by ``routes(height, width)``, a list of those, whose costs are added. What is no network of torch says
    itself what it is made of: ``counted() -> (parameters, multiply-adds, bytes)``, or None.
    """
    return tuple(_one(embed, size) for size in sizes_px)


def _one(embed: Embedder, size: int) -> Cost:
    speed = throughput(embed, size)
    found = _networks(embed, size)
    counts = [_counts(net, side) for side, net in found]
    known = [one for one in counts if one is not None]
    if not found or len(known) < len(found):
        return Cost(size, speed)
    own = {id(net): one for (_, net), one in zip(found, known, strict=True)}.values()
    return Cost(
        size,
        speed,
        max(side for side, _ in found),
        sum(one.parameters for one in own),
        sum(one.macs for one in known),
        sum(one.bytes for one in own),
    )


def _counts(net: Any, side_px: int) -> Counts | None:
    counted = getattr(net, "counted", None)
    if counted is not None:
        said = counted()
        return None if said is None else Counts(*said)
    if not hasattr(net, "parameters"):
        return None
    return Counts(count_parameters(net), count_macs(net, side_px), count_bytes(net))


def _networks(embed: Embedder, size: int) -> list[tuple[int, Any]]:
    """Return input side and network of everything that a face of this size goes through."""
    for name in ("routes", "route"):
        ask = getattr(embed, name, None)
        if ask is not None:
            answer = ask(size, size)
            return list(answer) if name == "routes" else [answer]
    return []
