"""Names of bases, variants and views, tested both ways: what decides the bytes moves the id, and nothing else
does.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from lrfr.core.errors import DataError
from lrfr.core.files import seal, unseal
from lrfr.core.progress import Hooks, Stopped
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.ingest import IngestOptions
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.care.verify import verify
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.view_manifest import View
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.folder import FolderSource
from lrfr.pairs.store import Store
from tests.pairs import golden
from tests.pairs.toy import SIDE, SPEC, ToySource, build, ingest, tree
from tests.pairs.zoo import picture, save

SOURCE = ToySource(ids=6, per_id=4)
MARKS = {face.key: (4.0, 5.0, 11.0, 5.0, 8.0, 8.0, 5.0, 11.0, 10.0, 11.0) for face in SOURCE.faces()}


class Changed(ToySource):
    """A toy source whose faces are changed one by one."""

    def __init__(self, change, **options):
        super().__init__(ids=6, per_id=4, **options)
        object.__setattr__(self, "change", change)

    def faces(self):
        return [self.change(index, face) for index, face in enumerate(super().faces())]


def first(**fields):
    return Changed(lambda index, face: replace(face, **fields) if index == 3 else face)


def aligned(landmarks=MARKS, source=SOURCE, **options):
    return Ingest(source, BaseOptions(Prepare(SIDE, aligned=True), **options), landmarks)


def ids(folder, source, spec=SPEC, view="default", options=None, runner=None):
    """Return (base, content, variant, view) of a build in a folder of its own."""
    root = folder / f"{len(list(folder.iterdir()))}"
    made = make_pairs(source, [parse_spec(spec)], store=root, view=view, options=options, runner=runner)
    return made.parts[0].base, made.done.bases[0].content, made.parts[0].lr[0], made.id


def moved(before, after):
    names = ("base", "content", "variant", "view")
    return {name for name, one, other in zip(names, before, after, strict=True) if one != other}


ALL = {"base", "content", "variant", "view"}
LABELS = {"base", "view"}
MOVES = {
    "bytes of an image": (ingest(replace(SOURCE, salt=1)), ALL),
    "a key": (ingest(first(key="id000/other")), ALL),
    "one face less": (ingest(ToySource(ids=6, per_id=3)), ALL),
    "a label": (ingest(first(label="id999")), LABELS),
    "an attribute": (ingest(first(attributes={"Odd": 1})), LABELS),
    "a split": (ingest(first(split="dev")), LABELS),
    "the seed of the rows": (ingest(SOURCE, seed=1), ALL),
    "quality": (Ingest(SOURCE, BaseOptions(Prepare(SIDE, quality=94))), ALL),
    "color order": (Ingest(SOURCE, BaseOptions(Prepare(SIDE, color="bgr"))), ALL),
    "alignment": (aligned(), ALL),
    "records of a block": (ingest(SOURCE, access="random"), {"base"}),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_decides_a_base_moves_its_id(folder, name):
    source, expected = MOVES[name]
    assert moved(ids(folder, ingest(SOURCE)), ids(folder, source)) == expected


@pytest.mark.parametrize(
    "constant",
    [
        "lrfr.pairs.build.prepare.DECODER_REVISION",
        "lrfr.pairs.build.prepare.ENCODER_REVISION",
        "lrfr.pairs.build.prepare.FIT_REVISION",
        "lrfr.pairs.build.plan.LAYOUT",
    ],
)
def test_a_raised_revision_moves_every_id(folder, monkeypatch, constant):
    before = ids(folder, ingest(SOURCE))
    if "LAYOUT" in constant:
        from lrfr.pairs.build import plan

        rows = make_pairs(ingest(SOURCE), store=folder / "layout").done.bases[0]
        monkeypatch.setattr(plan, "LAYOUT", 99)
        table = Store(folder / "layout").rows(rows.id).table()
        assert plan.content_identity(table, rows.crop, 0) != before[1]
        return
    monkeypatch.setattr(constant, 99)
    assert moved(before, ids(folder, ingest(SOURCE))) == ALL


def test_the_revision_of_the_alignment_names_aligned_bases_only(folder, monkeypatch):
    plain, cut = ids(folder, ingest(SOURCE)), ids(folder, aligned())
    monkeypatch.setattr("lrfr.pairs.build.prepare.ALIGN_REVISION", 99)
    assert moved(plain, ids(folder, ingest(SOURCE))) == set()
    assert moved(cut, ids(folder, aligned())) == ALL


def test_landmarks_of_any_row_name_the_base(folder):
    before = ids(folder, aligned())
    key = SOURCE.faces()[-1].key
    shifted = {**MARKS, key: (4.5, *MARKS[key][1:])}
    assert moved(before, ids(folder, aligned(shifted))) == ALL
    more = {**MARKS, "nobody": MARKS[key]}
    backwards = dict(reversed(list(MARKS.items())))
    for same in (more, backwards):
        assert moved(before, ids(folder, aligned(same))) == set()


def test_a_half_built_base_of_other_landmarks_is_not_continued(folder):
    source = ToySource()  # three shards
    marks = {face.key: next(iter(MARKS.values())) for face in source.faces()}
    other = {key: (4.5, *points[1:]) for key, points in marks.items()}
    asked = iter([False] * 3 + [True] * 100)
    with pytest.raises(Stopped):
        make_pairs(
            aligned(marks, source),
            store=folder / "s",
            runner=Runner("serial"),
            hooks=Hooks(should_stop=lambda: next(asked)),
        )
    assert list((folder / "s").rglob("*.mdb"))
    made = make_pairs(aligned(other, source), store=folder / "s")
    assert made.done.hr_written == 192
    make_pairs(aligned(other, source), store=folder / "whole")
    part = f"base/{made.parts[0].base}/"
    one, whole = tree(folder / "s"), tree(folder / "whole")
    assert {k: v for k, v in one.items() if k.startswith(part)} == {
        k: v for k, v in whole.items() if k.startswith(part)
    }


VARIANTS = {
    "seed": SPEC.replace("seed: 3", "seed: 4"),
    "a parameter": SPEC.replace("filter: bicubic, antialias", "filter: bilinear, antialias", 1),
    "upsampled": SPEC.replace("lr: native", "lr: upsampled"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_decides_a_variant_moves_its_id_and_not_the_base(folder, name):
    before = ids(folder, ingest(SOURCE))
    assert moved(before, ids(folder, ingest(SOURCE), VARIANTS[name])) == {"variant", "view"}


def test_traces_make_another_variant(folder):
    before = ids(folder, ingest(SOURCE))
    after = ids(folder, ingest(SOURCE), options=MakeOptions(traces=True))
    assert moved(before, after) == {"variant", "view"}


def test_the_way_up_moves_the_view_alone(folder):
    other = SPEC.replace("up: {size: 16, filter: bicubic", "up: {size: 16, filter: bilinear")
    assert moved(ids(folder, ingest(SOURCE)), ids(folder, ingest(SOURCE), other)) == {"view"}


INCIDENTAL = {
    "listed backwards": lambda: (ingest(Changed(lambda _, face: face)), {}),
    "a spec's name": lambda: (ingest(SOURCE), {"spec": SPEC.replace("name: toy", "name: other")}),
    "a license": lambda: (ingest(SOURCE), {"spec": SPEC.replace("name: toy", "name: toy\nlicense: mine")}),
    "processes": lambda: (ingest(SOURCE), {"runner": Runner("process", workers=2, start="fork")}),
    "rehashed": lambda: (replace(ingest(SOURCE), cached=False), {}),
    "the view's name": lambda: (ingest(SOURCE), {"view": "another"}),
    "a filter that keeps all": lambda: (ingest(SOURCE), {"view": ViewOptions(min_per_id=2)}),
    "weights to scale": lambda: (ingest(SOURCE), {"view": ViewOptions(weights=(7.0,))}),
}


@pytest.mark.parametrize("name", INCIDENTAL)
def test_incidentals_move_no_id(folder, name):
    source, options = INCIDENTAL[name]()
    assert moved(ids(folder, ingest(SOURCE)), ids(folder, source, **options)) == set()


def test_an_estimated_cost_moves_nothing(folder, monkeypatch):
    build(folder / "a")
    monkeypatch.setattr("lrfr.degrade.pipeline.Pipeline.cost_ms", 5000.0)
    build(folder / "b")
    assert tree(folder / "a") == tree(folder / "b")


def test_another_layout_has_the_same_ids_and_is_read_as_it_lies(folder, monkeypatch):
    plain = build(folder / "plain")
    with monkeypatch.context() as patch:
        patch.setattr("lrfr.pairs.format.shard_layout.SHARDS_TO_SHARE", 1)
        wide = build(folder / "wide")
    assert (wide.parts[0].base, wide.parts[0].lr[0], wide.id) == (
        plain.parts[0].base,
        plain.parts[0].lr[0],
        plain.id,
    )
    assert len(wide.done.bases[0].shards) == 2 and len(plain.done.bases[0].shards) == 3
    assert verify(Store(folder / "wide"), deep=True) == []
    rows = np.arange(192)
    one, other = (PairDataset(folder / name).batch(rows, 3) for name in ("plain", "wide"))
    assert one.hr_bchw.equal(other.hr_bchw) and one.lr_bchw.equal(other.lr_bchw)
    again = build(folder / "wide").done
    assert (again.hr_written, again.lr_written) == (0, 0)


def test_duplicates_in_any_order_give_the_same_bytes(folder):
    class Twins(ToySource):
        """Every identity has the same pictures; listed in an order of its own."""

        order = 1

        def faces(self):
            return super().faces()[:: self.order]

        def read(self, place):
            return super().read((0, place[1]))

    class Backwards(Twins):
        order = -1

    made = [build(folder / kind.__name__, source=kind(6, 4)) for kind in (Twins, Backwards)]
    assert tree(folder / "Twins") == tree(folder / "Backwards")
    assert [item.done.report.flagged for item in made] == [{"W_DUPLICATE": 20}] * 2
    lists = [
        (folder / name / "reports" / "default.quarantine.jsonl").read_bytes()
        for name in ("Twins", "Backwards")
    ]
    assert lists[0] == lists[1] and lists[0].count(b"W_DUPLICATE") == 20


def test_the_name_and_place_of_a_source_are_in_no_byte(folder):
    for index in range(6):
        (folder / "faces" / f"id{index % 2}").mkdir(parents=True, exist_ok=True)
        (folder / "faces" / f"id{index % 2}" / f"{index}.png").write_bytes(save(picture(index), "PNG"))
    shutil.copytree(folder / "faces", folder / "elsewhere" / "other name")
    for name, root in (("a", folder / "faces"), ("b", folder / "elsewhere" / "other name")):
        make_pairs(FolderSource(root), SPEC_64, store=folder / name, options=MakeOptions(IngestOptions(64)))
    assert tree(folder / "a") == tree(folder / "b")


SPEC_64 = parse_spec(SPEC.replace("size: 16", "size: 64"))


def test_found_and_forced_color_order_are_one_base(folder):
    from lrfr.pairs.sources.synthetic import render_face

    for person in range(8):
        (folder / "f" / f"p{person}").mkdir(parents=True)
        swapped = np.ascontiguousarray(render_face(person, 0, 0)[0][..., ::-1])
        (folder / "f" / f"p{person}" / "0.png").write_bytes(save(swapped, "PNG"))
    made = {
        color: make_pairs(folder / "f", store=folder / color, options=MakeOptions(IngestOptions(color=color)))
        .parts[0]
        .base
        for color in ("auto", "bgr", "rgb")
    }
    assert made["auto"] == made["bgr"] != made["rgb"]


def test_views_of_the_same_rows_are_one_view_whatever_base_they_lie_in(folder):
    few = make_pairs(ingest(ToySource(3, 4)), [parse_spec(SPEC)], store=folder / "few")
    names = ("id000", "id001", "id002")
    view = ViewOptions("some", ids=names[::-1])
    many = make_pairs(ingest(ToySource(6, 4)), [parse_spec(SPEC)], store=folder / "many", view=view)
    assert many.parts[0].base != few.parts[0].base and many.id == few.id
    rows = np.arange(12)
    one, other = (
        PairDataset(folder / "few").batch(rows, 1),
        PairDataset(folder / "many", "some").batch(rows, 1),
    )
    assert one.hr_bchw.equal(other.hr_bchw) and one.lr_bchw.equal(other.lr_bchw)
    assert one.label_b.equal(other.label_b)


def test_weights_and_rows_move_the_view(folder):
    specs = [parse_spec(SPEC), parse_spec(SPEC.replace("seed: 3", "seed: 4"))]
    views = [
        make_pairs(ingest(SOURCE), specs, store=folder / "s", view=view).id
        for view in (
            ViewOptions("a"),
            ViewOptions("b", weights=(2.0, 2.0)),
            ViewOptions("c", weights=(1.0, 3.0)),
            ViewOptions("d", ids=("id001",)),
        )
    ]
    assert views[0] == views[1] and len(set(views)) == 3


def test_golden_values_move_only_with_their_revision():
    assert not golden.moved(json.loads(golden.FILE.read_text()), golden.rendered())


def test_moved_output_and_unrenewed_revisions_are_told_apart(tmp_path, capsys):
    known = {"a": [1, "x"], "b": [1, [2, 0.5]], "c": [1, "z"], "gone": [1, "w"]}
    found = {"a": [1, "y"], "b": [1, [2, 0.5004]], "c": [2, "v"], "new": [1, "u"]}
    said = sorted(line.split(",")[0].split(";")[0] for line in golden.moved(known, found))
    assert said == [
        "a: other output under the same revision 1: raise it",
        "c: its revision is 2",
        "gone: is gone",
        "new: has no golden value",
    ]
    file = tmp_path / "values.json"
    file.write_text(json.dumps(known))
    assert golden.renew(file, found) == 1 and json.loads(file.read_text()) == known
    assert "a: other output" in capsys.readouterr().err
    found["a"] = [2, "y"]
    assert golden.renew(file, found) == 0 and json.loads(file.read_text()) == found


def test_a_field_that_is_not_what_it_must_be_is_named(folder):
    made = build(folder / "s")
    place = {
        BaseManifest: folder / "s" / "base" / made.parts[0].base / "manifest.json",
        VariantManifest: folder / "s" / "lr" / made.parts[0].lr[0] / "manifest.json",
        View: folder / "s" / "views" / "default.json",
    }
    wrong = [
        (BaseManifest, {"rows": "many"}, "rows"),
        (BaseManifest, {"shards": []}, "shards"),
        (BaseManifest, {"id": "../../etc"}, "id"),
        (BaseManifest, {"surplus": 1}, "surplus"),
        (VariantManifest, {"form": {"lr": "huge", "up": None, "traces": False}}, "form.lr"),
        (VariantManifest, {"variant": -1}, "variant"),
        (View, {"variants": [{"weight": 0}]}, "variants.0"),
        (View, {"variants": []}, "every part needs"),
        (View, {"layout": 4}, "layout 4"),
        (View, {"kind": "base"}, "kind 'base'"),
    ]
    for kind, change, named in wrong:
        path = place[kind]
        original = path.read_bytes()
        path.write_bytes(seal({**unseal(original, ""), **change}))
        with pytest.raises(DataError, match=named) as caught:
            kind.read(path)
        assert str(path) in str(caught.value)
        path.write_bytes(original)
        assert kind.read(path).seal() == original


def test_manifests_carry_what_the_living_store_will_need(folder):
    made = build(folder / "s")
    base, variant = made.done.bases[0], made.done.variants[0][0]
    assert (base.codec, variant.codec, variant.same_as_hr) == ("jpeg", "raw-zstd", 0)
    value = json.loads((folder / "s" / "lr" / variant.id / "manifest.json").read_bytes())
    assert {"same_as_hr", "codec"} <= value.keys() and value["layout"] == 3
    view = json.loads((folder / "s" / "views" / "default.json").read_bytes())
    assert view["parts"] == [{"base": base.id, "lr": [variant.id], "mask": None}]


def test_a_split_has_the_id_and_the_pairs_of_a_view_of_it(folder):
    halves = Changed(lambda index, face: replace(face, split="ab"[index % 2]))
    make_pairs(ingest(halves), [parse_spec(SPEC)], store=folder / "s")
    view = ViewOptions("a", split="a")
    made = make_pairs(ingest(halves), [parse_spec(SPEC)], store=folder / "s", view=view)
    whole, one, other = (PairDataset(folder / "s", split=split) for split in (None, "a", "b"))
    assert len({whole.digest, one.digest, other.digest}) == 3 and one.digest == made.id
    rows = np.arange(len(one))
    split, same = (dataset.batch(rows, 3) for dataset in (one, PairDataset(folder / "s", "a")))
    assert split.lr_bchw.equal(same.lr_bchw) and split.label_b.equal(same.label_b)
    assert split.row_b.tolist() == rows.tolist()
