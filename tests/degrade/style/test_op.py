"""The op ``style``: draws, batching, threads, replay, specs."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lrfr.core.errors import DataError, SpecError
from lrfr.core.streams import stream
from lrfr.degrade.ops.style import Style
from lrfr.degrade.pipeline import Pipeline, Trace, replay
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import PRESETS, Card
from lrfr.degrade.style.magnitude import IdentityCurve, IdentityRange
from lrfr.degrade.style.render import render_style
from lrfr.degrade.style.weight_files import load_weights, save_weights
from lrfr.degrade.values.distributions import Draw
from lrfr.pairs.sources.synthetic import render_face

HEAD = "version: 1\nname: t\nseed: 5\nimage: {size: 112}\n"
TAIL = "store: {lr: native, up: {size: 112, filter: bicubic, antialias: true}}\n"


def spec_of(step):
    return parse_spec(f"{HEAD}pipeline:\n  - {step}\n{TAIL}")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    torch.manual_seed(4)
    save_weights(
        path,
        StyleGenerator(PRESETS["tiny"]),
        Card(PRESETS["tiny"], 112, IdentityRange(), IdentityCurve((0.0, 3.0, 6.0), (0.0, 0.5, 0.7))),
    )
    return str(path)


@pytest.fixture(scope="module")
def faces():
    return [render_face(person, 0, 1)[0] for person in range(9)]


def draws(fields, count=400, seed=1):
    op = Style.model_validate(fields)
    return [op.sample(Draw(stream(seed, b"%d" % key, 0, "style#0"))) for key in range(count)]


def test_same_bytes_for_every_batch_and_order(faces):
    pipeline = Pipeline(load_spec("catface", ["pipeline=[{op: style, id: s}]"]))
    many = [faces[index % 9] for index in range(16)]
    keys = [b"%d" % index for index in range(16)]
    whole = pipeline.run(keys, many)
    alone = [pipeline.run([key], [face])[0] for key, face in zip(keys, many, strict=True)]
    sevens = (
        pipeline.run(keys[:7], many[:7])
        + pipeline.run(keys[7:14], many[7:14])
        + pipeline.run(keys[14:], many[14:])
    )
    backwards = pipeline.run(keys[::-1], many[::-1])[::-1]
    for other in (alone, sevens, backwards):
        assert all(
            np.array_equal(a.image, b.image) and a.trace == b.trace for a, b in zip(whole, other, strict=True)
        )
    assert len({item.image.tobytes() for item in whole}) == 16


def test_threads_and_random_state_of_the_process_do_not_matter(weights, faces):
    code = """
