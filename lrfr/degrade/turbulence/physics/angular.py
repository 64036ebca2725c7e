"""How turbulence decorrelates between two directions: Takato and Yamaguchi's integrals, averaged along the
path.

For one thin layer, two beams of diameter D whose axes cross it ``s`` diameters apart have Zernike covariances
made of

    I_p(s) = Int u^-1 (u^2 + kappa^2)^(-11/6) J_{n+1}(u)^2 J_p(2 s u) du,        kappa = pi D / L0   (L0:
    outer scale)

(Takato and Yamaguchi, JOSA A 12 (1995) 958). Along a path of constant Cn2 from the camera (t = 0) to the
object (t = 1) the beam of a point source narrows to D (1 - t) while the separation grows to Delta t, so that,
with the spherical-wave weight,

    f_path(Delta) = Int (1-t)^(5/3) f((Delta/D) t / (1-t)) dt / (3/8)            (Basu, McCrae, Fiorino, Proc.
    SPIE 9465 (2015))

The integrand of the tilt behaves as u^(-2/3) near zero: much of its power lies at very small u, so quadrature
runs on log u from 1e-18 on. A start at 1e-6 would already lose 0.8 % of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0, j1, jv

from lrfr.degrade.turbulence.physics.zernike import SPECTRUM

Array = NDArray[np.float64]

AMPLITUDE = 8 * SPECTRUM * math.pi ** (8 / 3)  # the A of Cov = A (D/r0)^(5/3) (n+1) I_p for m = 0
_LOG_U = np.linspace(math.log(1e-18), math.log(80.0), 8192)
_LOG_S = np.linspace(math.log(1e-4), math.log(1e4), 160)
_PATH_POINTS = 64
# s u from which on the Bessel wave is damped: it cancels there, and the log grid no longer resolves it
_RESOLVED = 100.0


@dataclass(frozen=True)
class Correlation:
    """Path-averaged covariances at D/r0 = 1 as functions of the object-plane separation.

    Attributes:
        max_order: highest radial order that will be asked for.
        outer_scale_over_aperture: L0 / D; infinity is Kolmogorov turbulence.

    """

    max_order: int
    outer_scale_over_aperture: float = math.inf

    def tilt(self, separation: Array) -> tuple[Array, Array]:
        """Return tilt covariance [rad^2] along and across ``separation`` [units of D], each shaped like it.

        Cov_par = 2A (I0 - I2), Cov_perp = 2A (I0 + I2) per axis: a shift's two axes correlate differently.
        """
        i0, i2 = (
            self._path_average(self._layers[1][0], separation),
            self._path_average(self._layers[1][1], separation),
        )
        return 2 * AMPLITUDE * (i0 - i2), 2 * AMPLITUDE * (i0 + i2)

    def order(self, n: int, separation: Array) -> Array:
        """Return the azimuth-averaged covariance of radial order ``n`` >= 2 at ``separation`` [units of D].

        It is relative to the variance of Kolmogorov turbulence: 1 at zero separation, less with a finite
        outer scale.
        """
        (free, _), *_ = layer_integrals([n], np.exp(_LOG_S[:1]), np.zeros(1)).values()
        return np.asarray(self._path_average(self._layers[n][0], separation) / free[0, 0])

    @cached_property
    def _layers(self) -> dict[int, tuple[Array, Array]]:
        if math.isinf(self.outer_scale_over_aperture):
            return layer_integrals(range(1, self.max_order + 1), np.exp(_LOG_S), np.zeros(1))
        kappa = math.pi / self.outer_scale_over_aperture * (1 - self._path[0])
        return layer_integrals(range(1, self.max_order + 1), np.exp(_LOG_S), kappa)

    @cached_property
    def _path(self) -> tuple[Array, Array]:
        """Quadrature nodes t and weights along the path; the weights sum to 1."""
        nodes, weights = np.polynomial.legendre.leggauss(_PATH_POINTS)
        t = (nodes + 1) / 2
        return t, weights / 2 * (1 - t) ** (5 / 3) / (3 / 8)

    def _path_average(self, layer_ts: Array, separation: Array) -> Array:
        """Average a layer integral [1 or T, S], tabulated on _LOG_S for each path point (one row: the same
        for all).
        """
        t, share = self._path
        splines = [CubicSpline(_LOG_S, row) for row in layer_ts]
        total = np.zeros(np.shape(separation))
        for k in range(t.size):
            log_s = np.log(np.maximum(np.asarray(separation) * t[k] / (1 - t[k]), 1e-300)).clip(
                _LOG_S[0], _LOG_S[-1]
            )
            total += share[k] * splines[k % len(splines)](log_s)
        return total


def layer_integrals(orders: Sequence[int], separation: Array, kappa: Array) -> dict[int, tuple[Array, Array]]:
    """Return n -> (I_0, I_2) of one layer, each float64 [len(kappa), len(separation)].

    Args:
        orders: radial orders n, >= 1.
        separation: beam separation over beam diameter, [S], > 0.
        kappa: pi times beam diameter over outer scale, [T]; 0 is Kolmogorov.

    """
    u = np.exp(_LOG_U)
    argument = 2 * np.outer(separation, u)
    damping = np.exp(-((argument / (2 * _RESOLVED)) ** 2))
    wave0 = j0(argument)
    # J_2 from the recurrence, and from its series where that cancels
    wave2 = np.where(
        argument < 1e-3, argument**2 / 8, 2 * j1(argument) / np.maximum(argument, 1e-300) - wave0
    )
    spectrum = (u[None] ** 2 + kappa[:, None] ** 2) ** (-11 / 6) * (_LOG_U[1] - _LOG_U[0])
    filters = {n: spectrum * jv(n + 1, u) ** 2 for n in orders}
    return {n: (filters[n] @ (wave0 * damping).T, filters[n] @ (wave2 * damping).T) for n in orders}
