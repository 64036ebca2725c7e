"""Resizing against Pillow, OpenCV and a float re-derivation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lrfr.core.errors import SpecError
from lrfr.degrade.ops.resize import ANTIALIASED, resize_batch
from lrfr.degrade.ops.resize_kernels import light_to_srgb, srgb_to_light
from tests.degrade.samples import face, faces, keys, one, pipeline

SIZES = (7, 14, 20, 28, 56)


def pillow(image, size, name):
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling[name.upper()]))


@pytest.mark.parametrize("name", ANTIALIASED)
def test_48_pairs_of_sizes_are_within_two_levels_of_pillow_and_mostly_equal(name):
    rng = np.random.default_rng(1)
    off, pixels = 0, 0
    for side in (64, 96, 112, 128, 160, 224):
        noise = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        batch = np.concatenate([np.stack([face(number, side) for number in range(3)]), noise])
        for target in (7, 14, 20, 28, 32, 56, 100, 256):
            kind = getattr(Image.Resampling, name.upper())
            expected = np.stack(
                [np.asarray(Image.fromarray(image).resize((target, target), kind)) for image in batch]
            )
            difference = np.abs(resize_batch(batch, target, name, True).astype(int) - expected)
            assert difference.max() <= (
                0 if name not in {"bilinear", "bicubic"} else 1 if target <= 56 else 2
            )
            off, pixels = off + (difference > 1).sum(), pixels + difference.size
    assert off / pixels < 1e-4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_antialiased_filters_equal_pillow(name, size):
    images = np.stack(faces(24))
    ours = resize_batch(images, size, name, True).astype(int)
    difference = np.abs(ours - np.stack([pillow(image, size, name) for image in images]))
    assert difference.max() <= 1
    assert difference.mean() <= 0.005


@pytest.mark.parametrize("size", SIZES)
def test_the_way_up_equals_pillow(size):
    small = np.stack([pillow(image, size, "bicubic") for image in faces(8)])
    ours = resize_batch(small, 112, "bicubic", True).astype(int)
    difference = np.abs(ours - np.stack([pillow(image, 112, "bicubic") for image in small]))
    assert difference.max() <= 2
    assert difference.mean() <= 0.02


@pytest.mark.parametrize("size", [7, 20, 56, 150])
@pytest.mark.parametrize("name", ["nearest", "nearest_exact", "linear", "cubic", "area", "lanczos4"])
def test_sampled_filters_equal_opencv(name, size):
    code = getattr(cv2, f"INTER_{name.upper()}")
    images = np.stack(faces(3))
    expected = np.stack([cv2.resize(image, (size, size), interpolation=code) for image in images])
    np.testing.assert_array_equal(resize_batch(images, size, name, False), expected)


@pytest.mark.parametrize("size", SIZES)
def test_nearest_exact_is_pillows_nearest(size):
    image = face(3)
    np.testing.assert_array_equal(
        resize_batch(image[None], size, "nearest_exact", False)[0], pillow(image, size, "nearest")
    )


def test_the_two_bicubics_differ_as_much_as_the_docs_say():
    images = np.stack(faces(8))
    gap = np.abs(
        resize_batch(images, 7, "bicubic", True).astype(int) - resize_batch(images, 7, "cubic", False)
    )
    assert gap.mean() > 4


def test_height_and_width_are_not_swapped():
    image = face(1, 60, 90)
    assert resize_batch(image[None], (20, 30), "bicubic", True).shape == (1, 20, 30, 3)
    assert resize_batch(image[None], (20, 30), "linear", False).shape == (1, 20, 30, 3)
    assert resize_batch(image[None], (20, 30), "lanczos", True).shape == (1, 20, 30, 3)


def test_linear_light_equals_the_mean_of_light_under_a_box():
    image = face(2)
    light = srgb_to_light(image / 255.0).reshape(28, 4, 28, 4, 3).mean(axis=(1, 3))
    expected = np.rint(255 * light_to_srgb(light))
    for name, antialias in (("box", True), ("area", False)):
        assert np.abs(resize_batch(image[None], 28, name, antialias, "linear")[0] - expected).max() <= 1


def test_srgb_curve_is_its_own_inverse_and_knows_the_standards_points():
    values = np.arange(256) / 255
    np.testing.assert_allclose(light_to_srgb(srgb_to_light(values)), values, atol=1e-12)
    assert srgb_to_light(np.array([0.5]))[0] == pytest.approx(0.21404114, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "antialias", "hint"),
    [("bicubic", False, "'cubic'"), ("linear", True, "'bilinear'"), ("nearest", True, "box")],
)
def test_a_filter_of_the_other_library_is_refused_with_its_twin(name, antialias, hint):
    with pytest.raises(SpecError) as caught:
        resize_batch(face()[None], 7, name, antialias)
    assert hint in str(caught.value)


def test_targets_as_pixels_ratio_and_factor_agree():
    texts = ["size: 28", "ratio: 0.25", "factor: 4"]
    results = [one(f"{{op: down, {text}, filter: bicubic, antialias: true}}").image for text in texts]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_down_never_enlarges_up_never_shrinks_resize_does_both():
    small = face(0, 20)
    assert one("{op: down, size: 56, filter: bicubic, antialias: true}", small).image.shape == (20, 20, 3)
    assert one("{op: up, size: 56, filter: bicubic, antialias: true}", small).image.shape == (56, 56, 3)
    assert one("{op: up, size: 7, filter: bicubic, antialias: true}", small).image.shape == (20, 20, 3)
    assert [
        one(f"{{op: resize, size: {s}, filter: bicubic, antialias: true}}", small).image.shape[0]
        for s in (7, 56)
    ] == [7, 56]


def test_down_up_is_down_then_up():
    image = face(4, 90, 112)
    both = one("{op: down_up, ratio: 0.2, filter: area, up_filter: cubic, antialias: false}", image).image
    small = cv2.resize(image, (22, 18), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(both, cv2.resize(small, (112, 90), interpolation=cv2.INTER_CUBIC))


def test_a_drawn_size_and_filter_is_each_faces_own():
    batch = pipeline(
        "  - {op: down, size: {randint: [4, 112]}, filter: {choice: [linear, area]}, antialias: false}"
    ).run(keys(40), faces(40))
    assert len({item.image.shape for item in batch}) > 20
    for image, item in zip(faces(40), batch, strict=True):
        drawn = item.trace.steps[0].params
        code = cv2.INTER_LINEAR if drawn["filter"] == "linear" else cv2.INTER_AREA
        np.testing.assert_array_equal(item.image, cv2.resize(image, (drawn["size"],) * 2, interpolation=code))


def test_an_enormous_enlargement_is_refused():
    with pytest.raises(SpecError, match="4096"):
        one("{op: up, ratio: 64, filter: nearest, antialias: false}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_one_face_a_batch_views_and_read_only_memory_give_what_interpolate_gives(name):
    batch = np.stack(faces(3))
    locked = batch.copy()
    locked.flags.writeable = False
    turned = batch.transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3)
    for size in (7, 56, 200):
        planes = torch.from_numpy(batch).permute(0, 3, 1, 2)
        wanted = torch.nn.functional.interpolate(planes, size, mode=name, antialias=True)
        expected = wanted.permute(0, 2, 3, 1).numpy()
        for given in (batch, locked, turned):
            assert np.array_equal(resize_batch(given, size, name, True), expected)
            for row in range(3):
                assert np.array_equal(resize_batch(given[row : row + 1], size, name, True)[0], expected[row])
