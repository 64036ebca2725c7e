"""Banks on disk and in use: the shipped ones, and bases fitted on the spot for other optical samplings."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from lrfr.core.errors import DataError
from lrfr.degrade.turbulence.p2s import BANKS, Bank, BankSpec, Network
from lrfr.degrade.turbulence.physics.basis import Basis, fit_basis
from lrfr.degrade.turbulence.physics.psf import draw_phases
from lrfr.degrade.turbulence.strength import MAX_BLUR_D_OVER_R0

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED_PIXELS_PER_AIRY = 2.0
_FIT_PSFS = 6000


def save_bank(bank: Bank, card: Mapping[str, object], folder: Path) -> Path:
    """Write ``<name>.safetensors`` (vectors in float32, network in float16) and its card ``<name>.json``;
    return the former.
    """
    tensors = {
        "vectors_kv": bank.basis.vectors_kv.contiguous(),
        "pairs_m2": bank.basis.pairs_m2.to(torch.uint8).contiguous(),
    }
    for number, (weight, bias) in enumerate(bank.network.layers if bank.network else ()):
        tensors[f"layer{number}.weight"] = weight.half().contiguous()
        tensors[f"layer{number}.bias"] = bias.half().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{bank.name}.safetensors"
    path.write_bytes(save(tensors))
    path.with_suffix(".json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", "utf-8")
    return path


def load_bank(name: str, folder: Path = WEIGHTS) -> Bank:
    """Read a bank written by :func:`save_bank`.

    Raises:
        DataError: the file is missing, damaged or of another shape than :data:`BANKS` says.

    """
    spec, path = BANKS[name], folder / f"{name}.safetensors"
    try:
        tensors = load_file(path)
        basis = Basis(tensors["vectors_kv"], tensors["pairs_m2"].long())
        count = len(spec.hidden) + 1 if spec.hidden else 0
        layers = [
            (tensors[f"layer{i}.weight"].float(), tensors[f"layer{i}.bias"].float()) for i in range(count)
        ]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(
            f"not a turbulence bank: {error}", file=str(path), hint=f"lrfr train p2s --bank {name}"
        ) from None
    if basis.vectors_kv.shape != (spec.psf.window_px, spec.num_vectors):
        raise DataError(
            "a bank of another shape than this version uses",
            file=str(path),
            hint=f"lrfr train p2s --bank {name}",
        )
    return Bank(name, spec, basis, Network(layers) if layers else None)


@functools.cache
def shipped_bank(name: str) -> Bank:
    """Return a bank that ships with the package, read once a process."""
    return load_bank(name)


def is_shipped_sampling(pixels_per_airy: float) -> bool:
    """Return whether the shipped banks are right for this q (within 1 %: less than the PSF errors of the
    network).
    """
    return abs(pixels_per_airy / SHIPPED_PIXELS_PER_AIRY - 1) <= 0.01


@functools.lru_cache(maxsize=8)
def fitted_bank(name: str, pixels_per_airy: float) -> Bank:
    """Return a bank without network for another optical sampling; its basis is fitted to exact PSFs drawn
    from a fixed seed.
    """
    spec = scaled_spec(BANKS[name], pixels_per_airy)
    _, phases = draw_phases(
        spec.psf, _FIT_PSFS, spec.weakest_drawn, spec.max_strength, torch.Generator().manual_seed(0)
    )
    return Bank(name, spec, fit_basis(spec.psf(phases), spec.num_vectors, spec.num_pairs), None)


def scaled_spec(spec: BankSpec, pixels_per_airy: float) -> BankSpec:
    """Return ``spec`` for another q: the window covers the same angle."""
    radius = max(2, round(spec.psf.window_px // 2 * pixels_per_airy / SHIPPED_PIXELS_PER_AIRY))
    psf = dataclasses.replace(spec.psf, window_px=2 * radius + 1, pixels_per_airy=pixels_per_airy)
    return dataclasses.replace(
        spec,
        psf=psf,
        num_vectors=min(spec.num_vectors, 2 * radius + 1),
        num_pairs=min(spec.num_pairs, (2 * radius + 1) ** 2),
    )


def bank_for(strength: float, pixels_per_airy: float) -> Bank:
    """Return the smallest bank that covers a blur of D/r0 = ``strength`` at q = ``pixels_per_airy``."""
    for name, spec in BANKS.items():
        if strength <= spec.max_strength:
            return (
                shipped_bank(name)
                if is_shipped_sampling(pixels_per_airy)
                else fitted_bank(name, pixels_per_airy)
            )
    raise ValueError(f"D/r0 of the blur is {strength:.4g}, the strongest bank covers {MAX_BLUR_D_OVER_R0:g}")
