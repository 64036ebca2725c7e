"""The spec language: what is accepted, what is refused and how it is said."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from lrfr.core.errors import SpecError
from lrfr.degrade.spec.json_schema import spec_schema
from lrfr.degrade.spec.model import load_spec, parse_spec
from lrfr.degrade.spec.resolve import ALIASES, preset_names, preset_text

DOWN = "{op: down, id: d1, size: 14, filter: bicubic, antialias: true}"
EXAMPLE = """\
version: 1
name: example
seed: 1
image: {size: 112, color: rgb, transfer: srgb}
variants: 2
pipeline:
  - op: blur
    id: b1
    p: 0.5
    one_of:
      - {op: gaussian_blur, sigma: {uniform: [0.2, 3.0]}}
      - {op: motion_blur, length: {randint: [3, 11]}, angle: {uniform: [0, 180]}}
  - op: noise
    id: n1
    p: 0.5
    one_of:
      - {op: gaussian_noise, sigma: {uniform: [1, 30]}, gray_p: 0.4}
      - {op: poisson_noise, photons: {log_uniform: [16, 128]}}
  - {op: jpeg, id: j1, p: 0.5, quality: {randint: [30, 95]}, subsampling: "420"}
  - {op: down, id: d1, size: {choice: [7, 14, 20], weights: [1, 1, 2]}, filter: bicubic, antialias: true}
