"""Training with what it needs: parents are given, found or trained; those that cannot work are refused at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, LrfrError, SpecError
from lrfr.core.progress import Hooks, Stopped
from lrfr.experiment.models import open_recognizer
from lrfr.pairs.build.ingest import IngestOptions
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.executors.dispatch import Runner
from lrfr.train import checkpoint
from lrfr.train.engine.distributed import World
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.load_model import load_model
from lrfr.train.weights.model_identity import ModelIdentity
from tests.train.conftest import FAST

ALONE = FitOptions(world=World())
QUICK = dict(entry.split("=") for entry in [*FAST, "train.length=2", "train.milestones="])
QUICK = {key: value if key.endswith("unit") else int(value or 0) for key, value in QUICK.items()}
QUICK["train.milestones"] = []


def recipe(method, **changes):
    teacher = {f"parents.teacher.{key}": value for key, value in QUICK.items()} if method == "fskd" else {}
    return load_recipe(method, "tiny", {**QUICK, **teacher, **changes})


def test_the_teacher_is_trained_once_and_found_again(store, dataset, tmp_path):
    said, images = [], []
    hooks = Hooks(lambda done, total, **info: images.append(info.get("run")), said.append)
    run = train_model(recipe("fskd"), (store, "default"), tmp_path / "fskd", options=ALONE, hooks=hooks)
    assert (run.steps, run.total_steps, run.started_at) == (2, 2, 0) and len(run.losses) == 2
    assert run.parents == {"teacher": tmp_path / "teacher"} and {None, "teacher"} == set(images)
    assert said[0].startswith(f"teacher: training baseline (tiny) in {tmp_path / 'teacher'}, with settings")
    assert str(run).endswith(f"step 2 of 2, loss {run.losses[0]:.4g} -> {run.losses[1]:.4g}")
    face = np.zeros((20, 20, 3), np.uint8)
    assert np.array_equal(run.embedder()([face]), load_model(tmp_path / "fskd")([face]))
    assert run.digest == checkpoint.digest_of(tmp_path / "fskd")
    said.clear()
    train_model(recipe("fskd", seed=1), dataset, tmp_path / "again", options=ALONE, hooks=hooks)
    assert said[0] == f"teacher: using the finished run {tmp_path / 'teacher'}"
    again = train_model(recipe("fskd"), dataset, tmp_path / "fskd", options=ALONE)
    assert again.started_at == 2 and "finished before" in str(again)


def test_a_view_too_small_for_a_batch_leaves_no_folder(dataset, tmp_path):
    large = {"parents.teacher.train.batch_size": 4096}
    for _ in range(2):
        with pytest.raises(DataError, match=r"too few for one batch of 4096.*parents\.teacher"):
            train_model(recipe("fskd", **large), dataset, tmp_path / "fskd", options=ALONE)
    assert not list(tmp_path.iterdir())


def test_a_stop_during_the_teacher_starts_no_student(dataset, tmp_path):
    stop = Hooks(should_stop=lambda: (tmp_path / "teacher/journal.jsonl").exists())
    with pytest.raises(Stopped):
        train_model(recipe("fskd"), dataset, tmp_path / "fskd", options=ALONE, hooks=stop)
    assert not (tmp_path / "fskd/run.json").exists()
    assert train_model(recipe("fskd"), dataset, tmp_path / "fskd", options=ALONE).steps == 2


def test_evaluate_is_called_with_an_embedder(dataset, tmp_path):
    seen = []

    def evaluate(embed):
        seen.append(embed([np.zeros((14, 14, 3), np.uint8)]).shape)
        return {"score": 0.5}

    run = train_model(recipe("baseline"), dataset, tmp_path / "run", evaluate=evaluate, options=ALONE)
    assert seen == [(1, 128)] and run.metrics == {"score": 0.5} and (tmp_path / "run/best").is_dir()


def imported(folder, backbone, classes=0):
    torch.manual_seed(0)
    plain = load_recipe("baseline", "tiny", {"backbone": backbone})
    nets = plain.make().build(classes)
    identity = ModelIdentity("baseline", plain.options, classes)
    model = checkpoint.model_tensors(nets)
    checkpoint.save(folder, checkpoint.Checkpoint(identity.as_dict(), model, {"step": 0}, {}, {}))
    return folder


@pytest.mark.parametrize(
    ("method", "changes", "role", "backbone", "words"),
    [
        ("fskd", {"distance": "embedding"}, "teacher", "mobilefacenet-small", ["512 wide", "size"]),
        ("fskd", {}, "teacher", "tiny-mobilefacenet", ["128 wide", "fskd (tiny, tiny)"]),
        (
            "fskd",
            {"distance": "kl"},
            "teacher",
            "tiny",
            ["wide, no head)", ": the parent has no head", "one with a head"],
        ),
        (
            "waveresnet",
            {},
            "teacher",
            "tiny",
            ["wide, no head)", ": the parent has no head", "one with a head"],
        ),
        ("fskd", {}, "init", "tiny-lrfr", ["init", "layers are not the same"]),
        ("btnet-branch", {}, "trunk", "tiny", ["no head"]),
        ("octuplet", {}, "init", "tiny-mobilefacenet", ["layers are not the same"]),
    ],
)
def test_parents_that_cannot_work_are_refused_before_anything_starts(
    dataset, tmp_path, method, changes, role, backbone, words
):
    parent = imported(tmp_path / "runs/given", backbone)
    with pytest.raises(SpecError) as caught:
        train_model(
            recipe(method, **changes), dataset, tmp_path / "runs/run", parents={role: parent}, options=ALONE
        )
    text = str(caught.value)
    assert all(word in text for word in ["cannot work with", backbone, *words]) and "\n" not in text
    assert len(text) < 600 and [path.name for path in (tmp_path / "runs").iterdir()] == ["given"]


def test_a_teacher_of_another_kind_in_the_recipe_is_refused_before_it_is_trained(dataset, tmp_path):
    wrong = recipe("fskd", **{"parents.teacher.options.backbone": "tiny-mobilefacenet"})
    with pytest.raises(
        SpecError, match=r"teacher \(baseline, tiny-mobilefacenet, 128 wide, 8 classes\) cannot work"
    ):
        train_model(wrong, dataset, tmp_path / "runs/fskd", options=ALONE)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("distance", "role"), [("embedding", "teacher"), ("rkd", "teacher"), ("cosine", "init")]
)
def test_parents_that_fit_are_taken(dataset, tmp_path, distance, role):
    parent = imported(tmp_path / "given", "tiny")
    run = train_model(
        recipe("fskd", distance=distance), dataset, tmp_path / "run", parents={role: parent}, options=ALONE
    )
    assert run.parents[role] == parent


def test_wrong_parents_by_name_or_place(dataset, tmp_path):
    with pytest.raises(SpecError, match="known: init, teacher"):
        train_model(recipe("fskd"), dataset, tmp_path / "run", parents={"master": tmp_path}, options=ALONE)
    with pytest.raises(DataError, match="neither a checkpoint nor a run"):
        train_model(recipe("fskd"), dataset, tmp_path / "run", parents={"teacher": tmp_path}, options=ALONE)


def test_listings_declare_what_the_methods_need():
    from lrfr.train.methods.table import METHODS, declared_parents, recipe_names

    for name in METHODS:
        for shipped in recipe_names(name):
            made = load_recipe(name, shipped)
            assert {role: parent.method for role, parent in made.parents.items()} == dict(made.make().needs())
        assert declared_parents(name) == dict(load_recipe(name).make().needs())


def test_the_last_process_of_many_says_nothing(monkeypatch, store, tmp_path):
    from lrfr.experiment import train_here as room

    said = []
    monkeypatch.setattr(room, "join_world", lambda device: __import__("contextlib").nullcontext(World(1, 1)))
    monkeypatch.setattr(room, "train_model", lambda *a, hooks, **k: hooks.note("spoken"))
    room.train_here(recipe("baseline"), tmp_path / "run", room.Wishes(store), {}, Hooks(on_note=said.append))
    assert said == []


@pytest.mark.parametrize("method", ["fskd", "octuplet", "btnet-branch"])
def test_parents_all_reaches_every_parent_and_what_is_said_of_one_wins(method):
    short = load_recipe(method, set={"parents.all.train.length": 3})
    assert [parent.settings.length for parent in short.parents.values()] == [3] * len(short.parents)
    assert short.settings == load_recipe(method).settings
    role = next(iter(short.parents))
    both = load_recipe(method, set={"parents.all.train.length": 3, f"parents.{role}.train.length": 4})
    assert both.parents[role].settings.length == 4
    with pytest.raises(SpecError, match="nolength"):
        load_recipe(method, set={"parents.all.train.nolength": 3})


def test_parents_all_of_a_method_without_parents_is_a_mistake():
    with pytest.raises(SpecError, match="unknown key 'all'"):
        load_recipe("baseline", set={"parents.all.train.length": 3})


JPEG = "version: 1\nname: q\nimage: {size: 16}\npipeline:\n  - {op: jpeg, id: j, quality: 50}\n"
TAUGHT = "it was trained on faces of 112 px, and the view's have 16"
# words for each method where a teacher that has seen faces of another size is named first
UNFIT = {
    "16 px faces": (
        "small",
        {},
        {
            "baseline": ["backbone 'tiny' takes 112, 128 px, the faces of the view: 16 px"],
            "fskd": ["teacher (", f"cannot teach here: {TAUGHT}", "make-pairs --size 112"],
        },
    ),
    "depthwise tail": (
        "small",
        {"backbone": "tiny-mobilefacenet"},
        {
            "baseline": ["backbone 'tiny-mobilefacenet' takes 112 px, the faces of the view: 16 px"],
            "fskd": ["teacher (", "and 16, 32, 64, 128 channels; " + TAUGHT],
        },
    ),
    "input": ("default", {"input.size_px": 16}, ["takes 112", "input.size_px: 16 px"]),
    "batch of one": ("default", {"batch_size": 1}, ["one face at a time", "batch_norm=frozen"]),
    "one identity": ("one", {}, ["one identity"]),
    "a large batch": ("default", {"batch_size": 512}, ["too few for one batch of 512"]),
}


@pytest.fixture(scope="module")
def unfit_store(store):
    """The store with a view of 16 px faces and one of a single identity."""
    serial = Runner(executor="serial")
    small = MakeOptions(ingest=IngestOptions(size_px=16))
    faces = "synthetic:ids=3,per_id=4,seed=0"
    make_pairs(faces, [JPEG], store=store, view="small", options=small, runner=serial)
    make_pairs("synthetic:ids=1,per_id=8,seed=0", ["fskd"], store=store, view="one", runner=serial)
    return store


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("method", ["baseline", "fskd"])
def test_what_cannot_be_trained_is_refused_before_anything_starts(unfit_store, tmp_path, method, case):
    view, changes, words = UNFIT[case]
    parents = {"parents.all.train.batch_size": 4} if method == "fskd" else {}
    wanted = load_recipe(method, set={"batch_size": 4, **parents, **changes})
    with pytest.raises(LrfrError) as raised:
        train_model(wanted, (unfit_store, view), tmp_path / "run", options=ALONE)
    text = str(raised.value)
    words = words[method] if isinstance(words, dict) else words
    assert all(word in text for word in words) and "\n" not in text, text
    assert not list(tmp_path.iterdir())


def test_trainings_of_several_threads_take_turns(store, tmp_path):
    def digest(name):
        return train_model(recipe("baseline"), (store, "default"), tmp_path / name, options=ALONE).digest

    alone = digest("alone")
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(digest, ["one", "two", "three"])) == {alone}


def test_small_faces_are_embedded_as_the_view_enlarges_them(dataset, tmp_path):
    """The filter of view and embedder are one, the teacher's too; a recipe that states its own keeps it."""
    up = dataset.view.variants[0].up
    assert (up.filter, up.antialias) == ("linear", False)
    for extra, wanted in (
        ([], ("linear", False)),
        (["input.filter=bicubic", "input.antialias=true"], ("bicubic", True)),
    ):
        recipe = load_recipe("baseline", "tiny", [*FAST, "train.length=1", *extra])
        run = train_model(recipe, dataset, tmp_path / wanted[0])
        embed = run.embedder()
        assert (embed.spec.filter, embed.spec.antialias) == wanted
        assert train_model(recipe, dataset, tmp_path / wanted[0]).started_at == 1  # found again
    resolved = load_recipe("fskd", "paper").enlarging_by("cubic", False)
    for options in (resolved.options, resolved.parents["teacher"].options):
        assert (options["input"]["filter"], options["input"]["antialias"]) == ("cubic", False)
    official = load_recipe("fskd", "official").enlarging_by("cubic", False)
    assert official.options["input"]["filter"] == "nearest"


