"""``lrfr store upgrade``: a store of layout 2, written by the version before, becomes one of today; bytes that
agree are taken over, and what referred to it still finds it.

``tests/data/store-layout-2.tar.gz`` is ``build(store, source=ToySource(ids=3, per_id=2))`` of ``toy.py`` as
that version wrote it.
"""

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lrfr.core.errors import DataError
from lrfr.core.files import unseal
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.build.estimate import estimate
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.care.older_layout import read_older_base, read_older_view
from lrfr.pairs.care.repair import repair
from lrfr.pairs.care.upgrade import upgrade
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.reader import Folder, ShardSet
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.faults import killed_at, moments
from tests.pairs.toy import ToySource, build, ingest, tree

SOURCE = ToySource(ids=3, per_id=2)
OLD_BASE, OLD_LR = "744aa00c6e1f68fd", "bc693c677f4e14f4"


def unpack_into(folder: Path) -> Path:
    with tarfile.open(Path(__file__).parents[1] / "data" / "store-layout-2.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "store"


@pytest.fixture
def old(folder):
    return unpack_into(folder)


def payloads(reader):
    return [bytes(reader.record(row).payload) for row in range(len(reader))]


def test_an_old_store_is_refused_with_the_command_to_run(old):
    before = tree(old)
    for use in (
        lambda: PairDataset(old),
        lambda: build(old, source=SOURCE),
        lambda: repair(Store(old)),
        lambda: Store(old).info(),
        lambda: Store(old).gc(),
        lambda: verify(Store(old)),
        lambda: estimate(StoreFiles(old), ingest(SOURCE), [], Runner("serial")),
    ):
        with pytest.raises(DataError, match="lrfr store upgrade"):
            use()
    assert tree(old) == before


def test_every_record_is_taken_over(old, folder):
    path = old / "base" / OLD_BASE / "manifest.json"
    older = read_older_base(path)
    kept = payloads(ShardSet([Folder(path.parent, older.manifest)]))
    REGISTRY.clear()
    done = upgrade(old, folder / "new")
    assert done.left == [] and done.degraded == 0
    dataset = PairDataset(folder / "new")
    assert payloads(dataset.hr) == kept
    assert [item.kind for item in done.renamed] == ["base", "lr", "view"]
    assert [item.old for item in done.renamed][:2] == [OLD_BASE, OLD_LR]
    assert verify(Store(folder / "new"), deep=True) == []


@pytest.fixture
def decoder_of_then(monkeypatch):
    """What is taken over was decoded by the first revision, and its id says so."""
    monkeypatch.setattr("lrfr.pairs.build.prepare.DECODER_REVISION", 1)


@pytest.mark.usefixtures("decoder_of_then")
def test_the_new_ids_are_those_of_the_same_faces_made_today(old, folder):
    done = upgrade(old, folder / "new")
    fresh = build(folder / "fresh", source=SOURCE)
    assert [item.new for item in done.renamed] == [fresh.parts[0].base, fresh.parts[0].lr[0], fresh.id]
    upgraded, made = tree(folder / "new"), tree(folder / "fresh")
    assert upgraded.keys() == made.keys()
    # the view remembers its old id and digest of the spec; all the rest is equal, byte for byte
    assert {name for name in made if made[name] != upgraded[name]} <= {"views/default.json"}
    assert build(folder / "new", source=SOURCE).done.hr_written == 0


def test_faces_of_another_decoder_are_another_base(old, folder):
    done = upgrade(old, folder / "new")
    assert build(folder / "new", source=SOURCE).parts[0].base != done.renamed[0].new


def test_what_was_trained_on_the_old_view_finds_the_new_one(old, folder):
    old_id = read_older_view(old / "views" / "default.json").id
    raw = unseal((old / "views" / "default.json").read_bytes(), "")
    from lrfr.core.files import digest_of

    assert old_id == digest_of({key: value for key, value in raw.items() if key not in {"name", "digest"}})
    upgrade(old)
    view = Store(old).view("default")
    assert view.former == (old_id,) and view.id != old_id
    from lrfr.eval.report.provenance import chain
    from lrfr.eval.results import Model

    lines = "\n".join(chain(Model(name="m", view_digest=old_id), old))
    assert view.parts[0].base in lines and view.parts[0].lr[0] in lines


def test_in_place_leaves_nothing_old_and_a_second_run_does_nothing(old):
    upgrade(old)
    assert not (old / "base" / OLD_BASE).exists() and not (old / "lr" / OLD_LR).exists()
    assert verify(Store(old), deep=True) == [] and len(PairDataset(old)) == 6
    before = tree(old)
    assert upgrade(old).renamed == [] and tree(old) == before


def test_the_report_of_refused_files_comes_along(old, folder):
    upgrade(old, folder / "new")
    report = Store(folder / "new").report("default")
    assert report.source == {"kind": "toy"} and report.seen == 6
    assert (folder / "new" / "reports" / "default.quarantine.jsonl").exists()


def test_killed_upgrades_go_on(folder):
    plain = unpack_into(folder / "plain")
    upgrade(plain)
    expected, hits = tree(plain), 0
    for index, delay in enumerate(moments(1, 24, 0.2)):
        root = unpack_into(folder / str(index))
        hits += killed_at(lambda root=root: upgrade(root), delay)
        upgrade(root)
        assert tree(root) == expected, delay
    assert hits > 4


@pytest.mark.parametrize("at", [0, 1])
def test_an_upgrade_killed_while_it_removes_what_is_old(old, folder, monkeypatch, at):
    plain = unpack_into(folder / "plain")
    upgrade(plain)
    real, calls = shutil.rmtree, iter(range(9))

    def killed(path, *args, **options):
        if next(calls) == at:
            raise SystemExit
        real(path, *args, **options)

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(SystemExit):
        upgrade(old)
    monkeypatch.undo()
    upgrade(old)
    assert tree(old) == tree(plain) and not list((old / "tmp").iterdir())


def test_a_stop_keeps_what_is_done(old, folder):
    with pytest.raises(Stopped):
        upgrade(old, folder / "new", Hooks(should_stop=lambda: True))
    upgrade(old, folder / "new")
    assert verify(Store(folder / "new"), deep=True) == []


@pytest.mark.usefixtures("decoder_of_then")
def test_pixels_that_an_op_no_longer_makes_are_degraded_anew(old, folder, monkeypatch):
    from lrfr.pairs.care import upgrade as module

    monkeypatch.setattr(module, "agrees", lambda *_: False)
    assert upgrade(old, folder / "new").degraded == 6
    REGISTRY.clear()
    build(folder / "fresh", source=SOURCE)
    assert {k: v for k, v in tree(folder / "new").items() if "views" not in k} == {
        k: v for k, v in tree(folder / "fresh").items() if "views" not in k
    }


def test_agreement_is_judged_by_pixels(old, folder, monkeypatch):
    from lrfr.pairs.care import older_records as module

    seen = []
    real = module.degraded_records

    def other(*arguments):
        for record in real(*arguments):
            flipped = bytes([record.payload[0] ^ 1]) + bytes(record.payload[1:])
            seen.append(record.row)
            yield record._replace(payload=flipped)

    monkeypatch.setattr(module, "degraded_records", other)
    assert upgrade(old, folder / "new").degraded == 6 and seen


def test_the_command_prints_old_and_new_ids(lrfr, old):
    code, out, error = lrfr("store", "upgrade", str(old))
    assert code == 0, error
    assert f"base  {OLD_BASE} -> " in out and f"lr    {OLD_LR} -> " in out
    code, out, _ = lrfr("store", "upgrade", str(old), "--json")
    assert code == 0 and json.loads(out)["result"]["renamed"] == []


def test_a_damaged_old_store_is_no_upgrade(old):
    path = old / "base" / OLD_BASE / "hr-00000.mdb"
    data = bytearray(path.read_bytes())
    data[9000] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="sha256"):
        upgrade(old)
    assert (old / "lr" / OLD_LR / "manifest.json").exists()


def test_batches_of_an_upgraded_view_hold_the_old_pixels(old, folder):
    upgrade(old, folder / "new")
    made = make_pairs(ingest(SOURCE), [], store=folder / "hr", view="hr")
    upgraded, fresh = PairDataset(folder / "new"), PairDataset(folder / "hr", made.name)
    rows = np.arange(6)
    assert upgraded.batch(rows, 0).hr_bchw.equal(fresh.batch(rows, 0).hr_bchw)
    assert os.path.isdir(old)
