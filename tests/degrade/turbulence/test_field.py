"""T2 sampler, T3 tilt, T4 differential tilt: statistics of the fields against theory."""

import math

import numpy as np
import pytest
import torch

from lrfr.degrade.turbulence.check.observed import differential_tilt, draw_shifts_px
from lrfr.degrade.turbulence.field import (
    FieldModel,
    Geometry,
    field_model,
    node_positions,
    normals_from_words,
)
from lrfr.degrade.turbulence.physics.angular import Correlation, layer_integrals
from lrfr.degrade.turbulence.physics.zernike import noll_covariance, radial_orders

TILT_STD_PX = 2 / math.pi * 2.0 * math.sqrt(0.448879)  # at D/r0 = 1, q = 2


@pytest.fixture(scope="module")
def field() -> FieldModel:
    return field_model(Geometry(112, 112))


@pytest.fixture(scope="module")
def shifts(field):
    return draw_shifts_px(field, 2000, 11)


def test_one_layer_correlation_has_the_known_values():
    s = np.array([1e-4, 0.1, 0.25, 0.5, 1, 2, 4, 8])
    i0, i2 = (value[0] for value in layer_integrals([1], s, np.zeros(1))[1])
    assert i0[0] == pytest.approx(0.05788, rel=1e-3)
    assert np.allclose(((i0 - i2) / i0[0])[1:], [0.987, 0.926, 0.772, 0.558, 0.428, 0.336, 0.266], atol=1e-3)
    assert np.allclose(((i0 + i2) / i0[0])[1:], [0.996, 0.974, 0.913, 0.780, 0.630, 0.502, 0.399], atol=1e-3)


def test_one_layer_agrees_with_differential_image_motion():
    # Sarazin and Roddier 1990 (G-tilt, d >= 2 D): 2 (.179 D^(-1/3) - .0968 d^(-1/3)) along, .145 across
    s = np.array([1e-4, 2.0, 4.0, 8.0])
    i0, i2 = (value[0] for value in layer_integrals([1], s, np.zeros(1))[1])
    scale = 0.364 / i0[0]
    along, across = scale * (i0[0] - (i0 - i2)[1:]), scale * (i0[0] - (i0 + i2)[1:])
    assert np.allclose(along, 2 * (0.179 - 0.0968 * s[1:] ** (-1 / 3)), rtol=0.035)
    assert np.allclose(across, 2 * (0.179 - 0.145 * s[1:] ** (-1 / 3)), rtol=0.06)


def test_path_average_has_the_known_values():
    separation = np.array([0.02, 0.1, 0.25, 0.5, 1, 1.58, 2, 4, 5.94])
    along, across = (values / 0.448879 for values in Correlation(1).tilt(separation))
    assert np.allclose(along, [0.9993, 0.988, 0.956, 0.902, 0.814, 0.741, 0.701, 0.582, 0.518], atol=1e-3)
    assert np.allclose(across, [0.9997, 0.996, 0.982, 0.955, 0.905, 0.858, 0.829, 0.732, 0.672], atol=1e-3)


def test_half_correlation_of_the_orders():
    separation = np.linspace(0.01, 1.5, 300)
    correlation = Correlation(7)
    for order, half in {2: 0.90, 3: 0.54, 4: 0.40, 5: 0.32, 6: 0.27, 7: 0.23}.items():
        values = correlation.order(order, separation)
        assert separation[np.argmin(np.abs(values - 0.5))] == pytest.approx(half, abs=0.012)


def test_outer_scale_takes_tilt_away_and_leaves_high_orders():
    zero = np.zeros(1)
    large, small = Correlation(7, 1000.0), Correlation(7, 10.0)
    assert 0.8 < large.tilt(zero)[0][0] / 0.448879 < 0.95
    assert small.tilt(zero)[0][0] < 0.55 * 0.448879
    assert small.order(7, zero)[0] > 0.99


def test_nodes_stand_on_the_corners_and_are_dense_enough():
    positions = node_positions(112, 0.02)
    assert positions.size == 16 and positions[0] == 0 and positions[-1] == 111
    for side, pixel in ((112, 0.02), (300, 0.02), (40, 0.01), (1000, 0.075)):
        positions = node_positions(side, pixel)
        assert np.diff(positions)[0] * pixel <= 0.15 + 1e-9 or positions.size == 28


