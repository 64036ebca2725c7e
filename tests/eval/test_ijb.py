"""IJB: alignment, template pooling, switches, both 1:N computations, and the reader on the distributed
layout.
"""

import heapq
import math

import numpy as np
import pytest

from lrfr.core.errors import DataError
from lrfr.core.landmarks import TEMPLATE, similarity
from lrfr.eval.embeddings import Embedded, unit
from lrfr.eval.protocols.ijb import align, per_gallery, run_ijb
from lrfr.eval.scoring.templates import image_features, legacy_merged, pair_scores, template_features
from tests.eval.world import color_embed, identity_picture, quick_task, save


def test_similarity_transform_recovers_scale_rotation_and_shift():
    angle, scale, shift = 0.4, 1.7, np.array([5.0, -3.0])
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = TEMPLATE @ rotation.T + shift
    matrix = similarity(TEMPLATE, source)
    np.testing.assert_allclose(matrix[:, :2], rotation, atol=1e-9)
    np.testing.assert_allclose(matrix[:, 2], shift, atol=1e-9)
    with pytest.raises(DataError):
        similarity(np.ones((5, 2)), source)


def test_similarity_transform_is_the_least_squares_solution():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(5, 2)) * 30, rng.normal(size=(5, 2)) * 30
    system, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        system += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(system), np.array(right), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, tx], [b, a, ty]], atol=1e-9)


def test_alignment_leaves_an_aligned_crop_alone():
    image = identity_picture(3, 0, 112)
    np.testing.assert_array_equal(align(image, TEMPLATE), image)


def test_switches_follow_their_letters():
    rng = np.random.default_rng(1)
    embedded = Embedded(*(rng.normal(size=(4, 3)).astype(np.float32) for _ in range(2)))
    detector = np.array([0.5, 1.0, 0.2, 0.9])
    total = embedded.plain + embedded.mirrored
    n1d1f1 = image_features(embedded, detector, norm="keep", use_detector=True, flip=True)
    np.testing.assert_allclose(n1d1f1, total * detector[:, None], rtol=1e-6)
    n0d0f1 = image_features(embedded, detector, norm="unit", use_detector=False, flip=True)
    np.testing.assert_allclose(np.linalg.norm(n0d0f1, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        image_features(embedded, detector, norm="keep", use_detector=False, flip=False), embedded.plain
    )


def test_templates_are_means_in_media_and_sums_over_media():
    feature = np.array([[1, 0], [3, 0], [0, 5], [7, 7]], np.float32)
    made, numbers = template_features(feature, np.array([9, 9, 9, 4]), np.array([1, 1, 2, 1]))
    assert numbers.tolist() == [4, 9]
    np.testing.assert_allclose(made, unit(np.array([[7, 7], [2, 5]], np.float32)), rtol=1e-6)


def world(seed=0):
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(30, 6))
    galleries = [
        ((center[ids] + 0.5 * rng.normal(size=(15, 6))).astype(np.float32), ids)
        for ids in (np.arange(15), np.arange(15, 30))
    ]
    probe_id = rng.integers(0, 30, 90)
    return (center[probe_id] + 0.9 * rng.normal(size=(90, 6))).astype(np.float32), probe_id, galleries


def test_legacy_merged_equals_the_published_computation_in_any_block_size(monkeypatch):
    probe, probe_id, galleries = world()
    gallery, label = np.concatenate([g for g, _ in galleries]), np.concatenate([i for _, i in galleries])
    similarity = unit(probe) @ unit(gallery).T
    mask = np.array([np.flatnonzero(label == p)[0] for p in probe_id])
    mates = similarity[np.arange(90), mask].copy()
    similarity[np.arange(90), mask] = -2
    negatives = heapq.nlargest(math.ceil(90 * 0.1), similarity[similarity > -2])
    expected = {f: (mates > negatives[math.ceil(90 * f) - 1]).mean() for f in (0.01, 0.1)}
    assert legacy_merged(probe, probe_id, gallery, label, (0.01, 0.1)) == pytest.approx(expected)
    monkeypatch.setattr("lrfr.eval.scoring.templates.GALLERY_BLOCK", 4)
    monkeypatch.setattr("lrfr.eval.scoring.templates.PROBE_BLOCK", 7)
    assert legacy_merged(probe, probe_id, gallery, label, (0.01, 0.1)) == pytest.approx(expected)


