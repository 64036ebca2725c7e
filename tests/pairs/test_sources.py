"""Sources: every layout read to exactly what was written, hostile files refused."""

import csv
import io
import json
import os
import pickle
import struct
import tarfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfr.core.errors import DataError, ImageFault, LrfrError, SpecError
from lrfr.core.image import decode
from lrfr.pairs.build.look.channel_order import looks_swapped
from lrfr.pairs.build.look.distinct import distinct
from lrfr.pairs.sources.bin_file import BinSource, read_bin, write_bin
from lrfr.pairs.sources.folder import FolderSource, LfwSource, read_pairs_txt
from lrfr.pairs.sources.packed.recordio import MAGIC, RecordIOSource, read_record, scan
from lrfr.pairs.sources.table import SOURCES, kind_of, open_source
from tests.pairs.zoo import picture, save

DATA = Path(__file__).parent.parent / "data"


def by_key(source):
    return {face.key: (face, source.read(face.place)) for face in source.faces()}


# ---------------------------------------------------------------- RecordIO


def record(payload: bytes) -> bytes:
    """Write one record as MXNet does: split where the aligned magic occurs in the payload."""
    word = struct.pack("<I", MAGIC)
    cuts = [at for at in range(0, len(payload) - 3, 4) if payload[at : at + 4] == word]
    spans = list(zip([0] + [at + 4 for at in cuts], [*cuts, len(payload)], strict=True))
    out = b""
    for index, (start, stop) in enumerate(spans):
        flag = 0 if len(spans) == 1 else 1 if index == 0 else 3 if index == len(spans) - 1 else 2
        part = payload[start:stop]
        out += struct.pack("<II", MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
    return out


def header(flag: int, label: float, number: int, labels: tuple[float, ...] = ()) -> bytes:
    return struct.pack("<IfQQ", flag, label, number, 0) + struct.pack(f"<{len(labels)}f", *labels)


def test_real_mxnet_file():
    source = RecordIOSource(DATA / "train.rec")
    faces = source.faces()
    assert [face.label for face in faces] == ["0000000"] * 3 + ["0000001"] * 3 + ["0000002"] * 3
    assert [face.key for face in faces] == [f"{number:08d}" for number in range(1, 10)]
    for face in faces:
        assert decode(source.read(face.place)).shape == (112, 112, 3)


def test_real_file_without_its_index(tmp_path):
    (tmp_path / "train.rec").write_bytes((DATA / "train.rec").read_bytes())
    with_index, without = RecordIOSource(DATA / "train.rec"), RecordIOSource(tmp_path / "train.rec")
    assert [(f.key, f.label, with_index.read(f.place)) for f in with_index.faces()] == [
        (f.key, f.label, without.read(f.place)) for f in without.faces()
    ]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.lists(st.one_of(st.just(struct.pack("<I", MAGIC)), st.binary(max_size=9)), max_size=6).map(
            b"".join
        ),
        min_size=1,
        max_size=6,
    )
)
def test_records_are_read_as_written(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("rec") / "x.rec"
    path.write_bytes(b"".join(map(record, payloads)))
    with path.open("rb") as handle:
        size = path.stat().st_size
        assert [read_record(handle, offset, size) for offset in scan(handle, size)] == payloads


def test_labels_of_both_kinds_and_pixels(tmp_path):
    images = [save(picture(seed, 112), "JPEG") for seed in range(3)]
    payloads = [
        header(0, 5.0, 1) + images[0],
        header(2, 0.0, 2, (6.0, 1.0)) + images[1],
        header(0, 7.0, 3) + images[2],
    ]
    (tmp_path / "t.rec").write_bytes(b"".join(map(record, payloads)))
    source = RecordIOSource(tmp_path / "t.rec")
    assert [face.label for face in source.faces()] == ["0000005", "0000006", "0000007"]
    assert [source.read(face.place) for face in source.faces()] == images


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 40,
        struct.pack("<II", MAGIC, 1000) + b"short",
        struct.pack("<II", MAGIC, (1 << 29) - 1),
        record(header(2**31, 0.0, 0)),
        record(b"tiny"),
        struct.pack("<II", MAGIC, 2 << 29),
        struct.pack("<II", MAGIC, 1 << 29) + record(b"abcd"),
    ],
)
def test_hostile_records_are_refused(tmp_path, data):
    path = tmp_path / "bad.rec"
    path.write_bytes(data)
    with pytest.raises((DataError, ImageFault)):
        for face in RecordIOSource(path).faces():
            RecordIOSource(path).read(face.place)


