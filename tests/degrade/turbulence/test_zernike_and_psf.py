"""T1 Noll, T5 transfer functions, T6 exact point-spread functions."""

import math

import numpy as np
import pytest
import torch

from lrfr.degrade.turbulence.check.observed import mean_mtf
from lrfr.degrade.turbulence.physics.optics import Optics
from lrfr.degrade.turbulence.physics.psf import PsfModel, draw_phases
from lrfr.degrade.turbulence.physics.theory import missing_modes_factor, tilt_std_px
from lrfr.degrade.turbulence.physics.zernike import (
    TOTAL_VARIANCE,
    noll_covariance,
    noll_nm,
    pupil_grid,
    radial_orders,
    residual_variance,
    zernike_modes,
)
from tests.degrade.turbulence.world import covariance_by_quadrature


def cov(j, j2):
    return noll_covariance(max(j, j2))[j - 2, j2 - 2]


def test_noll_order_is_his_table():
    # Noll 1976, Table I: even j are cosines
    table = {
        1: (0, 0),
        2: (1, 1),
        3: (1, -1),
        4: (2, 0),
        5: (2, -2),
        6: (2, 2),
        7: (3, -1),
        8: (3, 1),
        9: (3, -3),
        10: (3, 3),
    }
    table |= {11: (4, 0), 12: (4, 2), 13: (4, -2), 14: (4, 4), 15: (4, -4), 22: (6, 0), 36: (7, 7)}
    assert {j: noll_nm(j) for j in table} == table


def test_t1_covariance_has_the_known_values():
    known = {
        (2, 2): 0.44888,
        (3, 3): 0.44888,
        (4, 4): 0.02322,
        (6, 6): 0.02322,
        (7, 7): 0.006191,
        (10, 10): 0.006191,
    }
    known |= {
        (11, 11): 0.002454,
        (2, 8): -0.01416,
        (3, 7): -0.01416,
        (4, 11): -0.003879,
        (11, 22): -0.000759,
        (2, 3): 0,
        (4, 5): 0,
    }
    for pair, value in known.items():
        assert cov(*pair) == pytest.approx(value, abs=1e-4 * max(1, abs(value))), pair
        assert cov(*pair) == pytest.approx(value, rel=1e-3), pair


@pytest.mark.parametrize(
    "pair", [(4, 4), (4, 11), (5, 13), (7, 7), (8, 16), (11, 22), (10, 10), (12, 12), (36, 36)]
)
def test_t1_covariance_equals_quadrature(pair):
    assert cov(*pair) == pytest.approx(covariance_by_quadrature(*pair), abs=1e-6)


def test_t1_residuals():
    # Noll's table with the exact constant; his own print has 1.0299 for J = 1, 0.2 % low
    known = {
        1: 1.0324,
        2: 0.5835,
        3: 0.1347,
        4: 0.1114,
        6: 0.0650,
        10: 0.0402,
        11: 0.0378,
        15: 0.0280,
        21: 0.0208,
        28: 0.0162,
        36: 0.0131,
    }
    for modes, value in known.items():
        assert residual_variance(modes) == pytest.approx(value, rel=3e-3, abs=5e-5)


def test_total_variance_is_the_sum_of_all_modes():
    # all modes of order n have one variance; orders beyond 400 are added by their power law n^(-8/3)
    def order(n):
        log = math.lgamma(n - 5 / 6) - 2 * math.lgamma(17 / 6) - math.lgamma(n + 23 / 6)
        return (n + 1) ** 2 * math.exp(log) * 2.2460595

    last = order(400) * 400 ** (8 / 3)
    assert sum(order(n) for n in range(1, 401)) + last * 0.6 * 400.5 ** (-5 / 3) == pytest.approx(
        TOTAL_VARIANCE, rel=2e-5
    )


def test_zernikes_are_orthonormal_on_the_disc():
    inside = pupil_grid(256)[0] <= 1
    modes = zernike_modes(28, 256, 2)[:, inside]
    gram = modes @ modes.T / inside.sum()
    assert np.abs(gram - np.eye(27)).max() < 0.02


