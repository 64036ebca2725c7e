"""Hold the simulator against theory and draw the result: what ``lrfr degrade turbulence-check`` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

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
from lrfr.degrade.turbulence.p2s import BANKS
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
# 3.1 times 3.183 is just below the strongest bank's end of 10
P2S_LARGEST = 3.1
SEPARATIONS_PX = (1, 4, 8, 16, 32, 64)
EXPOSURES = (1.0, 2.0, 4.0, 10.0)
SPEEDS = (2.0, 4.0, 10.0)
_STEPS = 5

Errors = Mapping[str, float]  # bin of D/r0 -> mean relative L2 error of the PSF


@dataclass(frozen=True)
class TiltAt:
    """Variance of the difference of two shifts that far apart, along and across the line between them."""

    separation_px: int
    measured_px2: tuple[float, float]
    theory_px2: tuple[float, float]


@dataclass(frozen=True)
class Tilt:
    """Shifts at D/r0 = 1: standard deviation in px (``x``, ``y``, ``theory``) and differential variances."""

    std_px: Mapping[str, float]
    differential: list[TiltAt]


@dataclass(frozen=True)
class Transfer:
    """Mean transfer functions at one strength over ``nu`` (in D / lambda), simulated and after Fried."""

    D_over_r0: float
    nu: list[float]
    long: list[float]
    long_theory: list[float]
    short: list[float]
    short_theory: list[float]

    def largest_gap(self, kind: str) -> float:
        """Return how far ``long`` or ``short`` is from theory at most, for nu from 0.1 to 0.8.

        Outside, the functions are near 1 or near 0 whatever the simulator does.
        """
        found, theory = getattr(self, kind), getattr(self, f"{kind}_theory")
        return float(
            max(abs(a - b) for nu, a, b in zip(self.nu, found, theory, strict=True) if 0.1 <= nu <= 0.8)
        )


@dataclass(frozen=True)
class PsfSample:
    """One PSF [K, K] of a bank: exact, and as pictures get it, by the network where the bank has one
    (``learned``), else in the basis alone.
    """

    bank: str
    learned: bool
    exact: NDArray[np.float32]
    rendered: NDArray[np.float32]


@dataclass(frozen=True)
class Pictures:
    """What the page shows.

    Attributes:
        original: uint8 [S, S, 3].
        strips: calibration -> the picture at each strength of :data:`STRIP`.
        psnr_learned_exact_db: D/r0 -> agreement of the picture by networks with that by exact PSFs.
        psf_samples: D/r0 -> one PSF.

    """

    original: ImageU8
    strips: Mapping[str, list[ImageU8]]
    psnr_learned_exact_db: Mapping[str, float]
    psf_samples: Mapping[str, PsfSample]


@dataclass(frozen=True)
class TurbulenceCheck:
    """All that was measured.

    Attributes:
        seed: seed of all draws.
        count: tilt fields and PSFs drawn for the statistics.
        size_px: height and width of the pictures.
        tilt: shifts against theory.
        mtf: transfer functions at each strength of :data:`EXPOSURES`.
        psf: bank -> errors of its basis and of its network (None where it has none).
        pictures: what the page shows.
        speed: ``learned`` or ``exact`` -> D/r0 -> CPU milliseconds a picture.

    """

    seed: int
    count: int
    size_px: list[int]
    tilt: Tilt
    mtf: list[Transfer]
    psf: Mapping[str, Mapping[str, Errors | None]]
    pictures: Pictures
    speed: Mapping[str, Mapping[str, float]]

    def numbers(self) -> dict[str, object]:
        """Return everything but the pictures, JSON-able; what the pictures were measured for is left to the
        caller.
        """
        return {
            "seed": self.seed,
            "count": self.count,
            "size_px": self.size_px,
            "tilt": asdict(self.tilt),
            "mtf": [asdict(curve) for curve in self.mtf],
            "psf": self.psf,
            "speed": self.speed,
        }


def run_check(
    images: list[ImageU8], seed: int = 0, count: int = 2000, on_progress: Progress | None = None
) -> TurbulenceCheck:
    """Measure everything on square pictures of one size.

    Args:
        images: uint8 [S, S, 3]; the first is shown, all are timed.
        seed: seed of all draws.
        count: tilt fields and PSFs drawn for the statistics.
        on_progress: called as ``on_progress(done, total)``.

    """
    geometry = Geometry(*images[0].shape[:2])

    def tell(done: int) -> None:
        if on_progress:
            on_progress(done, _STEPS)

    tilt = check_tilt(geometry, count, seed)
    tell(1)
    curves = check_mtf(count, seed)
    tell(2)
    errors = {name: _bank_errors(name, seed) for name in BANKS}
    tell(3)
    pictures = _pictures(images[0], geometry, seed)
    tell(4)
    speed = _speed(images, geometry)
    tell(5)
    size = list(images[0].shape[:2])
    return TurbulenceCheck(seed, count, size, tilt, curves, errors, pictures, speed)


def check_tilt(geometry: Geometry, count: int, seed: int) -> Tilt:
    """Compare the shifts' standard deviation and differential variances at D/r0 = 1 with theory."""
    shifts = draw_shifts_px(field_model(geometry), count, seed)
    theory = tilt_std_px(1.0, geometry.pixels_per_airy)
    correlation = Correlation(1, geometry.outer_scale_over_aperture)
    zero = correlation.tilt(np.zeros(1))[0][0]
    rows = []
    for separation in (s for s in SEPARATIONS_PX if s < min(geometry.height_px, geometry.width_px)):
        along, across = correlation.tilt(np.array([separation * geometry.pixel_over_aperture]))
        expected = tuple(float(2 * theory**2 * (1 - value[0] / zero)) for value in (along, across))
        rows.append(TiltAt(separation, differential_tilt(shifts, separation), (expected[0], expected[1])))
    std = {"x": float(shifts[:, 0].std()), "y": float(shifts[:, 1].std()), "theory": theory}
    return Tilt(std, rows)


