"""Numbers that must not depend on the order of a list, and protocols computed again by loops in plain Python."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from lrfr.core.errors import DataError, NumericFault
from lrfr.eval.embeddings import Embedded
from lrfr.eval.pairs import SearchList, pair_list
from lrfr.eval.protocols.identify import identify
from lrfr.eval.protocols.ijb import per_gallery, run_ijb
from lrfr.eval.protocols.pair_lists import run_tsv
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.results import Model
from lrfr.eval.scoring.conventions import evaluate
from lrfr.eval.scoring.folds import draw_folds
from lrfr.eval.scoring.search import open_set_auc, search, tpir_at_fpir
from lrfr.eval.scoring.templates import image_features, pair_scores, template_features
from lrfr.eval.settings import Settings, Task
from tests.eval.test_ijb import write_ijb
from tests.eval.world import color_embed, identity_picture, quick_task, save

MODEL = Model("m", digest="d" * 64)


def noisy_embed(images):
    """An embedder that errs, for each picture in its own way."""
    noise = [np.random.default_rng(list(image.tobytes()[:64])).normal(size=27) for image in images]
    return color_embed(images) + 1.5 * np.array(noise, np.float32)


def write_list(root, rows=60, order=None, folds=False, labels=("1", "0")):
    lines = []
    for row in range(rows):
        same = row < rows // 2
        other = row if same else row + 1
        save(root / "images" / f"p{row}" / "a.png", identity_picture(row, 0))
        save(root / "images" / f"p{other}" / "b.png", identity_picture(other, 1))
        lines.append(f"p{row}/a.png\tp{other}/b.png\t{labels[0] if same else labels[1]}")
    lines = lines if order is None else [lines[place] for place in order]
    (root / "pairs.tsv").write_text("\n".join(lines))


def test_the_order_of_a_list_changes_no_number_and_no_name(tmp_path):
    found = []
    for turn, order in enumerate((None, random.Random(0).sample(range(60), 60), range(59, -1, -1))):
        write_list(tmp_path / str(turn), order=order)
        task = Task(noisy_embed, Settings(sizes=(24, 6), replicates=50), MODEL)
        found.append(run_tsv(tmp_path / str(turn), task))
    for others in zip(*found, strict=True):
        assert len({result.id for result in others}) == 1
        assert all(result.metrics == others[0].metrics for result in others)
    assert found[0][0].more["folds"].startswith("10 drawn")
    assert 0.5 < found[0][2].metrics["accuracy"].value < 1.0


def test_lists_from_python_are_measured_alike(tmp_path):
    write_list(tmp_path)
    lines = [line.split("\t") for line in (tmp_path / "pairs.tsv").read_text().splitlines()]
    folder = tmp_path / "images"
    pairs = pair_list(
        [(folder / a, folder / b) for a, b, _ in lines],
        [int(label) for *_, label in lines],
        identities=[(a.split("/")[0], b.split("/")[0]) for a, b, _ in lines],
        name="pairs-tsv",
    )
    settings = Settings(sizes=(24,), replicates=20)
    ours, read = verify_pairs(noisy_embed, pairs, settings), run_tsv(tmp_path, Task(noisy_embed, settings))
    assert ours[0].metrics == read[0].metrics and ours[0].list_digest == read[0].list_digest


def test_folds_hold_both_kinds_and_where_they_can_no_person_twice():
    same = np.arange(120) < 60
    names = [b"%d" % row for row in range(120)]
    groups = np.arange(120) % 40
    fold, how = draw_folds(names, same, groups * 2, groups * 2 + ~same)
    assert how == "10 drawn from the pairs, no person in two"
    assert all(0 < same[fold == name].sum() < (fold == name).sum() for name in range(10))
    for group in range(40):
        assert len(set(fold[groups == group])) == 1
    ring = np.arange(120)
    fold, how = draw_folds(names, same, ring, np.where(same, ring, (ring + 1) % 120))
    assert set(np.bincount(fold[same])) == {6} == set(np.bincount(fold[~same]))
    twice = np.concatenate([same, same])
    fold, _ = draw_folds(names * 2, twice)
    assert (fold[:120] == fold[120:]).all(), "a pair that stands there twice is in one fold"
    assert draw_folds(names[57:63], same[57:63])[0].max() == 2
    with pytest.raises(DataError, match="no folds can be drawn"):
        draw_folds(names[59:63], same[59:63])


def test_a_fold_of_one_kind_is_refused_however_it_came_to_be():
    x, same = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) < 10
    for fold in (None, np.arange(20) // 5):
        with pytest.raises(DataError, match=r"fold 0 holds . pairs, all of them 'same'"):
            evaluate("F", x, x[::-1], same, fold)
    with pytest.raises(DataError, match="one fold"):
        evaluate("F", x, x[::-1], same, np.zeros(20, int))
    faces = [identity_picture(row, 0) for row in range(21)]
    sides = list(pairwise(faces))
    with pytest.raises(DataError, match="all of them 'same'"):
        verify_pairs(color_embed, pair_list(sides, same.tolist(), folds=[row // 5 for row in range(20)]))


def test_unequal_folds_weigh_every_pair_alike_in_the_exact_convention():
    rng = np.random.default_rng(3)
    left, same = rng.normal(size=(50, 3)), np.arange(50) % 2 == 0
    right = np.where(same[:, None], left, 0) + 1.2 * rng.normal(size=(50, 3))
    found = evaluate("F", left, right, same, np.repeat([0, 1, 2], [6, 14, 30]))
    assert found.accuracy == found.correct.mean() != pytest.approx(found.folds.mean())


def test_self_pairs_duplicates_and_contradictions_are_counted_and_said():
    a, b, c, d = (identity_picture(row, 0) for row in range(4))
    sides = [(a, a), (a, b), (b, a), (a, c), (c, d), (b, d), (a, d), (b, c)]
    same = [True, True, True, True, False, False, False, False]
    settings = Settings(sizes=(24,), replicates=0)
    (result,) = verify_pairs(color_embed, pair_list(sides, same), settings)
    assert (result.counts["n_self"], result.counts["n_duplicate"], result.counts["n_pos"]) == (1, 1, 4)
    assert "1 of 8 pairs show one picture twice (self pairs)" in result.remarks[0]
    assert "1 of 8 pairs stand in the list more than once" in result.remarks[1]
    (result,) = verify_pairs(color_embed, pair_list([*sides, (a, b)], [*same, False]), settings)
    assert any("both as same and as different" in remark for remark in result.remarks)


def test_nan_zeros_and_equal_embeddings_are_told_with_their_counts():
    faces = [identity_picture(row, 0) for row in range(9)]
    pairs = pair_list(list(pairwise(faces)), [True, False] * 4)
    settings = Settings(sizes=(24,), replicates=0)

    def broken(images):
        return np.array([[np.nan if k < 3 else 1.0, k] for k in range(len(images))], np.float32)

    with pytest.raises(NumericFault, match="NaN or infinity for 3 of 9 images, the first for row:0"):
        verify_pairs(broken, pairs, settings)
    flat = verify_pairs(lambda images: np.ones((len(images), 4), np.float32), pairs, settings)[0]
    assert "all embeddings are the same" in flat.remarks[-1]
    assert flat.metrics["AUC"].value == flat.metrics["EER"].value == 0.5
    empty = verify_pairs(lambda images: np.zeros((len(images), 4), np.float32), pairs, settings)[0]
    assert "16 of 16 embeddings are zero" in empty.remarks[-1]
    assert empty.metrics["TAR@FAR=0.1"].percent() == "n/a", "four impostors cannot show one in ten"


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def ranks_by_loops(probes, probe_id, gallery, gallery_id):
    found = []
    for probe, person in zip(probes, probe_id, strict=True):
        ordered = sorted(range(len(gallery)), key=lambda row: -cosine(probe, gallery[row]))
        found.append(1 + next(place for place, row in enumerate(ordered) if gallery_id[row] == person))
    return found


@pytest.mark.parametrize("distractors", [0, 7])
def test_rank_k_is_any_image_of_the_person_among_the_k_best_of_gallery_and_distractors(distractors):
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    faces = [np.full((8, 8, 3), row, np.uint8) for row in range(60)]

    def embed(images):
        return vectors[[int(image[0, 0, 0]) for image in images]]

    gallery, people = [*range(12), 3], [row // 2 for row in range(12)] + [1]  # image 3 stands there twice
    probe, probe_id, strangers = (
        list(range(12, 40)),
        [row % 6 for row in range(28)],
        list(range(40, 40 + distractors)),
    )
    lists = SearchList(
        "own",
        [faces[row] for row in gallery],
        np.array(people),
        [faces[row] for row in probe],
        np.array(probe_id),
        [faces[row] for row in strangers],
    )
    task = Task(embed, Settings(replicates=0))
    (result,) = identify(task, lists, ranks=(1, 5), flip="none", sizes=(None,), fpirs=(0.5,))
    every = [vectors[row] for row in gallery + strangers]
    wanted = ranks_by_loops([vectors[r] for r in probe], probe_id, every, people + [-1] * distractors)
    for k in (1, 5):
        assert result.metrics[f"rank-{k}"].value == np.mean([rank <= k for rank in wanted])
    assert result.remarks[0].startswith("1 gallery images stand there more than once")
    assert ("TPIR@FPIR=0.5" in result.metrics) == bool(distractors)
    order = rng.permutation(28)
    turned = SearchList(
        "own",
        lists.gallery[::-1],
        lists.gallery_id[::-1],
        [lists.probe[row] for row in order],
        lists.probe_id[order],
        lists.distractor[::-1],
    )
    task = Task(embed, Settings(replicates=30), MODEL)
    first, second = (
        identify(task, one, ranks=(1, 5), flip="none", sizes=(None,))[0] for one in (lists, turned)
    )
    assert first.metrics == second.metrics and first.id == second.id


def test_a_probe_without_a_mate_is_named_and_a_gallery_of_one_is_searched():
    faces = [identity_picture(row, 0) for row in range(3)]
    lists = SearchList("own", faces[:1], np.array([7]), faces[1:2], np.array([7]))
    (result,) = identify(quick_task(), lists, ranks=(1,), flip="none", sizes=(None,))
    assert result.metrics["rank-1"].value == 1.0
    with pytest.raises(DataError, match="1 of 2 probes have no image of their person"):
        lone = SearchList("own", faces[:1], np.array([7]), faces[1:], np.array([7, 8]))
        identify(quick_task(), lone, ranks=(1,), flip="none", sizes=(None,))
    with pytest.raises(DataError, match="0 gallery images, 1 probes"):
        none = SearchList("own", [], np.array([], np.int64), faces[:1], np.array([7]))
        identify(quick_task(), none, ranks=(1,), flip="none", sizes=(None,))


@pytest.mark.parametrize("limit", [1, 3])
def test_open_set_rates_are_those_of_a_loop_over_thresholds(limit):
    rng = np.random.default_rng(limit)
    gallery, people = rng.normal(size=(9, 5)), np.arange(9)
    probe_id = rng.integers(0, 9, 40)
    probe = gallery[probe_id] + 1.1 * rng.normal(size=(40, 5))
    unmated = rng.normal(size=(30, 5))
    mated = search(probe, probe_id, gallery, people)
    best = search(unmated, np.full(30, -1), gallery, people).best_other
    strangers = [max(cosine(one, face) for face in gallery) for one in unmated]
    rank = ranks_by_loops(probe, probe_id, gallery, people)
    own = [cosine(one, gallery[person]) for one, person in zip(probe, probe_id, strict=True)]
    for target in (0.1, 0.2, 0.3):
        rates = [
            np.mean([score > th and place <= limit for score, place in zip(own, rank, strict=True)])
            for th in [-2, *strangers]
            if np.mean([score > th for score in strangers]) <= target + 1e-12
        ]
        point = tpir_at_fpir(mated, best, target, limit)
        assert point.tpir == pytest.approx(max(rates)) and point.fpir <= target
    area = np.mean([[(s > t) and r <= limit for s, r in zip(own, rank, strict=True)] for t in strangers])
    assert open_set_auc(mated, best, limit) == pytest.approx(area)


def test_a_model_that_gives_everybody_one_embedding_finds_nobody():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 512)).astype(np.float32)
    gallery, people = np.repeat(one, 15, axis=0), np.arange(15)
    mated = search(np.repeat(one, 9, axis=0) * 3, np.arange(9), gallery, people)
    best = search(np.repeat(one, 11, axis=0) / 7, np.full(11, -1), gallery, people).best_other
    assert tpir_at_fpir(mated, best, 0.1, 20).tpir == 0.0
    galleries = [(gallery[:8], people[:8]), (gallery[8:], people[8:])]
    found = per_gallery(np.repeat(one, 30, axis=0), np.arange(30) % 15, galleries)
    assert found["TPIR@FPIR=0.1"].value == found["rank-1"].value == 0.0


def multiply(root, name="ijbc", per_template=3):
    """Write the 1:N lists as they are distributed: a line for each image of a template."""
    for path in sorted((root / "meta").glob(f"{name}_1N_*.csv")):
        rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
        lines = [
            f"{tid},{sid},img/{k}.jpg,{k}" for tid, sid in rows for k in range(per_template + int(tid) % 2)
        ]
        path.write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n" + "\n".join(lines))


def official_templates(features, templates, media):
    """Return template features by number, as the public scripts have them: a loop, mean in media, sum, unit."""
    made = {}
    for template in sorted(set(templates)):
        parts = []
        for medium in sorted({m for t, m in zip(templates, media, strict=True) if t == template}):
            rows = [
                f for f, t, m in zip(features, templates, media, strict=True) if t == template and m == medium
            ]
            parts.append(rows[0] if len(rows) == 1 else np.mean(rows, axis=0))
        total = np.sum(parts, axis=0)
        made[template] = total / np.linalg.norm(total)
    return made


def test_ijb_lists_with_a_line_an_image_give_each_template_once(tmp_path):
    write_ijb(tmp_path / "a")
    write_ijb(tmp_path / "b")
    multiply(tmp_path / "b")
    first, second = (run_ijb(tmp_path / name, quick_task(sizes=(112,)), name="ijbc") for name in "ab")
    assert [result.metrics for result in first] == [result.metrics for result in second]
    assert (second[1].counts["n_probe"], second[1].counts["n_gallery"]) == (16, 8)


def test_ijb_numbers_equal_the_public_scorers_loops():
    rng = np.random.default_rng(11)
    people = 14
    center = rng.normal(size=(people, 6))
    template = np.concatenate([np.repeat(t, rng.integers(1, 5)) for t in range(3 * people)])
    medium = rng.integers(0, 3, len(template))
    plain, mirrored = (
        (center[template // 3] + 1.3 * rng.normal(size=(len(template), 6))).astype(np.float32)
        for _ in range(2)
    )
    detector = rng.uniform(0.3, 1, len(template))
    feature = image_features(Embedded(plain, mirrored), detector, norm="keep", use_detector=True, flip=True)
    made, numbers = template_features(feature, template, medium)
    official = official_templates((plain + mirrored) * detector[:, None], template.tolist(), medium.tolist())
    np.testing.assert_allclose(made, [official[t] for t in numbers.tolist()], atol=1e-6)
    left, right = np.triu_indices(3 * people, 1)
    scores = pair_scores(made, left, right)
    wanted = [float(official[a] @ official[b]) for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    galleries = [(made[ids * 3], ids) for ids in (np.arange(7), np.arange(7, 14))]
    probe_rows = np.array([t for t in range(3 * people) if t % 3])
    found = per_gallery(made[probe_rows], probe_rows // 3, galleries)
    hits, ranks = {0.01: [], 0.1: []}, []
    for _, ids in galleries:
        table = {
            t: {s: float(official[t] @ official[3 * s]) for s in ids.tolist()} for t in probe_rows.tolist()
        }
        mates = [t for t in table if t // 3 in ids]
        strangers = sorted((max(table[t].values()) for t in table if t // 3 not in ids), reverse=True)
        for t in mates:
            ranks.append(sorted(table[t], key=lambda s, row=table[t]: -row[s]).index(t // 3) + 1)
        for target, rates in hits.items():
            threshold = strangers[max(int(len(strangers) * target) - 1, 0)]
            good = [
                table[t][t // 3] > threshold
                and all(table[t][t // 3] > v for s, v in table[t].items() if s != t // 3)
                for t in mates
            ]
            rates.append(np.mean(good))
    for target, rates in hits.items():
        assert found[f"TPIR@FPIR={target:g}"].value == pytest.approx(np.mean(rates))
    for k in (1, 5, 10):
        assert found[f"rank-{k}"].value == pytest.approx(np.mean([rank <= k for rank in ranks]))


def test_faces_without_landmarks_are_counted_and_named(tmp_path):
    write_ijb(tmp_path)
    path = tmp_path / "meta" / "ijbc_name_5pts_score.txt"
    lines = path.read_text().splitlines()
    for row, word in ((0, "nan"), (1, "-1"), (5, "0")):
        lines[row] = f"{row + 1}.jpg " + f"{word} " * 10 + "0.9"
    path.write_text("\n".join(lines))
    one = run_ijb(tmp_path, quick_task(sizes=(112,)), name="ijbc")[0]
    assert (one.counts["n_image"], one.counts["n_image_refused"], one.counts["n_template_empty"]) == (
        45,
        3,
        1,
    )
    assert "3 of 48 images have no landmarks" in one.remarks[0] and "1.jpg (line 1)" in one.remarks[0]
    assert "1 templates have no other image" in one.remarks[0]
    lines[2] = "3.jpg " + "x " * 10 + "0.9"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"score\.txt:3"):
        run_ijb(tmp_path, quick_task(sizes=(112,)), name="ijbc")
    path.write_text("\n".join(f"{row}.jpg " + "-1 " * 10 + "0.9" for row in range(1, 49)))
    with pytest.raises(DataError, match="none of 48 faces has landmarks"):
        run_ijb(tmp_path, quick_task(sizes=(112,)), name="ijbc")


def test_wrong_ijb_labels_and_people_name_their_line(tmp_path):
    write_ijb(tmp_path)
    meta = tmp_path / "meta"
    good = (meta / "ijbc_template_pair_label.txt").read_text()
    (meta / "ijbc_template_pair_label.txt").write_text("0 1 1\n0 10 0\n0 11 2\n")
    with pytest.raises(DataError, match=r"pair_label\.txt:3.*'2' is unknown"):
        run_ijb(tmp_path, quick_task(sizes=(112,)), name="ijbc")
    (meta / "ijbc_template_pair_label.txt").write_text(good)
    probe = meta / "ijbc_1N_probe_mixed.csv"
    probe.write_text(probe.read_text() + "\n1,5")
    with pytest.raises(DataError, match="template 1 is of person 0 and of person 5"):
        run_ijb(tmp_path, quick_task(sizes=(112,)), name="ijbc")
