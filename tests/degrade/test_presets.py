"""The shipped recipes: loadable, sourced, with the weights that they state, and each doing what its paper
shows.
"""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lrfr.core.errors import LrfrError
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.degrade.spec.resolve import ALIASES, preset_names, preset_text
from tests.degrade.samples import faces, keys

REQUIRED = {
    *("maug-paper", "maug-official", "fskd-paper", "fskd-official", "fskd-random", "fskd-eval", "btnet-v1", "btnet-v2", "btnet-v3", "btnet-eval"),
    *("waveresnet-aa", "waveresnet-noaa", "waveresnet-eval", "catface", "realesrgan-1", "realesrgan-2", "bsrgan", "adaface-aug", "sensor"),
    *("surveillance", "digits", "aroface", "detected", "webcam"),
}  # fmt: skip
LEARNED = {
    name for name in preset_names() if "turbulence" in preset_text(name) or "op: style" in preset_text(name)
}
SIZES = {
    "maug-paper": {7: 1, 14: 1, 20: 2},
    "maug-official": {7: 1, 20: 1},
    "fskd-paper": {14: 1, 28: 1, 56: 1, 112: 1},
    "fskd-official": {14: 1, 28: 1, 56: 1, 112: 1},
    "btnet-v1": {112: 1, 56: 1, 28: 1, 14: 1, 7: 1},
    "btnet-v2": {112: 0.3, 56: 0.25, 28: 0.2, 14: 0.15, 7: 0.1},
    "waveresnet-aa": {14: 1, 28: 1, 56: 1, 112: 1},
    "digits": {8: 1},
    "fskd-eval": {14: 1},
}


def spec_of(name):
    try:
        return load_spec(name)
    except LrfrError as error:
        if name in LEARNED:
            pytest.skip(f"{name}: {error}")
        raise


def runs(name, count, size=None):
    pipeline = Pipeline(spec_of(name))
    images = faces(min(count, 16), pipeline.spec.image.size_px if size is None else size)
    batch = [images[number % len(images)] for number in range(count)]
    return batch, pipeline.run(keys(count), batch)


def test_every_recipe_of_the_list_is_there():
    assert set(preset_names()) >= REQUIRED


@pytest.mark.parametrize("name", sorted(REQUIRED | set(preset_names())))
def test_presets_load_resolve_and_state_their_source(name):
    text = preset_text(name)
    assert text.startswith("# ")
    assert not any(line.strip().startswith("flip") for line in text.splitlines())
    spec = spec_of(name)
    assert spec.name == name
    assert parse_spec(spec.canonical()).digest == spec.digest
    assert (
        len({load_spec(short).digest for short, full in ALIASES.items() if full == name} | {spec.digest}) == 1
    )


@pytest.mark.parametrize("name", sorted(set(preset_names()) - LEARNED))
def test_presets_run_reproducibly_on_any_batch(name):
    images, whole = runs(name, 12)
    pipeline = Pipeline(load_spec(name))
    for index in (0, 5, 11):
        alone = pipeline.run([keys(12)[index]], [images[index]])[0]
        np.testing.assert_array_equal(alone.image, whole[index].image)
    assert all(4 <= item.image.shape[0] <= 112 for item in whole)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_come_at_the_stated_shares(name):
    small = np.zeros((112, 112, 3), np.uint8)
    spec = load_spec(name)
    count = 4000
    # only the size matters here, so the last step runs alone
    steps = Pipeline(parse_spec(spec.canonical(), overrides=["pipeline=[%s]" % _size_step(spec)]))  # noqa: UP031
    image = small[: spec.image.size_px, : spec.image.size_px]
    found = Counter(item.image.shape[0] for item in steps.run(keys(count), [image] * count))
    assert set(found) == set(SIZES[name])
    total = sum(SIZES[name].values())
    expected = [share / total * count for share in SIZES[name].values()]
    if len(expected) > 1:
        assert stats.chisquare([found[size] for size in SIZES[name]], expected).pvalue > 1e-3


