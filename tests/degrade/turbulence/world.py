"""Slow, independent references for the turbulence tests: quadrature, dense fields, plain summation."""

import functools
import math

import numpy as np
import torch
from scipy.integrate import quad
from scipy.special import jv

from lrfr.degrade.turbulence.physics.angular import Correlation
from lrfr.degrade.turbulence.physics.zernike import noll_covariance, noll_nm, radial_orders
from lrfr.pairs.sources.synthetic import render_face


def kolmogorov_constant() -> float:
    """0.0229 of W(k) = 0.0229 r0^(-5/3) k^(-11/3), from its exact form."""
    return (24 / 5 * math.gamma(6 / 5)) ** (5 / 6) * math.gamma(11 / 6) ** 2 / (2 * math.pi ** (11 / 3))


def covariance_by_quadrature(j: int, j2: int) -> float:
    """Noll's covariance from the Fourier integral of two Zernikes: 8 c pi^(8/3) sqrt((n+1)(n'+1)) sign Int
    u^(-14/3) J J du.
    """
    (n, m), (n2, m2) = noll_nm(j), noll_nm(j2)
    if m != m2:
        return 0.0
    # u = v^3 takes the singular end away; beyond 200 the integrand is below 1e-12
    value, _ = quad(
        lambda v: 3 * v**2 * v**-14 * jv(n + 1, v**3) * jv(n2 + 1, v**3),
        1e-4,
        200 ** (1 / 3),
        limit=4000,
        epsabs=1e-12,
    )
    sign = (-1) ** ((n + n2 - 2 * abs(m)) // 2)
    return 8 * kolmogorov_constant() * math.pi ** (8 / 3) * sign * math.sqrt((n + 1) * (n2 + 1)) * value


def face(size_px: int, identity: int = 3) -> np.ndarray:
    """An embedded face, uint8 [size, size, 3]."""
    from PIL import Image

    return np.array(
        Image.fromarray(render_face(identity, 0, 1)[0]).resize((size_px, size_px), Image.Resampling.BICUBIC)
    )


@functools.cache
def dense_zernike(size_px: int, pixel_over_aperture: float, seed: int, torus: int = 512) -> torch.Tensor:
    """Coefficients of modes 4 .. 36 at every pixel at D/r0 = 1, float32 [33, size, size], by FFT on a large
    torus.

    High orders decorrelate well inside the torus, so that the wrap-around does no harm to them.
    """
    generator = np.random.default_rng(seed)
    lag = np.minimum(np.arange(torus), torus - np.arange(torus))
    distance, places = np.unique(
        (np.hypot(lag[:, None], lag[None]) * pixel_over_aperture).round(6), return_inverse=True
    )
    correlation = Correlation(7)
    roots = {
        n: np.sqrt(np.fft.fft2(correlation.order(n, distance)[places].reshape(torus, torus)).real.clip(0))
        for n in range(2, 8)
    }
    fields = [
        np.fft.ifft2(np.fft.fft2(generator.standard_normal((torus, torus))) * roots[n]).real[
            :size_px, :size_px
        ]
        for n in radial_orders(36)
    ]
    mixed = np.einsum("ij,jyx->iyx", np.linalg.cholesky(noll_covariance(36, 4)), np.array(fields))
    return torch.from_numpy(mixed).float()


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """PSNR of two pictures after 8-bit rounding, dB."""
    error = (a.round().clamp(0, 255) - b.round().clamp(0, 255)).square().mean()
    return float(10 * torch.log10(255**2 / error))
