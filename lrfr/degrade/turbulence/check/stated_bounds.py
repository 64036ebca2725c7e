"""What the simulator is held to: every stated bound beside what a check measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lrfr.degrade.turbulence.check.check import TurbulenceCheck

# for so many draws; the errors of fewer are larger, and so are the bounds
DRAWS = 2000
PSF_BOUNDS = {"0.25-0.5": 0.015, "0.5-1": 0.025, "1-2": 0.05, "2-4": 0.12}
# of the part of an exact PSF that the bank's basis holds
BASIS_BOUNDS = {**PSF_BOUNDS, "4-10": 0.08}
PICTURE_BOUNDS_DB = {"1": 52.0, "2": 48.0, "4": 44.0}
SPEED_BOUNDS_MS = {"2": 8.0, "4": 12.0, "10": 30.0}


@dataclass(frozen=True)
class Verdict:
    """One quantity against its bound.

    Attributes:
        quantity: what was measured, with unit.
        measured: the number, or the difference from theory that is bounded.
        bound: most that is allowed, or least where ``least``.
        least: the bound is a lower one.

    """

    quantity: str
    measured: float
    bound: float
    least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the bound holds."""
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def row(self) -> list[str]:
        """Return quantity, number, bound and verdict as texts."""
        sign = ">=" if self.least else "<="
        words = "pass" if self.passed else "FAIL"
        return [self.quantity, f"{self.measured:.4g}", f"{sign} {self.bound:.4g}", words]


def verdicts(result: TurbulenceCheck) -> list[Verdict]:
    """Return every bounded quantity of a check; speed is not among them, as it depends on the machine."""
    return [*_tilt(result), *_transfer(result), *_psf(result), *_pictures(result)]


def _spread(result: TurbulenceCheck) -> float:
    return math.sqrt(max(1.0, DRAWS / result.count))


def _tilt(result: TurbulenceCheck) -> Iterator[Verdict]:
    std, wider = result.tilt.std_px, _spread(result)
    pooled = math.hypot(std["x"], std["y"]) / math.sqrt(2)
    yield Verdict(
        "shift at D/r0 1: standard deviation, off theory by", abs(pooled / std["theory"] - 1), 0.03 * wider
    )
    yield Verdict("shift at D/r0 1: x and y differ by", abs(std["x"] / std["y"] - 1), 0.05 * wider)
    for row in result.tilt.differential:
        off = max(abs(a / b - 1) for a, b in zip(row.measured_px2, row.theory_px2, strict=True))
        yield Verdict(f"differential tilt at {row.separation_px} px, off theory by", off, 0.06 * wider)


def _transfer(result: TurbulenceCheck) -> Iterator[Verdict]:
    for curve in result.mtf:
        for kind, bound in (("long", 0.015), ("short", 0.05)):
            quantity = f"{kind}-exposure MTF at D/r0 {curve.D_over_r0:g}, largest gap at 0.1 .. 0.8 D/lambda"
            yield Verdict(quantity, curve.largest_gap(kind), bound * _spread(result))


def _psf(result: TurbulenceCheck) -> Iterator[Verdict]:
    for name, bank in result.psf.items():
        for kind, bounds in (("basis", BASIS_BOUNDS), ("learned", PSF_BOUNDS)):
            for bin_, error in (bank[kind] or {}).items():
                quantity = f"PSF of bank {name} ({kind}) at D/r0 {bin_}, mean relative L2 error"
                yield Verdict(quantity, error, bounds[bin_])


def _pictures(result: TurbulenceCheck) -> Iterator[Verdict]:
    for strength, bound in PICTURE_BOUNDS_DB.items():
        found = result.pictures.psnr_learned_exact_db[strength]
        yield Verdict(f"picture at D/r0 {strength}: PSNR learned, exact [dB]", found, bound, least=True)
