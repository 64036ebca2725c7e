"""Benchmarks whose pictures are photographs: measured as the crops of ``lrfr align`` are, every outcome counted."""

import hashlib

import numpy as np
import pytest

import lrfr
from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import encode_png
from lrfr.eval.result_files import read_results
from lrfr.eval.settings import Settings
from lrfr.pairs.align.align_run import AlignOptions, align_folder
from lrfr.pairs.align.detectors.table import DETECTORS, open_detector
from lrfr.pairs.align.photo_task import DetectorChoice
from tests.pairs.spots import Spots, open_spots, picture

PEOPLE = ("anna", "bob", "cleo")


@pytest.fixture(autouse=True)
def spots():
    DETECTORS.register("spots", open_spots)
    open_detector.cache_clear()
    Spots.calls = 0
    yield
    DETECTORS.unregister("spots")
    open_detector.cache_clear()


def mean_color(images):
    """Tell pictures apart by their pixels, whatever those show."""
    return np.stack(
        [np.resize(image.astype(np.float32).mean((0, 1)) + image[5, 5], 8) for image in images]
    ).astype(np.float32)


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for number, name in enumerate(PEOPLE):
        (root / name).mkdir(parents=True)
        for k in range(2):
            image = picture(0.8 + 0.1 * number, (30 + 7 * k, 35))
            (root / name / f"{k}.png").write_bytes(encode_png(image))
    return root


def listed(photos, folds=True):
    rows = [(f"{who}/0.png", f"{who}/1.png", 1) for who in PEOPLE]
    rows += [(f"{a}/0.png", f"{b}/1.png", 0) for a, b in zip(PEOPLE, (*PEOPLE[1:], PEOPLE[0]), strict=True)]
    path = photos / "pairs.tsv"
    rows = [(*row, k % 3) if folds else row for k, row in enumerate(rows)]
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def measured(data, benchmark="pairs-tsv", **more):
    return lrfr.evaluate(mean_color, benchmark, data, sizes=(112, 14), replicates=0, **more)


DETECT = {"align": "detect", "detector": "spots"}


def scores(results):
    return [(result.metrics, result.per_pair["score_f32"] if result.per_pair else "") for result in results]


def test_photographs_are_measured_as_their_crops(photos, tmp_path):
    found = measured(listed(photos), **DETECT)
    align_folder(AlignOptions(str(photos), tmp_path / "crops", detector=DetectorChoice("spots")))
    crops = measured(listed(tmp_path / "crops"))
    plain = measured(listed(photos))
    assert [part for part, _ in scores(found)] == [part for part, _ in scores(crops)]
    # the order of a list is that of its pictures' bytes, so its scores are compared as a set
    assert sorted(scores(found)[0][1]) == sorted(scores(crops)[0][1])
    assert scores(found)[0][1] != scores(plain)[0][1]
    assert found[0].alignment == "found by spots 3.1 ab (face largest, on miss keep-center)"
    assert found[0].files.faces["found"].count == 6 == found[0].files.seen
    assert Spots.calls == 6 + 6, "each picture once, whatever the sizes"
    # a folder of crops beside the photographs is not theirs
    (tmp_path / "crops").rename(tmp_path / "aligned")
    assert scores(measured(listed(photos), **DETECT)) == scores(found)


def test_landmarks_of_a_file_give_the_same(photos, tmp_path):
    found = measured(listed(photos), **DETECT)
    align_folder(AlignOptions(str(photos), tmp_path / "crops", detector=DetectorChoice("spots")))
    table = tmp_path / "crops" / "landmarks.tsv"
    Spots.calls = 0
    given = measured(listed(photos), align=table)
    assert scores(given) == scores(found) and Spots.calls == 0
    assert hashlib.sha256(table.read_bytes()).hexdigest()[:12] in given[0].alignment
    # keys that begin further up are the same pictures
    above = tmp_path / "above.tsv"
    above.write_text("".join(f"photos/{line}\n" for line in table.read_text().splitlines()[1:]))
    assert scores(measured(listed(photos), align=above)) == scores(found)
    other = tmp_path / "other.tsv"
    other.write_text("nobody/9.png 1 2 3 4 5 6 7 8 9 10\n")
    with pytest.raises(SpecError, match="0 of 1 keys match"):
        measured(listed(photos), align=other)


