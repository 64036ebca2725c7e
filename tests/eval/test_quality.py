"""Quality: scores against their formulas in plain Python, the error-versus-reject curve, and poolings."""

import math
import random

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, SpecError
from lrfr.eval.analysis.quality import agreement, norms
from lrfr.eval.pairs import SearchList
from lrfr.eval.protocols.identify import identify
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.report.curves import curves
from lrfr.eval.scoring.reject import error_versus_reject, pair_quality
from lrfr.eval.scoring.templates import POOLINGS, pooled
from lrfr.eval.settings import Settings, Task
from lrfr.experiment.steps.quality_here import QualityScores, write_quality
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.care.merging.view_choice import ColumnRange
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.pairs.reading.order import weighted_order
from lrfr.pairs.store import Store
from lrfr.train.backbones.parts.dropped import dropped_embeddings
from lrfr.train.backbones.table import build_backbone
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.engine.run_record import RunRecord
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from tests.eval.world import color_embed
from tests.train.conftest import FAST


def plain_curve(scores, same, quality, threshold, fractions):
    """The text of ISO/IEC 29794-1: refuse the poorest, count the misses among the mated that are left."""
    mated = sorted((q, -s, s) for s, m, q in zip(scores, same, quality, strict=True) if m)
    found = []
    for fraction in fractions:
        left = mated[math.floor(fraction * len(mated) + 1e-9) :]
        found.append(sum(score < threshold for _, _, score in left) / len(left))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_error_versus_reject_is_the_plain_count(seed):
    draw = random.Random(seed)
    count = draw.randrange(5, 60)
    scores = [round(draw.uniform(-1, 1), 1) for _ in range(count)]
    same = [True, *(draw.random() < 0.5 for _ in range(count - 1))]
    quality = [round(draw.uniform(0, 2), 1) for _ in range(count)]  # with ties
    found = error_versus_reject(np.array(scores), np.array(same), np.array(quality), 0.2)
    assert found["fnmr"] == pytest.approx(plain_curve(scores, same, quality, 0.2, found["reject"]))
    order = list(range(count))
    draw.shuffle(order)
    again = error_versus_reject(*(np.array(x)[order] for x in (scores, same, quality)), 0.2)
    assert again == found  # the order of a list decides nothing


def test_a_quality_that_knows_the_misses_falls_and_one_that_does_not_stays():
    rng = np.random.default_rng(0)
    scores, same = rng.uniform(0, 1, 4000), np.ones(4000, bool)
    knows = error_versus_reject(scores, same, scores, 0.3)["fnmr"]
    blind = error_versus_reject(scores, same, rng.uniform(0, 1, 4000), 0.3)["fnmr"]
    assert knows[0] == blind[0] and knows[7] == 0 and all(np.diff(knows) <= 0)
    assert max(abs(np.array(blind[:15]) - 0.3)) < 0.05


def test_the_quality_of_a_pair_is_its_smaller_norm():
    left, right = np.array([[3, 4], [0, 1]], np.float32), np.array([[0, 2], [6, 8]], np.float32)
    assert pair_quality(left, right).tolist() == [2, 1]
    flat = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert pair_quality(flat, flat) is None  # unit vectors have no norm to go by


def test_verification_keeps_the_curve_and_the_report_draws_it():
    from lrfr.eval.pairs import synthetic_pairs

    pairs = synthetic_pairs(identities=20, count=200)
    results = verify_pairs(color_embed, pairs, Settings(sizes=(112, 14), replicates=0))
    for result in results:
        curve = result.curves["edc"]
        assert len(curve["reject"]) == len(curve["fnmr"]) == 20
        tar = result.metrics[f"TAR@FAR={curve['far'][0]:g}"].value
        assert curve["fnmr"][0] == pytest.approx(1 - tar)
    assert any("29794" in image.caption for image in curves(results))


def test_agreement_is_ser_fiqs_equation():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 3, 4)).astype(np.float32)
    found = agreement(x)
    for face in range(3):
        total = 0.0
        for i in range(5):
            for j in range(i + 1, 5):
                a, b = (
                    [t / math.sqrt(sum(u * u for u in v)) for t in v]
                    for v in (x[i, face].tolist(), x[j, face].tolist())
                )
                total += math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))
        assert found[face] == pytest.approx(2 / (1 + math.exp(2 / 25 * total)), rel=1e-5)
    assert agreement(np.repeat(x[:1], 4, axis=0)) == pytest.approx(np.ones(3), abs=1e-5)
    assert norms(x[0])[1] == pytest.approx(math.sqrt(sum(v * v for v in x[0, 1].tolist())), rel=1e-6)


