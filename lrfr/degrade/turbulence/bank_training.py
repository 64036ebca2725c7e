"""Train a bank from nothing but the physics: draw phases, compute their exact PSFs, fit the basis, fit the
network, measure.

Three exact symmetries multiply the data by eight: the sign of all even-order coefficients does not change the
PSF, and mirroring the pupil along either axis mirrors the PSF, which only changes signs of coefficients on
both sides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrfr.core.machine import torch_threads
from lrfr.degrade.turbulence.banks import save_bank
from lrfr.degrade.turbulence.p2s import BANKS, Bank, BankSpec, Network
from lrfr.degrade.turbulence.physics.basis import Basis, fit_basis
from lrfr.degrade.turbulence.physics.psf import draw_phases
from lrfr.degrade.turbulence.physics.zernike import noll_nm

Progress = Callable[..., None]

STRENGTH_BINS = ((0.25, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 10.0))
_BASIS_PSFS = 12_000
# one factor for all modes: a mode matters as much as it has radians, and scaling each to unit variance would
# hide that
_INPUT_SCALE = 2.0
_TEST_PSFS = 4_000


@dataclass(frozen=True)
class Schedule:
    """Optimizer settings (AdamW, one cycle)."""

    steps: int
    batch: int = 512
    psfs: int = 120_000
    peak_rate: float = 6e-3
    weight_decay: float = 1e-5


# of the shipped banks; the strong one has no network
SCHEDULES = {"weak": Schedule(9000), "mid": Schedule(9000), "strong": Schedule(0)}


def train_bank(
    name: str, spec: BankSpec, seed: int, schedule: Schedule, on_progress: Progress | None = None
) -> tuple[Bank, Mapping[str, object]]:
    """Fit a bank and return it with its card (settings and errors per D/r0 bin).

    Deterministic: the same seed on the same kind of machine gives the same file.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch_threads(1):
        _, phases = draw_phases(spec.psf, _BASIS_PSFS, spec.weakest_drawn, spec.max_strength, generator)
        basis = fit_basis(spec.psf(phases), spec.num_vectors, spec.num_pairs)
        network = _fit_network(spec, basis, schedule, generator, on_progress) if spec.hidden else None
        bank = Bank(name, spec, basis, network)
        card = _card(bank, seed, schedule if spec.hidden else None)
    return bank, card


def make_bank(
    name: str, folder: Path, *, seed: int, steps: int | None = None, on_progress: Progress | None = None
) -> tuple[Path, Mapping[str, object]]:
    """Train a bank of the shipped settings into ``folder``; return its file and its card.

    Args:
        name: ``weak``, ``mid`` or ``strong``.
        folder: of the bank.
        seed: of all draws.
        steps: of the optimizer; None takes the shipped bank's.
        on_progress: called as ``on_progress(done, total)``.

    """
    schedule = replace(SCHEDULES[name], steps=steps or SCHEDULES[name].steps)
    made, card = train_bank(name, BANKS[name], seed, schedule, on_progress)
    return save_bank(made, card, folder), card