def test_a_miss_keeps_its_center_or_leaves_its_pairs_out(photos):
    (photos / "bob" / "1.png").write_bytes(encode_png(np.full((200, 220, 3), 90, np.uint8)))
    kept = measured(listed(photos, folds=False), **DETECT)
    assert kept[0].counts["n_pos"] == 3 and kept[0].files.faces["no-face"].first == ("bob/1.png",)
    assert kept[0].files.used == 6 and "1 no-face" in repr(kept)
    skipped = measured(listed(photos, folds=False), on_miss="skip", **DETECT)
    assert (skipped[0].counts["n_pos"], skipped[0].counts["n_neg"]) == (2, 2)
    assert skipped[0].files.used == 5 and skipped[0].files.unused["no face was found"].count == 1
    assert "2 of 6 pairs are left out" in " ".join(skipped[0].remarks)
    for path in photos.glob("*/*.png"):
        path.write_bytes(encode_png(np.full((60, 60, 3), 90, np.uint8)))
    with pytest.raises(DataError, match="no pair has a face in both"):
        measured(listed(photos), on_miss="skip", **DETECT)


def test_a_search_too(photos):
    for part, number in (("gallery", 0), ("probe", 1)):
        lines = [f"{who}/{number}.png\t{who}\n" for who in PEOPLE]
        (photos / f"{part}.tsv").write_text("".join(lines))
    found = measured(photos, "identify-tsv", **DETECT)
    assert found[0].files.faces["found"].count == 6 and found[0].counts["n_probe"] == 3
    (photos / "bob" / "0.png").write_bytes(encode_png(np.full((200, 220, 3), 90, np.uint8)))
    skipped = measured(photos, "identify-tsv", on_miss="skip", **DETECT)
    assert skipped[0].counts["n_gallery"] == 2 and skipped[0].counts["n_probe"] == 2
    assert "1 gallery pictures and 1 probes are left out" in " ".join(skipped[0].remarks)


def test_settings_are_in_the_name_and_places_are_not(photos, tmp_path):
    path, names = listed(photos), []
    for more in ({}, DETECT, {**DETECT, "face": "center"}, {**DETECT, "on_miss": "skip"}):
        (first, *_) = measured(path, **more)
        names.append(Settings(**more, replicates=0).digest())
        assert first.settings_digest == names[-1]
        assert ("align" in first.settings) == bool(more)
    assert len(set(names)) == 4
    assert Settings(align="a.tsv").digest() == Settings(align="b/c.tsv").digest()
    results = measured(path, **DETECT)
    again = read_results([results.save(tmp_path / "r.json")])
    assert again[0].files == results[0].files


def test_what_cannot_be_cut_is_refused(photos, tmp_path):
    with pytest.raises(SpecError, match="takes no photographs"):
        lrfr.evaluate(mean_color, "svhn", tmp_path, align="detect")
    with pytest.raises(SpecError, match="goes with align=detect"):
        measured(listed(photos), face="center")
    with pytest.raises(SpecError, match="unknown face of a picture that is measured 'all'"):
        measured(listed(photos), **DETECT, face="all")
    (tmp_path / "x.tsv").write_text("anna/0.png 1 2 3 4 5 6 7 8 9 10\n")
    with pytest.raises(SpecError, match="no names to find landmarks by"):
        lrfr.evaluate(mean_color, "synthetic", align=tmp_path / "x.tsv")
    with pytest.raises(SpecError, match="unknown detector"):
        measured(listed(photos), align="detect", detector="nope")


def test_the_command(lrfr, photos, tmp_path):
    line = (
        "eval",
        "--embedder",
        "tests.eval.test_aligned_photographs:mean_color",
        "--benchmark",
        "pairs-tsv",
    )
    line += ("--data", listed(photos), "--sizes", "112,14", "--out", tmp_path / "r.json")
    code, out, err = lrfr(*line, "--align", "detect", "--detector", "spots")
    assert code == 0 and "faces: 6 found" in out, err