def test_per_gallery_equals_a_loop_over_probes():
    probe, probe_id, galleries = world(1)
    found = per_gallery(probe, probe_id, galleries)
    for target in (0.01, 0.1):
        values = []
        for gallery, ids in galleries:
            similarity = unit(probe) @ unit(gallery).T
            stranger = sorted(
                (row.max() for row, p in zip(similarity, probe_id, strict=True) if p not in ids), reverse=True
            )
            threshold = stranger[max(int(len(stranger) * target) - 1, 0)]
            hits = [
                row[ids == p][0] > threshold and row[ids == p][0] > row[ids != p].max()
                for row, p in zip(similarity, probe_id, strict=True)
                if p in ids
            ]
            values.append(np.mean(hits))
        assert found[f"TPIR@FPIR={target:g}"].value == pytest.approx(np.mean(values))
    assert not found["TPIR@FPIR=0.01"].resolvable


def test_pair_scores_do_not_depend_on_the_block():
    rng = np.random.default_rng(0)
    features, left, right = (
        rng.normal(size=(20, 4)).astype(np.float32),
        rng.integers(0, 20, 99),
        rng.integers(0, 20, 99),
    )
    np.testing.assert_array_equal(
        pair_scores(features, left, right, block=7), pair_scores(features, left, right)
    )


def write_ijb(root, name="ijbc", people=8):
    meta, lines, marks, number = root / "meta", [], [], 0
    meta.mkdir(parents=True)
    points = " ".join(f"{value:.3f}" for value in TEMPLATE.reshape(-1))
    subjects = []
    for person in range(people):
        for template in range(3):  # one gallery, two probes
            subjects.append((10 * person + template, person))
            for medium in range(2):
                number += 1
                save(root / "loose_crop" / f"{number}.jpg", identity_picture(person, number, 112))
                lines.append(f"{number}.jpg {10 * person + template} {medium}")
                marks.append(f"{number}.jpg {points} 0.9")
    (meta / f"{name}_face_tid_mid.txt").write_text("\n".join(lines))
    (meta / f"{name}_name_5pts_score.txt").write_text("\n".join(marks))
    pairs = [(a, b, int(p == q)) for a, p in subjects for b, q in subjects if a < b]
    (meta / f"{name}_template_pair_label.txt").write_text("\n".join(" ".join(map(str, row)) for row in pairs))
    half = people // 2
    for letter, mine in (("G1", range(half)), ("G2", range(half, people))):
        (meta / f"{name}_1N_gallery_{letter}.csv").write_text(
            "TID,SID\n" + "\n".join(f"{10 * p},{p}" for p in mine)
        )
    probes = "\n".join(f"{tid},{person}" for tid, person in subjects if tid % 10)
    (meta / f"{name}_1N_probe_mixed.csv").write_text("TID,SID\n" + probes)


def test_ijbc_runs_one_to_one_and_one_to_many(tmp_path):
    write_ijb(tmp_path)
    results = run_ijb(tmp_path, quick_task(sizes=(112, 14), matching=("cross",)), name="ijbc")
    assert [(r.protocol, r.sizes) for r in results] == [
        ("template verification", (112, 112)),
        ("template identification", (112, 112)),
        ("template verification", (112, 14)),
        ("template identification", (112, 14)),
    ]
    one, many = results[:2]
    assert one.more["switches"] == "N1D1F1"
    assert (one.counts["n_pos"], one.counts["n_neg"]) == (8 * 3, 24 * 23 // 2 - 24)
    assert one.metrics["TAR@FAR=0.1"].value > 0.95
    assert not one.metrics["TAR@FAR=1e-06"].resolvable
    assert {"TPIR@FPIR=0.1", "rank-1", "legacy-merged@0.1"} <= set(many.metrics)


def test_without_gallery_lists_only_one_to_one_runs(tmp_path):
    write_ijb(tmp_path)
    (tmp_path / "meta" / "ijbc_1N_probe_mixed.csv").unlink()
    assert len(run_ijb(tmp_path, quick_task(), name="ijbc")) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ijbc_template_pair_label.txt", None, "ijbc_template_pair_label.txt"),
        ("ijbc_template_pair_label.txt", "0 1 one\n", "columns of integers"),
        ("ijbc_template_pair_label.txt", "0 99999 1\n", "template 99999 has no image"),
        ("ijbc_name_5pts_score.txt", "1.jpg " + "0 " * 11, "same images"),
        ("ijbc_1N_gallery_G2.csv", None, "ijbc_1N_gallery_G2.csv"),
    ],
)
def test_wrong_lists_are_named(tmp_path, name, content, words):
    write_ijb(tmp_path)
    path = tmp_path / "meta" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=words):
        run_ijb(tmp_path, quick_task(), name="ijbc")


def test_mirror_images_take_the_second_size(tmp_path):
    """BTNet's cross-resolution IJB embeds the image at one size and its mirror image at the other."""
    write_ijb(tmp_path, people=4)
    seen = []
    task = quick_task(sizes=(112, 14), matching=("cross",))

    def embed(images):
        seen.append(images[0].shape[0])
        return color_embed(images)

    run_ijb(tmp_path, type(task)(embed, task.settings), name="ijbc")
    assert seen == [112, 112, 112, 14]
