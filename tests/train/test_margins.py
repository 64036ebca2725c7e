"""Margins against hand-computed values, plain Python, finite differences and the borders of the cosine."""

import math

import pytest
import torch

from lrfr.core.errors import SpecError
from lrfr.train.heads.margins import (
    MARGINS,
    AdaFace,
    ArcFace,
    CosFace,
    CurricularFace,
    Head,
    HeadSpec,
    add_angle,
)

COSINES = torch.tensor([[0.5, 0.2, 0.1]], dtype=torch.float64)


def loss_of(margin, cos_bc=COSINES, label=0, norms=None):
    """Cross-entropy in plain Python from a margin's cosines."""
    cos_b = cos_bc[:, label]
    norms = torch.ones_like(cos_b) if norms is None else norms
    margin.observe(cos_b, norms)
    target, others = margin.target(cos_b, norms), margin.others(cos_bc, cos_b)
    losses = []
    for row in range(len(cos_bc)):
        logits = [margin.scale * float(others[row, j]) for j in range(cos_bc.shape[1])]
        logits[label] = margin.scale * float(target[row])
        losses.append(math.log(sum(math.exp(x - logits[label]) for x in logits)))
    return losses


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (CosFace(30, 0.25), 0.210455),
        (CosFace(48, 0.4), 4.816326),
        (ArcFace(32, 0.35), 1.250166),
        (ArcFace(64, 0.5), 11.291491),
        (CurricularFace(64, 0.5), 1.499280),
    ],
)
def test_hand_checked_losses(margin, expected):
    assert loss_of(margin.double())[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("t_alpha", "expected"), [(0.01, (6.291182, 6.521242)), (1.0, (5.731473, 7.359357))])
def test_adaface_follows_the_norm(t_alpha, expected):
    norms = torch.tensor([10.0, 30.0], dtype=torch.float64)
    got = loss_of(AdaFace(64, 0.4, 0.333, t_alpha).double(), COSINES.repeat(2, 1), norms=norms)
    assert got == pytest.approx(expected, abs=1e-5)


def test_adaface_alone_in_a_batch_keeps_its_deviation():
    margin = AdaFace()
    margin.observe(torch.tensor([0.3]), torch.tensor([12.0]))
    assert float(margin.batch_std) == 100.0
    assert float(margin.batch_mean) == pytest.approx(19.92)


def test_arcface_beyond_pi_minus_m_is_the_monotone_continuation():
    c = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    turned = add_angle(c, 0.5)
    assert float(add_angle(torch.tensor(-0.95, dtype=torch.float64), 0.5)) == pytest.approx(
        -1.189713, abs=1e-6
    )
    inside = c > math.cos(math.pi - 0.5)
    expected = [math.cos(math.acos(float(x)) + 0.5) for x in c[inside][:-1]]
    assert torch.allclose(turned[inside][:-1], torch.tensor(expected, dtype=torch.float64), atol=1e-6)


def test_curricular_t_moves_before_it_weighs_and_stays_when_told():
    moving, still = CurricularFace(64, 0.5), CurricularFace(64, 0.5, update_t=False)
    for margin in (moving, still):
        margin.observe(torch.tensor([0.5]), torch.ones(1))
    assert float(moving.t) == pytest.approx(0.005)
    assert float(still.t) == 0.0
    weighed = moving.others(torch.tensor([[0.5, 0.2, 0.1]]), torch.tensor([0.5]))
    assert weighed[0, 1:].tolist() == pytest.approx([0.041, 0.0105])


@pytest.mark.parametrize("kind", sorted(MARGINS))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_are_finite_where_embedding_and_weight_are_parallel(kind, sign):
    head = HeadSpec(kind, 64.0, 0.5).build(4, 3)
    emb = (sign * head.weight.detach()[:2] * 7).requires_grad_()
    head(emb, torch.tensor([0, 1])).backward()
    assert torch.isfinite(emb.grad).all() and torch.isfinite(head.weight.grad).all()


@pytest.mark.parametrize("kind", sorted(MARGINS))
def test_gradients_agree_with_finite_differences(kind):
    torch.manual_seed(1)
    head = HeadSpec(kind, 8.0, 0.3).build(5, 4).double().eval()
    labels = torch.tensor([0, 3, 1])
    emb = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    if (
        kind == "adaface"
    ):  # its margin reads the norm, which the loss does not differentiate: compare along directions of equal norm
        grad = torch.autograd.grad(head(emb, labels), emb)[0]
        angle = 1e-6
        along = torch.randn_like(emb)
        along -= (along * emb).sum(1, keepdim=True) / emb.square().sum(1, keepdim=True) * emb
        along *= emb.norm(dim=1, keepdim=True) / along.norm(dim=1, keepdim=True)
        turned = [head(emb * math.cos(a) + along * math.sin(a), labels) for a in (angle, -angle)]
        assert float((turned[0] - turned[1]) / (2 * angle)) == pytest.approx(
            float((grad * along).sum()), rel=1e-5
        )
        return
    assert torch.autograd.gradcheck(lambda e: head(e, labels), emb)


def test_head_agrees_with_a_loop_over_classes():
    torch.manual_seed(0)
    head = Head(CosFace(30, 0.25), 6, 5)
    emb, labels = torch.randn(4, 6), torch.tensor([4, 0, 2, 2])
    losses = []
    for row, label in zip(emb.tolist(), labels.tolist(), strict=True):
        logits = []
        for j, weight in enumerate(head.weight.tolist()):
            dot = sum(a * b for a, b in zip(row, weight, strict=True))
            cos = dot / math.sqrt(sum(a * a for a in row) * sum(b * b for b in weight))
            logits.append(30 * (cos - (0.25 if j == label else 0)))
        losses.append(math.log(sum(math.exp(x) for x in logits)) - logits[label])
    assert float(head(emb, labels)) == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_faces_without_identity_are_left_out():
    head = HeadSpec().build(6, 5)
    emb, labels = torch.randn(4, 6), torch.tensor([4, -1, 2, -1])
    assert torch.equal(head(emb, labels), head(emb[[0, 2]], labels[[0, 2]]))
    assert float(head(emb[:1], torch.tensor([-1]))) == 0.0


def test_unknown_names_are_refused():
    with pytest.raises(SpecError, match="did you mean 'arcface'"):
        HeadSpec("arcfase")
    with pytest.raises(SpecError, match="unknown name 'xavie'"):
        HeadSpec(init="xavie")
