"""Teachers that are run once a face: the same losses as with a teacher in every step, for every way to train."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.columns import column_rows
from lrfr.pairs.columns.column_manifest import unfinished_columns
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.pair_batch import Batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from lrfr.train import checkpoint
from lrfr.train.backbones.table import build_backbone
from lrfr.train.engine.journal import loss_trace
from lrfr.train.engine.loaders import flip
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from lrfr.train.weights import teacher_cache
from lrfr.train.weights.export_model import export
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.foreign.input_contract import Stated
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.teacher_cache import TeacherOutputs, cache_teacher
from lrfr.train.weights.trial.student_width import at_teachers_width
from tests.train.conftest import FAST

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store of its own, a teacher of ours, and the same as an ONNX file."""
    folder = tmp_path_factory.mktemp("cache")
    make_pairs("synthetic:ids=6,per_id=6,seed=3", "fskd", store=folder / "store")
    torch.manual_seed(0)
    recipe = load_recipe("baseline", "tiny")
    nets = recipe.make().build(6)
    identity = ModelIdentity("baseline", recipe.options, 6).as_dict()
    checkpoint.save(
        folder / "ours", checkpoint.Checkpoint(identity, checkpoint.model_tensors(nets), {"step": 1}, {}, {})
    )
    export(folder / "ours", folder / "out", onnx=True)
    (folder / "out/baseline-112.onnx").rename(folder / "teacher.onnx")
    return folder


@pytest.fixture(autouse=True)
def no_columns(place):
    for line in Store(place / "store").columns():
        Store(place / "store").drop_column("default", line.name)


def losses(place, run, teacher, *changes, max_steps=None, method="fskd", hooks=None):
    recipe = load_recipe(method, "tiny", [*FAST, "distance=embedding", *changes])
    train_model(
        recipe,
        (place / "store", "default"),
        run,
        parents={"teacher": place / teacher if isinstance(teacher, str) else teacher},
        options=FitOptions(max_steps=max_steps),
        hooks=hooks or Hooks(),
    )
    return loss_trace(run / "journal.jsonl")


def columns(place):
    return sorted(line.name for line in Store(place / "store").columns())


@pytest.mark.parametrize(
    "changes",
    [
        ["distance=embedding"],
        ["distance=rkd", "flip=none"],
        ["distance=logexp", "flip=independent"],
        ["distance=embedding", "contrast_weight=0.5", "read_workers=2"],
        ["distance=embedding", "shard_classes=true", "accumulate=2"],
    ],
)
def test_a_foreign_teacher_gives_the_same_bits_kept_or_asked(place, tmp_path, changes):
    asked = losses(place, tmp_path / "asked", "teacher.onnx", *changes, "cache_teacher=never")
    assert columns(place) == []
    kept = losses(place, tmp_path / "kept", "teacher.onnx", *changes)
    names = columns(place)
    assert len(names) == (1 if "flip=none" in changes else 2) and kept == asked and len(kept) == 6


@pytest.mark.parametrize(
    ("backbone", "wanted"),
    [
        ("small-cnn-14", "small-cnn-14-128d"),
        ("mobilefacenet-small-56", "mobilefacenet-small-56-128d"),
        ("tiny", "tiny"),
        (
            "small-cnn-14-64d",
            "small-cnn-14-64d",
        ),  # what is said stays, and is refused with the teacher's size
    ],
)
def test_a_student_is_as_wide_as_its_teacher_unless_it_says_otherwise(place, backbone, wanted):
    recipe = load_recipe("function-matching", "tiny", [f"backbone={backbone}"])
    for teacher in (ForeignFile(place / "teacher.onnx"), place / "ours"):
        found = at_teachers_width(recipe, {"teacher": teacher})
        assert found.options == {**recipe.options, "backbone": wanted}
    assert at_teachers_width(recipe, {}) is recipe
    if "64d" not in backbone:
        assert build_backbone(wanted).emb_dim == 128
    other = load_recipe("fskd", "tiny", ["backbone=iresnet18"])
    assert at_teachers_width(other, {"teacher": place / "ours"}) is other


@pytest.mark.parametrize(
    "changes",
    [
        ["distance=embedding"],
        ["distance=kl"],
        ["distance=rkd", "batch_size=12"],
        ["distance=embedding", "flip=lr", "amp=bf16"],  # kept as a step would compute it
    ],
)
def test_a_teacher_of_ours_gives_the_same_losses_kept_or_asked(place, tmp_path, changes):
    # other parts of a batch sum in another order; a step would make that ten times as much
    changes = [*changes, "lr=1e-7"]
    asked = losses(place, tmp_path / "asked", "ours", *changes)
    assert columns(place) == []
    kept = losses(place, tmp_path / "kept", "ours", *changes, "cache_teacher=always")
    assert len(columns(place)) == (1 if "flip=lr" in changes else 2)
    near = 1e-2 if "amp=bf16" in changes else 1e-5
    for (step, one), (other_step, other) in zip(asked, kept, strict=True):
        assert step == other_step and one == pytest.approx(other, rel=near, abs=1e-5)
    with pytest.raises(
        SpecError, match="cache_teacher is"
    ):  # numbers that are nearly the same have two names
        losses(place, tmp_path / "kept", "ours", *changes)


