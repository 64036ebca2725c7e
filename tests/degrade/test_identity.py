"""What decides pixels is in a spec's digests, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import yaml

from lrfr.degrade.ops.base import Op, Span
from lrfr.degrade.ops.codec import Jpeg
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec import model
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.degrade.spec.resolve import preset_names
from lrfr.degrade.style.generator_card import find_weights
from lrfr.degrade.values.distributions import Value
from lrfr.degrade.values.params import Real
from tests.degrade.golden import ENGINE_STEPS, NATIVE_STEPS, STEPS
from tests.degrade.samples import face
from tests.degrade.test_spec import EXAMPLE

ALL_STEPS = {**STEPS, **NATIVE_STEPS}
BASE = EXAMPLE.replace("variants: 2", "variants: 2\nlicense: research only")


def digests(text):
    spec = parse_spec(text)
    return spec.digest, spec.pixel_digest


def one_op(name, parameters=None):
    parameters = ALL_STEPS[name] if parameters is None else parameters
    return parse_spec(f"version: 1\npipeline:\n  - {{op: {name}{', ' if parameters else ''}{parameters}}}\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: example", "name: other"),
        ("research only", "anything"),
        ("version: 1\nname: example", "name: example\nversion: 1"),
        ("p: 0.5", "p: 5e-1"),
        ("seed: 1\n", "# the default\n"),
        ("image: {size: 112, color: rgb, transfer: srgb}\n", ""),
        (', subsampling: "420"', ""),
        ("quality: {randint: [30, 95]}", "times: 1, quality: {randint: [30, 95]}"),
        ("antialias: true}\nstore", "antialias: true, p: 1}\nstore"),
        ("      - {op: motion", "      - {p: 1.0, op: motion"),
        ("id: n1\n", "id: n1\n    weights: [1, 1]\n"),
        ("store: {lr: native, up: {size: 112, filter: bicubic, antialias: true}}\n", ""),
    ],
)
def test_names_spelling_and_written_defaults_move_no_digest(old, new):
    assert old in BASE
    assert digests(BASE.replace(old, new)) == digests(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 1", "seed: 2"),
        ("size: 112, color", "size: 96, color"),
        ("transfer: srgb", "transfer: linear"),
        ("gray_p: 0.4", "gray_p: 0.5"),
        ("weights: [1, 1, 2]", "weights: [1, 1, 1]"),
        ("id: j1", "id: j2"),
        ("p: 0.5, quality", "p: 0.4, quality"),
        ("id: n1\n", "id: n1\n    weights: [1, 2]\n"),
        ("filter: bicubic, antialias: true}\nstore", "filter: lanczos, antialias: true}\nstore"),
    ],
)
def test_what_decides_pixels_moves_both_digests(old, new):
    before, after = digests(BASE), digests(BASE.replace(old, new))
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [("variants: 2", "variants: 3"), ("lr: native", "lr: upsampled"), ("up: {size: 112", "up: {size: 128")],
)
def test_count_and_form_are_in_the_digest_and_not_in_that_of_the_pixels(old, new):
    before, after = digests(BASE), digests(BASE.replace(old, new))
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_transfer_said_once_or_in_each_resize_is_one_spec():
    step = "{op: down, size: 14, filter: bicubic, antialias: true"
    once = f"version: 1\nimage: {{transfer: linear}}\npipeline: [{step}}}]"
    each = f"version: 1\npipeline: [{step}, transfer: linear}}]"
    assert digests(once) == digests(each)


@pytest.mark.parametrize("name", [*ALL_STEPS, *preset_names()])
def test_the_resolved_spec_has_the_digests_of_the_terse_one(name):
    spec = one_op(name) if name in ALL_STEPS else load_spec(name)
    for text in (spec.canonical(), yaml.safe_dump(spec.as_json())):
        again = parse_spec(text)
        assert (again.digest, again.pixel_digest) == (spec.digest, spec.pixel_digest)


# another value of each parameter, where 0.3 is not one
OTHERS = {
    **{"filter": "nearest", "transfer": "linear", "size": 5, "family": "iso", "length": 3, "photons": 77},
    **{
        "electrons": 3,
        "full_well": 500,
        "quality": 33,
        "first": 33,
        "shift_x": 3,
        "shift_y": 3,
        "times": 3,
        "subsampling": "444",
        "fill": 9,
    },
    **{"direction": 3, "mode": "exact", "calibration": "p2s2021", "optics": "none", "pixel_m": 0.00201},
    **{"range_m": 801.0, "wavelength_nm": 501.0, "aperture_m": 0.101, "exposure": 0.31},
    **{"transform": "ISONoise", "params": {}, "border": "reflect"},
}


@pytest.mark.parametrize("name", sorted(ALL_STEPS.keys() - {"grayscale", "identity"}))
def test_every_parameter_of_every_op_moves_the_digest(name):
    spec = one_op(name)
    step = spec.as_json()["pipeline"][0]
    parameters = step.keys() - {"op", "p", "sha256", "weights", "antialias"}
    assert parameters
    for key in parameters:
        other = OTHERS.get(key, (not step[key]) if isinstance(step[key], bool) else 0.3)
        if name == "misalign" and key.startswith("shift"):
            other = 0.3  # a share of the side there, pixels elsewhere
        if key == "filter" and step["antialias"]:
            other = "hamming"
        changed = json.dumps({**step, key: other})
        assert parse_spec(f"version: 1\npipeline: [{changed}]").pixel_digest != spec.pixel_digest, key


@pytest.mark.parametrize("name", ALL_STEPS)
def test_the_revision_of_an_op_moves_the_digest_wherever_the_op_stands(name, monkeypatch):
    nested = f"version: 1\npipeline: [{{one_of: [{{steps: [{{op: {name}, {ALL_STEPS[name]}}}]}}]}}]"
    other = "version: 1\npipeline: [{op: identity}]"
    if name == "identity":
        other = "version: 1\npipeline: [{op: grayscale}]"
    before = one_op(name).pixel_digest, digests(nested), digests(other)
    monkeypatch.setattr(OPS[name], "revision", 2)
    after = one_op(name).pixel_digest, digests(nested), digests(other)
    assert before[0] != after[0]
    assert not set(before[1]) & set(after[1])
    assert before[2] == after[2]


def test_the_revision_of_the_engine_moves_every_digest(monkeypatch):
    before = digests(BASE)
    monkeypatch.setattr(model, "REVISION", 2)
    assert not set(before) & set(digests(BASE))


class SharperJpeg(Jpeg):
    """Jpeg as a later version may have it."""

    sharpen: Annotated[Value, Real(0, 1)] = 0.0
    notes: tuple[str, ...] = ()


def test_a_new_parameter_at_its_default_moves_neither_digests_nor_pixels(monkeypatch):
    image = face()

    def look(text):
        spec = parse_spec(text)
        return spec.digest, spec.pixel_digest, Pipeline(spec).run([b"k"], [image])[0].image.tobytes()

    before = look(BASE)
    monkeypatch.setitem(OPS._entries, "jpeg", SharperJpeg)
    assert look(BASE) == before
    assert parse_spec(BASE).as_json()["pipeline"][2]["sharpen"] == 0.0
    used = BASE.replace('subsampling: "420"', 'subsampling: "420", sharpen: 0.5')
    assert not set(digests(used)) & set(before[:2])


class Plugged(Op):
    """An op of somebody else's."""

    revision: ClassVar[int] = 7
    severity_range: ClassVar[dict[str, Span]] = {"factor": Span(1.0, 0.1)}
    factor: Annotated[Value, Real(0, 1)] = 1.0

    @classmethod
    def apply(cls, images, params, streams):
        return list(images)


