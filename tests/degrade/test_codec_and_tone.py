"""Codecs against Pillow; tone ops against pixel-by-pixel re-derivations."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from lrfr.core.image import encode_jpeg
from tests.degrade.samples import face, faces, keys, one, pipeline


def pillow_jpeg(image, quality, subsampling):
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=quality, subsampling={"420": 2, "422": 1, "444": 0}[subsampling]
    )
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [30, 60, 95])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_jpeg_bytes_and_pixels_equal_pillows(quality, subsampling):
    for image in faces(6):
        expected = pillow_jpeg(image, quality, subsampling)
        assert encode_jpeg(image, quality, subsampling) == expected
        ours = one(f"{{op: jpeg, quality: {quality}, subsampling: {subsampling}}}", image).image
        np.testing.assert_array_equal(ours, np.asarray(Image.open(io.BytesIO(expected))))


def test_a_two_grid_jpeg_is_a_cut_of_a_coded_frame_coded_again():
    """The frame is larger: its blocks begin 3 px left and 5 px above those of the crop, as Pillow codes both."""
    image = face(3, 61)
    frame = np.pad(image, ((5, 0), (3, 0), (0, 0)), mode="edge")
    coded = np.asarray(Image.open(io.BytesIO(pillow_jpeg(frame, 30, "420"))))[5:, 3:]
    expected = np.asarray(Image.open(io.BytesIO(pillow_jpeg(coded, 70, "420"))))
    ours = one("{op: two_grid_jpeg, first: 30, quality: 70, shift_x: 5, shift_y: 3}", image).image
    assert np.array_equal(ours, expected)
    same = one("{op: two_grid_jpeg, first: 40, quality: 40, shift_x: 0, shift_y: 0}", image).image
    assert np.array_equal(same, one("{op: jpeg, quality: 40, times: 2}", image).image)


def test_repeated_jpeg_is_jpeg_of_jpeg_with_its_own_qualities():
    image = face(2)
    run = one("{op: jpeg, quality: {randint: [20, 90]}, times: 3}", image)
    qualities = run.trace.steps[0].params["quality"]
    assert len(set(qualities)) == 3
    for quality in qualities:
        image = np.asarray(Image.open(io.BytesIO(pillow_jpeg(image, quality, "420"))))
    np.testing.assert_array_equal(run.image, image)


def test_webp_loses_more_at_lower_quality_and_keeps_color_order():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :, 0] = 200
    assert np.abs(one("{op: webp, quality: 90}", image).image.astype(int) - image).max() < 6
    losses = [
        np.abs(one(f"{{op: webp, quality: {q}}}").image.astype(int) - face()).mean() for q in (5, 40, 95)
    ]
    assert losses[0] > losses[1] > losses[2]


def pixelwise(image, function):
    table = [max(0, min(255, round(function(v)))) for v in range(256)]
    return np.array(table, np.uint8)[image]


@pytest.mark.parametrize(
    ("step", "function"),
    [
        ("{op: gamma, gamma: 2.2}", lambda v: 255 * (v / 255) ** 2.2),
        ("{op: gamma, gamma: 0.4}", lambda v: 255 * (v / 255) ** 0.4),
        ("{op: brightness, factor: 1.37}", lambda v: v * 1.37),
        ("{op: brightness, factor: 0}", lambda v: 0),
        ("{op: color_cast, red: 1.2, green: 1.2, blue: 1.2}", lambda v: v * 1.2),
    ],
)
def test_tone_curves(step, function):
    np.testing.assert_array_equal(one(step).image, pixelwise(face(), function))


def test_contrast_stretches_around_the_mean_luminance():
    flat = np.full((10, 10, 3), 90, np.uint8)
    flat[:5] = 110
    assert sorted(np.unique(one("{op: contrast, factor: 2}", flat).image)) == [80, 120]
    np.testing.assert_array_equal(one("{op: contrast, factor: 1}").image, face())


def test_saturation_and_grayscale_use_bt601():
    gray = one("{op: grayscale}").image
    expected = face().astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(gray - expected[:, :, None]).max() <= 0.51
    np.testing.assert_array_equal(one("{op: saturation, factor: 0}").image, gray)
    np.testing.assert_array_equal(one("{op: saturation, factor: 1}").image, face())
    half = one("{op: saturation, factor: 0.5}").image
    assert np.abs(half - (gray.astype(float) + face()) / 2).max() <= 0.5


def test_color_cast_touches_only_its_channel():
    cast = one("{op: color_cast, blue: 0.5}").image
    np.testing.assert_array_equal(cast[:, :, :2], face()[:, :, :2])
    assert cast[:, :, 2].mean() == pytest.approx(face()[:, :, 2].mean() / 2, abs=0.5)


def test_low_light_is_dark_and_noisy_by_the_photons():
    flat = np.full((112, 112, 3), 200, np.uint8)
    dark = one("{op: low_light, exposure: 0.25, photons: 400}", flat).image.astype(float)
    mean_photons = 200 / 255 * 400 * 0.25
    assert dark.mean() == pytest.approx(50, rel=0.01)
    assert dark.std() == pytest.approx(math.sqrt(mean_photons) * 255 / 400, rel=0.02)


def test_illumination_is_bright_on_the_side_of_its_angle_and_keeps_the_middle():
    flat = np.full((101, 101, 3), 100, np.uint8)
    lit = one("{op: illumination, strength: 0.5, angle: 0}", flat).image[:, :, 0]
    assert (lit[50, 0], lit[50, 50], lit[50, 100]) == (50, 100, 150)
    assert (np.diff(lit[50].astype(int)) >= 0).all()
    upward = one("{op: illumination, strength: 0.5, angle: 90}", flat).image[:, :, 0]
    assert upward[0, 50] == 150
    assert upward[100, 50] == 50


def test_occlusion_covers_its_share_or_keeps_only_it():
    white = np.full((112, 112, 3), 255, np.uint8)
    covered = one("{op: occlude, area: 0.25, aspect: 2, x: 1, y: 0}", white).image
    assert (covered == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert covered[0, 111, 0] == 0
    assert covered[111, 0, 0] == 255
    kept = one("{op: occlude, area: 0.25, aspect: 2, x: 1, y: 0, outside: true}", white).image
    np.testing.assert_array_equal(kept, 255 - covered)


def test_albumentations_is_reseeded_for_every_face_and_repeats_itself():
    steps = "  - {op: albumentations, id: a, transform: RandomGamma, params: {gamma_limit: [50, 200]}}"
    run = pipeline(steps)
    image = face()
    first = run.run(keys(6), [image] * 6)
    again = run.run(keys(6)[::-1], [image] * 6)[::-1]
    assert len({item.image.tobytes() for item in first}) == 6
    assert [item.image.tobytes() for item in first] == [item.image.tobytes() for item in again]
    assert not run.portable


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{op: albumentations, transform: GausNoise}", "did you mean 'GaussNoise'"),
        ("{op: albumentations, transform: Lambda}", "no usable image transform"),
        ("{op: albumentations, transform: Compose}", "no usable image transform"),
        ("{op: albumentations, transform: GaussianBlur, params: {sigma_limt: [1, 2]}}", "sigma_limt"),
        (
            "{op: albumentations, transform: GaussianBlur, params: {sigma_limit: [-5, 2]}}",
            "refuses its params",
        ),
        ("{op: albumentations, transform: GaussianBlur, params: {p: 0.5}}", "the step's own 'p'"),
    ],
)
def test_albumentations_names_and_params_are_checked(step, expected):
    from lrfr.core.errors import SpecError

    with pytest.raises(SpecError) as caught:
        pipeline(f"  - {step}")
    assert expected in str(caught.value)
    assert ":4:" in str(caught.value) or "line" in str(caught.value) or caught.value.line == 4
