"""Whatever happens to a file, before it is opened or while it is read, a reader ends with a typed error or with
the right faces: never by a signal.
"""

import os
import random
from collections import Counter

import lmdb
import numpy as np
import pytest

from lrfr.core.errors import DataError, LrfrError
from lrfr.pairs.format.disk import array_file
from lrfr.pairs.format.disk.array_file import ArrayFile, map_array
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.disk.lmdb_pages import LmdbPages
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.sources.table import open_source
from lrfr.pairs.store import Store
from tests.pairs.faults import forked
from tests.pairs.test_sources import write_basicsr
from tests.pairs.zoo import picture, save

A_CHILD = 50  # damages
WORDS = np.arange(192 * 7, dtype=np.int32).reshape(192, 7)


@pytest.fixture
def data(store):
    """A store with a column; every table that is read is mapped, as large ones are."""
    Store(store).write_column("default", "words", WORDS, producer="words 1")
    return store


def digests(root, verify, between=lambda: None):
    """Read everything that readers read; return the bytes of all faces by position."""
    REGISTRY.clear()
    dataset = PairDataset(root, verify=verify, columns=["words"])
    dataset.batch(np.arange(0, 192, 9), 0)
    between()
    found = {}
    for batch in PairLoader(dataset, 48, threads=2):
        for index, row in enumerate(batch.row_b.tolist()):
            found[row] = batch.hr_bchw[index].numpy().tobytes() + batch.lr_bchw[index].numpy().tobytes()
        assert batch.columns["words"].shape == (48, 7)
    assert dataset.key(191) and dataset.rows.max() == 191
    table = StoreFiles(root).rows(dataset.view.parts[0].base)
    assert len(table.labels) == 192 and table.digests[191].size == 32
    return found


def place_of(source, path, size):
    """Anywhere, and where pointers and lengths lie as often."""
    heads = [16, 4112, *range(0, size, 4096)] if path.suffix == ".mdb" else [0]
    wanted = source.choice(heads) + source.randrange(152) if source.random() < 0.6 else source.randrange(size)
    return min(wanted, size - 1)


def damage(source, path):
    """Change one bit, one byte or one word, or cut the file."""
    size = path.stat().st_size
    kind = source.choice(["bit", "byte", "word", "cut", "cut"])
    if kind == "cut":
        os.truncate(path, source.choice([0, source.randrange(size), size - 1, size // 4096 * 4096 // 2]))
        return
    with path.open("r+b") as handle:
        place = place_of(source, path, size)
        handle.seek(place)
        old = handle.read({"word": 4}.get(kind, 1))
        new = {
            "bit": bytes([old[0] ^ 1 << source.randrange(8)]),
            "byte": bytes([old[0] ^ 0xFF]),
            "word": source.randbytes(len(old)),
        }[kind]
        handle.seek(place)
        handle.write(new)


def one(root, source, files, expected):
    """Damage a file before or while it is read; return how the reader ended."""
    path = source.choice(files)
    verify = source.choice(["records", "records", "always", "never"])
    before = path.read_bytes()
    late = source.random() < 0.5
    try:
        if not late:
            damage(source, path)
        found = digests(root, verify, (lambda: damage(source, path)) if late else lambda: None)
    except LrfrError as error:
        return type(error).__name__
    finally:
        path.write_bytes(before)
    return "right" if found == expected else "unchecked" if verify == "never" else "WRONG"


def fuzz(root, count, seed, report):
    """Damage ``count`` times in children of their own; return how many ended in each way."""
    files = sorted(path for part in ("base", "lr", "columns") for path in (root / part).rglob("*"))
    files = [path for path in files if path.suffix in {".mdb", ".npy"}]
    files += [path for path in files if path.suffix == ".mdb"] * 2
    expected, ways = digests(root, "always"), Counter()
    for first in range(0, count, A_CHILD):

        def work(first=first):
            source = random.Random(f"{seed} {first}")
            told = [one(root, source, files, expected) for _ in range(min(A_CHILD, count - first))]
            report.write_text("\n".join(told))

        _, status = os.waitpid(forked(work), 0)
        assert status == 0, f"the child of {first} ended with {status}"
        ways.update(report.read_text().split("\n"))
    return ways


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.soak)])
def test_no_damage_ends_a_reader(data, tmp_path, monkeypatch, count):
    monkeypatch.setattr(array_file, "MAPPED_BYTES", 0)
    ways = fuzz(data, count, 1, tmp_path / "told")
    print(f"\n{count} damages, 0 signals: {dict(ways)}")
    assert not ways["WRONG"] and ways["DataError"] > count // 4 and ways.total() == count
    assert not set(ways) - {"DataError", "ImageFault", "SpecError", "right", "unchecked"}