@pytest.mark.parametrize(
    ("num_modes", "window", "pupil", "q"), [(36, 21, 32, 2.0), (66, 33, 48, 2.0), (36, 31, 32, 3.0)]
)
def test_t6_matrix_dft_equals_fft(num_modes, window, pupil, q):
    model = PsfModel(num_modes, window, pupil, q)
    _, phases = draw_phases(model, 40, 0.5, 4, torch.Generator().manual_seed(1))
    modes = zernike_modes(num_modes, pupil)
    field = (pupil_grid(pupil)[0] <= 1) * np.exp(1j * np.tensordot(phases.numpy().astype(float), modes, 1))
    size = round(q * pupil)
    power = np.abs(np.fft.fftshift(np.fft.fft2(field, (size, size)), axes=(1, 2))) ** 2
    cut = slice(size // 2 - window // 2, size // 2 + window // 2 + 1)
    expected = power[:, cut, cut] / power[:, cut, cut].sum((1, 2), keepdims=True)
    found = model(phases).numpy()
    assert np.abs(found - expected).max() < 2e-6 * expected.max()
    assert np.abs(found.sum((1, 2)) - 1).max() < 1e-5


def test_t6_symmetries():
    model = PsfModel()
    _, phases = draw_phases(model, 30, 1, 2, torch.Generator().manual_seed(2))
    even = torch.from_numpy(radial_orders(36) % 2 == 0)
    plain, flipped_even, flipped_odd = (
        model(phases),
        model(torch.where(even, -phases, phases)),
        model(torch.where(even, phases, -phases)),
    )
    assert (plain - flipped_even).abs().max() < 1e-5
    assert (plain.flip(1, 2) - flipped_odd).abs().max() < 1e-5


def test_t6_airy_peak_and_first_zero():
    # finely sampled: q = 16 pixels per lambda/D; compare with (2 J1(x) / x)^2
    from scipy.special import j1

    model = PsfModel(num_modes=4, window_px=81, pupil_samples=64, pixels_per_airy=16.0)
    psf = model(torch.zeros(1, model.num_modes - 3))[0].numpy()
    profile = psf[40, 40:] / psf[40, 40]
    x = math.pi * np.arange(1, 41) / 16
    assert np.abs(profile[1:] - (2 * j1(x) / x) ** 2).max() < 0.01
    assert np.argmax(psf) == 40 * 81 + 40
    assert np.argmin(profile[:30]) / 16 == pytest.approx(1.22, rel=0.03)  # a pixel is 0.0625


def test_strehl_of_weak_turbulence():
    # tilt removed: exp(-0.1347 x^(5/3)); 36 modes lack the last part of it
    model = PsfModel(window_px=21)
    modes = torch.from_numpy(zernike_modes(36, 32)).float().flatten(1)
    for strength in (0.3, 0.6, 1.0):
        _, phases = draw_phases(model, 3000, strength, strength * 1.000001, torch.Generator().manual_seed(3))
        u = torch.from_numpy(pupil_grid(32)[0] <= 1).flatten()
        strehl = torch.polar(torch.ones(1), phases @ modes)[:, u].mean(1).abs().square().mean()
        assert float(strehl) * missing_modes_factor(36, strength) == pytest.approx(
            math.exp(-0.1347 * strength ** (5 / 3)), abs=0.006
        )


@pytest.mark.parametrize("strength", [1.0, 2.0, 4.0, 10.0])
def test_t5_long_and_short_exposure(strength):
    nu, long = mean_mtf(strength, 1500, 5, samples=48 if strength > 4 else 32)
    _, short = mean_mtf(strength, 1500, 5, with_tilt=False, samples=48 if strength > 4 else 32)
    diffraction = 2 / math.pi * (np.arccos(nu) - nu * np.sqrt(1 - nu**2))
    fried_long = diffraction * np.exp(-3.44 * (strength * nu) ** (5 / 3))
    fried_short = diffraction * np.exp(-3.44 * (strength * nu) ** (5 / 3) * (1 - nu ** (1 / 3)))
    factor = math.exp(-(1.0324 - np.trace(noll_covariance(36))) * strength ** (5 / 3))
    rings = (nu >= 0.1) & (nu <= 0.8)
    assert np.abs(diffraction * long * factor - fried_long)[rings].max() < 0.015
    assert np.abs(diffraction * long - fried_long)[rings].max() < 0.07
    assert np.abs(diffraction * short * factor - fried_short)[rings].max() < 0.05


def test_optics_in_meters():
    # the reference example: D 0.1 m, 500 nm, 3 km: Nyquist pixels are L lambda / (2 D) = 7.5 mm
    camera = Optics(0.1, 3000.0, 500.0, 0.0075)
    assert camera.pixels_per_airy == pytest.approx(2.0)
    assert camera.pixel_over_aperture == pytest.approx(0.075)
    k = 2 * math.pi / 500e-9
    assert camera.r0_m(1e-15) == pytest.approx((0.423 * k**2 * 1e-15 * 3 * 3000 / 8) ** (-3 / 5))
    assert camera.r0_m(camera.cn2(0.04)) == pytest.approx(0.04)
    assert camera.r0_m(0.0) == math.inf


def test_tilt_law():
    # Z-tilt: 0.1819 (D/r0)^(5/3) (lambda/D)^2 along one axis
    for strength, expected in ((0.25, 0.27), (0.5, 0.48), (1, 0.85), (2, 1.52), (4, 2.71), (10, 5.81)):
        assert tilt_std_px(strength, 2.0) == pytest.approx(expected, abs=0.006)
        assert tilt_std_px(strength, 1.0) ** 2 == pytest.approx(0.1819 * strength ** (5 / 3), rel=1e-3)
