"""The scan: what was seen is kept through kills and damage, and never taken for what it is not."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrfr.pairs.build.estimate import estimate
from lrfr.pairs.build.ingest import open_ingest
from lrfr.pairs.build.look.scan_cache import FLAGS, ScanCache, is_settled, ticket_of
from lrfr.pairs.build.look.scan_table import MOST_BYTES, Scanned, ScanTable
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.scan import scan
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.sources.folder import FilesSource, FolderSource
from tests.pairs.toy import tree
from tests.pairs.zoo import picture, save

SERIAL = Runner("serial")
FACE_COUNT = 6


def entries(count, start=0):
    return [
        (ticket_of(b"%d" % number, (number, 1, 2, 3)), f"{number:064x}", number, FLAGS[: number % 3])
        for number in range(start, start + count)
    ]


def found_in(path, count):
    cache = ScanCache(path)
    tickets = b"".join(entry[0] for entry in entries(count))
    return cache, cache.find(tickets)


@pytest.fixture
def faces(tmp_path):
    root = tmp_path / "faces"
    for index in range(FACE_COUNT):
        path = root / f"id{index % 3}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(picture(index), "PNG"))
    time.sleep(0.15)  # what is younger than a tick of the clock is not remembered
    return root


@pytest.fixture
def reads(monkeypatch):
    seen, real = [], FilesSource.read
    monkeypatch.setattr(FilesSource, "read", lambda self, place: seen.append(place) or real(self, place))
    return seen


def small(root):
    ingest = open_ingest(FolderSource(Path(root)))
    return replace(
        ingest, options=replace(ingest.options, prepare=replace(ingest.options.prepare, size_px=16))
    )


def test_a_cache_gives_back_what_was_put_in_chunk_by_chunk(tmp_path):
    path = tmp_path / "cache" / "a.bin"
    with ScanCache(path) as cache:
        cache.add(entries(5))
        cache.add([])
        cache.add(entries(7, 5))
    cache, found = found_in(path, 13)
    assert not cache.note and len(cache) == 12
    assert found == [*((sha, size, flags) for _, sha, size, flags in entries(12)), None]
    assert cache.find(b"") == []


@pytest.mark.parametrize("place", [0, 5, 9, 20, 40, 400, 600, -1])
def test_a_flipped_byte_loses_what_stands_behind_it_and_nothing_before(tmp_path, place):
    path = tmp_path / "a.bin"
    with ScanCache(path) as cache:
        cache.add(entries(5))
        cache.add(entries(5, 5))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    cache, found = found_in(path, 10)
    expected = [(sha, size, flags) for _, sha, size, flags in entries(10)]
    assert cache.note and all(item in (None, right) for item, right in zip(found, expected, strict=True))
    assert (found[:5] == expected[:5]) == (place in (400, 600, -1))
    with cache:
        cache.add(entries(10))
    cache, found = found_in(path, 10)
    assert not cache.note and found == expected


def test_every_truncation_keeps_whole_chunks(tmp_path):
    path = tmp_path / "a.bin"
    ends = []
    with ScanCache(path) as cache:
        for start in range(0, 9, 3):
            cache.add(entries(3, start))
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert len(ScanCache(path)) == 3 * sum(end <= size for end in ends)


def test_a_large_cache_forgets_what_nobody_finds(tmp_path, monkeypatch):
    monkeypatch.setattr("lrfr.pairs.build.look.scan_cache._SLACK_ROWS", 2)
    path = tmp_path / "a.bin"
    with ScanCache(path) as cache:
        cache.add(entries(20))
    cache, found = found_in(path, 4)
    cache.prune(tmp_path)
    with cache:
        cache.add(entries(1, 30))
    cache, again = found_in(path, 4)
    assert again == found and len(cache) == 5 and not cache.note


@pytest.mark.parametrize(
    ("mtime", "ctime", "after", "settled"),
    [
        (10**9 + 1, 10**9 + 1, 10**8 - 1, False),
        (10**9 + 1, 10**9 + 1, 10**8 + 1, True),
        (10**9, 10**9, 10**9, False),
        (10**9, 10**9, 2 * 10**9, True),
        (1, 10**9 + 1, 10**7, False),
        (10**18, 10**9 + 1, 10**9, False),
    ],
)
def test_what_may_change_within_a_tick_of_the_clock_is_not_settled(mtime, ctime, after, settled):
    assert is_settled((5, mtime, ctime, 7), 10**9 + after) is settled


def test_a_file_changed_within_a_tick_is_seen(faces, tmp_path, monkeypatch):
    """The same size, times and inode, and other bytes: what git calls racy."""
    target = faces / "id0" / "0.png"
    with target.open("r+b") as handle:
        handle.write(save(picture(0), "PNG"))
    stamps = {}
    real = FolderSource.stamps
    monkeypatch.setattr(
        FolderSource,
        "stamps",
        lambda self, places: [
            stamps.setdefault(place, stamp) for place, stamp in zip(places, real(self, places), strict=True)
        ],
    )
    store = tmp_path / "s"
    first = make_pairs(small(faces), [], store=store)
    other = save(picture(99), "PNG")
    target.write_bytes(other)
    assert make_pairs(small(faces), [], store=store).id != first.id


def test_a_killed_scan_keeps_what_it_saw(faces, tmp_path, reads):
    script = f"""
