"""Intervals and tests against scipy, statistics worked by hand, and coverage in simulation."""

import numpy as np
import pytest
from scipy import stats as sps

from lrfr.core.errors import DataError
from lrfr.eval.report.gains import relative_gain
from lrfr.eval.scoring.intervals import (
    Resampling,
    bootstrap_mean,
    bootstrap_tar,
    delong,
    mcnemar,
    norm_test,
    pearson_maps,
    wilson,
)
from lrfr.eval.scoring.metrics import roc, tar_at_far


def test_wilson_equals_scipy():
    for k, n in [(0, 10), (3, 10), (10, 10), (981, 1000)]:
        low, high = sps.binomtest(k, n).proportion_ci(method="wilson")
        ours = wilson(k, n)
        assert (ours.low, ours.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


def test_mcnemar_is_the_exact_binomial_of_the_discordant_pairs():
    a = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 0], bool)
    b = np.array([1, 0, 0, 0, 0, 0, 1, 0, 1, 0], bool)
    found = mcnemar(a, b)
    assert (found["only_a"], found["only_b"]) == (5, 1)
    assert found["p"] == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(a, a)["p"] == 1.0
    with pytest.raises(DataError):
        mcnemar(a, b[:-1])


def test_delong_equals_a_double_loop_over_placements():
    rng = np.random.default_rng(0)
    same = rng.random(80) < 0.5
    a, b = np.round(rng.normal(same * 1.0), 1), np.round(rng.normal(same * 0.6), 1)

    def psi(s):
        pos, neg = s[same], s[~same]
        return np.array([[(p > n) + 0.5 * (p == n) for n in neg] for p in pos])

    pa, pb = psi(a), psi(b)
    s10 = np.cov(pa.mean(axis=1), pb.mean(axis=1))
    s01 = np.cov(pa.mean(axis=0), pb.mean(axis=0))
    s = s10 / same.sum() + s01 / (~same).sum()
    z = (pa.mean() - pb.mean()) / np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    found = delong(a, b, same)
    assert found["auc_a"] == pytest.approx(pa.mean(), abs=1e-12)
    assert found["z"] == pytest.approx(z, abs=1e-10)
    assert found["p"] == pytest.approx(2 * sps.norm.sf(abs(z)), abs=1e-12)
    assert delong(a, a, same)["p"] == 1.0


def test_norm_test_is_the_papers_formula():
    rng = np.random.default_rng(1)
    x = rng.normal(5, 1, 60)
    y = x * 0.9 + rng.normal(0, 0.3, 60)
    found = norm_test(x, y)
    by_hand = (x.mean() - y.mean()) / np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 60)
    assert found["t"] == pytest.approx(by_hand, abs=1e-10)
    assert found["t_paired"] == pytest.approx((x - y).mean() / ((x - y).std(ddof=1) / np.sqrt(60)), abs=1e-10)
    assert found["cohen_d"] == pytest.approx(by_hand * np.sqrt(2 / 60), abs=1e-10)


def test_pearson_of_maps_equals_numpy_per_image():
    rng = np.random.default_rng(2)
    hr = rng.normal(size=(4, 6, 5, 5))
    lr = hr + rng.normal(size=hr.shape)
    found = pearson_maps(hr, lr)
    for i in range(4):
        assert found["elements"][i] == pytest.approx(np.corrcoef(hr[i].ravel(), lr[i].ravel())[0, 1])
        assert found["channel_mean"][i] == pytest.approx(
            np.corrcoef(hr[i].mean(0).ravel(), lr[i].mean(0).ravel())[0, 1]
        )
    assert np.isnan(pearson_maps(np.ones((1, 2, 3, 3)), lr[:1, :2, :3, :3])["elements"]).all()


def test_resampling_weights_are_products_of_draws_of_the_two_people():
    left, right = np.array([0, 0, 1, 2]), np.array([0, 1, 2, 2])
    weights = np.concatenate(list(Resampling(4, left, right, replicates=500, seed=3).weights()))
    zero, two = weights[:, 0], weights[:, 3]
    assert set(np.unique(zero)) <= {0.0, 1.0, 2.0, 3.0}
    one = 3 - zero - two  # three draws over three people
    np.testing.assert_array_equal(weights[:, 1], zero * one)
    np.testing.assert_array_equal(weights[:, 2], one * two)


