"""The forms in which people have their faces: each is found by its path and read as it was meant."""

import io
import json
import pickle
import struct

import lmdb
import numpy as np
import pytest
from PIL import Image

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.landmarks import TEMPLATE, read_landmarks
from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.sources.bin_file import read_bin
from lrfr.pairs.sources.table import SOURCES, example_of, kind_of, open_source
from tests.pairs.test_sources import header, record
from tests.pairs.zoo import picture, save

IMAGES = [save(picture(seed, 24), "PNG") for seed in range(6)]


def lay(root, *names):
    for name, data in zip(names, IMAGES * 9, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def faces(path):
    source = open_source(str(path))
    return {face.key: face.label for face in source.faces()}, source


def ends(listing):
    return sorted((item.why, item.name) for item in listing.others)


# ---------------------------------------------------------------- lists


LISTS = {
    "path label": "a/1.png 5\nb/2.png 7\n",
    "label path": "5 a/1.png\n7 b/2.png\n",
    "lst": "0\t5.000000\ta/1.png\n1\t7.000000\tb/2.png\n",
    "lst with more labels": "0\t5.0\t33.0\ta/1.png\n1\t7.0\t44.0\tb/2.png\n",
    "comma": "a/1.png,5\nb/2.png,7\n",
    "quotes": '"a/1.png","5"\n"b/2.png","7"\n',
    "header": "path label\na/1.png 5\nb/2.png 7\n",
    "comment": "# mine\na/1.png 5\nb/2.png 7",
    "windows": "a\\1.png 5\r\nb\\2.png 7\r\n",
    "dot": "./a/1.png 5\n./b/2.png 7\n",
    "attributes behind": "a/1.png 5 1 0 1\nb/2.png 7 0 0 1\n",
}


@pytest.mark.parametrize("name", ["list.txt", "train.lst", "images.list"])
@pytest.mark.parametrize("form", LISTS)
def test_text_lists(tmp_path, form, name):
    lay(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / name).write_bytes(LISTS[form].encode())
    found, source = faces(tmp_path / name)
    assert found == {"a/1.png": "5", "b/2.png": "7"}
    assert [source.read(face.place) for face in source.faces()] == IMAGES[:2]
    listing = source.listing()
    assert sum(listing.seen.values()) == len(listing.faces) + len(listing.others)


def test_lists_of_paths_with_spaces_or_alone(tmp_path):
    lay(tmp_path, "Ann Lee/1 (2).png", "Bob/x, y.png")
    (tmp_path / "l.txt").write_text("Ann Lee/1 (2).png 5\nBob/x, y.png 7\n")
    assert faces(tmp_path / "l.txt")[0] == {"Ann Lee/1 (2).png": "5", "Bob/x, y.png": "7"}
    (tmp_path / "l.txt").write_text("Ann Lee/1 (2).png\nBob/x, y.png\n")
    assert faces(tmp_path / "l.txt")[0] == {"Ann Lee/1 (2).png": "Ann Lee", "Bob/x, y.png": "Bob"}


def test_bad_lines_of_a_list_are_refused_one_by_one(tmp_path):
    lay(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    long = "x" * 300 + ".png"
    text = f"a/1.png 5\nb/2.png 7\nalone\n{long} 3\nnul\0.png 4\nc/3.png nan\n../up.png 8\nb/2.png 9\na/1.png 5\n"
    (tmp_path / "l.txt").write_text(text)
    done = make_pairs(str(tmp_path / "l.txt"), [], store=tmp_path / "s").done
    assert done.rows == 1 and done.report.account.skipped == {"duplicate": 1}
    assert done.report.account.refused == {"E_LINE": 1, "E_READ": 3, "E_LABEL": 1, "E_KEY": 2}
    assert "l.txt:3: expected 'path label'" in (tmp_path / "s/reports/default.quarantine.jsonl").read_text()


def test_whole_paths_into_the_folder_are_taken(tmp_path):
    lay(tmp_path / "faces", "a/1.png")
    (tmp_path / "l.txt").write_text(f"{tmp_path}/faces/a/1.png 5\n")
    source = open_source(f"list:{tmp_path}/l.txt,root={tmp_path}/faces")
    assert [face.key for face in source.faces()] == ["a/1.png"] and source.read("a/1.png") == IMAGES[0]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ("/data/old/p1/a.png", "'p1/a.png' is: cut '/data/old/' from each line"),
        ("D:\\old\\p1\\a.png", "'p1/a.png' is: cut 'D:/old/' from each line"),
        ("/data/old/p9/z.png", "cut from each line what stands before its folder and write list:"),
        ("p9/z.png", "the folder in which 'p9/z.png' is"),
        ("p1/a.png", ""),
    ],
)
def test_a_list_of_another_machine_says_what_to_write(tmp_path, listed, told):
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "a.png").write_bytes(save(picture(1), "PNG"))
    (tmp_path / "l.txt").write_text(f"{listed} 7\n")
    notes = " ".join(open_source(f"list:{tmp_path}/l.txt").listing().notes)
    assert (told in notes) if told else not notes
    if told:
        with pytest.raises(DataError) as caught:
            make_pairs(f"list:{tmp_path}/l.txt", [], store=tmp_path / "s")
        assert notes in str(caught.value)


