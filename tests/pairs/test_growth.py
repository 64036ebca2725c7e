"""A view grows by what is new: its id, order and pixels are those of a view that was built at once."""

import hashlib
import json
import os
import pickle
import random
import signal
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.core.progress import Hooks, Stopped
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build import make
from lrfr.pairs.build.estimate import estimate
from lrfr.pairs.build.lr import lr_task
from lrfr.pairs.build.make import MakeOptions, ViewOptions, make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format import shard_layout
from lrfr.pairs.format.disk import lmdb_files
from lrfr.pairs.format.disk.array_file import map_array
from lrfr.pairs.format.disk.row_runs import copy_rows, join_keys
from lrfr.pairs.format.rows import row_files
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.sources.base import Face
from lrfr.pairs.store import Store
from tests.pairs.faults import forked
from tests.pairs.toy import SPEC, ToySource, ingest, tree

SPECS = [parse_spec(SPEC), parse_spec(SPEC.replace("name: toy", "name: other").replace("seed: 3", "seed: 4"))]
SERIAL = Runner("serial")


@dataclass(frozen=True)
class Some(ToySource):
    """The toy faces whose number gives a remainder in ``keep``; those in ``other`` have other bytes."""

    keep: tuple[int, ...] = tuple(range(10))
    other: tuple[int, ...] = ()
    names: str = "id"

    def faces(self) -> list[Face]:
        listed = enumerate(super().faces())
        return [
            replace(
                face, label=face.label.replace("id", self.names), place=(*face.place, index in self.other)
            )
            for index, face in listed
            if index % 10 in self.keep
        ]

    def read(self, place):
        return replace(self, salt=self.salt + place[2]).toy(place[:2])

    def toy(self, place):
        return ToySource.read(self, place)


def write(root, source, specs=SPECS, view="default", **options):
    return make_pairs(
        ingest(source),
        specs,
        store=root,
        view=ViewOptions(view),
        options=MakeOptions(**options),
        runner=SERIAL,
    )


def extend(root, source, **options):
    return write(root, source, (), extend="default", **options)


def shown(root, view="default"):
    """Return all that a view shows, as one text: its order of two epochs, pixels, labels, keys, variants."""
    dataset = PairDataset(root, view)
    total = hashlib.sha256(dataset.digest.encode())
    loader = PairLoader(dataset, 16, seed=5, drop_last=False)
    for epoch in (0, 1):
        for batch in loader.iterate(epoch):
            for tensor in (batch.hr_bchw, batch.lr_bchw, batch.label_b, batch.attributes_ba, batch.row_b):
                total.update(tensor.numpy().tobytes())
    total.update(b"".join(dataset.key(place) for place in range(len(dataset))))
    total.update(repr((dataset.label_names, dataset.attribute_names)).encode())
    return total.hexdigest()


def test_the_same_rows_by_any_history_are_the_same_view(folder):
    whole = write(folder / "whole", Some())
    write(folder / "grown", Some(keep=(0, 1, 2, 3, 4, 5)))
    extend(folder / "grown", Some(keep=(6, 7)))
    grown = extend(folder / "grown", Some(keep=(8, 9)))
    write(folder / "other", Some(keep=(9, 3)))
    extend(folder / "other", Some(keep=(0, 1, 2, 4)))
    other = extend(folder / "other", Some(keep=(5, 6, 7, 8)))
    assert [len(made.parts) for made in (whole, grown, other)] == [1, 3, 3]
    assert whole.id == grown.id == other.id
    assert shown(folder / "whole") == shown(folder / "grown") == shown(folder / "other")
    for name in ("whole", "grown", "other"):
        assert verify(Store(folder / name), deep=True) == []


def test_a_grown_source_writes_only_what_is_new(folder):
    write(folder / "s", Some(keep=tuple(range(9))))
    before = tree(folder / "s")
    made = write(folder / "s", Some())
    new = len(Some(keep=(9,)).faces())
    assert (made.done.hr_written, made.done.lr_written) == (new, 2 * new)
    assert (made.done.counts.new, made.done.counts.kept) == (new, 192 - new)
    after = tree(folder / "s")
    assert {path: after.get(path) for path in before if "views" not in path} == {
        path: value for path, value in before.items() if "views" not in path
    }
    again = write(folder / "s", Some())
    assert (again.done.hr_written, again.done.lr_written, tree(folder / "s")) == (0, 0, after)
    assert made.id == write(folder / "whole", Some()).id