def test_workers_and_a_stop_change_no_bit_of_a_run_with_kept_outputs(place, tmp_path):
    whole = losses(place, tmp_path / "whole", "ours", "cache_teacher=always")
    workers = losses(place, tmp_path / "workers", "ours", "cache_teacher=always", "read_workers=2")
    losses(place, tmp_path / "stopped", "ours", "cache_teacher=always", max_steps=3)
    for name in columns(place):  # and they are computed again where they are gone
        Store(place / "store").drop_column("default", name)
    assert losses(place, tmp_path / "stopped", "ours", "cache_teacher=always") == whole == workers


def test_the_teacher_runs_once_a_face_and_once_for_its_mirror_image(place, tmp_path, monkeypatch):
    seen, compute = [], TeacherOutputs.__call__

    def counted(self, images):
        seen.append((self.mirrored, len(images)))
        return compute(self, images)

    monkeypatch.setattr(TeacherOutputs, "__call__", counted)
    faces = len(PairDataset(place / "store", "default"))
    losses(place, tmp_path / "a", "teacher.onnx", "train.length=12")
    assert seen == [(False, faces), (True, faces)]
    losses(place, tmp_path / "b", "teacher.onnx", "lambda=2")
    losses(place, tmp_path / "c", "teacher.onnx", "flip=none")
    assert len(seen) == 2
    stated = ForeignFile(place / "teacher.onnx", Stated(bgr=True))
    losses(place, tmp_path / "d", stated, "flip=none")
    assert seen[2:] == [(False, faces)]  # another reading of the input is another teacher


def test_kept_outputs_grow_with_the_view(tmp_path, place, monkeypatch):
    store = tmp_path / "store"
    make_pairs("synthetic:ids=4,per_id=4,seed=3", "fskd", store=store)
    cache_teacher(PairDataset(store, "default"), place / "ours")
    before = PairDataset(store, "default").column(columns(tmp_path)[0])[:]
    seen, compute = [], TeacherOutputs.__call__
    monkeypatch.setattr(TeacherOutputs, "__call__", lambda self, x: seen.append(len(x)) or compute(self, x))
    make_pairs("synthetic:ids=6,per_id=4,seed=3", "fskd", store=store)
    grown = PairDataset(store, "default")
    kept = cache_teacher(grown, place / "ours")
    assert len(grown) == 24 and kept.there(grown)
    values = grown.column(kept.name)[:]
    assert values.shape == (24, 128) and np.isfinite(values).all() and before.shape == (16, 128)


def test_a_small_view_of_a_large_base_asks_for_its_own_faces_and_a_larger_one_for_the_rest(
    place, tmp_path, monkeypatch
):
    """Whatever was kept stays, to the bit, also for who reads it meanwhile; a call that was stopped goes on."""
    monkeypatch.setattr(column_rows, "PART_ROWS", 4)
    store, source = tmp_path / "store", "synthetic:ids=6,per_id=4,seed=3"
    make_pairs(source, "fskd", store=store)
    few = [str(name) for name in PairDataset(store).label_names[:2]]
    make_pairs(source, "fskd", store=store, view=ViewOptions("few", ids=few))
    seen, compute = [], TeacherOutputs.__call__
    monkeypatch.setattr(TeacherOutputs, "__call__", lambda self, x: seen.append(len(x)) or compute(self, x))
    small, large = PairDataset(store, "few"), PairDataset(store)
    kept = cache_teacher(small, place / "ours", flips=False)
    assert sum(seen) == len(small) == 8 and kept.there(small) and not kept.there(large)
    reader, before = small.column(kept.name), small.column(kept.name)[:]
    with pytest.raises(DataError, match="16 rows have no value"):
        large.column(kept.name)[:]
    asked = []
    stop = Hooks(should_stop=lambda: asked.append(1) or len(asked) > 2)
    with pytest.raises(Stopped):
        kept.write(large, Runner("serial", hooks=stop))
    assert 8 < sum(seen) < 24 and kept.there(small) and np.array_equal(small.column(kept.name)[:], before)
    assert cache_teacher(large, place / "ours", flips=False).there(large) and sum(seen) == 24
    whole = large.column(kept.name)[:]
    assert np.array_equal(small.column(kept.name)[:], before) and np.array_equal(reader[:], before)
    assert np.isfinite(whole).all() and len(np.unique(whole[:, 0])) == 24
    assert cache_teacher(small, place / "ours", flips=False).there(small) and sum(seen) == 24
    assert not Store(store).verify(deep=True) and not unfinished_columns(Store(store))


