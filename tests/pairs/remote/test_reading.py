"""Reading a store at an address: equal bytes, a cache that is whole or absent, faults with the address."""

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import lrfr
from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.lock import ORIGIN
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.remote import mirror, shard_cache
from lrfr.pairs.format.remote.address import Address
from lrfr.pairs.format.remote.store_index import StoreIndex, rank_of, write_index
from lrfr.pairs.store import Store
from tests.pairs.remote.conftest import batches
from tests.pairs.toy import ToySource, build
from tests.train.conftest import FAST


def shards(cache):
    return sorted(cache.glob("lrfr-remote-1/*/*/*/*.mdb"))


@pytest.mark.parametrize("ranges", [False, True])
def test_http_reads_the_same_bytes_and_each_file_once(copied, serve, ranges):
    site = serve(copied / "site", ranges)
    expected = batches(copied / "store")
    assert batches(site.url, threads=2) == expected
    assert site.count(".mdb") == len(shards(copied / "cache")) == 6
    asked = len(site.asked)
    assert batches(site.url) == expected
    assert site.asked[asked:] == ["/store/index.json"]


def test_file_address(copied):
    assert batches(f"file://{copied}/site/store") == batches(copied / "store")


def test_object_stores_need_no_index(copied):
    (copied / "site" / "store" / "index.json").unlink()
    assert batches(f"file://{copied}/site/store") == batches(copied / "store")


def test_a_web_server_needs_one(copied, serve):
    (copied / "site" / "store" / "index.json").unlink()
    with pytest.raises(SpecError, match="there is no store here") as error:
        lrfr.PairDataset(serve(copied / "site").url)
    assert "lrfr store index" in error.value.hint


def test_listing_describing_and_verifying(copied, serve):
    site = serve(copied / "site")
    store = Store(site.url)
    assert store.info() == Store(copied / "store").info()
    assert store.describe("default").id == Store(copied / "store").describe("default").id
    assert store.columns() == Store(copied / "store").columns()
    assert store.verify() == [] and shards(copied / "cache") == []
    shard = next((copied / "site").glob("store/lr/*/lr-00001.mdb"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    (found,) = Store(site.url).verify()
    assert found.file == f"{site.url}/{shard.relative_to(copied / 'site' / 'store').as_posix()}"
    with pytest.raises(SpecError, match="needs a copy"):
        store.verify(deep=True)


def test_workers_and_spawned_readers(copied, serve):
    from torch.utils.data import DataLoader

    site = serve(copied / "site")
    expected = batches(copied / "store")
    dataset = lrfr.PairDataset(site.url)
    rows = [b.row_b.tolist() for b in DataLoader(dataset, 48, num_workers=1, collate_fn=lrfr.collate)]
    assert [row for batch in rows for row in batch] == list(range(192))
    with lrfr.PairLoader(lrfr.PairDataset(site.url), 32, seed=5, workers=1) as loader:
        assert [b.hr_bchw.numpy().tobytes() for b in loader] == [item[0] for item in expected]


@pytest.mark.parametrize("fault", ["die", "503", "wrong", "slow"])
def test_a_fault_that_passes_is_not_seen(copied, serve, fault):
    site = serve(copied / "site")
    site.fault = lambda path: fault if ".mdb" in path and site.count(path) == 1 else ""
    assert batches(site.url) == batches(copied / "store")


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("die", EnvironmentFault, "cannot be reached"),
        ("503", EnvironmentFault, "503"),
        ("wrong", DataError, "do not match their sha256"),
        ("long", DataError, "more than the"),
    ],
)
def test_a_fault_that_stays_is_told_with_its_address(copied, serve, fault, kind, words):
    site = serve(copied / "site")
    site.fault = lambda path: fault if "hr-00001.mdb" in path else ""
    with pytest.raises(kind, match=words) as error:
        batches(site.url)
    assert error.value.file.startswith(site.url) and error.value.file.endswith("hr-00001.mdb")
    assert not list((copied / "cache" / "tmp").iterdir())
    site.fault = None
    assert batches(site.url) == batches(copied / "store")


