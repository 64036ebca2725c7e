"""Promise P4: every kind of file ends as a record or in the quarantine with its reason; nothing stops a
run.
"""

import json
import os
import random
import resource
import socket
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from lrfr.core.errors import REASONS, DataError, ImageFault
from lrfr.core.image import REMARKS, decode, probe, read_picture
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.folder import FolderSource
from lrfr.pairs.store import Store
from tests.pairs.toy import ToySource
from tests.pairs.zoo import exif, picture, rgba, save, zoo

RSS_CAP_BYTES = 1500 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "data", "expected"), list(zoo()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_kind(name, data, expected):
    if isinstance(expected, str):
        with pytest.raises(ImageFault) as caught:
            decode(data)
        assert caught.value.code in expected.split("|")
        return
    read = read_picture(data)
    image = read.pixels
    assert image.dtype == np.uint8
    assert image.ndim == 3 and image.shape[2] == 3
    constant = {"W_CONSTANT"} if image.min() == image.max() else set()
    assert set(read.remarks) | constant == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation):
    data = save(picture(), "JPEG", quality=95, exif=exif(orientation))
    with Image.open(__import__("io").BytesIO(data)) as opened:
        assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(opened).convert("RGB")))


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (rgba(), "PNG", {}),
        (rgba(), "WEBP", {"lossless": True}),
        (rgba().convert("LA"), "PNG", {}),
        (Image.fromarray(picture()).quantize(16), "PNG", {"transparency": 3}),
        (Image.fromarray(picture()).quantize(16), "GIF", {"transparency": 3}),
    ],
)
def test_transparency_is_composited_over_black(image, kind, options):
    data = save(image, kind, **options)
    with Image.open(__import__("io").BytesIO(data)) as opened:
        layer = opened.convert("RGBA")
    expected = Image.new("RGBA", layer.size, (0, 0, 0, 255))
    expected.alpha_composite(layer)
    assert np.abs(decode(data).astype(int) - np.asarray(expected.convert("RGB")).astype(int)).max() <= 1


def test_compositing_takes_no_more_memory_than_the_picture():
    """Near the cap of 64 MP a few copies more are gigabytes."""
    side = 1500
    data = save(Image.new("RGBA", (side, side), (200, 10, 60, 128)), "PNG")
    tracemalloc.start()
    image = decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (image == [100, 5, 30]).all()
    assert peak < 1.3 * side * side * (4 + 3)