def test_costs_are_in_no_digest_and_plugged_ops_have_revisions_too(monkeypatch):
    monkeypatch.setitem(OPS._entries, "plugged", Plugged)
    spec = one_op("plugged", "")
    assert spec.identity()["pipeline"] == [{"op": "plugged", "revision": 7}]
    before = spec.digest
    monkeypatch.setattr(Plugged, "cost_ms", 99.0)
    monkeypatch.setattr(Plugged, "iso", "something")
    assert one_op("plugged", "").digest == before
    severe = one_op("plugged", "severity: 0.5")
    assert severe.identity()["pipeline"] == [{"op": "plugged", "severity": 0.5, "revision": 7}]


def test_weights_are_named_by_their_digest_and_not_by_where_they_lie(tmp_path):
    copy = Path(shutil.copy(find_weights("tiny"), tmp_path / "mine.safetensors"))
    here, there = one_op("style", ""), one_op("style", f"weights: '{copy}'")
    assert (here.digest, here.pixel_digest) == (there.digest, there.pixel_digest)
    assert len(here.identity()["pipeline"][0]["sha256"]) == 64
    assert there.as_json()["pipeline"][0]["weights"] == str(copy)


def test_identities_hold_only_what_differs_from_defaults():
    assert one_op("jpeg", "quality: 50").identity() == {
        "version": 1,
        "revision": 1,
        "pipeline": [{"op": "jpeg", "quality": 50, "revision": 1}],
    }
    steps = parse_spec(f"version: 1\npipeline:\n{ENGINE_STEPS}").identity()["pipeline"]
    assert [sorted(step) for step in steps] == [
        ["id", "one_of", "p", "weights"],
        ["n", "some_of"],
        ["in_order", "shuffle"],
        ["repeat", "steps"],
    ]


def test_the_trace_names_the_pixels_whatever_the_count_and_form():
    one, other = parse_spec(BASE), parse_spec(BASE.replace("variants: 2", "variants: 9"))
    traces = [Pipeline(spec).run([b"k"], [face()])[0].trace for spec in (one, other)]
    assert traces[0] == traces[1]
    assert traces[0].spec == one.pixel_digest
