"""make-pairs: the same bytes from every executor, nothing made twice, ids that depend on what matters and on
nothing else.
"""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lrfr.core.errors import DataError, EnvironmentFault, LockedError, LrfrError, SpecError
from lrfr.core.lock import store_lock
from lrfr.core.progress import Hooks, Stopped
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.care.inventory import gc
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.shard import MAP_SIZE
from lrfr.pairs.format.shard_layout import MAX_SHARD_ROWS, rows_per_shard
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.toy import SPEC, ToySource, build, ingest, tree


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_process_pools_write_the_bytes_of_a_serial_run(folder, store, workers, start):
    if start == "forkserver" and workers != 2:
        pytest.skip("one start of the server is enough")
    build(folder / "pool", runner=Runner("process", workers=workers, start=start))
    assert tree(folder / "pool") == tree(store)


def test_scratch_folder_changes_nothing(folder, store):
    (folder / "local").mkdir()
    build(folder / "other", runner=Runner("serial", scratch=folder / "local"))
    assert tree(folder / "other") == tree(store)
    assert not list((folder / "local").iterdir())


_RUN = """
import sys
sys.path.insert(0, {tests!r})
import cv2
cv2.setNumThreads({threads})
from pathlib import Path
from tests.pairs.toy import build
build(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "case",
    [
        {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
        {
            "PYTHONHASHSEED": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "Asia/Kathmandu",
            "LMDB_DEFAULT_LIB_VERSION": "1",
            "umask": "077",
            "threads": "2",
        },
        {
            "PYTHONHASHSEED": "random",
            "LC_ALL": "tr_TR.UTF-8",
            "TZ": "America/St_Johns",
            "umask": "002",
            "cwd": "/",
        },
    ],
)
def test_surroundings_change_nothing(folder, store, case):
    case = dict(case)
    umask, cwd, threads = case.pop("umask", "022"), case.pop("cwd", str(folder)), case.pop("threads", "1")
    code = _RUN.format(tests=str(Path(__file__).parents[2]), threads=threads)
    environment = {**os.environ, **case, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-c", code, str(folder / "other")],
        check=True,
        cwd=cwd,
        env=environment,
        umask=int(umask, 8),
        timeout=120,
    )
    assert tree(folder / "other") == tree(store)


def test_a_second_run_makes_nothing(store, monkeypatch):
    monkeypatch.setattr("lrfr.degrade.pipeline.Pipeline.run", lambda *_: pytest.fail("an image was degraded"))
    monkeypatch.setattr(
        "lrfr.pairs.build.prepare.Prepare.jpeg", lambda *_: pytest.fail("an image was encoded")
    )
    before = tree(store)
    done = build(store)
    assert (done.done.hr_written, done.done.lr_written) == (0, 0)
    assert tree(store) == before


def test_missing_shards_are_made_again_alone(store):
    before = tree(store)
    lost = next(store.rglob("lr-00001.mdb"))
    lost.unlink()
    assert build(store).done.lr_written == 64
    assert tree(store) == before


def ids_of(root):
    store = Store(root)
    return store.bases(), store.variants()


def test_ids_depend_on_content_only(folder, store):
    base, action = ids_of(store)
    build(
        folder / "renamed",
        spec=SPEC.replace("name: toy", "name: other").replace("version: 1", "version: 1\nvariants: 1"),
    )
    assert ids_of(folder / "renamed") == (base, action)
    build(folder / "seed", spec=SPEC.replace("seed: 3", "seed: 4"))
    assert ids_of(folder / "seed")[0] == base and ids_of(folder / "seed")[1] != action
    build(folder / "pixels", source=ToySource(salt=1))
    assert ids_of(folder / "pixels")[0] != base and ids_of(folder / "pixels")[1] != action


class Relabeled(ToySource):
    """The same faces under other names."""

    def faces(self):
        from dataclasses import replace

        return [replace(face, label="x" + face.label) for face in super().faces()]


def test_new_labels_share_degraded_pixels(folder, store):
    """Another label array is another base, but the degraded variants are found: they depend on pixels and
    keys only.
    """
    done = build(store, source=Relabeled())
    assert len(Store(store).bases()) == 2
    assert done.done.lr_written == 0


def test_order_of_listing_does_not_matter(folder, store):
    class Backwards(ToySource):
        def faces(self):
            return super().faces()[::-1]

    build(folder / "other", source=Backwards())
    assert tree(folder / "other") == tree(store)


def test_rows_are_strangers(store):
    labels = PairDataset(store).labels
    assert (labels[1:] == labels[:-1]).mean() < 0.15


def test_sizes(folder):
    """HR stays within 1.03 of its payload, raw LR of 14 px within 1.10 (records of 6 kB and 588 B)."""
    from lrfr.pairs.format.records import JPEG, RAW, Record
    from lrfr.pairs.format.shard import ShardPlace, write_shard

    rng = np.random.default_rng(0)
    (folder / "tmp").mkdir()
    for name, codec, side, sizes, block, limit in (
        ("hr-00000", JPEG, 112, rng.integers(5500, 6900, 4096), 32, 1.03),
        ("lr-00000", RAW, 14, np.full(8192, 588), 64, 1.10),
    ):
        records = (Record(row, codec, side, side, rng.bytes(int(size))) for row, size in enumerate(sizes))
        sidecar = write_shard(
            ShardPlace(folder, name, "0123456789abcdef", 0, len(sizes), block), records, folder / "tmp"
        )
        assert sidecar.bytes <= limit * sizes.sum(), name
    assert MAP_SIZE == 1 << 30


def test_rows_per_shard_is_a_function_of_rows_and_bytes():
    assert rows_per_shard(10**7, 18_880) == MAX_SHARD_ROWS
    for rows in (490_000, 10**6, 6 * 10**6):
        shards = -(-rows // rows_per_shard(rows, 18_880))
        assert shards / (-(-shards // 64) * 64) > 0.9, "64 workers wait for the last shards"
    assert rows_per_shard(20_000, 18_880) == 2048
    assert rows_per_shard(192, 448) == 64
    # 70,000 faces of 1,024 px: a shard stays below half a GiB whatever its records hold
    assert rows_per_shard(70_000, 3 * 1024 * 1024 // 2) * 3 * 1024 * 1024 // 2 <= 1 << 29
    assert rows_per_shard(10**6, 1 << 30) == 64


def test_traces_ride_in_the_records(folder):
    done = make_pairs(ingest(), [parse_spec(SPEC)], store=folder / "s", options=MakeOptions(traces=True))
    dataset = PairDataset(folder / "s")
    trace = json.loads(bytes(dataset.lr[0].record(5).tail))
    assert trace["steps"][0]["params"]["size"] == dataset.lr[0].record(5).height
    assert done.done.variants[0][0].form.traces is True


def test_variants_are_different_draws(folder):
    done = make_pairs(ingest(), [parse_spec(SPEC)], store=folder / "s", options=MakeOptions(variants=3))
    assert len(done.variants) == len({manifest.id for manifest in done.done.variants[0]}) == 3
    assert [variant.weight for variant in done.variants] == pytest.approx([1 / 3] * 3)
    heights = [[reader.record(row).height for row in range(64)] for reader in PairDataset(folder / "s").lr]
    assert heights[0] != heights[1] != heights[2]


def test_a_held_lock_names_its_holder(store):
    code = f"""