def test_a_shard_cut_short_while_it_is_read_is_named(store):
    dataset = PairDataset(store, verify="records")
    dataset.batch(np.arange(192), 0)
    for path in sorted(store.rglob("*.mdb")):
        whole = path.read_bytes()
        for length in (len(whole) // 2, 8192, 0):
            os.truncate(path, length)
            with pytest.raises(DataError) as caught:
                dataset.batch(np.arange(192), 0)
            assert (caught.value.file, "row" in caught.value.path) == (str(path), True)
            assert "cut short" in str(caught.value)
        path.write_bytes(whole)
    dataset.batch(np.arange(192), 0)


def test_a_mapped_table_cut_short_is_named_at_the_next_access(store, monkeypatch):
    monkeypatch.setattr(array_file, "MAPPED_BYTES", 0)
    files = StoreFiles(store)
    table = files.rows(files.bases()[0])
    held, path = table.labels, table.folder / "labels.npy"
    assert isinstance(held, np.memmap) and type(held[[1, 2]]) is np.ndarray and type(held + 1) is np.ndarray
    os.truncate(path, 200)
    for access in (lambda: table.labels, lambda: held[3], lambda: held[2:5][0]):
        with pytest.raises(DataError, match=r"labels\.npy: cut short while it is read"):
            access()


def test_rows_of_an_array_file_are_those_of_numpy(tmp_path):
    expected = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float16)
    np.save(tmp_path / "x.npy", expected)
    found = ArrayFile(tmp_path / "x.npy", (400, 3), "float16")
    for rows in ([], [7], [399, 0], [5, 6, 7, 3, 3], range(10, 30), range(400), [*range(390, 400), 1]):
        rows = np.array(rows, np.int64)
        assert np.array_equal(found.take(rows), expected[rows])
    assert np.array_equal(map_array(tmp_path / "x.npy"), expected)
    os.truncate(tmp_path / "x.npy", 1000)
    for rows in ([399], range(400)):
        with pytest.raises(DataError, match="cut short"):
            found.take(np.array(rows))
    with pytest.raises(DataError, match="the header does not fit"):
        map_array(tmp_path / "x.npy")


def test_what_cannot_be_read_is_an_error_with_its_file(store, monkeypatch):
    """A bad sector under a map would end the process."""
    from lrfr.pairs.format import reader
    from lrfr.pairs.format.disk import open_file

    dataset = PairDataset(store)
    dataset.batch(np.arange(192), 0)

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reader, "pread", fail)
    monkeypatch.setattr(open_file.os, "pread", fail)
    with pytest.raises(DataError, match=r"\.mdb: store \w+, row \d+: cannot read: Input/output error"):
        dataset.batch(np.arange(5), 0)


@pytest.mark.parametrize("count", [0, 1, 40, 5000])
def test_pages_are_read_as_lmdb_reads_them(tmp_path, count):
    source = random.Random(count)
    values = {
        source.randbytes(source.randrange(1, 40)): source.randbytes(source.choice([0, 9, 900, 3000, 9000]))
        for _ in range(count)
    }
    with lmdb.open(str(tmp_path), map_size=1 << 28) as env:
        for part in range(4):
            with env.begin(write=True) as transaction:
                for key in sorted(values)[part::4]:
                    transaction.put(key, values[key])
        with env.begin(write=True) as transaction:
            for key in sorted(values)[::7]:
                transaction.delete(key)
                del values[key]
    data = (tmp_path / "data.mdb").read_bytes()
    pages = LmdbPages(lambda start, size: data[start : start + size], len(data))
    found = [(key, data[start : start + size]) for key, (start, size) in pages.items()]
    assert found == sorted(values.items())
    for key, value in found[:: max(1, count // 200)]:
        start, size = pages.find(key)
        assert data[start : start + size] == value
        assert pages.find(key + b"\0") is None or key + b"\0" in values
    assert pages.find(b"") is None and pages.find(b"\xff" * 50) is None


def test_a_forged_database_of_others_ends_no_process(tmp_path):
    images = {f"{seed:03d}": save(picture(seed, 64), "PNG") for seed in range(8)}
    write_basicsr(tmp_path / "x.lmdb", images)
    path = tmp_path / "x.lmdb" / "data.mdb"
    whole = path.read_bytes()
    heads = [place for page in range(0, len(whole), 4096) for place in range(page, page + 40)]

    def work():
        for place in [*range(16, 160, 3), *range(4112, 4256, 3), *heads[::3]]:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            try:
                source = open_source(f"lmdb:{tmp_path}/x.lmdb")
                for face in source.faces():
                    source.read(face.place)
            except LrfrError:
                continue

    _, status = os.waitpid(forked(work), 0)
    assert status == 0


def test_a_file_is_closed_as_soon_as_nobody_holds_it(store):
    dataset = PairDataset(store)
    dataset.batch(np.arange(192), 0)
    names = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert {str(path) for path in store.rglob("*.mdb")} <= names
    REGISTRY.clear()
    left = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert not [name for name in left if name.endswith(".mdb")]
