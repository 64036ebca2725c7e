"""Students and teachers of other widths: what connects them, what learns, and what is said where nothing does."""

import itertools

import pytest
import torch

from lrfr.core.errors import SpecError
from lrfr.train.checkpoint import Checkpoint, model_tensors, save
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.load_nets import load_nets
from lrfr.train.weights.model_identity import ModelIdentity
from tests.train.golden import batch


def networks(student, teacher, **options):
    torch.manual_seed(0)
    parent = load_recipe("baseline", "tiny", [f"backbone={teacher}"]).make().build(4)
    given = [f"backbone={student}", *(f"{key}={value}" for key, value in options.items())]
    recipe = load_recipe("fskd", "tiny", given)
    return recipe, recipe.make(), recipe.make().build(4, {"teacher": parent})


@pytest.mark.parametrize("kind", ["linear", "conv1x1"])
@pytest.mark.parametrize("distance", ["cosine", "embedding"])
@pytest.mark.parametrize(
    ("student", "teacher"), list(itertools.permutations(["tiny", "tiny-inception", "tiny-vit-timm"], 2))
)
def test_any_two_are_connected(student, teacher, distance, kind):
    _, method, nets = networks(student, teacher, connector=kind, distance=distance)
    method.train_mode(nets)
    losses = method.losses(nets, batch().as_float(), 0)
    losses["total"].backward()
    learning = [p for name in ("net", "connector") for p in nets[name].parameters() if p.grad is not None]
    assert learning and all(torch.isfinite(p.grad).all() for p in learning)
    assert all(p.grad is None for p in nets["teacher"].parameters())


def test_a_connector_of_equal_widths_that_changes_nothing_gives_the_same_loss():
    _, method, nets = networks("tiny", "tiny", connector="linear")
    with torch.no_grad():
        for layer in nets["connector"].maps:
            layer.weight.copy_(torch.eye(len(layer.weight))[:, :, None, None])
            layer.bias.zero_()
    nets.eval()
    connected = method.losses(nets, batch().as_float(), 0)["distill"]
    del nets["connector"]
    assert float(connected) == pytest.approx(
        float(method.losses(nets, batch().as_float(), 0)["distill"]), rel=1e-5
    )


def test_a_trained_student_is_loaded_without_its_connector(tmp_path):
    recipe, _, nets = networks("tiny", "tiny-inception", connector="conv1x1")
    tensors = model_tensors(nets)
    assert any(name.startswith("connector.") for name in tensors)
    identity = ModelIdentity("fskd", recipe.options, 4)
    save(tmp_path / "c", Checkpoint(identity.as_dict(), tensors, {"step": 1}, {}, {}))
    found = load_nets(tmp_path / "c").nets
    assert "connector" not in found
    assert torch.equal(found["net"].conv1.weight, nets["net"].conv1.weight)


def test_an_unknown_connector_is_refused():
    with pytest.raises(SpecError, match="connector"):
        load_recipe("fskd", "tiny", ["connector=glue"])


@pytest.mark.parametrize("kind", ["linear", "conv1x1"])
def test_waveresnet_is_connected_by_its_two_maps(kind):
    torch.manual_seed(0)
    parent = load_recipe("baseline", "tiny", ["backbone=tiny-mobilefacenet"]).make().build(4)
    method = load_recipe("waveresnet", "tiny", [f"connector={kind}"]).make()
    nets = method.build(4, {"teacher": parent})
    method.train_mode(nets)
    losses = method.losses(nets, batch().as_float(), 0)
    losses["wavelet"].backward()
    layers = list(nets["connector"].parameters())
    assert len(nets["connector"].maps) == 2 and all(p.grad is not None for p in layers)


def test_a_contrast_with_a_teacher_of_another_width_is_in_its_space_and_embeds_without(tmp_path):
    options = {"connector": "linear", "contrast_weight": 1, "contrast_queue": 8, "distance": "embedding"}
    recipe, method, nets = networks("tiny", "tiny-256d", **options)
    losses = method.losses(nets, batch().as_float(), 0)
    assert nets["queue"].emb_kd.shape == (8, 256) and torch.isfinite(losses["contrast"])
    identity = ModelIdentity("fskd", recipe.options, 4)
    save(tmp_path / "c", Checkpoint(identity.as_dict(), model_tensors(nets), {"step": 1}, {}, {}))
    found = load_nets(tmp_path / "c").nets
    assert set(found) == {"net", "head"} and torch.equal(found["net"].conv1.weight, nets["net"].conv1.weight)