import time
from pathlib import Path
from lrfr.core.lock import store_lock
with store_lock(Path({str(store)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"pid {holder.pid} on host {os.uname().nodename}") as caught:
            build(store)
        assert caught.value.exit_code == 4
    finally:
        holder.kill()
        holder.wait()
    build(store)
    with store_lock(store):
        pass


def test_on_a_full_disk_a_lock_is_held_all_the_same(tmp_path, monkeypatch):
    """What makes room needs it, too; who holds it is not written down then."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with store_lock(tmp_path / "store"):
        held = os.open(tmp_path / "store" / ".lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(held)


def test_two_builders_race_and_one_wins(folder, store):
    """Both start at once in one folder: the store is whole, and who loses says who holds the lock."""
    from tests.pairs.faults import forked

    root = folder / "race"
    codes = [
        os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for pid in [forked(lambda: build(root)) for _ in range(3)]
    ]
    assert 0 in codes
    assert verify(Store(root), deep=True) == []
    assert tree(root) == tree(store)


def test_stop_finishes_running_shards_and_goes_on_later(folder, store):
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped):
        build(folder / "s", runner=Runner("serial", hooks=Hooks(should_stop=lambda: next(asked))))
    finished = list((folder / "s").rglob("*.mdb"))
    assert 0 < len(finished) < 6
    assert not list((folder / "s" / "tmp").iterdir())
    build(folder / "s")
    assert tree(folder / "s") == tree(store)


def test_progress_counts_images(folder):
    seen = []
    build(
        folder / "s",
        runner=Runner(
            "serial",
            hooks=Hooks(lambda done, total, **info: seen.append((info["phase"], done, total))),
        ),
    )
    assert ("HR", 192, 192) in seen and ("toy.v0", 192, 192) in seen
    assert ("HR", 64, 192) in seen


def test_wrong_requests_write_nothing(folder):
    big = parse_spec(SPEC.replace("image: {size: 16}", "image: {size: 32}"))
    for request in (
        lambda: make_pairs(ingest(), [big], store=folder / "s"),
        lambda: make_pairs(ingest(), [parse_spec(SPEC)], store=folder / "s", view=ViewOptions("../out")),
        lambda: make_pairs(
            ingest(), [parse_spec(SPEC)], store=folder / "s", view=ViewOptions(weights=(1.0, 2.0))
        ),
        lambda: make_pairs(
            ingest(), [parse_spec(SPEC)], store=folder / "s", view=ViewOptions(weights=(-1.0,))
        ),
    ):
        with pytest.raises(SpecError):
            request()
    assert not (folder / "s").exists()


def test_scan_cache_saves_reading_and_is_never_trusted_blindly(tmp_path, folder, monkeypatch):
    from lrfr.pairs.sources.folder import FolderSource
    from tests.pairs.toy import ingest as toy_ingest
    from tests.pairs.zoo import picture, save

    root = tmp_path / "faces"
    for index in range(3):
        (root / f"id{index}").mkdir(parents=True)
        (root / f"id{index}" / "a.png").write_bytes(save(picture(index), "PNG"))
    time.sleep(0.15)  # what is younger than a tick of the clock is not remembered
    reads = []
    real = FolderSource.read
    monkeypatch.setattr(FolderSource, "read", lambda self, place: reads.append(place) or real(self, place))
    store = Store(folder / "s")
    first = make_pairs(toy_ingest(FolderSource(root)), [], store=store)
    reads.clear()
    assert make_pairs(toy_ingest(FolderSource(root)), [], store=store).parts == first.parts
    assert reads == []
    time.sleep(0.02)
    (root / "id1" / "a.png").write_bytes(save(picture(9), "PNG"))
    assert make_pairs(toy_ingest(FolderSource(root)), [], store=store).parts != first.parts
    assert set(reads) == {"id1/a.png"}, "the others are there: only what is new is read again"
    reads.clear()
    make_pairs(toy_ingest(FolderSource(root)), [], store=store)
    assert reads == ["id1/a.png"], (
        "written again a moment before: its times may stay when it changes once more"
    )
    cache = next((folder / "s" / "cache").iterdir())
    cache.write_text("{broken")
    told = make_pairs(toy_ingest(FolderSource(root)), [], store=store).done.warnings
    assert "scan cache" in told[-1]
    assert not make_pairs(toy_ingest(FolderSource(root)), [], store=store).done.warnings


def test_the_card_states_the_license_of_every_spec(folder):
    from lrfr.pairs.care.data_card import card

    licensed = parse_spec(SPEC.replace("name: toy", "name: toy\nlicense: CC BY 4.0"))
    make_pairs(ingest(), [licensed, parse_spec(SPEC.replace("seed: 3", "seed: 4"))], store=folder / "s")
    text = card(Store(folder / "s"), "default")
    assert text.count("license stated in the spec: CC BY 4.0") == 1
    assert text.count("license stated in the spec: not stated") == 1
    by_kind = parse_spec(
        SPEC.replace("name: toy", "name: toy\nlicense: {toy: for tests only, lfw: other terms}")
    )
    make_pairs(ingest(), [by_kind], store=folder / "s", view=ViewOptions("kinds"))
    assert "license stated in the spec: for tests only\n" in card(Store(folder / "s"), "kinds")
    build(folder / "plain")
    plain, view = Store(folder / "plain"), Store(folder / "s").view("default")
    assert view.parts[0].lr[0] == plain.view("default").parts[0].lr[0], "a license changes no pixel and no id"
    for phrase in (
        "192 of 192 images, 24 identities",
        view.parts[0].base,
        view.variants[0].spec_digest,
        '"op": "down"',
    ):
        assert phrase in text


def test_collecting_needs_the_views(store, monkeypatch):
    """A folder of views that is away, or cannot be listed, says nothing of what is used."""
    before = tree(store)
    os.rename(store / "views", store.parent / "views")
    for make in (lambda: None, (store / "views").mkdir):
        make()
        with pytest.raises(DataError, match="no view"):
            gc(store)
    (store / "views").rmdir()
    os.rename(store.parent / "views", store / "views")
    scandir = os.scandir

    def denied(path):
        if Path(path).name == "views":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(EnvironmentFault, match="cannot be listed"):
        gc(store)
    monkeypatch.undo()
    assert tree(store) == before


def test_no_folder_of_a_store_is_followed_out_of_it(store, folder):
    """Whoever forges a store may put a link in place of each of its folders."""
    elsewhere, source = folder / "elsewhere", ToySource()
    for part in ("base", "lr", "views", "masks", "reports", "cache", "tmp", "columns", "forgotten"):
        elsewhere.mkdir()
        (elsewhere / "kept").touch()
        if (store / part).exists():
            (store / part).rename(store.parent / f"aside-{part}")
        (store / part).symlink_to(elsewhere)
        for work in (lambda: build(store, source), lambda: gc(store), lambda: Store(store).repair()):
            with suppress(LrfrError):
                work()
        assert [path.name for path in elsewhere.iterdir()] == ["kept"], part
        (store / part).unlink()
        if (store.parent / f"aside-{part}").exists():
            (store.parent / f"aside-{part}").rename(store / part)
        shutil.rmtree(elsewhere)
