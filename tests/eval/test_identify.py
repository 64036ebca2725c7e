"""1:N protocols on data in their distributed layout: TinyFace, SCface, SurvFace, plain lists."""

import numpy as np
import pytest
from scipy.io import savemat

from lrfr.core.errors import DataError
from lrfr.eval.protocols.identify import run_lists, run_tinyface
from lrfr.eval.protocols.layout import need
from lrfr.eval.protocols.surveillance.scface import run_scface
from lrfr.eval.protocols.surveillance.survface import run_survface, templates
from tests.eval.world import identity_picture, quick_task, save


def cells(names):
    return np.array([[name] for name in names], dtype=object)


def write_tinyface(root, people=8, distractors=15):
    test = root / "Testing_Set"
    gallery, probe, gallery_ids, probe_ids = [], [], [], []
    for person in range(people):
        for take in range(2):
            gallery.append(f"{person}_{take}.jpg")
            gallery_ids.append(person + 1)
            save(test / "Gallery_Match" / gallery[-1], identity_picture(person, take, 14))
        probe.append(f"{person}_9.jpg")
        probe_ids.append(person + 1)
        save(test / "Probe" / probe[-1], identity_picture(person, 9, 10))
    for number in range(distractors):
        save(test / "Gallery_Distractor" / f"d{number}.jpg", identity_picture(700 + number, 0, 12))
    savemat(
        test / "gallery_match_img_ID_pairs.mat",
        {"gallery_set": cells(gallery), "gallery_ids": np.array([gallery_ids]).T},
    )
    savemat(
        test / "probe_img_ID_pairs.mat",
        {"probe_set": cells(probe), "probe_ids": np.array([probe_ids], np.uint16).T},
    )


def test_tinyface_counts_come_from_the_files(tmp_path):
    write_tinyface(tmp_path)
    (result,) = run_tinyface(tmp_path, quick_task())
    assert (result.counts["n_gallery"], result.counts["n_probe"], result.counts["n_distractor"]) == (
        16,
        8,
        15,
    )
    assert list(result.metrics) == ["rank-1", "rank-5", "rank-10", "rank-20", "mAP"]
    assert 0.5 < result.metrics["mAP"].value <= 1
    assert result.metrics["rank-1"].value > 0.8
    assert (result.flip, result.sizes, result.finetuned) == ("mean", (None, None), "no")


def test_distractors_can_only_hurt(tmp_path):
    write_tinyface(tmp_path)
    twin = tmp_path / "Testing_Set" / "Gallery_Distractor" / "twin.jpg"
    before = run_tinyface(tmp_path, quick_task())[0].metrics["rank-1"].value
    save(twin, identity_picture(0, 9, 10))  # the first probe's own pixels under nobody's name
    after = run_tinyface(tmp_path, quick_task())[0].metrics["rank-1"].value
    assert after == before - 1 / 8


@pytest.mark.parametrize(
    ("missing", "word"),
    [
        ("probe_img_ID_pairs.mat", "probe_img_ID_pairs.mat"),
        ("Gallery_Distractor", "Gallery_Distractor"),
        ("", "Testing_Set"),
    ],
)
def test_tinyface_names_what_is_missing(tmp_path, missing, word):
    write_tinyface(tmp_path)
    path = tmp_path / "Testing_Set" / missing
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError) as caught:
        run_tinyface(tmp_path, quick_task())
    assert word in str(caught.value)
    assert "expected tree" in str(caught.value)


def test_a_list_in_place_of_its_folder_is_answered_with_the_folder(tmp_path):
    (tmp_path / "gallery.tsv").write_text("a.png\tana\n")
    with pytest.raises(DataError, match="the folder around it is wanted"):
        need(tmp_path / "gallery.tsv", "gallery.tsv", "gallery.tsv")