def test_a_source_that_shrinks_hides_rows_and_writes_nothing(folder):
    write(folder / "s", Some())
    made = write(folder / "s", Some(keep=tuple(range(8))))
    assert (made.done.hr_written, made.done.lr_written, made.done.counts.gone) == (0, 0, 38)
    assert len(PairDataset(folder / "s")) == 154 and made.parts[0].mask
    assert made.id == write(folder / "fresh", Some(keep=tuple(range(8)))).id
    assert shown(folder / "s") == shown(folder / "fresh")
    back = write(folder / "s", Some())
    assert (back.done.hr_written, len(back.parts), back.parts[0].mask) == (0, 1, None)


def test_few_rows_of_a_large_base_are_written_where_its_variants_would_cost_more(folder):
    write(folder / "s", Some(), specs=())
    made = write(folder / "s", Some(keep=(4,)), view="few")
    few = len(Some(keep=(4,)).faces())
    assert (made.done.hr_written, made.done.lr_written) == (few, 2 * few)
    again = write(folder / "s", Some(keep=(4,)), view="few")
    assert (again.done.hr_written, again.done.lr_written, again.id) == (0, 0, made.id)
    bare = write(folder / "s", Some(keep=(5,)), specs=(), view="bare")
    assert bare.done.hr_written == 0, "HR alone costs nothing to show"


def test_a_key_that_returns_with_other_bytes_is_an_error_unless_it_replaces(folder):
    write(folder / "s", Some(keep=(0, 1, 2, 3)))
    before = tree(folder / "s")
    back = Some(keep=(3, 4), other=(3, 13, 23, 33))
    with pytest.raises(
        DataError, match=r"4 keys of the view .*'id000/3', 'id001/5', 'id002/7', \.\.\."
    ) as caught:
        extend(folder / "s", back)
    assert "--replace" in str(caught.value.hint) and tree(folder / "s") == before
    made = extend(folder / "s", back, replace=True)
    assert made.done.counts.replaced == 4 and made.done.counts.new == 19
    mixed = Some(keep=(0, 1, 2, 3, 4), other=(3, 13, 23, 33))
    assert made.id == write(folder / "fresh", mixed).id and shown(folder / "s") == shown(folder / "fresh")
    with pytest.raises(SpecError, match="replace goes with extend"):
        write(folder / "s", Some(), replace=True)


def test_a_key_that_returns_under_another_name_is_an_error_too(folder):
    write(folder / "s", Some(keep=(0, 1)))
    with pytest.raises(DataError, match=r"20 keys of the view .*other bytes or labels"):
        extend(folder / "s", Some(keep=(0, 2), names="who"))
    made = extend(folder / "s", Some(keep=(0, 2), names="who"), replace=True)
    assert made.done.counts.replaced == 20 and len(PairDataset(folder / "s")) == 59
    assert verify(Store(folder / "s")) == []


def test_labels_join_by_name(folder):
    write(folder / "s", ToySource(ids=4, per_id=2), specs=())
    one = PairDataset(folder / "s")
    extend(folder / "s", ToySource(ids=6, per_id=3))
    both = PairDataset(folder / "s")
    assert (one.num_classes, both.num_classes, len(both)) == (4, 6, 18)
    for place in range(len(both)):
        assert both.key(place).decode().startswith(both.label_names[both.labels[place]] + "/")


@dataclass(frozen=True)
class Told(Some):
    """Some toy faces with a split and an attribute of their own."""

    split: str = ""
    attribute: str = "Odd"

    def faces(self) -> list[Face]:
        return [
            replace(face, split=self.split, attributes={self.attribute: index % 2})
            for index, face in enumerate(super().faces())
        ]


def test_splits_and_attributes_join_by_name(folder):
    write(folder / "s", Told(keep=(0, 1), split="train"))
    extend(folder / "s", Told(keep=(2,), split="dev", attribute="Smiling"))
    both = PairDataset(folder / "s")
    assert both.attribute_names == ("Odd", "Smiling")
    for split, column, count in (("train", 0, 40), ("dev", 1, 19)):
        part = PairDataset(folder / "s", split=split)
        assert len(part) == count and part.attribute_names == (both.attribute_names[column],)
        assert (part.attributes >= 0).all()
        rows = np.isin(both.rows, part.rows)
        assert (both.attributes[rows][:, [column]] == part.attributes).all()
        assert (both.attributes[rows][:, 1 - column] == -1).all()
    alone = write(folder / "dev", Told(keep=(2,), split="dev", attribute="Smiling"))
    assert PairDataset(folder / "s", split="dev").digest == alone.id