def test_labels_that_are_no_numbers_are_refused_one_by_one(tmp_path):
    (tmp_path / "t.rec").write_bytes(
        record(header(0, float("nan"), 1) + b"x") + record(header(0, 2.0, 2) + b"y")
    )
    assert [face.fault for face in RecordIOSource(tmp_path / "t.rec").faces()] == ["E_LABEL", ""]
    (tmp_path / "list.csv").write_text("path,identity\na.png,nan\nb.png,7\n")
    assert [face.fault for face in open_source(str(tmp_path / "list.csv")).faces()] == ["E_LABEL", ""]


@pytest.mark.parametrize("line", ["0\t999999999", "x\t0", "0", "-1\t0", "0\t1e3", "9" * 40 + "\t0"])
def test_lying_index_is_refused(tmp_path, line):
    (tmp_path / "t.rec").write_bytes(record(header(0, 1.0, 1) + b"image"))
    (tmp_path / "t.idx").write_text(line + "\n")
    with pytest.raises(DataError, match=r"t\.idx"):
        RecordIOSource(tmp_path / "t.rec").faces()


# ---------------------------------------------------------------- .bin


@pytest.mark.parametrize("name", ["toy_numpy.bin", "toy_bytes.bin"])
def test_real_bin_files(name):
    images, same = read_bin(DATA / name)
    assert len(images) == 20
    assert same == [True, False] * 5
    for image in images:
        assert decode(image).shape == (112, 112, 3)


def test_both_flavors_hold_the_same_images():
    assert read_bin(DATA / "toy_numpy.bin") == read_bin(DATA / "toy_bytes.bin")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("flavor", ["bytes", "numpy"])
def test_every_protocol_reads_back(tmp_path, protocol, flavor):
    images = [save(picture(seed, 16), "PNG") for seed in range(4)]
    packed = images if flavor == "bytes" else [np.frombuffer(image, np.uint8) for image in images]
    (tmp_path / "x.bin").write_bytes(pickle.dumps((packed, [True, False]), protocol=protocol))
    assert read_bin(tmp_path / "x.bin") == (images, [True, False])


def test_written_bin_reads_back(tmp_path):
    write_bin(tmp_path / "x.bin", [b"a", b"b", b"c", b"d"], [False, True])
    assert pickle.loads((tmp_path / "x.bin").read_bytes()) == ([b"a", b"b", b"c", b"d"], [False, True])
    source = BinSource(tmp_path / "x.bin")
    assert [face.label for face in source.faces()] == ["000000a", "000000b", "000001", "000001"]


class _Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def hostile_pickles(marker: Path):
    yield pickle.dumps(_Call(os.system, f"touch {marker}"))
    yield pickle.dumps(([_Call(eval, f"open({str(marker)!r}, 'w')")], [True]))
    yield pickle.dumps(([_Call(np.ndarray, (1 << 30,))] * 2, [True]))
    yield pickle.dumps(([_Call(np._core.multiarray._reconstruct, np.ndarray, (1 << 30,), b"b")] * 2, [True]))
    yield pickle.dumps(([np.array([1, "x"], dtype=object)] * 2, [True]))
    yield pickle.dumps(([np.zeros(4, np.float64)] * 2, [True]))
    yield pickle.dumps(([np.zeros((2, 2), np.uint8)] * 2, [True]))
    yield pickle.dumps(([b"x"] * 3, [True]))
    yield pickle.dumps(([b"x"] * 2, ["yes"]))
    yield pickle.dumps({"a": 1})
    yield b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"."  # BINBYTES8 of a terabyte
    yield b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."  # BYTEARRAY8 of a terabyte
    yield b"\x80\x02]r" + struct.pack("<I", 0xFFFFFF) + b"."  # a memo slot that would allocate 128 MB
    yield b"cposix\nsystem\n(S'id'\ntR."
    yield b"\x80\x04P0\n."
    yield b"not a pickle"
    yield b""


