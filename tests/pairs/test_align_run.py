"""A folder of photographs becomes a folder of crops: every file accounted for, nothing done twice, the same bytes
by any number of workers.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from lrfr.core.errors import LockedError, SpecError
from lrfr.core.image import decode, encode_jpeg, encode_png
from lrfr.core.landmarks import TEMPLATE
from lrfr.core.lock import store_lock
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.align.align_run import AlignOptions, align_folder, plan_alignment
from lrfr.pairs.align.aligner import AlignRules
from lrfr.pairs.align.detectors.table import DETECTORS, open_detector
from lrfr.pairs.align.landmark_table import LandmarkRow, read_table, table_bytes
from lrfr.pairs.align.photo_list import crop_name, name_fault, taken_twice
from lrfr.pairs.align.photo_task import DetectorChoice
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.sources.synthetic_photos import SyntheticPhotosSource
from lrfr.pairs.sources.table import open_source
from tests.pairs.spots import Spots, open_spots, picture

SPOTS = DetectorChoice("spots")


@pytest.fixture(autouse=True)
def spots():
    DETECTORS.register("spots", open_spots)
    open_detector.cache_clear()
    Spots.calls = 0
    yield
    DETECTORS.unregister("spots")
    open_detector.cache_clear()


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    (root / "anna" / "2001").mkdir(parents=True)
    (root / "anna" / "one.png").write_bytes(encode_png(picture()))
    (root / "anna" / "2001" / "two.JPG").write_bytes(encode_jpeg(picture(1.2, (20, 30)), 98, "444"))
    (root / "anna" / "three.bmp").write_bytes(cv2.imencode(".bmp", picture()[:, :, ::-1])[1].tobytes())
    (root / "both.png").write_bytes(encode_png(picture(faces=2)))
    (root / "empty room.png").write_bytes(encode_png(np.full((200, 220, 3), 128, np.uint8)))
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    (root / "nothing.png").write_bytes(b"")
    (root / "notes.txt").write_text("what I saw")
    (root / "link").symlink_to(root / "anna")
    return root


def options(photos, out, **more):
    return AlignOptions(str(photos), out, detector=SPOTS, **more)


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_file_is_accounted_for(photos, tmp_path):
    out = tmp_path / "aligned"
    report = align_folder(options(photos, out, sheet=tmp_path / "sheet.png"))
    assert (report.seen, report.used, report.missed, report.crops, report.made) == (9, 4, 1, 4, 7)
    assert report.passed_over == {"a link to a folder": 1, "not a picture by its name or its first bytes": 1}
    assert sum(report.refused.values()) == 2 and report.refused["E_EMPTY"] == 1
    assert report.seen == report.used + report.missed + sum(report.refused.values()) + sum(
        report.passed_over.values()
    )
    told = json.loads((out / "align.json").read_bytes())
    assert told["counts"]["seen"] == 9 and told["settings"]["detector"].endswith("ab")
    assert {item["name"] for item in told["no_crop"]} == {
        "empty room.png",
        "broken.jpg",
        "nothing.png",
        "notes.txt",
        "link",
    }
    crops = {name for name in tree(out) if "align" not in name and name not in {"landmarks.tsv", ".lock"}}
    assert crops == {"anna/one.png", "anna/2001/two.JPG", "anna/three.bmp.png", "both.png"}
    assert decode((tmp_path / "sheet.png").read_bytes()).shape[1] > 300
    assert not (out / ".tmp").exists()


def test_crops_hold_the_landmarks_where_the_template_has_them(photos, tmp_path):
    out = tmp_path / "aligned"
    align_folder(options(photos, out))
    for name in ("anna/one.png", "anna/2001/two.JPG"):
        found = Spots().detect(decode((out / name).read_bytes())).landmarks_5xy[0]
        assert np.abs(found - TEMPLATE).max() < 0.7
    kinds = [
        (out / name).read_bytes()[:4] for name in ("anna/one.png", "anna/2001/two.JPG", "anna/three.bmp.png")
    ]
    assert kinds[0] == kinds[2] == b"\x89PNG" and kinds[1][:3] == b"\xff\xd8\xff"


def test_the_crops_are_a_source_with_the_photographs_keys(photos, tmp_path):
    align_folder(options(photos, tmp_path / "aligned"))
    keys = {face.key: face.label for face in open_source(str(tmp_path / "aligned")).faces()}
    assert keys["anna/one.png"] == "anna" and keys["both.png"] == "" and len(keys) == 4


def test_the_same_command_again_looks_at_nothing(photos, tmp_path):
    out = tmp_path / "aligned"
    align_folder(options(photos, out))
    before, Spots.calls = tree(out), 0
    assert plan_alignment(options(photos, out)) == (7, 0, 2)
    assert align_folder(options(photos, out)).made == 0 and Spots.calls == 0
    assert tree(out) == before


def test_what_changed_is_done_again_and_what_is_gone_is_removed(photos, tmp_path):
    out = tmp_path / "aligned"
    align_folder(options(photos, out))
    (photos / "empty room.png").write_bytes(encode_png(picture(0.9)))
    (photos / "both.png").unlink()
    (out / "anna" / "one.png").write_bytes(b"cut short")
    (photos / "new.png").write_bytes(encode_png(picture(0.8)))
    report = align_folder(options(photos, out))
    assert (report.made, report.removed, report.used) == (3, 1, 5)
    fresh = tmp_path / "fresh"
    align_folder(options(photos, fresh))
    assert tree(out) == tree(fresh)


def test_a_stop_keeps_what_is_done_and_the_same_call_goes_on(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    for number in range(40):
        (root / f"{number:02d}.png").write_bytes(encode_png(picture(0.8, (20 + number, 40))))
    done = []
    hooks = Hooks(lambda at, total, **info: done.append(at), should_stop=lambda: len(done) >= 2)
    with pytest.raises(Stopped):
        align_folder(options(root, tmp_path / "a"), Runner("serial", hooks=hooks))
    assert done == [8, 16]
    with (tmp_path / "a" / ".align.jsonl").open("a") as state:
        state.write('{"key": "20.png", "cro')  # as a kill leaves it
    report = align_folder(options(root, tmp_path / "a"))
    assert report.made == 24 and report.used == 40
    align_folder(options(root, tmp_path / "b"))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_other_settings_need_another_folder(photos, tmp_path):
    out = tmp_path / "aligned"
    align_folder(options(photos, out))
    for rules, word in (
        (AlignRules(96), "size_px"),
        (AlignRules(face="all"), "face"),
        (AlignRules(on_miss="keep-center"), "on_miss"),
    ):
        with pytest.raises(SpecError, match=word):
            align_folder(options(photos, out, rules=rules))
    Spots.weights_sha256 = "cd"
    try:
        open_detector.cache_clear()
        with pytest.raises(SpecError, match="detector"):
            align_folder(options(photos, out))
    finally:
        Spots.weights_sha256 = "ab"


def test_an_edited_table_is_used_and_never_overwritten(photos, tmp_path):
    out = tmp_path / "aligned"
    align_folder(options(photos, out))
    table = out / "landmarks.tsv"
    first, untouched = (out / "anna" / "one.png").read_bytes(), (out / "both.png").stat().st_mtime_ns
    lines = table.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith("anna/one.png"))
    parts = lines[at].split("\t")
    parts[1:11] = [f"{float(value) + 3:.2f}" for value in parts[1:11]]
    lines[at] = "\t".join(parts)
    drop = next(line for line in lines if line.startswith("anna/three"))
    table.write_text("".join(line for line in lines if line is not drop))
    with pytest.raises(SpecError, match="edited"):
        align_folder(options(photos, out))
    Spots.calls = 0
    report = align_folder(options(photos, out, landmarks=table))
    assert Spots.calls == 0 and report.removed == 1
    assert report.refused["E_LANDMARK"] == 2  # the line taken out, and the room without a face
    assert (out / "anna" / "one.png").read_bytes() != first
    assert (out / "both.png").stat().st_mtime_ns == untouched
    assert read_table(table)["anna/one.png"][0].points == tuple(float(value) for value in parts[1:11])
    again = align_folder(options(photos, out, landmarks=table))
    assert again.counts() == report.counts() and again.used == 3


def test_the_table_gives_the_same_crops_in_another_folder(photos, tmp_path):
    align_folder(options(photos, tmp_path / "a", rules=AlignRules(face="all", on_miss="keep-center")))
    again = options(photos, tmp_path / "b", landmarks=tmp_path / "a" / "landmarks.tsv")
    report = align_folder(again)
    assert report.used == 5 and report.crops == 6 and report.remarks["no-face"] == 1
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    names = [name for name in first if name.endswith((".png", ".JPG", ".tsv"))]
    assert len(names) == 7 and all(first[name] == second[name] for name in names)
    assert "both~2.png" in names


def test_further_faces_leave_the_names_of_photographs_alone(photos, tmp_path):
    every = {"rules": AlignRules(face="all")}
    out, fresh = tmp_path / "a", tmp_path / "b"
    align_folder(options(photos, out, **every))
    (photos / "both~2.png").write_bytes(encode_png(picture(0.9)))
    assert align_folder(options(photos, out, **every)).crops == 6
    align_folder(options(photos, fresh, **every))
    crops = {name: data for name, data in tree(out).items() if name.startswith("both")}
    assert list(crops) == ["both.png", "both~2.png", "both~3.png"] and tree(out) == tree(fresh)
    found = Spots().detect(decode((out / "both~2.png").read_bytes()))
    assert np.abs(found.landmarks_5xy[0] - TEMPLATE).max() < 1  # the photograph's own
    again = align_folder(options(photos, tmp_path / "c", landmarks=out / "landmarks.tsv"))
    assert again.crops == 6 and (tmp_path / "c" / "both~3.png").read_bytes() == crops["both~3.png"]
    (photos / "both~2.png").unlink()
    assert align_folder(options(photos, out, **every)).crops == 5
    assert {path.name for path in out.glob("both*")} == {"both.png", "both~2.png"}


def test_the_kept_center_of_a_tiny_picture_is_taken_back(photos, tmp_path):
    (photos / "tiny.png").write_bytes(encode_png(np.full((7, 9, 3), 90, np.uint8)))
    align_folder(options(photos, tmp_path / "a", rules=AlignRules(on_miss="keep-center")))
    report = align_folder(options(photos, tmp_path / "b", landmarks=tmp_path / "a" / "landmarks.tsv"))
    assert "E_LANDMARK" not in report.refused and report.remarks["no-face"] == 2
    assert (tmp_path / "a" / "tiny.png").read_bytes() == (tmp_path / "b" / "tiny.png").read_bytes()


@pytest.mark.parametrize("text", ["", "\n\n", "key\tx1\ty1\tx2\ty2\tx3\ty3\tx4\ty4\tx5\ty5\n"])
def test_a_file_without_landmarks_says_so(photos, tmp_path, text):
    (tmp_path / "marks.tsv").write_text(text)
    with pytest.raises(SpecError, match=r"there are no landmarks in it.*key x1 y1"):
        align_folder(options(photos, tmp_path / "out", landmarks=tmp_path / "marks.tsv"))
    assert not (tmp_path / "out").exists()


def test_keys_that_do_not_match_are_shown_beside_each_other(photos, tmp_path):
    table = tmp_path / "marks.tsv"
    table.write_bytes(table_bytes([LandmarkRow("photos/anna/one.png", tuple(TEMPLATE.ravel()))]))
    with pytest.raises(SpecError) as caught:
        align_folder(options(photos, tmp_path / "out", landmarks=table))
    assert "0 of 1 keys match" in str(caught.value) and "'photos/anna/one.png'" in str(caught.value)
    table.write_bytes(
        table_bytes([LandmarkRow("anna/one.png", tuple(TEMPLATE.ravel())), LandmarkRow("x", (1.0,) * 10)])
    )
    assert align_folder(options(photos, tmp_path / "out", landmarks=table)).unmatched == 1


def test_landmarks_of_another_convention_stop_before_anything_is_written(tmp_path):
    source = SyntheticPhotosSource(8, 1, 0)
    rows = [
        LandmarkRow(face.key, tuple(source.landmarks(face.place)[[1, 0, 2, 4, 3]].ravel()))
        for face in source.faces()
    ]
    table = tmp_path / "marks.tsv"
    table.write_bytes(table_bytes(rows))
    with pytest.raises(SpecError, match="left and right look swapped in 100% of 8 faces"):
        align_folder(options("synthetic-photos:ids=8,per_id=1", tmp_path / "out", landmarks=table))
    assert not (tmp_path / "out").exists()


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    source = SyntheticPhotosSource(10, 2, 0)
    table = tmp_path / "marks.tsv"
    table.write_bytes(
        table_bytes(
            LandmarkRow(face.key, tuple(source.landmarks(face.place).ravel())) for face in source.faces()
        )
    )
    for name, runner in (("one", Runner("serial")), ("two", Runner("process", 2))):
        report = align_folder(
            AlignOptions("synthetic-photos:ids=10,per_id=2", tmp_path / name, landmarks=table), runner
        )
        assert report.used == 20
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_crops_may_not_lie_among_photographs(photos, tmp_path):
    for out in (photos, photos / "aligned"):
        with pytest.raises(SpecError, match="among the photographs"):
            align_folder(options(photos, out))


def test_two_builds_of_one_folder_do_not_mix(photos, tmp_path):
    with store_lock(tmp_path / "aligned"), pytest.raises(LockedError):
        align_folder(options(photos, tmp_path / "aligned"))


def test_names_of_crops():
    assert (
        crop_name("a/b.jpg") == "a/b.jpg"
        and crop_name("a/b.PNG") == "a/b.PNG"
        and crop_name("a/b.jpeg") == "a/b.jpeg"
    )
    assert crop_name("a/b") == "a/b.png" and crop_name("a.b/c.tif") == "a.b/c.tif.png"
    assert crop_name("a/b.jpg", 1) == "a/b~2.jpg"
    assert taken_twice(["a.bmp", "a.bmp.png", "b.jpg"]) == {"a.bmp.png"}
    for bad in ("/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "a\tb.jpg", "a\nb.jpg", "", " a.jpg"):
        assert name_fault(bad)
    assert name_fault("a b/ü.jpg") == ""


def test_a_name_with_a_tab_is_refused_not_written(photos, tmp_path):
    (photos / "a\tb.png").write_bytes(encode_png(picture()))
    report = align_folder(options(photos, tmp_path / "aligned"))
    assert report.refused["E_NAME"] == 1 and report.seen == 10


# --- the command


@pytest.fixture
def table_of_photos(tmp_path):
    source = SyntheticPhotosSource(6, 2, 0)
    path = tmp_path / "marks.tsv"
    path.write_bytes(
        table_bytes(
            LandmarkRow(face.key, tuple(source.landmarks(face.place).ravel())) for face in source.faces()
        )
    )
    return path


def test_the_command_says_what_became_of_everything(lrfr, photos, tmp_path):
    code, out, _ = lrfr("align", photos, "--out", tmp_path / "aligned", "--detector", "spots")
    assert code == 0 and "9 seen: 4 used, 1 without a face, 2 refused, 2 passed over" in out
    assert "next: lrfr make-pairs --source" in out and (tmp_path / "aligned-sheet.png").is_file()
    code, out, _ = lrfr("align", photos, "--out", tmp_path / "aligned", "--detector", "spots", "--json")
    result = json.loads(out)["result"]
    assert code == 0 and result["made"] == 0 and result["seen"] == 9


def test_a_dry_run_writes_nothing(lrfr, photos, tmp_path):
    code, out, _ = lrfr("align", photos, "--out", tmp_path / "aligned", "--detector", "spots", "--dry-run")
    assert code == 0 and "7 photographs, 7 to be done, 2 other files" in out
    assert not (tmp_path / "aligned").exists()


def test_without_weights_the_command_says_what_to_type(lrfr, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("LRFR_DATA", str(tmp_path / "none"))
    code, _, err = lrfr("align", photos, "--out", tmp_path / "aligned")
    assert code == 5 and "lrfr detectors fetch" in err and not (tmp_path / "aligned").exists()
    code, out, _ = lrfr("detectors", "ls", "--json")
    assert code == 0 and {item["name"] for item in json.loads(out)["result"]["detectors"]} >= {
        "mtcnn",
        "yunet",
    }
    code, out, _ = lrfr("doctor")
    assert code == 0 and "detector mtcnn:" in out


def test_make_pairs_takes_the_crops(lrfr, photos, tmp_path):
    lrfr("align", photos, "--out", tmp_path / "aligned", "--detector", "spots")
    code, out, err = lrfr(
        "make-pairs", "--source", tmp_path / "aligned", "--hr-only", "--store", tmp_path / "store"
    )
    assert code == 0 and "4 faces" in out, err


def test_a_killed_run_goes_on(tmp_path, table_of_photos):
    """SIGKILL in the middle, then the same command: the same bytes as in one go."""
    table = tmp_path / "many.tsv"
    source = SyntheticPhotosSource(40, 4, 0)
    table.write_bytes(
        table_bytes(
            LandmarkRow(face.key, tuple(source.landmarks(face.place).ravel())) for face in source.faces()
        )
    )
    command = [
        sys.executable,
        "-m",
        "lrfr",
        "align",
        "synthetic-photos:ids=40,per_id=4",
        "--landmarks",
        str(table),
    ]
    command += ["--executor", "serial", "--out"]
    child = subprocess.Popen(
        [*command, str(tmp_path / "a")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    state = tmp_path / "a" / ".align.jsonl"
    deadline = time.monotonic() + 120
    while not (state.is_file() and state.read_bytes().count(b"\n") > 20) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "a" / "align.json").exists(), "it was killed before its end"
    done = AlignOptions("synthetic-photos:ids=40,per_id=4", tmp_path / "a", landmarks=table)
    assert 0 < align_folder(done).made < 160
    align_folder(AlignOptions("synthetic-photos:ids=40,per_id=4", tmp_path / "b", landmarks=table))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert not list(Path(tmp_path / "a").rglob(".tmp*"))
