"""The presets of Real-ESRGAN, BSRGAN and AdaFace against their released pipelines, written again in plain code.

``python -m tests.degrade.test_released [FOLDER]`` prints the table of mean differences for the faces of a folder.
"""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lrfr.degrade.ops.blur import KernelMix
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec
from tests.degrade import released, released_shuffles
from tests.degrade.samples import AsTheyCome, faces

ORACLES = {
    "realesrgan-1": lambda rng, image: released.realesrgan(rng, image / 255, 1),
    "realesrgan-2": lambda rng, image: released.realesrgan(rng, image / 255, 2),
    "bsrgan": lambda rng, image: released_shuffles.bsrgan(rng, image / 255),
    "adaface-aug": released_shuffles.adaface,
}
# how many pictures the slow oracle and the preset make; an augmenter that fires rarely needs more
COUNTS = {"realesrgan-1": (200, 600), "realesrgan-2": (200, 600), "bsrgan": (300, 600), "adaface-aug": (12000, 12000)}  # fmt: skip
RNG = np.random.default_rng


def differences(name, images, counts):
    """Mean absolute difference to the bicubic picture (to the face itself where it keeps its size), in levels."""
    plain = images
    if name != "adaface-aug":
        plain = [
            np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in images
        ]
    rng, run = RNG(5), Pipeline(load_spec(name))
    theirs = [
        _apart(plain[k % len(images)], ORACLES[name](rng, images[k % len(images)])) for k in range(counts[0])
    ]
    ours = []
    for start in range(0, counts[1], 500):
        rows = range(start, min(start + 500, counts[1]))
        found = run.run([b"%d" % k for k in rows], [images[k % len(images)] for k in rows])
        ours += [_apart(plain[k % len(images)], item.image) for k, item in zip(rows, found, strict=True)]
    return np.array(theirs), np.array(ours)


def _apart(plain, image):
    return float(np.abs(plain.astype(np.int16) - image).mean())


@pytest.mark.parametrize("name", ORACLES)
def test_presets_are_as_strong_as_the_released_code(name):
    theirs, ours = differences(name, faces(16), COUNTS[name])
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.05)
    # not only on average: weak and strong ones come as often
    for share in (0.5, 0.9):
        assert np.quantile(ours, share) == pytest.approx(np.quantile(theirs, share), rel=0.15, abs=0.5)


@functools.cache
def traced(name, count=4000):
    """What a preset drew for pictures so small that they cost nothing."""
    spec = load_spec(name)
    images = [np.full((8, 8, 3), 90, np.uint8)] * count
    return [item.trace.steps for item in AsTheyCome(spec).run([b"%d" % k for k in range(count)], images)]


def of(steps, start):
    return [step for step in steps if step.id == start or step.id.startswith(f"{start}/")]


def same(ours, theirs):
    """Two samples are of one distribution."""
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


@pytest.mark.parametrize("order", [1, 2])
def test_realesrgan_draws_kernels_as_the_code_does(order):
    rng, sigma = RNG(order), (released.ORDER_1, released.ORDER_2)[order - 1]["sigma"]
    theirs = [released.kernel_of(rng, sigma)[1] for _ in range(8000)]
    found = [step.params for steps in traced("realesrgan-2") for step in of(steps, f"k{order}")]
    assert len(found) / 4000 == pytest.approx(1.0 if order == 1 else 0.8, abs=0.02)
    kinds = ("sinc", *released.KINDS)
    table = [
        [sum(p[key] == kind for p in group) for kind in kinds]
        for key, group in (("family", found), ("kind", theirs))
    ]
    assert stats.chi2_contingency(table).pvalue > 1e-3
    same([p["size"] for p in found], [p["size"] for p in theirs])
    same([p["sigma_x"] for p in found if "sigma_x" in p], [p["sigma_x"] for p in theirs if "sigma_x" in p])
    same([p["cutoff"] for p in found if "cutoff" in p], [p["cutoff"] for p in theirs if "cutoff" in p])
    for key, family in (("beta", "generalized"), ("beta_plateau", "plateau")):
        betas = [p[key] for p in found if p["family"].startswith(family)]
        same(betas, [p["beta"] for p in theirs if p["kind"].startswith(family)])
        assert np.mean(np.array(betas) <= 1) == pytest.approx(0.5, abs=0.1)
    exact = [p["beta_plateau"] for p in found if "beta_plateau" in p]
    assert np.mean(np.array(exact) == 1.0) == pytest.approx(0.5, abs=0.1)


