"""Losses, critics, draws and images of the style generator's training, against re-derivations."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import encode_png
from lrfr.degrade.spec.model import load_spec
from lrfr.degrade.style.magnitude import IdentityRange
from lrfr.train.losses import draws
from lrfr.train.style import image_sets
from lrfr.train.style.discriminator import Discriminator, accuracy, least_squares, scale_sizes
from lrfr.train.style.identity_cost import distances
from lrfr.train.style.image_sets import open_images
from lrfr.train.style.recognizer import Recognizer
from lrfr.train.style.settings import CfsmSettings
from lrfr.train.style.trainer import Trainer


def flat_recognizer(seed=0, side=32):
    """A frozen random projection: cheap, differentiable, no training."""
    matrix = torch.randn(3 * side * side, 16, generator=torch.Generator().manual_seed(seed))
    return Recognizer(lambda x: x.flatten(1) @ matrix, "0" * 64)


def cosine_distance(first, second):
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))


@pytest.fixture
def trainer():
    torch.manual_seed(0)
    return Trainer(
        CfsmSettings(preset="tiny", size_px=32, steps=10, batch_size=3, discriminator_dim=4),
        flat_recognizer(),
    )


@pytest.mark.parametrize(
    ("side", "scales", "maps"),
    [(112, [112, 56], [7, 3]), (56, [56], [3]), (32, [32], [2]), (128, [128, 64, 32], [8, 4, 2])],
)
def test_critics_judge_scales_down_to_32_px(side, scales, maps):
    assert scale_sizes(side) == scales
    assert [tuple(scores.shape) for scores in Discriminator(side, 4)(torch.rand(2, 3, side, side))] == [
        (2, 1, m, m) for m in maps
    ]


def test_critics_refuse_what_they_cannot_see():
    with pytest.raises(ValueError, match="smaller than the smallest scale"):
        Discriminator(28, 4)


def test_second_scale_is_the_average_pool_that_leaves_padding_out():
    torch.manual_seed(0)
    critics, x = Discriminator(112, 4), torch.rand(1, 3, 112, 112)
    half = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert torch.equal(critics(x)[1], critics.critics[1](half))


def test_least_squares_sums_the_scales_means():
    maps = [torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]), torch.tensor([[[[0.5]]]])]
    assert float(least_squares(maps, 1.0)) == pytest.approx((1 + 0 + 1 + 4) / 4 + 0.25)


def test_accuracy_counts_images_not_patches():
    real = [torch.tensor([[[[0.9, 0.9]]], [[[0.0, 0.9]]]])]  # means 0.9 (right), 0.45 (wrong)
    fake = [torch.tensor([[[[0.6, 0.1]]], [[[0.9, 0.9]]]])]  # means 0.35 (right), 0.9 (wrong)
    assert float(accuracy(real, fake)) == 0.5


def test_style_loss_is_the_papers(trainer):
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    losses, fake = trainer.style(4, x)
    z = draws.styles(0, 4, 3, 10)
    embed = trainer.recognizer.embed
    gaps = []
    for row in range(3):
        magnitude = math.sqrt(sum(value * value for value in z[row].tolist()))
        found = cosine_distance(embed(x)[row].double().tolist(), embed(fake)[row].detach().double().tolist())
        gaps.append((found - (0.05 + 0.1 * magnitude)) ** 2)
    scores = trainer.critics(fake)[0].detach()
    adversarial = sum((score - 1) ** 2 for score in scores.flatten().tolist()) / scores.numel()
    assert float(losses["identity"].detach()) == pytest.approx(sum(gaps) / 3, rel=1e-4)
    assert float(losses["adversarial"].detach()) == pytest.approx(adversarial, rel=1e-4)
    assert float(losses["total"].detach()) == pytest.approx(
        adversarial + 2 * sum(gaps) / 3, rel=1e-4
    )  # step 4 of 10: lambda 2


def test_identity_weight_follows_its_schedule():
    settings = CfsmSettings(steps=100)
    assert [settings.identity_weight(step) for step in (0, 19, 20, 34, 35, 99)] == [8, 8, 5, 5, 2, 2]


def test_zero_style_of_the_residual_layout_is_the_identity_and_its_gradient_is_finite(trainer):
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    z = torch.zeros(2, 10, requires_grad=True)
    y = trainer.generator(x, z)
    y.sum().backward()
    assert (y - x).abs().max() < 1e-5
    assert torch.isfinite(z.grad).all()


def test_a_step_moves_both_networks_and_leaves_no_gradient_for_the_critics_in_the_generators_loss(trainer):
    x, target = torch.rand(2, 3, 3, 32, 32) * 2 - 1
    before = {name: value.clone() for name, value in trainer.nets.state_dict().items()}
    losses = trainer.step(0, x, target)
    moved = {
        name.split(".")[0]
        for name, value in trainer.nets.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"generator", "critics"}
    assert set(losses) == {"total", "adversarial", "identity", "critics", "critics_accuracy"}
    trainer.optimizers["critics"].zero_grad()
    trainer.critics.requires_grad_(True)
    trainer.style(1, x)[0]["total"].backward()
    assert all(parameter.grad is None for parameter in trainer.critics.parameters())


def test_the_kept_generator_is_the_average_and_both_stay_orthonormal(trainer):
    x, target = torch.rand(2, 3, 3, 32, 32) * 2 - 1
    name = "head.1.weight"
    average = trainer.averaged.state_dict()[name].clone()
    for step in range(3):
        trainer.step(step, x, target)
        keep = (1 + step) / (10 + step)
        average = keep * average + (1 - keep) * trainer.generator.state_dict()[name]
        assert torch.allclose(trainer.averaged.state_dict()[name], average, atol=1e-6)
        assert (
            max(net.subspace.orthonormality_error() for net in (trainer.generator, trainer.averaged)) < 1e-6
        )


def test_bf16_gives_nearly_the_same_losses(trainer):
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    half = Trainer(dataclasses.replace(trainer.settings, amp="bf16"), trainer.recognizer)
    half.nets.load_state_dict(trainer.nets.state_dict())
    full, found = trainer.step(0, x, -x), half.step(0, x, -x)
    assert all(
        float(found[name]) == pytest.approx(float(value), rel=0.05, abs=0.02) for name, value in full.items()
    )
    assert float(found["adversarial"]) != float(full["adversarial"])


def test_published_layout_alternates_with_reconstruction(monkeypatch):
    from lrfr.degrade.style import generator_card as card
    from lrfr.train.style import settings

    monkeypatch.setitem(settings.PRESETS, "plain", card.Layout(4, 1, 3, 8))
    trainer = Trainer(
        CfsmSettings(preset="plain", size_px=32, steps=4, lr=5e-3, discriminator_dim=4), flat_recognizer()
    )
    x = torch.full((2, 3, 32, 32), 0.6)
    losses = trainer.step(1, x, x)
    assert set(losses) == {"total", "anchor", "critics"}
    assert "anchor" not in trainer.step(2, x, x)
    history = [float(trainer.step(2 * i + 1, x, x)["anchor"]) for i in range(60)]
    assert min(history[-5:]) < 0.8 * history[0]


def test_rows_are_a_fresh_permutation_each_epoch_wherever_the_walk_starts():
    whole = draws.rows(7, "source", 10, 0, 50)
    assert all(sorted(whole[start : start + 10]) == list(range(10)) for start in range(0, 50, 10))
    assert len({tuple(whole[start : start + 10]) for start in range(0, 50, 10)}) == 5
    pieces = np.concatenate([draws.rows(7, "source", 10, start, 7) for start in range(0, 49, 7)])
    assert np.array_equal(pieces, whole[:49])
    assert not np.array_equal(draws.rows(8, "source", 10, 0, 50), whole)
    assert not np.array_equal(draws.rows(7, "target", 10, 0, 50), whole)


def test_styles_are_ten_normals_and_their_norm_is_chi():
    z = torch.cat([draws.styles(1, step, 200, 10) for step in range(50)])
    assert torch.equal(z[:200], draws.styles(1, 0, 200, 10))
    assert float(z.mean()) == pytest.approx(0, abs=4 / math.sqrt(z.numel()))
    assert float(z.var()) == pytest.approx(1, abs=0.02)
    norm = z.norm(dim=1)
    assert float(norm.mean()) == pytest.approx(
        math.sqrt(2) * math.gamma(5.5) / math.gamma(5), abs=0.03
    )  # 3.08


def test_measured_distances_are_cosine_distances_along_one_direction():
    torch.manual_seed(0)
    trainer = Trainer(CfsmSettings(preset="tiny", size_px=32, discriminator_dim=4), flat_recognizer())
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    table = distances(trainer.generator, trainer.recognizer, x, (0.0, 2.0), 5)
    unit = F.normalize(draws.normals(5, "measure", (2, 10)))
    noise = draws.normals(5, "measure-noise", (2, *trainer.generator.noise_shape(32, 32)))
    styled = trainer.generator(x, 2 * unit, noise).detach()
    for row in range(2):
        wanted = cosine_distance(
            *(trainer.recognizer.embed(faces)[row].double().tolist() for faces in (x, styled))
        )
        assert table[1, row] == pytest.approx(wanted, abs=1e-5)
    assert np.abs(table[0]).max() < 1e-5


def folder(tmp_path, count=5, seed=0):
    rng = np.random.default_rng(seed)
    for index in range(count):
        (tmp_path / f"{index}.png").write_bytes(encode_png(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    return tmp_path


def open_here(text, tmp_path, size_px=32, people=range(2)):
    return open_images(str(text), size_px, store=tmp_path / "store", people=people, seed=0)


def test_a_folder_is_read_in_order_and_damaged_files_are_left_out(tmp_path):
    faces = folder(tmp_path / "f" if (tmp_path / "f").mkdir() is None else tmp_path)
    clean = open_here(faces, tmp_path)
    (faces / "3.jpg").write_bytes(b"\xff\xd8\xff nothing")
    images = open_here(faces, tmp_path)
    assert images.length == 5
    assert images.digest == clean.digest
    assert [text.split(":")[0] for text in images.refused] == ["3.jpg"]
    assert images.read([0, 4]).shape == (2, 32, 32, 3)
    (faces / "0.png").write_bytes((faces / "1.png").read_bytes())
    assert open_here(faces, tmp_path).digest != clean.digest


def test_spec_target_is_the_engines_pixels(tmp_path):
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.pairs.sources.synthetic import render_face

    spec = load_spec("surveillance")
    target = open_here("spec:surveillance", tmp_path, 112, range(3, 4))
    clean = open_here("embedded", tmp_path, 112, range(3, 4))
    face = render_face(3, 2, 0)[0]
    assert np.array_equal(clean.read([2])[0], face)
    import cv2

    native = Pipeline(spec).run([b"3/2"], [face])[0].image
    grown = cv2.resize(native, (112, 112), interpolation=cv2.INTER_CUBIC)
    assert np.abs(target.read([2])[0].astype(int) - grown).mean() < 4  # two bicubics: not the same bytes
    assert target.digest != clean.digest


@pytest.mark.parametrize(
    ("text", "seed", "then"),
    [
        ("spec:surveillance", 0, "6e8f61b4e344a117f8ae789a91ccb7b52cb430d119ee907e0e32ef048ba7fd5f"),
        ("spec:style", 3, "e3f86d53a91cf26f5b61a6979f5f8e91c45a5d4a9b68ca32e656400efeb085a3"),
    ],
)
def test_a_spec_target_is_known_by_the_name_that_the_first_edition_gave_it(text, seed, then, tmp_path):
    found = open_images(text, 32, store=tmp_path, people=range(10_000, 10_002), seed=seed)
    assert found.former == (then,) and found.digest != then


# the first twelve digits of what the first edition wrote as the digest of a preset
OF_THEN = {
    "btnet-eval": "77ef12462515",
    "btnet-v1": "e37e027660c5",
    "btnet-v2": "2d6c6d57902d",
    "btnet-v3": "c8565c531c5b",
    "digits": "389c8020f97d",
    "fskd-eval": "21fe42209412",
    "fskd-official": "7e3f6be68121",
    "fskd-paper": "053c489c51e1",
    "maug-official": "eb7aaf636d2e",
    "maug-paper": "dd1ad9b89019",
    "sensor": "d1a94d1e5c37",
    "surveillance": "01a4cf71658f",
    "waveresnet-aa": "2464a1b79128",
    "waveresnet-eval": "0fbfd03ceeb1",
    "waveresnet-noaa": "3341a3f4e947",
}


@pytest.mark.parametrize("name", OF_THEN)
def test_a_parameter_that_came_later_leaves_the_old_name_of_a_spec(name):
    found = image_sets._first_edition_digest(load_spec(name))
    assert found is None or found[:12] == OF_THEN[name]


def test_a_spec_that_the_first_edition_could_not_write_has_no_old_name():
    def known(step):
        return (
            image_sets._first_edition_digest(load_spec(f"version: 1\npipeline: [{{{step}}}]\n")) is not None
        )

    assert known("op: poisson_noise, photons: 99, scale: 1.0")
    assert not known("op: poisson_noise, photons: 99, scale: 2.0")


def test_unknown_and_empty_sets_are_user_errors(tmp_path):
    with pytest.raises(SpecError, match="no folder and no view 'nothing'"):
        open_here("nothing", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        open_here(tmp_path / "empty", tmp_path)
    with pytest.raises(SpecError, match="no preset"):
        open_here("spec:surveilance", tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"preset": "huge"}, {"size_px": 28}, {"size_px": 34}, {"steps": 0}, {"lr": 0.0}, {"ema_decay": 1.0}],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(SpecError):
        CfsmSettings(**wrong)


def test_identity_range_is_configurable():
    wanted = IdentityRange(1.0, 5.0, 0.2, 0.4)
    assert wanted.target(1.0) == pytest.approx(0.2)
    assert wanted.target(np.array([3.0, 5.0])).tolist() == pytest.approx([0.3, 0.4])


def test_every_seeded_draw_differs():
    counts = Counter(
        tuple(draws.styles(seed, step, 1, 4).flatten().tolist()) for seed in range(3) for step in range(5)
    )
    assert max(counts.values()) == 1