def test_a_table_is_the_same_bytes_however_its_columns_lie_in_memory(folder):
    rows = write(folder / "s", Told(keep=(0, 1)), specs=())
    table = Store(folder / "s").rows(rows.parts[0].base).table()
    wide = replace(table, attributes=np.repeat(table.attributes, 3, 1), attribute_names=("A", "B", "C"))
    turned = replace(wide, attributes=np.asfortranarray(wide.attributes))
    assert list(row_files(wide)) == list(row_files(turned))
    np.save(folder / "f.npy", turned.attributes)
    assert np.array_equal(map_array(folder / "f.npy"), wide.attributes)


def test_exports_cards_and_spawned_readers_of_a_grown_view_are_those_of_a_whole_one(folder, tmp_path):
    write(folder / "whole", Some(keep=(0, 1, 2)))
    write(folder / "grown", Some(keep=(0, 2)))
    extend(folder / "grown", Some(keep=(1,)))
    for form in ("folders", "webdataset"):
        found = []
        for name in ("whole", "grown"):
            out = tmp_path / f"{name}-{form}"
            Store(folder / name).export(out, form=form)
            found.append(
                {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
            )
        assert found[0] == found[1] and len(found[0]) >= (1 if form == "webdataset" else 3 * 59)
    text = Store(folder / "grown").card()
    assert "59 of 59 images" in text and text.count("- base: `") == 2 and text.count("- source: ") == 2
    small = pickle.dumps(PairDataset(folder / "grown"))
    again = pickle.loads(small)
    places = np.arange(59)
    assert again.key(58) == PairDataset(folder / "whole").key(58) and len(small) < 20_000
    assert (again.batch(places, 1).lr_bchw == PairDataset(folder / "whole").batch(places, 1).lr_bchw).all()


def test_reading_many_shards_lists_no_folder_and_keeps_them_open(folder, monkeypatch):
    monkeypatch.setattr(shard_layout, "FEW_SHARDS", 4)
    write(folder / "s", Some(ids=60))  # 480 rows: eight shards of HR and of each variant
    extend(folder / "s", Some(ids=70))
    dataset, opened, real = PairDataset(folder / "s"), [], lmdb_files._open_file
    lmdb_files.REGISTRY.clear()
    registry = lmdb_files.Registry()
    registry._limit = 4
    monkeypatch.setattr("lrfr.pairs.format.reader.REGISTRY", registry)
    monkeypatch.setattr(lmdb_files, "_open_file", lambda *args: opened.append(args[0]) or real(*args))
    monkeypatch.setattr(os, "scandir", lambda path: pytest.fail(f"{path} was listed"))
    for epoch in range(4):
        for first in range(0, 560, 40):
            dataset.batch(np.arange(first, first + 40), epoch)
    assert len(opened) == len(set(opened)) > 20, "every shard is opened once"
    registry.clear()


def test_extending_twice_and_with_nothing_new_changes_nothing(folder):
    write(folder / "s", Some(keep=(0, 1)))
    extend(folder / "s", Some(keep=(2,)))
    before = tree(folder / "s")
    made = extend(folder / "s", Some(keep=(1, 2)))
    assert (made.done.hr_written, made.done.lr_written, tree(folder / "s")) == (0, 0, before)
    report = Store(folder / "s").report("default")
    assert [item.seen for item in report.told] == [40, 19, 39]
    extend(folder / "s", Some(keep=(1, 2)))
    assert Store(folder / "s").report("default") == report


def test_an_extension_keeps_variants_weights_and_filter_and_takes_the_views_crops(folder):
    view = ViewOptions("v", weights=(3.0, 1.0), min_per_id=2)
    make_pairs(ingest(Some(keep=(0, 1)), seed=7), SPECS, store=folder / "s", view=view, runner=SERIAL)
    old = Store(folder / "s").view("v")
    options = MakeOptions(extend="v")
    made = make_pairs(ingest(Some(keep=(2,))), store=folder / "s", view="v", options=options, runner=SERIAL)
    assert (made.variants, made.filter) == (old.variants, old.filter) and made.id != old.id
    assert {base.permutation_seed for base in made.done.bases} == {7}


def test_parts_that_are_not_made_alike_are_refused_before_anything_is_written(folder):
    write(folder / "s", Some(keep=(0,)))
    before = tree(folder / "s")
    other = replace(ingest(Some(keep=(1,))))
    swapped = replace(
        other, options=replace(other.options, prepare=replace(other.options.prepare, color="bgr"))
    )
    with pytest.raises(DataError, match="color bgr, not rgb"):
        make_pairs(swapped, store=folder / "s", options=MakeOptions(extend="default"), runner=SERIAL)
    assert tree(folder / "s") == before


def test_a_plan_tells_what_would_become_of_rows(folder):
    write(folder / "s", Some(keep=(0, 1, 2)))
    store, source = Store(folder / "s"), ingest(Some(keep=(2, 3), other=(2,)))
    options = MakeOptions(extend="default", replace=True)
    found = estimate(store, source, (), SERIAL, options=options)
    assert found.as_json()["row_counts"] == {"new": 19, "kept": 58, "replaced": 1, "gone": 0}
    assert [part.images for part in found.parts] == [38, 20, 20, 20] and found.rows == 78
    made = extend(folder / "s", Some(keep=(2, 3), other=(2,)), replace=True)
    assert made.done.counts == found.counts and made.done.hr_written == 20


def test_gc_keeps_the_parts_and_masks_of_views(folder):
    write(folder / "s", Some(keep=(0, 1, 2)))
    extend(folder / "s", Some(keep=(2, 3), other=(2,)), replace=True)
    store, before = Store(folder / "s"), tree(folder / "s")
    assert store.gc().removed == () and tree(folder / "s") == before
    write(folder / "s", Some(keep=(3,)))
    assert any(path.startswith("masks/") for path in store.gc().removed)
    assert verify(store, deep=True) == [] and len(PairDataset(folder / "s")) == 19


def test_damage_in_a_part_or_mask_is_found_and_repaired_from_the_grown_source(folder):
    write(folder / "s", Some(keep=tuple(range(9))))
    write(folder / "s", Some())
    write(folder / "s", Some(keep=(0, 2, 3, 4, 5, 6, 7, 8, 9)))
    store = Store(folder / "s")
    mask = next((folder / "s" / "masks").iterdir())
    mask.write_bytes(mask.read_bytes()[:-1] + b"\xff")
    assert [finding.fault.split()[1] for finding in verify(store)] == ["mask"]
    assert str(mask) in store.repair().left[0]
    write(folder / "s", Some())
    before = tree(folder / "s")
    for shard in sorted((folder / "s").rglob("hr-00000.mdb")):
        shard.write_bytes(b"")
        assert store.repair(ingest(Some())).left == []
    assert tree(folder / "s") == before and verify(store, deep=True) == []


def test_a_compacted_view_is_the_one_that_was_built_at_once(folder):
    write(folder / "s", Some(keep=(0, 1, 2)))
    extend(folder / "s", Some(keep=(2, 3), other=(2, 12)), replace=True)
    grown, store = extend(folder / "s", Some(keep=(4,))), Store(folder / "s")
    expected = shown(folder / "s")
    assert len(grown.parts) == 3
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped):
        store.compact(hooks=Hooks(should_stop=lambda: next(asked)))
    done = store.compact()
    assert (done.view.id, done.parts, shown(folder / "s")) == (grown.id, 3, expected)
    store.gc()
    write(folder / "whole", Some(keep=(0, 1, 2, 3, 4), other=(2, 12)))
    assert tree(folder / "s") == tree(folder / "whole") and verify(store, deep=True) == []
    assert store.compact().copied == 0


