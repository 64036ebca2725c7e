"""Students of small faces: their loss against its formula, their size against counts by hand, LR faces at their
own side, and weights of a route against a slow search.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, SpecError
from lrfr.degrade.ops.resize import resize_batch
from lrfr.eval.analysis import cost
from lrfr.eval.analysis.cost import count_macs, count_parameters
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.train.backbones.net_embedder import InputSpec
from lrfr.train.backbones.table import build_backbone
from lrfr.train.methods.function_matching import FunctionMatching
from lrfr.train.methods.table import METHODS
from lrfr.train.weights.routes.blend import Blend
from lrfr.train.weights.routes.route_weights import fit_weights
from lrfr.train.weights.routes.router import Router


def method(**changes):
    return FunctionMatching(backbone="small-cnn-7-128d", input=InputSpec(7), **changes)


def networks(own):
    torch.manual_seed(0)
    teacher = METHODS["baseline"](backbone="tiny").build(3)
    nets = own.build(0, {"teacher": teacher})
    own.train_mode(nets)
    return nets


def by_hand(student, teacher, labels, own):
    """``sum w (1 - cos) / sum w + c sum w InfoNCE / sum w`` with plain loops; the queue holds this batch."""
    unit = [row / math.sqrt(sum(x * x for x in row)) for row in teacher.double().numpy()]
    face = [row / math.sqrt(sum(x * x for x in row)) for row in student.detach().double().numpy()]
    weights = [math.sqrt(sum(x * x for x in row)) ** own.norm_power for row in teacher.double().numpy()]
    distill = contrast = 0.0
    for i, weight in enumerate(weights):
        cosine = float(face[i] @ unit[i])
        others = [
            math.exp(own.contrast_scale * float(face[i] @ unit[k]))
            for k in range(len(unit))
            if k != i
            and not (labels[i] == labels[k] >= 0)
            and (own.contrast_limit == 1 or float(unit[i] @ unit[k]) <= own.contrast_limit)
        ]
        hit = math.exp(own.contrast_scale * cosine)
        distill += weight * (1 - cosine)
        contrast -= weight * math.log(hit / (hit + sum(others)))
    return (distill + own.contrast_weight * contrast) / sum(weights)


@pytest.mark.parametrize("limit", [1.0, 0.3])
def test_the_loss_is_its_formula(dataset, limit):
    own = method(
        norm_power=1.5, contrast_weight=0.7, contrast_limit=limit, contrast_queue=32, contrast_scale=5.0
    )
    nets = networks(own)
    batch = dataset.with_lr_side(7).batch(np.arange(12), 0)
    batch = replace(batch, label_b=torch.tensor([0, 0, -1, -1, 1, 1, 2, 3, 3, -1, 4, 5])).as_float()
    # spread out, so that some of the teacher's cosines lie on each side of the limit
    teacher = torch.randn(12, 128) + torch.randn(12, 1).sign() * torch.randn(1, 128) * 0.7
    student = torch.randn(12, 128) + teacher
    nets["net"].forward = lambda _: student
    nets["teacher"].forward = lambda _: teacher
    found = float(own.losses(nets, batch, 0)["total"])
    assert found == pytest.approx(by_hand(student, teacher, batch.label_b.tolist(), own), rel=1e-5)
    open_limit = replace(own, contrast_limit=1.0)
    assert (
        by_hand(student, teacher, [-1] * 12, own) == by_hand(student, teacher, [-1] * 12, open_limit)
    ) == (limit == 1)


def test_sizes_come_down_and_what_is_too_small_is_shown_from_its_hr_face(dataset):
    own = method(progressive_steps=8, smallest_px=4)
    sides = [own.least_px(step) for step in range(10)]
    assert sides[0] == 7 and sides[-2:] == [0, 0]
    assert sides[:8] == [round(7 ** (1 - s / 8) * 4 ** (s / 8)) for s in range(8)]
    batch = replace(dataset.with_lr_side(7).batch(np.arange(3), 0), size_px_b=torch.tensor([3, 6, 7]))
    shown = own._shown(batch.as_float(), 4)  # nothing below 5 px
    hr = batch.hr_bchw[0].permute(1, 2, 0).numpy()[None]
    slow = resize_batch(resize_batch(hr, 5, "bicubic", True), 7, "bicubic", True)[0]
    assert np.abs((shown[0].permute(1, 2, 0).numpy() + 1) * 127.5 - slow).max() < 2.5
    assert torch.equal(shown[1:], batch.as_float().lr_bchw[1:])
    assert torch.equal(own._shown(batch.as_float(), 8), batch.as_float().lr_bchw)


def test_lr_faces_come_at_the_side_that_is_asked_for(store):
    plain, small = PairDataset(store), PairDataset(store).with_lr_side(14)
    rows = np.arange(24)
    one, other = plain.batch(rows, 0), small.batch(rows, 0)
    assert torch.equal(one.hr_bchw, other.hr_bchw) and torch.equal(one.size_px_b, other.size_px_b)
    up = small.view.variants[0].up
    for at in range(24):
        native = next(iter(small.lr[0].images([int(small.rows[at])])))
        lr = other.lr_bchw[at].permute(1, 2, 0).numpy()
        if native.shape[0] == 14:
            assert np.array_equal(lr, native)  # what lies there at that side is not touched
        if native.shape[0] != 14:
            assert np.array_equal(lr, resize_batch(native[None], 14, up.filter, up.antialias)[0])
    with PairLoader(small, 8, shuffle=False, workers=1) as loader:
        read = list(loader.iterate(0))
    assert torch.equal(torch.cat([batch.lr_bchw for batch in read])[:24], other.lr_bchw)
    assert torch.equal(torch.cat([batch.hr_bchw for batch in read])[:24], other.hr_bchw)
    for cut in (small.batch(rows[:2], 0), small[0]):
        assert (cut.lr_bchw if hasattr(cut, "lr_bchw") else cut["lr"]).shape[-1] == 14


def by_layers(side, widths, strides, units, emb=512):
    """Return (parameters, multiply-adds) of a small network by its description."""
    parameters = macs = 0
    before = 3
    for width, stride, count in zip(widths, strides, units, strict=True):
        if stride != 1 or before != width:
            side = math.ceil(side / stride)
            parameters += 9 * before * width + 3 * width  # convolution, BN's two, a slope a channel
            macs += 9 * before * width * side**2
        parameters += count * (2 * 9 * width**2 + 3 * 2 * width + width)
        macs += count * 2 * 9 * width**2 * side**2
        before = width
    fc = before * side**2 * emb
    return parameters + 2 * before + fc + 2 * emb, macs + fc


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("small-cnn-7", (7, (128,) * 4, (1,) * 4, (1,) * 4)),
        ("small-cnn-14", (14, (96, 96, 192, 192), (1, 1, 2, 1), (1,) * 4)),
        ("small-cnn-28", (28, (48, 96, 192, 192), (2, 1, 2, 1), (1,) * 4)),
    ],
)
def test_parameters_and_multiply_adds_are_those_of_the_layers(name, layout):
    net = build_backbone(name).eval()
    assert (count_parameters(net), count_macs(net, layout[0])) == by_layers(*layout)
    maps = net.run(torch.zeros(1, 3, layout[0], layout[0])).taps
    assert [tuple(tap.shape[1:2]) for tap in maps] == [(width,) for width in layout[1]]
    assert maps[-1].shape[2:] == (7, 7)
    with pytest.raises(ValueError, match=f"takes {layout[0]} px"):
        net(torch.zeros(1, 3, 9, 9))


def test_a_mobilefacenet_at_half_the_side_starts_from_a_whole_one():
    torch.manual_seed(0)
    whole, half = (
        build_backbone("mobilefacenet-small").eval(),
        build_backbone("mobilefacenet-small-56").eval(),
    )
    half.load_state_dict(half.fitted(whole.state_dict()))
    # on maps that are the same everywhere both tails must say the same
    same = torch.randn(2, 512, 1, 1)
    assert torch.allclose(
        whole.features(same.expand(-1, -1, 7, 7)), half.features(same.expand(-1, -1, 4, 4)), atol=1e-4
    )
    own = [name for name, value in half.state_dict().items() if value.shape != whole.state_dict()[name].shape]
    assert own == ["features.layers.0.layers.0.weight"]
    # a quarter of the work, but for the FC, the tail's 16 of 49 places and maps of 7 px that become 4
    assert count_macs(half, 56) < 0.27 * count_macs(whole, 112)
    with pytest.raises(RuntimeError, match="size mismatch"):
        half.load_state_dict(half.fitted(build_backbone("mobilefacenet").state_dict()))


def test_a_face_of_other_labels_makes_no_head_and_the_checkpoint_embeds():
    nets = networks(method())
    assert set(nets) == {"net", "teacher", "queue"} and not method().needs_identities
    for wrong in ({"contrast_limit": 0}, {"contrast_scale": -1}, {"progressive_steps": 4, "smallest_px": 20}):
        with pytest.raises(SpecError, match=r"contrast_|smallest_px"):
            method(**wrong)
    faces = [np.full((side, side, 3), 90, np.uint8) for side in (7, 20, 112)]
    assert method().embedder(nets)(faces).shape == (3, 128)


class Fixed:
    """An embedder of fixed rows, by the first pixel; it says what it costs."""

    def __init__(self, rows, net=None):
        self.rows, self.net = rows, net

    def __call__(self, images):
        return np.stack([self.rows[int(image[0, 0, 0])] for image in images]).astype(np.float32)

    def route(self, height, width):
        return 7, self.net


def test_several_members_are_the_weighted_mean_of_their_unit_embeddings(monkeypatch):
    monkeypatch.setattr(cost, "throughput", lambda embed, size: 1.0)
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(2, 5, 4)) * [[[1.0]], [[50.0]]]
    nets = [torch.nn.Conv2d(3, 2, 3), torch.nn.Conv2d(3, 4, 3)]
    blend = Blend([(0.3, Fixed(rows[0], nets[0])), (0.7, Fixed(rows[1], nets[1]))])
    router = Router([(10, blend), (None, Fixed(rows[0], nets[0]))])
    images = [np.full((7, 7, 3), k, np.uint8) for k in range(5)] + [np.zeros((30, 30, 3), np.uint8)]
    found = router(images)
    for k in range(5):
        slow = [
            sum(
                w * one[k][d] / math.sqrt(sum(x * x for x in one[k]))
                for w, one in zip((0.3, 0.7), rows, strict=True)
            )
            for d in range(4)
        ]
        assert found[k] == pytest.approx(slow, rel=1e-5)
    assert found[5] == pytest.approx(rows[0][0], rel=1e-6)
    small, large = cost.measure(router, [7, 30])
    assert small.parameters == sum(count_parameters(net) for net in nets)
    assert small.macs == sum(count_macs(net, 7) for net in nets) == 25 * 27 * (2 + 4)
    assert (small.bytes, large.bytes) == (4 * (28 * 2 + 28 * 4), 4 * 28 * 2)
    assert large.macs == 25 * 27 * 2
    with pytest.raises(SpecError, match="sizes 4, 3 have no mean"):
        Blend([(0.5, Fixed(rows[0])), (0.5, Fixed(rows[1][:, :3]))])(images[:2])


def slow_auc(members, large, labels, weights):
    """Area under the ROC curve by counting pairs."""

    def unit(x):
        return x / np.linalg.norm(x)

    mixed = [
        unit(sum(w * unit(m[i]) for w, m in zip(weights, members, strict=True))) for i in range(len(labels))
    ]
    same, different = [], []
    for i, j in itertools.product(range(len(labels)), repeat=2):
        mate = [k for k in range(len(labels)) if k != i and labels[k] == labels[i] >= 0]
        score = float(mixed[i] @ unit(large[j]))
        if j in mate or (i == j and not mate):
            same.append(score)
        elif i != j and not labels[i] == labels[j] >= 0:
            different.append(score)
    return np.mean([(s > d) + (s == d) / 2 for s in same for d in different])


def test_fitted_weights_are_the_best_of_a_slow_search():
    generator = np.random.default_rng(1)
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 3, -1, -1, 4, 4])
    people = generator.normal(size=(6, 8))
    large = people[labels] + 0.3 * generator.normal(size=(12, 8))
    members = [people[labels] + s * generator.normal(size=(12, 8)) for s in (0.9, 1.3)]
    found = fit_weights([m.astype(np.float32) for m in members], large.astype(np.float32), labels)
    grid = {w / 20: slow_auc(members, large, labels, (w / 20, 1 - w / 20)) for w in range(21)}
    assert found.auc == pytest.approx(max(grid.values()), abs=1e-9)
    assert grid[round(found.weights[0], 6)] == pytest.approx(max(grid.values()), abs=1e-9)
    assert found.alone == pytest.approx((grid[1.0], grid[0.0]), abs=1e-9)
    assert fit_weights([members[0].astype(np.float32)], large.astype(np.float32), labels).weights == (1.0,)
    with pytest.raises(DataError, match="one person"):
        fit_weights([members[0]], large, np.zeros(12, np.int64))
    with pytest.raises(SpecError, match="one to four"):
        fit_weights([members[0]] * 5, large, labels)
