"""What an epoch shows: variants drawn for each row on its own, identities with several images, any world."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from lrfr.core.errors import DataError, SpecError
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.reading.order import Identities
from lrfr.pairs.reading.variant_draw import draw_variants
from tests.pairs.toy import build

WEIGHTS = (1.0, 1.0, 2.0)
SHARES = np.array([0.25, 0.25, 0.5])
ROWS = np.arange(40_000)


def fits(counts, expected):
    """Say whether counts are what a fair draw gives, in all but one of a million cases."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return statistic < chi2.ppf(1 - 1e-6, counts.size - 1)


def test_shares_follow_the_weights_in_every_epoch_and_for_every_row():
    drawn = np.stack([draw_variants("d", epoch, ROWS[:3000], WEIGHTS) for epoch in range(200)])
    for table in (drawn, drawn.T):
        for line in table:
            assert fits(np.bincount(line, minlength=3), len(line) * SHARES)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 4096])
def test_a_row_says_nothing_about_its_neighbors(step):
    """Counts of pairs of variants, (row, row + step), against independence."""
    drawn = draw_variants("d", 5, ROWS, WEIGHTS)
    whole = len(ROWS) // (2 * step) * (2 * step)
    first, second = drawn[:whole].reshape(-1, 2, step).swapaxes(0, 1).reshape(2, -1)
    counts = np.bincount(3 * first + second, minlength=9)
    assert fits(counts, len(first) * np.outer(SHARES, SHARES).ravel())


def test_no_epoch_moves_all_rows_together():
    """Of independent draws, as many rows change as two fair draws differ: 1 - sum of squared shares."""
    epochs = [draw_variants("d", epoch, ROWS, WEIGHTS) for epoch in range(40)]
    changed = [float((left != right).mean()) for left in epochs for right in epochs if left is not right]
    assert np.abs(np.array(changed) - (1 - (SHARES**2).sum())).max() < 0.015
    for left, right in pairwise(epochs):
        counts = np.bincount(3 * left + right, minlength=9)
        assert fits(counts, len(ROWS) * np.outer(SHARES, SHARES).ravel())


def test_a_draw_hangs_on_view_epoch_and_row_alone():
    whole = draw_variants("d", 3, ROWS, WEIGHTS)
    some = np.random.default_rng(0).permutation(ROWS)[:500]
    assert np.array_equal(draw_variants("d", 3, some, WEIGHTS), whole[some])
    assert np.array_equal(draw_variants("d", 3, ROWS, (2.5, 2.5, 5.0)), whole)
    for other in (draw_variants("e", 3, ROWS, WEIGHTS), draw_variants("d", 4, ROWS, WEIGHTS)):
        assert 0.55 < (other != whole).mean() < 0.7
    assert not draw_variants("d", 3, ROWS[:9], (1.0,)).any()


labelings = st.lists(st.integers(-1, 9), min_size=1, max_size=120).map(lambda x: np.array(x, np.int64))


@settings(max_examples=120, deadline=None)
@given(labelings, st.integers(1, 5), st.integers(0, 2**63), st.integers(0, 10**6))
def test_identities_have_k_different_images_each(labels, images, seed, epoch):
    counts = np.bincount(labels[labels >= 0], minlength=10)
    eligible = np.flatnonzero(counts >= images)
    if not len(eligible):
        with pytest.raises(DataError, match=f"no identity has {images} images"):
            Identities(labels, images)
        return
    people = Identities(labels, images)
    order = people.order(seed, epoch)
    assert len(order) == len(people) == len(eligible) * images
    groups = order.reshape(-1, images)
    shown = labels[groups]
    assert (shown == shown[:, :1]).all()
    assert sorted(shown[:, 0].tolist()) == eligible.tolist()
    assert len(set(order.tolist())) == len(order)
    assert people.left_out == len(labels) - counts[eligible].sum()
    assert np.array_equal(order, Identities(labels, images).order(seed, epoch))


def test_every_set_of_images_is_as_likely_as_every_other():
    """One identity of five images: all ten pairs, and turns of 24 identities at every place."""
    one = Identities(np.zeros(5, np.int64), 2)
    pairs = [tuple(sorted(one.order(7, epoch).tolist())) for epoch in range(4000)]
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == 10 and fits(counts, np.full(10, 400.0))
    many = Identities(np.repeat(np.arange(24), 3), 3)
    firsts = [int(many.order(7, epoch)[0]) // 3 for epoch in range(4800)]
    assert fits(np.bincount(firsts, minlength=24), np.full(24, 200.0))


def test_an_identity_draws_alone():
    """What it shows does not depend on the images that others have."""
    labels = np.repeat(np.arange(6), 5)
    fewer = labels.copy()
    fewer[labels == 3] = -1
    whole, part = (Identities(item, 3).order(1, 2).reshape(-1, 3) for item in (labels, fewer))
    assert [group.tolist() for group in whole if labels[group[0]] != 3] == part.tolist()


@pytest.fixture
def mixed(folder):
    build(folder / "mixed", variants=2)
    return PairDataset(folder / "mixed")


def rows_of(batches):
    return [(batch.row_b.tolist(), batch.lr_bchw.numpy().tobytes()) for batch in batches]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_batches_of_identities_do_not_depend_on_the_world(mixed, world):
    alone = PairLoader(mixed, 24, seed=1, images_per_id=4)
    assert len(alone) == 4 and alone.left_out == 0
    for batch in alone.iterate(3):
        assert sorted(np.unique(batch.label_b, return_counts=True)[1].tolist()) == [4] * 6
    ranks = [
        PairLoader(mixed, 24 // world, seed=1, rank=rank, world_size=world, images_per_id=4, threads=rank)
        for rank in range(world)
    ]
    together = zip(*(rank.iterate(3) for rank in ranks), strict=True)
    for whole, parts in zip(alone.iterate(3), together, strict=True):
        assert torch.equal(whole.row_b, torch.cat([part.row_b for part in parts]))
        assert torch.equal(whole.lr_bchw, torch.cat([part.lr_bchw for part in parts]))
        assert all(np.unique(part.label_b).size * 4 == len(part) for part in parts)


def test_batches_of_identities_resume_exactly(mixed):
    loader = PairLoader(mixed, 24, seed=1, images_per_id=4)
    whole = rows_of(loader) + rows_of(loader)
    loader.set_epoch(0)
    reading = iter(loader)
    first = rows_of(next(reading) for _ in range(3))
    again = PairLoader(mixed, 24, seed=1, images_per_id=4, threads=0)
    again.load_state_dict(loader.state_dict())
    assert first + rows_of(again) + rows_of(again) == whole
    for other in (PairLoader(mixed, 24, seed=1), PairLoader(mixed, 24, seed=1, images_per_id=2)):
        with pytest.raises(SpecError, match="another order"):
            other.load_state_dict(loader.state_dict())
        with pytest.raises(SpecError, match="another order"):
            loader.load_state_dict(other.state_dict())


def test_wishes_that_cannot_be_are_refused(mixed):
    for wrong in ({"images_per_id": 5}, {"images_per_id": 4, "shuffle": False}, {"images_per_id": -1}):
        with pytest.raises(SpecError):
            PairLoader(mixed, 24, **wrong)
    with pytest.raises(DataError, match="no identity has 12 images"):
        PairLoader(mixed, 24, images_per_id=12)