def _size_step(spec):
    import json

    return json.dumps(next(step.as_json() for step in spec.steps if step.label in {"down", "down_up"}))


def test_btnet_v3_draws_every_side_from_4_to_112():
    literal = load_spec("btnet-v3").as_json()["pipeline"][0]["size"]
    assert literal == {"randint": [4, 112]}


@pytest.mark.parametrize("name", ["maug-paper", "btnet-v1"])
def test_antialiased_recipes_equal_pillow(name):
    images, results = runs(name, 24)
    kind = {"maug-paper": Image.Resampling.BICUBIC, "btnet-v1": Image.Resampling.BILINEAR}[name]
    for image, item in zip(images, results, strict=True):
        expected = np.asarray(Image.fromarray(image).resize(item.image.shape[:2], kind))
        assert np.abs(item.image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "name", ["fskd-paper", "fskd-official", "fskd-eval", "btnet-eval", "waveresnet-eval", "digits"]
)
def test_sampled_recipes_equal_opencv_both_ways(name):
    from lrfr.degrade.inspect.contact_sheet import enlarge

    spec = load_spec(name)
    images, results = runs(name, 24)
    code = {"linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST, "cubic": cv2.INTER_CUBIC}[
        spec.store.up.filter
    ]
    for image, item in zip(images, results, strict=True):
        small = cv2.resize(image, item.image.shape[:2], interpolation=code)
        np.testing.assert_array_equal(item.image, small)
        np.testing.assert_array_equal(
            enlarge(item.image, spec.store.up), cv2.resize(small, image.shape[:2], interpolation=code)
        )


def test_in_reading_1_of_waveresnet_noise_fades_and_in_reading_2_it_stays():
    flat = np.full((112, 112, 3), 128, np.uint8)
    for name, low, high in (("waveresnet-aa", 1.5, 2.7), ("waveresnet-noaa", 13.0, 16.0)):
        spec = load_spec(
            name,
            [
                "pipeline.b1.p=0",
                "pipeline.j1.p=0",
                "pipeline.n1.p=1",
                "pipeline.n1.one_of=[{op: gaussian_noise, sigma: 20}]",
                "pipeline.d1.size=14",
            ],
        )
        left = np.stack([item.image for item in Pipeline(spec).run(keys(40), [flat] * 40)]).std()
        assert low < left < high


def test_realesrgan_and_bsrgan_end_at_a_quarter():
    for name in ("realesrgan-1", "bsrgan"):
        assert {item.image.shape for item in runs(name, 24)[1]} == {(28, 28, 3)}
    assert {item.image.shape for item in runs("realesrgan-2", 24)[1]} == {(28, 28, 3)}


def test_bsrgan_keeps_the_second_downsampling_after_the_first():
    for item in runs("bsrgan", 60)[1]:
        order = [step.id for step in item.trace.steps]
        # the steps of the quarter that was halved first end in h
        first = next(index for index, name in enumerate(order) if name.startswith(("d1/", "d1h/")))
        assert first < next(index for index, name in enumerate(order) if name in {"d2", "d2h"})


def test_adaface_gates_fire_one_time_in_five():
    count = 3000
    image = np.full((16, 16, 3), 90, np.uint8)
    fired = [
        {step.id.split("/")[0] for step in item.trace.steps}
        for item in Pipeline(load_spec("adaface-aug")).run(keys(count), [image] * count)
    ]
    for gate in ("crop", "low_resolution", "photometric"):
        assert abs(np.mean([gate in names for names in fired]) - 0.2) < 3 * np.sqrt(0.16 / count)


def test_the_starter_spec_is_a_good_spec():
    from importlib import resources

    text = resources.files("lrfr.degrade").joinpath("starter.yaml").read_text("utf-8")
    assert Pipeline(parse_spec(text)).portable