def test_damage_on_this_disk_is_fetched_anew(copied, serve):
    site = serve(copied / "site")
    expected = batches(site.url)
    REGISTRY.clear()
    for path in [*shards(copied / "cache"), *copied.glob("cache/lrfr-remote-1/*/base/*/labels.npy")]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    short = shards(copied / "cache")[0]
    short.write_bytes(short.read_bytes()[:100])
    assert batches(site.url) == expected
    assert site.count(".mdb") == 12


def test_without_network_what_is_cached_is_read(copied, serve):
    site = serve(copied / "site")
    expected = batches(site.url)
    REGISTRY.clear()
    site.stop()
    with pytest.warns(UserWarning, match="as it was last opened here"):
        assert batches(site.url) == expected
    os.environ["LRFR_CACHE_DIR"] = str(copied / "empty")
    with pytest.raises(EnvironmentFault, match="cannot be reached"):
        batches(site.url)


def test_a_grown_view_is_seen_and_what_left_the_store_leaves_the_cache(copied, serve):
    site = serve(copied / "site")
    batches(site.url)
    old = shards(copied / "cache")
    shutil.rmtree(copied / "site" / "store")
    shutil.rmtree(copied / "store")
    build(copied / "store", ToySource(salt=9))
    Store(copied / "store").copy("default", copied / "site" / "store")
    assert lrfr.PairDataset(site.url).digest == lrfr.PairDataset(copied / "store").digest
    assert not any(path.exists() for path in old)


def test_small_files_come_behind_what_they_name_and_go_before_it(copied, serve, monkeypatch):
    """They are fetched by several threads; the first of each kind is slow."""
    Store(copied / "store").forget(keys=["id003/1"])
    shutil.rmtree(copied / "site")
    Store(copied / "store").copy("default", copied / "site" / "store")
    site = serve(copied / "site")
    site.fault = lambda path: "slow" if "/base/" in path or ".npy" in path else ""
    came, gone, write, drop = [], [], mirror.write_whole, mirror._drop
    monkeypatch.setattr(mirror, "write_whole", lambda path, data: (came.append(path), write(path, data)))
    monkeypatch.setattr(mirror, "_drop", lambda path: (gone.append(path), drop(path)))
    root = Store(site.url).root

    def ranks(paths):
        inside = (path for path in paths if path.is_relative_to(root) and path.name != ORIGIN)
        return [rank_of(path.relative_to(root).as_posix()) for path in inside]

    assert ranks(came) == sorted(ranks(came)) and set(ranks(came)) == {2, 3, 4, 5, 6}
    (copied / "site" / "store" / "index.json").write_bytes(StoreIndex(()).seal())
    gone.clear()
    assert Store(site.url).views() == []
    assert ranks(gone) == sorted(ranks(gone), reverse=True) and set(ranks(gone)) == {2, 3, 4, 5, 6}


def test_a_place_that_is_written_to_while_it_is_opened_is_listed_again(copied, serve):
    site = serve(copied / "site")
    there = copied / "site" / "store"
    build(copied / "store", ToySource(ids=30))

    def late(path):
        if path.endswith("index.json") and site.count("index.json") == 1:
            Store(copied / "store").copy("default", there)
        return ""

    site.fault = late
    assert len(lrfr.PairDataset(site.url)) == 240
    assert site.count("index.json") == 2


def test_an_index_that_is_old_is_told(copied, serve):
    site = serve(copied / "site")
    view = copied / "site" / "store" / "views" / "default.json"
    view.write_bytes(view.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"larger than|do not match") as error:
        lrfr.PairDataset(site.url)
    assert error.value.file == f"{site.url}/views/default.json"


