"""What makes two runs the same run: every input moves the identity, nothing incidental does; run.json is checked."""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest

from lrfr.core.errors import DataError, SpecError
from lrfr.core.progress import Hooks
from lrfr.pairs.reading.loader import PairLoader
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.engine.run_record import RunIdentity, RunRecord
from lrfr.train.losses.distances import DISTANCES
from lrfr.train.methods.fskd import Fskd
from lrfr.train.methods.table import METHODS
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, find, finished, train
from lrfr.train.settings import TrainSettings
from tests.train.conftest import FAST


def identity(*overrides, view="v", method="fskd", parents=None):
    return RunIdentity.of(view, load_recipe(method, "tiny", overrides), parents or {"teacher": "t"})


@pytest.mark.parametrize(
    "setting", ["log_every=9", "save_every=9", "eval_every=9", "keep=9", "threads=9", "read_threads=9"]
)
def test_how_a_run_is_watched_does_not_move_it(setting):
    assert identity(setting) == identity()


@pytest.mark.parametrize(
    "other",
    [
        lambda: identity("lambda=4"),
        lambda: identity("head.scale=31"),
        lambda: identity("lr=0.2"),
        lambda: identity("seed=1"),
        lambda: identity(view="w"),
        lambda: identity(parents={"teacher": "u"}),
        lambda: identity("distance=fitnet"),
    ],
)
def test_what_decides_moves_it(other):
    assert identity().differs(other()) and other().differs(identity())


@pytest.mark.parametrize(
    ("part", "target"),
    [
        ("method", Fskd),
        ("loop", TrainSettings),
        ("backbone", "IResNet"),
        ("head", "CosFace"),
        ("distance", None),
    ],
)
def test_a_raised_revision_moves_it(monkeypatch, part, target):
    from lrfr.train.backbones.iresnet import IResNet
    from lrfr.train.heads.margins import CosFace

    before = identity()
    if part == "distance":
        monkeypatch.setitem(
            DISTANCES._entries, "cosine", dataclasses.replace(DISTANCES["cosine"], revision=2)
        )
    else:
        monkeypatch.setattr({"IResNet": IResNet, "CosFace": CosFace}.get(target, target), "revision", 2)
    assert before.differs(identity()) == [f"revisions.{part} is None there, 2 here"]


@pytest.mark.parametrize("given", [["lambda=20"], []])
def test_a_new_option_left_at_its_default_moves_nothing(monkeypatch, given):
    @dataclass(frozen=True, kw_only=True)
    class Later(Fskd):
        sharpness: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class LaterSettings(TrainSettings):
        momentum_warmup: float = 0.0

    before = identity(*given)
    monkeypatch.setitem(METHODS._entries, "fskd", Later)
    monkeypatch.setattr("lrfr.train.recipe.TrainSettings", LaterSettings)
    assert identity(*given) == before
    assert before.differs(identity(*given, "sharpness=2")) and before.differs(
        identity(*given, "momentum_warmup=1")
    )


def test_style_weights_decide_by_their_content_and_not_by_their_path(monkeypatch, tmp_path):
    digests = {"a.npz": "one", "b.npz": "one", "c.npz": "two"}
    monkeypatch.setattr("lrfr.train.methods.baseline.weights_digest", lambda spec: digests[spec.weights])
    a, b, c = (identity(f"guided.weights={name}", "guided.share=0.5", method="baseline") for name in digests)
    assert a == b and a.differs(c) == ["files.guided is one there, two here"]


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "baseline"
    train(plan(dataset), dataset, folder, FitOptions(max_steps=2))
    return folder


def plan(dataset, *overrides):
    return Plan(load_recipe("baseline", "tiny", [*FAST, *overrides]), dataset.digest, {})


def first_edition(dataset, path):
    """Write run.json as the first edition of lrfr did: everything in full, no revisions, no seal."""
    recipe = plan(dataset).recipe
    watched = {"log_every", "save_every", "eval_every", "keep", "threads", "read_threads"}
    settings = {k: v for k, v in dataclasses.asdict(recipe.settings).items() if k not in watched}
    old = {
        "method": "baseline",
        "options": recipe.options,
        "train": settings,
        "view": dataset.digest,
        "parents": {},
    }
    record = {"schema": 1, "identity": old, "recipe": recipe.as_dict(), "parents": {}, "total_steps": 6}
    path.write_text(json.dumps({**record, "threads": 1, "versions": {"lrfr": "0.1.0"}}))


