"""Routing: each face to the member for its larger side, results in order, members held to their digests."""

import numpy as np
import pytest
from click.testing import CliRunner

from lrfr.cli.train.weights import route_command
from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import seal
from lrfr.experiment.models import open_recognizer
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train import checkpoint
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.load_nets import load_embedder
from lrfr.train.weights.model_identity import ModelIdentity
from lrfr.train.weights.routes.route_weights import fit_route, some_rows
from lrfr.train.weights.routes.router import Choice, Router, load_router, read_routes, write_routes


class Constant:
    """An embedder that says who it is and how many faces it saw at once."""

    def __init__(self, value):
        self.value, self.calls = value, []

    def __call__(self, images):
        self.calls.append([image.shape[:2] for image in images])
        return np.array([[self.value, image.shape[0]] for image in images], np.float32)


def save(folder, seed):
    import torch

    torch.manual_seed(seed)
    recipe = load_recipe("baseline", "tiny")
    nets = recipe.make().build(0)
    identity = ModelIdentity("baseline", recipe.options)
    return checkpoint.save(
        folder, checkpoint.Checkpoint(identity.as_dict(), checkpoint.model_tensors(nets), {"step": 0}, {}, {})
    )


def face(height, width):
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_face_goes_to_its_member_once_and_keeps_its_place():
    small, middle, large = Constant(0), Constant(1), Constant(2)
    router = Router([(10, small), (28, middle), (None, large)])
    sides = [(112, 112), (7, 7), (28, 20), (10, 11), (29, 3), (10, 10)]
    found = router([face(*side) for side in sides])
    assert found.tolist() == [[2, 112], [0, 7], [1, 28], [1, 10], [2, 29], [0, 10]]
    assert [len(member.calls) for member in (small, middle, large)] == [1, 1, 1]


def test_a_router_embeds_as_its_members_do(tmp_path):
    save(tmp_path / "runs/a", 0)
    save(tmp_path / "runs/b", 1)
    write_routes(tmp_path / "runs/routed", [(None, tmp_path / "runs/b"), (20, tmp_path / "runs/a")])
    (tmp_path / "runs").rename(tmp_path / "moved")
    embed, members, _ = load_router(tmp_path / "moved/routed")
    images = [face(112, 112), face(14, 14)]
    assert [member.up_to_px for member in members] == [20, None]
    assert np.array_equal(embed(images)[0], load_embedder(tmp_path / "moved/b")([images[0]])[0])
    assert np.array_equal(embed(images)[1], load_embedder(tmp_path / "moved/a")([images[1]])[0])
    model = open_recognizer(tmp_path / "moved/routed").model
    assert model.method == "router" and set(model.parents) == {"up to 20 px", "larger"}
    with pytest.raises(SpecError, match="embeddings"):
        open_recognizer(tmp_path / "moved/routed", needs="classes")


def test_a_member_that_changed_is_refused(tmp_path):
    save(tmp_path / "a", 0)
    save(tmp_path / "b", 1)
    write_routes(tmp_path / "routed", [(20, tmp_path / "a"), (None, tmp_path / "b")])
    save(tmp_path / "a", 2)
    with pytest.raises(DataError, match="changed since"):
        load_router(tmp_path / "routed")


def test_runs_of_one_side_share_it_by_their_weights_also_after_a_move(tmp_path):
    for seed, name in enumerate("abc"):
        save(tmp_path / "runs" / name, seed)
    runs = [(20, tmp_path / "runs/a"), (None, tmp_path / "runs/c"), (20, tmp_path / "runs/b")]
    even = write_routes(tmp_path / "runs/even", runs)
    assert even != write_routes(tmp_path / "runs/routed", runs, {20: (3, 1)})
    (tmp_path / "runs").rename(tmp_path / "moved")
    embed, members, _ = load_router(tmp_path / "moved/routed")
    assert [(member.up_to_px, member.weight) for member in members] == [(20, 0.75), (20, 0.25), (None, 1)]
    images = [face(14, 14), face(9, 9)]
    rows = [load_embedder(tmp_path / "moved" / name)(images) for name in "ab"]
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in rows]
    assert np.allclose(embed(images), 0.75 * unit[0] + 0.25 * unit[1], atol=1e-6)
    model = open_recognizer(tmp_path / "moved/routed").model
    assert list(model.parents) == ["up to 20 px, 0.75 of it (1)", "up to 20 px, 0.25 of it (2)", "larger"]
    for wrong in ((1,), (1, -1), (0, 0)):
        with pytest.raises(SpecError, match="need as many weights"):
            write_routes(
                tmp_path / "moved/x", [(s, tmp_path / "moved" / p.name) for s, p in runs], {20: wrong}
            )


@pytest.mark.parametrize("sides", [[20], [20, 20, None], [None, None]])
def test_routes_that_cannot_work(tmp_path, sides):
    with pytest.raises(SpecError, match="different runs a side"):
        write_routes(tmp_path / "routed", [(side, tmp_path) for side in sides])


