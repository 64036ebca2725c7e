"""T10 speed and T11 split-step: opt-in (pytest -m soak)."""

import time

import numpy as np
import pytest

from lrfr.degrade.turbulence.check.observed import milliseconds_per_image
from lrfr.degrade.turbulence.check.splitstep import SplitStep
from lrfr.degrade.turbulence.field import FieldModel, Geometry
from lrfr.degrade.turbulence.physics.theory import diffraction_mtf, short_exposure_mtf
from lrfr.degrade.turbulence.simulator import simulator
from tests.degrade.turbulence.world import face

pytestmark = pytest.mark.soak


def psf_of(field):
    """Return the PSF of a pupil field, sampled at lambda / (2 D), centered, with sum 1."""
    size = 2 * field.shape[0]
    power = np.fft.fftshift(np.abs(np.fft.fft2(field, (size, size))) ** 2)
    return power / power.sum()


def test_t10_speed_and_setup():
    images = [face(112, k) for k in range(64)]
    one = simulator(Geometry(112, 112))
    for strength, bound in ((2.0, 8), (4.0, 12), (10.0, 30)):
        assert milliseconds_per_image(one, images, strength, repeats=3) <= bound
    start = time.process_time()
    fresh = FieldModel(Geometry(112, 112))
    _ = fresh.tilt_root, fresh.order_roots, fresh.ripples
    assert time.process_time() - start <= 5


@pytest.mark.timeout(1200)
def test_t11_split_step():
    # D/r0 = 2; 60 realizations, 8 x 8 sources over 0.22 m
    path = SplitStep(aperture_m=0.1, range_m=1000.0, wavelength_m=0.5e-6, r0_m=0.05)
    generator = np.random.default_rng(0)
    flat = path.pupil_field(np.zeros((10, 512, 512)))
    reference = np.fft.fft2(np.fft.ifftshift(psf_of(np.where(flat != 0, 1.0 + 0j, 0)))).real
    sources = [(y, x) for y in np.linspace(-0.11, 0.11, 8) for x in np.linspace(-0.11, 0.11, 8)]
    axis, frequency = np.arange(128) - 64, np.fft.fftfreq(128)
    centroids, total = [], np.zeros((128, 128), complex)
    for number in range(60):
        screens = path.draw_screens(generator)
        # sources of one realization see much the same air: eight of them, other ones each time
        for source in sources[number % 8 :: 8]:
            psf = psf_of(path.pupil_field(screens, source))
            y, x = (psf.sum(1) * axis).sum(), (psf.sum(0) * axis).sum()
            centroids.append((y, x))
            total += np.fft.fft2(np.fft.ifftshift(psf)) * np.exp(
                2j * np.pi * (frequency[:, None] * y + frequency[None] * x)
            )
    lags = np.arange(1, 64)
    nu = lags / 64
    total /= len(centroids)
    mtf = (
        (total[0, lags].real / reference[0, lags] + total[lags, 0].real / reference[lags, 0])
        / 2
        * diffraction_mtf(nu)
    )
    rings = (nu >= 0.1) & (nu <= 0.8)
    assert np.abs(mtf - short_exposure_mtf(nu, 2.0))[rings].max() < 0.07
    variance = np.square(centroids).mean() / 4  # pixels are lambda / (2 D)
    assert variance == pytest.approx(0.170 * 2 ** (5 / 3), rel=0.25)
