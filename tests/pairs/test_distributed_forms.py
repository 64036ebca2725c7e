"""Files and folders as libraries write them and as sets are distributed: found by their path, read as meant, or
refused by one true message.
"""

import io
import json
import tarfile

import numpy as np
import pytest

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.core.landmarks import TEMPLATE
from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.sources.base import LABEL_NAMES, label_name
from lrfr.pairs.sources.table import SOURCES, kind_of, open_source
from tests.pairs.zoo import picture, save

IMAGES = [save(picture(seed, 24), "PNG") for seed in range(6)]
PEOPLE = ["0", "0", "1", "1", "2", "2"]


def labels(source):
    return [face.label for face in sorted(source.faces(), key=lambda face: face.key)]


def lay(root, *names):
    for name, data in zip(names, IMAGES * 9, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def seen_is_ended(listing):
    ends = len(listing.faces) + len(listing.others) + sum(listing.used.values())
    assert sum(listing.seen.values()) == ends
    return listing


# ---------------------------------------------------------------- whose face it is


@pytest.mark.parametrize("name", [*LABEL_NAMES, "celebID", "Person ID", "subject-id", "Label"])
def test_every_column_of_identities_is_known_in_every_form(tmp_path, name):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lay(tmp_path, *(f"{n}.png" for n in range(6)))
    (tmp_path / "l.csv").write_text(f"path,{name}\n" + "".join(f"{n}.png,{n // 2}\n" for n in range(6)))
    rows = [json.dumps({"path": f"{n}.png", name: n // 2}) for n in range(6)]
    (tmp_path / "l.jsonl").write_text("\n".join(rows))
    parquet.write_table(pa.table({"image": IMAGES, name: [n // 2 for n in range(6)]}), tmp_path / "l.parquet")
    for file in ("l.csv", "l.jsonl", "l.parquet"):
        source = open_source(str(tmp_path / file))
        assert labels(source) == PEOPLE and not source.listing().notes


def test_the_surest_column_names_the_identity():
    assert label_name(["id", "celeb_id", "age"]) == "celeb_id"
    assert label_name(["ID", "age"]) == "ID"
    assert label_name(["age", "path"]) is None


def test_a_table_without_identities_says_so(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lay(tmp_path, "0.png")
    (tmp_path / "l.csv").write_text("path,age\n0.png,31\n")
    parquet.write_table(
        pa.table({"image": IMAGES[:1], "lr": IMAGES[:1], "age": [31]}), tmp_path / "l.parquet"
    )
    for file in ("l.csv", "l.parquet"):
        notes = " ".join(open_source(str(tmp_path / file)).listing().notes)
        assert f"no column of {file} names the identity" in notes and "age" in notes
    assert "images are taken from 'image', not from lr" in notes


def test_labels_of_samples(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        parts = {"a.jpg": IMAGES[0], "a.json": b'{"id": "000123", "celeb_id": 5, "caption": "x"}'}
        parts |= {"b.hr.png": IMAGES[1], "b.lr.png": IMAGES[2], "b.label.txt": b"7\n"}
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    listing = seen_is_ended(open_source(str(tmp_path / "s.tar")).listing())
    assert {face.key: face.label for face in listing.faces} == {"a": "5", "b": "7"}


# ---------------------------------------------------------------- where the faces lie


def test_data_sets_of_hugging_face_as_they_are_saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ann", "bob", "cy"])}
    )
    images = [{"bytes": data, "path": None} for data in IMAGES]
    whole = datasets.Dataset.from_dict(
        {"image": images, "label": [n // 2 for n in range(6)]}, features=features
    )
    halves = datasets.DatasetDict(train=whole.select(range(4)), test=whole.select(range(4, 6)))
    halves.save_to_disk(str(tmp_path / "disk"))
    for split, part in halves.items():
        (tmp_path / "hub/default" / split).mkdir(parents=True)
        part.to_parquet(str(tmp_path / "hub/default" / split / "0000.parquet"))
    (tmp_path / "hub/README.md").write_text("card")
    (tmp_path / "disk/train/cache-0123.arrow").write_bytes(b"of a map")
    (tmp_path / "hub/default/metadata.parquet").write_bytes(b"of a viewer")
    for name, others in (("disk", 6), ("hub", 2)):
        source = open_source(str(tmp_path / name))
        listing = seen_is_ended(source.listing())
        assert source.kind == "parquet" and len(listing.others) == others
        told = sorted((face.label, face.split) for face in listing.faces)
        assert told == [("ann", "train")] * 2 + [("bob", "train")] * 2 + [("cy", "test")] * 2
        assert [source.read(face.place) for face in listing.faces] != []


def test_arrow_is_known_by_its_first_bytes(tmp_path):
    pa, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    table = pa.table({"image": IMAGES, "label": [n // 2 for n in range(6)]})
    feather.write_feather(table, tmp_path / "x.feather")
    (tmp_path / "x").write_bytes((tmp_path / "x.feather").read_bytes())
    assert kind_of(tmp_path / "x") == "parquet"
    assert labels(open_source(str(tmp_path / "x.feather"))) == PEOPLE


def test_shards_of_splits_lie_in_folders(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        with tarfile.open(tmp_path / split / "0.tar", "w") as archive:
            member = tarfile.TarInfo("a/0.png")
            member.size = len(IMAGES[0])
            archive.addfile(member, io.BytesIO(IMAGES[0]))
    (tmp_path / "index.json").write_text("{}")
    source = open_source(str(tmp_path))
    listing = seen_is_ended(source.listing())
    assert [face.key for face in listing.faces] == ["train/0/a/0", "val/0/a/0"]
    assert [(item.name, item.why) for item in listing.others] == [("index.json", "not asked for")]
    # beside one picture it is a folder of pictures
    lay(tmp_path, "p/1.png")
    assert kind_of(tmp_path) == "folder"


def test_archives_joined_end_to_end_are_told(tmp_path):
    def packed(name):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(IMAGES[0])
            archive.addfile(member, io.BytesIO(IMAGES[0]))
        return buffer.getvalue()

    (tmp_path / "x.tar").write_bytes(packed("a/0.png") + packed("b/0.png"))
    listing = seen_is_ended(open_source(str(tmp_path / "x.tar")).listing())
    assert len(listing.faces) == 1 and "another archive is joined" in listing.others[0].detail
    (tmp_path / "x.tar").write_bytes(packed("a/0.png") + bytes(1 << 21))
    assert not open_source(str(tmp_path / "x.tar")).listing().others


def test_the_folder_of_lfw_around_its_pictures(tmp_path):
    names = [f"lfw_funneled/{name}/{name}_{n:04d}.jpg" for name in ("Ann_B", "Cy_D") for n in (1, 2)]
    lay(tmp_path, *names)
    (tmp_path / "pairsDevTrain.txt").write_text("1\nAnn_B\t1\t2\nAnn_B\t1\tCy_D\t2\n")
    source = open_source(str(tmp_path))
    assert source.kind == "lfw" and labels(source) == ["Ann_B", "Ann_B", "Cy_D"]


def test_the_landmarks_of_vggface2(tmp_path):
    lay(tmp_path, *(f"train/n00000{n // 2}/{n:04d}_01.jpg" for n in range(6)))
    points = ",".join(f"{value:.1f}" for value in TEMPLATE.reshape(-1))
    names = "NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y"
    rows = "".join(f'"n00000{n // 2}/{n:04d}_01",{points}\n' for n in range(6))
    (tmp_path / "loose_landmark_train.csv").write_text(f"{names}\n{rows}")
    options = IngestOptions(landmarks=tmp_path / "loose_landmark_train.csv")
    found = open_ingest(str(tmp_path / "train"), options)
    assert found.landmarks is not None and len(found.landmarks) == 6


# ---------------------------------------------------------------- numbers for pictures


def test_pixels_of_matlab_stand_column_by_column(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    gray = np.stack([picture(seed, 16)[..., 0] for seed in range(6)])
    flat = gray.transpose(0, 2, 1).reshape(6, -1)
    savemat(tmp_path / "rows.mat", {"fea": flat.astype(float), "gnd": np.arange(6)[:, None] // 2})
    savemat(tmp_path / "columns.mat", {"faces": np.ascontiguousarray(flat.T)})
    for name, people in (("rows", PEOPLE), ("columns", [""] * 6)):
        source = open_source(str(tmp_path / f"{name}.mat"))
        assert labels(source) == people
        assert all((source.read(n)[..., 0] == gray[n]).all() for n in range(6))
    # both axes could be the pixels: 400 = 20 x 20, 4096 = 64 x 64
    savemat(tmp_path / "olivetti.mat", {"faces": np.zeros((4096, 400), np.uint8)})
    with pytest.raises(DataError, match="which axis"):
        open_source(str(tmp_path / "olivetti.mat")).listing()


ODD_ARRAYS = {
    "objects": {"images": np.array([None, 1], object)},
    "records": {"data": {"X": np.zeros((2, 8, 8)), "y": [1, 2]}},
    "cells": {"images": np.array([[np.zeros((4, 4)), np.zeros((5, 5))]], object)},
    "words": {"images": np.array(["a", "b"])},
}


@pytest.mark.parametrize("name", ODD_ARRAYS)
def test_arrays_that_are_no_pictures(tmp_path, name):
    savemat = pytest.importorskip("scipy.io").savemat
    try:
        savemat(tmp_path / "x.mat", ODD_ARRAYS[name])
    except TypeError:
        np.savez(tmp_path / "x.npz", **ODD_ARRAYS[name])
    file = next(tmp_path.glob("x.*"))
    with pytest.raises(DataError, match=file.name):
        open_source(str(file)).listing()


def test_nobody_is_advised_to_run_a_pickle(tmp_path):
    (tmp_path / "text.npz").write_text("an error page")
    np.savez(tmp_path / "objects.npz", images=np.array([{}], object))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    for name, words in (
        ("text.npz", "no file of NumPy"),
        ("objects.npz", "objects"),
        ("objects.npy", "objects"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            open_source(str(tmp_path / name)).listing()
        assert "unsafely" not in str(caught.value)


def test_dark_pictures_are_no_digits(tmp_path):
    np.savez(tmp_path / "dark.npz", images=np.full((2, 24, 24), 12.0, np.float32))
    np.savez(tmp_path / "digits.npz", images=np.full((2, 8, 8), 16.0))
    assert open_source(str(tmp_path / "dark.npz")).read(0).max() == 12
    assert open_source(str(tmp_path / "digits.npz")).read(0).max() == 255


# ---------------------------------------------------------------- what is not read


FOREIGN = {
    "x.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "7z"),
    "x.rar": (b"Rar!\x1a\x07\x00" + bytes(40), "RAR"),
    "x.h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    "x.pkl": (b"\x80\x04" + bytes(40), "pickle"),
    "x.tar.lz4": (b"\x04\x22\x4d\x18" + bytes(40), "LZ4"),
    "x.mat": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n", "7.3"),
    "l.csv.gz": (b"\x1f\x8b" + bytes(40), "gz"),
    "x.parquet": (b"PAR1" + bytes(40), "x.parquet"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_named(tmp_path, name):
    if name == "x.parquet":
        pytest.importorskip("pyarrow")
    data, word = FOREIGN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(LrfrError, match=word):
        open_source(str(tmp_path / name)).listing()


def test_numbers_in_a_table_are_no_pictures(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"image": [[1, 2, 3]], "label": [0]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"image \(list<"):
        open_source(str(tmp_path / "x.parquet"))


def test_every_kind_is_told_in_words_of_its_own():
    kinds = ["csv", "parquet", "list", "tar", "zip", "arrays", "lmdb", "recordio", "bin"]
    told = [SOURCES.help(kind) for kind in kinds]
    assert all(told) and len(set(told)) == len(told) and "Parquet or Arrow files" in told[1]


def test_a_long_header_is_shown_in_short(tmp_path):
    (tmp_path / "x.tsv").write_text("m.0\t0\t" + "A" * 5000 + "\n" + "m.1\t1\tB\n")
    with pytest.raises(SpecError) as caught:
        open_source(str(tmp_path / "x.tsv")).listing()
    assert len(str(caught.value)) < 600


def test_a_source_that_is_damaged_as_a_whole_leaves_a_report(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError):
        make_pairs(f"arrays:{tmp_path}/x.npz", [], store=tmp_path / "s")
    store = StoreFiles(tmp_path / "s")
    report = store.report("default")
    assert report is not None and report.account.seen == {"source": 1} and report.refused == {"E_READ": 1}
    line = json.loads(store.quarantine_path("default").read_text())
    assert line["code"] == "E_READ" and "x.npz" in line["detail"]
    # a command that is wrong writes nothing
    with pytest.raises(SpecError):
        make_pairs(str(tmp_path / "none"), [], store=tmp_path / "s2")
    assert not (tmp_path / "s2").exists()
