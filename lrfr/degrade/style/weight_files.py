"""Weights of the style generator on disk: float32, or 8-bit integers with one scale for each output
channel.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lrfr.core.errors import DataError, SpecError
from lrfr.core.machine import own_draws
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import METADATA_KEY, Card, find_weights, payload_sha256, read_weights

_SCALE = ".scale"


@dataclass(frozen=True)
class StyleModel:
    """A generator ready for inference, its card and the sha256 of its file."""

    generator: StyleGenerator
    card: Card
    digest: str


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the 8-bit form of a state: matrices and kernels as int8 with a float32 scale a row, the rest
    (and U) as it is.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.ndim < 2 or name.startswith("subspace."):
            packed[name] = tensor
            continue
        scale = tensor.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
        packed[name] = (tensor / scale.view(-1, *[1] * (tensor.ndim - 1))).round().to(torch.int8)
        packed[name + _SCALE] = scale
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the float32 state of :func:`pack`'s form (a plain float32 state comes back as it is)."""
    state = {}
    for name, tensor in packed.items():
        if name.endswith(_SCALE):
            continue
        scale = packed.get(name + _SCALE)
        state[name] = tensor if scale is None else tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
    return state


def save_weights(path: Path, generator: StyleGenerator, card: Card, *, int8: bool = False) -> None:
    """Write a generator and its card as one safetensors file, whole or not at all."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    tensors = pack(state) if int8 else state
    text = card.to_json()
    note = json.dumps({"card": text, "sha256": payload_sha256(text, tensors)})
    data = save(tensors, metadata={METADATA_KEY: note})
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


def load_weights(name: str, digest: str | None = None) -> StyleModel:
    """Load a generator for inference.

    Args:
        name: name of shipped weights or path of a file.
        digest: sha256 that the file must have, or None.

    Raises:
        SpecError: no such file, or other weights than ``digest``.
        DataError: the file is damaged.

    """
    path = find_weights(name)
    file = read_weights(path)
    if digest is not None and file.digest != digest:
        raise SpecError(
            f"style weights '{name}' have sha256 {file.digest[:12]}, the spec wants {digest[:12]}",
            file=str(path),
        )
    try:
        tensors = load(file.data)
        if payload_sha256(file.card_json, tensors) != file.stated_sha256:
            raise ValueError("checksum")
        with own_draws():
            generator = StyleGenerator(file.card.layout)
        generator.load_state_dict(unpack(tensors))
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise DataError(f"style weights are damaged ({error})", file=str(path)) from None
    return StyleModel(generator.eval().requires_grad_(False), file.card, file.digest)


@lru_cache(maxsize=4)
def cached_weights(name: str, digest: str) -> StyleModel:
    """Return :func:`load_weights`, loaded once in each process."""
    return load_weights(name, digest)
