"""Columns beside the rows: what is written is what is read, whoever kills, damages, grows, forgets or merges."""

import itertools
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lrfr.core.errors import DataError, SpecError
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.columns import column_manifest, column_rows, column_write, given_values
from lrfr.pairs.columns.column_carry import Origin, carry_columns
from lrfr.pairs.columns.column_manifest import DTYPES, ColumnManifest, ColumnPlace
from lrfr.pairs.columns.column_store import write_column
from lrfr.pairs.columns.row_array import BaseColumn, RowArray
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.pair_batch import collate
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.sources.table import open_source
from lrfr.pairs.store import Store
from tests.pairs.faults import Shim, forked, injected
from tests.pairs.test_growth import Some, extend, write
from tests.pairs.toy import ToySource, WithSplits, build, ingest


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 50 rows, so that the toy store has four."""
    for module in (column_write, given_values, column_manifest, column_rows):
        monkeypatch.setattr(module, "CHUNK_ROWS", 50)


@pytest.fixture
def data(store):
    return Store(store)


def means(images):
    """Mean color of images, float32 [n, 3]."""
    return np.stack([image.reshape(-1, 3).mean(0) for image in images]).astype(np.float32)


def brightness(images):
    return [float(image.mean()) for image in images]


def expected_means(dataset):
    hr = dataset.batch(np.arange(len(dataset)), 0).hr_bchw
    return means(hr.permute(0, 2, 3, 1).numpy())


def test_what_a_function_gives_is_read_by_position(data, small_chunks):
    assert data.write_column("default", "color", means, producer="means 1").written == 192
    dataset = PairDataset(data)
    color, expected = dataset.column("color"), expected_means(dataset)
    assert (color.shape, color.dtype, len(color)) == ((192, 3), np.float32, 192)
    assert np.array_equal(np.asarray(color), expected)
    for index in (5, -1, slice(3, 180, 7), [9, 2, 2], np.array([[1, 60], [150, 3]]), expected[:, 0] > 120):
        assert np.array_equal(color[index], expected[index])
    for wrong in (192, -193, [0, 192]):
        with pytest.raises(IndexError):
            color[wrong]
    again = data.write_column("default", "color", means, producer="means 1")
    assert (again.written, again.found) == (0, 192)
    assert [(line.name, line.rows, line.width) for line in data.columns("default")] == [("color", 192, 3)]


def test_a_column_of_single_numbers(data):
    data.write_column("default", "bright", brightness, producer="mean", dtype="float16")
    bright = PairDataset(data).column("bright")
    assert (bright.shape, bright.dtype) == ((192,), np.float16)
    assert np.allclose(bright[:], expected_means(PairDataset(data)).mean(1), rtol=2e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [0, 1, 7])
def test_every_type_and_width_comes_back(data, dtype, width, small_chunks):
    rng = np.random.default_rng(0)
    values = (rng.integers(0, 2, (192, width) if width else 192) * 100).astype(dtype)
    data.write_column("default", "x", values, producer="p")
    found = PairDataset(data).column("x")
    assert found.dtype == np.dtype(dtype) and np.array_equal(np.asarray(found), values)
    files = sorted((data.root / "columns").glob("*/*/*.npy"))
    assert len(files) == 4
    assert np.array_equal(np.concatenate([np.load(path, allow_pickle=False) for path in files]), values)
    assert not data.verify(deep=True)


def test_batches_and_items_carry_columns(data):
    values = np.random.default_rng(0).normal(size=(192, 4)).astype(np.float16)
    data.write_column("default", "teacher", values, producer="t")
    data.write_column("default", "good", np.arange(192) % 3 == 0, producer="q")
    dataset = PairDataset(data, columns=["teacher", "good"])
    loaders = [
        PairLoader(PairDataset(data), 16, seed=2, columns=["teacher", "good"], workers=1),
        PairLoader(dataset, 16, seed=2, threads=2),
        DataLoader(dataset, 16, collate_fn=collate),
        DataLoader(dataset, 16, num_workers=1, multiprocessing_context="spawn"),
    ]
    for loader in loaders:
        seen = 0
        for batch in loader:
            held = batch["columns"] if isinstance(batch, dict) else batch.columns
            rows = batch["row"] if isinstance(batch, dict) else batch.row_b
            assert held["teacher"].dtype == torch.float16 and held["good"].dtype == torch.bool
            assert np.array_equal(held["teacher"].numpy(), values[rows])
            assert np.array_equal(held["good"].numpy(), rows.numpy() % 3 == 0)
            seen += len(rows)
        assert seen == 192
    loaders[0].close()
    batch = dataset.batch([1, 2, 3], 0)
    assert batch.to("cpu").columns.keys() == batch.as_float().columns.keys() == {"teacher", "good"}
    assert np.array_equal(batch.part(slice(1, 3)).columns["teacher"].numpy(), values[2:4])
    assert "columns" not in PairDataset(data)[0]
    with pytest.raises(SpecError, match=r"no column 'teachr'.*did you mean 'teacher'"):
        PairLoader(dataset, 16, columns=["teachr"])


def test_a_split_or_filtered_view_reads_its_own_rows(folder):
    parts = {face.key: "dev" if face.label < "id006" else "train" for face in ToySource().faces()}
    make_pairs(ingest(WithSplits(ToySource(), parts)), store=folder / "s")
    store = Store(folder / "s")
    values = np.arange(192, dtype=np.int32)
    store.write_column("default", "number", values, producer="p")
    whole, dev = PairDataset(store), PairDataset(store, "default", "dev")
    by_key = {whole.key(position): int(value) for position, value in enumerate(whole.column("number")[:])}
    assert len(dev) == 48
    assert [by_key[dev.key(position)] for position in range(48)] == dev.column("number")[:].tolist()


def test_values_of_a_view_that_shows_less_are_missing_elsewhere(folder, small_chunks):
    make_pairs(ingest(), store=folder / "s", view=ViewOptions("some", ids=("id001", "id006")))
    make_pairs(ingest(), store=folder / "s", view=ViewOptions("all"))
    store = Store(folder / "s")
    done = store.write_column("some", "x", np.arange(16.0), producer="p")
    assert (done.written, done.found) == (16, 0)
    assert PairDataset(store, "some").column("x")[:].tolist() == list(range(16))
    everything = PairDataset(store, "all").column("x")
    with pytest.raises(DataError, match="176 rows have no value"):
        everything[:]
    assert not store.verify()
    assert store.write_column("some", "x", np.arange(16.0), producer="p").found == 16
    with pytest.raises(SpecError, match="holds other values"):
        store.write_column("all", "x", np.arange(192.0), producer="p")


def test_one_name_of_two_producers_is_asked_for_by_both(data):
    for number in (1, 2):
        data.write_column("default", "x", np.full(192, number), producer=f"p{number}")
    dataset = PairDataset(data)
    with pytest.raises(SpecError, match=r"2 columns are called 'x'.*p1, p2"):
        dataset.column("x")
    assert dataset.column("x", "p2")[0] == 2
    with pytest.raises(SpecError, match="no column 'x' by 'p3'"):
        dataset.column("x", "p3")
    assert data.drop_column("default", "x", "p1") == 1
    assert dataset.column("x")[0] == 2
    assert data.drop_column("default", "x") == 1 and data.columns() == ()
    with pytest.raises(SpecError, match="no column 'x'"):
        data.drop_column("default", "x")


WRONG = [
    ({"name": "../x"}, "no name for a column"),
    ({"name": "a-b"}, "no name for a column"),
    ({"name": ""}, "no name for a column"),
    ({"name": 3}, "the name of a column"),
    ({"producer": ""}, "what computed it"),
    ({"dtype": "complex64"}, "cannot hold complex64"),
    ({"dtype": "floot16"}, "did you mean 'float16'"),
    ({"values": np.zeros(191)}, r"\[191\] for 192 rows"),
    ({"values": np.zeros((192, 2, 2))}, "for 192 rows"),
    ({"values": np.zeros((192, 0))}, "for 192 rows"),
    ({"values": np.array(["a"] * 192)}, "cannot hold str"),
    ({"values": np.array([None] * 192)}, "cannot hold object"),
    ({"values": np.full(192, 1e6), "dtype": "float16"}, "float16 does not hold"),
    ({"values": np.full(192, 300), "dtype": "uint8"}, "uint8 does not hold"),
    ({"values": np.full(192, 0.5), "dtype": "int8"}, "int8 does not hold"),
    ({"values": np.full(192, np.nan), "dtype": "int8"}, "int8 does not hold"),
    ({"values": lambda images: np.zeros(3)}, r"gave float64 \[3\] for 192 images"),
    ({"values": lambda images: None}, "for 192 images"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_a_column_is_refused_and_leaves_nothing(data, change, message):
    wish = {"name": "x", "values": np.zeros(192), "producer": "p", **change}
    with pytest.raises(SpecError, match=message):
        data.write_column("default", wish.pop("name"), wish.pop("values"), **wish)
    assert data.columns() == () and not data.verify()
    data.gc()
    assert not list((data.root / "columns").glob("*/*"))


def test_other_values_of_one_producer_are_refused(data):
    values = np.arange(192, dtype=np.float32)
    values[3] = np.nan
    data.write_column("default", "x", values, producer="p")
    assert data.write_column("default", "x", values, producer="p").found == 192
    for other in (values + 1, values[:, None], values.astype(np.float64) + 1e-9):
        with pytest.raises(SpecError, match="other values"):
            data.write_column("default", "x", other, producer="p")
    with pytest.raises(SpecError, match=r"is \[\('float32', 0\)\], not float16"):
        data.write_column("default", "x", brightness, producer="p", dtype="float16")


def _write_slowly(images):
    time.sleep(0.2)
    return means(images)


def _killed_at(data, number):
    """Write a column in a process that ends at its operation of a number; return whether it came so far."""

    def work():
        column_write.CHUNK_ROWS = 16
        with injected(Shim(data.root, number, die=True)):
            Store(data.root).write_column("default", "color", means, producer="m")

    _, status = os.waitpid(forked(work), 0)
    return os.waitstatus_to_exitcode(status) == 77


def test_a_write_that_is_killed_goes_on(data):
    """Killed at its first operation, at its second, and so on: what was committed stays, the end is one write's."""
    committed = []
    for number in itertools.count(1):
        if not _killed_at(data, number):
            break
        committed.append(len(list((data.root / "columns").glob("*/*/*.npy"))))
        assert data.columns() == () or committed[-1] == 12
    assert committed == sorted(committed) and committed[0] == 0 and len(set(committed)) > 4
    dataset = PairDataset(data)
    assert np.array_equal(dataset.column("color")[:], expected_means(dataset))
    assert not data.verify(deep=True)


