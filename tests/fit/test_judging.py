"""Distances between two sets, and whether they can be told apart."""

import numpy as np
import pytest

from lrfr.fit.judge.drift_check import check_drift
from lrfr.fit.judge.two_sample import _folds, c2st, frechet, kid, permuted_p, wilson
from lrfr.fit.law_report import _base, _ends
from lrfr.fit.look.face_statistics import face_statistics
from tests.fit.cameras import GAZE, seen


def normal(n, shift=0.0, seed=0, d=4):
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def test_frechet_of_equal_covariances_is_the_squared_distance_of_means():
    a = normal(400)
    assert frechet(a, a + 0.5) == pytest.approx(4 * 0.25, abs=1e-4)
    assert frechet(a, 3 * a) == pytest.approx(
        np.square(2 * a.mean(axis=0)).sum() + 4 * np.trace(np.cov(a.T)), rel=1e-4
    )


def test_kid_equals_its_double_sum():
    a, b = normal(7, seed=1), normal(9, 0.3, seed=2)
    k = lambda x, y: (x @ y / 4 + 1) ** 3  # noqa: E731
    own = sum(k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j) / 42
    own += sum(k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j) / 72
    assert kid(a, b) == pytest.approx(own - 2 * np.mean([[k(x, y) for y in b] for x in a]))


def test_classifiers_tell_what_differs_and_not_what_does_not():
    people = ([f"a{k}" for k in range(60)], [f"b{k}" for k in range(60)])
    same = c2st(normal(60), normal(60, seed=1), people, 0)
    other = c2st(normal(60), normal(60, 2.0, seed=1), people, 0)
    assert same.words == "not distinguished at n = 60" and same.low < 0.5
    assert other.words == "distinguishable" and other.larger > 0.9 and other.low < other.larger < other.high


def test_nobody_stands_in_two_folds_of_a_side():
    people = [f"p{k // 5}" for k in range(100)]
    folds = _folds(people, np.repeat([0, 1], 50), 3)
    for side in (slice(0, 50), slice(50, 100)):
        for person in set(people[side]):
            assert len({f for f, p in zip(folds[side], people[side], strict=True) if p == person}) == 1


def test_wilsons_interval_is_the_printed_one():
    low, high = wilson(0.5, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=2e-4)


def test_permutation_p_is_small_for_a_shift_and_not_for_halves_of_one_set():
    a = normal(120)
    assert permuted_p(a[:60], a[60:], 0) > 0.05
    assert permuted_p(a[:60], a[60:] + 1, 0) < 0.01


def test_a_changed_quality_is_drift_by_its_name_and_an_unchanged_camera_is_none():
    reference = face_statistics(seen(60), GAZE)
    same = check_drift(reference, seen(50, first=200), GAZE)
    assert not same.drifted and "no drift told at n = 50" in same.words
    lower = check_drift(reference, seen(50, "{randint: [18, 28]}", first=200), GAZE)
    assert (
        lower.drifted and lower.moved[0].kind in {"compression", "sharpness"} and "compression" in lower.words
    )


def test_a_check_of_more_crops_than_are_looked_at_says_how_many(monkeypatch):
    monkeypatch.setattr("lrfr.fit.judge.drift_check._MOST", 40)
    found = check_drift(face_statistics(seen(60), GAZE), seen(50, first=200), GAZE)
    assert (found.n, found.reference) == (40, 40) and not found.drifted


def test_the_interval_of_sixteen_resamplings_holds_the_truth_19_times_of_20():
    random = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        estimate = random.standard_normal()
        low, high = map(float, _ends(list(estimate + random.standard_normal(16)), (-9, 9))[1:-1].split(","))
        held += low <= 0 <= high
    assert 930 <= held <= 970
    assert _ends([0.0, 0.1, 0.0, 0.1], (0, 1)).startswith("[0, ")


@pytest.mark.parametrize(
    "name, base, group",
    [
        ("dark-alpha-a.sigma", "dark-alpha.sigma", 0),
        ("dark-alpha-b?", "dark-alpha?", 1),
        ("s0-1-b:", "s0-1:", 1),
        ("file.quality", "file.quality", 0),
    ],
)
def test_a_law_of_a_group_is_found_under_its_name_in_the_prior(name, base, group):
    assert _base(name, {"dark-alpha.sigma": 0, "dark-alpha?": 1, "s0-1:": 2}, 2) == (base, group)