def test_nothing_leaves_the_cache(copied, serve):
    """An index or manifest that names other places is refused before anything is written."""
    site = serve(copied / "site")
    index = copied / "site" / "store" / "index.json"
    from lrfr.core.files import seal

    said = json.loads(index.read_bytes())
    for name in ("../../../evil", "/tmp/evil", "views/../../evil", "views/..", "base/x/../../evil", "a\\b"):
        said["files"][0]["path"] = name
        index.write_bytes(seal(said))
        with pytest.raises(DataError):
            lrfr.PairDataset(site.url)
    index.write_bytes(b"{}" * 10)
    with pytest.raises(DataError) as error:
        lrfr.PairDataset(site.url)
    assert error.value.file == f"{site.url}/index.json"
    assert not list(copied.rglob("evil"))


@pytest.mark.parametrize("name", ["/abs", "a/../b", "..", "a//b", "", "a\0b", "x" * 300])
def test_names_are_checked(name):
    with pytest.raises(DataError):
        Address("memory://x").of(name)


def test_addresses_hold_no_secrets():
    for url in ("https://user:geheim@host/store", "s3://key:geheim@bucket/x", "https://h/s?token=geheim"):
        with pytest.raises(SpecError) as error:
            Address(url)
        assert "geheim" not in str(error.value)
    with pytest.raises(SpecError, match="no address of a store"):
        Address("ftp://host/store")
    with pytest.raises(SpecError):
        Address("file:///a/../b")


