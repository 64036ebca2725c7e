"""Magnitude and identity: the distance a magnitude asks for, and the norm of z that really gives it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class IdentityRange:
    """Linear target distance 1 - cos of magnitude a: from ``low`` at ``magnitude_low`` to ``high`` at
    ``magnitude_high``.

    The defaults give C(a) = 0.05 + 0.1 a. Source: Liu et al., ECCV 2022, equation 4 (l_a, u_a, l_m, u_m).
    """

    magnitude_low: float = 0.0
    magnitude_high: float = 6.0
    low: float = 0.05
    high: float = 0.65

    def target(self, magnitude: Any) -> Any:
        """Return C(a) of a number, array or tensor."""
        slope = (self.high - self.low) / (self.magnitude_high - self.magnitude_low)
        return (magnitude - self.magnitude_low) * slope + self.low

    def within(self, curve: IdentityCurve) -> IdentityRange:
        """Return the range with its top lowered to what ``curve`` reaches, so that no magnitude asks for more
        than there is.
        """
        return replace(self, high=min(self.high, max(self.low, *curve.distances)))


@dataclass(frozen=True)
class IdentityCurve:
    """Mean identity distance that was measured at each norm of z.

    Attributes:
        norms: increasing norms of z, from 0.
        distances: mean 1 - cos between a face and its styled version at each norm.

    """

    norms: tuple[float, ...]
    distances: tuple[float, ...]

    def norm_for(self, magnitude: float, wanted: IdentityRange) -> float:
        """Return the norm of z at which the measured distance is C(|magnitude|), with the sign of
        ``magnitude``.

        Magnitude 0 is norm 0; what lies outside of the measured range is clamped to its ends. Between whole
        magnitudes the answer is linear, so it is monotone and continuous.
        """
        knots = np.arange(int(wanted.magnitude_high) + 1, dtype=float)
        rising = np.maximum.accumulate(self.distances) + 1e-9 * np.arange(
            len(self.distances)
        )  # interp wants strictly rising
        norms = np.interp(wanted.target(knots), rising, self.norms)
        norms[0] = 0.0
        return float(np.copysign(np.interp(abs(magnitude), knots, norms), magnitude))