def test_columns_come_along_when_parts_become_one(folder):
    write(folder / "s", Some(keep=(0, 1)))
    extend(folder / "s", Some(keep=(2,)))
    store = Store(folder / "s")
    numbers = np.arange(59, dtype=np.float32)
    store.write_column("default", "number", numbers, producer="test")
    done = store.compact()
    assert done.columns_left == () and len(done.view.parts) == 1
    assert np.array_equal(np.asarray(PairDataset(folder / "s").column("number")), numbers)


def test_parts_of_several_codecs_become_one(folder, monkeypatch):
    specs = [parse_spec(SPEC.replace("choice: [5, 7]", "choice: [5, 40]").replace("size: 16", "size: 40"))]

    def some(root, source, **options):
        given = Ingest(source, BaseOptions(Prepare(size_px=40)))
        return make_pairs(given, specs, store=root, options=MakeOptions(**options), runner=SERIAL)

    with monkeypatch.context() as patch:
        patch.setattr("lrfr.pairs.build.lr.LR_CODEC", "raw-png")
        patch.setattr(lr_task, "__defaults__", ("raw-png",))
        some(folder / "s", Some(keep=(0, 1, 2, 3)))
    some(folder / "s", Some(keep=(4, 5)), extend="default")
    expected = shown(folder / "s")
    Store(folder / "s").compact()
    Store(folder / "s").gc()
    assert shown(folder / "s") == expected
    some(folder / "whole", Some(keep=(0, 1, 2, 3, 4, 5)))
    assert tree(folder / "s") == tree(folder / "whole")