def check_mtf(count: int, seed: int) -> list[Transfer]:
    """Compare long- and short-exposure transfer functions, missing modes accounted for, with Fried's."""
    curves = []
    for strength in EXPOSURES:
        nu, long = mean_mtf(strength, count, seed)
        _, short = mean_mtf(strength, count, seed, with_tilt=False)
        scale = diffraction_mtf(nu) * missing_modes_factor(36, strength)
        curves.append(
            Transfer(
                strength,
                nu.tolist(),
                long=(scale * long).tolist(),
                long_theory=long_exposure_mtf(nu, strength).tolist(),
                short=(scale * short).tolist(),
                short_theory=short_exposure_mtf(nu, strength).tolist(),
            )
        )
    return curves


def _bank_errors(name: str, seed: int) -> dict[str, Errors | None]:
    bank = shipped_bank(name)
    learned = psf_errors(bank, seed + 1, exact=False) if bank.network else None
    return {"basis": psf_errors(bank, seed + 1, exact=True), "learned": learned}


def _pictures(image: ImageU8, geometry: Geometry, seed: int) -> Pictures:
    learned, exact = simulator(geometry), simulator(geometry, "exact")
    noise = random_normals(learned, 1, seed)
    strips: dict[str, list[ImageU8]] = {}
    for calibration, largest in (("physical", STRIP[-1]), ("p2s2021", P2S_LARGEST)):
        strengths = [min(x, largest) for x in STRIP]
        strips[calibration] = [learned.run([image], [x], [calibration], noise)[0] for x in strengths]
    agreement = {}
    for x in (0.5, 1.0, 2.0, 4.0):
        agreement[f"{x:g}"] = psnr_db(
            learned.run([image], [x], ["physical"], noise)[0], exact.run([image], [x], ["physical"], noise)[0]
        )
    return Pictures(image, strips, agreement, _psf_samples(seed))


def _psf_samples(seed: int) -> dict[str, PsfSample]:
    """Return a PSF of the same air at every strength, of every bank."""
    samples, field = {}, field_model(Geometry(112, 112))
    normals = torch.randn(field.num_normals(66), generator=torch.Generator().manual_seed(seed))
    for name, strength in (("weak", 0.5), ("weak", 1.0), ("weak", 2.0), ("mid", 4.0), ("strong", 10.0)):
        bank = shipped_bank(name)
        learned = bank.network is not None
        phases = field.zernike(normals, bank.psf.num_modes)[:1] * strength ** (5 / 6)
        rendered = bank.basis.reconstruct(bank.coefficients(phases, exact=not learned))[0]
        samples[f"{strength:g}"] = PsfSample(name, learned, bank.psf(phases)[0].numpy(), rendered.numpy())
    return samples


def _speed(images: list[ImageU8], geometry: Geometry) -> dict[str, dict[str, float]]:
    return {
        mode: {
            f"{x:g}": milliseconds_per_image(simulator(geometry, mode), images, x, repeats=3) for x in SPEEDS
        }
        for mode in ("learned", "exact")
    }
