"""Hold the simulator against theory and draw the result: what ``lrfr degrade turbulence-check`` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.turbulence.bank_training import psf_errors
from lrfr.degrade.turbulence.banks import shipped_bank
from lrfr.degrade.turbulence.check.observed import (
    differential_tilt,
    draw_shifts_px,
    mean_mtf,
    milliseconds_per_image,
    psnr_db,
    random_normals,
)
from lrfr.degrade.turbulence.field import Geometry, field_model
from lrfr.degrade.turbulence.physics.angular import Correlation
from lrfr.degrade.turbulence.physics.theory import (
    diffraction_mtf,
    long_exposure_mtf,
    missing_modes_factor,
    short_exposure_mtf,
    tilt_std_px,
)
from lrfr.degrade.turbulence.simulator import simulator

Progress = Callable[..., None]

STRIP = (0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 10.0)
SEPARATIONS_PX = (1, 4, 8, 16, 32, 64)
EXPOSURES = (1.0, 2.0, 4.0, 10.0)
SPEEDS = (2.0, 4.0, 10.0)
_STEPS = 5


def run_check(
    images: list[ImageU8], seed: int = 0, count: int = 2000, on_progress: Progress | None = None
) -> dict[str, Any]:
    """Measure everything on square pictures of one size; returns plain numbers, and pictures under
    ``pictures``.

    Args:
        images: uint8 [S, S, 3]; the first is shown, all are timed.
        seed: seed of all draws.
        count: tilt fields and PSFs drawn for the statistics.
        on_progress: called as ``on_progress(done, total)``.

    """
    geometry = Geometry(*images[0].shape[:2])
    parts: list[tuple[str, Callable[[], Any]]] = [
        ("tilt", lambda: check_tilt(geometry, count, seed)),
        ("mtf", lambda: check_mtf(count, seed)),
        ("psf", lambda: {name: _bank_errors(name, seed) for name in ("weak", "mid", "strong")}),
        ("pictures", lambda: _pictures(images[0], geometry, seed)),
        ("speed", lambda: _speed(images, geometry)),
    ]
    result: dict[str, Any] = {"seed": seed, "count": count, "size_px": list(images[0].shape[:2])}
    for done, (name, measure) in enumerate(parts, 1):
        result[name] = measure()
        if on_progress:
            on_progress(done, _STEPS)
    return result


def check_tilt(geometry: Geometry, count: int, seed: int) -> dict[str, Any]:
    """Compare the shifts' standard deviation and differential variances at D/r0 = 1 with theory."""
    shifts = draw_shifts_px(field_model(geometry), count, seed)
    theory = tilt_std_px(1.0, geometry.pixels_per_airy)
    correlation = Correlation(1, geometry.outer_scale_over_aperture)
    zero = correlation.tilt(np.zeros(1))[0][0]
    rows = []
    for separation in (s for s in SEPARATIONS_PX if s < min(geometry.height_px, geometry.width_px)):
        along, across = correlation.tilt(np.array([separation * geometry.pixel_over_aperture]))
        expected = [float(2 * theory**2 * (1 - value[0] / zero)) for value in (along, across)]
        rows.append(
            {
                "separation_px": separation,
                "measured_px2": list(differential_tilt(shifts, separation)),
                "theory_px2": expected,
            }
        )
    return {
        "std_px": {"x": float(shifts[:, 0].std()), "y": float(shifts[:, 1].std()), "theory": theory},
        "differential": rows,
    }


def check_mtf(count: int, seed: int) -> list[dict[str, float | list[float]]]:
    """Compare long- and short-exposure transfer functions, missing modes accounted for, with Fried's."""
    curves: list[dict[str, float | list[float]]] = []
    for strength in EXPOSURES:
        nu, long = mean_mtf(strength, count, seed)
        _, short = mean_mtf(strength, count, seed, with_tilt=False)
        scale = diffraction_mtf(nu) * missing_modes_factor(36, strength)
        curves.append(
            {
                "D_over_r0": strength,
                "nu": nu.tolist(),
                "long": (scale * long).tolist(),
                "long_theory": long_exposure_mtf(nu, strength).tolist(),
                "short": (scale * short).tolist(),
                "short_theory": short_exposure_mtf(nu, strength).tolist(),
            }
        )
    return curves


def _bank_errors(name: str, seed: int) -> dict[str, dict[str, float] | None]:
    bank = shipped_bank(name)
    learned = psf_errors(bank, seed + 1, exact=False) if bank.network else None
    return {"basis": psf_errors(bank, seed + 1, exact=True), "learned": learned}


def _pictures(image: ImageU8, geometry: Geometry, seed: int) -> dict[str, Any]:
    learned, exact = simulator(geometry), simulator(geometry, "exact")
    noise = random_normals(learned, 1, seed)
    strips: dict[str, list[ImageU8]] = {}
    for calibration, strengths in (("physical", STRIP), ("p2s2021", tuple(min(x, 3.1) for x in STRIP))):
        strips[calibration] = [learned.run([image], [x], [calibration], noise)[0] for x in strengths]
    agreement = {}
    for x in (0.5, 1.0, 2.0, 4.0):
        agreement[f"{x:g}"] = psnr_db(
            learned.run([image], [x], ["physical"], noise)[0], exact.run([image], [x], ["physical"], noise)[0]
        )
    return {
        "original": image,
        "strips": strips,
        "psnr_learned_exact_db": agreement,
        "psf_samples": _psf_samples(seed),
    }


def _psf_samples(seed: int) -> dict[str, list[NDArray[np.float32]]]:
    """Return a few PSFs, exact and learned, as [exact [K, K], learned [K, K]] per strength."""
    samples = {}
    for name, strength in (("weak", 0.5), ("weak", 1.0), ("weak", 2.0), ("mid", 4.0)):
        bank = shipped_bank(name)
        field = field_model(Geometry(112, 112))
        normals = torch.randn(field.num_normals(36), generator=torch.Generator().manual_seed(seed))
        phases = field.zernike(normals, 36)[:1] * strength ** (5 / 6)
        learned = bank.basis.reconstruct(bank.coefficients(phases, exact=False))[0]
        samples[f"{strength:g}"] = [bank.psf(phases)[0].numpy(), learned.numpy()]
    return samples


def _speed(images: list[ImageU8], geometry: Geometry) -> dict[str, dict[str, float]]:
    return {
        mode: {
            f"{x:g}": milliseconds_per_image(simulator(geometry, mode), images, x, repeats=3) for x in SPEEDS
        }
        for mode in ("learned", "exact")
    }