def test_a_csv_with_commas_in_its_path_semicolons_and_bad_rows(tmp_path):
    folder = tmp_path / "a,b=c, d"
    lay(folder, "x/1.png", "y, z/2.png")
    (folder / "my, list.csv").write_text('path;identity\nx/1.png;A\n"y, z/2.png";-1\nbroken\n;B\n')
    for text in (
        str(folder / "my, list.csv"),
        f"csv:{folder}/my, list.csv",
        f"csv:{folder}/my, list.csv,root={folder}",
    ):
        source = open_source(text)
        listing = source.listing()
        assert {face.key: face.label for face in listing.faces} == {"x/1.png": "A", "y, z/2.png": ""}
        assert [item.why for item in listing.others] == ["E_LINE", "E_LINE"]
        assert [source.read(face.place) for face in listing.faces] == IMAGES[:2]
    (folder / "plain.csv").write_text('x/1.png,A\n"y, z/2.png",B\n')
    assert faces(folder / "plain.csv")[0] == {"x/1.png": "A", "y, z/2.png": "B"}
    with pytest.raises(SpecError, match="unknown option 'rot'"):
        open_source(f"csv:{tmp_path}/no.csv,rot=x")


# ---------------------------------------------------------------- Hugging Face


def test_image_folders_are_those_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    lay(tmp_path / "d/train", "p/1.png", "p/2.png", "q/3.png")
    (tmp_path / "d/train/metadata.csv").write_text("file_name,label,Male\np/1.png,A,1\nq/3.png,B,0\n")
    theirs = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "d"), cache_dir=str(tmp_path / "c"))
    found = {face.key: face for face in open_source(str(tmp_path / "d")).faces()}
    assert [face.label for face in found.values()] == theirs["train"]["label"]
    assert found["train/p/1.png"].attributes == {"Male": 1} and found["train/p/1.png"].split == "train"
    assert ends(open_source(str(tmp_path / "d")).listing()) == [
        ("not a picture", "train/metadata.csv"), ("not listed", "train/p/2.png")
    ]  # fmt: skip


def test_metadata_in_json_lines(tmp_path):
    lay(tmp_path, "1.png", "2.png")
    rows = [{"file_name": "1.png", "label": 7, "Bald": True}, {"file_name": "2.png", "label": None}]
    (tmp_path / "metadata.jsonl").write_text(
        "\n".join(map(json.dumps, rows)) + '\nnot json\n{"file_name": "3.png"}\n'
    )
    listing = open_source(str(tmp_path)).listing()
    assert {face.key: (face.label, face.attributes) for face in listing.faces} == {
        "1.png": ("7", {"Bald": 1}), "2.png": ("", {})
    }  # fmt: skip
    assert [(why, name) for why, name in ends(listing) if why.startswith("E_")] == [
        ("E_LINE", "metadata.jsonl:3"), ("E_READ", "3.png")
    ]  # fmt: skip


