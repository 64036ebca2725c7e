"""The random numbers of a run, each a pure function of (seed, what, step): a resumed run draws what an
uninterrupted one does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.core.streams import stream

_KEY = b"cfsm"


def styles(seed: int, step: int, count: int, n_basis: int) -> Tensor:
    """Return style coordinates z ~ N(0, I), float32 ``[count, n_basis]``, of one step."""
    return normals(seed, f"style-{step}", (count, n_basis))


def normals(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return float32 standard normals of ``shape`` (inverse distribution function of 53-bit uniforms)."""
    uniform = stream(seed, _KEY, 0, name).generator().random(shape)
    normal: Tensor = torch.special.ndtri(torch.from_numpy(uniform).clamp_min(2.0**-54))
    return normal.float()


def onto(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on a device, without waiting for what the device has to do before."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def rows(seed: int, name: str, length: int, start: int, count: int) -> NDArray[np.int64]:
    """Return ``count`` rows of an endless walk through a set, from its place ``start`` on: a fresh
    permutation each epoch.
    """
    places = np.arange(start, start + count)
    orders = {
        epoch: _permutation(seed, f"{name}-{epoch}", length)
        for epoch in range(start // length, (start + count - 1) // length + 1)
    }
    return np.array([orders[place // length][place % length] for place in places.tolist()], dtype=np.int64)


@lru_cache(maxsize=8)
def _permutation(seed: int, name: str, length: int) -> NDArray[np.int64]:
    return np.argsort(stream(seed, _KEY, 0, name).generator().random(length), kind="stable")