def test_a_chunk_that_claims_gigabytes_takes_none():
    data = bytearray(save(picture(), "PNG"))
    place = data.index(b"IDAT") - 4
    data[place : place + 4] = (1 << 30).to_bytes(4, "big")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageFault, match="E_TRUNCATED"):
        decode(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_sixteen_bits_are_scaled_not_clipped():
    gray = picture()[..., 0]
    data = save(Image.fromarray(gray.astype(np.uint16) * 257), "PNG")
    assert np.array_equal(decode(data)[..., 1], gray)


def test_cmyk_agrees_with_pillow():
    cmyk = Image.fromarray(picture()).convert("CMYK")
    data = save(cmyk, "JPEG", quality=95)
    with Image.open(__import__("io").BytesIO(data)) as opened:
        assert np.abs(decode(data).astype(int) - np.asarray(opened.convert("RGB")).astype(int)).max() <= 2


def mutants(count: int, seed: int):
    """Yield damaged copies of one file of each of six formats."""
    source = random.Random(seed)
    originals = [save(picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")]
    for index in range(count):
        data = bytearray(originals[index % len(originals)])
        for _ in range(source.choice((1, 1, 2, 8, 64))):
            action, place = source.randrange(4), source.randrange(len(data))
            if action == 0:
                data[place] = source.randrange(256)
            elif action == 1:
                data[place] ^= 1 << source.randrange(8)
            elif action == 2:
                del data[place : place + source.randrange(1, 40)]
            else:
                data[place:place] = source.randbytes(source.randrange(1, 40))
            if not data:
                break
        yield bytes(data)


def check_mutants(count: int, seed: int) -> dict[str, int]:
    """Decode mutants; return how many ended with each code ("ok" for pixels)."""
    ends: dict[str, int] = {}
    for data in mutants(count, seed):
        try:
            image = decode(data)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            assert image.size // 3 <= 64_000_000
            end = "ok"
        except ImageFault as fault:
            end = fault.code
        ends[end] = ends.get(end, 0) + 1
    return ends


def test_two_thousand_mutants_give_pixels_or_a_reason():
    ends = check_mutants(2000, seed=5)
    assert set(ends) <= {"ok", *REASONS}
    assert sum(ends.values()) == 2000
    assert len(ends) >= 4, f"the mutants are all alike: {ends}"


@pytest.mark.soak
def test_two_hundred_thousand_mutants():
    ends = check_mutants(200_000, seed=6)
    print("\n", ends, "peak RSS MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < RSS_CAP_BYTES


def lay_out(folder):
    """Write the zoo as files plus what only a file system can offer; return the kinds that must be
    refused.
    """
    refused = {}
    for index, (_, data, expected) in enumerate(zoo()):
        path = folder / f"id{index % 7}" / f"{index:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if isinstance(expected, str):
            refused[f"{path.parent.name}/{path.name}"] = expected
    special = folder / "special"
    special.mkdir()
    good = save(picture(3), "PNG")
    for name in (
        "new\nline.png",
        "emoji \U0001f600.png",
        "x" * 251 + ".png",
        "spaces and 'quotes'.png",
        os.fsdecode(b"not utf-8 \xff.png"),
    ):
        (special / name).write_bytes(good)
    os.mkfifo(special / "fifo.jpg")
    (special / "folder.jpg").mkdir()
    (special / "dangling.jpg").symlink_to(special / "nowhere")
    (special / "loop.jpg").symlink_to(special / "loop.jpg")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(special / "s.jpg"))
    listener.close()
    refused |= {
        "special/fifo.jpg": "E_NOTFILE",
        "special/folder.jpg": "E_NOTFILE",
        "special/s.jpg": "E_NOTFILE|E_READ",
    }
    refused |= {"special/dangling.jpg": "E_READ", "special/loop.jpg": "E_READ"}
    if os.geteuid() != 0:
        (special / "secret.png").write_bytes(good)
        (special / "secret.png").chmod(0)
        refused["special/secret.png"] = "E_READ"
    return refused


def ingest(folder):
    return Ingest(FolderSource(folder), BaseOptions(Prepare(size_px=32)))


def test_a_run_over_the_whole_zoo_completes(tmp_path, folder):
    refused = lay_out(tmp_path / "zoo")
    store = Store(folder / "store")
    done = make_pairs(ingest(tmp_path / "zoo"), [], store=store, view=ViewOptions())
    lines = [json.loads(line) for line in store.quarantine_path("default").read_bytes().splitlines()]
    found = {line["key"]: line["code"] for line in lines if "code" in line}
    assert found.keys() == refused.keys()
    assert all(code in refused[key].split("|") for key, code in found.items())
    assert {line["flag"] for line in lines if "flag" in line} <= set(REMARKS)
    assert sum(line.get("flag") == "W_DUPLICATE" for line in lines) >= 4
    assert sum(done.done.report.refused.values()) == len(refused)
    dataset = PairDataset(store.root)
    assert (
        len(dataset) == done.done.bases[0].rows == len(FolderSource(tmp_path / "zoo").faces()) - len(refused)
    )
    for start in range(0, len(dataset), 16):
        dataset.batch(np.arange(start, min(len(dataset), start + 16)), 0)


def test_max_bad_stops_before_anything_is_written(tmp_path, folder):
    lay_out(tmp_path / "zoo")
    with pytest.raises(DataError, match="were refused") as caught:
        make_pairs(ingest(tmp_path / "zoo"), [], store=folder / "store", options=MakeOptions(max_bad=0.1))
    assert caught.value.exit_code == 3
    assert not list((folder / "store").rglob("*.mdb"))


def test_a_file_that_changes_during_the_run_is_refused(tmp_path, folder, monkeypatch):
    root = tmp_path / "faces"
    for index in range(4):
        (root / f"id{index}").mkdir(parents=True)
        (root / f"id{index}" / "a.png").write_bytes(save(picture(index), "PNG"))
    real, reads = FolderSource.read, []

    def read(self, place):
        reads.append(place)
        if place == "id2/a.png" and reads.count(place) == 2:
            (root / place).write_bytes(save(picture(99), "PNG"))
        return real(self, place)

    monkeypatch.setattr(FolderSource, "read", read)
    done = make_pairs(ingest(root), [], store=folder / "store", runner=Runner("serial"))
    assert done.done.report.refused == {"E_CHANGED": 1}
    assert done.done.bases[0].rows == 3


def test_probe_never_decodes(monkeypatch):
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("pixels were decoded"))
    assert probe(save(picture(), "JPEG"))[1:] == (64, 64)
    with pytest.raises(ImageFault, match="E_BOMB"):
        decode(dict((name, data) for name, data, _ in zoo())["png claiming 20000x20000"])


def test_duplicate_keys_do_not_stop_a_run_and_never_overwrite(folder):
    """The same face listed twice is one face; different faces under one key are refused, whatever the order."""

    class Listed(ToySource):
        def faces(self):
            own = super().faces()
            clash = [replace(own[3], place=own[4].place), replace(own[5], label="other")]
            return [*own, own[0], *clash] if not self.salt else [*clash, own[0], *own[::-1]]

    from tests.pairs.toy import ingest as toy_ingest

    made = make_pairs(toy_ingest(Listed(2, 8)), [], store=folder / "store")
    assert made.done.rows == 14 and made.done.report.refused == {"E_KEY": 4}
    assert made.done.report.account.skipped == {"duplicate": 1}
    store = Store(folder / "store")
    assert store.quarantine_path("default").read_text().count("several different faces have this key") == 4
    dataset = PairDataset(folder / "store")
    keys = {dataset.key(position) for position in range(14)}
    assert b"id000/3" not in keys and b"id000/5" not in keys and b"id000/0" in keys


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [entry for entry in zoo() if entry[0].startswith(("jpeg", "gray jpeg", "cmyk", "prog"))],
)
def test_only_plain_upright_jpegs_keep_their_bytes(name, data, expected):
    """The header reader against Pillow: kept as they are only where size, mode and orientation allow it."""
    if isinstance(expected, str):
        return
    kept = Prepare(size_px=64).jpeg(data) == data
    with Image.open(__import__("io").BytesIO(data)) as opened:
        assert kept == (opened.mode in {"RGB", "L"} and opened.getexif().get(0x0112, 1) == 1)
    assert Prepare(size_px=32).jpeg(data) != data
    assert np.array_equal(decode(Prepare(size_px=64).jpeg(data)), decode(data)) or not kept