from lrfr.pairs.build import scan
from lrfr.pairs.build.make import make_pairs
from tests.pairs.test_scan import small
from lrfr.pairs.sources.folder import FilesSource
import os
scan.CHUNK = 2
real = FilesSource.read
def read(self, place):
    if place == "id2/5.png" and looking:
        os.kill(os.getpid(), 9)
    return real(self, place)
FilesSource.read = read
looking = False
ingest = small({str(faces)!r})
looking = True
make_pairs(ingest, [], store={str(tmp_path / "s")!r})
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -9
    ingest = small(faces)
    reads.clear()
    looked = scan(ingest, ingest.faces(), tmp_path / "s", SERIAL)
    assert set(reads) == {"id2/2.png", "id2/5.png"}
    assert looked.again == 0 and not looked.note
    make_pairs(small(faces), [], store=tmp_path / "s")
    make_pairs(small(faces), [], store=tmp_path / "t")
    assert tree(tmp_path / "s") == tree(tmp_path / "t")


def test_a_plan_fills_the_cache_that_make_pairs_uses(faces, tmp_path, reads):
    store = StoreFiles(tmp_path / "s")
    found = estimate(store, small(faces), [], SERIAL)
    assert [(part.part, part.images) for part in found.parts] == [("scan", 0), ("HR", FACE_COUNT)]
    ingest = small(faces)
    reads.clear()
    assert scan(ingest, ingest.faces(), store.root, SERIAL).again == 0 and reads == []
    assert make_pairs(ingest, [], store=store).done.rows == FACE_COUNT
    unkept = estimate(StoreFiles(tmp_path / "t"), replace(small(faces), cached=False), [], SERIAL)
    assert unkept.parts[0].images == FACE_COUNT and not (tmp_path / "t").exists()


def test_a_plan_from_a_sample_scales_up(faces, tmp_path, reads):
    ingest = small(faces)
    reads.clear()
    found = estimate(StoreFiles(tmp_path / "s"), ingest, [], SERIAL, sample=3)
    assert len(set(reads)) == 3 and found.sampled == (3, FACE_COUNT)
    assert (found.rows, found.identities) == (FACE_COUNT, 3)
    assert [(part.part, part.images) for part in found.parts] == [("scan", 3), ("HR", FACE_COUNT)]
    whole = estimate(StoreFiles(tmp_path / "s"), ingest, [], SERIAL, sample=100)
    assert whole.sampled is None and len(whole.bases) == 1


def test_refused_faces_are_looked_at_again(faces, tmp_path, reads):
    (faces / "id0" / "bad.png").write_bytes(b"no picture")
    time.sleep(0.15)
    make_pairs(small(faces), [], store=tmp_path / "s")
    ingest = small(faces)
    reads.clear()
    assert scan(ingest, ingest.faces(), tmp_path / "s", SERIAL).again == 1
    assert reads == ["id0/bad.png"]


def test_a_table_gives_back_what_was_put():
    items = [
        Scanned("0a" * 32, 7),
        Scanned(code="E_READ", detail="gone"),
        Scanned("0b" * 32, 2**40, flags=("W_CONSTANT",)),
        Scanned("0a" * 32, 7),
    ]
    table = ScanTable.of(items)
    assert list(table) == [*items[:2], replace(items[2], size=MOST_BYTES), items[3]]
    assert table.usable.tolist() == [True, False, True, True] and table.twice().tolist() == [0, 3]
    assert [row for row, _ in table.odd()] == [1, 2]
    some = table.only(np.array([False, True, True, False]))
    assert list(some) == list(table)[1:3] and [row for row, _ in some.odd()] == [0, 1]
    table.put(1, items[0])
    table.put(2, Scanned(code="E_CHANGED"))
    assert list(table) == [items[0], items[0], Scanned(code="E_CHANGED"), items[0]]


def test_every_digest_that_is_there_twice_is_found():
    random = np.random.default_rng(1)
    pool = random.integers(0, 256, (700, 32), np.uint8)
    pool[:300, :24] = 0  # fingerprints may differ in their last bytes alone
    table, rows = ScanTable(1000), np.arange(1000)
    table.fill(rows, pool[random.integers(0, 700, 1000)], np.zeros(1000, np.int64))
    contents = [line.tobytes() for line in table.digests]
    assert table.twice().tolist() == [row for row in rows.tolist() if contents.count(contents[row]) > 1]