import hashlib, sys, torch
torch.set_num_threads(2); torch.manual_seed(int(sys.argv[2]))
from lrfr.degrade.style.render import render_style
from lrfr.degrade.style.weight_files import load_weights
from lrfr.pairs.sources.synthetic import render_face
image = render_style(load_weights(sys.argv[1]).generator, [render_face(3, 0, 1)[0]], [[1.0] * 10])[0]
assert torch.get_num_threads() == 2
print(hashlib.sha256(image.tobytes()).hexdigest())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    other = subprocess.run(
        [sys.executable, "-c", code, weights, "7"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    import hashlib

    here = render_style(load_weights(weights).generator, [faces[3]], [[1.0] * 10])[0]
    assert other.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_default_magnitude_is_chi_of_ten_and_directions_cover_the_sphere(weights):
    drawn = draws({"weights": weights}, 3000)
    magnitude = np.array([params["magnitude"] for params in drawn])
    unit = np.array([params["direction"] for params in drawn])
    assert magnitude.mean() == pytest.approx(3.084, abs=0.06)
    assert np.quantile(magnitude, [0.05, 0.95]) == pytest.approx([1.985, 4.279], abs=0.1)
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(3000))
    # isotropy: mean 0 and covariance I / 10, four standard errors
    assert np.abs(unit.mean(0)).max() < 4 * np.sqrt(0.1 / 3000)
    assert np.abs(unit.T @ unit / 3000 - np.eye(10) / 10).max() < 0.012
    assert abs(np.corrcoef(magnitude, unit[:, 0])[0, 1]) < 4 / np.sqrt(3000)


def test_another_magnitude_law_moves_no_direction(weights):
    first = draws({"weights": weights}, 20)
    second = draws({"weights": weights, "magnitude": {"uniform": [1, 4]}}, 20)
    third = draws({"weights": weights, "severity": 0.5}, 20)
    assert [params["direction"] for params in first] == [params["direction"] for params in second]
    assert [params["direction"] for params in first] == [params["direction"] for params in third]
    assert all(1 <= params["magnitude"] < 4 for params in second)
    assert {params["magnitude"] for params in third} == {3.25}


@pytest.mark.parametrize("text", ["3", "basis 3", "'3'"])
def test_a_basis_direction_is_one_hot(text, weights):
    spec = spec_of(f"{{op: style, id: s, weights: '{weights}', direction: {text}, magnitude: 2}}")
    (params,) = [spec.steps[0].op.sample(Draw(stream(0, b"", 0, "s")))]
    assert params["direction"] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert params["magnitude"] == 2.0


def test_magnitude_zero_gives_the_face_back_and_more_changes_it_more(weights, faces):
    pixels = []
    for magnitude in (0, 1, 2, 4, 6):
        pipeline = Pipeline(spec_of(f"{{op: style, id: s, weights: '{weights}', magnitude: {magnitude}}}"))
        pixels.append(pipeline.run([b"k"], faces[:1])[0].image.astype(int))
    changes = [np.abs(image - faces[0]).mean() for image in pixels]
    assert changes[0] == 0
    assert changes == sorted(changes)
    assert changes[-1] > 1


def test_calibration_turns_magnitudes_into_norms(weights, faces):
    # the curve reaches C(2) = 0.25 at norm 1.5
    pair = []
    for fields in ("magnitude: 2", "magnitude: 1.5, calibrated: false"):
        pair.append(
            Pipeline(spec_of(f"{{op: style, id: s, weights: '{weights}', direction: 0, {fields}}}"))
            .run([b"k"], faces[:1])[0]
            .image
        )
    assert np.abs(pair[0].astype(int) - pair[1]).max() <= 1


def test_any_size_comes_back_at_its_size(weights):
    model = load_weights(weights).generator
    rng = np.random.default_rng(0)
    for shape in ((7, 9), (1, 1), (30, 113), (112, 112)):
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        assert render_style(model, [image], [[1.0] * 10])[0].shape == image.shape


def test_a_trace_repeats_the_pixels(weights, faces):
    degraded = Pipeline(spec_of(f"{{op: style, id: s, weights: '{weights}'}}")).run([b"face"], faces[:1])[0]
    trace = Trace.read(json.loads(json.dumps(degraded.trace.as_json())))
    assert trace.steps[0].params["sha256"] == load_weights(weights).digest
    spec = spec_of(f"{{op: style, id: s, weights: '{weights}'}}")
    assert np.array_equal(replay(trace, faces[0], spec), degraded.image)
    with pytest.raises(DataError, match="needs the style weights with sha256"):
        replay(trace, faces[0])


def test_a_trace_does_not_say_where_weights_lie(weights, faces, tmp_path):
    other = tmp_path / "elsewhere.safetensors"
    other.write_bytes(Path(weights).read_bytes())
    lines = []
    for path in (weights, other):
        pipeline = Pipeline(spec_of(f"{{op: style, id: s, weights: '{path}'}}"))
        lines.append(json.dumps(pipeline.run([b"face"], faces[:1])[0].trace.as_json()))
    assert lines[0] == lines[1] and str(tmp_path) not in lines[1]
    shipped = Pipeline(spec_of("{op: style, id: s}")).run([b"face"], faces[:1])[0]
    assert shipped.trace.steps[0].params["weights"] == "tiny"
    assert np.array_equal(replay(shipped.trace, faces[0]), shipped.image)


def test_the_digest_of_a_spec_names_the_weights(weights, tmp_path):
    first = spec_of(f"{{op: style, id: s, weights: '{weights}'}}")
    again = parse_spec(first.canonical())
    assert again.digest == first.digest
    torch.manual_seed(5)
    save_weights(
        tmp_path / "w.safetensors",
        StyleGenerator(PRESETS["tiny"]),
        Card(PRESETS["tiny"], 112, IdentityRange()),
    )
    text = first.canonical().replace(weights, str(tmp_path / "w.safetensors"))
    with pytest.raises(SpecError, match="not the one stated"):
        parse_spec(text)
    other = spec_of(f"{{op: style, id: s, weights: '{tmp_path / 'w.safetensors'}'}}")
    assert other.digest != first.digest


def test_an_op_survives_the_way_to_a_worker(weights):
    op = Style.model_validate({"weights": weights})
    copy = pickle.loads(pickle.dumps(op))
    assert copy.sample(Draw(stream(0, b"a", 0, "s"))) == op.sample(Draw(stream(0, b"a", 0, "s")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("weights: tinny", "did you mean 'tiny'"),
        ("direction: 10", "direction 10 of 10"),
        ("direction: {randint: [3, 12]}", "direction 12 of 10"),
        ("direction: left", "expected a whole number, got 'left'"),
        ("magnitude: 7", r"expected a value in \[-6, 6\], got 7"),
        ("calibrated: 'yes'", "valid boolean"),
        ("weights: 3", "valid string"),
        ("magnitud: 3", "did you mean 'magnitude'"),
    ],
)
def test_mistakes_are_located_and_explained(fields, message):
    with pytest.raises(SpecError, match=message) as caught:
        spec_of(f"{{op: style, id: s, {fields}}}")
    assert caught.value.line == 6
