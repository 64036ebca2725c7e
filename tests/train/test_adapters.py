"""LoRA: frozen stays frozen, a killed run goes on to the bit, and a checkpoint holds the sum."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from lrfr.core.errors import SpecError
from lrfr.core.progress import Hooks
from lrfr.train import checkpoint
from lrfr.train.backbones.table import build_backbone
from lrfr.train.engine.adapters import LowRank, add_adapters, plain
from lrfr.train.engine.journal import loss_trace
from lrfr.train.engine.recognizer_task import FitOptions
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from lrfr.train.settings import Adapter
from lrfr.train.weights.export_model import export
from lrfr.train.weights.load_nets import load_nets
from tests.train.conftest import FAST

LORA = "train.adapter={kind: lora, rank: 2}"


def test_the_addition_is_the_papers():
    torch.manual_seed(0)
    weight = torch.randn(6, 4, 3, 3)
    low = LowRank(weight, Adapter(rank=2, alpha=6))
    assert torch.equal(low(weight), weight) and low.up_or.abs().max() == 0
    bound = 1 / math.sqrt(36)  # of torch's own linear layers with 36 inputs
    assert 0.5 * bound < low.down_ri.abs().max() <= bound
    low.up_or.data.normal_()
    b, a = low.up_or.detach().numpy(), low.down_ri.detach().numpy()
    wanted = weight.numpy().reshape(6, 36) + 6 / 2 * np.einsum("or,ri->oi", b, a)
    assert np.allclose(low(weight).detach().numpy().reshape(6, 36), wanted, atol=1e-6)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2)
        self.last = nn.Linear(16, 4)

    def forward(self, x):
        return self.last(self.attention(x, x, x)[0])


@pytest.mark.parametrize("name", ["tiny", "tiny-mobilefacenet", "wave-tiny", "tiny-cbam", "attention"])
def test_only_additions_learn_and_they_start_at_nothing(name):
    torch.manual_seed(0)
    net = Attention() if name == "attention" else build_backbone(name)
    x = torch.randn(3, 5, 16) if name == "attention" else torch.randn(3, 3, 112, 112)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    wanted = net.eval()(x)
    learning = add_adapters(net.train(), Adapter(rank=2))
    # dropout learns nothing, and is no part of what is compared
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    assert torch.allclose(net(x), wanted, atol=1e-5)
    parameters = dict(net.named_parameters())
    learns = {key for key, parameter in parameters.items() if parameter.requires_grad}
    assert learns and all(".0.down_ri" in key or ".0.up_or" in key for key in learns)
    assert learning.learning == sum(parameters[key].numel() for key in learns)
    assert learning.parameters == sum(p.numel() for p in build(name).parameters()) and learning.layers > 1
    net(x).square().sum().backward()
    # B is zero, so A has no gradient yet; nothing else is asked for one
    assert all(parameters[key].grad.abs().max() > 0 for key in learns if "up_or" in key)
    assert all(parameter.grad is None for key, parameter in parameters.items() if key not in learns)
    for key in learns:
        parameters[key].data.add_(torch.randn_like(parameters[key]) * 0.02)
    changed = net(x)
    assert not torch.allclose(changed, wanted, rtol=1e-3, atol=1e-9)
    merged = plain(net, net.state_dict())
    assert merged.keys() == before.keys()
    twin = build(name).eval()
    twin.load_state_dict(merged)
    scale = changed.abs().max()
    assert (twin(x) - net.eval()(x)).abs().max() <= 1e-6 * max(1, scale)
    still = [key for key in before if torch.equal(before[key], merged[key])]
    assert len(still) == len(before) - learning.layers  # batch norms, biases and counters among them


def build(name):
    return Attention() if name == "attention" else build_backbone(name)


def test_a_rank_that_fits_no_layer_is_refused():
    with pytest.raises(SpecError, match="larger than rank 4096"):
        add_adapters(build_backbone("tiny"), Adapter(rank=4096))
    for wrong in ("{rank: 0}", "{alpha: 0}", "{kind: ia3}", "{size: 3}"):
        with pytest.raises(SpecError):
            load_recipe("baseline", "tiny", [f"adapter={wrong}"])


def run(dataset, folder, method, *changes, max_steps=None, hooks=None):
    recipe = load_recipe(method, "tiny", [*FAST, LORA, *changes])
    options = FitOptions(max_steps=max_steps)
    return train_model(recipe, dataset, folder, options=options, hooks=hooks or Hooks())


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("baseline", ["ema_decay=0.5"]),
        ("baseline", ["amp=bf16", "optimizer=adamw", "shard_classes=true"]),
        (
            "fskd",
            ["parents.teacher.train.length=1", "parents.teacher.train.batch_size=16", "contrast_weight=0.5"],
        ),
        ("maug", ["backbone=tiny"]),
    ],
)
def test_a_run_goes_on_to_the_bit_and_saves_the_sum(dataset, tmp_path, method, changes):
    notes = []
    run(dataset, tmp_path / "whole", method, *changes, hooks=Hooks(on_note=notes.append))
    assert any("lora of rank 2: " in note and "parameters learn" in note for note in notes)
    run(dataset, tmp_path / "parts", method, *changes, max_steps=3)
    run(dataset, tmp_path / "parts", method, *changes)
    traces = [loss_trace(tmp_path / name / "journal.jsonl") for name in ("whole", "parts")]
    assert traces[0] == traces[1] and len(traces[0]) == 6
    one, other = (checkpoint.load(checkpoint.resolve(tmp_path / name)) for name in ("whole", "parts"))
    for part in ("model", "ema", "optimizer"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    nets = load_nets(tmp_path / "whole").nets  # by the names of a run without adapters
    assert not any(parametrize.is_parametrized(module) for module in nets.modules())
    assert traces[0][0][1]["total"] != traces[0][-1][1]["total"]


def test_an_adapted_recognizer_starts_from_its_parent_and_is_exported_as_one(dataset, tmp_path):
    base = train_model(load_recipe("baseline", "tiny", [*FAST, "train.length=2"]), dataset, tmp_path / "base")
    recipe = load_recipe("baseline", "tiny", [*FAST, LORA, "train.lr=0.5"])
    adapted = train_model(recipe, dataset, tmp_path / "adapted", parents={"init": base.path})
    before, after = (load_nets(found.path).nets["net"].state_dict() for found in (base, adapted))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(before[name].ndim in (2, 4) for name in moved)
    files = export(adapted.path, tmp_path / "out", safetensors=True)
    assert {path.suffix for path in files} == {".safetensors", ".md"}
    x = torch.randn(2, 3, 112, 112)
    assert load_nets(adapted.path).nets["net"](x).shape == (2, 128)
