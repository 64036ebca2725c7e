"""Kernels against theory; convolution against whole-number arithmetic."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from lrfr.degrade import kernels
from tests.degrade import released
from tests.degrade.samples import face, faces, one


def reference(image, weights, unit):
    """Convolve in whole numbers with a mirrored border; round half to even."""
    reach_y, reach_x = weights.shape[0] // 2, weights.shape[1] // 2
    padded = np.pad(image.astype(np.int64), ((reach_y, reach_y), (reach_x, reach_x), (0, 0)), mode="reflect")
    total = np.zeros(image.shape, np.int64)
    for dy in range(weights.shape[0]):
        for dx in range(weights.shape[1]):
            total += int(weights[dy, dx]) * padded[dy : dy + image.shape[0], dx : dx + image.shape[1]]
    quotient, rest = np.divmod(total, unit)
    rounded = quotient + ((2 * rest > unit) | ((2 * rest == unit) & (quotient % 2 == 1)))
    return np.clip(rounded, 0, 255).astype(np.uint8)


KERNELS = {
    "gaussian": kernels.gaussian(9, 2.0, 1.0, 30.0),
    "wide": kernels.gaussian(21, 4.0, 2.0, 70.0),
    "sinc": kernels.sinc(21, 1.2),
    "plateau": kernels.plateau(15, 2.0, 1.0, 10.0, 1.5),
    "motion": kernels.motion(9, 33.0),
    "long motion": kernels.motion(31, 20.0),
    "longest motion": kernels.motion(101, 63.0),
    "diagonal motion": kernels.motion(60, 45.0),
    "disk": kernels.disk(5.3),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("optimized", [True, False])
def test_convolution_equals_whole_number_arithmetic(name, optimized):
    weights = kernels.quantize(KERNELS[name])
    before = cv2.useOptimized()
    cv2.setUseOptimized(optimized)
    try:
        for image in (face(1), face(2, 77, 65), (face(3) > 100).astype(np.uint8) * 255):
            np.testing.assert_array_equal(
                kernels.convolve(image, weights), reference(image, weights, kernels.UNIT)
            )
    finally:
        cv2.setUseOptimized(before)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7, 4.0, 6.0])
def test_separable_blur_equals_whole_number_arithmetic(sigma):
    unit = kernels.UNIT_SEPARABLE if sigma <= 4 else kernels.UNIT
    taps = kernels.quantize_line(kernels.gaussian_taps(sigma), unit)
    image = face(5, 61, 45)
    np.testing.assert_array_equal(
        kernels.blur_separable(image, sigma), reference(image, np.outer(taps, taps), unit**2)
    )


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0])
def test_the_taps_have_the_stated_width(sigma):
    unit = kernels.UNIT_SEPARABLE if sigma <= 4 else kernels.UNIT
    ideal = kernels.gaussian_taps(sigma)
    weights = kernels.quantize_line(ideal, unit)
    assert weights.sum() == unit
    np.testing.assert_array_equal(weights, weights[::-1])
    offsets = np.arange(len(ideal)) - len(ideal) // 2

    def spread(taps):
        return math.sqrt((np.asarray(taps) * offsets**2).sum() / np.sum(taps))

    assert spread(weights) == pytest.approx(spread(ideal), rel=0.01 if sigma >= 1 else 0.06)
    # cutting a Gaussian at three sigma costs 1.4 % of its spread
    assert spread(ideal) == pytest.approx(sigma, rel=0.016 if sigma >= 1 else 0.1)


@pytest.mark.parametrize("name", KERNELS)
def test_quantized_kernels_sum_to_one_and_are_symmetric(name):
    weights = kernels.quantize(KERNELS[name])
    assert weights.sum() == kernels.UNIT
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    ideal = KERNELS[name] / KERNELS[name].sum() * kernels.UNIT
    assert np.abs(weights - ideal).max() < 2


@pytest.mark.parametrize("length", [1, 1.5, 2, 3, 4.4, 7, 11, 20.5, 31])
def test_motion_lines_are_centered_and_have_their_length_and_angle(length):
    for angle in np.arange(0, 180, 7.5):
        weights = kernels.quantize(kernels.motion(length, float(angle)))
        y, x = np.mgrid[0 : weights.shape[0], 0 : weights.shape[1]]
        y, x = weights.shape[0] // 2 - y, x - weights.shape[1] // 2
        share = weights / kernels.UNIT
        assert abs((share * x).sum()) < 0.01
        assert abs((share * y).sum()) < 0.01
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        across = (share * (cosine * y - sine * x) ** 2).sum()
        assert across < 0.35, "a line is thin"
        if length >= 4:
            along = (share * (cosine * x + sine * y) ** 2).sum()
            assert math.sqrt(12 * along) == pytest.approx(length, rel=0.08)


def test_a_level_line_is_equal_weights():
    weights = kernels.trim(kernels.quantize(kernels.motion(5, 0)))
    assert weights.shape == (1, 5)
    assert sorted(weights.ravel().tolist()) == [819, 819, 819, 819, 820]


def test_motion_turns_counter_clockwise():
    spot = np.zeros((41, 41, 3), np.uint8)
    spot[20, 20] = 255
    blurred = one("{op: motion_blur, length: 15, angle: 45}", spot).image[:, :, 0]
    assert blurred[16, 24] > 0, "up and to the right"
    assert blurred[24, 24] == 0


@pytest.mark.parametrize("radius", [0.5, 1, 2.5, 5, 8])
def test_the_disk_covers_the_area_of_a_circle(radius):
    assert kernels.disk(radius).sum() == pytest.approx(math.pi * radius**2, rel=0.35 if radius < 2 else 0.06)


def test_sinc_passes_low_and_stops_high_frequencies():
    response = np.abs(np.fft.fft2(kernels.sinc(51, 1.0) / kernels.sinc(51, 1.0).sum(), (256, 256)))
    frequency = np.fft.fftfreq(256) * 2 * math.pi
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    assert response[radius < 0.7].min() > 0.85
    assert response[radius > 1.4].max() < 0.15


def test_families_meet_in_the_gaussian_and_turn_with_the_angle():
    np.testing.assert_allclose(
        kernels.gaussian(9, 2, 2, 0, beta=1.0), np.exp(-0.5 * kernels.mahalanobis(9, 2, 2, 77))
    )
    upright = kernels.gaussian(21, 4, 1, 90)
    assert upright[0, 10] > upright[10, 0]
    tilted = kernels.gaussian(21, 4, 1, 45)
    assert tilted[4, 16] > tilted[16, 16], "45 degrees points up and to the right"


@pytest.mark.parametrize(
    "step",
    [
        "{op: gaussian_blur, sigma: 2}",
        "{op: gaussian_blur, sigma_x: 3, sigma_y: 1, angle: 20}",
        "{op: motion_blur, length: 12, angle: 100}",
        "{op: defocus, radius: 4}",
        "{op: kernel_mix, family: plateau_aniso, sigma_x: 2, sigma_y: 1, angle: 9}",
    ],
)
def test_blurs_shift_nothing(step):
    spot = np.zeros((61, 61, 3), np.uint8)
    spot[26:35, 26:35] = 200
    blurred = one(step, spot).image.astype(float).sum(axis=2)
    y, x = np.mgrid[0:61, 0:61]
    assert (blurred * y).sum() / blurred.sum() == pytest.approx(30, abs=0.01)
    assert (blurred * x).sum() / blurred.sum() == pytest.approx(30, abs=0.01)
    assert blurred.sum() == pytest.approx(spot.sum(), rel=0.02)


def test_kernel_mix_records_only_what_its_family_uses():
    families = {
        "iso": {"sigma_x"},
        "plateau_aniso": {"sigma_x", "sigma_y", "angle", "beta_plateau"},
        "sinc": {"cutoff"},
    }
    for family, used in families.items():
        params = one(f"{{op: kernel_mix, family: {family}, size: 12}}").trace.steps[0].params
        assert set(params) == {"family", "size"} | used
        assert params["size"] == 13


@pytest.mark.parametrize(
    "settings",
    [{}, {"amount": 2.5, "sigma": 2.0, "size": 13, "threshold": 3}, {"amount": 9.0, "threshold": 0}],
)
def test_sharpen_equals_its_formula(settings):
    known = {"amount": 0.5, "sigma": 8.0, "size": 51, "threshold": 10} | settings
    text = ", ".join(f"{name}: {value}" for name, value in known.items())
    for image in faces(3):
        found = one(f"{{op: sharpen, {text}}}", image).image
        expected = released.sharpen(image / 255, **known) * 255
        # half a level of rounding and what weights of 1/4096 leave; a pixel whose difference is the threshold
        # itself may be masked here and not there
        apart = np.abs(found - expected)
        assert np.quantile(apart, 0.999) < 0.52 + 0.06 * known["amount"]
        assert apart.max() < 0.52 + known["amount"]
        assert np.abs(found.astype(int) - image).mean() > 1


def test_sharpen_leaves_flat_and_faint_places_alone():
    flat = np.full((60, 60, 3), 90, np.uint8)
    flat[:, 30:] = 97
    np.testing.assert_array_equal(one("{op: sharpen, threshold: 10}", flat).image, flat)
    hard = one("{op: sharpen, amount: 3, threshold: 2, soft: false}", flat).image
    assert hard.min() < 90
    assert hard.max() > 97
    np.testing.assert_array_equal(one("{op: sharpen, amount: 0}", faces(1)[0]).image, faces(1)[0])
    assert one("{op: sharpen, size: 20}").trace.steps[0].params["size"] == 21