def test_a_missing_package_is_one_line(copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(EnvironmentFault, match="gcsfs") as error:
        lrfr.PairDataset("gs://bucket/store")
    assert "lrfr[remote]" in error.value.hint


def test_writing_is_refused_in_one_line(copied, serve, capsys):
    from lrfr.cli.main import run
    from lrfr.degrade.spec.model import parse_spec
    from tests.pairs.toy import SPEC, ToySource

    site = serve(copied / "site")
    for act in (
        lambda: lrfr.make_pairs(ToySource(), parse_spec(SPEC), store=site.url),
        lambda: Store(site.url).gc(),
        lambda: Store(site.url).compact(),
        lambda: Store(site.url).repair(),
        lambda: Store(site.url).drop_column("default", "score"),
        lambda: Store(site.url).write_column("default", "n", list(range(192)), producer="x"),
    ):
        with pytest.raises(SpecError, match="only read"):
            act()
    assert run(["store", "gc", "--store", site.url]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run(["store", "ls", "--store", site.url, "--cache-dir", str(copied / "c2")]) == 0
    assert (copied / "c2" / "lrfr-remote-1").is_dir()


def test_the_cap_holds_and_what_is_in_use_stays(copied, serve, monkeypatch):
    site = serve(copied / "site")
    sizes = [path.stat().st_size for path in (copied / "site").rglob("*.mdb")]
    most = max(sizes) * 3
    monkeypatch.setenv("LRFR_CACHE_BYTES", str(most))
    dataset = lrfr.PairDataset(site.url)
    local = lrfr.PairDataset(copied / "store")
    for start in range(0, 192, 16):
        rows = range(start, start + 16)
        got, expected = dataset.batch(rows, 0), local.batch(rows, 0)
        assert got.hr_bchw.equal(expected.hr_bchw) and got.lr_bchw.equal(expected.lr_bchw)
        assert sum(path.stat().st_size for path in shards(copied / "cache")) <= most
    assert site.count(".mdb") >= 6


@pytest.mark.parametrize("threads", [0, 2])
def test_a_cache_of_one_shard_a_thread_is_enough(copied, serve, monkeypatch, threads):
    site = serve(copied / "site")
    largest = max(path.stat().st_size for path in (copied / "site").rglob("*.mdb"))
    monkeypatch.setenv("LRFR_CACHE_BYTES", str(largest * max(1, threads)))
    # an epoch in random order: every batch lies in all shards of HR and of the variant
    order = np.random.default_rng(0).permutation(192)
    dataset, local = lrfr.PairDataset(site.url), lrfr.PairDataset(copied / "store")
    for rows in np.split(order, 4):
        got, expected = dataset.batch(rows, 0), local.batch(rows, 0)
        assert got.hr_bchw.equal(expected.hr_bchw) and got.lr_bchw.equal(expected.lr_bchw)
    if not threads:
        for got, expected in zip(lrfr.PairLoader(dataset, 64), lrfr.PairLoader(local, 64), strict=True):
            assert got.hr_bchw.equal(expected.hr_bchw) and got.lr_bchw.equal(expected.lr_bchw)


def test_what_is_held_at_once_says_how_large_the_cache_must_be(copied, serve, monkeypatch):
    site = serve(copied / "site")
    dataset = lrfr.PairDataset(site.url)
    shards_of_hr = dataset.hr.shard_files(np.arange(192))
    sizes = [size for _, size, _ in shards_of_hr]
    rows = [64 * number for number in range(len(sizes))]
    assert len(sizes) == 3
    for most, works in ((sum(sizes), True), (sum(sizes) - 1, False)):
        REGISTRY.clear()
        monkeypatch.setenv("LRFR_CACHE_BYTES", str(most))
        monkeypatch.setenv("LRFR_CACHE_DIR", str(copied / f"cache-{most}"))
        monkeypatch.setattr(shard_cache, "OWN_WAIT_S", 0.0)
        dataset, held = lrfr.PairDataset(site.url), []
        for shard in dataset.hr._shards[:-1]:
            held.append(REGISTRY.file(shard.path, shard.expected))
        if works:
            dataset.hr.record(rows[-1])
            continue
        with pytest.raises(EnvironmentFault) as error:
            dataset.hr.record(rows[-1])
        assert f"of {sum(sizes)} and more" in error.value.hint
        del held


@pytest.mark.parametrize("kind", ["http", "file", "memory"])
def test_a_view_elsewhere_is_measured_as_one_here(copied, serve, kind):
    def embed(images):
        return np.stack([image.reshape(-1, 3).mean(0) for image in images]).astype(np.float32)

    if kind == "memory":
        Store(copied / "store").copy("default", "memory://measured/store")
    places = {"file": f"file://{copied}/site/store", "memory": "memory://measured/store"}
    url = places[kind] if kind in places else serve(copied / "site").url
    for options in ("", ",view=default,pairs=600"):
        here, there = (
            [replace(one, data="") for one in lrfr.evaluate(embed, "view", f"{place}{options}", replicates=0)]
            for place in (copied / "store", url)
        )
        assert [one.metrics for one in there] == [one.metrics for one in here] and here
        assert [one.pixels_digest for one in there] == [one.pixels_digest for one in here]


def test_a_cap_that_is_too_small_says_so(copied, serve, monkeypatch):
    site = serve(copied / "site")
    monkeypatch.setenv("LRFR_CACHE_BYTES", "20000")
    with pytest.raises(EnvironmentFault, match="at most 20,000 bytes") as error:
        batches(site.url)
    assert "--cache-size" in error.value.hint


def test_another_process_does_not_lose_what_it_uses(copied, serve, monkeypatch):
    site = serve(copied / "site")
    batches(site.url)
    REGISTRY.clear()
    path = shards(copied / "cache")[0]
    script = (
        f"import sys\nfrom pathlib import Path\nfrom lrfr.pairs.format.remote.mirror import keep\n"
        f"held = keep(Path({str(path)!r}), {path.stat().st_size}, '')\nprint(held, flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline().strip().isdigit()
        cache = shard_cache.ShardCache(copied / "cache", 1)
        cache._make_room(0)
        assert shards(copied / "cache") == [path]
    finally:
        process.communicate()
    cache._make_room(0)
    assert shards(copied / "cache") == []


def test_two_processes_share_a_cache(copied, serve):
    site = serve(copied / "site")
    script = (
        "import hashlib, sys, lrfr\n"
        f"d = lrfr.PairDataset({site.url!r})\n"
        "b = lrfr.PairLoader(d, 32, seed=5)\n"
        "print(hashlib.sha256(b''.join(x.lr_bchw.numpy().tobytes() for x in b)).hexdigest())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    found = [process.communicate()[0].strip() for process in running]
    expected = hashlib.sha256(b"".join(item[1] for item in batches(copied / "store"))).hexdigest()
    assert found == [expected, expected]
    assert site.count(".mdb") == 6


def test_killed_while_it_fetches(copied, serve):
    site = serve(copied / "site")
    stuck = threading.Event()

    def hang(path):
        if "hr-00001.mdb" in path and not stuck.is_set():
            stuck.set()
            time.sleep(1)
        return ""

    site.fault = hang
    script = f"import lrfr\nd = lrfr.PairDataset({site.url!r})\nlist(lrfr.PairLoader(d, 32))\n"
    process = subprocess.Popen([sys.executable, "-c", script])
    assert stuck.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list((copied / "cache" / "tmp").iterdir())) >= 1
    site.fault = None
    assert batches(site.url) == batches(copied / "store")
    assert not list((copied / "cache" / "tmp").iterdir())


def test_training_over_http_is_training_here(copied, serve, capsys):
    from lrfr.cli.main import run

    lrfr.make_pairs("synthetic:ids=8,per_id=6,seed=3", "fskd", store=copied / "faces")
    write_index(copied / "faces")
    where = serve(copied).url.replace("/store", "/faces")
    for store, name in ((str(copied / "faces"), "here"), (where, "there")):
        more = [
            "--store",
            store,
            "--runs",
            str(copied / "runs"),
            "--name",
            name,
            "--cache-dir",
            str(copied / "c"),
        ]
        fast = [word for text in FAST for word in ("--set", text)]
        assert run(["train", "baseline", *fast, *more]) == 0, capsys.readouterr().err
    capsys.readouterr()
    weights = [sorted((copied / "runs" / name).rglob("*.safetensors")) for name in ("here", "there")]
    assert weights[0] and [p.read_bytes() for p in weights[0]] == [p.read_bytes() for p in weights[1]]
    assert "127.0.0.1" not in (copied / "runs" / "there" / "run.json").read_text()


def test_the_index_says_the_same_for_the_same_store(copied):
    root = copied / "site" / "store"
    first = (root / "index.json").read_bytes()
    write_index(root)
    assert (root / "index.json").read_bytes() == first
    assert all(
        (root / entry.path).stat().st_size == entry.bytes
        for entry in StoreIndex.read(root / "index.json").files
    )


_ELSEWHERE = """
import pickle, sys, hashlib
dataset = pickle.load(sys.stdin.buffer)
batch = dataset.batch(range(0, 192, 3), 1)
print(hashlib.sha256(batch.hr_bchw.numpy().tobytes() + batch.lr_bchw.numpy().tobytes()).hexdigest())
print(dataset.key(7).decode(), batch.columns["score"][0].tolist())
"""


def test_a_dataset_carried_to_a_machine_without_the_mirror_opens_one_there(copied, serve, tmp_path):
    """As a task of Ray is: pickled here, unpickled where this cache folder does not exist."""
    dataset = lrfr.PairDataset(serve(copied / "site").url, columns=["score"])
    data = pickle.dumps(dataset)
    batch = dataset.batch(range(0, 192, 3), 1)
    expected = hashlib.sha256(batch.hr_bchw.numpy().tobytes() + batch.lr_bchw.numpy().tobytes()).hexdigest()
    said = f"{expected}\n{dataset.key(7).decode()} {batch.columns['score'][0].tolist()}\n"
    shared = subprocess.run([sys.executable, "-c", _ELSEWHERE], input=data, capture_output=True, check=False)
    assert shared.stdout.decode() == said, shared.stderr.decode()
    os.rename(copied / "cache", copied / "of-another-machine")
    environment = {**os.environ, "LRFR_CACHE_DIR": str(tmp_path / "second")}
    alone = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], input=data, capture_output=True, check=False, env=environment
    )
    assert alone.stdout.decode() == said, alone.stderr.decode()
    assert list((tmp_path / "second").rglob("*.mdb")) and not (copied / "cache").exists()