@pytest.fixture
def hub(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["ann", "bob", "cy"]),
            "Male": datasets.Value("int64"),
        }
    )
    rows = {
        "image": [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(IMAGES)],
        "label": [0, 1, 2, 2, 1, 0],
        "Male": [0, 1, 1, 1, 1, 0],
    }
    return datasets.Dataset.from_dict(rows, features=features), tmp_path


def test_parquet_of_datasets(hub):
    dataset, root = hub
    (root / "data").mkdir()
    for shard in range(2):
        dataset.shard(2, shard, contiguous=True).to_parquet(
            root / f"data/train-{shard:05d}-of-00002.parquet", batch_size=2
        )
    names = ["ann", "bob", "cy", "cy", "bob", "ann"]
    for place in (root, root / "data", f"parquet:{root}/data/train-*.parquet"):
        source = open_source(str(place))
        found = source.faces()
        assert [(face.key, face.label, face.split) for face in found] == [
            (f"{n}.png", name, "train") for n, name in enumerate(names)
        ]
        assert [source.read(face.place) for face in found] == IMAGES
        assert found[1].attributes == {"Male": 1}
    one, source = faces(root / "data/train-00000-of-00002.parquet")
    assert list(one.values()) == names[:3] and source.stamp(source.faces()[0].place)


