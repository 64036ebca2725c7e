"""Each convention against an independent slow implementation, written as loops from its published
definition.
"""

import itertools

import numpy as np
import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.eval.scoring.conventions import CONVENTIONS, evaluate, fold_numbers, similarity, validation_rate


def world(
    seed: int, pairs: int = 600, dim: int = 16, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) // 30 % 2 == 0
    left = rng.normal(size=(pairs, dim))
    right = np.where(same[:, None], left, rng.normal(size=(pairs, dim)))
    return left + noise * rng.normal(size=left.shape), right + noise * rng.normal(size=left.shape), same


def unit(row: np.ndarray) -> np.ndarray:
    return row / np.sqrt((row * row).sum())


def slow_insightface(left, right, same, folds):
    dist = np.array([((unit(a) - unit(b)) ** 2).sum() for a, b in zip(left, right, strict=True)])
    grid = np.arange(0, 4, 0.01)
    return slow_grid(dist, same, folds, grid, lambda d, t: d < t)


def slow_xqlfw(left, right, same, folds):
    dist = np.array([1 - np.dot(unit(a), unit(b)) for a, b in zip(left, right, strict=True)])
    return slow_grid(dist, same, folds, np.arange(0, 2, 0.001), lambda d, t: d < t)


def slow_grid(dist, same, folds, grid, says_same):
    out = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        best, best_right = grid[0], -1
        for threshold in grid:
            right = (says_same(dist[train], threshold) == same[train]).sum()
            if right > best_right:
                best, best_right = threshold, right
        out.append((says_same(dist[test], best) == same[test]).mean())
    return np.mean(out)


def slow_fskd(left, right, same, folds):
    out = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        center = np.concatenate([left[train], right[train]]).mean(axis=0)
        score = np.array(
            [np.dot(unit(a - center), unit(b - center)) for a, b in zip(left, right, strict=True)]
        )
        thresholds = [k / 10000 for k in range(-10000, 10001)]
        pos, neg = np.sort(score[train & same]), np.sort(score[train & ~same])
        right_counts = [
            (len(pos) - np.searchsorted(pos, t, "right")) + np.searchsorted(neg, t, "left")
            for t in thresholds
        ]
        top = max(right_counts)
        chosen = np.mean([t for t, r in zip(thresholds, right_counts, strict=True) if r == top])
        sign = np.where(same, 1, -1)[test]
        out.append(((sign == 1) & (score[test] > chosen) | (sign == -1) & (score[test] < chosen)).mean())
    return np.mean(out)


def slow_maug(left, right, same, folds):
    score = np.array(
        [
            np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-5)
            for a, b in zip(left, right, strict=True)
        ]
    )
    out = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        best, best_right = None, -1
        for threshold in np.arange(-1.0, 1.0, 0.005):
            right = ((score[train] > threshold) == same[train]).sum()
            if right >= best_right:
                best, best_right = threshold, right
        out.append(((score[test] > best) == same[test]).mean())
    return np.mean(out)


def slow_facexzoo(left, right, same, folds):
    score = np.array([np.dot(unit(a), unit(b)) for a, b in zip(left, right, strict=True)])
    out = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        low, high = score[train].min(), score[train].max()
        best, best_gap = None, -2.0
        for i in range(1, 1001):
            threshold = low + (high - low) / 1000 * i
            gap = (score[train & same] > threshold).mean() - (score[train & ~same] > threshold).mean()
            if gap > best_gap + 1e-12:
                best, best_gap = threshold, gap
        out.append(((score[test & same] > best).sum() + (score[test & ~same] < best).sum()) / test.sum())
    return np.mean(out)