def some_rows(data, rows, function=means, runner=None):
    base = PairDataset(data).view.parts[0].base
    wanted = {base: np.isin(np.arange(192), rows)}
    return write_column(data, [base], ("color", "m"), function, wanted=wanted, runner=runner)


def test_rows_of_a_column_are_computed_where_they_are_missing(data, small_chunks, monkeypatch):
    monkeypatch.setattr(column_rows, "PART_ROWS", 7)
    dataset, seen = PairDataset(data), []
    expected = expected_means(dataset)

    def counted(images):
        seen.append(len(images))
        return means(images)

    first, more = [3, 60, 61, 190], [*range(50, 70), 120]
    assert some_rows(data, first, counted).written == 4
    files = sorted((data.root / "columns").glob("*/*/0*.npy"))
    column = dataset.column("color")
    assert np.array_equal(column[first], expected[first]) and sum(seen) == 4
    with pytest.raises(DataError, match="1 rows have no value, the first is row 4"):
        column[[3, 4]]
    found = some_rows(data, more, counted)
    assert (found.written, found.found, sum(seen)) == (19, 2, 23)
    both = sorted({*first, *more})
    assert np.array_equal(dataset.column("color")[both], expected[both])
    kept = {path.name for path in (data.root / "columns").glob("*/*/0*.npy")}
    assert [path.name in kept for path in files] == [True, False, False, True]  # rows 50 to 149 have changed
    assert np.array_equal(column[first], expected[first])  # by who opened it before
    assert some_rows(data, both, counted).written == 0 and not data.verify(deep=True)
    carried = carried_column(data)
    assert np.array_equal(carried.has(np.arange(192)), np.isin(np.arange(192), both))
    assert data.write_column("default", "color", counted, producer="m").written == 192 - len(both)
    assert np.array_equal(dataset.column("color")[:], expected)
    assert np.array_equal(column[first], expected[first])
    data.drop_column("default", "color")
    some_rows(data, first)
    with pytest.raises(DataError, match="several types or widths"):
        some_rows(data, more, brightness)