def test_saved_datasets_and_rows_without_bytes(hub):
    dataset, root = hub
    dataset.save_to_disk(root / "saved")
    source = open_source(str(root / "saved"))
    assert [source.read(face.place) for face in source.faces()] == IMAGES
    assert [face.label for face in source.faces()][:3] == ["ann", "bob", "cy"]
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table(
        {"image": [{"bytes": None, "path": "x.png"}, {"bytes": IMAGES[0], "path": "x.png"}], "label": [-1, 4]}
    )
    pyarrow.parquet.write_table(table, root / "t.parquet")
    listing = open_source(str(root / "t.parquet")).listing()
    assert [(face.key, face.label) for face in listing.faces] == [("t/00000000", ""), ("t/00000001", "4")]
    with pytest.raises(ImageFault, match=r"E_EMPTY.*x\.png"):
        open_source(str(root / "t.parquet")).read(listing.faces[0].place)
    (root / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises((DataError, SpecError)):
        open_source(str(root / "bad.parquet")).listing()


# ---------------------------------------------------------------- CelebA, TinyFace, LFW


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_celeba_as_distributed(tmp_path, suffix):
    folder = "img_align_celeba" if suffix == "jpg" else "img_align_celeba_png"
    lay(tmp_path / "Img" / folder, f"000001.{suffix}", f"000002.{suffix}")
    for name, text in (
        ("Anno/identity_CelebA.txt", "000001.jpg 2880\n000002.jpg 17\n"),
        ("Anno/list_attr_celeba.txt", "2\nMale Bald\n000001.jpg -1 1\n000002.jpg  1 -1\n"),
        ("Eval/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 2\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    source = open_source(str(tmp_path))
    second = source.faces()[1]
    assert (second.key, second.label, second.split, dict(second.attributes)) == (
        "000002.jpg",
        "00017",
        "test",
        {"Male": 1, "Bald": 0},
    )
    assert [source.read(face.place) for face in source.faces()] == IMAGES[:2]
    (tmp_path / "Eval/list_eval_partition.txt").unlink()
    (tmp_path / "Eval/list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,1\n000002.jpg,2\n")
    assert [face.split for face in open_source(str(tmp_path)).faces()] == ["val", "test"]


def test_tinyface_and_its_aligned_copies(tmp_path):
    parts = ("Probe/12_3.jpg", "Gallery_Match/12_1.jpg", "Gallery_Distractor/8_x.jpg")
    lay(tmp_path / "one/tinyface/Testing_Set", *parts)
    (tmp_path / "one/tinyface/Testing_Set/Thumbs.db").write_bytes(b"x")
    lay(tmp_path / "two/aligned_pad_0.1_pad_high", *parts)
    for root, above in (("one", "Testing_Set/"), ("two", "")):
        source = open_source(str(tmp_path / root))
        assert {face.key: (face.label, face.split) for face in source.faces()} == {
            f"{above}Probe/12_3.jpg": ("12", "probe"),
            f"{above}Gallery_Match/12_1.jpg": ("12", "gallery"),
            f"{above}Gallery_Distractor/8_x.jpg": ("", "distractor"),
        }
        assert source.read(f"{above}Probe/12_3.jpg") == IMAGES[0]
    (tmp_path / "two/aligned_pad_0.2").mkdir()
    with pytest.raises(SpecError, match="several aligned copies"):
        open_source(str(tmp_path / "two")).faces()


def test_lists_of_every_lfw_view(tmp_path):
    lay(tmp_path, *(f"{name}/{name}_000{n}.png" for name in ("Ann_Bee", "Cy_Dee") for n in (1, 2, 3)))
    for name, text, count in (
        ("pairsDevTest.txt", "1\nAnn_Bee\t1\t2\nAnn_Bee\t1\tCy_Dee\t1\n", 3),
        ("people.txt", "1\n2\nAnn_Bee\t3\nCy_Dee\t1\n", 4),
        ("peopleDevTrain.txt", "1\nCy_Dee\t2\n", 2),
        ("pairs.txt", "Ann_Bee 1 2\nAnn_Bee 1 Cy_Dee 9\n", 2),
    ):
        (tmp_path / name).write_text(text)
        listing = open_source(f"lfw:{tmp_path},list={name}").listing()
        assert len(listing.faces) == count, name
    assert [item.name for item in listing.others if item.why == "E_READ"] == ["Cy_Dee/Cy_Dee_0009"]
    assert kind_of(tmp_path) == "lfw"


# ---------------------------------------------------------------- packed


def test_bins_of_every_maker(tmp_path):
    column = [np.frombuffer(data, np.uint8).reshape(-1, 1) for data in IMAGES[:4]]
    holder = np.empty(4, dtype=object)
    holder[:] = [np.frombuffer(data, np.uint8) for data in IMAGES[:4]]
    forms = [
        (column, [True, False]), (column, np.array([True, False])), (IMAGES[:4], np.array([1, 0])),
        (IMAGES[:4], np.array([1, 0], np.int32)), (IMAGES[:4], [np.int64(1), np.int64(0)]),
        (IMAGES[:4], [np.bool_(True), np.bool_(False)]), (tuple(IMAGES[:4]), (1, 0)),
        (list(map(bytearray, IMAGES[:4])), [1, 0]), (holder, np.array([[1], [0]], np.uint8)),
        ([row.T for row in column], [True, False]), (IMAGES[:4], np.array([1, 0], ">i8")),
    ]  # fmt: skip
    for protocol in range(6):
        for form in forms:
            (tmp_path / "x.bin").write_bytes(pickle.dumps(form, protocol=protocol))
            assert read_bin(tmp_path / "x.bin") == (IMAGES[:4], [True, False])
    for flags in (np.array([2, 0]), np.array([0.5, 0]), np.array([1, 0, 1]), [None, True]):
        (tmp_path / "x.bin").write_bytes(pickle.dumps((IMAGES[:4], flags)))
        with pytest.raises(DataError):
            read_bin(tmp_path / "x.bin")


def test_a_broken_record_costs_one_record(tmp_path):
    payloads = [record(header(0, float(n), n) + IMAGES[n]) for n in range(4)]
    starts = np.cumsum([0, *map(len, payloads)])
    data = bytearray(b"".join(payloads))
    data[starts[1]] ^= 1
    (tmp_path / "train.rec").write_bytes(bytes(data))
    (tmp_path / "property").write_text("4,112,112")
    source = open_source(str(tmp_path))
    assert [face.label for face in source.faces()] == ["0000000", "0000002", "0000003"]
    assert [(item.unit, item.why) for item in source.listing().others] == [("record", "E_TRUNCATED")]
    (tmp_path / "train.idx").write_text("".join(f"{n}\t{starts[n]}\n" for n in range(4)))
    assert [face.fault for face in source.faces()] == ["", "E_TRUNCATED", "", ""]
    done = make_pairs(str(tmp_path), [], store=tmp_path / "s").done
    assert done.rows == 3 and done.report.account.refused == {"E_TRUNCATED": 1}


def test_labels_of_records(tmp_path):
    labels = [(0, -1.0, ()), (1, 0.0, (5.0,)), (3, 0.0, (6.0, 1.0, 2.0)), (0, 2.5, ()), (0, float("inf"), ())]
    (tmp_path / "a.rec").write_bytes(
        b"".join(
            record(header(flag, label, n, more) + IMAGES[0]) for n, (flag, label, more) in enumerate(labels)
        )
    )
    assert [(face.label, face.fault) for face in open_source(str(tmp_path)).faces()] == [
        ("", ""), ("0000005", ""), ("0000006", ""), ("", "E_LABEL"), ("", "E_LABEL")
    ]  # fmt: skip


def database(root, values, subdir=True):
    env = lmdb.open(str(root), map_size=1 << 24, subdir=subdir)
    with env.begin(write=True) as transaction:
        for key, data in values.items():
            transaction.put(key, data)
    env.close()
    return root


def test_databases_without_a_list(tmp_path):
    values = {
        "Günter/1".encode(): IMAGES[0],
        b"b/2": IMAGES[1],
        b"num-samples": b"2",
        b"__keys__": pickle.dumps([1]),
    }
    for root in (database(tmp_path / "x.lmdb", values), database(tmp_path / "y.mdb", values, subdir=False)):
        found, source = faces(root)
        assert found == {"Günter/1": "Günter", "b/2": "b"}
        assert {face.key: source.read(face.place) for face in source.faces()} == {
            "Günter/1": IMAGES[0],
            "b/2": IMAGES[1],
        }
        assert source.listing().seen == {"record": 4}
    pairs = {
        b"image-000000001": IMAGES[0],
        b"label-000000001": b"ann",
        b"image-000000002": IMAGES[1],
        b"label-000000002": b"bob",
    }
    assert faces(database(tmp_path / "z.lmdb", pairs))[0] == {
        "image-000000001": "ann",
        "image-000000002": "bob",
    }
    numbers = {struct.pack(">I", n): IMAGES[n] for n in range(3)}
    found, source = faces(database(tmp_path / "n.lmdb", numbers))
    assert (
        list(found) == ["00000000", "00000001", "00000002"]
        and source.read(source.faces()[2].place) == IMAGES[2]
    )


def test_arrays_in_every_layout(tmp_path):
    pixels = np.stack([np.array(Image.open(io.BytesIO(data)).convert("RGB")) for data in IMAGES])
    np.savez(tmp_path / "chw.npz", images=pixels.transpose(0, 3, 1, 2), labels=["a", "b", "c", "d", "e", "f"])
    np.savez(
        tmp_path / "signed.npz",
        x=(pixels / 127.5 - 1).astype(np.float32),
        y=np.array([1.0, 2, np.nan, -1, 10, 0]),
    )
    np.savez(tmp_path / "unnamed.npz", pixels, np.arange(6))
    np.save(tmp_path / "images.npy", pixels)
    for name in ("chw.npz", "signed.npz", "unnamed.npz", "images.npy"):
        source = open_source(str(tmp_path / name))
        for index, face in enumerate(source.faces()):
            assert np.abs(source.read(face.place).astype(int) - pixels[index]).max() <= 1
    assert list(faces(tmp_path / "chw.npz")[0].values()) == list("abcdef")
    assert [(face.label, face.fault) for face in open_source(str(tmp_path / "signed.npz")).faces()] == [
        ("1", ""), ("2", ""), ("", "E_LABEL"), ("", ""), ("10", ""), ("0", "")
    ]  # fmt: skip
    assert set(faces(tmp_path / "images.npy")[0].values()) == {""}
    np.save(tmp_path / "labels.npy", np.arange(6))
    assert list(faces(tmp_path / "images.npy")[0].values()) == list("012345")


# ---------------------------------------------------------------- which kind, landmarks


def test_a_path_that_may_be_two_kinds_says_so(tmp_path):
    database(tmp_path / "d", {b"a/1": IMAGES[0]})
    (tmp_path / "d/train.rec").write_bytes(record(header(0, 1.0, 1) + IMAGES[0]))
    with pytest.raises(SpecError, match="several kinds of source fit: recordio, lmdb") as caught:
        open_source(str(tmp_path / "d"))
    assert f"--source recordio:{tmp_path}/d or --source lmdb:{tmp_path}/d" in str(caught.value)
    assert len(open_source(f"lmdb:{tmp_path}/d").faces()) == 1


def test_every_kind_has_an_example():
    assert all(example_of(kind) != f"{kind}:PLACE" for kind in SOURCES if not SOURCES.is_plugin(kind))


def test_the_command_lists_kinds_and_names_that_of_a_path(tmp_path, capsys):
    from lrfr.cli.main import run

    assert run(["sources"]) == 0 and "tar:s-{000..127}.tar" in capsys.readouterr().out
    assert run(["sources", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["result"]["examples"]) == set(SOURCES)
    (tmp_path / "l.txt").touch()
    assert run(["sources", str(tmp_path), str(tmp_path / "l.txt")]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path}: folder", f"{tmp_path}/l.txt: list"]
    assert run(["sources", str(tmp_path / "no")]) == 2


def marks(path, keys, points, header=""):
    lines = [f"{key} " + " ".join(f"{value:.2f}" for value in points.ravel()) for key in keys]
    path.write_text(header + "\n".join(lines) + "\n")
    return path


def test_landmark_files_of_other_conventions(tmp_path):
    root = tmp_path / "f"
    lay(root, *(f"p{n}/0.png" for n in range(9)))
    keys = [f"p{n}/0.png" for n in range(9)]
    own = TEMPLATE * 24 / 112
    wrong = {
        "left and right look swapped": own[[1, 0, 2, 4, 3]],
        "y seems to stand before x": own[:, ::-1],
        "between 0 and 1": own / 24,
    }
    for said, points in wrong.items():
        path = marks(tmp_path / "m.txt", keys, points)
        with pytest.raises(SpecError, match=said):
            open_ingest(str(root), IngestOptions(landmarks=path))
    path = marks(
        tmp_path / "m.txt", [f"photos/{key}" for key in keys], own, "key x1 y1 x2 y2 x3 y3 x4 y4 x5 y5\n"
    )
    ingest = open_ingest(str(root), IngestOptions(landmarks=path, color="rgb"))
    assert any(
        "9 of 9 keys of m.txt match without the list's first 1 folders" in note for note in ingest.warnings
    )
    assert set(ingest.landmarks) == set(keys)
    path = marks(tmp_path / "m.txt", ["q/7.bmp"], own)
    with pytest.raises(
        SpecError, match=r"0 of 1 keys match; the file's look like 'q/7\.bmp', the source's like 'p0/0\.png'"
    ):
        open_ingest(str(root), IngestOptions(landmarks=path))


def test_single_faces_without_landmarks_are_refused_alone(tmp_path):
    root = tmp_path / "f"
    lay(root, *(f"p {n}/0.png" for n in range(9)))
    own = TEMPLATE * 24 / 112
    points = [own] * 5 + [own * np.nan, own * 0 - 1, own * 0, own[[1, 0, 2, 4, 3]]]
    lines = [f"p {n}/0.png " + " ".join(map(str, marks.ravel())) for n, marks in enumerate(points)]
    (tmp_path / "m.txt").write_text("\n".join(lines))
    options = MakeOptions(ingest=IngestOptions(landmarks=tmp_path / "m.txt", color="rgb"))
    done = make_pairs(str(root), [], store=tmp_path / "s", options=options).done
    assert done.rows == 5 and done.report.refused == {"E_LANDMARK": 4}


@pytest.mark.parametrize("count", [4, 5, 68, 98])
def test_other_numbers_of_points_give_the_same_five(tmp_path, count):
    own = TEMPLATE * 2 + 30
    if count == 4:
        points = np.vstack([own[:3], own[3:].mean(0)])
    elif count == 5:
        points = own
    else:
        points = np.zeros((count, 2))
        places = {68: [range(36, 42), range(42, 48), [30], [48], [54]], 98: [[96], [97], [54], [76], [82]]}[
            count
        ]
        for place, xy in zip(places, own, strict=True):
            points[list(place)] = xy
    path = marks(tmp_path / "m.txt", ["a b.png", "c.png"], points)
    found = read_landmarks(path)
    assert list(found) == ["a b.png", "c.png"]
    assert np.allclose(np.reshape(found["c.png"], (5, 2)), own, atol=0.5)
