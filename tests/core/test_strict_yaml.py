"""Strict YAML: what is read, what is refused, and where errors point."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.strict_yaml import MAX_BYTES, format_place, laid_over, load, parse

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_json_is_read_as_json(data):
    import json

    try:
        found = parse(json.dumps(data)).data
    except SpecError as error:
        assert "not valid YAML" in str(error)  # PyYAML refuses a few control characters
        return
    assert found == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("~", None),
        ("", None),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("012", 12),
        ("+7", 7),
        ("'12'", "12"),
        ("\ufeffa", "a"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    found = parse(text).data
    assert found == value
    assert type(found) is type(value)


def test_every_place_knows_its_line_and_column():
    document = parse("a: 1\nb:\n  - c: 2\n  - {d: [3,\n    4]}\n", "f.yaml")
    places = {
        (): (1, 1),
        ("a",): (1, 1),
        ("b", 0, "c"): (3, 5),
        ("b", 1, "d"): (4, 6),
        ("b", 1, "d", 1): (5, 5),
    }
    assert {place: document.lines[place] for place in places} == places
    error = document.error("wrong", ("b", 1, "d", 7, "x"), "hint")
    assert str(error) == "f.yaml:4:6: b[1].d[7].x: wrong (hint)"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("a: 1\na: 2", 2, "duplicate key 'a'"),
        ("a: !!python/name:os.system", 1, "is not allowed"),
        ("a: !x 1", 1, "is not allowed"),
        ("a: !!binary aGk=", 1, "is not allowed"),
        ("a: &a {b: 1}\nc: {<<: *a}", 2, "keys must be plain words"),
        ("? [1]\n: 2", 1, "keys must be plain words"),
        ("a: *b", 1, "undefined alias"),
        ("a: [1", 1, "not valid YAML"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: " + "1" * 400, 1, "a number of 400 digits"),
        ("[" * 100, 1, "nested deeper"),
        ("a: &a [*a]", 1, "nested deeper"),
    ],
)
def test_refusals_point_at_the_line(text, line, expected):
    with pytest.raises(SpecError) as caught:
        parse(text, "f.yaml")
    assert caught.value.line == line
    assert expected in str(caught.value)


def test_a_bomb_is_refused_before_it_expands():
    rows = ["a: &a [1,1,1,1,1,1,1,1,1]"] + [
        f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 9)}]" for k in range(7)
    ]
    with pytest.raises(SpecError, match="after aliases"):
        parse("\n".join(rows))


def test_shared_parts_are_copies():
    data = parse("a: &a {x: 1}\nb: *a").data
    data["a"]["x"] = 2
    assert data["b"]["x"] == 1


@pytest.mark.parametrize("raw", [b"\xff", "a: 1".encode("utf-16"), b"x" * (MAX_BYTES + 1), b"a: \0"])
def test_undecodable_or_oversized_bytes_are_refused(raw):
    with pytest.raises(SpecError):
        parse(raw, "f.yaml")


def test_surrogate_pairs_are_joined_and_halves_refused():
    assert parse(r'"\ud83d\ude00"').data == "\U0001f600"
    for text in (r'"\ud83d"', r'{"\ude00": 1}'):
        with pytest.raises(SpecError, match="surrogate"):
            parse(text)


def test_files_that_cannot_be_read_are_spec_errors(tmp_path):
    for path in (tmp_path, tmp_path / "missing.yaml", "/dev/zero", "/dev/null"):
        with pytest.raises(SpecError):
            load(tmp_path / path)
    (tmp_path / "good.yaml").write_text("a: ü", "utf-8")
    assert load(tmp_path / "good.yaml").data == {"a": "ü"}


def test_the_loader_agrees_with_pyyaml_on_plain_documents():
    text = "a: [1, 2.5, x, 'y z']\nb: {c: true, d: null}\ne: |\n  two\n  lines\nf: >\n  folded\n  text\n"
    assert parse(text).data == yaml.safe_load(text)


def test_places_and_suggestions_read_well():
    assert format_place(("pipeline", 2, "quality")) == "pipeline[2].quality"
    assert did_you_mean("qualty", ["quality", "size"]).startswith("did you mean 'quality'?")
    assert did_you_mean("zzz", ["quality", "size"]) == "known: quality, size"


def test_one_mapping_is_laid_over_another():
    base, above = (
        {"a": {"x": 1, "y": [1, 2]}, "b": 2, "c": {"z": 3}},
        {"a": {"y": [3]}, "b": {"w": 4}, "c": 5},
    )
    claimed = []
    both = laid_over(base, above, claimed.append)
    assert both == {"a": {"x": 1, "y": [3]}, "b": {"w": 4}, "c": 5}
    assert claimed == [("a", "y"), ("b",), ("c",)]
    both["a"]["y"].append(4)
    both["b"]["w"] = 5
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 2, "c": {"z": 3}}
    assert above == {"a": {"y": [3]}, "b": {"w": 4}, "c": 5}
