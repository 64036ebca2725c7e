"""What is forgotten is gone from every byte of a store, and everything else is as if it had never been there."""

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import pytest

from lrfr.core.errors import DataError, EnvironmentFault, LrfrError, SpecError
from lrfr.core.files import temp_name
from lrfr.core.progress import Hooks, Stopped
from lrfr.eval.report.provenance import chain
from lrfr.eval.results import Model
from lrfr.pairs.build.ingest import IngestOptions, open_ingest
from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
from lrfr.pairs.care.forgetting import view_move
from lrfr.pairs.care.forgetting.forget import finish
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format import shard_layout
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.reader import Folder, ShardSet
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from lrfr.train.engine.run_record import RunIdentity, RunRecord
from lrfr.train.runs import trained_on
from tests.pairs.faults import Shim, forked, injected, killed_at, moments
from tests.pairs.test_growth import SPECS, Some, extend, shown, write
from tests.pairs.toy import SIDE, ingest, tree


@dataclass(frozen=True)
class Without(Some):
    """The toy faces without some identities and keys."""

    gone: tuple[str, ...] = ()

    def faces(self):
        return [face for face in super().faces() if face.label not in self.gone and face.key not in self.gone]


def grep(root, *texts):
    """Return the files below a folder that hold any of some bytes, in any way that JSON spells them."""
    words = [text if isinstance(text, bytes) else text.encode() for text in texts]
    words += [json.dumps(text).strip('"').encode() for text in texts if isinstance(text, str)]
    files = [path for path in root.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(word in path.read_bytes() for word in words)]


def payloads(root, keys):
    """Return the HR and LR bytes that a store has of some keys."""
    store, found = Store(root), set()
    for base in map(store.base_manifest, store.bases()):
        table = store.rows(base.id)
        rows = [row for row in range(base.rows) if table.key(row).decode() in keys]
        folders = [Folder(store.base(base.id), base)]
        variants = map(store.lr_manifest, store.variants())
        folders += [Folder(store.lr(one.id), one) for one in variants if one.content == base.content]
        for folder in folders:
            found |= {bytes(ShardSet([folder]).stored(row).payload) for row in rows}
    return found


def inodes(root):
    return {path.stat().st_ino for path in root.rglob("*.mdb")}


def test_the_rest_is_as_if_the_forgotten_had_never_been_there(folder):
    write(folder / "s", Some(keep=(0, 1, 2, 3, 4)))
    grown = extend(folder / "s", Some(keep=(5, 6)))
    gone = payloads(folder / "s", {face.key for face in Some().faces() if face.label == "id003"})
    assert len(gone) > 8 and grep(folder / "s", *gone)
    done = Store(folder / "s").forget(ids=["id003"])
    whole = write(folder / "w", Without(keep=(0, 1, 2, 3, 4, 5, 6), gone=("id003",)))
    view = Store(folder / "s").view("default")
    assert (done.faces, done.records, len(view.parts)) == (5, 15, 2)
    assert view.id == whole.id != grown.id and shown(folder / "s") == shown(folder / "w")
    assert grep(folder / "s", "id003", *gone) == [] and verify(Store(folder / "s"), deep=True) == []
    assert list((folder / "s" / "tmp").iterdir()) == []
    compact = Store(folder / "s").compact()
    Store(folder / "s").gc()
    assert compact.view.id == whole.id and Store(folder / "s").bases() == Store(folder / "w").bases()
    assert shown(folder / "s") == shown(folder / "w") and verify(Store(folder / "s"), deep=True) == []


@pytest.mark.parametrize(
    "asked",
    [{"ids": ["id003"]}, {"ids": ["id000", "id006"]}, {"keys": ["id005/0", "id001/2"]}, {"ids": ["id006"]}],
    ids=lambda asked: " ".join(map(str, asked.values())),
)
def test_a_trial_tells_the_ids_that_the_act_gives_and_writes_nothing(folder, asked):
    write(folder / "s", Some(keep=(0, 1, 2, 3, 4)))
    extend(folder / "s", Some(keep=(5,)))
    for keep, specs, view in (
        ((0, 3), SPECS, ViewOptions("few", ids=("id000", "id003"))),
        ((0, 1, 5), SPECS[:1], ViewOptions("often", min_per_id=3)),
    ):
        source = ingest(Some(keep=keep))
        make_pairs(source, specs, store=folder / "s", view=view, runner=Runner("serial"))
    write(folder / "s", Some(keep=(6,)), view="apart")
    store = Store(folder / "s")
    before = {path: path.read_bytes() for path in (folder / "s").rglob("*") if path.is_file()}
    planned = store.forget(**asked, dry_run=True)
    after = {path: path.read_bytes() for path in (folder / "s").rglob("*") if path.is_file()}
    assert {path for path in before | after if before.get(path) != after.get(path)} <= {
        folder / "s" / "run.log"
    }
    done = store.forget(**asked)
    assert sorted(map(repr, planned.moved)) == sorted(map(repr, done.moved)) and done.moved
    assert planned.views_removed == done.views_removed