def carried_column(data):
    """The column, read anew."""
    base = PairDataset(data).view.parts[0].base
    return BaseColumn(
        ColumnPlace(data, base, "color", "m").folder,
        ColumnManifest.read(ColumnPlace(data, base, "color", "m").manifest),
    )


def _grow(root, pipe):
    column_rows.PART_ROWS, column_rows.CHUNK_ROWS = 16, 32
    pipe.send("go")
    some_rows(Store(root), np.arange(0, 192, 2), _write_slowly)


def test_a_column_that_grows_is_the_old_one_or_the_new_one(data, monkeypatch):
    """Killed while it computes, and after every file that it writes at the end."""
    monkeypatch.setattr(column_rows, "PART_ROWS", 16)
    monkeypatch.setattr(column_rows, "CHUNK_ROWS", 32)
    some_rows(data, [5, 100])
    expected, context = expected_means(PairDataset(data)), multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_grow, args=(data.root, there))
    child.start()
    here.recv()
    end = time.monotonic() + 60
    while not (staged := list((data.root / "columns").glob("*/*-*-*/*.npy"))) and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert 0 < len(staged) < 6
    even = np.arange(0, 192, 2)
    for moment in range(20):
        done = []

        def stop(*args, done=done, moment=moment, write=column_write.write_atomic, **more):
            if len(done) == moment:
                raise KeyboardInterrupt
            done.append(write(*args, **more))

        with monkeypatch.context() as patch:
            patch.setattr(column_write, "write_atomic", stop)
            try:
                some_rows(data, even)
                break
            except KeyboardInterrupt:
                column = PairDataset(data).column("color")
                assert np.array_equal(column[[5, 100]], expected[[5, 100]])
    both = sorted({5, 100, *even.tolist()})
    assert moment > 6 and np.array_equal(PairDataset(data).column("color")[both], expected[both])
    assert not data.verify(deep=True) and not _unfinished(data)
    assert len(list((data.root / "columns").glob("*/*/*.npy"))) == 7


