"""Readers of pair benchmarks on data in their distributed layout, and verification at several sizes."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from lrfr.core.errors import DataError, ImageFault, LrfrError, NumericFault, SpecError
from lrfr.core.image import encode_png
from lrfr.eval.embeddings import embed_images, unit
from lrfr.eval.low_res import LowRes
from lrfr.eval.pairs import pair_list, synthetic_pairs
from lrfr.eval.protocols.pair_lists import (
    read_bin,
    read_lfw_list,
    read_pairs_tsv,
    run_bin_or_folder,
    run_tsv,
    run_xqlfw,
)
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.result_files import as_json, kept_scores_agree, read_results, write_results
from lrfr.eval.results import FORMAT, unpack
from lrfr.eval.settings import Settings, size_cells
from lrfr.experiment.steps.export_here import threshold_table
from tests.eval.world import color_embed, identity_picture, quick_task, save


def write_bin(path, pairs=40):
    images, same = [], []
    for row in range(pairs):
        label = row % 2 == 0
        images += [
            encode_png(identity_picture(row, 0)),
            encode_png(identity_picture(row if label else row + 500, 1)),
        ]
        same.append(label)
    path.write_bytes(pickle.dumps((images, same), protocol=2))
    return same


def write_lfw(root, list_name="pairs.txt", folder="lfw", people=20):
    lines = [f"10\t{people // 10}"]
    for fold in range(10):
        mine = range(fold * people // 10, (fold + 1) * people // 10)
        lines += [f"Person_{p}\t1\t2" for p in mine]
        lines += [f"Person_{p}\t1\tPerson_{(p + 1) % people}\t2" for p in mine]
    for person in range(people):
        for take in (1, 2):
            save(
                root / folder / f"Person_{person}" / f"Person_{person}_{take:04d}.jpg",
                identity_picture(person, take),
            )
    (root / list_name).write_text("\n".join(lines) + "\n")


def test_bin_file_gives_its_pairs_in_ten_folds(tmp_path):
    same = write_bin(tmp_path / "cfp_fp.bin")
    pairs = read_bin(tmp_path / "cfp_fp.bin", "cfp-fp")
    assert pairs.same.tolist() == same
    assert (pairs.left[3], pairs.right[3]) == (6, 7)
    results = run_bin_or_folder(tmp_path, quick_task(sizes=(24, 6), matching=("cross",)), name="cfp-fp")
    assert [result.sizes for result in results] == [(24, 24), (24, 6)]
    assert results[0].metrics["accuracy"].value > 0.9
    assert results[0].benchmark == "cfp-fp"


def test_lfw_folder_names_people_and_folds(tmp_path):
    write_lfw(tmp_path)
    pairs = read_lfw_list(tmp_path / "pairs.txt", tmp_path / "lfw", "lfw")
    assert np.bincount(pairs.fold).tolist() == [4] * 10
    assert pairs.same.tolist() == ([True, True, False, False] * 10)
    people = pairs.identity
    assert ((people[pairs.left] == people[pairs.right]) == pairs.same).all()
    result = run_bin_or_folder(tmp_path, quick_task(sizes=(None,)), name="lfw")[0]
    assert result.metrics["accuracy"].interval.kind == "bootstrap over identities"
    assert result.sizes == (None, None)


def test_xqlfw_takes_lfw_along_when_it_lies_beside(tmp_path):
    write_lfw(tmp_path, "xqlfw_pairs.txt", "xqlfw_aligned_112")
    assert {r.benchmark for r in run_xqlfw(tmp_path, quick_task(sizes=(None,)))} == {"xqlfw"}
    write_lfw(tmp_path, "pairs.txt", "lfw_aligned_112")
    assert [r.benchmark for r in run_xqlfw(tmp_path, quick_task(sizes=(None,)))] == ["xqlfw", "lfw"]


def write_tsv(root, folds=True):
    lines = []
    for row in range(40):
        label, other = row % 2, row + (0 if row % 2 else 100)
        save(root / "images" / f"p{row}" / "a.png", identity_picture(row, 0))
        save(root / "images" / f"p{other}" / "b.png", identity_picture(other, 1))
        lines.append(f"p{row}/a.png\tp{other}/b.png\t{label}" + (f"\t{row % 5}" if folds else ""))
    (root / "pairs.tsv").write_text("\n".join(lines))


def test_tab_separated_list_keeps_its_folds(tmp_path):
    write_tsv(tmp_path)
    pairs = read_pairs_tsv(tmp_path / "pairs.tsv", tmp_path / "images")
    assert pairs.fold.tolist() == [row % 5 for row in range(40)]
    for data in (tmp_path, tmp_path / "pairs.tsv"):
        assert run_tsv(data, quick_task(sizes=(24,)))[0].counts["n_pos"] == 20


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (
            lambda root: (root / "lfw" / "Person_3" / "Person_3_0002.jpg").unlink(),
            ["not there", "Person_3_0002"],
        ),
        (lambda root: (root / "pairs.txt").write_text("10 2\nPerson_1 1\n"), [":2:", "name i j"]),
        (lambda root: (root / "pairs.txt").write_text("10 2\nPerson_1 one 2\n"), [":2:", "name i j"]),
        (
            lambda root: (root / "pairs.txt").write_text("2\n../../etc/passwd 1 2\n" * 1 + "A 1 B 2\n"),
            ["not below the folder"],
        ),
        (
            lambda root: (root / "lfw").rename(root / "elsewhere"),
            ["'lfw'", "expected tree", "lfw/Name/Name_0001.jpg"],
        ),
        (lambda root: (root / "pairs.txt").unlink(), ["'lfw.bin'", "expected tree", "pairs.txt"]),
    ],
)
def test_a_wrong_layout_gives_one_message_with_the_missing_name(tmp_path, breakage, words):
    write_lfw(tmp_path)
    breakage(tmp_path)
    with pytest.raises(DataError) as caught:
        run_bin_or_folder(tmp_path, quick_task(sizes=(24,)), name="lfw")
    for word in words:
        assert word in str(caught.value)


def test_hostile_and_broken_bin_files_are_refused(tmp_path):
    class Run:
        def __reduce__(self):
            return (print, ("never",))

    for name, content in (
        ("a.bin", pickle.dumps(Run())),
        ("b.bin", b"not a pickle"),
        ("c.bin", pickle.dumps(([b"x"], [True]))),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LrfrError):
            read_bin(tmp_path / name, "lfw")


def test_an_undecodable_picture_is_named(tmp_path):
    write_lfw(tmp_path)
    bad = tmp_path / "lfw" / "Person_0" / "Person_0_0001.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ImageFault, match="Person_0_0001"):
        run_bin_or_folder(tmp_path, quick_task(sizes=(24,)), name="lfw")


def arrays(people=30):
    pairs, same, names = [], [], []
    for p in range(people):
        pairs += [
            (identity_picture(p, 0), identity_picture(p, 1)),
            (identity_picture(p, 2), identity_picture(p + 1, 3)),
        ]
        same += [True, False]
        names += [(p, p), (p, p + 1)]
    return pair_list(pairs, same, identities=names, folds=[row % 5 for row in range(2 * people)], name="toy")


def test_sizes_are_native_and_each_image_is_embedded_once_per_size():
    seen = []

    def embed(images):
        seen.extend(image.shape[:2] for image in images)
        return color_embed(images)

    pairs = arrays()
    results = verify_pairs(embed, pairs, Settings(sizes=(24, 12, 6), replicates=0))
    assert [(r.matching, r.sizes) for r in results] == [
        ("same", (24, 24)),
        ("cross", (24, 12)),
        ("cross", (24, 6)),
        ("same", (12, 12)),
        ("same", (6, 6)),
    ]
    for side in (24, 12, 6):
        assert seen.count((side, side)) == len(pairs.images)
    assert all((r.interpolation, r.antialias) == ("bicubic", True) for r in results)


def test_cross_resolution_makes_the_second_image_small():
    """An embedder that returns the size it saw: cosine against (1, size) tells which side was shrunk."""

    def embed(images):
        return np.array([[1.0, float(image.shape[0])] for image in images], np.float32)

    result = verify_pairs(embed, arrays(), Settings(sizes=(24, 6), matching=("cross",), replicates=0))[1]
    a, b = np.array([1.0, 24.0]), np.array([1.0, 6.0])
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(unpack(result.per_pair["score_f32"], "<f4"), expected, rtol=1e-6)


def test_kept_scores_and_decisions_give_the_printed_accuracy():
    result = verify_pairs(color_embed, arrays(), Settings(sizes=(24, 6), replicates=0))[1]
    correct, same = (
        unpack(result.per_pair["correct_u8"], "u1"),
        unpack(result.per_pair["same_u8"], "u1"),
    )
    assert correct.mean() == pytest.approx(result.metrics["accuracy"].value)
    assert same.sum() == result.counts["n_pos"]
    assert len(unpack(result.per_pair["score_f32"], "<f4")) == 60


def test_kept_scores_that_are_none_are_an_error_of_the_result():
    result = verify_pairs(color_embed, arrays(), Settings(sizes=(24,), replicates=0))[0]
    assert kept_scores_agree([result], 1e-6).startswith("of the scores kept")
    for kept in ("x", "\0", "AAA", None):
        forged = {} if kept is None else {"correct_u8": kept}
        with pytest.raises(DataError, match="do not fit one another"):
            kept_scores_agree([replace(result, per_pair={"same_u8": "AA==", **forged})], 1e-6)
    other = replace(result.metrics["accuracy"], more={"folds": ["x"]})
    with pytest.raises(DataError, match="do not fit one another"):
        kept_scores_agree([replace(result, metrics={"accuracy": other})], 1e-6)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "x\0y", "\ud800"])
def test_a_result_names_what_a_file_can_be_called(tmp_path, name):
    result = verify_pairs(color_embed, arrays(), Settings(sizes=(24,), replicates=0))[0]
    body = as_json(result)
    write_results([result], tmp_path / "good.json")
    assert read_results([tmp_path / "good.json"])
    for changes in ({"data": name}, {"model": {**body["model"], "checkpoint": name}}):
        (tmp_path / "x.json").write_text(json.dumps({"format": FORMAT, "results": [{**body, **changes}]}))
        with pytest.raises(DataError, match=r"x\.json"):
            read_results([tmp_path / "x.json"])


def test_scores_that_are_none_are_told_where_thresholds_are_asked_for(tmp_path):
    result = verify_pairs(color_embed, arrays(), Settings(sizes=(24,), replicates=0))[0]
    write_results([replace(result, per_pair={"score_f32": "AAA="})], tmp_path / "x.json")
    with pytest.raises(DataError, match="do not fit one another"):
        threshold_table(tmp_path / "x.json")


def test_interpolation_reaches_the_pixels():
    images = [np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)]
    smooth, sharp = (LowRes(f, a).apply(images, 8)[0] for f, a in (("bicubic", True), ("nearest", False)))
    assert np.abs(smooth.astype(int) - sharp).mean() > 20
    assert LowRes().apply(images, 32)[0] is images[0]
    assert LowRes().apply(images, 64)[0] is images[0], "eval never enlarges"
    with pytest.raises(SpecError):
        LowRes("bicubic", False).apply(images, 8)


def test_a_spec_can_stand_among_the_sizes():
    pairs = arrays(6)
    results = verify_pairs(
        color_embed, pairs, Settings(sizes=(24, "fskd"), matching=("cross",), replicates=0)
    )
    assert results[1].sizes == (24, "fskd")
    assert len(results[1].spec_digests["fskd"]) == 64
    again = verify_pairs(
        color_embed, pairs, Settings(sizes=(24, "fskd"), matching=("cross",), replicates=0, batch=5)
    )
    assert again[1].per_pair == results[1].per_pair, "batches draw the same numbers"


@pytest.mark.parametrize(
    ("flip", "dim"),
    [("none", 27), ("sum", 27), ("mean", 27), ("norm", 27), ("concat", 54), ("concat-unit", 54)],
)
def test_flip_fusions(flip, dim):
    images = [identity_picture(0, 0), identity_picture(1, 0)]
    found = embed_images(color_embed, images, mirror=True)
    np.testing.assert_array_equal(found.mirrored, color_embed([image[:, ::-1] for image in images]))
    fused = found.fuse(flip)
    assert fused.shape == (2, dim)
    if flip == "norm":
        weighted = sum(
            unit(x) * np.linalg.norm(x, axis=1, keepdims=True) for x in (found.plain, found.mirrored)
        )
        np.testing.assert_allclose(fused, weighted, rtol=1e-5)


def test_a_broken_embedder_is_told_what_it_returned():
    with pytest.raises(SpecError, match="float32"):
        verify_pairs(lambda images: np.zeros((1, 4), np.float32), arrays())
    with pytest.raises(SpecError, match="int64"):
        verify_pairs(lambda images: np.zeros((len(images), 4), np.int64), arrays())
    with pytest.raises(NumericFault):
        verify_pairs(lambda images: np.full((len(images), 4), np.nan, np.float32), arrays())


def test_lists_without_both_kinds_or_of_uneven_length_are_refused():
    pairs = arrays()
    with pytest.raises(DataError):
        replace(pairs, same=pairs.same[:-1])
    with pytest.raises(DataError, match="both kinds"):
        verify_pairs(color_embed, replace(pairs, same=np.ones(60, bool)), Settings(sizes=(24,)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": ()},
        {"sizes": (0,)},
        {"sizes": (5000,)},
        {"convention": "Z"},
        {"flip": "twice"},
        {"matching": ("side",)},
        {"matching": ()},
        {"replicates": -1},
        {"batch": 0},
        {"finetuned": "maybe"},
        {"template_norm": "half"},
    ],
)
def test_settings_refuse_unknown_words(wrong):
    with pytest.raises(SpecError):
        Settings(**wrong)


def test_cells_never_repeat_and_begin_with_the_largest():
    assert size_cells(Settings(), (14, 112, 14)) == [("same", 112, 112), ("cross", 112, 14), ("same", 14, 14)]
    assert size_cells(Settings(sizes=("turb", None, 14)), ())[0] == ("same", None, None)


def test_embedded_pairs_are_balanced_disjoint_and_repeatable():
    pairs = synthetic_pairs(identities=10, per_identity=2, count=40)
    assert pairs.same.sum() == 20
    people = [
        set(pairs.identity[pairs.left[pairs.fold == f]]) | set(pairs.identity[pairs.right[pairs.fold == f]])
        for f in range(5)
    ]
    assert all(not a & b for i, a in enumerate(people) for b in people[i + 1 :])
    assert synthetic_pairs(identities=10, per_identity=2, count=40).digest == pairs.digest
    assert ((pairs.identity[pairs.left] == pairs.identity[pairs.right]) == pairs.same).all()
    assert (pairs.left != pairs.right).all()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_are_read_in_any_encoding_and_line_ends_and_faults_name_their_line(tmp_path, encoding):
    for name in ("ä", "b"):
        for take in "01":
            save(tmp_path / "images" / name / f"{take}.png", identity_picture(ord(name), int(take)))
    text = "ä/0.png\tä/1.png\t1\r\n\r\nä/0.png\tb/0.png\t0\r\n"
    (tmp_path / "pairs.tsv").write_bytes(text.encode(encoding))
    pairs = read_pairs_tsv(tmp_path / "pairs.tsv", tmp_path / "images")
    assert pairs.same.tolist() == [True, False] and len(pairs.images) == 3
    (tmp_path / "pairs.tsv").write_bytes(text.replace("\t0", "\tno").encode(encoding))
    with pytest.raises(DataError, match="'no' is unknown") as caught:
        read_pairs_tsv(tmp_path / "pairs.tsv", tmp_path / "images")
    assert caught.value.line == 3