def test_only_shards_that_hold_a_face_are_written_anew(folder, monkeypatch):
    monkeypatch.setattr(shard_layout, "FEW_SHARDS", 4)
    write(folder / "s", Some(ids=60))  # 480 rows: eight shards of HR and of each variant
    store, before = Store(folder / "s"), inodes(folder / "s")
    planned = store.forget(keys=["id007/3"], dry_run=True)
    done = store.forget(keys=["id007/3"])
    assert (
        (planned.shards_rewritten, planned.shards_taken_over)
        == (3, 21)
        == (
            done.shards_rewritten,
            done.shards_taken_over,
        )
    )
    assert planned.records == done.records == 3 and planned.bytes_read == done.bytes_read
    after = inodes(folder / "s")
    assert len(after & before) == 21 and len(after) == 24
    assert {path.stat().st_nlink for path in (folder / "s").rglob("*.mdb")} == {1}
    # what was taken over is taken over again, whole shards that go leave the others as they are
    shard = store.base_manifest(store.bases()[0]).shards[2]
    table = store.rows(store.bases()[0])
    keys = [table.key(row).decode() for row in range(shard.start, shard.stop)]
    done = store.forget(keys=[*keys, table.key(0).decode()])
    assert (done.shards_rewritten, done.shards_taken_over) == (3, 18)
    write(folder / "w", Without(ids=60, gone=("id007/3", *keys, table.key(0).decode())))
    assert shown(folder / "s") == shown(folder / "w") and verify(store, deep=True) == []


def test_views_with_filters_and_masks_move_or_go(folder):
    write(folder / "s", Some(keep=(0, 1, 2)))
    source = ingest(Some(keep=(0, 1, 2)))
    runner = Runner("serial")
    make_pairs(
        source, SPECS, store=folder / "s", view=ViewOptions("two", ids=("id001", "id002")), runner=runner
    )
    make_pairs(source, SPECS, store=folder / "s", view=ViewOptions("one", ids=("id001",)), runner=runner)
    make_pairs(source, SPECS, store=folder / "s", view=ViewOptions("many", min_per_id=3), runner=runner)
    write(folder / "s", Some(keep=(1, 2)), view="masked")
    store = Store(folder / "s")
    before = {name: store.view(name) for name in store.views()}
    label = PairDataset(folder / "s", "many").label_names[0]
    done = store.forget(ids=["id001"])
    assert done.views_removed == ("one",) and store.views() == ["default", "many", "masked", "two"]
    assert store.view("two").filter.ids == ("id002",) and grep(folder / "s", "id001") == []
    assert store.view("masked").parts[0].mask is not None
    with pytest.raises(SpecError, match=r"'one' was forgotten on .* nothing of it is left"):
        store.view("one")
    assert verify(store, deep=True) == []
    write(folder / "w", Without(keep=(1, 2), gone=("id001",)), view="masked")
    assert shown(folder / "s", "masked") == shown(folder / "w", "masked")
    # an identity that falls below a view's least number leaves that view alone
    store.forget(keys=[face.key for face in Some(keep=(0, 1, 2)).faces() if face.label == label][:1])
    assert store.view("many").id != before["many"].id
    left = [face.label for face in Some(keep=(0, 1, 2)).faces()]
    assert all(face in left for face in PairDataset(folder / "s", "many").label_names)
    everything = store.forget(ids={face.label for face in Some(keep=(0, 1, 2)).faces()})
    assert store.views() == store.bases() == store.variants() == []
    assert everything.views_removed == ("default", "many", "masked", "two") and verify(store) == []


