"""Magnitudes, targets and the inversion of a measured curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfr.degrade.style.magnitude import IdentityCurve, IdentityRange

NORMS = tuple(np.arange(0, 8.5, 0.5).tolist())


def test_default_target_is_a_twentieth_plus_a_tenth_of_the_magnitude():
    wanted = IdentityRange()
    for magnitude in (0.0, 1.0, 3.08, 6.0):
        assert wanted.target(magnitude) == pytest.approx(0.05 + 0.1 * magnitude)


@given(power=st.floats(0.8, 2.5), top=st.floats(0.7, 1.5))
def test_the_norm_for_a_magnitude_gives_its_distance(power, top):
    wanted = IdentityRange()

    def distance(norm):
        return top * (norm / 8) ** power

    curve = IdentityCurve(NORMS, tuple(distance(norm) for norm in NORMS))
    for magnitude in (1, 2, 3, 4, 5, 6):
        # the curve is known at steps of a half and linear between
        assert distance(curve.norm_for(magnitude, wanted)) == pytest.approx(0.05 + 0.1 * magnitude, abs=0.02)


def test_zero_stays_zero_signs_are_kept_and_the_map_rises():
    rng = np.random.default_rng(0)
    curve = IdentityCurve(
        NORMS, tuple(np.cumsum(rng.normal(0.05, 0.05, len(NORMS))).tolist())
    )  # not monotone itself
    magnitudes = np.linspace(-6, 6, 121)
    norms = [curve.norm_for(magnitude, IdentityRange()) for magnitude in magnitudes]
    assert curve.norm_for(0.0, IdentityRange()) == 0.0
    assert np.all(np.diff(norms) >= 0)
    assert norms == pytest.approx([-norm for norm in reversed(norms)])
    assert max(norms) <= NORMS[-1]


def test_a_weak_generator_is_clamped_to_its_strongest_norm():
    curve = IdentityCurve((0.0, 3.0, 6.0), (0.0, 0.1, 0.2))
    assert curve.norm_for(6.0, IdentityRange()) == pytest.approx(6.0)
    assert curve.norm_for(1.0, IdentityRange()) == pytest.approx(4.5)


def test_a_range_beyond_the_curve_is_lowered_to_what_it_reaches():
    curve = IdentityCurve((0.0, 3.0, 6.0), (0.0, 0.3, 0.45))
    kept = IdentityRange().within(curve)
    assert kept == IdentityRange(high=0.45)
    assert curve.norm_for(6.0, kept) == pytest.approx(6.0)
    assert IdentityRange(high=0.4).within(curve) == IdentityRange(high=0.4)
    assert IdentityRange().within(IdentityCurve((0.0, 6.0), (0.0, 0.01))).high == 0.05