def test_without_people_pairs_are_resampled_and_chunks_do_not_change_the_numbers(monkeypatch):
    plan = Resampling(50, replicates=40, seed=1)
    whole = np.concatenate(list(plan.weights()))
    assert (whole.sum(axis=1) == 50).all()
    monkeypatch.setattr("lrfr.eval.scoring.intervals._CHUNK_CELLS", 150)
    np.testing.assert_array_equal(np.concatenate(list(plan.weights())), whole)


def test_the_interval_of_a_mean_covers_the_truth_about_nineteen_times_in_twenty_when_people_correlate():
    """Ten trials per person share a personal effect: resampling people covers, resampling trials does not."""
    covered = {"people": 0, "trials": 0}
    rounds = 150
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(60), 10)
        value = (rng.random(600) < np.clip(0.5 + 0.45 * np.sign(rng.normal(size=60)), 0, 1)[person]).astype(
            float
        )
        for name, plan in (
            ("people", Resampling(600, person, None, 300, seed)),
            ("trials", Resampling(600, None, None, 300, seed)),
        ):
            span = bootstrap_mean(value, plan)
            covered[name] += span.low <= 0.5 <= span.high
    assert covered["people"] >= 0.88 * rounds
    assert covered["trials"] <= 0.65 * rounds


def test_class_shares_stay_fixed_in_the_interval_of_an_accuracy():
    correct, classes = np.array([1.0] * 30 + [0.0] * 10), np.array([1] * 30 + [0] * 10)
    span = bootstrap_mean(correct, Resampling(40, replicates=200), classes)
    assert (span.low, span.high) == (pytest.approx(0.75), pytest.approx(0.75))


def test_tar_of_unit_weights_is_the_exact_one_and_the_interval_holds_it():
    rng = np.random.default_rng(4)
    same = np.arange(400) < 200
    scores = np.round(rng.normal(same * 2.0), 2)
    plan = Resampling(400, replicates=300, seed=0)
    spans = bootstrap_tar(scores, same, [0.1, 0.01], plan)
    for far, span in zip([0.1, 0.01], spans, strict=True):
        assert span.low <= tar_at_far(roc(scores, same), far).tar <= span.high


def test_each_replicate_of_tar_equals_counting_a_resampled_list(monkeypatch):
    rng = np.random.default_rng(5)
    same = np.arange(60) < 30
    scores = np.round(rng.normal(same * 1.0), 1)
    plan = Resampling(60, replicates=25, seed=2)
    caught = []
    monkeypatch.setattr(
        "lrfr.eval.scoring.intervals.percentile_interval", lambda values, kind: caught.append(values)
    )
    bootstrap_tar(scores, same, [0.1], plan)
    for weight, found in zip(np.concatenate(list(plan.weights())), caught[0], strict=True):
        rows = np.repeat(np.arange(60), weight.astype(int))
        assert found == pytest.approx(tar_at_far(roc(scores[rows], same[rows]), 0.1).tar)


BTNET = {  # accuracies of Table 1 and the gains printed beside them
    "cross": ({"hr": (57.75, 81.02, 95.90), "mr": (65.85, 87.47, 96.05)}, "mr"),
    "same": ({"hr": (60.70, 73.88, 93.58), "mm": (62.57, 78.00, 94.68)}, "mm"),
}
PRINTED = [
    ("cross", "mm", (50.58, 49.90, 50.03), (-0.89, -4.82, -305.80)),
    ("cross", "bt", (86.10, 94.08, 96.65), (3.50, 2.02, 5.00)),
    ("cross", "mr(v3)", (68.80, 88.13, 96.62), (1.36, 1.10, 4.80)),
    ("same", "bt", (77.78, 90.90, 96.27), (9.13, 4.13, 2.45)),
    ("same", "mr", (61.02, 80.32, 95.12), (0.17, 1.56, 1.40)),
]


@pytest.mark.parametrize(("kind", "net", "accuracy", "printed"), PRINTED)
def test_golden_gains_of_btnet(kind, net, accuracy, printed):
    reference, name = BTNET[kind]
    for value, hr, base, gain in zip(accuracy, reference["hr"], reference[name], printed, strict=True):
        assert relative_gain(value, hr, base) == pytest.approx(gain, abs=0.005)


def test_gain_of_the_reference_is_one_up_or_down_and_undefined_without_a_step():
    assert relative_gain(70, 60, 70) == 1.0
    assert relative_gain(50, 60, 50) == -1.0
    assert relative_gain(50, 60, 60) is None
