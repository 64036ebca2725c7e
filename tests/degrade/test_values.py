"""Value literals: laws against theory, slots against reordering."""

from __future__ import annotations

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from lrfr.core.streams import stream
from lrfr.degrade.values.distributions import Draw, pick, tidy, value_json
from lrfr.degrade.values.params import Real, Whole, Word

ANY = Real(-1000, 1000)


def draws(literal, count, field=ANY):
    value = field.check(literal)
    return [Draw(stream(3, b"%d" % number, 0, "s"))(value) for number in range(count)]


@pytest.mark.parametrize(
    ("literal", "law"),
    [
        ({"uniform": [2, 5]}, stats.uniform(2, 3)),
        ({"log_uniform": [16, 128]}, stats.loguniform(16, 128)),
        ({"normal": [1, 2], "clip": [-100, 100]}, stats.norm(1, 2)),
        ({"chi": 10, "clip": [0, 100]}, stats.chi(10)),
        ({"chi": 3, "scale": 2, "clip": [0, 100]}, stats.chi(3, scale=2)),
    ],
)
def test_real_laws_follow_their_distribution(literal, law):
    assert stats.kstest(draws(literal, 5000), law.cdf).pvalue > 1e-3


def test_randint_includes_both_ends_and_is_even():
    counts = Counter(draws({"randint": [30, 35]}, 6000, Whole(0, 100)))
    assert sorted(counts) == [30, 31, 32, 33, 34, 35]
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("weights", [[1, 1, 2], [0.3, 0.25, 0.2], [1, 0, 3], [5, 3, 2]])
def test_choice_weights_are_shares_not_sums(weights):
    counts = Counter(draws({"choice": [7, 14, 20], "weights": weights}, 8000, Whole(1, 112)))
    expected = np.array(weights, float) / sum(weights) * 8000
    assert all(counts[size] == 0 for size, share in zip((7, 14, 20), expected, strict=True) if share == 0)
    live = [(counts[size], share) for size, share in zip((7, 14, 20), expected, strict=True) if share]
    assert stats.chisquare([seen for seen, _ in live], [share for _, share in live]).pvalue > 1e-3


def test_normal_and_chi_are_cut_to_the_clip():
    values = draws({"normal": [0, 10], "clip": [-1, 2]}, 500)
    assert min(values) == -1
    assert max(values) == 2
    assert max(draws({"chi": 50, "clip": [0, 6]}, 50)) == 6


def test_drawn_reals_have_nine_digits():
    assert all(float(f"{value:.9g}") == value for value in draws({"uniform": [0, 1]}, 200))
    assert tidy(math.pi) == 3.14159265


def test_a_scalar_takes_a_slot_like_a_law():
    later = Real(0, 1).check({"uniform": [0, 1]})
    outcomes = set()
    for first in (7.0, {"uniform": [5, 9]}, {"choice": [1, 2]}):
        draw = Draw(stream(1, b"k", 0, "s"))
        draw(ANY.check(first))
        outcomes.add(draw(later))
    assert len(outcomes) == 1


def test_pick_covers_the_unit_interval():
    grid = (np.arange(1000) + 0.5) / 1000
    counts = Counter(pick((1.0, 1.0, 2.0), u) for u in grid)
    assert counts == {0: 250, 1: 250, 2: 500}
    assert pick((1.0, 0.0), 1 - 2**-53) == 0
    assert pick((0.0, 1.0), 0.0) == 1


@pytest.mark.parametrize(
    ("field", "raw", "expected"),
    [
        (Real(0, 1), 2, "in [0, 1], got 2"),
        (Real(0, 1), {"uniform": [0, 2]}, "got 0 to 2"),
        (Real(0, 1), {"uniform": [1, 0]}, "above high"),
        (Real(0, 1), {"uniform": [0]}, "[low, high]"),
        (Real(0, 1), {"unifrom": [0, 1]}, "expected one of uniform"),
        (Real(0, 1), {"uniform": [0, 1], "weights": [1]}, "unknown key 'weights'"),
        (Real(0, 1), {"choice": [0, 1], "weights": [1]}, "expected 2 weights"),
        (Real(0, 1), {"choice": [0, 1], "weights": [0, 0]}, "not all 0"),
        (Real(0, 1), {"choice": [0, 1], "weights": [-1, 2]}, "weights must be"),
        (Real(0, 1), {"choice": []}, "a list of 1"),
        (Real(-9, 9), {"log_uniform": [0, 1]}, "low > 0"),
        (Real(0, 1), float("nan"), "ordinary size"),
        (Real(0, 1), 10**400, "ordinary size"),
        (Real(0, 1), True, "expected a number"),
        (Real(0, 1), "x", "expected a number"),
        (Real(0, 1), None, "got nothing"),
        (Real(), {"normal": [0, 1]}, "add clip"),
        (Real(0, 1), {"normal": [0, -1]}, "std >= 0"),
        (Real(0, 9), {"chi": 0}, "degrees of freedom"),
        (Whole(0, 9), 1.5, "whole number"),
        (Whole(0, 9), {"uniform": [0, 9]}, "randint or choice"),
        (Word(("a", "b")), "c", "expected one of a, b"),
        (Word(("a", "b")), {"randint": [0, 1]}, "a word or choice"),
    ],
)
def test_bad_literals_say_what_was_expected(field, raw, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        field.check(raw)


@pytest.mark.parametrize(
    "literal",
    [
        3.5,
        {"uniform": [0.25, 3.0]},
        {"log_uniform": [1.0, 9.0]},
        {"randint": [1, 5]},
        {"choice": [1.0, 2.0], "weights": [1.0, 3.0]},
        {"normal": [1.0, 2.0], "clip": [0.0, 4.0]},
        {"chi": 4, "scale": 1.5, "clip": [0.0, 9.0]},
    ],
)
def test_literals_survive_the_way_to_json_and_back(literal):
    assert value_json(ANY.check(literal)) == literal


def test_square_uniform_has_a_uniform_square():
    law = Real(0, 9).check({"square_uniform": [0.5, 3]})
    drawn = np.array([law.draw(lambda u=u: u) for u in (np.arange(500) + 0.5) / 500])
    assert stats.kstest(drawn**2, "uniform", (0.25, 8.75)).pvalue > 0.99
    assert Real(0, 9).check(law.as_json()) == law
    with pytest.raises(ValueError, match="square_uniform needs low >= 0"):
        Real().check({"square_uniform": [-1, 3]})


def test_a_default_clip_is_written_as_an_explicit_one():
    left_out, given = (Real(0, 9).check({"normal": [1, 2], **more}) for more in ({}, {"clip": [0, 9]}))
    assert json.dumps(left_out.as_json()) == json.dumps(given.as_json())