def test_a_view_that_is_extended_keeps_its_variants_or_names_all(folder):
    write(folder / "s", Some(keep=(0,)))
    for options in ({"variants": 3}, {"traces": True}):
        with pytest.raises(SpecError, match="keeps its own variants"):
            extend(folder / "s", Some(keep=(1,)), **options)
    one = write(folder / "s", Some(keep=(1,)), SPECS[:1], extend="default")
    assert len(one.variants) == 1 and one.done.lr_written == 20
    with pytest.raises(SpecError, match="did you mean 'default'"):
        write(folder / "s", Some(keep=(1,)), (), extend="defualt")


@pytest.mark.parametrize("shape", [(1 << 50,), (-5,), (3, 3), (0,)])
def test_a_column_whose_header_lies_is_refused_without_memory_for_it(tmp_path, shape):
    path = tmp_path / "labels.npy"
    with path.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, {"descr": "<i4", "fortran_order": False, "shape": shape})
        handle.write(b"1234")
    with pytest.raises(DataError, match=r"labels\.npy.*not an array"):
        map_array(path)


def kill_at_random(folder, count, seed):
    """Kill an extension at random moments until it is done; return how many ends differ."""
    write(folder / "whole", Some(keep=(0, 1, 2, 3)))
    start = time.monotonic()
    extend(folder / "whole", Some(keep=tuple(range(3, 10))))
    took, expected = time.monotonic() - start, tree(folder / "whole")
    source, differing = random.Random(seed), 0
    for number in range(count):
        root = folder / f"killed{number}"
        write(root, Some(keep=(0, 1, 2, 3)))
        for _ in range(2):
            pid = forked(lambda root=root: extend(root, Some(keep=tuple(range(3, 10)))))
            time.sleep(source.uniform(0, took))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        extend(root, Some(keep=tuple(range(3, 10))))
        differing += tree(root) != expected
    return differing


def test_a_killed_extension_goes_on_and_ends_as_if_it_was_not(folder):
    assert kill_at_random(folder, 6, seed=1) == 0


@pytest.mark.soak
def test_a_hundred_killed_extensions(folder):
    assert kill_at_random(folder, 100, seed=2) == 0


def test_a_store_of_before_the_form_was_settled_is_read_as_it_is(folder):
    """Row tables lay in one packed file then, and a view named one base."""
    from lrfr.core.files import seal, sha256_hex, unseal

    made = write(folder / "s", Some())
    expected, store = shown(folder / "s"), Store(folder / "s")
    base = store.base(made.parts[0].base)
    rows = store.rows(base.name).table()
    names = ("label_names", "attribute_names", "split_names")
    packed = {
        name: np.array(getattr(rows, name)) for name in ("key_blob", "key_ends", "attributes", "splits")
    }
    packed |= {name: np.array(getattr(rows, name)) for name in ("digests", "crops", "sizes")}
    for name in names:
        text = "".join(f"{item}\0" for item in getattr(rows, name))
        packed[name] = np.frombuffer(text.encode(), np.uint8)
    np.savez(base / "rows.npz", **packed)
    for path in base.glob("*.npy"):
        if path.name != "labels.npy":
            path.unlink()
    manifest = unseal((base / "manifest.json").read_bytes(), "")
    manifest |= {"parts": [], "files": {}}
    manifest["files"] = {name: sha256_hex((base / name).read_bytes()) for name in ("labels.npy", "rows.npz")}
    (base / "manifest.json").write_bytes(seal(manifest))
    view = unseal((folder / "s" / "views" / "default.json").read_bytes(), "")
    (part,) = view.pop("parts")
    view["base"] = part["base"]
    for ref, key in zip(view["variants"], part["lr"], strict=True):
        ref["action"] = key
    (folder / "s" / "views" / "default.json").write_bytes(seal(view))
    assert verify(store, deep=True) == [] and shown(folder / "s") == expected
    again = write(folder / "s", Some())
    assert (again.done.hr_written, again.done.lr_written, again.id) == (0, 0, made.id)
    assert len(extend(folder / "s", ToySource(ids=25, per_id=8)).parts) == 2
    assert json.loads((folder / "s" / "views" / "default.json").read_bytes())["parts"]


