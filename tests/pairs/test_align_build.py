"""Photographs become a store in one command: the crops of ``lrfr align``, every photograph accounted for, nothing
searched twice, the same bytes by any number of workers.
"""

import json
import os
import sys

import numpy as np
import pytest

import lrfr
from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import decode, encode_jpeg, encode_png
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.align.align_run import AlignOptions, align_folder
from lrfr.pairs.align.aligner import AlignRules, align_images
from lrfr.pairs.align.detectors.table import DETECTORS, open_detector
from lrfr.pairs.align.landmark_table import read_table
from lrfr.pairs.align.photo_task import DetectorChoice
from lrfr.pairs.build.estimate import estimate
from lrfr.pairs.build.ingest import IngestOptions, open_ingest, with_alignment
from lrfr.pairs.build.look.face_cache import FaceCache
from lrfr.pairs.build.look.face_search import FaceSearch
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.spots import Spots, open_spots, picture

EMPTY = np.full((200, 220, 3), 128, np.uint8)


@pytest.fixture(autouse=True)
def spots(tmp_path, monkeypatch):
    """Offer the detector as an installed package does, so that workers see it too."""
    info = tmp_path / "installed" / "spots-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spots\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lrfr.detectors]\nspots = tests.pairs.spots:open_spots\n")
    monkeypatch.syspath_prepend(info.parent)
    DETECTORS.register("spots", open_spots)
    open_detector.cache_clear()
    Spots.calls = 0
    yield
    DETECTORS.unregister("spots")
    open_detector.cache_clear()


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("anna", "bob"):
        (root / name).mkdir(parents=True)
    (root / "anna" / "one.png").write_bytes(encode_png(picture()))
    (root / "anna" / "two.jpg").write_bytes(encode_jpeg(picture(1.2, (20, 30)), 98, "444"))
    (root / "bob" / "small.png").write_bytes(encode_png(picture(0.5, (60, 60))))
    (root / "bob" / "both.png").write_bytes(encode_png(picture(faces=2)))
    (root / "bob" / "empty room.png").write_bytes(encode_png(EMPTY))
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    return root


def make(source, store, **more):
    return lrfr.make_pairs(source, more.pop("specs", ()), store=store, **{**DETECT, **more})


DETECT = {"align": "detect", "detector": "spots"}


def crops(made, store):
    """Return the HR bytes by key."""
    faces = PairDataset(store, made.name)
    return {faces.key(row).decode(): faces.hr_bytes(row) for row in range(len(faces))}


def test_the_crops_are_those_of_align(photos, tmp_path):
    made = make(photos, tmp_path / "store")
    found = crops(made, tmp_path / "store")
    assert set(found) == {"anna/one.png", "anna/two.jpg", "bob/small.png", "bob/both.png"}
    align_folder(AlignOptions(str(photos), tmp_path / "aligned", detector=DetectorChoice("spots")))
    for key, data in found.items():
        (cut,) = align_images([photos / key], detector="spots")
        assert data == encode_jpeg(cut.crop, 95), key
        if key.endswith(".png"):
            assert np.array_equal(cut.crop, decode((tmp_path / "aligned" / key).read_bytes()))
    # in two steps the store holds the same pixels
    again = lrfr.make_pairs(tmp_path / "aligned", store=tmp_path / "two steps")
    second = crops(again, tmp_path / "two steps")
    assert all(second[key] == data for key, data in found.items() if key.endswith(".png"))


def test_every_photograph_has_an_end(photos, tmp_path):
    made = make(photos, tmp_path / "store")
    report = made.done.report
    assert report.refused["E_NO_FACE"] == 1 and report.account.used == {"file": 4, "folder": 2}
    assert sum(report.refused.values()) == 2
    assert report.flagged == {"W_SEVERAL_FACES": 1, "W_SMALL": 1, "W_CONSTANT": 1}
    lines = (tmp_path / "store" / "reports" / "default.quarantine.jsonl").read_text().splitlines()
    told = {(line["key"], line.get("code") or line["flag"]) for line in map(json.loads, lines)}
    assert {("bob/empty room.png", "E_NO_FACE"), ("bob/both.png", "W_SEVERAL_FACES")} < told
    table = read_table(tmp_path / "store" / "reports" / "default.landmarks.tsv")
    assert set(table) == set(crops(made, tmp_path / "store"))
    assert [remark.code for remark in table["bob/small.png"][0].remarks] == ["small"]


def test_a_name_with_a_tab_breaks_no_table(photos, tmp_path):
    (photos / "anna" / "a\tb.png").write_bytes(encode_png(picture()))
    made = make(photos, tmp_path / "store")
    assert "anna/a\tb.png" in crops(made, tmp_path / "store")
    assert len(read_table(StoreFiles(tmp_path / "store").landmarks_path("default"))) == 4