def error_rows(cards: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Return the D/r0 bins of some banks' cards, and a row of errors for each bank and kind of PSF."""
    bins = list(dict.fromkeys(b for card in cards.values() for b in card["relative_l2_basis"]))
    rows = [
        [f"{name}, {kind}", *((card[f"relative_l2_{kind}"] or {}).get(b) for b in bins)]
        for name, card in cards.items()
        for kind in ("basis", "learned")
    ]
    return bins, rows


def psf_errors(bank: Bank, seed: int, exact: bool, count: int = _TEST_PSFS) -> dict[str, float]:
    """Return the mean relative L2 error of the PSF per D/r0 bin against the exact PSF, on phases that
    training never saw.
    """
    generator = torch.Generator().manual_seed(seed)
    errors = {}
    for low, high in STRENGTH_BINS:
        if bank.spec.min_strength <= low and high <= bank.spec.max_strength:
            _, phases = draw_phases(bank.psf, count // 4, low, high, generator)
            truth = bank.psf(phases)
            wrong = bank.basis.reconstruct(bank.coefficients(phases, exact)) - truth
            errors[f"{low:g}-{high:g}"] = float(
                (wrong.square().sum((1, 2)) / truth.square().sum((1, 2))).sqrt().mean()
            )
    return errors


def _card(bank: Bank, seed: int, schedule: Schedule | None) -> Mapping[str, object]:
    return {
        "bank": bank.name,
        "command": f"lrfr train p2s --bank {bank.name} --seed {seed}",
        "d_over_r0": [bank.spec.min_strength, bank.spec.max_strength],
        "num_modes": bank.psf.num_modes,
        "window_px": bank.psf.window_px,
        "pupil_samples": bank.psf.pupil_samples,
        "pixels_per_airy": bank.psf.pixels_per_airy,
        "num_vectors": bank.basis.vectors_kv.shape[1],
        "num_pairs": len(bank.basis.pairs_m2),
        "schedule": vars(schedule) if schedule else None,
        "relative_l2_basis": psf_errors(bank, seed + 1, exact=True),
        "relative_l2_learned": psf_errors(bank, seed + 1, exact=False) if bank.network else None,
    }


def _signs(spec: BankSpec, basis: Basis) -> tuple[Tensor, Tensor]:
    """Return the eight symmetries as signs of the inputs [8, J - 3] and of the outputs [8, M]."""
    modes = [noll_nm(j) for j in range(4, spec.psf.num_modes + 1)]
    even_order = torch.tensor([1.0 if n % 2 else -1.0 for n, _ in modes])
    mirror_x = torch.tensor(
        [-1.0 if (m % 2 == 1 if m > 0 else m % 2 == 0 and m < 0) else 1.0 for _, m in modes]
    )
    mirror_y = torch.tensor([-1.0 if m < 0 else 1.0 for _, m in modes])
    along_y, along_x = basis.parity[basis.pairs_m2[:, 0]], basis.parity[basis.pairs_m2[:, 1]]
    inputs, outputs = [], []
    for e in (0, 1):
        for x in (0, 1):
            for y in (0, 1):
                inputs.append(even_order**e * mirror_x**x * mirror_y**y)
                outputs.append(along_x**x * along_y**y)
    return torch.stack(inputs), torch.stack(outputs)


def _fit_network(
    spec: BankSpec, basis: Basis, schedule: Schedule, generator: torch.Generator, on_progress: Progress | None
) -> Network:
    inputs, targets, weights = _training_set(spec, basis, schedule.psfs, generator)
    parameters = _initial([inputs.shape[1], *spec.hidden, targets.shape[1]], generator)
    optimizer = torch.optim.AdamW(parameters, lr=schedule.peak_rate, weight_decay=schedule.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.peak_rate, schedule.steps, pct_start=0.1)
    signs_in, signs_out = _signs(spec, basis)
    metric = _metric(basis)
    for step in range(schedule.steps):
        rows = torch.randint(len(inputs), (schedule.batch,), generator=generator)
        flip = torch.randint(len(signs_in), (schedule.batch,), generator=generator)
        # a mirrored phase gives the mirrored PSF: eight times the data for nothing
        predicted = _layers(parameters)(inputs[rows] * signs_in[flip] * _INPUT_SCALE)
        loss = (
            ((predicted - targets[rows] * signs_out[flip]) @ metric).square().sum(1) * weights[rows]
        ).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        cycle.step()
        if on_progress and step % 100 == 99:
            on_progress(step + 1, schedule.steps, loss=loss.item())
    # the input scale goes into the first layer, the outputs' mean is already in the last bias
    first = parameters[0].detach() * _INPUT_SCALE
    return Network(
        [
            (first, parameters[1].detach()),
            *((w.detach(), b.detach()) for w, b in zip(parameters[2::2], parameters[3::2], strict=True)),
        ]
    )


def _metric(basis: Basis) -> Tensor:
    """Return the factor that turns coefficient errors into errors of the filtered PSF and of the PSF itself,
    float32 [M, M].

    Coefficients belong to filtered PSFs of orthonormal vectors, hence the identity; the Gram matrix adds the
    plain PSF.
    """
    gram = basis.vectors_kv.T @ basis.vectors_kv
    y, x = basis.pairs_m2.T
    factor: Tensor = torch.linalg.cholesky(torch.eye(len(y)) + gram[y][:, y] * gram[x][:, x])
    return factor


def _layers(parameters: Sequence[Tensor]) -> Network:
    return Network(list(zip(parameters[0::2], parameters[1::2], strict=True)))


def _initial(widths: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    parameters = []
    for fan_in, fan_out in itertools.pairwise(widths):
        parameters.append(
            (torch.randn(fan_out, fan_in, generator=generator) / math.sqrt(fan_in)).requires_grad_()
        )
        parameters.append(torch.zeros(fan_out).requires_grad_())
    return parameters


def _training_set(
    spec: BankSpec, basis: Basis, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return phases [N, J - 3], basis coefficients [N, M] and loss weights 1 / ||h||^2 [N], made in slices to
    bound memory.
    """
    parts = []
    for size in [8192] * (count // 8192) + [count % 8192]:
        _, phases = draw_phases(spec.psf, size, spec.weakest_drawn, spec.max_strength, generator)
        psfs = spec.psf(phases)
        parts.append((phases, basis.project(psfs), 1 / psfs.square().sum((1, 2))))
    phases, coefficients, weights = (torch.cat(column) for column in zip(*parts, strict=True))
    return phases, coefficients, weights