def test_a_dry_run_says_what_the_run_would(tmp_path):
    words = [
        "--at",
        f"14={tmp_path / 'nobody'}",
        "--rest",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "x"),
    ]
    wet = CliRunner().invoke(route_command, words)
    dry = CliRunner().invoke(route_command, [*words, "--dry-run"])
    assert wet.exit_code == dry.exit_code != 0 and str(wet.exception) == str(dry.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["20", "x=run", "0=run", "20="])
def test_a_malformed_route_is_a_user_error(tmp_path, word):
    answer = CliRunner().invoke(route_command, ["--at", word, "--rest", str(tmp_path)])
    assert answer.exit_code != 0 and isinstance(answer.exception, SpecError | SystemExit)


# a face of 14 x 30 px; members for 10 and 28 px, and one of 112 px for the rest
BY_HAND = {
    ("max", "ceil"): 112,
    ("max", "near"): 28,
    ("max", "floor"): 28,
    ("min", "ceil"): 28,
    ("min", "near"): 10,
    ("min", "floor"): 10,
    ("avg", "ceil"): 28,
    ("avg", "near"): 28,
    ("avg", "floor"): 10,
}


@pytest.mark.parametrize("choice", BY_HAND)
def test_a_face_goes_where_the_rule_says(choice):
    router = Router([(10, Constant(10)), (28, Constant(28)), (None, Constant(112))], Choice(*choice))
    assert router([face(14, 30)])[0, 0] == BY_HAND[choice]
    assert router([face(112, 112), face(3, 3)])[:, 0].tolist() == [112, 10]


def test_the_rule_is_kept_with_the_routes_and_may_be_changed_when_measured(tmp_path):
    save(tmp_path / "a", 0)
    save(tmp_path / "b", 1)
    words = ["--at", f"20={tmp_path / 'a'}", "--rest", str(tmp_path / "b")]
    plain = CliRunner().invoke(route_command, [*words, "--out", str(tmp_path / "plain")])
    near = CliRunner().invoke(route_command, [*words, "--rule", "near", "--out", str(tmp_path / "near")])
    assert plain.exit_code == near.exit_code == 0
    images = [face(30, 30)]
    assert np.array_equal(load_router(tmp_path / "plain")[0](images), load_embedder(tmp_path / "b")(images))
    assert np.array_equal(load_router(tmp_path / "near")[0](images), load_embedder(tmp_path / "a")(images))
    changed = open_recognizer(tmp_path / "plain", changes={"rule": "near"})
    assert np.array_equal(changed.embed(images), load_embedder(tmp_path / "a")(images))
    models = [changed.model, *(open_recognizer(tmp_path / name).model for name in ("plain", "near"))]
    assert len({model.digest for model in models}) == 3
    assert (changed.model.name, changed.model.changes) == ("plain near", {"rule": "near"})
    for changes, words in (({"rule": "up"}, "rule 'up'"), ({"side": "max"}, "can set indicator, rule")):
        with pytest.raises(SpecError, match=words):
            open_recognizer(tmp_path / "plain", changes=changes)


def test_weights_are_fitted_on_a_view_and_written(tmp_path, store):
    for seed, name in enumerate("abc"):
        save(tmp_path / name, seed)
    words = ["--at", f"14={tmp_path / 'a'}", "--at", f"14={tmp_path / 'b'}", "--rest", str(tmp_path / "c")]
    words += ["--store", str(store), "--fit-view", "default", "--out", str(tmp_path / "routed")]
    answer = CliRunner().invoke(route_command, words)
    assert answer.exit_code == 0, answer.output
    members = read_routes(tmp_path / "routed").members
    fitted = fit_route(PairDataset(store), 14, [tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert [member.weight for member in members[:-1]] == [weight for weight in fitted.weights if weight]
    answer = CliRunner().invoke(route_command, [*words, "--weights", "7=1,2"])
    assert isinstance(answer.exception, SpecError | SystemExit) and answer.exit_code != 0


@pytest.mark.parametrize("sides", [[], [14], [None, 14], [None, None]])
def test_a_file_of_routes_without_one_member_for_the_rest_at_its_end_is_refused(tmp_path, sides):
    members = [{"up_to_px": side, "checkpoint": "a", "digest": "b"} for side in sides]
    (tmp_path / "routes.json").write_bytes(seal({"schema": 1, "members": members}))
    with pytest.raises(DataError, match="takes the rest"):
        read_routes(tmp_path)


def test_of_a_large_view_whole_people_are_looked_at_not_one_face_of_each():
    random = np.random.default_rng(0)
    labels = random.permutation(np.concatenate([np.repeat(np.arange(900), 10), [-1] * 500]))
    rows = some_rows(labels)
    people, counts = np.unique(labels[rows], return_counts=True)
    assert 900 < len(rows) <= 1024 and (np.diff(rows) > 0).all()
    assert people.min() == 0 and people.max() == 899 and set(counts) == {8}
    assert some_rows(labels[:500]).tolist() == np.flatnonzero(labels[:500] >= 0).tolist()
    assert len(some_rows(np.full(3000, -1))) == 1024
    assert len(set(some_rows(np.arange(3000)))) == 1024
    assert set(some_rows(np.repeat([0, 1], [5000, 5]))) == {*range(8), *range(5000, 5005)}