def test_a_miss_may_keep_its_center(photos, tmp_path):
    made = make(photos, tmp_path / "store", on_miss="keep-center")
    assert made.done.rows == 5 and made.done.report.flagged["W_NO_FACE"] == 1
    (cut,) = align_images([EMPTY], detector="spots", on_miss="keep-center")
    assert crops(made, tmp_path / "store")["bob/empty room.png"] == encode_jpeg(cut.crop, 95)
    table = read_table(StoreFiles(tmp_path / "store").landmarks_path("default"))
    assert [remark.code for remark in table["bob/empty room.png"][0].remarks] == ["no-face"]


def test_all_faces_of_a_photograph_are_rows(photos, tmp_path):
    (photos / "bob" / "other~2.png").write_bytes(encode_png(picture()))
    (photos / "bob" / "other.png").write_bytes(encode_png(picture(faces=2)))
    made = make(photos, tmp_path / "store", face="all")
    found = crops(made, tmp_path / "store")
    both = align_images([photos / "bob" / "both.png"], detector="spots", face="all")
    assert [found["bob/both.png"], found["bob/both~2.png"]] == [encode_jpeg(cut.crop, 95) for cut in both]
    # a name that a photograph has is passed over, by lrfr align too, and the sum holds
    assert {"bob/other~2.png", "bob/other~3.png"} <= found.keys()
    account = made.done.report.account
    assert "E_KEY" not in account.refused and account.used["found face"] == made.done.rows == 8
    out = tmp_path / "aligned"
    align_folder(AlignOptions(str(photos), out, AlignRules(face="all"), DetectorChoice("spots")))
    assert found.keys() == {path.relative_to(out).as_posix() for path in out.glob("*/*")}
    labels = PairDataset(tmp_path / "store")
    assert {labels.key(row).decode().split("/")[0] for row in range(len(labels))} == {"anna", "bob"}


def test_what_finds_the_faces_is_in_the_name_of_the_base(photos, tmp_path):
    plain = make(photos, tmp_path / "store")
    ids = {part.base for part in plain.parts}
    base = StoreFiles(tmp_path / "store").base_manifest(*ids)
    assert base.crop.finder is not None and base.crop.finder.weights_sha256 == "ab"
    assert "spots 3.1 ab (face largest, on miss skip)" in str(base.crop.finder)
    ids |= {part.base for part in make(photos, tmp_path / "store", face="center", view="c").parts}
    table = StoreFiles(tmp_path / "store").landmarks_path("default")
    given = lrfr.make_pairs(photos, store=tmp_path / "store", view="g", align=table)
    ids |= {part.base for part in given.parts}
    assert len(ids) == 3
    # other names, the same crops
    assert crops(given, tmp_path / "store") == crops(plain, tmp_path / "store")


def test_without_a_search_nothing_of_it_is_sealed(tmp_path):
    made = lrfr.make_pairs("synthetic:ids=3,per_id=2", store=tmp_path / "store")
    text = StoreFiles(tmp_path / "store").base(made.parts[0].base) / "manifest.json"
    assert b"finder" not in text.read_bytes()
    assert not StoreFiles(tmp_path / "store").landmarks_path("default").exists()


def test_nothing_is_searched_twice(photos, tmp_path):
    first = make(photos, tmp_path / "store")
    searched = Spots.calls
    again = make(photos, tmp_path / "store")
    assert Spots.calls == searched and again.id == first.id and again.done.hr_written == 0
    # the same bytes under another name, and as another view
    (photos / "anna" / "copy.png").write_bytes((photos / "anna" / "one.png").read_bytes())
    assert make(photos, tmp_path / "store", view="other").done.rows == 5
    assert Spots.calls == searched
    options = IngestOptions(cached=False)
    make(photos, tmp_path / "store", options=lrfr.pairs.build.make.MakeOptions(options))
    assert Spots.calls > searched


