"""Copying a view: whole or absent, everything it needs and nothing else."""

import json
import signal
import subprocess
import sys
import time

import pytest

from lrfr.core.errors import DataError, LockedError, SpecError
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.export import copy_place
from lrfr.pairs.format.remote.store_index import rank_of
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.remote.conftest import batches
from tests.pairs.toy import SPEC, ToySource, build, ingest, tree


def files(root):
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()} - {".lock", "run.log"}


def test_copy_holds_what_the_view_needs_and_reads_alike(copied):
    there = copied / "site" / "store"
    assert tree(there) == tree(copied / "store")
    assert Store(there).verify(deep=True) == []
    assert Store(copied / "store").diff(there) == []
    assert batches(there) == batches(copied / "store")
    assert (there / "index.json").exists() and (there / "reports" / "default.json").exists()


def test_other_views_stay_where_they_are(copied):
    make_pairs(
        ingest(ToySource(ids=3)), [parse_spec(SPEC)], store=copied / "store", view=ViewOptions("small")
    )
    done = Store(copied / "store").copy("small", copied / "alone")
    assert Store(copied / "alone").views() == ["small"]
    assert len(Store(copied / "alone").bases()) == len(Store(copied / "alone").variants()) == 1
    assert done.copied + 1 <= len(files(copied / "alone"))
    # two views of one place
    Store(copied / "store").copy("default", copied / "alone")
    assert Store(copied / "alone").views() == ["default", "small"]
    assert Store(copied / "alone").verify() == []


def test_what_is_there_is_not_copied_again(copied):
    again = Store(copied / "store").copy("default", copied / "site" / "store")
    assert (again.copied, again.bytes) == (0, 0) and again.kept > 10


def test_a_file_that_was_lost_or_damaged_at_the_place_is_copied_anew(copied):
    there = copied / "site" / "store"
    shard = next(there.glob("base/*/hr-00001.mdb"))
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    next(there.glob("lr/*/lr-00000.mdb")).unlink()
    done = Store(copied / "store").copy("default", there)
    assert done.copied == 4  # the two files and the manifests that were taken away for the time
    assert Store(there).verify(deep=True) == []