def test_a_student_knows_which_method_taught_it_where_that_is_not_the_usual_one(dataset, tmp_path):
    """F-SKD's tables tell a plain teacher from one "+Dec"; a usual one changes no checkpoint."""
    for teacher in ("baseline", "qualnet"):
        one = recipe("fskd", **{"parents.teacher.method": teacher})
        train_model(one, dataset, tmp_path / teacher / "fskd", options=ALONE)
        found = checkpoint.read_manifest(checkpoint.resolve(tmp_path / teacher / "fskd")).identity
        assert ("parent_methods" in found) == (teacher == "qualnet")
        opened = open_recognizer(tmp_path / teacher / "fskd").model
        assert opened.parent_methods == {"teacher": teacher} and opened.published == "fskd"
    step1 = open_recognizer(tmp_path / "qualnet" / "teacher").model
    assert (step1.method, step1.published, dict(step1.parent_methods)) == ("qualnet", "qualnet-step1", {})


def test_a_training_waits_for_another_of_the_same_run(tmp_path, monkeypatch):
    """While another trains there it says so and waits, then goes on; a stop ends the wait."""
    from lrfr.core import lock
    from lrfr.train import parents

    monkeypatch.setattr(lock, "ORPHAN_SECONDS", 0.0)
    monkeypatch.setattr(parents, "_WAIT_S", 0.0)
    said, looks = [], []

    class Family(parents._Family):
        def train(self, recipe, given, folder):
            with lock.store_lock(folder):
                return "trained"

    def stopping():
        looks.append(1)
        if len(looks) == 3:
            held.__exit__(None, None, None)
        return len(looks) > 50

    held = lock.store_lock(tmp_path / "teacher")
    (tmp_path / "teacher").mkdir()
    held.__enter__()
    family = Family(None, tmp_path, ALONE, Hooks(lambda *_, **__: None, said.append, stopping))
    assert family.train_in_turn(None, {}, tmp_path / "teacher") == "trained"
    assert len(said) == 1 and said[0].startswith("waiting: ") and len(looks) >= 3
    with lock.store_lock(tmp_path / "teacher"), pytest.raises(Stopped):
        looks.extend([1] * 60)
        family.train_in_turn(None, {}, tmp_path / "teacher")