def test_old_ids_are_answered_and_an_open_reader_is_told(folder):
    old = write(folder / "s", Some(ids=60))
    store, reader = Store(folder / "s"), PairDataset(folder / "s")
    reader.batch(np.arange(4), 0)
    done = store.forget(keys=["id007/3"])
    now = store.view("default").id
    for name in (old.id, old.parts[0].base, old.parts[0].lr[0]):
        with pytest.raises((SpecError, DataError), match=f"forgotten on .* by act {done.act}; now"):
            store.describe(name)
    again = store.forget(ids=["id009"])
    assert store.fate(old.id).endswith(f"by act {done.act}; now {store.view('default').id}")
    assert store.former_views(again.old_views) == {old.id, now}
    lines = chain(Model("m", view_digest=old.id), folder / "s")
    assert any(f"forgotten on {store.acts()[0].date[:10]}" in line for line in lines)
    REGISTRY.clear()
    with pytest.raises(DataError, match=f"forgotten on .* by act {done.act}"):
        reader.batch(np.arange(400), 0)


def test_names_are_found_in_any_spelling_and_nothing_is_guessed(folder):
    write(folder / "s", Some(keep=(0,)))
    store, before = Store(folder / "s"), tree(folder / "s")
    for unknown in ("id00", "3/1", "id000/0.png", "ID000/0"):
        done = store.forget(keys=[unknown])
        assert (done.faces, done.unknown, tree(folder / "s")) == (0, (unknown,), before)
    done = store.forget(keys=[".\\id000\\0", "nobody"], dry_run=True)
    assert (done.faces, done.unknown, tree(folder / "s")) == (1, ("nobody",), before)
    assert not (folder / "s" / "forgotten").exists()
    for wrong in ({}, {"ids": [], "keys": None}, {"ids": "id000"}, {"ids": ["a"], "keys": ["b"]}):
        with pytest.raises(SpecError):
            store.forget(**wrong)


def pictures(root, names, seed=0):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed + number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        cv2.imwrite(str(path), pixels)
    return root


NAMES = [f"{person}/{k}.png" for person in ("Zoë Ünal", "p1", "p10") for k in range(3)]


def made(root, source, **options):
    options = MakeOptions(ingest=IngestOptions(size_px=SIDE, **options))
    return make_pairs(str(source), SPECS[:1], store=root, options=options, runner=Runner("serial"))


def test_names_leave_the_lists_logs_and_caches(folder):
    source = pictures(folder / "faces", NAMES)
    (source / "Zoë Ünal" / "broken.png").write_bytes(b"no picture")
    (source / "p10" / "broken.png").write_bytes(b"no picture")
    time.sleep(0.15)  # what is younger than a tick of the clock is not remembered
    made(folder / "s", source)
    log = folder / "s" / "run.log"
    log.write_text(
        log.read_text() + json.dumps({"error": "DataError: 'Zoë Ünal/1.png' differs", "pid": 1}) + "\n"
    )
    (folder / "s" / "notes.txt").write_text("Zoë Ünal asked on Monday")
    store = Store(folder / "s")
    store.write_column("default", "score", np.arange(9.0), producer="test")
    assert list((folder / "s" / "cache").iterdir())
    done = store.forget(ids=["Zoë Ünal"])
    assert done.other_files == (str(folder / "s" / "notes.txt"),)
    (folder / "s" / "notes.txt").unlink()
    assert grep(folder / "s", "Zoë Ünal", "Zoë") == []
    assert [
        json.loads(line)["key"] for line in store.quarantine_path("default").read_text().splitlines()
    ] == ["p10/broken.png"]
    assert '"pid": 1' in log.read_text() and "(forgotten)" in log.read_text()
    assert json.loads(log.read_text().splitlines()[-1])["faces"] == 3
    dataset = PairDataset(folder / "s")
    assert len(dataset) == 6 and len(np.unique(dataset.column("score"))) == 6
    # p1 goes, p10 stays in every list
    store.forget(ids=["p1"])
    assert PairDataset(folder / "s").label_names == ("p10",) and grep(folder / "s", "p1/") == []
    assert "p10/broken.png" in store.quarantine_path("default").read_text()
    assert verify(store, deep=True) == []


