"""Every distance at the weight that it ships with: no loss drowns the margin's."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gradients
from lrfr.core.image import decode
from lrfr.degrade.ops.resize import resize_batch
from lrfr.train.losses.distances import DISTANCES, usual_weight
from lrfr.train.recipe import load_recipe
from tests.train.golden import CLASSES, NAMES, batch

STATED = {
    "cosine": 5,
    "fitnet": 1.5,
    "rkd": 40,
    "at": 1000,
    "askd": 80,
    "kl": 1,
    "wavelet": 0.05,
    "logexp": 1,
}


@pytest.fixture(scope="module")
def sixteen_faces():
    """Real faces where there are some, else noise; LR is 14 px of them."""
    root = os.environ.get("LRFR_FACES")
    found = batch(16)
    if root:
        paths = sorted(Path(root, "aligned").rglob("*.*g"))[:16]
        hr_nhwc = np.stack([decode(path.read_bytes()) for path in paths])
        small = resize_batch(hr_nhwc, 14, "bicubic", antialias=True)
        pair = (hr_nhwc, resize_batch(small, 112, "bicubic", antialias=True))
        hr, lr = (torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))) for x in pair)
        found = replace(found, hr_bchw=hr, lr_bchw=lr)
    return found.as_float()


@pytest.mark.parametrize("distance", [name for name in DISTANCES.names() if name != "self-attention"])
def test_no_gradient_is_a_hundred_times_the_margins(distance, sixteen_faces):
    backbone = "tiny-cbam" if distance == "askd" else "tiny"
    recipe = load_recipe("fskd", "tiny", {"distance": distance, "backbone": backbone})
    torch.manual_seed(0)
    teacher = load_recipe("baseline", "tiny", {"backbone": backbone}).make().build(CLASSES)
    method = recipe.make()
    nets = method.build(CLASSES, {"teacher": teacher})
    method.train_mode(nets)
    losses = method.losses(nets, sixteen_faces, 0)
    trained = [p for p in nets["net"].parameters() if p.requires_grad]
    norms = []
    for name in ("margin", "distill"):
        found = torch.autograd.grad(losses[name], trained, retain_graph=True, allow_unused=True)
        norms.append(float(torch.stack([g.norm() for g in found if g is not None]).norm()))
    assert method.lambda_ * norms[1] <= 100 * norms[0], (distance, norms)
    if distance in {"cosine", "askd"}:  # what the page of distances measures is this
        told = gradients.of_distance(distance, sixteen_faces, CLASSES)
        assert told == pytest.approx(method.lambda_ * norms[1] / norms[0], rel=1e-4)


def test_ratios_are_a_table():
    assert 0 < gradients.of_catface(batch(2).as_float(), CLASSES, NAMES) <= 100
    rows = {"cosine": {"weight": 5.0, "source": "F-SKD", "untrained": 0.0449}}
    assert gradients.page(rows).splitlines()[2] == "| `cosine` | 5 | F-SKD | 0.045 | - |"


def test_weights_are_those_of_their_sources_and_a_given_one_counts():
    assert all(usual_weight(name) == weight for name, weight in STATED.items())
    for name in DISTANCES.names():
        assert DISTANCES[name].source
        assert load_recipe("fskd", "paper", {"distance": name}).options["lambda_"] == usual_weight(name)
        assert load_recipe("fskd", "tiny", {"distance": name, "lambda": 7}).options["lambda_"] == 7