def test_a_stopped_search_goes_on(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(20):
        (root / f"{number:02}.png").write_bytes(encode_png(picture(1.0, (40 + number, 40))))
    asked = []

    def stopping():
        asked.append(1)
        return Spots.calls >= 8

    with pytest.raises(Stopped):
        make(root, tmp_path / "a", hooks=Hooks(should_stop=stopping))
    (cache,) = (tmp_path / "a" / "cache").glob("faces-*")
    assert len(FaceCache(cache)) == 8
    with cache.open("ab") as handle:
        handle.write(b'{"sha256":"00')  # as a kill leaves it
    made = make(root, tmp_path / "a")
    assert Spots.calls == 20 and len(FaceCache(cache)) == 20
    assert made.parts == make(root, tmp_path / "b").parts


def test_a_damaged_cache_costs_time_only(photos, tmp_path):
    made = make(photos, tmp_path / "store")
    (cache,) = (tmp_path / "store" / "cache").glob("faces-*")
    whole = cache.read_bytes()
    lines = whole.splitlines()
    swapped = [line.replace(b'"x', b'"y') for line in lines]
    swapped[0] = swapped[0].replace(b"0.875", b"0.975")  # a number that is not what was found
    cache.write_bytes(b"\n".join([*swapped[1:], swapped[0], b"[]", b"{}", b"nonsense", b"\xff\xfe"]))
    searched = Spots.calls
    assert len(FaceCache(cache)) == len(lines) - 1
    assert make(photos, tmp_path / "store").parts == made.parts and Spots.calls == searched + 1


def test_more_photographs_extend_a_view(photos, tmp_path):
    make(photos, tmp_path / "store", specs=["fskd"])
    searched = Spots.calls
    more = tmp_path / "more" / "cleo"
    more.mkdir(parents=True)
    (more / "new.png").write_bytes(encode_png(picture(1.1, (30, 30))))
    (more / "none.png").write_bytes(encode_png(np.zeros((50, 50, 3), np.uint8)))
    options = lrfr.pairs.build.make.MakeOptions(extend="default")
    grown = make(tmp_path / "more", tmp_path / "store", options=options)
    assert grown.done.counts.new == 1 and grown.done.rows == 5 and Spots.calls == searched + 2 + 2
    table = read_table(StoreFiles(tmp_path / "store").landmarks_path("default"))
    assert set(table) == set(crops(grown, tmp_path / "store"))
    # parts of one view are found alike
    with pytest.raises(DataError, match=r"finder spots .*face all.*, not spots .*face largest"):
        make(photos, tmp_path / "store", options=options, face="all")


def test_any_number_of_workers_and_ray_write_the_same_bytes(photos, tmp_path, monkeypatch):
    # processes are told the path, Ray's workers read it from here
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "installed"), *sys.path]))
    made = []
    for name, runner in (("a", Runner("serial")), ("b", Runner("process", 2)), ("c", Runner("ray", 2))):
        view = make(photos, tmp_path / name, runner=runner, face="all", specs=["fskd"])
        files = StoreFiles(tmp_path / name)
        table = files.landmarks_path("default").read_bytes()
        made.append((view.id, view.parts, table, crops(view, tmp_path / name)))
    assert made[0] == made[1] == made[2]


def test_a_plan_says_what_the_search_costs(photos, tmp_path):
    store = StoreFiles(tmp_path / "store")
    ingest = open_ingest(str(photos), with_alignment(IngestOptions(), DETECT))
    found = estimate(store, ingest, [], Runner(), sample=3)
    parts = {part.part: part.images for part in found.parts}
    assert list(parts) == ["scan", "faces", "HR"] and parts["faces"] == 3
    assert found.sampled == (3, 6) and not (tmp_path / "store" / "base").exists()
    whole = estimate(store, ingest, [], Runner())
    assert {part.part: part.images for part in whole.parts}["HR"] == 4 == whole.rows


def test_lost_crops_are_found_again(photos, tmp_path):
    made = make(photos, tmp_path / "store", face="all")
    store = Store(tmp_path / "store")
    (shard,) = store.base(made.parts[0].base).glob("hr-*.mdb")
    before = shard.read_bytes()
    shard.write_bytes(before[:-100])
    done = store.repair(open_ingest(str(photos)))
    assert done.rebuilt == [str(shard)] and shard.read_bytes() == before


def test_a_forgotten_face_leaves_the_table_too(photos, tmp_path):
    make(photos, tmp_path / "store", face="all")
    store = Store(tmp_path / "store")
    store.forget(keys=["bob/both~2.png"])
    text = store.landmarks_path("default").read_text()
    assert "both~2" not in text and "bob/both.png\t" in text and "(forgotten)" not in text
    again = make(photos, tmp_path / "store", face="all")
    assert "bob/both~2.png" not in crops(again, tmp_path / "store")


def test_words_that_do_not_go_together():
    assert with_alignment(IngestOptions(), {}) == IngestOptions()
    found = with_alignment(IngestOptions(), {"align": "detect", "face": "all"}).search
    assert found == FaceSearch(DetectorChoice(), AlignRules(face="all"))
    with pytest.raises(SpecError, match="goes with align=detect"):
        with_alignment(IngestOptions(), {"align": "marks.tsv", "face": "all"})
    with pytest.raises(DataError, match="no such file of landmarks") as fault:
        with_alignment(IngestOptions(), {"align": "detcet"})
    assert "'detect'" in str(fault.value)
    with pytest.raises(SpecError, match="did you mean 'align'"):
        with_alignment(IngestOptions(), {"aling": "detect"})


def test_the_command(lrfr, photos, tmp_path):
    line = ("make-pairs", "--source", photos, "--store", tmp_path / "store", "--hr-only", "--align", "detect")
    code, out, err = lrfr(*line, "--detector", "spots", "--on-miss", "keep-center", "--plan")
    assert code == 0 and "faces" in out and not (tmp_path / "store" / "base").exists(), err
    code, out, _ = lrfr(*line, "--detector", "spots")
    assert code == 0 and "refused E_NO_FACE 1" in out and "W_SEVERAL_FACES 1" in out
    code, out, _ = lrfr("store", "card", "--store", tmp_path / "store")
    assert "spots 3.1" in out
    code, _, err = lrfr(*line[:-2], "--face", "all")
    assert code == 2 and "goes with align=detect" in err
