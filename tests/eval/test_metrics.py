"""Metrics against scikit-learn and against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import auc as sk_auc
from sklearn.metrics import roc_auc_score, roc_curve

from lrfr.core.errors import DataError, NumericFault
from lrfr.eval.scoring.metrics import auc, eer, is_resolvable, roc, tar_at_far, thin


def sample(seed: int, n: int = 400, ties: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.4
    scores = rng.normal(same * 1.2, 1.0)
    return (np.round(scores * ties) / ties if ties else scores), same


CASES = [
    sample(0),
    sample(1, ties=3),
    sample(2, ties=1),
    sample(3, n=7),
    (np.zeros(20), np.arange(20) < 9),
    (np.arange(10.0), np.arange(10) >= 5),
]


@pytest.mark.parametrize(("scores", "same"), CASES)
def test_roc_and_area_equal_scikit_learn(scores, same):
    curve = roc(scores, same)
    far, tar, threshold = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far, atol=1e-12)
    np.testing.assert_allclose(curve.tar, tar, atol=1e-12)
    np.testing.assert_allclose(curve.threshold[1:], threshold[1:], atol=1e-12)
    assert abs(auc(curve) - roc_auc_score(same, scores)) < 1e-12
    assert abs(auc(curve) - sk_auc(far, tar)) < 1e-12


@pytest.mark.parametrize(("scores", "same"), CASES)
@pytest.mark.parametrize("target", [0.0, 1e-6, 1e-3, 0.01, 0.1, 0.25, 1 / 3, 0.5, 1.0])
def test_tar_at_far_is_the_best_rate_any_threshold_gives(scores, same, target):
    thresholds = [*np.unique(scores), scores.max() + 1]
    rates = [((scores[~same] >= t).mean(), (scores[same] >= t).mean()) for t in thresholds]
    best = max(tar for far, tar in rates if far <= target + 1e-12)
    point = tar_at_far(roc(scores, same), target)
    assert abs(point.tar - best) < 1e-12
    assert point.far <= target + 1e-12
    assert abs((scores[same] >= point.threshold).mean() - point.tar) < 1e-12


def test_equal_error_rate_equals_root_finding_on_the_interpolated_curve():
    for seed in range(20):
        scores, same = sample(seed, n=300)
        far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
        curve = interp1d(far, tar)
        expected = brentq(lambda x, curve=curve: 1.0 - x - curve(x), 0.0, 1.0)
        assert abs(eer(roc(scores, same)) - expected) < 0.5 / (~same).sum()


def test_equal_error_rate_of_perfect_useless_and_reversed_scores():
    same = np.arange(10) < 5
    assert eer(roc(same.astype(float), same)) == 0.0
    assert eer(roc(np.zeros(10), same)) == pytest.approx(0.5)
    assert eer(roc(-same.astype(float), same)) == 1.0


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_area_counts_ordered_pairs(items):
    scores, same = np.array([s for s, _ in items], float), np.array([b for _, b in items])
    if same.all() or not same.any():
        with pytest.raises(DataError):
            roc(scores, same)
        return
    wins = sum((p > n) + 0.5 * (p == n) for p in scores[same] for n in scores[~same])
    assert abs(auc(roc(scores, same)) - wins / (same.sum() * (~same).sum())) < 1e-12


def test_nan_and_uneven_lengths_are_refused():
    with pytest.raises(NumericFault):
        roc(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(NumericFault):
        roc(np.array([0.1, np.inf]), np.array([True, False]))
    with pytest.raises(DataError):
        roc(np.array([0.1, 0.2, 0.3]), np.array([True, False]))


def test_five_thousand_negatives_resolve_one_in_five_thousand_and_no_less():
    rng = np.random.default_rng(0)
    same = np.arange(10_000) < 5_000
    curve = roc(rng.normal(same.astype(float)), same)
    assert curve.min_far == pytest.approx(2e-4)
    assert [tar_at_far(curve, far).resolvable for far in (1e-5, 1e-4, 2e-4, 1e-3)] == [
        False,
        False,
        True,
        True,
    ]
    strictest = curve.tar[np.flatnonzero(curve.far == 0)[-1]]
    assert tar_at_far(curve, 1e-5).tar == strictest


@pytest.mark.parametrize("count", [3, 7, 29, 100, 300, 3000])
def test_rates_that_are_whole_counts_are_resolved_in_spite_of_rounding(count):
    for k in range(1, count):
        assert is_resolvable(k / count, count)
        scores = -np.arange(count, dtype=float)
        curve = roc(np.append(scores, 1.0), np.append(np.zeros(count, bool), True))
        assert round(tar_at_far(curve, k / count).far * count) == k


def test_a_thinned_curve_keeps_its_ends_and_lies_on_the_curve():
    scores, same = sample(5, n=5000)
    curve = roc(scores, same)
    small = thin(curve, 100)
    points = set(zip(curve.far.round(9), curve.tar.round(9), strict=True))
    assert set(zip(small["far"], small["tar"], strict=True)) <= points
    assert (small["far"][0], small["tar"][-1]) == (0.0, 1.0)
    assert len(small["far"]) <= 102
