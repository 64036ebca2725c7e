"""CATFace's attention and fusions against loops over heads, tokens and groups."""

import math

import pytest
import torch

from lrfr.train.backbones.fusion import FUSIONS, ChannelAttention, CrossAttention, Fused, FusionLayout
from lrfr.train.backbones.parts.multibranch import MultiBranch, SelfAttention, attend, tokens
from lrfr.train.backbones.table import build_backbone


def slow_attention(q, k, v, heads):
    d = q.shape[-1] // heads
    out = torch.zeros_like(q)
    for b in range(q.shape[0]):
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            for i in range(q.shape[1]):
                weights = [
                    math.exp(float(q[b, i, part] @ k[b, j, part]) / math.sqrt(d)) for j in range(k.shape[1])
                ]
                out[b, i, part] = sum(w * v[b, j, part] for j, w in enumerate(weights)) / sum(weights)
    return out


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_equals_a_loop(heads):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 5, 8)
    assert torch.allclose(attend(q, k, v, heads), slow_attention(q, k, v, heads), atol=1e-5)


def test_self_attention_returns_what_the_distillation_compares():
    module, x = SelfAttention(8, 2), torch.randn(2, 8, 3, 3)
    y, (a, v) = module(x)
    t = tokens(x)
    assert torch.allclose(v, module.v(t))
    assert torch.allclose(a, slow_attention(module.q(t), module.k(t), v, 2), atol=1e-5)
    assert torch.allclose(y, x + module.out(a).transpose(1, 2).reshape(x.shape), atol=1e-6)


def test_cross_attention_asks_the_other_stream():
    module = CrossAttention(8, 2)
    fr, sb = torch.randn(2, 2, 8, 3, 3)
    got_fr, got_sb = module(fr, sb)
    f, s = tokens(fr), tokens(sb)
    want_fr = slow_attention(module.q_fr(f), module.k_sb(s), module.v_sb(s), 2)
    want_sb = slow_attention(module.q_sb(s), module.k_fr(f), module.v_fr(f), 2)
    assert torch.allclose(tokens(got_fr), f + want_fr, atol=1e-5)
    assert torch.allclose(tokens(got_sb), s + want_sb, atol=1e-5)


def test_channel_attention_equals_a_loop_over_groups():
    module, x = ChannelAttention(8, group=4), torch.randn(2, 8, 2, 3)
    t = tokens(x)
    q, k, v = module.q(t), module.k(t), module.v(t)
    want = t.clone()
    for b in range(2):
        for g in range(2):
            part = slice(4 * g, 4 * g + 4)
            weights = torch.softmax(q[b, :, part].T @ k[b, :, part] / 2.0, dim=-1)
            want[b, :, part] += (weights @ v[b, :, part].T).T
    assert torch.allclose(tokens(module(x)), want, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_every_fusion_keeps_the_map_and_passes_gradients(name):
    fusion = FUSIONS[name](16, heads=4, group=8)
    fr, sb = (torch.randn(2, 16, 4, 4, requires_grad=True) for _ in range(2))
    out = fusion(fr, sb)
    assert out.shape == (2, fusion.channels, 4, 4)
    out.square().sum().backward()
    assert fr.grad.abs().sum() > 0 and sb.grad.abs().sum() > 0


def test_frozen_branches_do_not_move_in_step_two():
    branches = MultiBranch(build_backbone("tiny"), build_backbone("tiny"), emb_dim=16, attributes=2, heads=4)
    fused = Fused(branches, FusionLayout("catf", 4, 32, 16, 4)).train()
    before = {name: tensor.clone() for name, tensor in branches.state_dict().items()}
    for _ in range(2):
        fused(torch.randn(4, 3, 112, 112)).square().mean().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in branches.state_dict().items())
    assert all(p.grad is None for p in branches.parameters())
