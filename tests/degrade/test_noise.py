"""Noise against its statistics, and its tables against scipy."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from scipy import stats

from lrfr.core.streams import stream
from lrfr.degrade import noise_tables as tables
from lrfr.degrade.ops.noise import GaussianNoise
from tests.degrade.samples import keys, one, pipeline

FLAT = np.full((112, 112, 3), 128, np.uint8)


def residuals(step, image=FLAT, count=40):
    run = pipeline(f"  - {step}").run(keys(count), [image] * count)
    return np.stack([item.image for item in run]).astype(float)


@pytest.mark.parametrize("sigma", [3, 10, 25])
def test_gaussian_noise_has_its_sigma_and_no_mean(sigma):
    noise = residuals(f"{{op: gaussian_noise, sigma: {sigma}}}") - 128
    # rounding to levels adds 1/12 of variance
    assert np.sqrt(noise.var() - 1 / 12) == pytest.approx(sigma, rel=0.01)
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(noise.size)
    assert stats.kurtosis(noise, axis=None) == pytest.approx(0, abs=0.02)


def test_channels_neighbors_and_faces_are_uncorrelated():
    noise = residuals("{op: gaussian_noise, sigma: 20}", count=10) - 128
    pairs = [
        (noise[..., 0], noise[..., 1]),
        (noise[:, :-1], noise[:, 1:]),
        (noise[:, :, :-1], noise[:, :, 1:]),
        (noise[:-1], noise[1:]),
    ]
    for one_side, other in pairs:
        r = np.corrcoef(one_side.ravel(), other.ravel())[0, 1]
        assert abs(r) < 4 / np.sqrt(one_side.size)


def test_gray_noise_is_the_same_in_all_channels_at_its_rate():
    noise = residuals(
        "{op: gaussian_noise, sigma: 20, gray_p: 0.4}", np.full((12, 12, 3), 128, np.uint8), 3000
    )
    gray = (noise[..., 0] == noise[..., 1]).all(axis=(1, 2)).mean()
    assert gray == pytest.approx(0.4, abs=3 * np.sqrt(0.24 / 3000))


@pytest.mark.parametrize("photons", [16, 100, 900])
@pytest.mark.parametrize("level", [30, 120])
def test_photon_counts_have_mean_equal_to_variance(photons, level):
    counts = tables.poisson_field(
        np.full(400_000, level, np.uint8), photons, stream(1, b"k", 0, "s").words_u16(400_000)
    ).astype(float)
    expected = level / 255 * photons
    assert counts.mean() == pytest.approx(expected, rel=0.01)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("photons", [10, 128, 3000])
def test_poisson_table_equals_scipys_quantiles(photons):
    table = tables.poisson_table(photons).reshape(256, 1024)
    probabilities = (np.arange(1024) + 0.5) / 1024
    for level in (1, 40, 200, 255):
        np.testing.assert_array_equal(table[level], stats.poisson(level / 255 * photons).ppf(probabilities))
    assert not table[0].any()


def test_normal_table_equals_scipys_quantiles():
    expected = stats.norm.ppf((np.arange(65536) + 0.5) / 65536)
    table = tables.normal_table()
    assert np.abs(table - expected).max() <= 0.5 / 4096 + 1e-9
    assert table.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(table, -table[::-1])


def test_poisson_noise_shows_photons_at_the_level_they_came_from():
    noise = residuals("{op: poisson_noise, photons: 60}")
    assert noise.mean() == pytest.approx(128, abs=0.2)
    assert noise.var() == pytest.approx(128 / 255 * 60 * (255 / 60) ** 2, rel=0.02)


def test_drawn_photons_are_snapped_and_fixed_ones_are_not():
    drawn = one("{op: poisson_noise, photons: {uniform: [90, 110]}}").trace.steps[0].params["photons"]
    assert np.log2(drawn) * 8 == pytest.approx(round(np.log2(drawn) * 8), abs=1e-6)
    assert one("{op: poisson_noise, photons: 100}").trace.steps[0].params["photons"] == 100


def test_speckle_scales_with_the_pixel_and_read_noise_does_not():
    for level in (40, 120):
        flat = np.full((112, 112, 3), level, np.uint8)
        assert residuals("{op: speckle, sigma: 0.1}", flat).std() == pytest.approx(0.1 * level, rel=0.01)
        assert residuals("{op: read_noise, electrons: 20, full_well: 510}", flat).std() == pytest.approx(
            10, rel=0.01
        )


def test_no_two_of_100_000_fields_are_equal():
    image = np.full((4, 4, 3), 128, np.uint8)
    seen = set()
    params = {"sigma": 30.0, "gray": False}
    for number in range(100_000):
        field = GaussianNoise.apply([image], [params], [stream(1, b"%d" % number, 0, "n")])[0]
        seen.add(hashlib.blake2b(field.tobytes(), digest_size=12).digest())
    assert len(seen) == 100_000


def test_another_sigma_is_another_size_of_the_same_field_but_seed_variant_and_step_are_not():
    def field(seed, variant, step):
        return (
            GaussianNoise.apply(
                [FLAT], [{"sigma": 20.0, "gray": False}], [stream(seed, b"k", variant, step)]
            )[0]
            .astype(float)
            .ravel()
        )

    base = field(1, 0, "n")
    for other in (field(2, 0, "n"), field(1, 1, "n"), field(1, 0, "m")):
        assert abs(np.corrcoef(base, other)[0, 1]) < 4 / np.sqrt(base.size)


def test_poisson_scale_multiplies_the_noise_and_its_absence_changes_nothing():
    flat = np.full((200, 200, 3), 120, np.uint8)
    for scale in (0.5, 2.0):
        for gray in (0, 1):
            noise = one(
                f"{{op: poisson_noise, photons: 256, scale: {scale}, gray_p: {gray}}}", flat
            ).image.astype(float)
            expected = scale * math.sqrt(120 / 255 * 256) / 256 * 255
            assert noise.std() == pytest.approx(math.hypot(expected, math.sqrt(1 / 12)), rel=0.02)
            assert noise.mean() == pytest.approx(120, abs=0.2)
            assert (np.ptp(noise, axis=2).max() == 0) == bool(gray)
    plain, explicit = (
        f"  - {{op: poisson_noise, id: n, photons: 60, gray_p: 0.5{more}}}" for more in ("", ", scale: 1")
    )
    assert pipeline(plain).spec.digest == pipeline(explicit).spec.digest
    assert "scale" not in one("{op: poisson_noise, photons: 60}").trace.steps[0].params