def test_what_a_broken_write_left_is_checked_and_cleared(data, monkeypatch):
    """Chunks of an earlier write are taken when they are whole, and damaged or foreign ones are not."""
    monkeypatch.setattr(column_write, "CHUNK_ROWS", 50)
    data.write_column("default", "color", means, producer="m")
    folder = next((data.root / "columns").glob("*/*"))
    (folder / "manifest.json").unlink()
    first, second, *_ = sorted(folder.glob("*.npy"))
    kept = first.stat().st_mtime_ns
    content = bytearray(second.read_bytes())
    content[-1] ^= 1
    second.write_bytes(content)
    assert [path.name for path in _unfinished(data)] == [folder.name]
    data.write_column("default", "color", means, producer="m")
    assert first.stat().st_mtime_ns == kept and not data.verify()
    dataset = PairDataset(data)
    assert np.array_equal(dataset.column("color")[:], expected_means(dataset))
    (folder / "manifest.json").unlink()
    assert str(folder.relative_to(data.root)) in data.gc().removed and not folder.exists()


def _unfinished(store):
    from lrfr.pairs.care.verify import unfinished

    return unfinished(store)


@pytest.mark.slow
def test_workers_write_the_same_bytes(data, folder):
    data.write_column("default", "color", means, producer="m")
    shutil.copytree(data.root, folder / "copy")
    copy = Store(folder / "copy")
    copy.drop_column("default", "color")
    copy.write_column("default", "color", means, producer="m", runner=Runner("process", 2, start="spawn"))
    assert data.diff(copy) == []
    files = [
        {path.name: path.read_bytes() for path in store.root.glob("columns/*/*/*")} for store in (data, copy)
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "longer", "other"])
def test_damage_is_found_by_verify_and_never_read(data, damage, small_chunks):
    values = np.arange(192, dtype=np.float32)
    data.write_column("default", "x", values, producer="p")
    path = sorted((data.root / "columns").glob("*/*/*.npy"))[1]
    content = path.read_bytes()
    changed = {
        "flip": content[:-1] + bytes([content[-1] ^ 1]),
        "cut": content[:-4],
        "longer": content + b"\0",
        "other": b"\0" * len(content),
    }
    path.unlink() if damage == "gone" else path.write_bytes(changed[damage])
    findings = data.verify()
    assert [finding.file for finding in findings] == [str(path)]
    column = PairDataset(data).column("x")
    assert np.array_equal(column[:50], values[:50])
    with pytest.raises(DataError, match="x-"):
        column[50:60]


