"""The generator against its published sizes, slow references and the mathematics of its parts."""

import math

import pytest
import torch
import torch.nn.functional as F

from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import PRESETS, Layout
from lrfr.degrade.style.layers import LayerNorm, ResidualBlock
from lrfr.degrade.style.subspace import StyleSubspace

SMALL = Layout(dim=4, n_res=1, n_basis=3, latent=8)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_preset_has_the_published_number_of_parameters():
    generator = StyleGenerator(PRESETS["full"])
    assert round(count(generator) / 1e6, 2) == 9.67
    assert round((count(generator.stem) + count(generator.content)) / 1e6, 2) == 4.21
    assert round((count(generator.styled) + count(generator.head)) / 1e6, 2) == 4.57
    assert round(count(generator.style_mlp) / 1e6, 2) == 0.89


@pytest.mark.parametrize("preset", ["small", "tiny"])
@pytest.mark.parametrize("side", [32, 56, 112])
def test_every_training_size_comes_back(preset, side):
    with torch.no_grad():
        y = StyleGenerator(PRESETS[preset])(torch.rand(1, 3, side, side) * 2 - 1, torch.randn(1, 10))
    assert y.shape == (1, 3, side, side)
    assert y.abs().max() <= 1


def test_adain_is_batch_norm_over_each_sample_with_bias_row_first():
    torch.manual_seed(0)
    block = ResidualBlock(5)
    x, style = torch.randn(3, 5, 6, 6), torch.randn(3, 2, 2, 5)

    def adain(features, part):
        batch, channels = features.shape[:2]
        flat = features.reshape(1, batch * channels, *features.shape[2:])
        return F.batch_norm(
            flat, None, None, part[:, 1].reshape(-1), part[:, 0].reshape(-1), True, 0.1, 1e-5
        ).view_as(features)

    hidden = F.relu(
        adain(
            F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), block.conv1.weight, block.conv1.bias),
            style[:, 0],
        )
    )
    wanted = x + adain(
        F.conv2d(F.pad(hidden, (1, 1, 1, 1), mode="reflect"), block.conv2.weight, block.conv2.bias),
        style[:, 1],
    )
    assert torch.allclose(block(x, style), wanted, atol=1e-5)


def test_layer_norm_takes_the_unbiased_deviation_of_each_sample():
    layer = LayerNorm(2)
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, 6.0]]], [[[0.0, 0.0]], [[0.0, 8.0]]]])
    y = layer(x)
    for sample, out in zip(x, y, strict=True):
        values = sample.flatten().tolist()
        mean = sum(values) / 4
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
        wanted = [
            (value - mean) / (std + 1e-5) * float(layer.gain_c.detach()[i // 2])
            for i, value in enumerate(values)
        ]
        assert out.flatten().tolist() == pytest.approx(wanted, rel=1e-5)


def test_published_layout_is_blind_to_gain_and_offset_and_the_residual_one_is_not():
    torch.manual_seed(1)
    x, z = torch.rand(1, 3, 32, 32) - 0.5, torch.randn(1, 3)
    darker = 0.5 * x - 0.2
    with torch.no_grad():
        plain = StyleGenerator(SMALL).double()
        # weights of 0.02 make activations so small that the norm's epsilon would show
        for parameter in plain.parameters():
            parameter.mul_(50)
        seen, unseen = plain(x.double(), z.double()), plain(darker.double(), z.double())
        residual = StyleGenerator(Layout(4, 1, 3, 8, residual=True))
        kept = (residual(x, z) - residual(darker, z)).mean()
    assert (seen - unseen).abs().max() < 1e-2
    assert kept == pytest.approx(float((x - darker).mean()), abs=0.05)


def test_style_norm_is_the_distance_from_the_mean_latent():
    subspace = StyleSubspace(10, 32)
    z = torch.randn(50, 10)
    with torch.no_grad():
        subspace.mean_l.normal_()
        moved = (subspace(z) - subspace.mean_l).norm(dim=1)
    assert torch.allclose(moved, z.norm(dim=1), rtol=1e-5)
    assert subspace.orthonormality_error() < 1e-6


def test_retraction_is_orthonormal_and_keeps_the_span_and_the_senses():
    subspace = StyleSubspace(3, 6)
    with torch.no_grad():
        before = subspace.basis_kl.add_(0.1 * torch.randn(3, 6)).clone()
        assert subspace.orthonormality_error() > 1e-3
        subspace.retract()
        after = subspace.basis_kl
        assert subspace.orthonormality_error() <= 1e-6
        assert torch.linalg.matrix_rank(torch.cat([before, after]), rtol=1e-4) == 3
        assert ((before * after).sum(1) > 0).all()


def test_orthonormality_error_is_the_largest_entry_of_the_gram_error():
    subspace = StyleSubspace(2, 2)
    with torch.no_grad():
        subspace.basis_kl.copy_(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    assert subspace.orthonormality_error() == 8.0  # U U^T = [[5, 6], [6, 9]], minus I: 4, 6, 6, 8


def test_noise_varies_the_style_and_leaves_magnitude_zero_alone():
    torch.manual_seed(0)
    generator = StyleGenerator(PRESETS["tiny"])
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(3)  # weights of 0.02 would hide everything
        x, z = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 10)
        one, two = torch.randn(2, 2, *generator.noise_shape(32, 32))
        assert (generator(x, z, one) - generator(x, z, two)).abs().max() > 1e-3
        assert torch.equal(generator(x, z), generator(x, z, 0 * one))
        assert (generator(x, 0 * z, one) - x).abs().max() < 1e-5


def test_more_directions_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        StyleSubspace(5, 4)