def test_a_later_build_does_not_bring_them_back(folder):
    source = pictures(folder / "faces", NAMES)
    made(folder / "s", source)
    Store(folder / "s").forget(ids=["Zoë Ünal"])
    forgotten = Store(folder / "s").view("default").id
    shutil.copy(source / NAMES[0], source / "p1" / "same.png")  # the same bytes under another key
    again = made(folder / "s", source)
    assert again.id == forgotten and again.done.report.account.skipped == {"forgotten": 4}
    assert grep(folder / "s", "Zoë Ünal", "same.png/") == []
    back = made(folder / "s", source, allow_forgotten=True)
    assert back.done.rows == 10 and back.done.report.account.skipped == {}
    other = made(folder / "t", source, exclude_ids=("Zoë Ünal", "nobody"), exclude_keys=("p1/same.png",))
    assert other.id == forgotten and other.done.report.account.skipped == {"excluded": 4}
    assert grep(folder / "t", "Zoë", "same.png") == []
    assert any("1 ids to exclude are not in the source" in line for line in other.done.warnings)


def test_faces_with_the_same_bytes_are_counted_and_stay(folder):
    source = pictures(folder / "faces", NAMES)
    for copy in ("p1/same.png", "p10/same.png"):
        shutil.copy(source / NAMES[0], source / copy)
    made(folder / "s", source)
    done = Store(folder / "s").forget(keys=[NAMES[0], "p1/same.png"])
    assert (done.faces, done.same_bytes) == (2, 1)
    again = made(folder / "s", source)
    assert again.id == Store(folder / "s").view("default").id and again.done.rows == 9
    assert "p10/same.png" in {PairDataset(folder / "s").key(place).decode() for place in range(9)}
    assert Store(folder / "s").forget(keys=["p10/same.png"]).same_bytes == 0
    shutil.copy(source / NAMES[0], source / "p10/once more.png")
    assert made(folder / "s", source).done.rows == 8


def test_a_view_that_is_called_like_somebody_is_named_no_more(folder):
    view = ViewOptions("id003", ids=("id003",))
    make_pairs(ingest(Some()), SPECS, store=folder / "s", view=view, runner=Runner("serial"))
    write(folder / "s", Some())
    assert Store(folder / "s").forget(ids=["id003"]).views_removed == ("id003",)
    assert grep(folder / "s", "id003") == [] and not [path for path in folder.rglob("*id003*")]


def test_what_names_a_base_goes_before_it(folder, monkeypatch):
    write(folder / "s", Some(keep=(0, 1)))
    Store(folder / "s").write_column("default", "number", np.arange(40.0), producer="test")
    old, gone, remove = next((folder / "s" / "base").iterdir()), [], view_move.remove

    def watched(path):
        gone.append(path.parent.name)
        remove(path)
        assert old.exists() or not list((folder / "s").glob(f"columns/{old.name}/*/manifest.json"))

    monkeypatch.setattr(view_move, "remove", watched)
    Store(folder / "s").forget(ids=["id001"])
    assert [name for name in gone if name != "tmp"] == ["columns", "lr", "lr", "base"]


def test_a_view_of_which_something_was_forgotten_is_compacted(folder):
    """Shards that were taken over are sealed as others' rows; in the one base all are sealed as its own."""
    write(folder / "s", Some(ids=20, keep=(0, 1, 2, 3, 4)))
    extend(folder / "s", Some(ids=20, keep=(5, 6, 7, 8, 9)))
    store = Store(folder / "s")
    store.forget(keys=["id000/0", "id000/5"])
    assert all(len(store.base_manifest(base).origins) == 2 for base in store.bases())
    expected = shown(folder / "s")
    store.compact()
    store.gc()
    (base,) = store.bases()
    assert shown(folder / "s") == expected and verify(store, deep=True) == []
    assert store.base_manifest(base).origins == ()
    # what was forgotten of one whole part leaves it as it is
    store.forget(keys=["id000/1"])
    assert store.base_manifest(store.bases()[0]).origins
    assert store.compact().copied == 0 and verify(store, deep=True) == []


