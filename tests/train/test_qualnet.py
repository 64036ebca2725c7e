"""QualNet-LM: its decoder is an inverse, its losses are those that are printed, its second step leaves the decoder."""

import dataclasses

import pytest
import torch

from lrfr.core.errors import SpecError
from lrfr.train.backbones.parts.reversible import InverseDecoder, RevBlock
from lrfr.train.backbones.table import build_backbone
from lrfr.train.engine.distributed import World
from lrfr.train.engine.method_run import Run
from lrfr.train.methods.qualnet import decoded_map
from lrfr.train.recipe import load_recipe
from lrfr.train.settings import TrainSettings
from tests.train.golden import CLASSES, batch, built


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_undone_exactly(stride):
    torch.manual_seed(0)
    block = RevBlock(8, stride).double().eval()
    halves = torch.randn(2, 3, 8 // stride**2, 6, 6, dtype=torch.float64)
    after = block(*halves)
    for half, back in zip(halves, block.inverse(*after), strict=True):
        torch.testing.assert_close(back, half)
    assert torch.equal(after[0], torch.nn.functional.pixel_unshuffle(halves[1], stride))


def test_the_decoder_is_irevnet_backwards():
    """Run i-RevNet forwards, block by block, on a face: the decoder without its bridge gives the face."""
    torch.manual_seed(0)
    decoder = InverseDecoder(5, [2, 1, 2], padding=4).double().eval()
    decoder.bridge = torch.nn.Identity()
    face = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    x1, x2 = torch.nn.functional.pixel_unshuffle(face, 2).chunk(2, dim=1)
    for number, block in enumerate(decoder.blocks):
        if number == 3:  # the widening before the last stage, with zeros
            x1, x2 = (torch.cat([x, x.new_zeros(2, 3 * x.shape[1], *x.shape[2:])], dim=1) for x in (x1, x2))
        x1, x2 = block(x1, x2)
    assert x1.shape == (2, 384, 2, 2)
    torch.testing.assert_close(decoder(torch.cat([x1, x2], dim=1)), face)


def test_sides_and_channels_are_those_of_irevnet_300():
    assert decoded_map(build_backbone("iresnet18"), 112) == ("layer4", 512, 4)
    decoder = InverseDecoder(512, [6, 16, 72, 6])
    assert decoder.bridge.weight.shape == (3072, 512, 3, 3)
    assert len(decoder.blocks) == 100  # three convolutions each: 300
    assert {len(block.f[-1].weight) for block in decoder.blocks} == {24, 96, 384, 1536}


def test_the_loss_is_the_margin_and_the_mean_difference_of_the_clipped_face():
    method, nets = built("qualnet", {"rec_weight": 3})
    method.train_mode(nets)
    losses, faces = method.losses(nets, batch().as_float(), 0), []
    nets["decoder"].register_forward_hook(lambda module, inputs, face: faces.append(face.detach()))
    again = method.losses(nets, batch().as_float(), 0)
    rows = [
        (float(x), float(y))
        for x, y in zip(faces[0].flatten(), batch().hr_bchw.flatten() / 255.0, strict=True)
    ]
    plain = sum(abs(min(max(x, 0.0), 1.0) - y) for x, y in rows) / len(rows)
    assert float(again["reconstruction"]) == pytest.approx(plain, rel=1e-4)
    assert float(losses["total"]) == pytest.approx(float(losses["margin"] + 3 * losses["reconstruction"]))


def test_step_two_sees_lr_starts_from_step_one_and_moves_neither_decoder_nor_scales():
    first, nets1 = built("qualnet", {})
    method = dataclasses.replace(first, step=2)
    nets = method.build(CLASSES, {"step1": nets1})
    for name in ("net", "head", "decoder"):
        assert all(map(torch.equal, nets[name].state_dict().values(), nets1[name].state_dict().values()))
    run = Run(method, nets, TrainSettings(unit="step", length=1), World())
    before = {name: tensor.clone() for name, tensor in nets.state_dict().items()}
    seen = []
    nets["net"].conv1.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0].detach()))
    run.step(batch(), 0, 0.1)
    assert torch.equal(seen[0], run.prepare(batch()).lr_bchw)
    moved = {name for name, tensor in nets.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any(name.startswith("decoder") for name in moved)
    assert "net.conv1.weight" in moved and "net.bn1.running_mean" in moved and "net.bn1.weight" not in moved


def test_it_teaches_fskd_as_the_papers_dec():
    recipe = load_recipe("fskd", "tiny", {"parents.teacher.method": "qualnet"})
    assert recipe.parents["teacher"].method == "qualnet" and recipe.parents["teacher"].options["step"] == 1
    with pytest.raises(SpecError, match="positive"):
        load_recipe("qualnet", "tiny", {"blocks": [0]})
    net = build_backbone("tiny-digit-cbam")
    assert len(net.run(torch.zeros(1, 3, 32, 32)).attention) == 3
