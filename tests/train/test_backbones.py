"""Architectures against published counts, tap shapes, names and invariants."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lrfr.core.errors import DataError, SpecError
from lrfr.train.backbones.branched import BTNet, branch_arguments, owned_stage, select_branch
from lrfr.train.backbones.iresnet import btnet_strides
from lrfr.train.backbones.mobilefacenet import Conv2d, ConvBlock
from lrfr.train.backbones.nets import Nets
from lrfr.train.backbones.table import BACKBONES, build_backbone
from lrfr.train.checkpoint import model_tensors


def count_m(net):
    return sum(p.numel() for p in net.parameters()) / 1e6


def gmac(net, px):
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta").eval()(torch.zeros(1, 3, px, px))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("name", "params_m", "gmacs", "px"),
    [
        ("iresnet18", 24.0, 2.61, 112),
        ("iresnet34", 34.1, 4.46, 112),
        ("iresnet50", 43.59, 6.31, 112),
        ("iresnet100", 65.2, 12.09, 112),
        ("iresnet50-gap", 30.74, None, 112),
        ("mobilefacenet", 2.06, 0.44, 112),
        ("mobilefacenet-small", 1.20, None, 112),
        ("mobilefacenet-half", 0.77, None, 112),
        ("tiny", 0.57, 0.028, 112),
    ],
)
def test_published_sizes(name, params_m, gmacs, px):
    with torch.device("meta"):
        net = build_backbone(name)
    assert count_m(net) == pytest.approx(params_m, rel=0.006)
    if gmacs is not None:
        assert gmac(net, px) == pytest.approx(gmacs, rel=0.02)


@pytest.mark.parametrize(("px", "gmacs"), [(112, 6.31), (28, 5.24), (14, 4.28), (7, 1.52)])
def test_btnet_compute_at_each_resolution(px, gmacs):
    with torch.device("meta"):
        net = build_backbone("iresnet50", strides=btnet_strides(px))
    assert gmac(net, px) == pytest.approx(gmacs, rel=0.01)


def test_btnet_strides_of_the_paper():
    assert {px: btnet_strides(px) for px in (112, 56, 28, 14, 7)} == {
        112: (2, 2, 2, 2),
        56: (1, 2, 2, 2),
        28: (1, 1, 2, 2),
        14: (1, 1, 1, 2),
        7: (1, 1, 1, 1),
    }
    assert [owned_stage(px) for px in (28, 14, 7)] == [2, 3, 4]
    with pytest.raises(SpecError, match="no branch for 20 px"):
        owned_stage(20)


def make_btnet(name="tiny", sides=(28, 14, 7)):
    torch.manual_seed(0)
    trunk = build_backbone(name)
    return BTNet(trunk, {px: build_backbone(name, **branch_arguments(trunk, px)) for px in sides})


@pytest.mark.parametrize(("px", "own_m"), [(28, 0.455), (14, 2.262), (7, 21.295)])
def test_branch_parameter_counts_of_the_paper(px, own_m):
    net = make_btnet("iresnet50", (px,))
    branch = net.net(px)
    norms = {
        id(p)
        for m in branch.modules()
        if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
        for p in m.parameters()
    }
    trunk = {id(p) for p in net.trunk.parameters()}
    mine = [p for p in branch.parameters() if id(p) not in trunk]
    rest_bn = norms - {id(p) for name, p in branch.named_parameters() if _before(name, net.tap(px))}
    assert sum(p.numel() for p in mine if id(p) not in rest_bn) / 1e6 == pytest.approx(own_m, abs=0.0011)
    all_bn = sum(p.numel() for p in branch.parameters() if id(p) in norms) / 1e6
    assert all_bn == pytest.approx(0.038, abs=0.002)


def _before(name, tap):
    """Whether a parameter belongs to the stem, a stage before the tap's, or the tap's own unit."""
    if not name.startswith("layer"):
        return name.startswith(("conv1", "bn1", "prelu"))
    stage, unit = name.split(".")[:2]
    return (stage, int(unit)) <= (tap.split(".")[0], 0)


def test_btnet_at_full_size_is_its_trunk_bit_for_bit():
    net = make_btnet().eval()
    x = torch.randn(2, 3, 112, 112)
    assert torch.equal(net(x), net.trunk(x))
    assert all(net(torch.randn(1, 3, px, px)).shape == (1, 128) for px in (28, 14, 7))


def test_only_what_a_branch_owns_learns_and_a_pack_restores_it():
    net = make_btnet().train()
    before = {name: tensor.clone() for name, tensor in net.trunk.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    net(torch.randn(4, 3, 14, 14)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.trunk.state_dict().items())
    other = make_btnet()
    x = torch.randn(2, 3, 14, 14)
    assert not torch.equal(other.eval()(x), net.eval()(x))
    other.load_pack(14, net.pack(14))
    assert torch.equal(other.eval()(x), net.eval()(x))
    with pytest.raises(DataError, match="does not fit"):
        other.load_pack(28, net.pack(14))
    names = net.pack(14).keys()
    assert not any(name.startswith(("fc.", "layer3.0.conv", "layer4.0.conv")) for name in names)
    assert {"features.running_mean", "layer4.0.bn1.weight", "layer2.0.conv1.weight", "conv1.weight"} <= names


def test_tied_layers_are_stored_once():
    net = make_btnet()
    stored = model_tensors(Nets({"net": net}))
    assert not any(name.startswith("net.branches.14.fc") for name in stored)
    assert len({t.data_ptr() for t in stored.values()}) == len(stored)


@pytest.mark.parametrize(
    ("rule", "edges"),
    [
        ("floor", {13: 7, 14: 14, 27: 14, 28: 28, 111: 28, 112: 112, 200: 112, 3: 7}),
        ("near", {10: 7, 11: 14, 21: 14, 22: 28, 70: 28, 71: 112, 400: 112}),
        ("ceil", {7: 7, 8: 14, 14: 14, 15: 28, 28: 28, 29: 112, 500: 112}),
    ],
)
def test_branch_selection_table(rule, edges):
    got = {side: select_branch(side, side, (112, 28, 14, 7), "max", rule) for side in edges}
    assert got == edges


def test_branch_indicators():
    sides = (112, 28, 14, 7)
    assert [select_branch(10, 21, sides, which, "ceil") for which in ("max", "min", "avg")] == [28, 14, 28]


@pytest.mark.parametrize(
    "pair",
    [("iresnet18", "wave-iresnet18"), ("facex-resnet50", "wave-facex-resnet50"), ("tiny", "wave-tiny")],
)
def test_wavelet_twin_has_the_same_parameters(pair):
    with torch.device("meta"):
        plain, wave = (dict(build_backbone(name).named_parameters()) for name in pair)
    assert {n: p.shape for n, p in plain.items()} == {n: p.shape for n, p in wave.items()}
    assert "conv1.down.taps" not in build_backbone("wave-tiny").state_dict()


def test_tap_shapes_of_iresnet():
    net = build_backbone("iresnet18").eval()
    with torch.no_grad():
        features = net.run(torch.zeros(1, 3, 112, 112), ("layer1", "layer2.0", "layer3", "layer4.1"))
    assert [tuple(t.shape[1:]) for t in features.taps] == [
        (64, 56, 56),
        (128, 28, 28),
        (256, 14, 14),
        (512, 7, 7),
    ]


def test_iresnet_has_insightface_names():
    names = build_backbone("tiny").state_dict().keys()
    wanted = {
        "conv1.weight",
        "bn1.running_var",
        "prelu.weight",
        "layer1.0.bn1.weight",
        "layer2.0.downsample.0.weight",
        "layer4.0.bn3.bias",
    }
    assert wanted | {"bn2.weight", "fc.bias", "features.running_mean"} <= names


@pytest.mark.parametrize("name", sorted(name for name in BACKBONES if "tiny" in name))
def test_tiny_presets_run_forward_and_backward(name):
    px = 32 if "digit" in name else 112
    net = build_backbone(name)
    features = net.run(torch.randn(2, 3, px, px))
    (features.embedding_bd.square().sum() + sum(t.square().mean() for t in features.taps)).backward()
    assert features.embedding_bd.shape == (2, net.emb_dim)
    assert [t.shape[1] for t in features.taps] == list(net.tap_channels)
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
    assert bool(features.attention) == ("cbam" in name)


def test_unknown_backbone_is_answered_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'iresnet50'"):
        build_backbone("iresnet5O")


def test_mobilefacenet_with_still_statistics_folds_them_exactly():
    torch.manual_seed(0)
    net = build_backbone("mobilefacenet-small")
    trunk = torch.nn.Sequential(*net.layers, net.conv_sep).double()
    images = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    trunk.train()(images)  # statistics that are not 0 and 1
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    folded = trunk.eval()(images)
    for block in [module for module in trunk.modules() if isinstance(module, ConvBlock)]:
        block.forward = block.layers.forward
    plain = trunk(images)
    torch.testing.assert_close(folded, plain, rtol=1e-9, atol=1e-9)
    for grad, expected in zip(
        *(torch.autograd.grad(out.square().sum(), list(trunk.parameters())) for out in (folded, plain)),
        strict=True,
    ):
        torch.testing.assert_close(grad, expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize(("stride", "kind"), [(2, torch.float32), (1, torch.bfloat16)])
def test_strided_depthwise_layers_leave_autocast_on_a_cpu(stride: int, kind: torch.dtype):
    torch.manual_seed(0)
    layer = Conv2d(8, 8, 3, stride, 1, groups=8, bias=False)
    x_bchw = torch.randn(2, 8, 12, 12).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y_bchw = layer(x_bchw)
    y_bchw.float().sum().backward()
    assert y_bchw.dtype == torch.bfloat16 and layer.weight.grad is not None
    weight = layer.weight.detach().to(kind).requires_grad_()
    expected = torch.nn.functional.conv2d(x_bchw.to(kind), weight, None, stride, 1, 1, 8)
    expected.float().sum().backward()
    torch.testing.assert_close(y_bchw, expected.bfloat16(), rtol=0, atol=0)
    torch.testing.assert_close(layer.weight.grad, weight.grad.float(), rtol=1e-6, atol=1e-6)


def test_a_branch_that_owns_less_shares_weights_but_not_the_trunks_strides():
    """BTNet Fig. 7: from its first units on, a branch with ``shift: -1`` is the trunk at another stride."""
    trunk = build_backbone("tiny")
    own = {}
    for shift in (-1, 0, 1):
        branches = {px: build_backbone("tiny", **branch_arguments(trunk, px)) for px in (28, 14, 7)}
        net = BTNet(trunk, branches, shift=shift).eval()
        own[shift] = sum(p.numel() for p in net.parameters() if p.requires_grad)
        for px in (28, 14, 7):
            assert net(torch.zeros(1, 3, px, px)).shape == (1, trunk.emb_dim)
            alike = [
                one.run(torch.zeros(1, 3, side, side), (net.tap(px),)).taps[0].shape
                for one, side in ((net.net(px), px), (trunk, 112))
            ]
            assert alike[0] == alike[1]
    assert own[-1] < own[0] < own[1]