def test_a_damaged_manifest_is_an_error_with_its_file(data):
    data.write_column("default", "x", np.zeros(192), producer="p")
    path = next((data.root / "columns").glob("*/*/manifest.json"))
    path.write_bytes(path.read_bytes().replace(b'"rows":192', b'"rows":191'))
    with pytest.raises(DataError, match=r"manifest\.json"):
        PairDataset(data).column("x")
    assert [finding.file for finding in data.verify()] == [str(path)]


def test_a_column_pickles_and_crosses_a_fork(data):
    values = np.random.default_rng(0).normal(size=(192, 3))
    data.write_column("default", "x", values, producer="p")
    column = PairDataset(data).column("x")
    assert np.array_equal(column[3], values[3])
    assert np.array_equal(pickle.loads(pickle.dumps(column))[:], values)
    assert len(pickle.dumps(column)) < 5000


def test_gc_keeps_columns_of_bases_in_use_and_removes_the_others(folder):
    build(folder / "s")
    store = Store(folder / "s")
    store.write_column("default", "x", np.zeros(192), producer="p")
    assert not store.gc().removed
    build(folder / "s", source=ToySource(salt=1))  # the view shows another base now
    kinds = [path.split("/")[0] for path in store.gc().removed]
    # what names a base goes before it
    assert list(dict.fromkeys(kinds)) == ["columns", "lr", "base"] and store.columns() == ()


def test_rows_that_are_forgotten_or_merged_take_their_values_along(folder, small_chunks):
    """Two stores, and one that holds half of the first and all of the second."""
    sources = {"a": ToySource(ids=24, per_id=8), "b": ToySource(ids=10, per_id=3, salt=9)}
    datasets = {}
    for name, source in sources.items():
        build(folder / name, source=source)
        store = Store(folder / name)
        store.write_column("default", "color", means, producer="m")
        store.write_column("default", "only_" + name, np.zeros(len(PairDataset(store))), producer="z")
        datasets[name] = PairDataset(store)
    build(folder / "c", source=ToySource(ids=40, per_id=4, salt=7))
    target = Store(folder / "c")
    base = PairDataset(target).view.parts[0].base
    rng = np.random.default_rng(0)
    origin = np.r_[np.zeros(130, np.int64), np.ones(30, np.int64)]
    row = np.r_[rng.permutation(192)[:130], rng.permutation(30)]
    mix = rng.permutation(160)
    origin, row = origin[mix], row[mix]
    origins = [Origin(Store(folder / name), datasets[name].view.parts[0].base) for name in "ab"]
    done = carry_columns(target, base, origins, origin, row)
    assert done.carried == (("color", "m"),)
    assert done.left == (("only_a", "z"), ("only_b", "z"))
    found = PairDataset(target).column("color")[:]
    pools = [np.asarray(datasets[name].column("color")) for name in "ab"]
    expected = np.stack([pools[one][place] for one, place in zip(origin, row, strict=True)])
    assert np.array_equal(found, expected) and not target.verify()
    # a row that is new altogether has nothing to bring
    assert carry_columns(target, base, origins, np.where(row == 0, -1, origin), row).carried == ()


def test_a_view_that_has_grown_computes_what_is_new(folder):
    """By a function and by an array over the new positions, which run through the parts in an order of their own."""
    root, calls = folder / "s", []

    def counted(images):
        calls.append(len(images))
        return means(images)

    write(root, Some(keep=(0, 1, 2, 3, 4, 5)))
    store = Store(root)
    store.write_column("default", "color", counted, producer="m")
    before = np.asarray(PairDataset(store).column("color"))
    store.write_column("default", "given", before, producer="g")
    extend(root, Some(keep=(6, 7)))
    old, count = len(before), len(PairDataset(store))
    for name in ("color", "given"):
        with pytest.raises(DataError, match="missing for 1 of 2 parts"):
            PairDataset(store).column(name)
    done = store.write_column("default", "color", counted, producer="m")
    assert (done.written, done.found) == (count - old, old) and sum(calls) == count > old
    dataset = PairDataset(store)
    expected = expected_means(dataset)
    assert np.array_equal(dataset.column("color")[:], expected)
    done = store.write_column("default", "given", expected, producer="g")
    assert (done.written, done.found) == (count - old, old)
    assert np.array_equal(PairDataset(store).column("given")[:], expected) and not store.verify()


