"""The statistics: each against pictures whose value is known."""

import numpy as np
import pytest

from lrfr.core.image import decode, encode_jpeg
from lrfr.pairs.sources.synthetic import render_face
from lrfr.studio.measures import MEASURES, RINGS, compare_looks, looks_of, spectrum, wasserstein


def measure(name, image):
    return float(looks_of([image]).values[name][0])


def gray(values):
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("sigma", [2.0, 6.0, 15.0])
def test_noise_is_the_standard_deviation_that_was_added(sigma):
    draw = np.random.default_rng(0)
    ramp = np.add.outer(np.linspace(60, 180, 112), np.linspace(0, 20, 112))  # a slope is no noise
    assert measure("noise", gray(ramp + draw.normal(0, sigma, (112, 112)))) == pytest.approx(sigma, rel=0.06)
    assert measure("noise", gray(ramp)) < 0.5


@pytest.mark.parametrize("shift", [(0, 0), (3, 5)])
def test_the_lattice_is_seen_wherever_the_picture_was_cut(shift):
    face = render_face(3, 0, 0)[0]
    packed = decode(encode_jpeg(face, 12))[shift[0] :, shift[1] :]
    assert measure("JPEG lattice", packed) > 4 * measure("JPEG lattice", face) + 0.5
    assert measure("JPEG lattice", gray(np.full((32, 32), 9.0))) <= 0


def test_sharpness_falls_with_blur_and_does_not_know_contrast():
    from scipy.ndimage import gaussian_filter

    picture = np.random.default_rng(1).normal(128, 30, (64, 64))
    sharp, soft = gray(picture), gray(gaussian_filter(picture, 1.5))
    assert measure("sharpness", sharp) > 2 * measure("sharpness", soft)
    assert measure("sharpness", gray(128 + (picture - 128) / 2)) == pytest.approx(
        measure("sharpness", sharp), rel=0.02
    )


def test_tone_is_what_it_says():
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[...] = (200, 100, 50)
    found = {name: measure(name, picture) for name in MEASURES}
    assert found["brightness"] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert (found["colorfulness"], found["red minus blue"]) == (150, 150)
    assert found["contrast"] == pytest.approx(0, abs=1e-6) and found["size"] == 16


@pytest.mark.parametrize("cycles", [4, 12, 24])
def test_the_spectrum_shows_a_wave_at_its_frequency(cycles):
    wave = 128 + 60 * np.sin(2 * np.pi * cycles * np.arange(64) / 64)
    ring = int(np.argmax(spectrum(gray(np.tile(wave, (64, 1))))))
    assert ring == int(cycles / 32 * RINGS)


def test_distances_are_zero_of_the_same_and_the_shift_of_moved_ones():
    one = np.arange(10.0)
    assert wasserstein(one, one[::-1]) == 0
    assert wasserstein(one, one + 3) == pytest.approx(3)
    # the slow way: the area between the two distribution functions
    left, right = np.random.default_rng(2).normal(0, 1, 50), np.random.default_rng(3).normal(1, 2, 70)
    grid = np.sort(np.concatenate([left, right]))
    gap = [abs((left <= x).mean() - (right <= x).mean()) for x in grid[:-1]]
    assert wasserstein(left, right) == pytest.approx(float(np.sum(gap * np.diff(grid))))


def test_a_set_beside_itself_is_near_and_beside_another_far():
    faces = [render_face(number, 0, 0)[0] for number in range(6)]
    own, dark = looks_of(faces), looks_of([(face // 3) for face in faces])
    same, other = compare_looks(own, own), compare_looks(own, dark)
    assert same.distance == 0 and other.distance > 0.5
    assert other.measures["brightness"].distance > 3 > other.measures["size"].distance == 0
    assert compare_looks(own, None).distance is None
    rows = [*(row.distance for row in other.measures.values()), other.spectrum_distance]
    assert other.distance == pytest.approx(sum(min(row, 10) for row in rows) / len(rows))