def test_a_damaged_source_is_named_and_nothing_looks_whole(copied):
    shard = next((copied / "store").glob("base/*/hr-00002.mdb"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="damaged: not copied") as error:
        Store(copied / "store").copy("default", copied / "new")
    assert error.value.file == str(shard)
    assert Store(copied / "new").views() == [] and Store(copied / "new").bases() == []
    assert not list((copied / "new" / "tmp").iterdir())


def test_dry_run_writes_nothing(copied):
    done = Store(copied / "store").copy("default", copied / "new", dry_run=True)
    assert done.dry_run and done.bytes > 200_000 and not (copied / "new").exists()


def test_another_view_of_the_name_is_not_written_over(copied):
    build(copied / "other", ToySource(salt=1))
    with pytest.raises(SpecError, match="another view 'default' is there already"):
        Store(copied / "other").copy("default", copied / "site" / "store")
    assert tree(copied / "site" / "store") == tree(copied / "store")


def test_a_view_that_grew_takes_the_place_of_its_earlier_state(copied):
    build(copied / "store", ToySource(ids=30))
    done = Store(copied / "store").copy("default", copied / "site" / "store")
    assert done.kept > 10 and tree(copied / "site" / "store") == tree(copied / "store")


def test_links_share_a_disk_and_fall_back(copied, monkeypatch):
    Store(copied / "store").copy("default", copied / "linked", link=True)
    shard = next((copied / "linked").glob("base/*/hr-00000.mdb"))
    assert shard.stat().st_nlink == 2

    def refuse(*args):
        raise OSError(18, "other device")

    monkeypatch.setattr(copy_place.os, "link", refuse)
    Store(copied / "store").copy("default", copied / "apart", link=True)
    assert next((copied / "apart").glob("base/*/hr-00000.mdb")).stat().st_nlink == 1
    assert tree(copied / "apart") == tree(copied / "linked")


def test_the_place_is_locked(copied):
    (copied / "busy").mkdir()
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom lrfr.core.lock import store_lock\n"
        f"with store_lock(Path({str(copied / 'busy')!r})):\n    print(1, flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        with pytest.raises(LockedError):
            Store(copied / "store").copy("default", copied / "busy")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_interrupted_again_and_again_the_same_copy_goes_on(copied, monkeypatch):
    """Every attempt ends at its third file; none leaves a view, or a manifest without its files."""
    publish, attempts = copy_place.publish, 0
    while True:
        seen = []

        def third(scratch, path, seen=seen):
            seen.append(path)
            if len(seen) == 3:
                raise KeyboardInterrupt
            publish(scratch, path)

        monkeypatch.setattr(copy_place, "publish", third)
        attempts += 1
        try:
            Store(copied / "store").copy("default", copied / "new")
            break
        except KeyboardInterrupt:
            assert Store(copied / "new").verify() == [] and Store(copied / "new").views() == []
    assert attempts > 2 and tree(copied / "new") == tree(copied / "store")
    assert Store(copied / "new").columns() == Store(copied / "store").columns()


def test_what_names_others_comes_after_them_however_slow_they_are(copied, monkeypatch):
    """Files are written by several threads: the first of each kind is waited for."""
    publish, order, slow = copy_place.publish, [], set()

    def late(scratch, path):
        name = path.relative_to(copied / "new").as_posix()
        if rank_of(name) not in slow:
            slow.add(rank_of(name))
            time.sleep(0.05)
        publish(scratch, path)
        order.append(name)

    build(copied / "store", ToySource(ids=25), extend="default")
    Store(copied / "store").forget(keys=["id003/1"])
    monkeypatch.setattr(copy_place, "publish", late)
    Store(copied / "store").copy("default", copied / "new")
    assert list(map(rank_of, order)) == sorted(map(rank_of, order))
    assert {rank_of(name) for name in order} == set(range(7)) and order[-1] == "views/default.json"
    assert sorted(order) == sorted({*files(copied / "new")} - {"index.json"})


def test_what_is_taken_away_for_the_time_leaves_nothing_that_names_it(copied, monkeypatch):
    there = copied / "site" / "store"
    for path in (*there.glob("*/*/*-00000.mdb"), *there.glob("columns/*/*/*.npy")):
        path.unlink()
    remove, gone = copy_place.FolderPlace.remove, []
    monkeypatch.setattr(
        copy_place.FolderPlace, "remove", lambda place, path: (gone.append(path), remove(place, path))
    )
    Store(copied / "store").copy("default", there)
    assert [path.partition("/")[0] for path in gone] == ["columns", "lr", "base"] or gone[-1][:4] == "base"
    assert len(gone) == 3 and Store(there).verify() == []


def test_a_copy_that_is_killed_near_its_end_leaves_the_other_views_readable(copied, monkeypatch):
    """What is written anew leaves the index first: one that tells of it as it was would refuse the place."""
    make_pairs(
        ingest(ToySource(ids=3)), [parse_spec(SPEC)], store=copied / "store", view=ViewOptions("small")
    )
    there = copied / "site" / "store"
    Store(copied / "store").copy("small", there)
    assert Store(f"file://{there}").views() == ["default", "small"]
    build(copied / "store", ToySource(ids=30))

    def die(place):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copy_place.FolderPlace, "seal", die)
        with pytest.raises(KeyboardInterrupt):
            Store(copied / "store").copy("default", there)
    assert Store(f"file://{there}").views() == ["small"]
    assert len(PairDataset(f"file://{there}", "small")) == 24
    Store(copied / "store").copy("default", there)
    assert Store(f"file://{there}").views() == ["default", "small"]


def test_a_view_that_is_written_anew_meanwhile_is_not_copied(copied, monkeypatch):
    put, seen = copy_place.FolderPlace.put, []

    def grown(place, source, item, link):
        if not seen:
            seen.append(item)
            build(copied / "store", ToySource(ids=30))
        put(place, source, item, link)

    monkeypatch.setattr(copy_place.FolderPlace, "put", grown)
    with pytest.raises(DataError, match="not copied") as error:
        Store(copied / "store").copy("default", copied / "new")
    assert "written anew" in error.value.hint and Store(copied / "new").views() == []


def test_a_real_kill(copied):
    script = (
        "import os, signal, sys\nfrom lrfr.pairs.export import copy_place\nfrom lrfr.pairs.store import Store\n"
        "publish, seen = copy_place.publish, []\n"
        "def die(*args):\n    seen.append(1)\n    publish(*args)\n"
        "    if len(seen) == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "copy_place.publish = die\n"
        f"Store({str(copied / 'store')!r}).copy('default', {str(copied / 'new')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Store(copied / "new").views() == []
    Store(copied / "store").copy("default", copied / "new")
    assert tree(copied / "new") == tree(copied / "store")


def test_memory_addresses(copied):
    import fsspec

    Store(copied / "store").copy("default", "memory://copy/store")
    again = Store(copied / "store").copy("default", "memory://copy/store")
    assert again.copied == 0
    assert batches("memory://copy/store") == batches(copied / "store")
    assert Store("memory://copy/store").verify() == []
    # back again, from the address
    Store("memory://copy/store").copy("default", copied / "back")
    assert tree(copied / "back") == tree(copied / "store")
    fsspec.filesystem("memory").rm("/copy", recursive=True)


def test_command(copied, capsys):
    from lrfr.cli.main import run

    words = ["store", "copy", "--from", str(copied / "store"), "--to", str(copied / "new"), "--json"]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["result"]["copied"] > 10
    assert run(["store", "copy", "--from", str(copied / "store"), "--to", "https://example.invalid/x"]) == 2
    assert "only read" in capsys.readouterr().err
