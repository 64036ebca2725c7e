"""What a scan keeps for the shards: it saves reading and decoding twice, and decides nothing."""

import shutil
import threading
from collections import Counter

import cv2
import numpy as np
import pytest

from lrfr.core.image import encode_jpeg
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.pairs.build import make
from lrfr.pairs.build import scan as scan_module
from lrfr.pairs.build.look import spool as spool_module
from lrfr.pairs.build.look.spool import Spool, SpoolReader, SpoolWriter, entry_seed, stamp_mark
from lrfr.pairs.build.lr import Variant, cheap_draws
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.records import RAW, Record
from lrfr.pairs.sources.folder import FilesSource, FolderSource
from tests.pairs.faults import killed_at
from tests.pairs.toy import SIDE, SPEC, tree
from tests.pairs.zoo import picture, save

UPSAMPLED = SPEC.replace("lr: native", "lr: upsampled").replace("name: toy", "name: up")
COUNT = 150


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """JPEGs that keep their bytes, pictures that are cut and encoded, some that are refused, two alike."""
    root = tmp_path_factory.mktemp("spool") / "faces"
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        path = root / f"id{index % 7}" / f"{index:03d}.{'png' if index % 5 == 0 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (SIDE, SIDE))
        path.write_bytes(save(picture(index), "PNG") if index % 5 == 0 else encode_jpeg(pixels))
    (root / "id1" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    shutil.copy(root / "id1" / "001.jpg", root / "id2" / "twin.jpg")
    return root


@pytest.fixture
def spooled(monkeypatch):
    """Spool of however few faces, in tasks of twenty."""
    monkeypatch.setattr(scan_module, "LEAST_FACES", 1)
    monkeypatch.setattr(scan_module, "CHUNK", 20)


def built(source, store, specs=(SPEC, UPSAMPLED), runner=None, traces=True, **options):
    ingest = Ingest(FolderSource(source), BaseOptions(Prepare(size_px=SIDE), **options))
    made = MakeOptions(traces=traces)
    runner = runner or Runner("serial")
    return make_pairs(ingest, list(map(parse_spec, specs)), store=store, options=made, runner=runner)


@pytest.fixture(scope="module")
def plain(faces, tmp_path_factory):
    """The store that is made without a spool."""
    store = tmp_path_factory.mktemp("plain") / "store"
    built(faces, store)
    return tree(store)


def test_the_store_is_the_one_that_is_made_without(faces, folder, spooled, plain, monkeypatch):
    reads, decoded = Counter(), []
    read, decode = FilesSource.read, cv2.imdecode
    monkeypatch.setattr(FilesSource, "read", lambda self, place: reads.update([place]) or read(self, place))
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: decoded.append(1) or decode(data, flags))
    # beside other threads (the test's runner may have some) JPEGs are decoded by Pillow
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    made = built(faces, folder / "store")
    assert tree(folder / "store") == plain
    assert made.done.report.refused == {"E_TRUNCATED": 1}
    # every face is read once; a JPEG decoded once, a PNG (by Pillow) as the JPEG that it becomes
    assert set(reads.values()) == {1} and len(reads) == COUNT + 2
    assert len(decoded) == COUNT + 1
    assert not list((folder / "store" / "tmp").iterdir())


def test_a_first_scan_asks_an_open_file_for_its_stamp(faces, folder, spooled, plain, monkeypatch):
    asked, read = Counter(), Counter()
    stamped, stamps = FilesSource.read_stamped, FilesSource.stamps
    monkeypatch.setattr(
        FilesSource, "read_stamped", lambda self, place: read.update([place]) or stamped(self, place)
    )
    monkeypatch.setattr(
        FilesSource, "stamps", lambda self, places: asked.update(places) or stamps(self, places)
    )
    built(faces, folder / "store")
    assert tree(folder / "store") == plain
    # the second time is that of the shards: a file that changed since is none of theirs
    assert set(read.values()) == set(asked.values()) == {1} and len(read) == COUNT + 2 == len(asked) + 1
    built(faces, folder / "store")
    assert tree(folder / "store") == plain


def test_a_stamp_is_the_one_that_is_told_with_the_bytes(faces):
    source = FolderSource(faces)
    places = [face.place for face in source.faces()]
    told = [source.read_stamped(place) for place in places]
    assert [stamp for _, stamp in told] == source.stamps(places) == [source.stamp(place) for place in places]
    assert [data for data, _ in told] == [source.read(place) for place in places]