store: {lr: native, up: {size: 112, filter: bicubic, antialias: true}}
"""


def fault(text, *overrides):
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "s.yaml", overrides)
    return caught.value


def test_the_resolved_spec_is_loadable_and_means_the_same():
    spec = parse_spec(EXAMPLE)
    assert parse_spec(spec.canonical()).digest == spec.digest
    assert parse_spec(yaml.safe_dump(spec.as_json())).digest == spec.digest
    assert (spec.name, spec.seed, spec.variants, spec.image.size_px, spec.store.lr, spec.store.up.filter) == (
        "example",
        1,
        2,
        112,
        "native",
        "bicubic",
    )


def test_the_digest_sees_meaning_and_not_spelling():
    base = parse_spec(EXAMPLE)
    assert (
        parse_spec(
            EXAMPLE.replace("p: 0.5", "p: 5e-1").replace("[1, 30]", "[1.0, 30]") + "# comment\n"
        ).digest
        == base.digest
    )
    for old, new in (
        ("seed: 1", "seed: 2"),
        ("gray_p: 0.4", "gray_p: 0.5"),
        ("weights: [1, 1, 2]", "weights: [1, 1, 1]"),
        ("id: j1", "id: j2"),
    ):
        changed = parse_spec(EXAMPLE.replace(old, new))
        assert changed.digest != base.digest
        assert changed.pixel_digest != base.pixel_digest
    for old, new in (
        ("variants: 2", "variants: 3"),
        ("lr: native", "lr: upsampled"),
    ):
        changed = parse_spec(EXAMPLE.replace(old, new))
        assert changed.digest != base.digest
        assert changed.pixel_digest == base.pixel_digest


def test_canonical_json_is_sorted_loadable_and_writes_defaults_out():
    text = parse_spec(f"version: 1\npipeline: [{DOWN}, {{op: jpeg, quality: 50}}]").canonical()
    data = json.loads(text)
    assert text == json.dumps(data, sort_keys=True, separators=(",", ":"))
    assert data["pipeline"][1] == {"op": "jpeg", "p": 1.0, "times": 1, "subsampling": "420", "quality": 50}
    assert data["pipeline"][0]["transfer"] == "srgb"


@pytest.mark.parametrize("terms", ["CC BY-NC 4.0", {"lfw": "research only", "synthetic": "none"}])
def test_the_license_is_carried_and_changes_no_digest(terms):
    base = parse_spec(EXAMPLE)
    spec = parse_spec(f"{EXAMPLE}license: {json.dumps(terms)}\n")
    assert base.license is None
    assert (
        spec.license
        == terms
        == spec.with_(seed=spec.seed).license
        == parse_spec(yaml.safe_dump(spec.as_json())).license
    )
    assert (spec.digest, spec.pixel_digest) == (base.digest, base.pixel_digest)
    assert jsonschema.Draft202012Validator(spec_schema()).is_valid(spec.as_json())


def test_image_transfer_is_the_default_of_resizes():
    spec = parse_spec(
        f"version: 1\nimage: {{transfer: linear}}\npipeline: [{DOWN}, {DOWN.replace('d1', 'd2')[:-1]}, transfer: srgb}}]"
    )
    assert [step.op.transfer for step in spec.steps] == ["linear", "srgb"]


@pytest.mark.parametrize(
    ("text", "line", "place", "expected"),
    [
        ("version: 1\npipeline:\n  - {op: down, size: 14, filter: bicubic}", 3, "pipeline[0].antialias", "no default on purpose"),
        ("version: 1\npipeline:\n  - {op: jpg, quality: 3}", 3, "pipeline[0].op", "did you mean 'jpeg'"),
        ("version: 1\npipeline:\n  - {op: jpeg, qualty: 3}", 3, "pipeline[0].qualty", "did you mean 'quality'"),
        ("version: 1\npipeline:\n  - {op: jpeg, quality: 300}", 3, "pipeline[0].quality", "in [1, 100], got 300"),
        ("version: 1\npipeline:\n  - op: jpeg\n    quality: {uniform: [1, 2]}", 4, "pipeline[0].quality", "randint or choice"),
        ("version: 1\npipeline:\n  - {op: down, size: {choice: [7, 14], weights: [1]}, filter: box, antialias: true}", 3, "pipeline[0].size", "expected 2 weights"),
        ("version: 1\npipeline:\n  - {op: down, size: 7, ratio: 0.5, filter: box, antialias: true}", 3, "pipeline[0]", "exactly one of size"),
        ("version: 1\npipeline:\n  - {op: gaussian_blur}", 3, "pipeline[0]", "either sigma, or both"),
        ("version: 1\npipeline:\n  - {one_of: [{op: identity}], weights: [1, 2]}", 3, "pipeline[0].weights", "expected 1 weights"),
        ("version: 1\npipeline:\n  - {one_of: [{op: identity}], shuffle: [{op: identity}]}", 3, "pipeline[0]", "in one step"),
        ("version: 1\npipeline:\n  - {one_of: [{op: identity}], weigths: [1]}", 3, "pipeline[0].weigths", "did you mean 'weights'"),
        ("version: 1\npipeline:\n  - {some_of: [{op: identity}], n: 2}", 3, "pipeline[0].n", "in [0, 1], got 2"),
        ("version: 1\npipeline:\n  - {shuffle: [{op: identity, id: a}], in_order: [a, b]}", 3, "pipeline[0].in_order", "'b'"),
        ("version: 1\npipeline:\n  - {steps: [{op: identity}], repeat: 99}", 3, "pipeline[0].repeat", "in [1, 16]"),
        ("version: 1\npipeline:\n  - {op: identity, p: 1.5}", 3, "pipeline[0].p", "in [0, 1]"),
        ("version: 1\npipeline:\n  - {op: identity, p: {uniform: [0, 1]}}", 3, "pipeline[0].p", "plain probability"),
        ("version: 1\npipeline:\n  - {op: identity, id: a/b}", 3, "pipeline[0].id", "letters, digits"),
        ("version: 1\npipeline:\n  - {op: identity, id: a}\n  - {op: identity, id: a}", 4, "pipeline[1].id", "used twice"),
        ("version: 1\npipeline:\n  - {op: identity, severity: 0.5}", 3, "pipeline[0]", "no severity range"),
        ("version: 1\npipeline:\n  - {op: jpeg, severity: 0.5, quality: 4}", 3, "pipeline[0]", "severity already sets 'quality'"),
        ("version: 1\npipeline:\n  - {}", 3, "pipeline[0]", "needs 'op' or a container"),
        ("version: 1\npipeline:\n  - jpeg", 3, "pipeline[0]", "expected a step"),
        ("version: 1\npipeline: jpeg", 2, "pipeline", "a list of steps"),
        ("version: 2\npipeline: [{op: identity}]", 1, "version", "got 2"),
        ("pipeline: [{op: identity}]", 1, "version", "needs 'version'"),
        ("version: 1", 1, None, "needs 'pipeline'"),
        ("version: 1\nsead: 3\npipeline: [{op: identity}]", 2, "sead", "did you mean 'seed'"),
        ("version: 1\nseed: -1\npipeline: [{op: identity}]", 2, "seed", "greater than or equal to 0"),
        ("version: 1\nimage: {size: 2}\npipeline: [{op: identity}]", 2, "image.size", "4"),
        ("version: 1\nimage: 112\npipeline: [{op: identity}]", 2, "image", "expected a mapping"),
        ("version: 1\nstore: {up: {size: 112, filter: cubic, antialias: true}}\npipeline: [{op: identity}]", 2, "store.up", "called 'bicubic'"),
        ("version: 1\nstore: {up: {size: 112, filter: cubic}}\npipeline: [{op: identity}]", 2, "store.up.antialias", "no default on purpose"),
        ("version: 1\nlicense: 3\npipeline: [{op: identity}]", 2, "license", "one line of text"),
        ("version: 1\nlicense: {}\npipeline: [{op: identity}]", 2, "license", "one line of text"),
        ('version: 1\nlicense: {lfw: "two\\nlines"}\npipeline: [{op: identity}]', 2, "license", "one line of text"),
        ("extends: fksd", 1, "extends", "did you mean 'fskd'"),
        ("extends: [a]", 1, "extends", "name of a preset"),
        ("- 1", 1, None, "expected a mapping"),
    ],
)  # fmt: skip
def test_errors_carry_file_line_place_and_hint(text, line, place, expected):
    error = fault(text)
    assert error.file == "s.yaml"
    assert error.line == line
    assert error.path == place
    assert expected in str(error)


def test_every_fault_is_reported_at_once_each_with_its_place():
    error = fault(
        "version: 1\nsead: 1\npipeline:\n  - {op: jpg}\n  - {op: jpeg, quality: 0}\n  - {op: down, size: 3}"
    )
    for part in ("s.yaml:2:1: sead", "s.yaml:4:6: pipeline[0].op", "s.yaml:5:", "s.yaml:6:"):
        assert part in str(error)


def test_extends_replaces_the_pipeline_merges_mappings_and_applies_set(tmp_path):
    (tmp_path / "base.yaml").write_text(EXAMPLE)
    (tmp_path / "mine.yaml").write_text(
        "extends: base.yaml\nname: mine\nimage: {transfer: linear}\n"
        "set:\n  pipeline.j1.quality: 40\n  pipeline.b1.one_of.gaussian_blur.sigma: 2\n"
    )
    spec = load_spec(tmp_path / "mine.yaml").as_json()
    assert spec["image"] == {"size": 112, "color": "rgb", "transfer": "linear"}
    assert spec["pipeline"][2]["quality"] == 40
    assert spec["pipeline"][0]["one_of"][0]["sigma"] == 2
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\npipeline: [{op: identity}]\n")
    other = load_spec(tmp_path / "other.yaml").as_json()
    assert [step["op"] for step in other["pipeline"]] == ["identity"]
    assert other["image"]["transfer"] == "linear"
    assert other["name"] == "mine"


def test_an_error_points_into_the_file_that_holds_it(tmp_path):
    (tmp_path / "base.yaml").write_text(EXAMPLE.replace("quality: {randint: [30, 95]}", "quality: 101"))
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\n\nset: {pipeline.b1.p: 2}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "mine.yaml", ["pipeline.n1.p=-1"])
    assert "mine.yaml:3:7: pipeline[0].p" in str(caught.value)
    assert "--set pipeline.n1.p:1:1: pipeline[1].p" in str(caught.value)
    assert "base.yaml:19:" in str(caught.value)


def test_a_file_that_extends_itself_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(SpecError, match="deeper than"):
        load_spec(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("pipeline.j1.quality=50", ("pipeline", 2, "quality"), 50),
        ("pipeline.2.quality={randint: [10, 20]}", ("pipeline", 2, "quality"), {"randint": [10, 20]}),
        ("pipeline.jpeg.subsampling=444", ("pipeline", 2, "subsampling"), "444"),
        ("pipeline.n1.one_of.poisson_noise.photons=64", ("pipeline", 1, "one_of", 1, "photons"), 64.0),
        ("seed=77", ("seed",), 77),
        ("store.up.filter=lanczos", ("store", "up", "filter"), "lanczos"),
    ],
)
def test_overrides_reach_their_place(override, place, value):
    data = parse_spec(EXAMPLE, overrides=[override]).as_json()
    for part in place:
        data = data[part]
    assert data == value


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pipeline.j2.quality=5", "there is no step 'j2'"),
        ("pipeline.j1.quality", "expected place=value"),
        ("=3", "expected place=value"),
        ("seed.x=3", "plain value at 'x'"),
        ("pipeline.j1.quality=[", "not valid YAML"),
        ("pipeline.99.p=1", "there is no step '99'"),
    ],
)
def test_wrong_overrides_are_explained(override, expected):
    error = fault(EXAMPLE, override)
    assert expected in str(error)
    assert error.file.startswith("--set")


def test_a_missing_file_falls_back_to_the_preset_and_a_present_one_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_spec("fskd.yaml").digest == load_spec("fskd-paper").digest == load_spec("fskd").digest
    (tmp_path / "fskd.yaml").write_text("version: 1\npipeline: [{op: identity}]")
    assert load_spec("fskd.yaml").name == "fskd"
    assert load_spec("fskd.yaml").digest != load_spec("fskd").digest


@pytest.mark.parametrize(
    "name",
    [
        "nowhere.yaml",
        "no/such/file.yaml",
        "x" * 5000,
        "a\0b",
        "",
        ".",
        "/dev/zero",
        "/etc",
        {"version": 1},
        None,
    ],
)
def test_unusable_sources_are_one_spec_error(name):
    with pytest.raises(SpecError):
        load_spec(name)


def test_the_schema_is_valid_and_agrees_with_the_validator():
    schema = spec_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in preset_names():
        validator.validate(yaml.safe_load(preset_text(name)))
    for text in (
        f"version: 1\npipeline: [{DOWN[:-1]}, x: 1}}]",
        "version: 1\npipeline: [{op: jpeg, quality: 300}]",
        "version: 1\npipeline: [{op: nope}]",
        "version: 1\nsead: 2\npipeline: [{op: identity}]",
        "version: 1\npipeline: [{op: down, size: 7, filter: bicubic}]",
    ):
        assert not validator.is_valid(yaml.safe_load(text)), text
        fault(text)


def test_short_names_lead_to_presets():
    assert set(ALIASES.values()) <= set(preset_names())
    for name in ("fskd", "maug"):
        assert ALIASES[name] == f"{name}-paper"
