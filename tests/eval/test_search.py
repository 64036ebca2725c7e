"""Streaming search against one full matrix product, in any block size."""

import math

import numpy as np
import pytest

from lrfr.eval.scoring.search import (
    average_precisions,
    hit_scores,
    official_sweep,
    open_set_auc,
    search,
    tpir_at_fpir,
)


def world(seed=0, people=12, per_person=3, probes=40, dim=8, strangers=30):
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(people, dim))
    gallery_id = np.repeat(np.arange(people), per_person)
    probe_id = rng.integers(0, people, probes)
    gallery = (center[gallery_id] + 0.8 * rng.normal(size=(len(gallery_id), dim))).astype(np.float32)
    probe = (center[probe_id] + 0.8 * rng.normal(size=(probes, dim))).astype(np.float32)
    outside = rng.normal(size=(strangers, dim)).astype(np.float32)
    return probe, probe_id, gallery, gallery_id, outside


def cosines(probe, gallery):
    p, g = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (probe.astype(np.float64), gallery.astype(np.float64))
    )
    return p @ g.T


@pytest.mark.parametrize("block", [1, 5, 36, 1000])
def test_search_equals_the_full_matrix(block):
    probe, probe_id, gallery, gallery_id, _ = world()
    found = search(probe, probe_id, gallery, gallery_id, top=4, gallery_block=block)
    full = cosines(probe, gallery)
    own = probe_id[:, None] == gallery_id[None, :]
    mate, other = np.where(own, full, -2).max(axis=1), np.where(own, -2, full).max(axis=1)
    np.testing.assert_allclose(found.best_mate, mate, atol=1e-6)
    np.testing.assert_allclose(found.best_other, other, atol=1e-6)
    np.testing.assert_array_equal(found.rank, 1 + (np.where(own, -2, full) >= mate[:, None]).sum(axis=1))
    np.testing.assert_allclose(found.top, -np.sort(-full, axis=1)[:, :4], atol=1e-6)


def test_order_of_the_gallery_does_not_matter():
    probe, probe_id, gallery, gallery_id, _ = world(1)
    order = np.random.default_rng(0).permutation(len(gallery))
    a, b = (
        search(probe, probe_id, gallery, gallery_id),
        search(probe, probe_id, gallery[order], gallery_id[order], gallery_block=7),
    )
    np.testing.assert_array_equal(a.rank, b.rank)


def test_a_probe_without_a_mate_has_no_rank_and_never_hits():
    probe, probe_id, gallery, gallery_id, _ = world()
    found = search(probe[:2], np.array([probe_id[0], 999]), gallery, gallery_id)
    assert found.mated.tolist() == [True, False]
    assert found.rank[1] == 0
    assert hit_scores(found, 20)[1] == -2


def test_a_collapsed_model_is_last_not_first():
    """All embeddings equal: rounding must not turn ties into hits."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 64)).astype(np.float32)
    gallery, probe = np.repeat(one, 50, axis=0), np.repeat(one, 9, axis=0)
    found = search(probe, np.zeros(9, np.int64), gallery, np.arange(50), gallery_block=7)
    assert (found.rank == 50).all()


def test_a_memory_mapped_gallery_gives_the_same(tmp_path):
    probe, probe_id, gallery, gallery_id, _ = world()
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        search(probe, probe_id, mapped, gallery_id, gallery_block=5).rank,
        search(probe, probe_id, gallery, gallery_id).rank,
    )


def open_world(seed=0):
    probe, probe_id, gallery, gallery_id, outside = world(seed)
    mated = search(probe, probe_id, gallery, gallery_id, top=20)
    return mated, search(outside, np.full(len(outside), -1), gallery, gallery_id).best_other


@pytest.mark.parametrize("limit", [1, 3, 20])
@pytest.mark.parametrize("target", [0.0, 0.05, 0.1, 0.3, 1.0])
def test_tpir_is_the_best_that_any_threshold_gives(limit, target):
    mated, unmated = open_world()
    thresholds = [*unmated, -2.0, *mated.best_mate, 2.0]
    ok = (mated.rank <= limit) & mated.mated
    best = max(
        (ok & (mated.best_mate > t)).mean() for t in thresholds if (unmated > t).mean() <= target + 1e-12
    )
    point = tpir_at_fpir(mated, unmated, target, limit)
    assert point.tpir == pytest.approx(best)
    assert point.fpir <= target + 1e-12
    assert point.resolvable == (target * len(unmated) >= 1)


def test_area_equals_integration_over_all_thresholds():
    for seed in range(5):
        mated, unmated = open_world(seed)
        hits = hit_scores(mated, 20)
        thresholds = np.unique(np.concatenate([unmated, hits[hits > -2]]))[::-1]
        points = [
            (0.0, 0.0),
            *[((unmated >= t).mean(), (hits >= t).mean()) for t in thresholds],
            (1.0, (hits > -2).mean()),
        ]
        fpir, tpir = np.array(points).T
        assert open_set_auc(mated, unmated, 20) == pytest.approx(np.trapezoid(tpir, fpir), abs=1e-9)


def test_official_sweep_equals_its_loop():
    mated, unmated = open_world(2)
    low, high = min(mated.top.min(), unmated.min()), unmated.max()
    rows = []
    for t in np.linspace(low, high, 1000):
        rows.append(((unmated > t).mean(), ((mated.rank <= 20) & (mated.best_mate > t)).mean()))
    fpir, tpir = np.array(rows).T
    values, area = official_sweep(mated, unmated, (0.3, 0.1))
    for target in (0.3, 0.1):
        assert values[target] == pytest.approx(tpir[np.argmin(np.abs(fpir - target))])
    assert area == pytest.approx(np.trapezoid(tpir[::-1], fpir[::-1]))
    assert math.isclose(values[0.3], tpir_at_fpir(mated, unmated, 0.3, 20).tpir, abs_tol=0.1)


def plain_average_precision(scores, own):
    """The published script's loop: trapezoids under precision over recall, until the last mate is found."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], own[place]))
    area, old_recall, old_precision, hits = 0.0, 0.0, 1.0, 0
    for place, index in enumerate(order, 1):
        hits += own[index]
        recall, precision = hits / sum(own), hits / place
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_the_published_loop(block, seed):
    rng = np.random.default_rng(seed)
    gallery, probe = rng.normal(size=(90, 6)).astype(np.float32), rng.normal(size=(25, 6)).astype(np.float32)
    label = rng.integers(0, 12, 90)  # between two and a dozen mates each
    label[60:] = -100  # distractors
    who = rng.integers(0, 12, 25)
    found = average_precisions(probe, who, gallery, label, gallery_block=block)
    scores = cosines(probe, gallery)
    wanted = [
        plain_average_precision(row.tolist(), (label == one).tolist())
        for row, one in zip(scores, who, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_average_precision_of_a_perfect_a_collapsed_and_a_mateless_probe():
    gallery = np.array([[1, 0], [1, 0.1], [0, 1], [-1, 0]], np.float32)
    label = np.array([5, 5, 6, -100])
    probe = np.array([[1, 0], [1, 0]], np.float32)
    assert average_precisions(probe, np.array([5, 7]), gallery, label)[0] == 1
    assert np.isnan(average_precisions(probe, np.array([5, 7]), gallery, label)[1])
    # all alike: the two strangers come first, so that the mates stand at 3 and 4 of 4
    alike = average_precisions(probe[:1], np.array([5]), np.ones((4, 2), np.float32), label)[0]
    assert alike == pytest.approx(((0 / 2 + 1 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