def test_realesrgan_kernels_are_those_of_the_code():
    for kind, shape in (
        ("generalized_aniso", {"beta": 0.7}),
        ("plateau_aniso", {"beta_plateau": 1.6}),
        ("sinc", {"cutoff": 2.0}),
    ):
        params = {"family": kind, "size": 15, "sigma_x": 2.4, "sigma_y": 0.8, "angle": 33.0, **shape}
        ours = KernelMix.kernel(params)
        if kind == "sinc":
            theirs = released.sinc(15, 2.0)
        else:
            angle, beta = math.radians(33.0), next(iter(shape.values()))
            axes = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            inverse = np.linalg.inv(axes @ np.diag([2.4**2, 0.8**2]) @ axes.T)
            grid = np.stack(np.meshgrid(np.arange(15) - 7, np.arange(15) - 7), -1)
            power = np.einsum("...i,ij,...j", grid, inverse, grid) ** beta
            theirs = np.exp(-power / 2) if "generalized" in kind else 1 / (1 + power)
        # the image's y axis points down, so a turn of the code is the opposite turn; both are drawn over all angles
        apart = [np.abs(k / k.sum() - theirs / theirs.sum()).max() for k in (ours, ours[::-1])]
        assert min(apart) < 1e-12


def test_realesrgan_sizes_on_the_way_are_those_of_the_code():
    rng = RNG(3)
    theirs_1 = [int(112 * released.scale_of(rng, released.ORDER_1)) for _ in range(8000)]
    theirs_2 = [int(28 * released.scale_of(rng, released.ORDER_2)) for _ in range(8000)]
    steps = traced("realesrgan-2")
    sides_1 = [
        round(112 * step[0].params["ratio"]) if step and step[0].op == "resize" else 112
        for step in (of(s, "r1") for s in steps)
    ]
    sides_2 = [of(s, "r2")[0].params["size"] for s in steps]
    same(sides_1, theirs_1)
    assert (min(sides_1), max(sides_1)) == (min(theirs_1), max(theirs_1)) == (16, 167)
    assert set(sides_2) == set(theirs_2) == set(range(8, 34))
    table = [[sample.count(side) for side in range(8, 34)] for sample in (sides_2, theirs_2)]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_realesrgan_noise_jpeg_and_final_sinc_are_those_of_the_code():
    steps = traced("realesrgan-2")
    for number, settings in ((1, released.ORDER_1), (2, released.ORDER_2)):
        noise = [of(s, f"n{number}")[0] for s in steps]
        assert np.mean([step.op == "gaussian_noise" for step in noise]) == pytest.approx(0.5, abs=0.03)
        assert np.mean([step.params["gray"] for step in noise]) == pytest.approx(0.4, abs=0.03)
        scales = [step.params["scale"] for step in noise if step.op == "poisson_noise"]
        low, high = settings["poisson"]
        assert stats.kstest(scales, "uniform", (low, high - low)).pvalue > 1e-3
        low, high = settings["noise"]
        sigmas = [step.params["sigma"] for step in noise if step.op == "gaussian_noise"]
        assert stats.kstest(sigmas, "uniform", (low, high - low)).pvalue > 1e-3
        quality = [of(s, f"j{number}")[0].params["quality"] for s in steps]
        assert (min(quality), max(quality), np.mean(quality)) == (30, 95, pytest.approx(62.5, abs=1))
    final = [of(s, "s1") for s in steps]
    assert np.mean([len(step) for step in final]) == pytest.approx(0.8, abs=0.02)
    cutoffs = [step[0].params["cutoff"] for step in final if step]
    assert stats.kstest(cutoffs, "uniform", (math.pi / 3, math.pi * 2 / 3)).pvalue > 1e-3
    first = [[step.id for step in s].index("j2") < len(s) - 1 for s in steps]
    assert np.mean(first) == pytest.approx(0.5, abs=0.03)


def test_bsrgan_halves_one_time_in_four_and_shuffles_as_the_code_does():
    rng, theirs = RNG(4), []
    for _ in range(1200):
        theirs.append({})
        released_shuffles.bsrgan(rng, np.full((8, 8, 3), 0.4), theirs[-1])
    steps = traced("bsrgan")
    halved = [any(step.id == "d2h" for step in s) for s in steps]
    assert np.mean(halved) == pytest.approx(0.25, abs=0.02)
    assert np.mean([t["factor"] == 2 for t in theirs]) == pytest.approx(0.25, abs=0.04)
    # a JPEG one time in ten too few inside, and one last JPEG always
    inside = [any(step.id in {"j1", "j1h"} for step in s) for s in steps]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)
    assert {(s[-1].id, s[-1].op) for s in steps} == {("j2", "jpeg")}
    assert {s[-1].params["quality"] for s in steps} == set(range(30, 96))
    # where the second downsampling comes among the six
    places = [[t["order"].index(3) for t in theirs]]
    places.append([_order(s).index("d2") for s in steps])
    assert stats.chi2_contingency([np.bincount(p, minlength=6)[1:] for p in places if p]).pvalue > 1e-3
    for factor, tag in ((4, ""), (2, "h")):
        ours = [
            step.params["factor"]
            for s in steps
            for step in of(s, f"d1{tag}")
            if step.params.get("factor", factor) != factor
        ]
        assert stats.kstest(ours, "uniform", (1, 2 * factor - 1)).pvalue > 1e-3
        widths = [
            step.params["sigma_x"]
            for s in steps
            for step in of(s, f"b1{tag}")
            if step.params["family"] == "aniso"
        ]
        same(
            np.square(widths), [v[0] for t in theirs if t["factor"] == factor for v in t.get("variances", [])]
        )