def test_a_stop_between_two_shards_keeps_what_is_done(folder):
    write(folder / "s", Some(ids=60))
    old, asked = Store(folder / "s").view("default").id, iter([False] * 5 + [True] * 99)
    with pytest.raises(Stopped):
        Store(folder / "s").forget(keys=["id007/3"], hooks=Hooks(should_stop=lambda: next(asked)))
    assert PairDataset(folder / "s").digest == old
    before = inodes(folder / "s")
    assert Store(folder / "s").forget(keys=["id007/3"]).faces == 1
    assert len(inodes(folder / "s") - before) == 2, "of three shards one was written anew before the stop"
    assert verify(Store(folder / "s"), deep=True) == []


def test_runs_on_forgotten_faces_and_what_stands_on_them_are_listed(folder, monkeypatch):
    write(folder / "s", Some(keep=(0,)))
    ids = [Store(folder / "s").view("default").id]
    for key in ("id000/0", "id001/2"):
        done = Store(folder / "s").forget(keys=[key])
        ids.append(Store(folder / "s").view("default").id)
    old = Store(folder / "s").former_views(done.old_views)
    assert old == set(ids[:2])
    views = {"first": ids[0], "second": ids[1], "now": ids[2], "child": ids[2], "grandchild": "f" * 64}
    parents = {"child": {"teacher": "digest of first"}, "grandchild": {"teacher": "digest of child"}}
    for name, view in views.items():
        (folder / "runs" / name).mkdir(parents=True)
        identity = RunIdentity(view, "baseline", parents=parents.get(name, {}))
        record = RunRecord(identity, {}, {}, 1, 1)
        (folder / "runs" / name / "run.json").write_bytes(record.seal())
    (folder / "runs" / "none").mkdir()
    monkeypatch.setattr("lrfr.train.checkpoint.digest_of", lambda path: f"digest of {path.parent.name}")
    found = [path.name for path in trained_on(folder / "runs", old)]
    assert found == ["child", "first", "grandchild", "second"]


def test_shards_that_were_taken_over_and_written_anew_are_mended(folder):
    write(folder / "s", Some(ids=60))
    store = Store(folder / "s")
    store.forget(keys=["id007/3"])
    before = tree(folder / "s")
    for path in sorted((folder / "s").rglob("*-0000[0-7].mdb"))[::3]:
        path.write_bytes(path.read_bytes()[:-4096] + bytes(4096))
    REGISTRY.clear()
    assert verify(store) != []
    source = open_ingest(Some(ids=60), IngestOptions(size_px=SIDE))
    assert store.repair(source).left == [] and tree(folder / "s") == before
    assert verify(store, deep=True) == []


@pytest.fixture
def grown(folder):
    """A store of two parts whose act of forgetting is tried again and again, and its end."""
    write(folder / "old", Some(ids=26, keep=(0, 1, 2, 3, 4)))
    extend(folder / "old", Some(ids=26, keep=(5, 6)))
    Store(folder / "old").write_column("default", "n", np.arange(147.0), producer="n")
    shutil.copytree(folder / "old", folder / "end")
    start = time.monotonic()
    Store(folder / "end").forget(ids=["id003", "id011"])
    return folder / "old", everything(folder / "end"), time.monotonic() - start


def everything(root):
    columns = {str(path.relative_to(root)): path.read_bytes() for path in (root / "columns").rglob("*.*")}
    return tree(root), columns, {path.suffix for path in (root / "forgotten").iterdir()}


def tried(old, root, kills, forget_here):
    shutil.copytree(old, root)
    before = Store(old).view("default").id
    hits = 0
    for kill in kills:
        hits += kill(lambda: Store(root).forget(ids=["id003", "id011"]))
        assert PairDataset(root).digest in (before, forget_here), "readers see the old view or the new one"
    done = Store(root).forget(ids=["id003", "id011"])
    assert done.unknown == () or done.faces == 0
    return hits


@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_at_random_moments_the_same_command_goes_on(folder, grown, count):
    old, expected, seconds = grown
    new = Store(folder / "end").view("default").id
    delays, hits = moments(3, count, seconds * 1.2), 0
    for first in range(0, count, 2):
        root = folder / f"k{first}"
        kills = [lambda work, delay=delay: killed_at(work, delay) for delay in delays[first : first + 2]]
        hits += tried(old, root, kills, new)
        assert everything(root) == expected and verify(Store(root), deep=True) == []
        shutil.rmtree(root)
    assert hits > count // 4