def test_a_stop_between_two_columns_keeps_the_first(place, tmp_path):
    first = cache_teacher(PairDataset(place / "store"), place / "ours", flips=False)
    dataset = PairDataset(place / "store")
    both = dataclasses.replace(first, flips=True)
    assert first.there(dataset) and not both.there(dataset)
    runner = dataclasses.replace(
        teacher_cache._runner(dataset, Hooks()), hooks=Hooks(should_stop=lambda: True)
    )
    with pytest.raises(Stopped):
        both.write(dataset, runner)
    assert first.there(dataset) and not both.there(dataset)
    assert cache_teacher(dataset, place / "ours").there(dataset)


def test_where_nothing_can_be_written_a_foreign_teacher_runs_in_every_step(place, tmp_path, monkeypatch):
    asked = losses(place, tmp_path / "asked", "teacher.onnx", "cache_teacher=never")

    def full(*_args, **_more):
        raise EnvironmentFault("the disk is full")

    monkeypatch.setattr(teacher_cache, "write_column", full)
    notes = []
    found = losses(place, tmp_path / "full", "teacher.onnx", hooks=Hooks(on_note=notes.append))
    assert found == asked and any("cannot be kept: the disk is full" in note for note in notes)
    with pytest.raises(EnvironmentFault, match="full"):
        losses(place, tmp_path / "insists", "ours", "cache_teacher=always")


@pytest.mark.parametrize("mode", ["joint", "independent", "none"])
def test_kept_embeddings_turn_with_the_hr_faces(mode):
    images = torch.randint(
        0, 256, (40, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    number = torch.arange(40.0)[:, None]
    columns = {"e": number, "e_mirrored": -number, "own_mirrored": number}
    rows = torch.arange(40)
    batch = Batch(images, images, rows, rows, torch.zeros(40, 0, dtype=torch.int8), rows, columns)
    turned = flip(batch, mode, 3, 1)
    signs = [1 if torch.equal(one, other) else -1 for one, other in zip(turned.hr_bchw, images, strict=True)]
    assert turned.columns["e"][:, 0].tolist() == [sign * row for row, sign in enumerate(signs)]
    assert "own_mirrored" in turned.columns and (len(set(signs)) == 1) == (mode == "none")


def test_a_run_names_the_file_and_its_input(place, tmp_path):
    notes = []
    teacher = ForeignFile(place / "teacher.onnx", Stated("0,255"))
    losses(place, tmp_path / "run", teacher, max_steps=1, hooks=Hooks(on_note=notes.append))
    identity = json.loads((tmp_path / "run/run.json").read_text())["identity"]
    opened = ForeignEmbedder(teacher)
    assert identity["parents"] == {"teacher": opened.digest}
    assert identity["inputs"] == {"teacher": opened.contract.as_dict()}
    assert any(line.startswith("teacher: ") and "(stated)" in line for line in notes)
    with pytest.raises(SpecError, match=r"another run: .*inputs"):
        losses(place, tmp_path / "run", "teacher.onnx")


@pytest.mark.parametrize(
    ("teacher", "changes", "words"),
    [
        ("teacher.onnx", ["distance=cosine"], "gives embeddings alone.*compares maps.*layer1"),
        ("teacher.onnx", ["distance=kl"], "a foreign file, 128 wide.*has no head"),
        ("ours", ["distance=cosine", "cache_teacher=always"], "have no maps"),
    ],
)
def test_methods_that_need_more_are_refused_before_anything_is_made(place, tmp_path, teacher, changes, words):
    with pytest.raises(SpecError, match=words):
        losses(place, tmp_path / "run", teacher, *changes)
    assert not (tmp_path / "run").exists() and columns(place) == []


def test_other_roles_of_a_foreign_file_are_refused(place, tmp_path):
    view = (place / "store", "default")
    with pytest.raises(SpecError, match="cannot start a training"):
        train_model("baseline", view, tmp_path / "a", parents={"init": place / "teacher.onnx"})
    recipe = load_recipe("maug", "tiny", ["backbone=tiny", "cache_teacher=always"])
    with pytest.raises(SpecError, match="no frozen teacher"):
        train_model(recipe, view, tmp_path / "b")


def test_the_command_states_the_input_of_a_foreign_parent(place, lrfr, tmp_path):
    words = ["train", "fskd", "--store", place / "store", "--parent", f"teacher={place / 'teacher.onnx'}"]
    words += ["--set", "distance=embedding", "--set", "batch_size=16", "--max-steps", "1"]
    code, _, err = lrfr(*words, "--input-range", "0,255", "--bgr")
    assert code == 0, err
    inputs = json.loads((tmp_path / "runs/fskd/run.json").read_text())["identity"]["inputs"]["teacher"]
    assert inputs["channels"] == "bgr" and inputs["std"] == [1, 1, 1]
    code, _, err = lrfr("train", "baseline", "--store", place / "store", "--bgr")
    assert code == 2 and "no foreign file" in err