@pytest.mark.parametrize("access", ["block", "random"])
def test_processes_write_the_same(faces, folder, spooled, access, monkeypatch):
    built(faces, folder / "a", access=access, runner=Runner("process", workers=2))
    monkeypatch.setattr(scan_module, "LEAST_FACES", 10**9)
    built(faces, folder / "b", access=access)
    assert tree(folder / "a") == tree(folder / "b")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :: 97] = bytes(255 - byte for byte in data[len(data) // 2 :: 97])
    path.write_bytes(data)


DAMAGE = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 3]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_costs_a_second_look(faces, folder, spooled, plain, monkeypatch, how):
    real, hit = make.write_base, []

    def damaged(store, *rest):
        for path in store.tmp.glob("spool-*"):
            hit.append(path.name)
            DAMAGE[how](path)
        return real(store, *rest)

    monkeypatch.setattr(make, "write_base", damaged)
    built(faces, folder / "store")
    for path in (folder / "store" / "tmp").iterdir():
        shutil.rmtree(path)
    assert tree(folder / "store") == plain
    assert len(hit) == -(-(COUNT + 2) // 20)


def test_a_full_disk_or_a_small_share_of_it_ends_the_spool_alone(faces, folder, spooled, plain, monkeypatch):
    monkeypatch.setattr(scan_module, "kept_row_bytes", lambda side: 300)
    built(faces, folder / "small")
    monkeypatch.setattr(spool_module, "MOST_BYTES", 0)
    built(faces, folder / "none")

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module, "MOST_BYTES", 1 << 30)
    monkeypatch.setattr(spool_module.SpoolWriter, "_write", full)
    built(faces, folder / "full")
    assert tree(folder / "small") == tree(folder / "none") == tree(folder / "full") == plain


def test_a_file_that_changes_after_the_scan_is_refused(faces, folder, spooled, monkeypatch):
    shutil.copytree(faces, folder / "faces")
    real, rounds = make.write_base, []

    def changing(*rest):
        rounds.append(1)
        if len(rounds) == 1:
            (folder / "faces" / "id1" / "001.jpg").write_bytes(
                encode_jpeg(np.full((SIDE, SIDE, 3), 9, np.uint8))
            )
        return real(*rest)

    monkeypatch.setattr(make, "write_base", changing)
    done = built(folder / "faces", folder / "store").done
    assert done.report.refused == {"E_CHANGED": 1, "E_TRUNCATED": 1} and len(rounds) == 2
    assert done.rows == COUNT


def test_killed_at_any_moment_the_same_command_goes_on(faces, folder, spooled, plain):
    for number in range(6):
        store = folder / f"store{number}"
        while killed_at(lambda store=store: built(faces, store), 0.02 * (number + 1)):
            number *= 3
            number += 2
        assert tree(store) == plain
        assert not list((store / "tmp").iterdir())


def test_what_takes_long_is_not_made_with_the_scan(faces, folder, spooled):
    assert len(cheap_draws([Variant(load_spec("maug"), number, 1.0) for number in range(8)])) == 8
    assert cheap_draws([Variant(load_spec("maug"), 0, 1.0), Variant(load_spec("turb"), 0, 1.0)]) == ()


def test_an_entry_belongs_to_one_face(tmp_path):
    keys, sums = [b"a", b"b", b"c"], np.arange(96, dtype=np.uint8).reshape(3, 32)
    records = [Record(0, RAW, 1, 1, b"rgb", b"{}\n"), Record(0, RAW, 1, 1, b"bgr")]
    with SpoolWriter(tmp_path / "spool-0.host.1.2", 3, 1 << 20) as writer:
        for row in (0, 2):
            writer.add(row, b"jpeg%d" % row, records, entry_seed(keys[row], sums[row].tobytes()))
    whole = Spool(str(tmp_path / "spool-0.host.1.2"), Spool.empty(tmp_path, 3).entries)
    whole.mark([0, 1, 2], [(1, 2), None, (1, 3)])
    whole.put([0, 1, 2], 0, writer.entries())
    assert whole.entries["mark"].tolist() == [stamp_mark((1, 2)), 0, stamp_mark((1, 3))]
    mine = whole.of(np.array([2, 1, 0]), [keys[2], keys[1], keys[0]], sums[[2, 1, 0]])
    with SpoolReader(mine) as reader:
        assert reader.records(0, 7, (0, 1)) == [record._replace(row=7) for record in records]
        assert reader.records(1, 7, (0,)) is None and reader.records(2, 0, (1,)) == records[1:]
        assert reader.records(0, 7, (2,)) is None  # no such record
        assert (reader.payload(0), reader.payload(1), reader.payload(2)) == (b"jpeg2", None, b"jpeg0")
    for other_keys, other_sums in ((keys, sums[[2, 1, 0]]), ([keys[2], keys[1], keys[0]], sums)):
        with SpoolReader(whole.of(np.array([2, 1, 0]), other_keys, other_sums)) as reader:
            assert reader.records(0, 7, (0,)) is None and reader.payload(0) is None
