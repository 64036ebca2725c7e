"""The generator that ships, and the preset that needs it."""

import cv2
import numpy as np
import pytest

from lrfr.degrade.inspect.magnitude_sheet import direction_sheet, magnitude_sheet
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec
from lrfr.degrade.style.generator_card import PRESETS, SHIPPED
from lrfr.degrade.style.render import render_style
from lrfr.degrade.style.weight_files import load_weights
from lrfr.pairs.sources.synthetic import render_face


@pytest.fixture(scope="module")
def model():
    return load_weights("tiny")


@pytest.fixture(scope="module")
def faces():
    return [render_face(30_000 + person, 0, 0)[0] for person in range(12)]


def test_it_is_small_and_says_where_it_comes_from(model):
    assert (SHIPPED / "tiny.safetensors").stat().st_size < 480_000
    assert model.card.layout == PRESETS["tiny"]
    assert model.card.size_px == 112
    assert {"source", "target", "identity", "steps", "seed"} <= set(model.card.provenance)


def test_directions_are_orthonormal(model):
    assert model.generator.subspace.orthonormality_error() <= 1e-6


def test_the_measured_curve_rises_through_the_wanted_range(model):
    distances = np.array(model.card.curve.distances)
    assert distances[0] < 1e-4
    assert np.all(np.diff(distances) > 0)
    wanted = model.card.identity_range
    for magnitude in (1, 2, 3):
        norm = model.card.norm_for(magnitude)
        assert np.interp(norm, model.card.curve.norms, distances) == pytest.approx(
            wanted.target(magnitude), abs=0.02
        )


def test_magnitude_zero_is_the_face_itself(model, faces):
    assert np.array_equal(render_style(model.generator, faces[:1], [[0.0] * 10])[0], faces[0])


def fine_detail(images):
    """Mean logarithm of the Laplacian's energy: what blur takes away."""
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    return float(np.mean([np.log(cv2.Laplacian(image, cv2.CV_64F).var() + 1) for image in gray]))


def test_styled_faces_lose_detail_as_their_target_does(faces):
    spec = load_spec("surveillance")
    native = Pipeline(spec).run([b"%d" % index for index in range(12)], faces)
    target = fine_detail(
        [cv2.resize(item.image, (112, 112), interpolation=cv2.INTER_CUBIC) for item in native]
    )
    style = Pipeline(load_spec("catface", ["pipeline=[{op: style, id: s, magnitude: 3}]"]))
    styled = fine_detail([item.image for item in style.run([b"%d" % index for index in range(12)], faces)])
    assert abs(styled - target) < 0.6 * abs(fine_detail(faces) - target)


def test_catface_is_half_turbulence_half_style(faces):
    pipeline = Pipeline(load_spec("catface"))
    run = pipeline.run([b"%d" % index for index in range(48)], [faces[index % 12] for index in range(48)])
    ops = [item.trace.steps[0].op for item in run]
    assert set(ops) == {"turbulence", "style"}
    assert 12 <= ops.count("style") <= 36  # 24 +- 3.5 standard deviations
    assert all(item.image.shape == (112, 112, 3) for item in run)


def test_sheets_show_the_face_and_every_direction(model, faces):
    sheet = magnitude_sheet(model.generator, model.card, faces[:2], (0.0, 3.0))
    assert sheet.shape == (20 + 2 * 116, 4 + 3 * 116, 3)
    assert np.array_equal(sheet[20:132, 4:116], faces[0])
    assert np.array_equal(sheet[20:132, 120:232], faces[0])
    assert not np.array_equal(sheet[20:132, 236:348], faces[0])
    directions = direction_sheet(model.generator, model.card, faces[0], (-3.0, 0.0, 3.0))
    assert directions.shape == (20 + 10 * 116, 4 + 3 * 116, 3)
    assert all(
        np.array_equal(directions[20 + 116 * row : 132 + 116 * row, 120:232], faces[0]) for row in range(10)
    )
