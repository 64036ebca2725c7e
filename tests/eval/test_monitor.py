"""Watching a training by sets of one's own: what is read, what it is called, and what chooses the best."""

import pickle

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import encode_png
from lrfr.eval.monitor import data_evaluator, places_of
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.settings import Settings
from lrfr.experiment.train_here import Wishes, train_here
from lrfr.pairs.build.make import make_pairs
from lrfr.train import checkpoint
from lrfr.train.engine.journal import read
from lrfr.train.recipe import load_recipe
from tests.eval.world import color_embed, identity_picture
from tests.train.conftest import FAST


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("sets")
    faces = [[identity_picture(person, shot, 112) for shot in range(2)] for person in range(12)]
    pairs = [(*faces[person], True) for person in range(12)]
    pairs += [(faces[person][0], faces[(person + 1) % 12][1], False) for person in range(12)]
    pairs = [pair for both in zip(pairs[:12], pairs[12:], strict=True) for pair in both]
    images = [encode_png(image) for left, right, _ in pairs for image in (left, right)]
    (place / "agedb_30.bin").write_bytes(pickle.dumps((images, [same for *_, same in pairs])))
    rows = []
    for number, (left, right, same) in enumerate(pairs):
        for side, image in (("a", left), ("b", right)):
            (place / "people" / f"{side}{number}").mkdir(parents=True)
            (place / "people" / f"{side}{number}/x.png").write_bytes(encode_png(image))
        rows.append(f"a{number}/x.png\tb{number}/x.png\t{int(same)}\n")
    (place / "own.tsv").write_text("".join(rows))
    make_pairs("synthetic:ids=8,per_id=6,seed=3", "fskd", store=place / "store")
    return place


def test_places_are_split_at_commas_but_not_their_options():
    given = ["a.bin,b.bin", "lists/p.tsv,root=pictures", "store,view=v,split=dev"]
    assert places_of(given) == ["a.bin", "b.bin", "lists/p.tsv,root=pictures", "store,view=v,split=dev"]


def test_every_kind_of_set_is_measured_and_their_mean_stands_first(sets):
    data = [f"{sets}/agedb_30.bin,{sets}/own.tsv,root={sets}/people", f"{sets}/store,view=default"]
    evaluate = data_evaluator(data)
    found = evaluate(color_embed)
    assert next(iter(found)) == "accuracy" and evaluate(color_embed) == found
    names = {name.split(" ", 1)[0] for name in list(found)[1:]}
    assert names == {"agedb_30", "own", "default"}
    smallest = {}
    for name, value in list(found.items())[1:]:
        smallest.setdefault(name.split(" ", 1)[0], value)
    assert found["accuracy"] == pytest.approx(np.mean(list(smallest.values())))


def test_a_set_is_measured_as_the_benchmark_measures_it(sets):
    from lrfr.eval.protocols.pair_lists import read_bin

    pairs = read_bin(sets / "agedb_30.bin", "agedb_30")
    wanted = verify_pairs(color_embed, pairs, Settings(sizes=(112, 14), matching=("cross",), replicates=0))
    found = data_evaluator([str(sets / "agedb_30.bin")])(color_embed)
    assert sorted(found.values())[0] <= wanted[-1].metrics["accuracy"].value
    assert found["accuracy"] == wanted[-1].metrics["accuracy"].value


def test_what_cannot_be_read_is_refused_before_anything_is_trained(sets):
    for bad, fault in (
        ("no.bin", SpecError),
        (f"{sets}/no.tsv", DataError),
        (f"{sets}/store,view=nobody", SpecError),
        (f"{sets}/store,veiw=default", SpecError),
    ):
        with pytest.raises(fault):
            data_evaluator([bad])
    with pytest.raises(SpecError, match="two sets are called"):
        data_evaluator([f"{sets}/agedb_30.bin", f"{sets}/agedb_30.bin"])


def test_the_mean_chooses_the_best_weights(sets, tmp_path):
    recipe = load_recipe("baseline", "tiny", [*FAST, "length=3", "eval_every=1", "save_every=0"])
    wishes = Wishes(sets / "store", device="cpu", eval_data=(str(sets / "agedb_30.bin"),))
    train_here(recipe, tmp_path / "run", wishes, {})
    seen = [line for line in read(tmp_path / "run/journal.jsonl") if "eval" in line]
    assert len(seen) == 3
    best = max(seen, key=lambda line: (line["eval"]["accuracy"], -line["step"]))
    assert checkpoint.load(tmp_path / "run/best").state["step"] == best["step"]