def test_dropped_embeddings_are_the_networks_own_under_masks_that_no_batch_changes():
    torch.manual_seed(0)
    net = build_backbone("tiny").eval()
    x = torch.randn(3, 3, 112, 112)
    found = dropped_embeddings(net, x, 4, 0.5, 0)
    assert found.shape == (4, 3, net.emb_dim) and not torch.equal(found[0], found[1])
    assert torch.allclose(dropped_embeddings(net, x[1:2], 4, 0.5, 0)[:, 0], found[:, 1], rtol=1e-4, atol=1e-3)
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(4, 1, net.fc.in_features, generator=generator) >= 0.5
    inputs = []
    handle = net.fc.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        net(x)
        handle.remove()
        wanted = net.features(net.fc(inputs[0] * kept[2] / 0.5))
    assert torch.allclose(found[2], wanted, rtol=1e-4, atol=1e-3)
    assert not net.fc._forward_pre_hooks
    with pytest.raises(SpecError, match="no fully connected layer"):
        dropped_embeddings(torch.nn.Conv2d(3, 4, 3), x, 4, 0.5, 0)


def test_poolings_of_templates_are_the_plain_sums():
    rng = np.random.default_rng(2)
    x, template = rng.normal(size=(7, 3)), np.array([4, 4, 9, 9, 9, 4, 2])
    for how in ("mean", "norm"):
        features, names = pooled(x.astype(np.float32), template, how)
        assert names.tolist() == [2, 4, 9]
        for place, name in enumerate(names):
            total = [0.0] * 3
            for row, of in zip(x.tolist(), template.tolist(), strict=True):
                length = math.sqrt(sum(v * v for v in row))
                weight = length if how == "norm" else 1.0
                if of == name:
                    total = [t + weight * v / length for t, v in zip(total, row, strict=True)]
            size = math.sqrt(sum(t * t for t in total))
            assert features[place] == pytest.approx([t / size for t in total], rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_weights_say_how_often_a_row_comes(seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 3, 500) * (rng.uniform(size=500) < 0.7)
    order = weighted_order(weights, 1, seed)
    assert len(order) == 500 and np.array_equal(order, weighted_order(weights, 1, seed))
    counts, wanted = np.bincount(order, minlength=500), 500 * weights / weights.sum()
    assert (np.abs(counts - wanted) < 1 + 1e-9).all() and not counts[weights == 0].any()
    assert not np.array_equal(order, weighted_order(weights, 1, seed + 1))
    assert np.array_equal(np.sort(weighted_order(np.ones(500), 1, seed)), np.arange(500))
    for bad in ([-1, 2], [0, 0], [np.nan, 1]):
        with pytest.raises(DataError, match="weights"):
            weighted_order(np.array(bad), 0, 0)


def test_which_rows_a_range_keeps():
    values = np.array([3.0, np.nan, 1.0, 2.0, 2.0])
    assert ColumnRange("q", at_least=2).of(values).tolist() == [True, False, False, True, True]
    assert ColumnRange("q", at_least=2, at_most=2).of(values).tolist() == [False, False, False, True, True]
    assert ColumnRange("q", keep_share=0.4).of(values).tolist() == [True, False, False, True, False]
    for bad in ({}, {"at_least": 1, "keep_share": 0.5}, {"keep_share": 0.0}, {"at_most": math.inf}):
        with pytest.raises(SpecError):
            ColumnRange("q", **bad)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp("quality")
    make_pairs("synthetic:ids=8,per_id=6,seed=3", "fskd", store=place / "store")
    recipe = load_recipe("baseline", "tiny", [*FAST, "train.length=1"])
    train_model(recipe, place / "store", place / "run", options=FitOptions())
    return place


def test_scores_become_a_column_a_view_and_weights(world):
    store = Store(world / "store")
    for kind in ("norm", "dropout"):
        done = write_quality(store, "default", world / "run", kind, column=kind)
        assert (done.written, done.found) == (48, 0)
        assert write_quality(store, "default", world / "run", kind, column=kind).found == 48
    dataset = PairDataset(store, "default")
    values = dataset.column("norm")[:]
    from lrfr.train.weights.load_nets import load_embedder

    faces = list(dataset.batch(np.arange(48), 0).hr_bchw.permute(0, 2, 3, 1).contiguous().numpy())
    assert values == pytest.approx(np.linalg.norm(load_embedder(world / "run")(faces), axis=1), rel=1e-4)
    assert ((dataset.column("dropout")[:] > 0) & (dataset.column("dropout")[:] <= 1)).all()
    view = store.choose_rows("default", "good", ColumnRange("norm", keep_share=0.5))
    good = PairDataset(store, "good")
    assert len(good) == 24 and view.id != dataset.view.id and not store.verify()
    assert sorted(good.column("norm")[:].tolist()) == sorted(values.tolist())[24:]
    assert store.choose_rows("default", "good", ColumnRange("norm", keep_share=0.5)).id == view.id
    with pytest.raises(SpecError, match="another view"):
        store.choose_rows("default", "good", ColumnRange("norm", keep_share=0.25))
    with pytest.raises(DataError, match="its values go from"):
        store.choose_rows("default", "none", ColumnRange("norm", at_least=1e9))
    with pytest.raises(SpecError, match="no column 'nrom'"):
        store.choose_rows("default", "none", ColumnRange("nrom", at_least=0))


def test_a_training_draws_by_a_column_and_its_identity_says_so(world):
    store = Store(world / "store")
    weights = np.r_[np.zeros(24), np.ones(24)]
    store.write_column("default", "half", weights, producer="by hand")
    dataset = PairDataset(store, "default")
    loader = PairLoader(dataset, 16, weights="half")
    assert min(np.concatenate(loader.positions(0))) >= 24
    assert loader.state_dict()["weights"] == "half by by hand"
    recipe = load_recipe("baseline", "tiny", [*FAST, "train.length=2", "weight_column=half"])
    train_model(recipe, dataset, world / "weighted", options=FitOptions())
    identity = RunRecord.read(world / "weighted").identity
    assert identity.train["weight_column"] == "half" and identity.files["weights"] == "by hand"
    with pytest.raises(SpecError, match="no column"):
        train_model(
            load_recipe("baseline", "tiny", [*FAST, "weight_column=no"]),
            dataset,
            world / "no",
            options=FitOptions(),
        )
    with pytest.raises(SpecError, match="do not go together"):
        load_recipe("baseline", "tiny", ["weight_column=half", "images_per_id=2"])


def test_a_quality_that_cannot_be_is_refused():
    for bad in ({"kind": "beauty"}, {"passes": 1}, {"rate": 1.0}):
        with pytest.raises(SpecError, match="no quality by"):
            QualityScores("run", "digest", **bad)


def test_templates_are_searched_pooled_each_way():
    """Rank 1 of a person's pooled probes among pooled galleries and strangers, by loops."""
    rng = np.random.default_rng(5)
    people = rng.normal(size=(6, 27)) * 14

    def faces(who):
        shown = 128 + people[who] + rng.normal(size=(len(who), 27)) * 16 * rng.uniform(0.2, 3, (len(who), 1))
        return [face.reshape(3, 3, 3).clip(0, 255).astype(np.uint8) for face in shown]

    owner, person, nobody = [0, 0, 1, 2, 2, 3], [0, 1, 1, 2, 3, 3, 3], [4, 5, 5]
    gallery, probe, strangers = (faces(np.array(who)) for who in (owner, person, nobody))
    lists = SearchList(
        "mine", gallery, np.array(owner), probe, np.array(person), strangers, alignment="none", digest=""
    )
    task = Task(color_embed, Settings(replicates=0, sizes=(None,)))
    (found,) = identify(task, lists, ranks=(1,), flip="none", sizes=(None,), templates=True)

    def pool(images, who, how):
        rows = color_embed(images)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if how == "mean" else rows
        sums = {one: sum(row for row, of in zip(rows, who, strict=True) if of == one) for one in set(who)}
        return {one: row / np.linalg.norm(row) for one, row in sums.items()}

    for how, words in POOLINGS.items():
        others = [row / np.linalg.norm(row) for row in color_embed(strangers)]
        known, hits = pool(gallery, owner, how), 0
        for one, row in pool(probe, person, how).items():
            rest = [row @ other for name, other in known.items() if name != one]
            hits += row @ known[one] >= max(rest + [row @ other for other in others])
        assert found.metrics[f"rank-1, templates, {words}"].value == hits / 4
        assert found.metrics[f"rank-1, templates, {words}"].n == 4
