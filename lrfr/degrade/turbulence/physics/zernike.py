"""Zernike polynomials in Noll's order: indices, values on a pupil grid, and the covariance of their
turbulence coefficients.

Sources: Noll, "Zernike polynomials and atmospheric turbulence", JOSA 66 (1976), equations 2 to 4 (order,
normalization), 25 (covariance) and Table IV (residuals). Everything here is for D/r0 = 1: strength only
scales amplitudes by (D/r0)**(5/6).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, gammasgn

# constant of the Kolmogorov phase spectrum W(k) = SPECTRUM r0^(-5/3) k^(-11/3), k in cycles per unit of
# length
SPECTRUM = (24 / 5 * math.gamma(6 / 5)) ** (5 / 6) * math.gamma(11 / 6) ** 2 / (2 * math.pi ** (11 / 3))
_COVARIANCE = 2 ** (-5 / 3) * math.pi ** (8 / 3) * math.gamma(14 / 3) * SPECTRUM
# mean square phase over the pupil without piston: the sum of all modes' variances, 1.0324 rad^2 (Noll prints
# 1.0299)
TOTAL_VARIANCE = 1.032421


def noll_nm(j: int) -> tuple[int, int]:
    """Return radial order n and signed azimuthal order m of Noll's mode ``j`` >= 1 (m > 0 cosine, m < 0
    sine).
    """
    n = (math.isqrt(8 * (j - 1) + 1) - 1) // 2
    place = j - 1 - n * (n + 1) // 2
    m = n % 2 + 2 * ((place + (n + 1) % 2) // 2)
    return n, m if j % 2 == 0 else -m


def radial_orders(num_modes: int, first: int = 4) -> NDArray[np.int64]:
    """Return the radial order n of the modes ``first`` .. ``num_modes``, int64 [M]."""
    return np.array([noll_nm(j)[0] for j in range(first, num_modes + 1)])


def noll_covariance(num_modes: int, first: int = 2) -> NDArray[np.float64]:
    """Return the covariance [rad^2] of the modes ``first`` .. ``num_modes`` at D/r0 = 1, float64 [M, M], all
    couplings kept.

    Two modes are coupled when their azimuthal orders and parities (cosine or sine) agree. Source: Noll 1976,
    equation 25, with the exact constant of the Kolmogorov spectrum.
    """
    modes = [noll_nm(j) for j in range(first, num_modes + 1)]
    return np.array([[_covariance(n, m, n2) if m == m2 else 0.0 for n2, m2 in modes] for n, m in modes])


def _covariance(n: int, m: int, n2: int) -> float:
    sign = (-1) ** ((n + n2 - 2 * abs(m)) // 2)
    tops = np.array([(n + n2 - 5 / 3) / 2])
    bottoms = np.array([(n - n2 + 17 / 3) / 2, (n2 - n + 17 / 3) / 2, (n + n2 + 23 / 3) / 2])
    magnitude = math.exp(gammaln(tops).sum() - gammaln(bottoms).sum())
    return float(_COVARIANCE * sign * math.sqrt((n + 1) * (n2 + 1)) * gammasgn(bottoms).prod() * magnitude)


def residual_variance(num_modes: int) -> float:
    """Return the phase variance [rad^2] at D/r0 = 1 that is left when modes 1 .. ``num_modes`` are removed
    (Noll 1976, Table IV).
    """
    return TOTAL_VARIANCE - sum(_covariance(n, m, n) for n, m in map(noll_nm, range(2, num_modes + 1)))


def pupil_grid(samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return radius (1 at the rim) and angle [rad] of ``samples`` x ``samples`` points across the
    aperture.
    """
    axis = (np.arange(samples) - (samples - 1) / 2) / (samples / 2)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.hypot(x, y), np.arctan2(y, x)


def zernike_modes(num_modes: int, samples: int, first: int = 4) -> NDArray[np.float64]:
    """Return the Noll-normalized modes ``first`` .. ``num_modes`` (mean square 1 on the disc, 0 outside),
    float64 [M, P, P].
    """
    radius, angle = pupil_grid(samples)
    return np.stack(
        [np.where(radius <= 1, zernike(j, radius, angle), 0.0) for j in range(first, num_modes + 1)]
    )


def zernike(j: int, radius: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Noll's mode ``j`` at polar coordinates (Noll 1976, equations 1 and 2)."""
    n, m = noll_nm(j)
    order, fact = abs(m), math.factorial
    radial = np.zeros_like(radius)
    for s in range((n - order) // 2 + 1):
        weight = (-1) ** s * fact(n - s) / (fact(s) * fact((n + order) // 2 - s) * fact((n - order) // 2 - s))
        radial += weight * radius ** (n - 2 * s)
    if m == 0:
        return np.asarray(math.sqrt(n + 1) * radial)
    wave = np.cos(order * angle) if m > 0 else np.sin(order * angle)
    return np.asarray(math.sqrt(2 * (n + 1)) * radial * wave)