def slow_exact(left, right, same, folds):
    score = np.array([np.dot(unit(a), unit(b)) for a, b in zip(left, right, strict=True)])
    out = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        values = sorted(set(score[train].tolist()))
        cuts = [values[0] - 1, *[(a + b) / 2 for a, b in itertools.pairwise(values)], values[-1] + 1]
        hits = [((score[train] >= cut) == same[train]).sum() for cut in cuts]
        top = max(hits)
        best = [cut for cut, hit in zip(cuts, hits, strict=True) if hit == top]
        out.append(((score[test] >= best[(len(best) - 1) // 2]) == same[test]).mean())
    return np.mean(out)


SLOW = {
    "A": slow_insightface,
    "B": slow_fskd,
    "C": slow_maug,
    "D": slow_xqlfw,
    "E": slow_facexzoo,
    "F": slow_exact,
}


@pytest.mark.parametrize("key", sorted(SLOW))
@pytest.mark.parametrize("seed", [0, 1])
def test_each_convention_equals_its_slow_form_on_6000_pairs(key, seed):
    left, right, same = world(seed, pairs=6000)
    folds = fold_numbers(6000)
    assert evaluate(key, left, right, same).accuracy == pytest.approx(
        SLOW[key](left, right, same, folds), abs=1e-12
    )


def test_the_table_of_conventions_is_complete():
    assert sorted(CONVENTIONS) == sorted(SLOW)


def test_on_the_same_scores_the_rules_agree_within_a_fifth_of_a_point():
    left, right, same = world(3, pairs=6000)
    found = [
        evaluate(key, left, right, same).accuracy for key in CONVENTIONS if key != "B"
    ]  # B centers, so its scores are others
    assert max(found) - min(found) <= 0.002 + 1e-9


def test_ties_fall_as_each_convention_says():
    """Scores of exactly 0 and 1 with the threshold forced onto a score: A, C, D call a tie different, B and E
    lose it either way.
    """
    train = np.array([0.0, 1.0, 0.0, 1.0])
    train_same = np.array([False, True, False, True])
    for key in ("B", "C", "E"):
        _, correct = CONVENTIONS[key].rule(train, train_same, np.array([1.0, 0.0]), np.array([True, False]))
        assert correct.tolist() == [True, True], key
        threshold, _ = CONVENTIONS[key].rule(train, train_same, np.array([1.0]), np.array([True]))
        _, tie = CONVENTIONS[key].rule(
            train, train_same, np.array([threshold, threshold]), np.array([True, False])
        )
        assert tie.tolist() == {"B": [False, False], "C": [False, True], "E": [False, False]}[key]
    distance, same = np.array([0.0, 2.0]), np.array([True, False])
    threshold, tie = CONVENTIONS["A"].rule(distance, same, np.array([0.01, 0.01]), np.array([True, False]))
    assert threshold == pytest.approx(0.01)
    assert tie.tolist() == [False, True]


def test_folds_are_consecutive_and_cfp_has_seven_hundred_each():
    assert np.bincount(fold_numbers(7000)).tolist() == [700] * 10
    assert np.bincount(fold_numbers(6003)).tolist() == [601] * 3 + [600] * 7
    assert (np.diff(fold_numbers(6003)) >= 0).all()


def test_convention_e_refuses_seven_thousand_pairs_unless_told_otherwise():
    left, right, same = world(0, pairs=7000, dim=4)
    with pytest.raises(DataError, match="600"):
        evaluate("E", left, right, same)
    assert 0.5 < evaluate("E", left, right, same, any_folds=True).accuracy <= 1


def test_spreads_differ_as_the_table_says():
    left, right, same = world(0, pairs=6000)
    found = {key: evaluate(key, left, right, same) for key in "ABCDEF"}
    assert found["B"].spread is None
    assert found["D"].spread is None
    assert found["A"].spread == pytest.approx(np.std(found["A"].folds))
    assert found["E"].spread == pytest.approx(np.std(found["E"].folds, ddof=1) / np.sqrt(10))


def test_exact_convention_is_right_when_neighboring_scores_are_neighboring_doubles():
    low = 0.5
    high = np.nextafter(low, 1)
    _, correct = CONVENTIONS["F"].rule(
        np.array([low, high]), np.array([False, True]), np.array([low, high]), np.array([False, True])
    )
    assert correct.all()


def test_validation_rate_equals_a_slow_form():
    left, right, same = world(4, pairs=1000, noise=0.7)
    folds = fold_numbers(1000)
    dist = np.array([((unit(a) - unit(b)) ** 2).sum() for a, b in zip(left, right, strict=True)])
    grid, rates = np.arange(0, 4, 0.001), []
    for fold in range(10):
        train, test = folds != fold, folds == fold
        far = np.array([(dist[train & ~same] < t).mean() for t in grid])
        after = int(np.argmax(far >= 1e-2))
        low, high = far[after - 1], far[after]
        last_low = np.flatnonzero(far == low)[-1]
        last_high = np.flatnonzero(far == high)[-1]
        threshold = grid[last_low] + (1e-2 - low) / (high - low) * (grid[last_high] - grid[last_low])
        rates.append((dist[test & same] < threshold).mean())
    mean, std = validation_rate(left, right, same, far=1e-2)
    assert mean == pytest.approx(np.mean(rates), abs=1e-9)
    assert std == pytest.approx(np.std(rates), abs=1e-9)


def test_similarity_is_the_cosine_in_any_block_size():
    left, right, _ = world(0, pairs=50)
    expected = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(left, right, strict=True)
    ]
    np.testing.assert_allclose(similarity(left, right, block=7), expected, atol=1e-12)
    assert similarity(np.zeros((1, 4)), np.ones((1, 4))).tolist() == [0.0]


def test_an_unknown_convention_is_named():
    with pytest.raises(SpecError, match="A, B, C, D, E, F"):
        evaluate("G", *world(0))