def _order(steps):
    """Which of the six parts of the shuffle came when; a JPEG that did not fire comes last."""
    seen = list(dict.fromkeys(step.id.split("/")[0].removesuffix("h") for step in steps))
    return [name for name in seen if name in ("b1", "b2", "d1", "d2", "n1", "j1")]


def test_bsrgan_noise_between_channels_has_the_covariance_of_the_code():
    rng = RNG(6)
    theirs = np.mean([released_shuffles.channel_covariance(rng) for _ in range(4000)], axis=0)
    noise = next(
        step
        for step in load_spec("bsrgan").as_json()["pipeline"][0]["one_of"][0]["steps"][0]["shuffle"]
        if step.get("id") == "n1"
    )
    assert noise["weights"] == [0.4, 0.4, 0.2]
    gray, color = [child["sigma"]["normal"] for child in noise["one_of"][2]["steps"]]
    off = theirs[np.triu_indices(3, 1)].mean()
    assert gray[0] ** 2 + gray[1] ** 2 == pytest.approx(off, rel=0.05)
    assert color[0] ** 2 + color[1] ** 2 + off == pytest.approx(np.trace(theirs) / 3, rel=0.05)


def test_bsrgan_linear_after_a_blur_is_the_shifted_kernel_and_every_fourth_pixel():
    import cv2

    image = faces(1)[0] / 255
    taps = np.exp(-0.5 * ((np.arange(25) - 12) / 1.7) ** 2)
    blurred = released.filtered(image, np.outer(taps, taps) / taps.sum() ** 2)
    moved = np.interp(np.arange(25) + 1.5, np.arange(25), taps / taps.sum())
    kernel = np.outer(moved, moved)
    theirs = released.filtered(image, (kernel / kernel.sum())[::-1, ::-1])[::4, ::4]
    ours = cv2.resize(blurred, (28, 28), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours - theirs)[2:-2, 2:-2].max() < 1e-6


def test_adaface_crops_low_sides_and_gates_are_those_of_the_code():
    rng = RNG(8)
    theirs = np.array([released_shuffles.crop_of(rng) for _ in range(6000)])
    spec = load_spec(
        "adaface-aug", ["pipeline.crop.p=1", "pipeline.low_resolution.p=0", "pipeline.photometric.p=0"]
    )
    white = np.full((112, 112, 3), 255, np.uint8)
    boxes = []
    for item in Pipeline(spec).run([b"%d" % k for k in range(3000)], [white] * 3000):
        rows, columns = np.flatnonzero(item.image[:, :, 0].any(1)), np.flatnonzero(item.image[:, :, 0].any(0))
        boxes.append((rows[0], columns[0], rows.size, columns.size))
    for ours, code in zip(np.array(boxes).T, theirs.T, strict=True):
        same(ours, code)
    steps = traced("adaface-aug", 8000)
    for gate in ("crop", "low_resolution", "photometric"):
        assert np.mean([bool(of(s, gate)) for s in steps]) == pytest.approx(0.2, abs=0.015)
    sides = [round(112 * step.params["ratio"]) for s in steps for step in of(s, "low_resolution")]
    same(sides, [int(112 * rng.uniform(0.2, 1)) for _ in range(8000)])


if __name__ == "__main__":
    found = sorted(Path(sys.argv[1]).rglob("*.jpg")) if len(sys.argv) > 1 else []
    shown = [
        np.asarray(Image.open(path).convert("RGB").resize((112, 112), Image.Resampling.BICUBIC))
        for path in found[:64]
    ] or faces(16)
    for preset in ORACLES:
        code, own = differences(preset, shown, COUNTS[preset] if preset == "adaface-aug" else (1500, 1500))
        error = math.hypot(code.std() / len(code) ** 0.5, own.std() / len(own) ** 0.5) / code.mean()
        print(
            f"{preset:13} code {code.mean():6.2f}  preset {own.mean():6.2f}  {own.mean() / code.mean() - 1:+.1%} (+-{error:.1%})"
        )
