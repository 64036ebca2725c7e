"""Promise P3: every flipped or missing byte is reported with its file, before use; nothing dies."""

import json
import random
import shutil
from dataclasses import replace

import lmdb
import numpy as np
import pytest

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.pairs.care.repair import repair
from lrfr.pairs.care.verify import check_shard, verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.disk.lmdb_pages import salvage
from lrfr.pairs.format.manifests import shard_origins
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from tests.pairs.toy import SPEC, build, ingest, tree


def files_of(store):
    """Every file whose bytes are promised: shards, sidecars, manifests, row tables, the view."""
    return sorted(
        path
        for part in ("base", "lr", "views")
        for path in (store / part).rglob("*")
        if path.is_file() and path.stat().st_size
    )


def read_all(store):
    dataset = PairDataset(store)
    for start in range(0, len(dataset), 32):
        dataset.batch(np.arange(start, min(len(dataset), start + 32)), 0)


def reader_notices(store) -> bool:
    REGISTRY.clear()
    try:
        read_all(store)
    except (LrfrError, SpecError):
        return True
    return False


def flip(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(bytes(data))


def flips(store, count, seed):
    """Flip one bit at a time, anywhere; return the flips that verify did not report."""
    source, silent = random.Random(seed), []
    files = files_of(store)
    originals = {path: path.read_bytes() for path in files}
    for index in range(count):
        path = (
            files[index % len(files)]
            if index % 4
            else source.choice([item for item in files if item.suffix == ".mdb"])
        )
        place, bit = source.randrange(len(originals[path])), source.randrange(8)
        flip(path, place, bit)
        REGISTRY.clear()
        findings = verify(Store(store))
        if not any(str(path) == finding.file for finding in findings):
            silent.append((path.name, place, bit))
        path.write_bytes(originals[path])
    return silent


def test_random_flips_are_all_reported(store):
    assert flips(store, 500, seed=1) == []


def test_blocks_are_found_in_a_file_without_lmdb_as_with_it(store):
    files = sorted(store.rglob("*.mdb"))
    for path in files:
        other = shutil.copy(path, store.parent / "copy.mdb")
        with (
            lmdb.open(str(other), subdir=False, readonly=True, lock=False) as env,
            env.begin() as transaction,
        ):
            expected = dict(transaction.cursor())
        found = salvage(path.read_bytes())
        assert {key: bytes(value) for key, value in found.items()} == expected and expected
        other.unlink()


def test_pointers_out_of_a_damaged_file_end_no_process(store):
    """Every byte of the meta pages and of the heads of all pages, set to what leads far away."""
    path = max(store.rglob("lr-*.mdb"), key=lambda item: item.stat().st_size)
    original = path.read_bytes()
    heads = [place for page in range(0, len(original), 4096) for place in range(page, page + 40)]
    sealed = Store(store).lr_manifest(path.parent.name)
    shard = next(item for item in sealed.shards if item.shard == path.stem)
    origin = shard_origins(sealed)[sealed.shards.index(shard)]
    for place in [*range(16, 160), *range(4112, 4256), *heads]:
        path.write_bytes(original[:place] + bytes([original[place] ^ 0xFF]) + original[place + 1 :])
        assert check_shard(path.parent, shard, (origin, sealed.block_rows))


@pytest.mark.soak
def test_five_thousand_flips(store):
    silent = flips(store, 5000, seed=2)
    print(f"\n5000 flips, {len(silent)} silent")
    assert silent == []


def truncations(store, count, seed):
    """Cut one file at a time; return the cuts that verify or the reader did not report."""
    source, silent = random.Random(seed), []
    files = files_of(store)
    for index in range(count):
        path = files[index % len(files)]
        original = path.read_bytes()
        path.write_bytes(original[: source.randrange(len(original))])
        REGISTRY.clear()
        if not any(str(path) == finding.file for finding in verify(Store(store))):
            silent.append(path.name)
        # what no reader needs it never opens: keys, digests and the like
        needed = path.suffix == ".mdb" or path.stem.startswith(("label", "attribute", "split"))
        if needed and not reader_notices(store):
            silent.append(f"{path.name} (reader)")
        path.write_bytes(original)
    return silent


def test_truncations_are_reported_and_nothing_dies(store):
    assert truncations(store, 100, seed=1) == []


@pytest.mark.soak
def test_five_hundred_truncations(store):
    silent = truncations(store, 500, seed=2)
    print(f"\n500 truncations, {len(silent)} silent")
    assert silent == []


def test_reader_refuses_a_flipped_shard_on_first_use(store):
    source = random.Random(3)
    for path in [item for item in files_of(store) if item.suffix == ".mdb"]:
        original = path.read_bytes()
        flip(path, source.randrange(len(original)), 3)
        assert reader_notices(store), path.name
        path.write_bytes(original)
    assert not reader_notices(store)


def test_record_checks_alone_see_every_flip_in_a_record(store):
    """With the file hash switched off, a flip inside the records is still refused, and the message names
    store, shard and row.
    """
    path = next(item for item in files_of(store) if item.name == "hr-00001.mdb")
    original = path.read_bytes()
    place = original.index(bytes(PairDataset(store, verify="never").hr.record(70).payload)) + 11
    flip(path, place, 5)
    REGISTRY.clear()
    dataset = PairDataset(store, verify="records")
    with pytest.raises(DataError, match=r"hr-00001\.mdb: store [0-9a-f]{16}, row 70"):
        dataset.hr.record(70)
    path.write_bytes(original)


def test_zeroed_pages_are_reported(store):
    for path in [item for item in files_of(store) if item.suffix == ".mdb"]:
        original = path.read_bytes()
        for start in range(0, len(original), 4096):
            if any(original[start : start + 4096]):
                path.write_bytes(original[:start] + bytes(4096) + original[start + 4096 :])
                REGISTRY.clear()
                assert verify(Store(store)), (path.name, start)
        path.write_bytes(original)


def test_swapped_and_missing_files_are_reported(store):
    folder = next((store / "base").iterdir())
    one, two = folder / "hr-00000.mdb", folder / "hr-00001.mdb"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    REGISTRY.clear()
    assert {finding.file for finding in verify(Store(store))} == {str(one), str(two)}
    assert reader_notices(store)
    one.write_bytes(first)
    two.unlink()
    REGISTRY.clear()
    assert str(two) in {finding.file for finding in verify(Store(store))}
    assert reader_notices(store)


def test_a_manifest_of_another_store_is_reported(store, folder):
    build(folder / "other", spec=SPEC.replace("seed: 3", "seed: 4"))
    mine, theirs = (next((root / "lr").iterdir()) / "manifest.json" for root in (store, folder / "other"))
    shutil.copy(theirs, mine)
    assert str(mine) in {finding.file for finding in verify(Store(store))}
    assert reader_notices(store)


def test_repair_restores_every_byte(store):
    before = tree(store)
    source = random.Random(7)
    shards = [
        path
        for path in files_of(store)
        if path.suffix in {".mdb", ".npz", ".npy"} or path.name[:3] in {"hr-", "lr-"}
    ]
    for path in source.sample(shards, 5):
        flip(path, source.randrange(path.stat().st_size), 2)
    source.choice([path for path in shards if path.suffix == ".mdb"]).unlink()
    REGISTRY.clear()
    assert verify(Store(store))
    done = repair(Store(store), ingest(), Runner("serial"))
    assert done.rebuilt and not done.left
    assert tree(store) == before
    assert verify(Store(store), deep=True) == []


def test_repair_then_make_pairs_restores_manifests_and_views(store):
    before = tree(store)
    for path in [item for item in files_of(store) if item.name in {"manifest.json", "default.json"}]:
        flip(path, 40, 1)
    repair(Store(store), ingest(), Runner("serial"))
    build(store)
    assert tree(store) == before


def test_repair_refuses_another_source(store):
    path = next(item for item in files_of(store) if item.name == "hr-00000.mdb")
    flip(path, 5000, 0)
    from tests.pairs.toy import ToySource

    with pytest.raises(SpecError, match="this source gives the base"):
        repair(Store(store), ingest(ToySource(salt=1)), Runner("serial"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"digest": 1}', '{"a":' * 5000, "\0" * 100, json.dumps({"format": "LRS1"})]
)
def test_malformed_manifests_are_one_clear_error(store, text):
    path = next((store / "base").iterdir()) / "manifest.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        PairDataset(store)
    assert str(path) in {finding.file for finding in verify(Store(store))}


def test_a_damaged_report_is_named(folder):
    build(folder / "s")
    store = Store(folder / "s")
    path = store.report_path("default")
    path.write_bytes(path.read_bytes()[:-9])
    (found,) = verify(store)
    assert found.file == str(path)


def test_a_manifest_that_says_too_few_origins_hides_no_shard(folder):
    build(folder / "s")
    store = Store(folder / "s")
    (base,) = map(store.base_manifest, store.bases())
    assert len(base.shards) == 3
    forged = replace(base, origins=shard_origins(base)[:1])
    (store.base(base.id) / "manifest.json").write_bytes(forged.seal())
    flip(store.base(base.id) / f"{base.shards[-1].shard}.mdb", 9000, 1)
    found = verify(store)
    assert [(item.file, item.fault) for item in found if "manifest.json" in item.file] == [
        (str(store.base(base.id) / "manifest.json"), "1 origins of 3 shards")
    ]
    assert str(store.base(base.id) / "manifest.json") in store.repair(ingest()).removed
