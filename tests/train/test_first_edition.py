"""A user of the first edition upgrades the store and goes on: ``tests/data/first-edition.tar.gz`` holds a store
of two variants, of which a view shows some identities, a run on it, and what both gave then.
"""

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lrfr.core.errors import SpecError
from lrfr.pairs.build.ingest import IngestOptions
from lrfr.pairs.build.make import MakeOptions, make_pairs
from lrfr.pairs.build.view_file import ViewOptions
from lrfr.pairs.care.upgrade import upgrade
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.store import Store
from lrfr.train.engine.journal import loss_trace
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from lrfr.train.runs import Plan, find

ARCHIVE = Path(__file__).parents[1] / "data" / "first-edition.tar.gz"
RUN = [
    "side=lr",
    "backbone=tiny-digit",
    "input.size_px=16",
    "train.unit=step",
    "train.length=6",
    "train.milestones=[]",
    "train.batch_size=4",
]


@pytest.fixture
def old(tmp_path):
    """The folder of that user, the store upgraded."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    done = upgrade(tmp_path / "old" / "store")
    assert done.left == [] and done.degraded == 0  # traces, too, come along
    return tmp_path / "old"


def told(old, name):
    return json.loads((old / f"{name}.json").read_text())


def recipe(*more):
    return load_recipe("baseline", "tiny", [*RUN, *more])


def test_a_view_under_its_old_id_draws_what_it_drew(old):
    then = told(old, "draws")
    today = PairDataset(old / "store")
    before = today.known_as(then["view"])
    rows = np.arange(len(today))
    sizes = [before.batch(rows, epoch).size_px_b.tolist() for epoch in range(4)]
    assert before.digest == then["view"] and sizes == then["sizes"]
    assert today.digest not in today.view.former and today.known_as("0" * 64).digest == today.digest
    assert [today.batch(rows, epoch).size_px_b.tolist() for epoch in range(4)] != sizes


def test_an_old_run_goes_on_with_the_losses_of_then(old):
    run = train_model(recipe(), old / "store", old / "runs" / "old")
    losses = [values["total"] for _, values in loss_trace(run.path / "journal.jsonl")]
    assert losses == pytest.approx(told(old, "losses"), rel=1e-3)


def test_an_old_run_of_other_settings_is_refused(old):
    with pytest.raises(SpecError, match=r"another run: train[.]seed is 0 there, 9 here"):
        train_model(recipe("train.seed=9"), old / "store", old / "runs" / "old")


def test_an_old_run_is_found_as_a_parent(old):
    today = PairDataset(old / "store")
    assert find(old / "runs", Plan(recipe(), today.digest, {}, today.view.former)) == old / "runs" / "old"
    assert find(old / "runs", Plan(recipe("train.seed=9"), today.digest, {}, today.view.former)) is None
    assert find(old / "runs", Plan(recipe(), today.digest, {})) is None


def test_a_view_that_is_made_again_keeps_its_old_ids(old, monkeypatch):
    monkeypatch.setattr("lrfr.pairs.build.prepare.DECODER_REVISION", 1)  # what decoded the faces of then
    store, former = Store(old / "store"), PairDataset(old / "store").view.former
    options = MakeOptions(IngestOptions(size_px=16), traces=True)
    specs, shown = [old / "a.yaml", old / "b.yaml"], ViewOptions(min_per_id=3)
    made = make_pairs(old / "toyfaces", specs, store=old / "store", view=shown, options=options)
    assert (made.done.hr_written, made.done.lr_written) == (0, 0)
    assert len(former) == 1 and store.view("default").former == former
    other = make_pairs(old / "toyfaces", specs, store=old / "store", options=options)
    assert other.id != made.id and store.view("default").former == ()


def test_a_trace_names_the_spec_of_today(old):
    lr = PairDataset(old / "store").lr[0]
    line = json.loads(bytes(lr.record(0).tail))
    assert line["spec"] == lr.folders[0].manifest.pixel_digest and re.fullmatch(
        "p[0-3]/[0-2]([.]png)?", line["key"]
    )