@pytest.mark.parametrize("number", range(17))
def test_hostile_bins_are_refused_without_running_or_allocating(tmp_path, number):
    import tracemalloc

    marker = tmp_path / "ran"
    data = list(hostile_pickles(marker))[number]
    (tmp_path / "x.bin").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"not a verification set|images for"):
        read_bin(tmp_path / "x.bin")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not marker.exists()
    assert peak < 4_000_000 + 20 * len(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_bins_give_images_or_a_refusal(tmp_path_factory, data):
    original = bytearray(
        pickle.dumps(([np.arange(9, dtype=np.uint8), b"yy"], [True]), protocol=data.draw(st.integers(0, 5)))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("bin") / "x.bin"
    path.write_bytes(bytes(original))
    try:
        images, same = read_bin(path)
    except DataError:
        return
    assert len(images) == 2 * len(same)
    assert all(isinstance(image, bytes) for image in images)


# ---------------------------------------------------------------- folders, lists, archives, databases, arrays


def lay_folders(root: Path, names=("a/1.png", "a/2.png", "b/c/1.png", "loose.png")) -> dict[str, bytes]:
    files = {name: save(picture(seed, 24), "PNG") for seed, name in enumerate(names)}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return files


def test_identity_folders(tmp_path):
    files = lay_folders(tmp_path)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = by_key(FolderSource(tmp_path))
    assert {key: data for key, (_, data) in found.items()} == files
    assert {key: face.label for key, (face, _) in found.items()} == {
        "a/1.png": "a",
        "a/2.png": "a",
        "b/c/1.png": "b",
        "loose.png": "",
    }


def test_folder_without_images(tmp_path):
    with pytest.raises(SpecError, match="no image files"):
        FolderSource(tmp_path).faces()
    with pytest.raises(SpecError, match="no such source"):
        open_source(str(tmp_path / "nowhere"))


def test_lfw_layout_and_pairs(tmp_path):
    lay_folders(
        tmp_path,
        (
            "Ann_Bee/Ann_Bee_0001.jpg",
            "Ann_Bee/Ann_Bee_0002.jpg",
            "Cy_Dee/Cy_Dee_0001.jpg",
            "Eff_Gee/Eff_Gee_0001.jpg",
        ),
    )
    (tmp_path / "pairs.txt").write_text(
        "2\t1\nAnn_Bee\t1\t2\nAnn_Bee\t1\tCy_Dee\t1\n\nAnn_Bee\t2\t1\nCy_Dee\t1\tAnn_Bee\t2\n"
    )
    found = read_pairs_txt(tmp_path / "pairs.txt")
    assert found.pairs[0] == ("Ann_Bee/Ann_Bee_0001", "Ann_Bee/Ann_Bee_0002", True, 2)
    assert found.pairs[3] == ("Cy_Dee/Cy_Dee_0001", "Ann_Bee/Ann_Bee_0002", False, 6)
    assert [found.fold_of(row) for row in range(4)] == [0, 0, 1, 1]
    source = open_source(str(tmp_path))
    assert isinstance(source, LfwSource)
    assert sorted(face.label for face in source.faces()) == ["Ann_Bee", "Ann_Bee", "Cy_Dee"]
    (tmp_path / "pairs.txt").write_text("1 1\nAnn_Bee 1\n")
    with pytest.raises(SpecError, match=r"pairs\.txt:2"):
        source.faces()


def test_csv_with_attributes_and_splits(tmp_path):
    files = lay_folders(tmp_path / "img")
    with (tmp_path / "list.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["path", "identity", "split", "Male", "Bald", "eye_distance"])
        rows.writerows(
            [
                ["a/1.png", "A", "train", 1, "", 40.5],
                ["a/2.png", "A", "dev", 1, 0, 41],
                ["b/c/1.png", "B", "train", 0, 1, 9],
            ]
        )
    (tmp_path / "more.csv").write_text("path,Smiling\na/2.png,1\n")
    found = by_key(open_source(f"csv:{tmp_path}/list.csv,root={tmp_path}/img,with={tmp_path}/more.csv"))
    assert found.keys() == {"a/1.png", "a/2.png", "b/c/1.png"}
    first, second = found["a/1.png"][0], found["a/2.png"][0]
    assert (first.label, first.split, dict(first.attributes)) == ("A", "train", {"Male": 1})
    assert dict(second.attributes) == {"Male": 1, "Bald": 0, "Smiling": 1}
    assert found["b/c/1.png"][1] == files["b/c/1.png"]


def test_list_errors_name_the_line(tmp_path):
    (tmp_path / "list.csv").write_text("path,identity\na.png,1\nb.png\n")
    found = open_source(str(tmp_path / "list.csv")).listing()
    assert [face.key for face in found.faces] == ["a.png"]
    assert [(item.name, item.why) for item in found.others] == [("list.csv:3", "E_LINE")]
    (tmp_path / "list.csv").write_text("image_x,identity\na.png,1\n")
    with pytest.raises(SpecError, match="no column path"):
        open_source(str(tmp_path / "list.csv")).faces()


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_lists_cannot_leave_their_folder(tmp_path, path):
    (tmp_path / "secret.png").write_bytes(save(picture(), "PNG"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "list.csv").write_text(f"path,identity\n{path},1\n")
    source = open_source(str(tmp_path / "in" / "list.csv"))
    with pytest.raises(ImageFault, match="E_READ"):
        source.read(source.faces()[0].place)


def test_parquet_list(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    lay_folders(tmp_path)
    parquet.write_table(
        pyarrow.table({"path": ["a/1.png", "b/c/1.png"], "identity": [1, 2], "Male": [1, None]}),
        tmp_path / "list.parquet",
    )
    found = by_key(open_source(str(tmp_path / "list.parquet")))
    assert found["a/1.png"][0].attributes == {"Male": 1}
    assert found["b/c/1.png"][0].label == "2"


def test_celeba_by_name(tmp_path):
    lay_folders(tmp_path / "img_align_celeba", ("000001.jpg", "000002.jpg"))
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 17\n")
    (tmp_path / "list_attr_celeba.txt").write_text("2\nMale Bald\n000001.jpg -1 1\n000002.jpg  1 -1\n")
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n")
    found = by_key(open_source(str(tmp_path)))
    face = found["000002.jpg"][0]
    assert (face.label, face.split, dict(face.attributes)) == ("00017", "test", {"Male": 1, "Bald": 0})


def add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def test_webdataset_tar(tmp_path):
    images = [save(picture(seed, 24), "PNG") for seed in range(3)]
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "000.png", images[0])
        add(archive, "000.json", json.dumps({"label": "ann", "attributes": {"Male": 0}}).encode())
        add(archive, "001.jpg", images[1])
        add(archive, "001.cls", b"17")
        add(archive, "bob/002.lr.png", images[1])
        add(archive, "bob/002.hr.png", images[2])
    found = by_key(open_source(str(tmp_path / "x.tar")))
    assert {key: (face.label, data) for key, (face, data) in found.items()} == {
        "000": ("ann", images[0]),
        "001": ("17", images[1]),
        "bob/002": ("bob", images[2]),
    }
    assert found["000"][0].attributes == {"Male": 0}


def test_hostile_tars_touch_nothing(tmp_path):
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w") as archive:
        add(archive, "../../outside.png", save(picture(), "PNG"))
        add(archive, "/abs.png", save(picture(), "PNG"))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        device = tarfile.TarInfo("dev.png")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.tar").write_bytes(evil.getvalue())
    source = open_source(str(tmp_path / "in" / "x.tar"))
    found = source.listing()
    assert not found.faces and found.seen == {"member": 4}
    assert {(item.name, item.why) for item in found.others} == {
        ("../../outside.png", "E_NAME"),
        ("/abs.png", "E_NAME"),
        ("link.png", "E_NOTFILE"),
        ("dev.png", "E_NOTFILE"),
    }
    assert [path.name for path in tmp_path.rglob("*.png")] == []


def test_lying_tars_are_refused(tmp_path):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        add(archive, "a.png", b"x" * 600)
    huge = bytearray(plain.getvalue())
    huge[124:136] = b"%011o\0" % (10 * 1024**3)
    huge[148:156] = b" " * 8
    huge[148:156] = b"%06o\0 " % sum(huge[:512])
    twice = io.BytesIO()
    with tarfile.open(fileobj=twice, mode="w") as archive:
        add(archive, "a.png", b"x")
        add(archive, "a.png", b"y")
    for data in (bytes(huge), plain.getvalue()[:700]):
        (tmp_path / "x.tar").write_bytes(data)
        found = open_source(f"tar:{tmp_path}/x.tar").listing()
        assert not found.faces and "E_TRUNCATED" in [item.why for item in found.others]
    (tmp_path / "x.tar").write_bytes(twice.getvalue())
    faces, repeated = distinct(open_source(f"tar:{tmp_path}/x.tar").faces())
    assert [face.fault for face in faces] == ["E_KEY", "E_KEY"] and not repeated
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 99)
    with pytest.raises(DataError, match="not a tar archive"):
        open_source(f"tar:{tmp_path}/x.tar").faces()


def write_basicsr(root: Path, images: dict[str, bytes]) -> None:
    root.mkdir()
    env = lmdb.open(str(root), map_size=1 << 24)
    with env.begin(write=True) as transaction:
        for key, data in images.items():
            transaction.put(key.encode(), data)
    env.close()
    (root / "meta_info.txt").write_text("".join(f"{key}.png (24,24,3) 1\n" for key in images))


def test_basicsr_lmdb(tmp_path):
    images = {f"p{seed}/{seed:03d}": save(picture(seed, 24), "PNG") for seed in range(4)}
    write_basicsr(tmp_path / "x.lmdb", images)
    found = by_key(open_source(str(tmp_path / "x.lmdb")))
    assert {key: data for key, (_, data) in found.items()} == images
    assert found["p2/002"][0].label == "p2"


def test_truncated_lmdb_is_refused_not_fatal(tmp_path):
    write_basicsr(tmp_path / "x.lmdb", {f"{seed:03d}": save(picture(seed, 64), "PNG") for seed in range(8)})
    path = tmp_path / "x.lmdb" / "data.mdb"
    data = path.read_bytes()
    for length in (len(data) - 4096, 16_384, 8192, 100, 0):
        path.write_bytes(data[:length])
        with pytest.raises(LrfrError):
            source = open_source(f"lmdb:{tmp_path}/x.lmdb")
            for face in source.faces():
                source.read(face.place)


def test_svhn_mat_and_digits_npz(tmp_path):
    from scipy.io import savemat
    from sklearn.datasets import load_digits

    color = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
    savemat(tmp_path / "svhn.mat", {"X": color, "y": np.array([[1], [10], [3], [10], [9]])})
    source = open_source(str(tmp_path / "svhn.mat"))
    faces = source.faces()
    assert [face.label for face in faces] == ["1", "0", "3", "0", "9"]
    assert np.array_equal(source.read(faces[2].place), color[..., 2])
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", data=digits.data, target=digits.target)
    source = open_source(str(tmp_path / "digits.npz"))
    assert len(source.faces()) == 1797
    assert np.array_equal(source.read(3)[..., 1], np.rint(digits.images[3] * 255 / 16).astype(np.uint8))


@pytest.mark.parametrize(
    "content",
    [
        {"labels": np.zeros(3)},
        {"images": np.zeros((3, 8, 8)), "y": [1, 2]},
        {"images": np.zeros((2, 5)), "y": [0, 1]},
    ],
)
def test_bad_arrays_are_refused(tmp_path, content):
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(DataError):
        open_source(str(tmp_path / "x.npz")).faces()


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.array([_Call(os.system, "true")], dtype=object), y=[1])
    with pytest.raises(DataError, match="never run"):
        open_source(str(tmp_path / "x.npz")).faces()


def test_color_canary():
    from lrfr.pairs.sources.synthetic import render_face

    faces = [render_face(person, 0, 0)[0] for person in range(24)]
    assert not looks_swapped(faces)
    assert looks_swapped([face[..., ::-1] for face in faces])
    assert not looks_swapped([np.repeat(face[..., :1], 3, axis=2) for face in faces])


TINTS = {
    "gray": (1, 1, 1),
    "bluish": (0.8, 0.9, 1),
    "infrared": (0.3, 0.5, 1),
    "sepia": (1, 0.85, 0.65),
    "night sight": (0.3, 1, 0.4),
}


def tinted(face, tint, noise):
    gray = face.mean(axis=2, keepdims=True) * np.array(tint)
    grain = np.random.default_rng(int(face.sum())).normal(0, noise, gray.shape)
    return np.clip(gray + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0, 6])
@pytest.mark.parametrize("tint", TINTS)
def test_footage_of_one_color_keeps_its_channels(tint, noise):
    from lrfr.pairs.sources.synthetic import render_face

    faces = [render_face(person, 0, 0)[0] for person in range(24)]
    footage = [tinted(face, TINTS[tint], noise) for face in faces]
    assert not looks_swapped(footage) and not looks_swapped([frame[..., ::-1] for frame in footage])
    swapped = [face[..., ::-1] for face in faces]
    assert looks_swapped([*swapped, *footage]), "the pictures with color decide"
    assert not looks_swapped([*faces, *footage])
    assert not looks_swapped([*swapped[:3], *footage]), "three pictures are no evidence"


def test_real_faces_and_swapped_ones_are_told_apart():
    root = Path(os.environ.get("LRFR_FACES", "/nonexistent"))
    files = sorted(root.rglob("*.jpg"))[:64]
    if len(files) < 64:
        pytest.skip("no real faces here")
    faces = [decode(path.read_bytes()) for path in files]
    assert not looks_swapped(faces) and looks_swapped([face[..., ::-1] for face in faces])
    assert not looks_swapped([tinted(face, TINTS["infrared"], 8) for face in faces])


def test_canary_swaps_back_and_warns(tmp_path):
    from lrfr.pairs.build.ingest import IngestOptions, open_ingest
    from lrfr.pairs.sources.synthetic import render_face

    for person in range(12):
        (tmp_path / f"p{person}").mkdir()
        (tmp_path / f"p{person}" / "0.png").write_bytes(
            save(np.ascontiguousarray(render_face(person, 0, 0)[0][..., ::-1]), "PNG")
        )
    auto, kept = (open_ingest(tmp_path, IngestOptions(color=color)) for color in ("auto", "rgb"))
    assert auto.options.prepare.color == "bgr" and auto.warnings
    assert kept.options.prepare.color == "rgb" and kept.warnings
    content = auto.source.read("p3/0.png")
    assert np.array_equal(auto.options.prepare.pixels(content), render_face(3, 0, 0)[0])


def test_table_of_sources_and_suggestions(tmp_path):
    image = tmp_path / "001.jpg"
    image.touch()
    assert set(SOURCES) >= {
        "synthetic",
        "folder",
        "lfw",
        "recordio",
        "bin",
        "csv",
        "parquet",
        "celeba",
        "tar",
        "lmdb",
        "arrays",
    }
    with pytest.raises(SpecError, match="did you mean 'recordio'"):
        open_source("recordo:train.rec")
    with pytest.raises(SpecError, match="one image is no source"):
        open_source(str(image))
    with pytest.raises(SpecError, match="did you mean 'per_id'"):
        open_source("synthetic:perid=3")


SPELLINGS = {
    "plain": lambda text: text.encode(),
    "marked": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "windows": lambda text: text.replace("\n", "\r\n").encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "open end": lambda text: text.rstrip("\n").encode(),
    "blank lines": lambda text: text.replace("\n", "\n\n").encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_list_is_read_in_every_spelling(tmp_path, spelling):
    """The same faces, labels, splits and landmarks come out, whoever wrote the list on whatever system."""
    from lrfr.core.landmarks import read_landmarks
    from lrfr.pairs.build.ingest import IngestOptions, open_ingest

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(SPELLINGS[spelling](text))
        return tmp_path / name

    names = ["Ann_Lee/Ann_Lee_0001.png", "Ann_Lee/Ann_Lee_0002.png", "Günter/Günter_0001.png"]
    for index, name in enumerate(names):
        (tmp_path / "lfw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lfw" / name).write_bytes(save(picture(index, 32), "PNG"))
    write("lfw/pairs.txt", "1\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tGünter\t1\n")
    assert sorted(face.key for face in open_source(f"lfw:{tmp_path / 'lfw'}").faces()) == names

    table = write(
        "lfw/list.csv",
        "path,identity,split\n" + "".join(f"{name},p{i},dev\n" for i, name in enumerate(names)),
    )
    faces = open_source(str(table)).faces()
    assert [(face.key, face.label, face.split) for face in faces] == [
        (name, f"p{index}", "dev") for index, name in enumerate(names)
    ]

    write("celeba/identity_CelebA.txt", "000001.jpg 7\n000002.jpg 9\n")
    write("celeba/list_attr_celeba.txt", "2\nMale Bald\n000001.jpg 1 -1\n000002.jpg -1 -1\n")
    write("celeba/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 2\n")
    first, second = open_source(f"celeba:{tmp_path / 'celeba'}").faces()
    assert (first.key, first.label, first.split) == ("000001.jpg", "00007", "train")
    assert first.attributes == {"Male": 1, "Bald": 0} and second.split == "test"

    marks = write("marks.txt", "2\n" + "".join(f"{name} 1 2 3 4 5 6 7 8 9 10\n" for name in names))
    assert list(read_landmarks(marks)) == names
    splits = write("splits.txt", "".join(f"{name}\tdev\n" for name in names))
    ingest = open_ingest(f"folder:{tmp_path / 'lfw'}", IngestOptions(split_file=splits))
    assert [face.split for face in ingest.faces()] == ["dev"] * 3


def test_latin_1_lists_name_people(tmp_path):
    for name in ("José_Aznar/José_Aznar_0001.png", "José_Aznar/José_Aznar_0002.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(save(picture(1, 32), "PNG"))
    (tmp_path / "pairs.txt").write_bytes("1 1\nJosé_Aznar 1 2\n".encode("latin-1"))
    assert len(LfwSource(tmp_path).faces()) == 2


def test_every_source_says_what_it_is_in_one_sentence():
    """The help of a kind is the first sentence of its class, short enough for one line of a listing."""
    for kind in SOURCES:
        text = SOURCES.help(kind)
        assert 10 < len(text) <= 100 and not text.startswith("Open"), kind


def test_what_is_not_there_is_not_called_a_source_of_unknown_kind(tmp_path):
    with pytest.raises(SpecError, match="no such file or folder"):
        kind_of(tmp_path / "nowhere")
    with pytest.raises(SpecError, match="no such source"):
        open_source(str(tmp_path / "nowhere"))
    (tmp_path / "odd").write_bytes(b"\x01\x02")
    with pytest.raises(SpecError, match="cannot tell what kind"):
        open_source(str(tmp_path / "odd"))
