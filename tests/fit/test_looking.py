"""What is seen in crops: native sizes, containers, statistics."""

import json
import re

import numpy as np
import pytest

from lrfr.core.image import encode_jpeg, encode_png, read_picture
from lrfr.degrade.ops.resize import resize_batch
from lrfr.fit.look.container_marks import Container, container_of
from lrfr.fit.look.crop_files import read_crops
from lrfr.fit.look.enlargement import WAYS_UP, WayUp, luma_of, native_sizes, shrink_back, way_of
from lrfr.fit.look.face_statistics import NAMES, Gaze, face_statistics, found_sizes
from lrfr.fit.look.native_statistics import QUALITIES
from lrfr.fit.look.stored_before import stored_before
from tests.fit import golden
from tests.fit.cameras import GAZE, STEPS, noise, person, seen, write
from tests.pairs.golden import moved


@pytest.mark.parametrize("filter_, antialias", WAYS_UP)
def test_the_native_size_is_found_and_the_small_picture_comes_back(filter_, antialias):
    sizes = [12, 17, 24, 31]
    small = [resize_batch(person(k)[None], n, "box", True)[0] for k, n in enumerate(sizes)]
    up = [resize_batch(image[None], 112, filter_, antialias)[0] for image in small]
    way = WayUp(filter_, antialias, 112)
    assert native_sizes(luma_of(up), way).tolist() == sizes
    back = shrink_back(up[3], way, 31).astype(int)
    inside = np.s_[2:-2, 2:-2]
    assert np.abs(back - small[3])[inside].mean() < 0.6


def test_the_filter_of_the_way_up_is_found():
    crops = np.stack(seen(16))
    assert way_of(crops)[0] == WayUp("bicubic", True, 112)
    assert way_of(np.stack(noise(8)))[0] is None


@pytest.mark.parametrize("quality, subsampling", [(92, "444"), (37, "420"), (75, "422")])
def test_tables_and_subsampling_of_a_jpeg_are_read(quality, subsampling):
    assert container_of(encode_jpeg(person(0), quality, subsampling)) == Container(
        "jpeg", quality, True, subsampling
    )


def test_a_png_is_lossless():
    assert container_of(encode_png(person(0))).kind == "lossless"


UP = "{op: up, id: u, size: 112, filter: bilinear, antialias: true}"


@pytest.mark.parametrize("quality, subsampling", [(30, "420"), (75, "422"), (90, "444"), (80, "420")])
def test_a_png_tells_which_jpeg_it_was(quality, subsampling):
    codec = f'{{op: jpeg, id: file, quality: {quality}, subsampling: "{subsampling}"}}'
    crops = seen(10, steps=f"{STEPS[:-1] % 50}, {UP}, {codec}]", gaze=Gaze(112))
    found, words = stored_before(crops)
    assert found == Container("jpeg", quality, True, subsampling)
    assert words == (
        f"the files are lossless, but were JPEG of quality {quality}, {subsampling} before, which is repeated"
    )


def test_a_png_that_was_none_or_many_says_so(tmp_path):
    assert stored_before(seen(10)) == (None, "") == stored_before(noise(10))
    many = "{op: jpeg, id: f, quality: {randint: [30, 90]}}"
    crops = seen(30, steps=f"{STEPS[:-1] % 50}, {UP}, {many}]", gaze=Gaze(112))
    read = read_crops(write(tmp_path / "crops", crops))
    assert read.container == Container("lossless")
    said = "the files are lossless, but were JPEG of qualities 3. to [78]."
    assert any(re.match(said, note) for note in read.notes)
    again = [read_picture(encode_jpeg(crop, 85, "420")).pixels for crop in seen(30)]
    read = read_crops(write(tmp_path / "again", again))
    assert read.container == Container("jpeg", 85, True, "420")


def test_the_comb_is_highest_at_the_quality_that_was_used():
    first = NAMES.index(f"native: comb of quality {QUALITIES[0]}")
    for quality in (25, 50, 75):
        stats = face_statistics(seen(8, str(quality), steps="[{op: jpeg, quality: %s}]"), Gaze(112))
        comb = np.median(stats[:, first : first + len(QUALITIES)], axis=0)
        assert QUALITIES[int(np.argmax(comb))] == quality


def test_bands_of_white_noise_hold_its_variance():
    """The window is normalized, so the mean power of every band is the variance of luma: 25^2 (.299^2 + ...)."""
    stats = face_statistics(noise(24, sigma=25.0), Gaze(112))
    bands = [k for k, name in enumerate(NAMES) if name.startswith("spectrum: luma")]
    expected = np.log(25.0**2 * (0.299**2 + 0.587**2 + 0.114**2))
    assert np.abs(stats[:, bands[6:-3]].mean(axis=0) - expected).max() < 0.15


def test_statistics_are_finite_and_do_not_depend_on_the_batch():
    crops = [*seen(5), np.zeros((112, 112, 3), np.uint8), np.full((112, 112, 3), 255, np.uint8)]
    together = face_statistics(crops, GAZE)
    assert together.shape == (7, len(NAMES)) and len(set(NAMES)) == len(NAMES) and np.isfinite(together).all()
    alone = np.concatenate([face_statistics([crop], GAZE) for crop in crops])
    assert np.allclose(together, alone, atol=2e-3)


def test_crops_of_native_size_tell_it_by_their_files():
    small = [resize_batch(person(k)[None], n, "box", True)[0] for k, n in enumerate((9, 24, 40))]
    assert found_sizes(small, Gaze(112)).tolist() == [9, 24, 40]
    assert np.isfinite(face_statistics([*small, np.zeros((4, 4, 3), np.uint8)], Gaze(112))).all()


def test_statistics_move_only_with_their_revision():
    assert not moved(json.loads(golden.FILE.read_text()), golden.rendered(), golden.COMMAND)
