"""Source -> store -> export -> source: the same identities, keys, counts, splits, attributes and pixels."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

from lrfr.core.image import decode, encode_jpeg
from lrfr.core.progress import Hooks
from lrfr.pairs.build.ingest import IngestOptions
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.export.formats import PairChoice, export_view
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.base import Face, Source
from lrfr.pairs.sources.bin_file import read_bin, write_bin
from lrfr.pairs.sources.table import open_source
from tests.pairs.test_forms import database
from tests.pairs.test_sources import header, record
from tests.pairs.toy import SIDE, ingest
from tests.pairs.zoo import picture

JPEGS = [encode_jpeg(picture(seed, 112)) for seed in range(8)]
KEYS = [
    "cam1/007/a.jpg",
    "cam1/007/b.jpg",
    "cam2/007/a.jpg",
    "ann/x.jpg",
    "ann/y.jpg",
    "bob/1.jpg",
    "bob/2.jpg",
    "alone.jpg",
]


def folders(root):
    for key, data in zip(KEYS, JPEGS, strict=True):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)
    return f"folder:{root},identity=parent"


def imagefolder(root):
    folders(root)
    rows = [
        {"file_name": key, "label": key[:3] if n else None, "Bald": n % 2, "split": ("train", "dev")[n % 2]}
        for n, key in enumerate(KEYS)
    ]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def table(root):
    folders(root)
    (root / "l.csv").write_text(
        "path,identity,split,Bald\n" + "".join(f"{key},p{n // 2},dev,{n % 2}\n" for n, key in enumerate(KEYS))
    )
    return root / "l.csv"


def text_list(root):
    folders(root)
    (root / "l.lst").write_text("".join(f"{n}\t{n // 2}.0\t{key}\n" for n, key in enumerate(KEYS)))
    return root / "l.lst"


def celeba(root):
    root = root / "celeba"
    (root / "Img/img_align_celeba").mkdir(parents=True)
    (root / "Anno").mkdir()
    for n, data in enumerate(JPEGS):
        (root / f"Img/img_align_celeba/{n + 1:06d}.jpg").write_bytes(data)
    (root / "Anno/identity_CelebA.txt").write_text("".join(f"{n + 1:06d}.jpg {n // 3}\n" for n in range(8)))
    return root


def lfw(root):
    for n, data in enumerate(JPEGS):
        name = ("Ann_Bee", "Cy_Dee")[n % 2]
        (root / name).mkdir(exist_ok=True, parents=True)
        (root / name / f"{name}_{n // 2 + 1:04d}.jpg").write_bytes(data)
    (root / "pairs.txt").write_text("Ann_Bee 1 2\nAnn_Bee 3 Cy_Dee 1\n")
    return root


def tar(root):
    with tarfile.open(root / "x.tar", "w") as archive:
        for n, (key, data) in enumerate(zip(KEYS, JPEGS, strict=True)):
            for name, part in ((key, data), (key.replace(".jpg", ".cls"), b"%d" % (n // 2))):
                member = tarfile.TarInfo(name)
                member.size = len(part)
                archive.addfile(member, io.BytesIO(part))
    return root / "x.tar"


def rec(root):
    (root / "train.rec").write_bytes(
        b"".join(record(header(0, float(n // 2) - 1, n) + data) for n, data in enumerate(JPEGS))
    )
    return root


def mdb(root):
    return database(root / "x.lmdb", {key.encode(): data for key, data in zip(KEYS, JPEGS, strict=True)})


def bins(root):
    write_bin(root / "x.bin", JPEGS, [True, False, True, False])
    return root / "x.bin"


def arrays(root):
    np.savez(root / "x.npz", images=np.stack([decode(data) for data in JPEGS]), labels=np.arange(8) // 2 - 1)
    return root / "x.npz"


def parquet(root):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table(
        {"image": [{"bytes": data, "path": None} for data in JPEGS], "label": [n // 2 - 1 for n in range(8)]}
    )
    pyarrow.parquet.write_table(table, root / "x.parquet", row_group_size=3)
    return root / "x.parquet"


def arrow(root):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"image": JPEGS, "celeb_id": [n // 2 - 1 for n in range(8)], "split": ["dev"] * 8})
    with pa.OSFile(str(root / "x.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return root / "x.arrow"


def zipped(root):
    with zipfile.ZipFile(root / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for n, (key, data) in enumerate(zip(KEYS, JPEGS, strict=True)):
            archive.writestr(key, data)
            archive.writestr(key.replace(".jpg", ".json"), json.dumps({"label": f"p{n // 2}"}))
    return root / "x.zip"


def tinyface(root):
    for n, data in enumerate(JPEGS):
        folder = ("Testing_Set/Gallery_Match", "Testing_Set/Gallery_Distractor", "Training_Set")[n % 3]
        name = f"{n}.jpg" if n % 3 == 1 else f"{n // 4}_{n}.jpg"
        (root / "tinyface" / folder).mkdir(parents=True, exist_ok=True)
        (root / "tinyface" / folder / name).write_bytes(data)
    return root / "tinyface"


# no guess of the channels' order: pictures of noise look like anything
RGB = MakeOptions(ingest=IngestOptions(color="rgb"))
MAKERS = [folders, imagefolder, table, text_list, celeba, lfw, tinyface]
MAKERS += [tar, zipped, rec, mdb, bins, arrays, parquet, arrow]


def told(source):
    return {face.key: (face.label, face.split, dict(face.attributes)) for face in source.faces()}


def shown(dataset):
    names = [*dataset.label_names, ""]
    return {
        dataset.key(position).decode("utf-8", "surrogateescape"): (
            names[int(dataset.labels[position])],
            dataset.split(position),
            {
                name: int(v)
                for name, v in zip(dataset.attribute_names, dataset.attributes[position], strict=True)
                if v >= 0
            },
        )
        for position in range(len(dataset))
    }


@pytest.mark.parametrize("form", ["folders", "webdataset", "parquet"])
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_every_source_comes_back_equal(tmp_path, folder, make, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "in").mkdir()
    first = open_source(str(make(tmp_path / "in")))
    make_pairs(first, [], store=folder / "s", options=RGB)
    dataset = PairDataset(folder / "s")
    export_view(dataset, tmp_path / "out", form)
    back = open_source(str(tmp_path / "out/hr" if form == "folders" else tmp_path / "out"))
    assert told(back) == told(first) == shown(dataset)
    make_pairs(back, [], store=folder / "s2", options=RGB)
    again = PairDataset(folder / "s2")
    assert shown(again) == shown(dataset) and again.num_classes == dataset.num_classes

    def payloads(some):
        return {
            some.key(p): hashlib.sha256(some.hr.record(int(some.rows[p])).payload).hexdigest()
            for p in range(len(some))
        }

    # JPEGs of the right size keep their bytes all the way
    assert payloads(again) == payloads(dataset)
    if make is not arrays:
        assert set(payloads(again).values()) <= {hashlib.sha256(data).hexdigest() for data in JPEGS}


def test_a_verification_set_comes_back_with_its_pairs(tmp_path, folder):
    make_pairs(str(bins(tmp_path)), [], store=folder / "s", options=RGB)
    export_view(PairDataset(folder / "s"), tmp_path / "out.bin", "bin")
    assert read_bin(tmp_path / "out.bin") == (JPEGS, [True, False, True, False])
    export_view(PairDataset(folder / "s"), tmp_path / "drawn.bin", "bin", PairChoice(pairs=2))
    assert len(read_bin(tmp_path / "drawn.bin")[1]) == 2


def test_exports_are_read_by_the_libraries_they_are_for(tmp_path, folder):
    datasets, webdataset = pytest.importorskip("datasets"), pytest.importorskip("webdataset")
    make_pairs(str(table(tmp_path / "in")), [], store=folder / "s")
    dataset = PairDataset(folder / "s")
    for form in ("folders", "webdataset", "parquet"):
        export_view(dataset, tmp_path / form, form)
    expected = {key: label for key, (label, _, _) in shown(dataset).items()}
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "folders/hr"), cache_dir=cache)[
        "train"
    ]
    assert dict(zip(loaded["key"], loaded["label"], strict=True)) == expected
    assert loaded[0]["image"].size == (112, 112)
    loaded = datasets.load_dataset("parquet", data_dir=str(tmp_path / "parquet/data"), cache_dir=cache)[
        "train"
    ]
    names = loaded.features["label"]
    assert isinstance(names, datasets.ClassLabel)
    assert {
        key: names.int2str(label) for key, label in zip(loaded["key"], loaded["label"], strict=True)
    } == expected
    assert loaded[0]["image"].size == (112, 112)
    samples = list(webdataset.WebDataset(str(tmp_path / "webdataset/pairs-00000.tar"), shardshuffle=False))
    assert {
        json.loads(item["json"])["key"]: json.loads(item["json"])["label"] for item in samples
    } == expected


@dataclass(frozen=True)
class Odd(Source):
    """Faces under odd keys and labels."""

    def faces(self):
        pairs = [("a\udce9.png", "caf\udce9"), (" x ", "a:b"), ("x\ny", "a_b"), ("k" * 300, "x" * 130), ("k" * 300 + "2", "x" * 131),
                 ("A.jpg", "case"), ("a.jpg", "case"), ("a.png", "case"), ("q.jpg", ""), ("..", "."), ("n\0l", "nul in its key")]  # fmt: skip
        return [Face(key, label, number) for number, (key, label) in enumerate(pairs)]

    def read(self, place):
        return np.full((SIDE, SIDE, 3), 20 * place, np.uint8)


@pytest.mark.parametrize("form", ["folders", "webdataset", "parquet"])
def test_odd_names_come_back(tmp_path, folder, form):
    make_pairs(ingest(Odd()), [], store=folder / "s")
    dataset = PairDataset(folder / "s")
    notes = []
    export_view(dataset, tmp_path / "out", form, hooks=Hooks(on_note=notes.append))
    back = open_source(str(tmp_path / "out/hr" if form == "folders" else tmp_path / "out"))
    assert told(back) == told(Odd()) == shown(dataset)


def test_a_nul_in_a_name_costs_one_face_and_moves_no_other_name(tmp_path):
    @dataclass(frozen=True)
    class Torn(Odd):
        def faces(self):
            return [Face(str(n), label, n) for n, label in enumerate(("a", "b\0c", "d", "e"))]

    done = make_pairs(ingest(Torn()), [], store=tmp_path / "s").done
    assert done.rows == 3 and done.report.refused == {"E_LABEL": 1}
    assert shown(PairDataset(tmp_path / "s")) == {"0": ("a", "", {}), "2": ("d", "", {}), "3": ("e", "", {})}