def test_t2_variance_and_coupling_of_every_mode(field):
    generator = torch.Generator().manual_seed(7)
    size = field.num_normals(36)
    draws = torch.stack(
        [field.zernike(torch.randn(size, generator=generator), 36)[[0, 120, 255]] for _ in range(4000)]
    )
    expected = noll_covariance(36, 4)
    for node in range(3):
        covariance = np.cov(draws[:, node].numpy().T)
        assert np.abs(np.diag(covariance) / np.diag(expected) - 1).max() < 0.08
        correlation = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        assert correlation[0, 7] == pytest.approx(-0.514, abs=0.04)  # modes 4 and 11
    # correlation between nodes, one order at a time: node 0 and its neighbor, and the far corner
    for column, n in ((0, 2), (4, 3), (32, 7)):
        pair = np.corrcoef(draws[:, 0, column], draws[:, 2, column])[0, 1]
        assert pair == pytest.approx(
            Correlation(7).order(n, np.array([111 * math.sqrt(2) * 0.02]))[0], abs=0.06
        )


def test_a_longer_expansion_only_adds_modes(field):
    normals = torch.randn(field.num_normals(66), generator=torch.Generator().manual_seed(1))
    assert torch.equal(field.zernike(normals, 36), field.zernike(normals[: field.num_normals(36)], 36))
    assert torch.allclose(field.zernike(normals, 66)[:, :33], field.zernike(normals, 36), atol=1e-6)


def test_t3_tilt_variance_and_bias(shifts):
    std = shifts.std((0, 2, 3))
    assert float(shifts.square().mean().sqrt()) == pytest.approx(TILT_STD_PX, rel=0.03)
    assert float(std[0] / std[1]) == pytest.approx(1, abs=0.05)
    assert shifts.mean((0, 2, 3)).abs().max() < 4 * TILT_STD_PX / math.sqrt(len(shifts))


def test_t4_differential_tilt(shifts):
    for separation in (1, 4, 8, 16, 32, 64):
        along, across = (
            2 * TILT_STD_PX**2 * (1 - v[0] / 0.448879)
            for v in Correlation(1).tilt(np.array([separation * 0.02]))
        )
        assert differential_tilt(shifts, separation) == (
            pytest.approx(along, rel=0.06),
            pytest.approx(across, rel=0.06),
        )


@pytest.mark.parametrize(("pixel", "expected"), [(0.02, 0.80), (0.075, 0.59)])
def test_t4_far_correlation(pixel, expected):
    # a separation of (N/2, N/2): the mean of along and across
    fields = draw_shifts_px(field_model(Geometry(112, 112, pixel)), 1500, 3)
    x, y = (np.corrcoef(fields[:, axis, 20, 20], fields[:, axis, 76, 76])[0, 1] for axis in (0, 1))
    assert (x, y) == (pytest.approx(expected, abs=0.05), pytest.approx(expected, abs=0.05))


@pytest.mark.parametrize(("height", "width"), [(112, 80), (31, 200), (4, 7)])
def test_any_height_and_width(height, width):
    model = field_model(Geometry(height, width))
    normals = torch.randn(model.num_normals(36), generator=torch.Generator().manual_seed(0))
    assert model.shifts_px(normals).shape == (2, height, width)
    assert model.zernike(normals, 36).shape == (model.num_nodes, 33)


def test_frames_keep_the_marginals_and_forget_by_order(field):
    generator = torch.Generator().manual_seed(0)
    size = field.num_normals(36)
    first = torch.randn(size, generator=generator)
    second = field.next_frame(first, torch.randn(size, generator=generator), 0.9, 36)
    tilt, modes = slice(0, 2 * field.num_nodes), slice(size - 8 * field.num_nodes, size)
    assert float(second.var()) == pytest.approx(1, abs=0.03)
    assert np.corrcoef(first[tilt], second[tilt])[0, 1] == pytest.approx(0.9, abs=0.03)
    assert radial_orders(36)[-1] == 7
    assert np.corrcoef(first[modes], second[modes])[0, 1] == pytest.approx(0.9**4, abs=0.05)


def test_normals_from_words():
    normals = normals_from_words(np.arange(65536, dtype=np.uint16)).double()
    assert float(normals.mean()) == pytest.approx(0, abs=1e-6)
    assert float(normals.std()) == pytest.approx(1, abs=1e-4)
    assert bool((normals.diff() > 0).all())