def test_damaged_and_mismatched_mat_files_are_refused(tmp_path):
    write_tinyface(tmp_path)
    path = tmp_path / "Testing_Set" / "probe_img_ID_pairs.mat"
    good = path.read_bytes()
    for content in (good[: len(good) // 2], b"MATLAB 5.0 MAT-file" + bytes(200), b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="probe_img"):
            run_tinyface(tmp_path, quick_task())
    savemat(path, {"probe_set": cells(["0_9.jpg"]), "probe_ids": np.array([[1, 2]])})
    with pytest.raises(DataError, match="1 images but 2"):
        run_tinyface(tmp_path, quick_task())
    savemat(path, {"names": cells(["0_9.jpg"])})
    with pytest.raises(DataError, match="probe_set"):
        run_tinyface(tmp_path, quick_task())


def write_scface(root, people=6):
    for person in range(1, people + 1):
        save(
            root / "mugshot_frontal_cropped_all" / f"{person:03d}_frontal.JPG",
            identity_picture(person, 0, 40),
        )
        for distance in (1, 2, 3):
            for camera in range(1, 6):
                name = f"{person:03d}_cam{camera}_{distance}.jpg"
                save(
                    root / f"surveillance_cameras_distance_{distance}" / f"cam_{camera}" / name,
                    identity_picture(person, camera, 8 * distance),
                )


def test_scface_has_five_probes_per_person_and_distance(tmp_path):
    write_scface(tmp_path)
    (tmp_path / "test_ids.txt").write_text("1\n2\n3\n5\n")
    results = run_scface(tmp_path, quick_task())
    assert [result.benchmark for result in results] == ["scface-d1", "scface-d2", "scface-d3"]
    assert all(result.counts["n_probe"] == 20 and result.counts["n_gallery"] == 4 for result in results)
    assert len({result.protocol_digest for result in results}) == 1


def test_a_drawn_scface_split_says_so_and_depends_on_the_seed_only(tmp_path):
    write_scface(tmp_path, people=90)
    a, b, c = (run_scface(tmp_path, quick_task(seed=seed, batch=256))[0] for seed in (0, 0, 1))
    assert "not the papers' split" in a.more["split"]
    assert a.counts["n_gallery"] == 80
    assert a.protocol_digest == b.protocol_digest != c.protocol_digest


def test_an_identity_without_a_mugshot_is_named(tmp_path):
    write_scface(tmp_path)
    (tmp_path / "test_ids.txt").write_text("077\n")
    with pytest.raises(DataError, match="077"):
        run_scface(tmp_path, quick_task())


def write_survface(root, people=7, reverse=False):
    ident, verify = root / "Face_Identification_Test_Set", root / "Face_Verification_Test_Set"
    rows = {"gallery": ([], []), "mated_probe": ([], [])}
    for person in range(people):
        for part, takes in (("gallery", 2), ("mated_probe", 1)):
            for take in range(takes):
                name = f"{person}_cam{take}_{part}.jpg"
                save(ident / part / name, identity_picture(person, take + 5 * (part != "gallery"), 12))
                rows[part][0].append(name)
                rows[part][1].append(person + 1)
    for stranger in range(10):
        save(ident / "unmated_probe" / f"distractors_{stranger}.jpg", identity_picture(800 + stranger, 0, 12))
    for part, (names, ids) in rows.items():
        order = slice(None, None, -1 if reverse and part == "gallery" else 1)
        savemat(
            ident / f"{part}_img_ID_pairs.mat",
            {f"{part}_set": cells(names[order]), f"{part}_ids": np.array([ids[order]]).T},
        )
    positive, negative = [], []
    for person in range(people):
        for take in range(2):
            save(verify / "verification_images" / f"{person}_{take}.jpg", identity_picture(person, take, 12))
        positive.append([f"{person}_0.jpg", f"{person}_1.jpg"])
        negative.append([f"{person}_0.jpg", f"{(person + 1) % people}_1.jpg"])
    for name, pairs in (("positive_pairs_names", positive), ("negative_pairs_names", negative)):
        savemat(verify / f"{name}.mat", {name: np.array(pairs, dtype=object)})


def test_survface_runs_both_parts(tmp_path):
    write_survface(tmp_path)
    ident, verification = run_survface(tmp_path, quick_task(official_sweep=True))
    assert (ident.counts["n_gallery"], ident.counts["n_probe"], ident.counts["n_unmated"]) == (7, 7, 10)
    assert ident.metrics["TPIR20@FPIR=0.3"].value > 0.6
    assert not ident.metrics["TPIR20@FPIR=0.01"].resolvable
    assert "AUC (official sweep)" in ident.metrics
    assert (verification.counts["n_pos"], verification.counts["n_neg"]) == (7, 7)


def test_the_order_of_people_in_one_list_changes_nothing(tmp_path):
    write_survface(tmp_path / "a")
    write_survface(tmp_path / "b", reverse=True)
    first, second = (run_survface(tmp_path / name, quick_task())[0].metrics for name in "ab")
    assert {k: v.value for k, v in first.items()} == pytest.approx({k: v.value for k, v in second.items()})


def test_templates_are_means_of_raw_or_of_unit_features():
    features = np.array([[3.0, 4.0], [0.0, 1.0], [2.0, 0.0]], np.float32)
    raw, people = templates(features, np.array([7, 7, 2]), "raw")
    assert people.tolist() == [2, 7]
    np.testing.assert_allclose(raw, [[2, 0], [1.5, 2.5]])
    np.testing.assert_allclose(templates(features, np.array([7, 7, 2]), "unit")[0][1], [0.3, 0.9])


def test_plain_lists_search_with_distractors_in_the_gallery_and_as_strangers(tmp_path):
    for person in range(9):
        for take in range(3):
            save(tmp_path / "images" / f"p{person}" / f"{take}.png", identity_picture(person, take))
    (tmp_path / "gallery.tsv").write_text("".join(f"p{p}/0.png\tp{p}\n" for p in range(6)))
    (tmp_path / "probe.tsv").write_text("".join(f"p{p}/{t}.png\tp{p}\n" for p in range(6) for t in (1, 2)))
    (tmp_path / "distractor.tsv").write_text(
        "".join(f"p{p}/{t}.png\tp{p}\n" for p in (6, 7, 8) for t in range(3))
    )
    results = run_lists(tmp_path, quick_task(sizes=(24, 6)))
    assert [(r.matching, r.sizes) for r in results] == [
        ("same", (24, 24)),
        ("cross", (24, 6)),
        ("same", (6, 6)),
    ]
    assert results[0].metrics["rank-1"].value == 1.0
    assert results[0].metrics["TPIR@FPIR=0.1"].resolvable is False  # nine strangers
    (tmp_path / "probe.tsv").write_text("p8/1.png\tp8\n")
    with pytest.raises(DataError, match="no image of their person"):
        run_lists(tmp_path, quick_task(sizes=(24,)))