def test_a_base_that_a_view_has_grown_by_is_computed_alone(folder):
    """Bases are what a view is made of; positions run through them."""
    build(folder / "s")
    build(folder / "s", source=ToySource(ids=5, salt=3))
    store = Store(folder / "s")
    small, large = sorted(store.bases(), key=lambda base: store.base_manifest(base).rows)
    write_column(store, [large], ("color", "m"), means)
    done = write_column(store, [large, small], ("color", "m"), means)
    assert (done.written, done.found) == (40, 192)
    columns = []
    for base in (large, small):
        place = ColumnPlace(store, base, "color", "m")
        columns.append(BaseColumn(place.folder, ColumnManifest.read(place.manifest)))
    rows = np.random.default_rng(0).permutation(232)
    both = np.concatenate([column.take(np.arange(len(column))) for column in columns])
    assert np.array_equal(RowArray(columns, rows)[:], both[rows])


@pytest.fixture
def with_two(folder):
    """Return a grown view with a number and three numbers for every face, in its order."""
    write(folder / "s", Some(keep=(0, 1)))
    extend(folder / "s", Some(keep=(2,)))
    store, count = Store(folder / "s"), len(PairDataset(folder / "s"))
    three = np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)
    numbers = np.arange(count, dtype=np.int16)
    store.write_column("default", "three", three, producer="test")
    store.write_column("default", "number", numbers, producer="test")
    return store, three, numbers


def test_columns_leave_with_folders_in_the_order_of_their_lines(with_two, tmp_path):
    store, three, numbers = with_two
    store.export(tmp_path / "out", columns=["three", "number"])
    keys = [PairDataset(store).key(row).decode() for row in range(len(numbers))]
    for part in ("hr", "toy.v0"):
        lines = (tmp_path / "out" / part / "metadata.jsonl").read_text().splitlines()
        assert [json.loads(line)["key"] for line in lines] == keys
    for name, array in (("three", three), ("number", numbers)):
        found = np.load(tmp_path / "out" / "columns" / f"{name}.npy", allow_pickle=False)
        assert found.dtype == array.dtype and np.array_equal(found, array)
    # what is read back is as without them
    assert len(open_source(str(tmp_path / "out" / "hr")).faces()) == len(keys)


def test_columns_leave_with_the_samples_of_archives(with_two, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    store, three, numbers = with_two
    store.export(tmp_path / "out", form="webdataset", columns=["three", "number"])
    samples = list(webdataset.WebDataset(str(tmp_path / "out/pairs-00000.tar"), shardshuffle=False).decode())
    assert np.array_equal(np.stack([sample["three.npy"] for sample in samples]), three)
    assert np.array_equal([sample["number.npy"] for sample in samples], numbers)
    listing = open_source(f"tar:{tmp_path / 'out'}").listing()
    assert sorted(face.key for face in listing.faces) == sorted(
        PairDataset(store).key(row).decode() for row in range(len(numbers))
    )


def test_columns_leave_with_parquet_as_datasets_reads_it(with_two, tmp_path):
    datasets = pytest.importorskip("datasets")
    store, three, numbers = with_two
    store.export(tmp_path / "out", form="parquet", columns=["three", "number"])
    path = str(tmp_path / "out/data/pairs-00000.parquet")
    found = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "cache"))
    assert np.array_equal(np.array(found["column_three"], np.float32), three)
    assert np.array_equal(found["column_number"], numbers)
    assert found.features["column_number"].dtype == "int16"
    # numbers that are 0 and 1 are no attributes when it is read back
    assert {name for face in open_source(path).faces() for name in face.attributes} <= {"Odd"}


def test_columns_that_cannot_leave_are_refused(with_two, tmp_path):
    store = with_two[0]
    with pytest.raises(SpecError, match="no place for columns"):
        store.export(tmp_path / "x.bin", form="bin", columns=["three"])
    with pytest.raises(SpecError, match="no column 'thre'"):
        store.export(tmp_path / "out", columns=["thre"])
    assert not (tmp_path / "out").exists()