def test_a_run_of_the_first_edition_is_the_same_run_and_goes_on(dataset, run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "old")
    first_edition(dataset, tmp_path / "old/run.json")
    assert find(tmp_path, plan(dataset)) == tmp_path / "old" and not finished(tmp_path / "old")
    result = train(plan(dataset), dataset, tmp_path / "old")
    assert (result.started_at, result.steps) == (2, 6)
    with pytest.raises(SpecError, match=r"train.lr is 0.1 there, 0.2 here"):
        train(plan(dataset, "lr=0.2"), dataset, tmp_path / "old")


@pytest.mark.parametrize(
    "text", ["[1]", "null", "{", "{}", '{"schema": 1}', '{"schema": 9}', '{"schema": 1, "identity": 3}']
)
def test_a_neighbor_that_is_no_run_is_no_concern(dataset, run, text):
    other = run.parent / "another"
    other.mkdir(exist_ok=True)
    (other / "run.json").write_text(text)
    assert find(run.parent, plan(dataset)) == run
    with pytest.raises(DataError, match=r"another"):
        RunRecord.read(other)


def test_a_wrong_field_is_named(run, tmp_path):
    from lrfr.core.files import seal

    whole = json.loads((run / "run.json").read_text())
    for field, value in [("total_steps", "many"), ("threads", None), ("identity", {})]:
        (tmp_path / "run.json").write_bytes(seal({**whole, field: value}))
        with pytest.raises(DataError, match=rf"run.json: {field}"):
            RunRecord.read(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**whole, "threads": 3}))
    with pytest.raises(DataError, match="digest"):
        RunRecord.read(tmp_path)


def test_another_thread_count_is_said_and_not_taken(dataset, run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    said = []
    result = train(plan(dataset, "threads=2"), dataset, tmp_path / "run", hooks=Hooks(on_note=said.append))
    assert result.steps == 6 and "goes on with 1 threads, as it began, not with 2" in said[0]
    said.clear()
    train(plan(dataset, "threads=2"), dataset, tmp_path / "run", hooks=Hooks(on_note=said.append))
    assert not said


def test_every_part_has_a_revision():
    from lrfr.train.backbones.table import BACKBONES
    from lrfr.train.heads.margins import MARGINS

    parts = [*METHODS.values(), *BACKBONES.values(), *MARGINS.values(), *DISTANCES.values(), TrainSettings]
    assert all(isinstance(part.revision, int) and part.revision >= 1 for part in parts)


def test_a_view_flips_alike_whatever_base_its_rows_lie_in(tmp_path):
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.build.view_file import ViewOptions
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.train.engine.loaders import flip
    from tests.pairs.toy import ToySource, ingest

    few = make_pairs(ingest(ToySource(3, 4)), store=tmp_path / "few")
    wanted = ViewOptions("default", ids=("id000", "id001", "id002"))
    many = make_pairs(ingest(ToySource(9, 4)), store=tmp_path / "many", view=wanted)
    assert few.id == many.id and few.parts[0].base != many.parts[0].base
    one, other = (
        flip(PairDataset(tmp_path / name).batch(np.arange(12), 0), "independent", 1, 0)
        for name in ("few", "many")
    )
    assert one.hr_bchw.equal(other.hr_bchw) and one.lr_bchw.equal(other.lr_bchw)


def test_faces_that_no_batch_shows_are_counted_and_said_once(dataset, tmp_path, monkeypatch):
    def said_by(name, *overrides):
        said = []
        train(plan(dataset, *overrides), dataset, tmp_path / name, FitOptions(max_steps=1),
              hooks=Hooks(on_note=said.append))  # fmt: skip
        record = RunRecord.read(tmp_path / name)
        return said, dataclasses.astuple(record.left_out)

    assert said_by("even") == ([], (0, 0))  # 48 faces, three batches of 16
    said, counts = said_by("short", "batch_size=20")
    assert counts == (0, 8) and len(said) == 1 and said[0].startswith("each epoch leaves 8 faces out")
    labels = dataset.labels.copy()
    labels[np.flatnonzero(labels == 2)[:4]] = -1  # identity 2 keeps two of its six faces
    monkeypatch.setattr(dataset, "_labels", labels)
    said, counts = said_by("grouped", "batch_size=12", "images_per_id=4")
    shown = PairLoader(dataset, 12, images_per_id=4)
    seen = sum(len(batch) for batch in shown.iterate(0))
    assert sum(counts) == len(dataset) - seen and counts == (shown.left_out, 18) == (6, 18)
    assert said[0].startswith("images_per_id=4 leaves 6 of 48 faces out") and len(said) == 2
    again, _ = said_by("grouped", "batch_size=12", "images_per_id=4")
    assert again == said