def test_what_another_process_added_before_the_lock_was_taken_stays(folder, monkeypatch):
    write(folder / "s", Some(keep=(0, 1, 2)))
    resolved, others = make.wish, [Some(keep=(3, 4))]

    def late(*asked):
        found = resolved(*asked)
        while others:
            extend(folder / "s", others.pop())
        return found

    monkeypatch.setattr(make, "wish", late)
    made = extend(folder / "s", Some(keep=(5,)))
    assert made.id == write(folder / "whole", Some(keep=(0, 1, 2, 3, 4, 5))).id
    assert shown(folder / "s") == shown(folder / "whole")


@dataclass(frozen=True)
class Uneven(Some):
    """Faces with bytes under two keys, without label, of several splits, and an attribute of some alone."""

    first: int = 0

    def faces(self):
        found = []
        for face in super().faces():
            number = face.place[0] * 8 + face.place[1]
            label = "" if number % 7 == 0 else face.label
            split = ("train", "test", "")[number % 3]
            place = (0, 0, False) if number % 11 == 0 else face.place
            known = {"Rare": number % 2} if face.place[0] < 5 else {}
            if face.place[0] >= self.first:
                found.append(replace(face, label=label, split=split, place=place, attributes=known))
        return found


def test_what_hidden_rows_have_is_seen_nowhere(folder):
    made = write(folder / "s", Uneven())
    assert PairDataset(folder / "s").attribute_names == ("Rare",)
    parts = write(folder / "p", Uneven(keep=(0, 1, 2, 3)))
    for keep in ((4, 5, 6), (7, 8, 9)):
        parts = extend(folder / "p", Uneven(keep=keep))
    assert parts.id == made.id and shown(folder / "p") == shown(folder / "s")
    made = write(folder / "s", Uneven(first=5))
    whole = write(folder / "w", Uneven(first=5))
    assert made.id == whole.id and PairDataset(folder / "s").attribute_names == ()
    assert shown(folder / "s") == shown(folder / "w")
    # a split is known by the id of a view of its rows, and shows the same
    assert PairDataset(folder / "s", split="test").digest == PairDataset(folder / "w", split="test").digest


@pytest.mark.parametrize("share", [0.01, 0.5], ids=["long runs", "short runs"])
def test_rows_of_two_tables_are_merged_as_lists_are(share):
    """Neighbors are copied as they lie, rows that alternate one by one: what Python's lists give."""
    random = np.random.default_rng(0)
    keys = [[random.bytes(int(size)) for size in random.integers(0, 9, 900)] for _ in range(2)]
    tables = [(np.frombuffer(b"".join(own), np.uint8), np.cumsum([*map(len, own)])) for own in keys]
    second = random.random(900) < share
    rows = np.flatnonzero(random.random(900) < 0.95)
    part = second[: len(rows)].astype(int)
    of = [(*tables[k], rows[part == k], np.flatnonzero(part == k)) for k in range(2)]
    blob, ends = join_keys(of, len(rows))
    expected = [keys[k][row] for k, row in zip(part.tolist(), rows.tolist(), strict=True)]
    assert blob.tobytes() == b"".join(expected) and ends.tolist() == np.cumsum([*map(len, expected)]).tolist()
    into, column = np.zeros((900, 2)), random.random((900, 2))
    copy_rows(into, of[0][3], column, of[0][2])
    assert np.array_equal(into[of[0][3]], column[of[0][2]]) and not into[of[1][3]].any()
