"""Guided mode: the sign step, its box, and that nothing of the inner step leaks into training."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import Card, Layout
from lrfr.degrade.style.magnitude import IdentityRange
from lrfr.degrade.style.weight_files import save_weights
from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.heads.margins import HeadSpec
from lrfr.train.losses.draws import normals
from lrfr.train.methods.baseline import Baseline
from lrfr.train.methods.guided import GuidedSpec, chosen_rows, evaluating, guided_styles, restyle

LAYOUT = Layout(dim=4, n_res=1, n_basis=3, latent=8, residual=True)


class Linear(nn.Module):
    """A generator whose output is known: x + A z."""

    layout = LAYOUT

    def __init__(self):
        super().__init__()
        self.matrix = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]])

    def forward(self, x, z):
        return x + z @ self.matrix.T


def test_one_step_is_alpha_times_the_sign_of_the_gradient_inside_the_box():
    x, start = torch.zeros(2, 2), torch.tensor([[0.1, 0.2, 0.3], [-1.0, 0.0, 2.0]])
    weight = torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    # loss = sum(weight * (x + A z)), so its gradient is A^T weight: (1, -1, 3.5) and (-1, 2, -0.5)
    signs = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])
    found = guided_styles(
        GuidedSpec(alpha=0.1, eps=0.314), partial(Linear(), x), lambda y: (weight * y).sum(), start
    )
    assert torch.allclose(found, start + 0.1 * signs)
    far = guided_styles(
        GuidedSpec(alpha=0.5, eps=0.2), partial(Linear(), x), lambda y: (weight * y).sum(), start
    )
    assert torch.allclose(far, start + 0.2 * signs)
    many = guided_styles(
        GuidedSpec(alpha=0.1, eps=0.25, steps=5), partial(Linear(), x), lambda y: (weight * y).sum(), start
    )
    assert torch.allclose(many, start + 0.25 * signs)
    assert torch.equal(
        guided_styles(GuidedSpec(steps=0), partial(Linear(), x), lambda y: y.sum(), start), start
    )


def test_chosen_rows_are_a_share_of_the_labeled_ones():
    label = torch.tensor([3, -1, 5, 7, -1, 0, 2, 1])
    seen = set()
    for step in range(40):
        rows = chosen_rows(GuidedSpec(share=0.25), label, step).tolist()
        assert len(rows) == 2
        assert not {1, 4} & set(rows)
        seen.update(rows)
    assert seen == {0, 2, 3, 5, 6, 7}
    assert len(chosen_rows(GuidedSpec(share=1.0), label, 0)) == 6
    assert len(chosen_rows(GuidedSpec(share=0.0), label, 0)) == 0


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"alpha": -0.1}, {"eps": -1.0}, {"steps": -1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="guided"):
        GuidedSpec(**wrong)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    generator = StyleGenerator(LAYOUT)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1.5)
    save_weights(tmp_path / "w.safetensors", generator, Card(LAYOUT, 32, IdentityRange()))
    return str(tmp_path / "w.safetensors")


@pytest.fixture
def nets():
    torch.manual_seed(1)
    nets = Baseline(backbone="tiny", head=HeadSpec("adaface", 30.0, 0.4)).build(4)
    return nets.train()


def loss_in(nets):
    return lambda x, labels: nets["head"](nets["net"](x), labels)


def faces(count=8):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_the_inner_step_leaves_networks_gradients_and_modes_alone(weights, nets):
    before = copy.deepcopy(nets.state_dict())
    label = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    x = faces()
    rows, styled = restyle(GuidedSpec(weights=weights, share=0.5), nets, loss_in(nets), x, label, step=3)
    assert all(torch.equal(value, before[name]) for name, value in nets.state_dict().items())
    assert all(parameter.grad is None for parameter in nets.parameters())
    assert all(module.training for module in nets.modules())
    assert not styled.requires_grad
    assert len(rows) == 4
    assert (styled - x[rows]).abs().amax((1, 2, 3)).min() > 0.01


def test_the_guided_style_hurts_more_than_the_random_one(weights, nets):
    label = torch.arange(8) % 4
    loss_of = loss_in(nets)
    gain = []
    for step in range(4):
        spec = GuidedSpec(weights=weights, share=1.0, alpha=0.314, eps=0.314)
        random = GuidedSpec(weights=weights, share=1.0, steps=0)
        with evaluating(nets), torch.no_grad():
            pair = [
                float(loss_of(restyle(kind, nets, loss_of, faces(), label, step=step)[1], label))
                for kind in (spec, random)
            ]
        gain.append(pair[0] - pair[1])
    assert min(gain) > 0


def test_styles_start_from_the_steps_own_normals(weights, nets):
    from lrfr.degrade.style.weight_files import load_weights

    label, x = torch.arange(8) % 4, faces()
    spec = GuidedSpec(weights=weights, share=0.5, steps=0, seed=9)
    rows, styled = restyle(spec, nets, loss_in(nets), x, label, step=5)
    start = normals(9, "guided-5", (8, 3))[rows]
    with torch.no_grad():
        assert torch.equal(styled, load_weights(weights).generator(x[rows], start))


def batch(count=8):
    images = (faces(count) * 127.5 + 127.5).to(torch.uint8)
    whole = torch.arange(count)
    return Batch(
        images,
        images.flip(2),
        torch.full((count,), 112),
        whole % 4,
        torch.zeros(count, 0, dtype=torch.int8),
        whole,
    ).as_float()


@pytest.mark.parametrize("side", ["hr", "lr", "both"])
def test_the_baseline_trains_on_the_restyled_share(side, weights, nets):
    guided = Baseline(backbone="tiny", side=side, guided=GuidedSpec(weights=weights, share=0.25))
    off = Baseline(backbone="tiny", side=side)
    seen = []
    nets["net"].register_forward_pre_hook(
        lambda module, inputs: seen.append((module.training, inputs[0].detach().clone()))
    )
    guided.losses(nets, batch(), 2)["total"].backward()
    outer = [x for training, x in seen if training]
    inner = [x for training, x in seen if not training]
    assert len(inner) == 1
    assert len(inner[0]) == 2
    clean = {"hr": [batch().hr_bchw], "lr": [batch().lr_bchw], "both": [batch().hr_bchw, batch().lr_bchw]}[
        side
    ]
    changed = [(x != original).flatten(1).any(1) for x, original in zip(outer, clean, strict=True)]
    assert all(int(rows.sum()) == 2 for rows in changed)
    seen.clear()
    off.losses(nets, batch(), 2)
    assert all(torch.equal(x, original) for (_, x), original in zip(seen, clean, strict=True))


def test_catface_takes_guided_styles_as_low_quality_copies(weights):
    from lrfr.train.methods.catface import CatFace

    torch.manual_seed(0)
    names = ("Male", "Bald")
    method = CatFace(backbone="tiny", emb_dim=32, guided=GuidedSpec(weights=weights, share=0.25))
    nets = method.build(4, None, names).train()
    small = batch()
    small = Batch(
        small.hr_bchw,
        small.lr_bchw,
        small.size_px_b,
        small.label_b,
        torch.ones(8, 2, dtype=torch.int8),
        small.row_b,
    )
    before = copy.deepcopy(nets.state_dict())
    copies = method._copies(nets, small, 1)
    assert all(torch.equal(value, before[name]) for name, value in nets.state_dict().items())
    assert int((copies != small.lr_bchw).flatten(1).any(1).sum()) == 2
    losses = method.losses(nets, small, 1)
    assert torch.isfinite(losses["total"])
    assert losses["total"] != CatFace(backbone="tiny", emb_dim=32).losses(nets, small, 1)["total"]
