"""Stores come together as if everything had been built in one, each thing once; views join by their rows."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import seal
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.care.merging import merge as merging
from lrfr.pairs.care.merging.merge import MergeOptions
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from lrfr.pairs.views import ViewRows
from tests.pairs.care.test_forget import died
from tests.pairs.faults import Shim, injected, killed_at, moments
from tests.pairs.test_growth import SPECS, Some, extend, shown, write
from tests.pairs.toy import ingest, tree


@pytest.fixture
def two(folder):
    """Two stores: ``a`` with a view of two parts and a mask, ``b`` with one of its parts and its own view."""
    write(folder / "a", Some(keep=(0, 1, 2)))
    extend(folder / "a", Some(keep=(2, 3), other=(2,)), replace=True)
    write(folder / "b", Some(keep=(0, 1, 2)), view="first")
    write(folder / "b", Some(keep=(4, 5)), view="other")
    Store(folder / "b").write_column(
        "other", "n", range(len(PairDataset(folder / "b", "other"))), producer="n"
    )
    return folder / "a", folder / "b"


def view_rows(root, name):
    """Return key and split of everything that the parts of a view show, before its filter."""
    rows = ViewRows(Store(root), Store(root).view(name).parts)
    splits = [rows.split_names[number] for number in rows.splits]
    return [(rows.keys.key(row), split) for row, split in zip(rows.rows.tolist(), splits, strict=True)]


def files(root):
    kept = [path for path in root.rglob("*") if path.is_file() and path.name not in {"run.log", ".lock"}]
    return {str(path.relative_to(root)): path.read_bytes() for path in kept}


def test_everything_comes_in_once(folder, two):
    a, b = two
    planned = Store(folder / "c").merge(a, b, options=MergeOptions(dry_run=True))
    assert not (folder / "c").exists()
    done = Store(folder / "c").merge(a, b)
    assert [item.kind for item in done.came].count("base") == 3 and done.found == 3
    assert planned.came == done.came and planned.bytes == done.bytes == done.copied
    store = Store(folder / "c")
    assert store.views() == ["default", "first", "other"] and verify(store, deep=True) == []
    for name, root in (("default", a), ("first", b), ("other", b)):
        assert shown(folder / "c", name) == shown(root, name)
        assert store.report(name) == Store(root).report(name)
    columns = [np.asarray(PairDataset(root, "other").column("n")) for root in (store, b)]
    assert (columns[0] == columns[1]).all() and len(columns[0]) == len(PairDataset(b, "other"))
    before = files(folder / "c")
    again = store.merge(a, b)
    assert (again.came, again.copied, files(folder / "c")) == ((), 0, before)
    assert Store(a).merge(b).came and tree(a) == tree(folder / "c")


def test_files_may_be_shared_and_forgetting_leaves_the_other_store(folder, two):
    _, b = two
    before = files(b)
    store = Store(folder / "c")
    done = store.merge(b, options=MergeOptions(link=True))
    assert {path.stat().st_nlink for path in (folder / "c").rglob("*.mdb")} == {2} and done.bytes > 0
    store.forget(ids=["id003"])
    assert files(b) == before and verify(Store(b), deep=True) == [] == verify(store, deep=True)


def test_names_of_different_views_are_refused_and_renamed(folder, two):
    a, b = two
    write(b, Some(keep=(6,)))
    before = files(a)
    with pytest.raises(SpecError, match="'default' is another one") as error:
        Store(a).merge(b)
    assert "--rename default=OTHER" in error.value.hint and files(a) == before
    with pytest.raises(SpecError, match="no view 'nothing' to rename"):
        Store(a).merge(b, options=MergeOptions(rename={"nothing": "x"}))
    with pytest.raises(SpecError, match="no name for a view"):
        Store(a).merge(b, options=MergeOptions(prefix="../"))
    Store(a).merge(b, options=MergeOptions(rename={"default": "six"}, prefix="{store}-"))
    assert Store(a).views() == ["b-first", "b-other", "default", "six"]
    assert shown(a, "six") == shown(b) and verify(Store(a), deep=True) == []
    with pytest.raises(SpecError, match="into itself"):
        Store(a).merge(a)


def test_damage_is_found_while_it_is_copied(folder, two):
    a, _ = two
    shard = sorted(a.rglob("hr-*.mdb"))[0]
    shard.write_bytes(shard.read_bytes()[:-8] + b"\xff" * 8)
    with pytest.raises(DataError, match="sha256") as error:
        Store(folder / "c").merge(a)
    assert error.value.file == str(shard) and Store(folder / "c").views() == []
    assert list((folder / "c" / "tmp").iterdir()) == []


def test_what_was_forgotten_does_not_come_in(folder, two):
    a, b = two
    Store(a).forget(ids=["id003"])
    for target, other in ((a, b), (b, a)):
        with pytest.raises(DataError, match="was made to forget"):
            Store(target).merge(other)
    Store(b).forget(ids=["id003"])
    assert Store(a).merge(b).came and verify(Store(a), deep=True) == []
    assert len(Store(a).acts()) == 2
    # whoever finds a word on a list finds the list: the order of the files after a power cut
    files = merging._small_files(Store(folder / "new"), Store(b), MergeOptions())
    order = [path.source.name for path in files]
    (act,) = Store(b).acts()
    assert order.index(f"{act.act}.npy") < order.index(f"{act.act}.json")
    assert order.index("first.quarantine.jsonl") < order.index("first.json")
    write(folder / "d", Some(keep=(0, 1, 2)), view="old")
    assert Store(a).merge(folder / "d", options=MergeOptions(allow_forgotten=True)).came


def test_an_older_layout_is_refused_with_what_to_run(folder, two):
    a, b = two
    view = Store(b).view_path("other")
    view.write_bytes(view.read_bytes().replace(b'"layout":3', b'"layout":2'))
    value = json.loads(view.read_bytes())
    view.write_bytes(seal(value))
    with pytest.raises(DataError) as error:
        Store(a).merge(b)
    assert f"lrfr store upgrade {b}" in error.value.hint


def test_joined_views_are_one_built_at_once(folder, two):
    a, b = two
    Store(a).merge(b)
    joined = Store(a).join_views(["first", "other"], "both")
    whole = write(folder / "w", Some(keep=(0, 1, 2, 4, 5)), view="both")
    assert joined.id == whole.id and shown(a, "both") == shown(folder / "w", "both")
    assert Store(a).join_views(["other", "first"], "both").id == whole.id, "the same again, in any order"
    with pytest.raises(DataError, match=r"have other bytes or labels .* 'id\d+/\d'"):
        Store(a).join_views(["first", "default"], "all")
    assert "all" not in Store(a).views()
    every = Store(a).join_views(["first", "default", "other"], "all", replace=True)
    write(folder / "v", Some(keep=(0, 1, 2, 3, 4, 5), other=(2,)), view="all")
    assert every.id == Store(folder / "v").view("all").id and shown(a, "all") == shown(folder / "v", "all")
    with pytest.raises(SpecError, match="another view 'default'"):
        Store(a).join_views(["first", "other"], "default")
    assert len(Store(a).report("both").told) == 2 and verify(Store(a), deep=True) == []


def test_filters_and_the_order_of_variants_join_and_others_are_refused(folder):
    runner = Runner("serial")
    source = ingest(Some(keep=(0, 1, 2)))
    ids = ViewOptions("some", ids=("id001", "id002"), weights=(3.0, 1.0))
    make_pairs(source, SPECS, store=folder / "s", view=ids, runner=runner)
    turned = ViewOptions("turned", ids=("id005",), weights=(1.0, 3.0))
    make_pairs(source, SPECS[::-1], store=folder / "s", view=turned, runner=runner)
    plain = ViewOptions("plain", ids=("id001",))
    make_pairs(source, SPECS, store=folder / "s", view=plain, runner=runner)
    joined = Store(folder / "s").join_views(["some", "turned"], "both")
    whole = ViewOptions("whole", ids=("id001", "id002", "id005"), weights=(3.0, 1.0))
    assert joined.id == make_pairs(source, SPECS, store=folder / "s", view=whole, runner=runner).id
    assert shown(folder / "s", "both") == shown(folder / "s", "whole")
    with pytest.raises(SpecError, match="other variants or weights"):
        Store(folder / "s").join_views(["some", "plain"], "x")
    with pytest.raises(SpecError, match="two views"):
        Store(folder / "s").join_views(["some"], "x")


def test_what_all_views_hold_out_stays_held_out(folder):
    runner, held = Runner("serial"), {"holdout": 0.3}
    for name, keep in (("one", (0, 1)), ("two", (2, 3)), ("whole", (0, 1, 2, 3))):
        make_pairs(
            ingest(Some(keep=keep)), SPECS, store=folder / "s", view=ViewOptions(name, **held), runner=runner
        )
    joined = Store(folder / "s").join_views(["one", "two"], "both")
    whole = Store(folder / "s").view("whole")
    assert (joined.id, joined.holdout, joined.filter) == (whole.id, 0.3, whole.filter)
    rows = [view_rows(folder / "s", name) for name in ("both", "whole")]
    assert rows[0] == rows[1] and {split for _, split in rows[0]} == {"test", "train"}


def merged(root, two):
    Store(root).merge(*two)


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_at_random_moments_the_same_command_goes_on(folder, two, count):
    start = time.monotonic()
    merged(folder / "end", two)
    seconds, expected, hits = time.monotonic() - start, files(folder / "end"), 0
    for number, delay in enumerate(moments(4, count, seconds * 1.1)):
        root = folder / f"k{number}"
        hits += killed_at(lambda root=root: merged(root, two), delay)
        for name in Store(root).views():
            assert len(PairDataset(root, name))
        merged(root, two)
        assert files(root) == expected
        shutil.rmtree(root)
    assert hits > count // 4 and verify(Store(folder / "end"), deep=True) == []


@pytest.mark.parametrize("parts", [6, pytest.param(10_000, marks=pytest.mark.soak)])
def test_ended_or_out_of_disk_at_an_operation_it_goes_on(folder, two, parts):
    with injected(Shim(folder / "end")) as shim:
        merged(folder / "end", two)
    expected, step = files(folder / "end"), max(1, shim.count // parts)
    for n in range(2, shim.count, step):
        root = folder / f"d{n}"
        assert died(root, n)(lambda root=root: merged(root, two))
        merged(root, two)
        assert files(root) == expected
        shutil.rmtree(root)
        if n > 4:
            with injected(Shim(root, n, code=28, persistent=True)), pytest.raises(EnvironmentFault):
                merged(root, two)
            assert all(len(PairDataset(root, name)) for name in Store(root).views())
            merged(root, two)
            assert files(root) == expected
            REGISTRY.clear()
            shutil.rmtree(root)


def test_the_command(two, lrfr):
    a, b = two
    code, out, _ = lrfr("store", "merge", a, b, "--into", a.parent / "c", "--dry-run", "--json")
    assert code == 0 and json.loads(out)["result"]["dry_run"] and not os.path.exists(a.parent / "c")
    call = [
        "store",
        "merge",
        a,
        b,
        "--into",
        a.parent / "c",
        "--views",
        "first",
        "--views",
        "other",
        "--as",
        "x",
    ]
    code, out, _ = lrfr(*call)
    assert code == 0 and "view 'x' of 2 parts" in out and "3 were there" in out
    assert lrfr("store", "merge", a)[0] == 2
    assert lrfr("store", "merge", a, b, "--rename", "other")[0] == 2
    assert lrfr("store", "merge", a, b, "--views", "first")[0] == 2
    code, out, _ = lrfr("store", "merge", a, "--views", "default", "--as", "x")
    assert code == 2
