"""Plausible wrong arguments of the public names: one typed error that says what was expected, never a raw one."""

from pathlib import Path

import numpy as np
import pytest

import lrfr
from tests.pairs.toy import build

FACE = np.zeros((112, 112, 3), np.uint8)
NO_PATH = [None, 3, [], b"x", "\0", "\ud800", "x" * 5000, "a/" * 3000]
NO_COUNT = [None, -1, 1.5, "1", True, 2**70, float("nan")]
NO_OBJECT = [3, "text", [], {"a": 1}]
NO_FLAG = [None, 1, "yes", np.zeros(2)]
NO_NAME = [None, 3, [], {}, b"x", float("nan"), np.zeros(2), "x" * 5000]
NO_POSITION = [None, {}, b"x", "0", 1.0, float("nan"), np.zeros(2)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("api") / "store"
    build(place)
    return place


CALLS = {
    "a spec": (lambda value, _: lrfr.load_spec(value), NO_PATH),
    "a pipeline": (lambda value, _: lrfr.Pipeline(value), NO_PATH),
    "a degradation": (lambda value, _: lrfr.degrade_images(FACE, value), NO_PATH),
    "a picture": (lambda value, _: lrfr.degrade_images(value, "fskd"), ["\0", "\ud800", "a" * 5000, 3, None]),
    "a key": (lambda value, _: lrfr.degrade_images(FACE, "fskd", keys=value), ["\ud800", 1.5]),
    "values": (lambda value, _: lrfr.load_spec("fskd", set=value), [None, 3, "a=1", b"x", [3]]),
    "a variant": (lambda value, _: lrfr.degrade_images(FACE, "fskd", variant=value), NO_COUNT),
    "a transform's seed": (lambda value, _: lrfr.Degrade("fskd", seed=value), NO_COUNT[1:]),
    "a probability": (lambda value, _: lrfr.Degrade("fskd", p=value), [None, "x", [], 2, float("nan")]),
    "a transform's epoch": (lambda value, _: lrfr.Degrade("fskd").set_epoch(value), NO_COUNT),
    "a store": (lambda value, _: lrfr.Store(value), NO_PATH),
    "a store to read": (lambda value, _: lrfr.PairDataset(value), NO_PATH),
    "a store to write": (lambda value, _: lrfr.make_pairs("synthetic", store=value), NO_PATH),
    "a view": (lambda value, place: lrfr.PairDataset(place, value), [*NO_PATH, Path("a"), "", "../x"]),
    "specs": (lambda value, place: lrfr.make_pairs("synthetic", value, store=place), [None, 3, [None]]),
    "options": (lambda value, place: lrfr.make_pairs("synthetic", store=place, options=value), NO_OBJECT),
    "hooks": (lambda value, place: lrfr.make_pairs("synthetic", store=place, hooks=value), NO_OBJECT),
    "a view's options": (lambda value, place: lrfr.make_pairs("synthetic", store=place, view=value), [3, []]),
    "a batch size": (lambda value, place: lrfr.PairLoader(lrfr.PairDataset(place), value), [0, *NO_COUNT]),
    "reading threads": (
        lambda value, place: lrfr.PairLoader(lrfr.PairDataset(place), 2, threads=value),
        NO_COUNT,
    ),
    "a dataset": (lambda value, _: lrfr.PairLoader(value, 2), [None, "store", []]),
    "an epoch": (lambda value, place: lrfr.PairDataset(place).set_epoch(value), NO_COUNT),
    "a state": (
        lambda value, place: lrfr.PairLoader(lrfr.PairDataset(place), 2).load_state_dict(value),
        [None, 3, [], {}],
    ),
    "a recipe": (lambda value, _: lrfr.load_recipe("fskd", value), [None, 3, [], "nope"]),
    "a recipe's values": (lambda value, _: lrfr.load_recipe("fskd", set=value), [None, 3, "lr=1", [3]]),
    "a method": (lambda value, place: lrfr.train_model(value, place, "run"), [None, 3, "nope"]),
    "a run": (lambda value, place: lrfr.train_model("baseline", place, value), NO_PATH),
    "parents": (lambda value, place: lrfr.train_model("fskd", place, "run", parents=value), [3, "a", ["a"]]),
    "a model": (lambda value, _: lrfr.load_model(value), NO_PATH),
    "a benchmark": (lambda value, _: lrfr.evaluate(len, value), [None, 3, [], "nope"]),
    "data": (lambda value, _: lrfr.evaluate(len, "lfw", value), NO_PATH[1:]),
    "hooks of a check": (lambda value, place: lrfr.Store(place).verify(hooks=value), NO_OBJECT),
    "hooks of a repair": (lambda value, place: lrfr.Store(place).repair(hooks=value), NO_OBJECT),
    "a runner": (lambda value, place: lrfr.Store(place).repair(runner=value), NO_OBJECT),
    "a deep check": (lambda value, place: lrfr.Store(place).verify(value), NO_FLAG),
    "a dry run": (lambda value, place: lrfr.Store(place).gc(value), NO_FLAG),
    "another store": (lambda value, place: lrfr.Store(place).diff(value), NO_PATH),
    "a place to export to": (lambda value, place: lrfr.Store(place).export(value), NO_PATH),
    "a form of export": (lambda value, place: lrfr.Store(place).export("out", form=value), NO_NAME),
    "hooks of an export": (lambda value, place: lrfr.Store(place).export("out", hooks=value), NO_OBJECT),
    "what to describe": (lambda value, place: lrfr.Store(place).describe(value), NO_NAME),
    "a base": (lambda value, place: lrfr.Store(place).base_manifest(value), NO_NAME),
    "a variant's manifest": (lambda value, place: lrfr.Store(place).lr_manifest(value), NO_NAME),
    "rows": (lambda value, place: lrfr.Store(place).rows(value), NO_NAME),
    "a report": (lambda value, place: lrfr.Store(place).report(value), NO_NAME),
    "a card": (lambda value, place: lrfr.Store(place).card(value), NO_NAME),
    "an alignment": (
        lambda value, _: lrfr.make_pairs("synthetic", store="s", align=value),
        ["detct", 3, [], {}, b"x", "\0", "x" * 5000],
    ),
    "a face to take": (
        lambda value, _: lrfr.make_pairs("synthetic", store="s", align="detect", face=value),
        [3, [], {}, "biggest"],
    ),
    "a way to detect": (
        lambda value, _: lrfr.make_pairs("synthetic", store="s", align="detect", detector=value),
        [3, [], {}, "nope"],
    ),
    "a face without detection": (
        lambda value, _: lrfr.make_pairs("synthetic", store="s", face=value),
        ["largest"],
    ),
    "a source": (
        lambda value, _: lrfr.make_pairs(value, store="s"),
        [None, 3, [], {}, np.zeros((2, 8, 8, 3), np.uint8), "x" * 5000, "a/" * 3000],
    ),
    "a runner of a build": (
        lambda value, _: lrfr.make_pairs("synthetic", store="s", runner=value),
        NO_OBJECT,
    ),
    "a split": (lambda value, place: lrfr.PairDataset(place, split=value), [3, [], np.zeros(2)]),
    "a position": (lambda value, place: lrfr.PairDataset(place)[value], [*NO_POSITION, [], "x"]),
    "positions": (
        lambda value, place: lrfr.PairDataset(place).batch(value, 0),
        [*NO_POSITION, 3, [[0]], [0.5], [[0], [0, 1]]],
    ),
    "a batch's epoch": (lambda value, place: lrfr.PairDataset(place).batch([0], value), NO_COUNT),
    "items": (lambda value, _: lrfr.collate(value), [*NO_NAME, [None], [{}], [{"hr": 1}], ["x"]]),
    "keys of a list": (lambda value, _: lrfr.Degrade("fskd")([FACE], value), [3, [], "ab", ["a", "b"]]),
    "a way up": (lambda value, _: lrfr.degrade_images(FACE, "fskd", up=value), NO_FLAG),
    "a wish for traces": (lambda value, _: lrfr.degrade_images(FACE, "fskd", trace=value), NO_FLAG),
    "a transform's way up": (lambda value, _: lrfr.Degrade("fskd", up=value), NO_FLAG),
    "a detector": (lambda value, _: lrfr.align_images([FACE], detector=value), NO_NAME),
    "a crop's size": (lambda value, _: lrfr.align_images([FACE], size_px=value), [0, 2000, *NO_COUNT]),
    "an entry": (lambda value, _: lrfr.registry.ops[value], NO_NAME),
    "a backbone": (lambda value, _: lrfr.registry.backbones[value], NO_NAME),
    "a model to measure": (lambda value, _: lrfr.evaluate(value), NO_PATH),
    "hooks of a measurement": (lambda value, _: lrfr.evaluate(len, hooks=value), NO_OBJECT),
    "hooks of a training": (
        lambda value, place: lrfr.train_model("baseline", place, "run", hooks=value),
        NO_OBJECT,
    ),
    "an experiment": (lambda value, _: lrfr.Experiment.load(value), NO_PATH),
}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, (_, values) in CALLS.items() for place in range(len(values))]
)
def test_a_wrong_argument_is_one_typed_error(store, name, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, values = CALLS[name]
    with pytest.raises(lrfr.LrfrError) as caught:
        call(values[place], store)
    assert len(str(caught.value)) > 12
    assert not list(tmp_path.iterdir())
