"""Every method: loss falls, what is frozen stays, losses equal their formula, the embedder serves any
size.
"""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrfr.core.errors import DataError, SpecError
from lrfr.degrade.ops.resize import resize_batch
from lrfr.train.backbones.net_embedder import InputSpec, to_input
from lrfr.train.engine.distributed import World
from lrfr.train.engine.loaders import flip
from lrfr.train.engine.method_run import Run
from lrfr.train.losses.distances import logexp, mse
from lrfr.train.methods.octuplet import batch_hard, pairwise
from lrfr.train.methods.table import METHODS, recipe_names
from lrfr.train.recipe import load_recipe
from lrfr.train.settings import TrainSettings
from tests.train import golden

VARIANTS = [*METHODS, "catface step 2"]


def make(variant, dataset):
    """Return (method, nets, parents) with untrained parents."""
    name, *rest = variant.split(" ", 1)
    recipe = load_recipe(name, "tiny", ["options.step=2"] if rest else [])
    torch.manual_seed(0)
    method = recipe.make()
    parents = {
        role: p.make().build(dataset.num_classes, None, dataset.attribute_names)
        for role, p in recipe.parents.items()
    }
    return method, method.build(dataset.num_classes, parents, dataset.attribute_names), parents


@pytest.fixture(scope="module")
def batch(dataset):
    return dataset.batch(np.arange(16), 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_falls_on_one_batch_and_frozen_tensors_stay(variant, dataset, batch):
    method, nets, parents = make(variant, dataset)
    kept = {role: {k: v.clone() for k, v in parent.state_dict().items()} for role, parent in parents.items()}
    frozen = {n: p.detach().clone() for n, p in nets.named_parameters() if not p.requires_grad}
    run = Run(method, nets, TrainSettings(clip_norm=5.0, flip="none"), World())
    losses = [float(run.step(batch, step, 0.02)["total"]) for step in range(7)]
    assert np.isfinite(losses).all()
    assert min(losses[4:]) < losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in nets.named_parameters() if n in frozen)
    for role in {"teacher", "trunk", "step1"} & parents.keys():
        assert all(torch.equal(v, kept[role][k]) for k, v in parents[role].state_dict().items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_embedder_takes_any_size_and_keeps_order(variant, dataset):
    method, nets, _ = make(variant, dataset)
    generator = np.random.default_rng(0)
    images = [
        generator.integers(0, 256, (h, w, 3), dtype=np.uint8)
        for h, w in ((112, 112), (20, 24), (7, 7), (112, 112))
    ]
    embed = method.embedder(nets)
    together = embed(images)
    assert together.dtype == np.float32 and together.shape[0] == 4
    assert np.allclose(together[[3, 1]], embed([images[3], images[1]]), atol=1e-4)
    assert any(module.training for module in nets.modules())  # the mode is put back


def test_frozen_batch_norms_keep_their_statistics_and_learn_the_rest(dataset, batch):
    method, nets, _ = make("fskd", dataset)
    before = {name: value.clone() for name, value in nets["net"].state_dict().items()}
    run = Run(dataclasses.replace(method, batch_norm="frozen"), nets, TrainSettings(), World())
    run.step(batch, 0, 0.1)
    moved = {name for name, value in nets["net"].state_dict().items() if not torch.equal(value, before[name])}
    assert moved and not any("running" in name or "num_batches" in name for name in moved)
    assert any(name.endswith("bn1.weight") for name in moved)


def test_distillation_alone_leaves_the_classifier_as_it_is(dataset, batch):
    method, nets, _ = make("fskd", dataset)
    nets.eval()
    alone = dataclasses.replace(method, margin_weight=0.0, lambda_=1.0, distance="embedding")
    student, teacher = nets["net"](batch.as_float().lr_bchw), nets["teacher"](batch.as_float().hr_bchw)
    expected = 1 - F.cosine_similarity(student.double(), teacher.double()).mean()
    assert float(alone.losses(nets, batch.as_float(), 0)["total"].detach()) == pytest.approx(
        float(expected.detach()), abs=1e-6
    )
    head = nets["head"].weight.clone()
    Run(alone, nets, TrainSettings(weight_decay=0.0), World()).step(batch, 0, 0.1)
    assert torch.equal(nets["head"].weight, head)


def test_fskd_total_is_margin_plus_lambda_times_mean_cosine_distance(dataset, batch):
    method, nets, _ = make("fskd", dataset)
    nets.eval()
    batch = batch.as_float()
    losses = method.losses(nets, batch, 0)
    student, teacher = nets["net"].run(batch.lr_bchw), nets["teacher"].run(batch.hr_bchw)
    distance = 0.0
    for s, t in zip(student.taps, teacher.taps, strict=True):
        distance += (
            sum(
                float(1 - (a @ b) / (a.norm() * b.norm()))
                for a, b in zip(s.flatten(1), t.flatten(1), strict=True)
            )
            / 16
            / 4
        )
    margin = float(nets["head"](student.embedding_bd, batch.label_b))
    assert float(losses["total"]) == pytest.approx(margin + 5 * distance, rel=1e-4)


@pytest.mark.parametrize("kind", ["curricularface", "adaface"])
def test_statistics_of_a_margin_move_once_a_step_also_where_logits_are_compared(kind):
    method, nets = golden.built("fskd", {"distance": "kl", "head.kind": kind})
    other, plain = golden.built("baseline", {"side": "lr", "head.kind": kind})
    plain["net"].load_state_dict(nets["net"].state_dict())
    plain["head"].load_state_dict(nets["head"].state_dict())
    found = [one.losses(two, golden.batch().as_float(), 0) for one, two in ((method, nets), (other, plain))]
    assert float(found[0]["margin"]) == pytest.approx(float(found[1]["total"]), rel=1e-5)
    moved, wanted = (list(two["head"].margin.buffers()) for two in (nets, plain))
    assert len(wanted) and all(map(torch.allclose, moved, wanted))
    assert method.revisions()["statistics"] == 2
    assert "statistics" not in dataclasses.replace(method, distance="cosine").revisions()


def test_fskd_adds_the_weighted_contrast_of_student_and_teacher(dataset, batch):
    method, nets, parents = make("fskd", dataset)
    both = dataclasses.replace(method, contrast_weight=0.3, contrast_scale=7.0, contrast_queue=64)
    nets["queue"] = both.build(dataset.num_classes, parents)["queue"]
    nets.eval()
    batch = batch.as_float()
    without, found = method.losses(nets, batch, 0), both.losses(nets, batch, 0)
    cosines = F.normalize(nets["net"](batch.lr_bchw)) @ F.normalize(nets["teacher"](batch.hr_bchw)).T
    contrast = 0.0
    for i, row in enumerate(cosines.exp().pow(7).tolist()):  # e^(s c)
        others = sum(value for j, value in enumerate(row) if batch.label_b[j] != batch.label_b[i])
        contrast -= np.log(row[i] / (row[i] + others)) / len(row)
    assert float(found["contrast"].detach()) == pytest.approx(contrast, rel=1e-4)
    assert float(found["total"].detach()) == pytest.approx(
        float(without["total"].detach()) + 0.3 * contrast, rel=1e-4
    )


@pytest.mark.parametrize("wrong", [{"contrast_weight": -1}, {"contrast_scale": 0}, {"contrast_queue": 0}])
def test_a_contrast_that_cannot_work_is_refused(wrong):
    with pytest.raises(SpecError, match="contrast_weight must be 0 or more"):
        METHODS["fskd"](**wrong)


def test_maug_total_is_its_formula(dataset, batch):
    method, nets, _ = make("maug", dataset)
    nets.eval()
    batch = batch.as_float()
    hr, lr = nets["net"](batch.hr_bchw), nets["net"](batch.lr_bchw)
    want = (
        logexp(F.normalize(hr), F.normalize(lr))
        + 0.5 * nets["head"](hr, batch.label_b)
        + 0.5 * nets["head"](lr, batch.label_b)
    )
    assert float(method.losses(nets, batch, 0)["total"]) == pytest.approx(float(want), rel=1e-5)
    official = dataclasses.replace(method, reduction="official").losses(nets, batch, 0)
    assert float(official["distance"]) != pytest.approx(float(method.losses(nets, batch, 0)["distance"]))


def test_btnet_branch_compares_with_its_trunk(dataset, batch):
    method, nets, _ = make("btnet-branch", dataset)
    nets.eval()
    batch = batch.as_float()
    losses = method.losses(nets, batch, 0)
    trunk = nets["net"].trunk.run(batch.hr_bchw, ("layer2.0",))
    small = F.interpolate(batch.hr_bchw, size=(14, 14), mode="bilinear", antialias=True)
    branch = nets["net"].net(14).run(small, ("layer2.0",))
    assert float(losses["feature_14"]) == pytest.approx(float(mse(branch.taps[0], trunk.taps[0])), rel=1e-5)
    want = sum(
        losses[f"margin_{px}"] + 0.5 * (losses[f"feature_{px}"] + losses[f"embedding_{px}"])
        for px in (28, 14, 7)
    )
    assert float(losses["total"]) == pytest.approx(float(want), rel=1e-5)


def test_btnet_keeps_the_classifier_and_its_t(dataset, batch):
    method, nets, parents = make("btnet-branch", dataset)
    assert torch.equal(nets["head"].weight, parents["trunk"]["head"].weight)
    run = Run(method, nets, TrainSettings(), World())
    for step in range(2):
        run.step(batch, step, 0.05)
    assert torch.equal(nets["head"].weight, parents["trunk"]["head"].weight)
    assert torch.equal(nets["head"].margin.t, parents["trunk"]["head"].margin.t)


FILTERS = {
    **dict.fromkeys(("bilinear", "bicubic", "box"), True),
    **dict.fromkeys(("linear", "cubic", "nearest", "nearest_exact", "area"), False),
}


@pytest.mark.parametrize(("filter", "antialias"), FILTERS.items())
def test_btnet_shrinks_by_the_filter_of_its_view(filter, antialias):
    y, x = np.mgrid[:112, :112] / 112
    face = np.stack([128 + 90 * np.sin(9 * x + k) * np.cos(7 * y) for k in range(3)], axis=2).astype(np.uint8)
    method = METHODS["btnet-branch"](input=InputSpec(filter=filter, antialias=antialias))
    shrunk = method._shrink(to_input(face[None]), 28)
    wanted = to_input(resize_batch(face[None], 28, filter, antialias))
    assert float((shrunk - wanted).abs().max()) < 1.6 / 127.5


@pytest.mark.parametrize("filter", ["lanczos", "hamming", "lanczos4"])
def test_btnet_says_which_filters_it_cannot_shrink_by(filter):
    with pytest.raises(SpecError, match=f"no filter '{filter}'"):
        METHODS["btnet-branch"](backbone="tiny", input=InputSpec(filter=filter)).build(4)


def test_btnet_ablations_build_and_train(dataset, batch):
    for change in (
        {"fix_trunk": False},
        {"bct": False},
        {"pretrained": False},
        {"bn": "official"},
        {"shift": 1},
        {"shift": -1},
        {"distill": 0.0},
    ):
        recipe = load_recipe("btnet-branch", "tiny")
        method = dataclasses.replace(recipe.make(), branches_px=(14,), **change)
        trunk = recipe.parents["trunk"].make().build(dataset.num_classes)
        nets = method.build(dataset.num_classes, {"trunk": trunk})
        run = Run(method, nets, TrainSettings(), World())
        assert np.isfinite(float(run.step(batch, 0, 0.02)["total"]))
        own = change.get("bct", True) is False
        assert nets["head_14" if own else "head"].weight.requires_grad == own


def test_btnets_classifiers_are_the_trunks_its_own_or_fresh(dataset):
    """Table 3: scratch, pretraining, and BCT; without BCT branches share no classifier."""
    recipe = load_recipe("btnet-branch", "tiny")
    trunk = recipe.parents["trunk"].make().build(dataset.num_classes)
    trunk["head"].margin.t.fill_(0.25)

    def heads(**change):
        method = dataclasses.replace(recipe.make(), **change)
        nets = method.build(dataset.num_classes, {"trunk": trunk})
        return {name: net for name, net in nets.items() if name != "net"}

    old = trunk["head"].weight
    scratch, pretrained = heads(bct=False, pretrained=False), heads(bct=False)
    assert scratch.keys() == pretrained.keys() == {"head_28", "head_14", "head_7"}
    assert not any(torch.equal(head.weight, old) for head in scratch.values())
    assert all(float(head.margin.t) == 0 for head in scratch.values())
    assert all(torch.equal(head.weight, old) and head.weight.requires_grad for head in pretrained.values())
    assert len({head.weight.data_ptr() for head in pretrained.values()}) == 3
    for change in ({}, {"pretrained": False}):
        kept = heads(**change)["head"]
        assert (
            torch.equal(kept.weight, old) and not kept.weight.requires_grad and float(kept.margin.t) == 0.25
        )


def _released_trainable(names, fixed):
    """The names that the released BTNet trains: fixed parts are frozen but for ``bn`` and the first fixed part's
    first unit.
    """
    frozen = {name for name in names if any(part in name for part in fixed) and "bn" not in name}
    return set(names) - {name for name in frozen if f"{fixed[0]}.0" not in name}


@pytest.mark.parametrize(
    ("backbone", "counts"), [("iresnet18", (66, 75, 84)), ("iresnet50", (165, 180, 225))]
)
def test_btnet_official_trains_the_tensors_of_the_released_code(backbone, counts):
    method = dataclasses.replace(load_recipe("btnet-branch", "tiny").make(), backbone=backbone, bn="official")
    net = method.build(4)["net"]
    for px, count in zip((28, 14, 7), counts, strict=True):
        stages = [f"layer{k}" for k in range(net.owned_stage(px), 5)]
        parameters = dict(net.branches[str(px)].named_parameters())
        trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
        assert trained == _released_trainable(parameters, [*stages, "fc", "features"])
        assert len(trained) == count
    whole = dataclasses.replace(method, fix_trunk=False, branches_px=(14,)).build(4)["net"]
    assert all(
        p.requires_grad for name, p in whole.branches["14"].named_parameters() if name != "features.weight"
    )


def test_btnet_official_has_a_name_of_its_own_and_moves_no_other():
    method = METHODS["btnet-branch"]()
    assert "bn" not in method.revisions()
    assert dataclasses.replace(method, bn="official").revisions()["bn"] == 2


def test_catface_masks_unknown_attributes(dataset, batch):
    method, nets, _ = make("catface", dataset)
    nets.eval()
    batch = batch.as_float()
    unknown = dataclasses.replace(batch, attributes_ba=torch.full_like(batch.attributes_ba, -1))
    assert float(method.losses(nets, unknown, 0)["attributes"]) == 0.0
    assert float(method.losses(nets, batch, 0)["attributes"]) > 0.5
    with pytest.raises(DataError, match="none of the attributes"):
        method.build(4, None, ("Smiling",))
    assert method.attribute_predictor(nets)([np.zeros((20, 20, 3), np.uint8)]).shape == (1, 5)


def test_catface_hq_side_of_the_distillation_gets_no_gradient():
    method = METHODS["catface"]()
    hq, lq = (torch.randn(2, 4, 6, requires_grad=True) for _ in range(2))
    values = torch.randn(4, 4, 6)
    from lrfr.train.backbones.parts.multibranch import BranchMap

    method._distill(BranchMap(torch.zeros(1), (torch.cat([hq, lq]), values))).backward()
    assert hq.grad is None or not hq.grad.any()
    assert lq.grad.any()


@pytest.mark.parametrize("metric", ["euclidean", "euclidean_squared", "cosine"])
def test_octuplet_block_equals_a_loop_and_has_a_gradient(metric):
    torch.manual_seed(0)
    x, y = (F.normalize(torch.randn(6, 4)).requires_grad_() for _ in range(2))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = batch_hard(pairwise(x, y, metric), labels, 0.5)

    def distance(a, b):
        squared = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
        cosine = sum(p * q for p, q in zip(a, b, strict=True))
        return {"euclidean": squared**0.5, "euclidean_squared": squared, "cosine": 1 - cosine}[metric]

    rows = []
    for i in range(6):
        near = [distance(x[i].tolist(), y[j].tolist()) for j in range(6) if labels[j] == labels[i] and j != i]
        far = [distance(x[i].tolist(), y[j].tolist()) for j in range(6) if labels[j] != labels[i]]
        rows.append(max(0, max(near) - min(far) + 0.5))
    assert float(loss) == pytest.approx(sum(rows) / 6, abs=1e-5)
    loss.backward()
    assert x.grad.abs().sum() > 0 and torch.isfinite(x.grad).all()


def test_octuplet_without_pairs_of_an_identity_is_zero():
    x = torch.randn(3, 4)
    assert float(batch_hard(pairwise(x, x, "euclidean"), torch.tensor([0, 1, 2]), 0.5)) == 0.0


def test_fskd_refuses_what_cannot_be_compared(dataset, batch):
    with pytest.raises(SpecError, match="did you mean 'cosine'"):
        METHODS["fskd"](distance="cosin", backbone="tiny").build(3)
    method = METHODS["fskd"](distance="askd", backbone="tiny")
    nets = method.build(3, {"teacher": METHODS["baseline"](backbone="tiny").build(3)})
    with pytest.raises(SpecError, match="needs a backbone with attention"):
        method.losses(nets, batch.as_float(), 0)


def test_flip_is_one_draw_a_pair_and_a_function_of_seed_epoch_and_row(dataset):
    whole = dataset.batch(np.arange(48), 0)
    joint, again = flip(whole, "joint", 7, 2), flip(dataset.batch(np.arange(20, 48), 0), "joint", 7, 2)
    turned = [not torch.equal(a, b) for a, b in zip(joint.hr_bchw, whole.hr_bchw, strict=True)]
    assert 10 < sum(turned) < 38
    assert all(
        torch.equal(joint.lr_bchw[i], whole.lr_bchw[i].flip(2) if turned[i] else whole.lr_bchw[i])
        for i in range(48)
    )
    assert torch.equal(joint.hr_bchw[20:], again.hr_bchw)
    apart = flip(whole, "independent", 7, 2)
    assert torch.equal(apart.hr_bchw, joint.hr_bchw) and not torch.equal(apart.lr_bchw, joint.lr_bchw)
    assert flip(whole, "none", 7, 2) is whole


def test_every_method_has_recipes_help_and_defaults():
    for name, kind in METHODS.items():
        assert METHODS.help(name)
        assert {"tiny", "paper"} <= set(recipe_names(name))
        for recipe in recipe_names(name):
            resolved = load_recipe(name, recipe)
            assert dataclasses.is_dataclass(resolved.make())
            assert resolved.about
        fields = {f.name.removesuffix("_") for f in dataclasses.fields(kind)}
        assert kind.unstated.keys() <= fields
    with pytest.raises(SpecError, match="did you mean 'fskd'"):
        METHODS["fskdd"]


@pytest.mark.parametrize(("backbone", "strided"), [("wave-tiny", False), ("tiny", True)])
def test_waveresnet_halves_maps_as_its_backbone_says(backbone, strided):
    net = METHODS["waveresnet"](backbone=backbone).build(5)["net"]
    strides = [
        module.stride
        for part in (net.layer1, net.layer2)
        for module in part.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    assert ((2, 2) in strides) is strided


def test_a_reloaded_catface_names_its_attributes_as_it_learned_them():
    view = ("Bald", "Male", "Young")
    learned = METHODS["catface"](backbone="tiny", attribute_weights={"Male": 1.0, "Bald": 0.5}).build(
        3, None, view
    )["attributes"]
    reloaded = METHODS["catface"](backbone="tiny", attribute_weights={"Bald": 0.5, "Male": 1.0}).build(
        3, None, view
    )["attributes"]
    assert learned.names == reloaded.names == ["Bald", "Male"]
    logits, truth = torch.tensor([[9.0, -9.0]]), torch.tensor([[1, 0, -1]])
    assert float(learned(logits, truth)) < 0.01
    assert float(reloaded(logits, truth)) < 0.01


@pytest.mark.parametrize("distill", ["self-attention", "cbam", "features", "none"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_catface_distils_what_a_row_of_its_tables_says(distill, metric):
    """Tables 4, 6 and 7: the sum of 1 - cos, or of mean squared differences, of what is compared."""
    recipe = load_recipe("catface", "tiny", {"distill": distill, "distill_metric": metric})
    method, some = recipe.make(), golden.batch(4).as_float()
    torch.manual_seed(0)
    nets = method.build(4, None, golden.NAMES)
    nets.eval()
    with torch.no_grad():
        losses = method.losses(nets, some, 0)
        hq, lq = (nets["net"].maps(side)[0] for side in (some.hr_bchw, some.lr_bchw))
    pairs = {"features": [(hq.map_bchw, lq.map_bchw)], "none": []}.get(
        distill, list(zip(hq.attention, lq.attention, strict=True))
    )
    wanted = 0.0
    for one, other in pairs:
        for a, b in zip(one.flatten(1).double().numpy(), other.flatten(1).double().numpy(), strict=True):
            gap = 1 - (a @ b) / np.sqrt((a @ a) * (b @ b)) if metric == "cosine" else ((a - b) ** 2).mean()
            wanted += gap / len(some.label_b)
    assert float(losses["distill_fr"]) == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def test_catface_without_augmentation_looks_at_no_copy():
    recipe = load_recipe("catface", "tiny", {"distill": "none", "cls_on": "hr"})
    method, some, seen = recipe.make(), golden.batch(4).as_float(), []
    nets = method.build(4, None, golden.NAMES)
    nets["net"].conv1.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    method.losses(nets, some, 0)
    assert len(seen) == 1 and torch.equal(seen[0], some.hr_bchw)
