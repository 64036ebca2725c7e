"""Misaligned crops against plain arithmetic and against the aligner with wrong landmarks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from lrfr.core.errors import SpecError
from lrfr.core.files import sha256_hex
from lrfr.core.landmarks import TEMPLATE, align
from lrfr.degrade.ops.misalign import Misalign
from lrfr.degrade.pipeline import Pipeline, replay
from lrfr.degrade.spec.model import load_spec
from tests.degrade.samples import face, faces, keys, one, pipeline


def slowly(image, roll, scale, shift_x, shift_y, size, border="black"):
    """Look up every pixel of the crop by the formulas, one after the other; no crop smaller than the image."""
    height, width = image.shape[:2]
    side, c, s = min(height, width), math.cos(math.radians(roll)), math.sin(math.radians(roll))

    def level(row, column):
        inside = 0 <= row < height and 0 <= column < width
        if not inside and border == "black":
            return np.zeros(3)
        if not inside and border == "reflect":
            row, column = (
                abs(p) if abs(p) < extent else 2 * extent - 2 - abs(p)
                for p, extent in ((row, height), (column, width))
            )
        return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)].astype(float)

    crop = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            # from the crop's middle in px of the image, x to the right and y upwards
            x = ((column + 0.5) / size - 0.5 - shift_x) * side
            y = -((row + 0.5) / size - 0.5 - shift_y) * side
            x, y = (x * c + y * s) / scale, (-x * s + y * c) / scale  # turned back
            px, py = (width - 1) / 2 + x, (height - 1) / 2 - y
            left, top = math.floor(px), math.floor(py)
            for dy, wy in ((0, 1 - (py - top)), (1, py - top)):
                for dx, wx in ((0, 1 - (px - left)), (1, px - left)):
                    crop[row, column] += wy * wx * level(top + dy, left + dx)
    return crop


@pytest.mark.parametrize("border", ["black", "edge", "reflect"])
@pytest.mark.parametrize(
    ("roll", "scale", "shift_x", "shift_y"),
    [(0, 1, 0.25, 0.0), (0, 1, 0.013, -0.021), (90, 1, 0, 0), (17, 1.3, 0.1, -0.05), (-8, 1.0, 0.02, 0.3)],
)
def test_every_pixel_is_where_the_formulas_put_it(roll, scale, shift_x, shift_y, border):
    image = face(3, 24)
    step = f"{{op: misalign, roll: {roll}, scale: {scale}, shift_x: {shift_x}, shift_y: {shift_y}, border: {border}}}"
    found = one(step, image).image
    expected = slowly(image, roll, scale, shift_x, shift_y, 24, border)
    assert np.abs(found - expected).max() <= 1  # weights of 11 bits


def test_a_quarter_turn_is_numpys_and_whole_shifts_move_rows():
    image = face(1, 20)
    np.testing.assert_array_equal(one("{op: misalign, roll: 90}", image).image, np.rot90(image))
    right = one("{op: misalign, shift_x: 0.25}", image).image
    np.testing.assert_array_equal(right[:, 5:], image[:, :-5])
    assert not right[:, :5].any()
    down = one("{op: misalign, shift_y: 0.1}", image).image
    np.testing.assert_array_equal(down[2:], image[:-2])


def test_nothing_wrong_changes_nothing():
    image = face(2, 33)
    for step in ("roll: 0", "landmark_px: 0", "severity: 0", "size: 33"):
        np.testing.assert_array_equal(one(f"{{op: misalign, {step}}}", image).image, image)


def test_a_crop_from_native_pixels_is_one_interpolation_of_them():
    image = face(4, 14)
    found = one("{op: misalign, roll: 4, shift_x: 0.03, size: 56}", image).image
    assert np.abs(found - slowly(image, 4, 1, 0.03, 0, 56)).max() <= 1


@pytest.mark.parametrize("border", ["black", "edge", "reflect"])
def test_a_cubic_cut_is_pillows(border):
    image, roll = face(4, 60), 4.0
    found = one(f"{{op: misalign, roll: {roll}, size: 112, border: {border}, filter: cubic}}", image).image
    step, c, s = 60 / 112, math.cos(math.radians(roll)), math.sin(math.radians(roll))
    # from a place in the crop to one in the image, both from their middles, y downwards
    x0, y0 = 30 - step * (c * 56 - s * 56), 30 - step * (s * 56 + c * 56)
    turned = (step * c, -step * s, x0, step * s, step * c, y0)
    expected = Image.fromarray(image).transform((112, 112), Image.Transform.AFFINE, turned, Image.BICUBIC)
    # Pillow leaves black what lies outside, and repeats its first and last pixels inside
    assert np.abs(found.astype(int) - np.asarray(expected))[12:-12, 12:-12].max() <= 2
    pinned = {"black": "b1dcaea3f899068f", "edge": "6ff2f27303c8c7f2", "reflect": "8a99cbf13534f747"}
    assert sha256_hex(found.tobytes())[:16] == pinned[border]


def test_a_filter_leaves_the_errors_of_landmarks_alone():
    runs = [one(f"{{op: misalign, id: m, landmark_px: 2{more}}}") for more in ("", ", filter: cubic")]
    first, second = (run.trace.steps[0].params for run in runs)
    assert first["errors"] == second["errors"] and "filter" not in first


def test_shrinking_averages_and_never_folds():
    stripes = np.zeros((112, 112, 3), np.uint8)
    stripes[:, ::2] = 255  # above what 28 px can hold
    found = one("{op: misalign, scale: 1.0, size: 28}", stripes).image
    np.testing.assert_allclose(found[2:-2, 2:-2], 127.5, atol=1.5)
    image = face(5, 112)
    whole = image.reshape(28, 4, 28, 4, 3).mean(axis=(1, 3))
    assert np.abs(one("{op: misalign, size: 28}", image).image - whole).max() <= 1


@pytest.mark.parametrize("number", range(4))
def test_wrong_landmarks_give_what_the_aligner_cuts_with_them(number):
    image = face(number)
    item = one("{op: misalign, landmark_px: 3}", image, key=b"%d" % number)
    errors = np.array(item.trace.steps[0].params["errors"]).reshape(5, 2)
    expected = align(image, TEMPLATE + errors, 112)
    # the aligner takes several samples a pixel where the face shrinks at all, and OpenCV's weights have 5 bits
    difference = np.abs(item.image.astype(int) - expected)[3:-3, 3:-3]
    assert difference.mean() < 3
    shifted = one(
        "{op: misalign, shift_x: 0.0268}", image
    ).image  # three px: what a wrong fit would differ by
    assert np.abs(shifted.astype(int) - expected).mean() > 4 * difference.mean()


def test_errors_are_normal_with_the_stated_deviation_and_shares_scale_with_the_side():
    runs = pipeline("  - {op: misalign, landmark_px: 0.8}").run(keys(600), faces(1, 8) * 600)
    drawn = np.array([item.trace.steps[0].params["errors"] for item in runs])
    assert abs(drawn.mean()) < 0.05
    assert drawn.std() == pytest.approx(0.8, rel=0.04)
    assert abs(np.corrcoef(drawn.T)[0, 1:]).max() < 0.15
    image = face(6, 40)
    in_px = one("{op: misalign, id: m, landmark_px: 2}", image)
    in_shares = one("{op: misalign, id: m, landmark_share: 0.05}", image)
    # the slots are those of the parameters in their order, whatever is set
    np.testing.assert_allclose(
        in_px.trace.steps[0].params["errors"], 40 * np.array(in_shares.trace.steps[0].params["errors"])
    )
    np.testing.assert_array_equal(in_px.image, in_shares.image)


def test_a_trace_brings_the_crop_back_and_a_face_has_its_own_error():
    steps = "  - {op: down, size: 20, filter: bicubic, antialias: true}\n  - {op: misalign, landmark_px: 1, roll: {uniform: [-9, 9]}, size: 112}"
    run = pipeline(steps).run(keys(8), faces(8))
    assert len({str(item.trace.steps[1].params) for item in run}) == 8
    for image, item in zip(faces(8), run, strict=True):
        np.testing.assert_array_equal(replay(item.trace, image), item.image)
    alone = pipeline(steps).run([keys(8)[5]], [faces(8)[5]])[0]
    np.testing.assert_array_equal(alone.image, run[5].image)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{op: misalign}", "give one of roll, scale"),
        ("{op: misalign, border: edge, filter: cubic}", "give one of roll, scale"),
        ("{op: misalign, landmark_px: 1, landmark_share: 0.1}", "not both"),
        ("{op: misalign, severity: 0.5, landmark_px: 1}", "not both"),
        ("{op: misalign, scale: 0}", "0.25"),
        ("{op: misalign, border: mirror}", "reflect"),
    ],
)
def test_what_is_no_misalignment_is_refused(step, expected):
    with pytest.raises(SpecError, match=expected):
        one(step)


def test_landmarks_that_fall_together_stay_a_crop():
    worst = {
        "roll": 0.0,
        "scale": 1.0,
        "shift_x": 0.0,
        "shift_y": 0.0,
        "border": "black",
        "landmark_share": 0.5,
    }
    spread = {**worst, "errors": [40.0, 0, -40, 0, 0, 40, 0, -40, 3, 3]}
    found = Misalign.apply([face(0, 30)], [spread], [None])[0]
    assert found.shape == (30, 30, 3)


def test_a_quarter_of_arofaces_faces_moves_by_its_steps():
    runs = Pipeline(load_spec("aroface")).run(keys(800), faces(1) * 800)
    moved = [step.params for item in runs for step in item.trace.steps if step.op == "misalign"]
    assert 0.25 * 800 - 50 < len(moved) < 0.25 * 800 + 50
    signs = {(p["scale"] > 1, p["roll"] > 0, p["shift_x"] > 0, p["shift_y"] > 0) for p in moved}
    assert len(signs) == 16
    assert {round(math.radians(abs(p["roll"])), 6) for p in moved} == {0.1}
    assert {round(max(p["scale"], 1 / p["scale"]), 4) for p in moved} <= {1.1, 1.1111}
