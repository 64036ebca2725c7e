"""Archives of the world: keys, labels and members as their makers meant them, checked against webdataset."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import numpy as np
import pytest

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.sources.packed.members import members
from lrfr.pairs.sources.packed.tar_headers import PlainInfo
from lrfr.pairs.sources.table import open_source
from tests.pairs.zoo import picture, save

IMAGES = [save(picture(seed, 24), "JPEG") for seed in range(4)]


def tar_bytes(files, **options):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", **options) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def listed(path, text=None):
    return open_source(text or str(path)).listing()


def write(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files))
    return path


def labels(listing):
    return {face.key: face.label for face in listing.faces}


CASES = {
    "dates": (["cam1/2021.05.01.jpg", "cam1/2021.05.02.jpg"], {"cam1/2021.05.01": "cam1", "cam1/2021.05.02": "cam1"}),
    "roles": (["a.hr.png", "a.lr.png"], {"a": ""}),
    "our parts": (["000.fskd-v0.png", "000.hr.jpg", ("000.json", b'{"label": "x", "key": "p/0"}')], {"p/0": "x"}),
    "no suffix": (["x/picture", "x/other"], {"x/picture": "x", "x/other": "x"}),
    "upper case": (["1.JPG", ("1.CLS", b"7\n")], {"1": "7"}),
    "cls.txt": (["1.jpg", ("1.cls.txt", b"7")], {"1": "7"}),
    "json without a label": (["1.jpg", ("1.json", b'{"width": 3}'), ("1.cls", b"9")], {"1": "9"}),
    "json before cls": (["1.jpg", ("1.json", b'{"label": 4}'), ("1.cls", b"9")], {"1": "4"}),
    "whole float": (["1.jpg", ("1.json", b'{"label": 4.0}')], {"1": "4"}),
    "a bare number": (["1.jpg", ("1.json", b"4")], {"1": "4"}),
    "cls before txt": (["1.jpg", ("1.txt", b"a"), ("1.cls", b"b")], {"1": "b"}),
    "captions are no labels": (["1.jpg", ("1.txt", b"a man"), ("1.json", b'{"caption": "a man"}')], {"1": ""}),
    "long texts are no labels": (["p/1.jpg", ("p/1.txt", b"word " * 99)], {"p/1": "p"}),
    "no identity": (["a/1.jpg", ("a/1.cls", b"-1"), "a/2.jpg", ("a/2.json", b'{"label": null}')], {"a/1": "", "a/2": ""}),
    "mark": (["1.jpg", ("1.cls", b"\xef\xbb\xbf7\r\n")], {"1": "7"}),
    "windows": (["cam1\\007\\1.jpg", "cam2\\007\\1.jpg"], {"cam1/007/1": "cam1/007", "cam2/007/1": "cam2/007"}),
    "one folder above": (["lfw/ann/1.jpg", "lfw/bob/1.jpg"], {"lfw/ann/1": "ann", "lfw/bob/1": "bob"}),
    "dot": (["./ann/1.jpg", "./bob/1.jpg"], {"ann/1": "ann", "bob/1": "bob"}),
    "two cameras": (["cam1/007/1.jpg", "cam2/007/1.jpg"], {"cam1/007/1": "cam1/007", "cam2/007/1": "cam2/007"}),
    "one identity": (["ann/1.jpg"], {"ann/1": "ann"}),
    "hidden": (["a/1.jpg", "a/._1.jpg", "__MACOSX/a/1.jpg", ".Trash/1.jpg"], {"a/1": "a"}),
    "long": (["a/" + "x" * 240 + ".jpg"], {"a/" + "x" * 240: "a"}),
    "case": (["a/X.jpg", "a/x.jpg"], {"a/X": "a", "a/x": "a"}),
    "unicode": (["Günter/山.jpg"], {"Günter/山": "Günter"}),
}  # fmt: skip


@pytest.mark.parametrize("form", ["tar", "zip"])
@pytest.mark.parametrize("case", CASES)
def test_members_become_faces(tmp_path, case, form):
    names, expected = CASES[case]
    files = [item if isinstance(item, tuple) else (item, IMAGES[0]) for item in names]
    path = tmp_path / f"x.{form}"
    if form == "tar":
        write(path, files)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files:
                archive.writestr(name, data)
    found = listed(path)
    assert labels(found) == expected
    source = open_source(str(path))
    assert all(source.read(face.place) == IMAGES[0] for face in found.faces)
    counted = len(found.faces) + sum(found.used.values()) + len(found.others)
    assert sum(found.seen.values()) == counted == len(files)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_compressed_archives(tmp_path, suffix):
    plain = tar_bytes([("ann/1.jpg", IMAGES[0]), ("bob/1.jpg", IMAGES[1])])
    pack = {"gz": gzip.compress, "tgz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    kind = suffix.rsplit(".", 1)[-1]
    if kind == "zst":
        pack["zst"] = pytest.importorskip("zstandard").compress
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pack[kind](plain))
    source = open_source(str(path))
    assert {face.key: source.read(face.place) for face in source.faces()} == {
        "ann/1": IMAGES[0],
        "bob/1": IMAGES[1],
    }


def test_a_compressed_archive_that_is_cut_gives_what_came_before(tmp_path):
    noise = [(f"ann/{number}.jpg", save(picture(number, 200), "PNG")) for number in range(20)]
    whole = gzip.compress(tar_bytes(noise))
    (tmp_path / "x.tgz").write_bytes(whole[: len(whole) // 2])
    found = listed(tmp_path / "x.tgz")
    assert 5 < len(found.faces) < 15 and [item.why for item in found.others] == ["E_TRUNCATED"]


def test_a_bomb_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("lrfr.pairs.sources.packed.members._FREE_BYTES", 1 << 20)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(tar_bytes([("a/1.jpg", bytes(3 << 20))])))
    with pytest.raises(DataError, match="decompresses to more than"):
        listed(tmp_path / "x.tar.gz")


@pytest.mark.parametrize(
    "text", ["{root}/s-{{000..002}}.tar", "{root}/s-*.tar", "{root}", "{root}/s-{{000,001,002}}.tar"]
)
def test_shards_by_braces_patterns_and_folders(tmp_path, text):
    for number in range(3):
        write(
            tmp_path / f"s-{number:03d}.tar",
            [("0.jpg", IMAGES[number]), ("0.cls", b"%d" % number), ("1.jpg", IMAGES[3])],
        )
    source = open_source("tar:" + text.format(root=tmp_path))
    faces = source.faces()
    assert {face.key: face.label for face in faces} == {
        f"s-{number:03d}/{sample}": str(number) if sample == 0 else ""
        for number in range(3)
        for sample in range(2)
    }
    assert {source.read(face.place) for face in faces if face.label == "2"} == {IMAGES[2]}


def test_a_missing_or_damaged_shard_is_named(tmp_path):
    write(tmp_path / "s-0.tar", [("a/0.jpg", IMAGES[0])])
    with pytest.raises(SpecError, match=r"s-1\.tar"):
        open_source(f"tar:{tmp_path}/s-{{0..1}}.tar").listing()
    (tmp_path / "s-1.tar").write_bytes(b"an error page" * 100)
    found = open_source(f"tar:{tmp_path}").listing()
    assert len(found.faces) == 1 and [(item.unit, item.why) for item in found.others] == [
        ("file", "E_FORMAT")
    ]


def test_a_cut_archive_gives_what_came_before(tmp_path):
    data = tar_bytes([(f"a/{number}.jpg", IMAGES[number]) for number in range(4)])
    cut = data.index(IMAGES[3]) + 10
    (tmp_path / "x.tar").write_bytes(data[:cut])
    found = listed(tmp_path / "x.tar")
    assert [face.key for face in found.faces] == ["a/0", "a/1", "a/2"]
    assert [(item.name, item.why) for item in found.others] == [("a/3.jpg", "E_TRUNCATED")]
    (tmp_path / "x.tar").write_bytes(data[: data.index(IMAGES[3]) - 300])
    assert [item.why for item in listed(tmp_path / "x.tar").others] == ["E_TRUNCATED"]


def test_what_no_archive_should_hold_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("../up.jpg", "/abs.jpg", "C:/windows.jpg", "a/ok.jpg"):
            archive.writestr(name, IMAGES[0])
        link = zipfile.ZipInfo("a/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    found = listed(tmp_path / "x.zip")
    assert [face.key for face in found.faces] == ["a/ok"]
    assert sorted(item.why for item in found.others) == ["E_NAME", "E_NAME", "E_NAME", "E_NOTFILE"]
    data = bytearray((tmp_path / "x.zip").read_bytes())
    at = data.index(IMAGES[0], data.index(b"a/ok.jpg"))
    data[at + 5] ^= 255
    (tmp_path / "y.zip").write_bytes(bytes(data))
    source = open_source(str(tmp_path / "y.zip"))
    with pytest.raises(ImageFault, match="E_TRUNCATED"):
        source.read(source.faces()[0].place)


def test_bad_labels_refuse_one_sample(tmp_path):
    write(tmp_path / "x.tar", [
        ("1.jpg", IMAGES[0]), ("1.json", b"{not json"), ("2.jpg", IMAGES[1]), ("2.json", b'{"label": [1]}'),
        ("3.jpg", IMAGES[2]), ("3.json", b'{"label": NaN}'), ("4.jpg", IMAGES[3]), ("4.json", b'{"label": "d"}'),
        ("5.jpg", IMAGES[3]), ("5.cls", b"nan"),
    ])  # fmt: skip
    faces = {face.key: (face.label, face.fault) for face in listed(tmp_path / "x.tar").faces}
    assert faces == {
        "1": ("", "E_LABEL"),
        "2": ("", "E_LABEL"),
        "3": ("", "E_LABEL"),
        "4": ("d", ""),
        "5": ("nan", "E_LABEL"),
    }
    done = make_pairs(str(tmp_path / "x.tar"), [], store=tmp_path / "s").done
    assert done.rows == 1 and done.report.account.refused == {"E_LABEL": 4}


def test_samples_are_those_of_webdataset(tmp_path):
    """Written and read back by the library itself: the same keys, images and labels."""
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as sink:
        for number in range(4):
            sink.write({"__key__": f"p{number % 2}/{number:04d}", "jpg": IMAGES[number], "cls": number % 2})
            sink.write({"__key__": f"q/{number:04d}", "png": IMAGES[number], "json": {"label": number}})
    theirs = {}
    for sample in webdataset.WebDataset(str(tmp_path / "w.tar"), shardshuffle=False):
        label = sample.get("cls", b"").decode() or str(json.loads(sample["json"])["label"])
        theirs[sample["__key__"]] = (label, sample.get("jpg") or sample.get("png"))
    source = open_source(str(tmp_path / "w.tar"))
    assert {face.key: (face.label, source.read(face.place)) for face in source.faces()} == theirs


def _header_of(kind, block):
    try:
        info = kind.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return type(error), str(error)
    return info.name, info.size, info.type, info.chksum


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_are_read_as_tarfile_reads_them(form):
    names = ["a/1.jpg", "a" * 120 + "/" + "b" * 60, "p/\u00e9.jpg", "d/"]
    blocks = []
    for name in names:
        info = tarfile.TarInfo(name)
        info.size, info.mtime = 12345, 1.5 if form == tarfile.PAX_FORMAT else 1
        for info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE):
            data = info.tobuf(form)
            blocks += [data[at : at + 512] for at in range(0, len(data), 512)]
    random = np.random.default_rng(0)
    for block in blocks:
        assert _header_of(PlainInfo, block) == _header_of(tarfile.TarInfo, block)
        for _ in range(60):
            torn = bytearray(block)
            torn[random.integers(512)] = random.integers(256)
            if random.random() < 0.7:  # a sum that is right again
                torn[148:156] = b" " * 8
                torn[148:156] = b"%06o\0 " % sum(torn)
            assert _header_of(PlainInfo, bytes(torn)) == _header_of(tarfile.TarInfo, bytes(torn))


def test_a_long_archive_lists_as_tarfile_does(tmp_path):
    names = [f"{'x' * (1 + number % 139)}/{number:04d}.jpg" for number in range(300)]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar"
        path.write_bytes(tar_bytes([(name, b"%d" % at) for at, name in enumerate(names)], format=form))
        with tarfile.open(path) as archive:
            told = [(info.name, info.offset_data, info.size) for info in archive]
        found = list(members(path))
        assert [(item.start, item.size) for item in found] == [item[1:] for item in told]
        assert [item.name for item in found] == [name for name, _, _ in told] == names