def died(root, n):
    """Return a way to run some work in a child that ends at its ``n``-th write, rename or removal."""

    def kill(work):
        def dying():
            with injected(Shim(root, n, die=True)):
                work()

        _, status = os.waitpid(forked(dying), 0)
        return os.waitstatus_to_exitcode(status) == 77

    return kill


def operations(folder, old):
    shutil.copytree(old, folder / "count")
    with injected(Shim(folder / "count")) as shim:
        Store(folder / "count").forget(ids=["id003", "id011"])
    return shim.count


@pytest.mark.parametrize("parts", [9, pytest.param(10_000, marks=pytest.mark.soak)])
def test_ended_at_an_operation_the_same_command_goes_on(folder, grown, parts):
    old, expected, _ = grown
    total = operations(folder, old)
    new = Store(folder / "end").view("default").id
    # the last operations are those of moving the views and of removing
    chosen = (
        range(1, total + 1)
        if parts > total
        else [*range(7, total, total // parts), *range(total - 18, total, 3)]
    )
    for n in chosen:
        root = folder / f"d{n}"
        assert tried(old, root, [died(root, n)], new) == 1
        assert everything(root) == expected and verify(Store(root), deep=True) == []
        assert grep(root, "id003", "id011") == []
        shutil.rmtree(root)


def test_a_full_disk_leaves_the_old_store_whole(folder, grown):
    old, expected, _ = grown
    total = operations(folder, old)
    for n in range(3, total // 2, total // 8):
        root = folder / f"e{n}"
        shutil.copytree(old, root)
        with injected(Shim(root, n, code=28, persistent=True)), pytest.raises(EnvironmentFault):
            Store(root).forget(ids=["id003", "id011"])
        assert len(PairDataset(root)) == len(PairDataset(old))
        Store(root).forget(ids=["id003", "id011"])
        assert everything(root) == expected
        shutil.rmtree(root)


def test_an_act_that_did_not_end_is_told_and_ended(folder, grown, lrfr):
    old, expected, _ = grown
    total = operations(folder, old)
    states = set()
    for n in [*range(total - 1, total - 20, -2), *range(total - 20, 0, -20)]:
        if {"begun", "decided"} <= states:
            break
        root = folder / f"u{n}"
        shutil.copytree(old, root)
        died(root, n)(lambda root=root: Store(root).forget(ids=["id003", "id011"]))
        store = Store(root)
        state = "".join(act.state for act in store.acts())
        if state in states:
            continue
        states.add(state)
        if state == "begun":
            assert any("has not ended" in finding.fault for finding in verify(store))
            # what only this store can end is no act of its copy
            store.copy("default", folder / "early")
            assert verify(Store(folder / "early"), deep=True) == []
        if state == "decided":
            copying = partial(store.copy, "default", folder / "copy")
            writing = partial(store.write_column, "default", "n", np.mean, producer="n")
            for refused in (store.gc, store.verify, store.compact, copying, writing):
                with pytest.raises(DataError, match="has not ended"):
                    refused()
            with pytest.raises(DataError, match="has not ended"):
                extend(root, Some(ids=26, keep=(7,)))
            code, out, _ = lrfr("store", "forget", "--store", root)
            assert code == 0 and "ended act" in out
            assert everything(root) == expected and finish(store) == []
    assert {"begun", "decided"} <= states


def test_the_command(folder, tmp_path, lrfr):
    write(folder / "s", Some(keep=(0, 1)))
    old = Store(folder / "s").view("default").id
    (tmp_path / "ids.txt").write_text("id002\nnobody\n", "utf-16")
    call = ["store", "forget", "--store", folder / "s", "--ids", tmp_path / "ids.txt"]
    code, out, _ = lrfr(*call, "--dry-run")
    assert code == 0 and "would be forgotten" in out and "'nobody'" in out
    code, out, _ = lrfr(*call, "--report", "--runs", tmp_path, "--json")
    told = json.loads(out)["result"]
    assert (told["faces"], told["unknown"], told["runs"]) == (2, ["nobody"], [])
    assert [move["old"] for move in told["moved"] if move["kind"] == "view"] == [old]
    code, _, err = lrfr("store", "forget", "--store", folder / "s")
    assert code == 2 and "nothing to forget" in err


def test_real_faces(folder, faces_dir):
    for person in sorted((faces_dir / "aligned").iterdir())[:8]:
        shutil.copytree(person, folder / "faces" / person.name)
    made_view = make_pairs(str(folder / "faces"), "fskd", store=folder / "s", runner=Runner("serial"))
    store, dataset = Store(folder / "s"), PairDataset(folder / "s")
    label = dataset.label_names[0]
    keys = {dataset.key(place).decode() for place in range(len(dataset)) if dataset.labels[place] == 0}
    gone = {data for data in payloads(folder / "s", keys) if data}
    done = store.forget(ids=[label])
    assert done.faces == len(keys) and grep(folder / "s", *gone, *keys) == []
    assert store.view("default").id != made_view.id and verify(store, deep=True) == []


def test_a_face_that_has_another_label_in_another_base_goes_there_too(folder):
    write(folder / "s", Some())
    # the same crops under other names: one content, so both bases share the variants
    write(folder / "s", Some(names="x"), view="second")
    store = Store(folder / "s")
    gone = payloads(folder / "s", {face.key for face in Some().faces() if face.label == "id003"})
    assert len({store.base_manifest(key).content for key in store.bases()}) == 1
    assert store.forget(ids=["id003"]).same_bytes == 0
    assert verify(store, deep=True) == [] and grep(folder / "s", *gone) == []
    write(folder / "w", Without(gone=("id003",)))
    assert shown(folder / "s") == shown(folder / "w") and len(PairDataset(store, "second")) == 184
    assert store.forget(ids=["x005"]).faces == 8 and len(PairDataset(store)) == 176


def test_faces_that_lie_behind_a_link_are_refused_before_anything_goes(folder):
    write(folder / "s", Some(keep=(0, 1)))
    store = Store(folder / "s")
    (key,) = store.bases()
    os.rename(store.base(key), folder / "elsewhere")
    store.base(key).symlink_to(folder / "elsewhere")
    before = tree(folder / "elsewhere" / "..")
    with pytest.raises(SpecError, match="a link"):
        store.forget(ids=["id003"])
    assert tree(folder / "elsewhere" / "..") == before and verify(store) == []


def test_collecting_removes_a_link_and_not_what_it_leads_to(folder):
    write(folder / "s", Some(keep=(0, 1)), view="a")
    write(folder / "s", Some(keep=(2, 3)), view="b")
    store = Store(folder / "s")
    key = store.view("b").parts[0].base
    os.rename(store.base(key), folder / "elsewhere")
    store.base(key).symlink_to(folder / "elsewhere")
    dangling = temp_name(store.tmp, "dangling")
    dangling.symlink_to(folder / "nowhere")
    store.view_path("b").unlink()
    removed = store.gc().removed
    assert {f"base/{key}", f"tmp/{dangling.name}"} <= set(removed) and key not in store.bases()
    assert (folder / "elsewhere" / "manifest.json").exists() and verify(store) == []


def test_moves_in_a_circle_have_an_end(folder):
    write(folder / "s", Some(keep=(0, 1)))
    store = Store(folder / "s")
    store.forget(keys=["id000/0"])
    (act,) = store.acts()
    moved = tuple(replace(act.moved[0], old=old, new=new) for old, new in (("a", "b"), ("b", "a")))
    store.act_path(act.act).write_bytes(replace(act, moved=moved).seal())
    assert store.fate("a").endswith("now a") or store.fate("a").endswith("now b")


KEPT = ("notes.txt", "data.json", "a.npy", "sub/thesis.tex", "x.quarantine.jsonl", "model.pt")


@pytest.mark.parametrize(
    "part", ["base", "lr", "masks", "columns", "reports", "tmp", "cache", "views", "forgotten"]
)
@pytest.mark.parametrize("is_store", [False, True])
def test_what_a_person_keeps_under_the_name_of_a_stores_folder_stays(folder, part, is_store):
    """A folder may be called tmp or reports in a project of anybody's, in which a store lies or none."""
    root = folder / "project"
    if is_store:
        write(root, Some(keep=(0, 1, 2)))
    kept = [root / part / name for name in KEPT if part not in {"views", "forgotten"} or name != "data.json"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('"mine"')
    store = Store(root)
    for work in (
        store.gc,
        store.repair,
        lambda: store.forget(ids=["id001"]),
        lambda: write(root, Some(keep=(2, 3))),
    ):
        with suppress(LrfrError):
            work()
        assert all(path.read_text() == '"mine"' for path in kept)
