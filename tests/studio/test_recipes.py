"""Edits of a recipe's text: what the data becomes, and what stays as somebody wrote it."""

import copy
import json
import random
import re

import pytest
import yaml

from lrfr.core.errors import SpecError
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.model import parse_spec
from lrfr.degrade.spec.resolve import preset_names, preset_text
from lrfr.studio.asked import Edit, Recipe, read_body
from lrfr.studio.recipes.parameters import histograms, ranges, starters, unit_of
from lrfr.studio.recipes.recipe_edits import edited, written_out
from lrfr.studio.recipes.recipe_text import RecipeReader

TEXT = """\
# a camera of ours
version: 1
name: "ours"   # in quotes
pipeline:
  # the lens
  - {op: defocus, id: f1, radius: 2.0}   # measured
  - op: sensor
    id: s1
    some_of:
      - {op: poisson_noise, photons: 200}  # daylight
      - {op: grayscale}
    n: 1
  - {op: down,   size: 20, filter: box, antialias: true}
seed: 7
"""
SIZE = Edit(do="set", place=["pipeline", 2, "size"], value={"randint": [8, 20]})


def plain(data, edit):
    """Apply an edit to plain data: the slow way to the same."""
    data = copy.deepcopy(data)

    def at(place):
        found = data
        for part in place:
            found = found[part]
        return found

    parent, last = at(edit.place[:-1]), edit.place[-1] if edit.place else None
    if edit.do == "set":
        parent[last] = edit.value
    elif edit.do == "insert":
        at(edit.place).insert(edit.index, edit.value)
    else:
        value = parent.pop(last)
        if edit.do == "move":
            at(edit.to).insert(edit.index, value)
    return data


def comments(text):
    return sorted(re.findall(r"#.*?(?=\s*$)", text, re.M))


EDITS = [
    SIZE,
    Edit(do="set", place=["pipeline", 0, "p"], value=0.25),
    Edit(do="set", place=["pipeline", 1, "some_of", 0, "photons"], value={"choice": [50, 60]}),
    Edit(do="set", place=["image"], value={"size": 96}),
    Edit(do="remove", place=["pipeline", 2, "antialias"]),
    Edit(do="insert", place=["pipeline"], index=1, value={"one_of": [{"op": "jpeg", "quality": 40}, {"op": "identity"}]}),
    Edit(do="insert", place=["pipeline", 1, "some_of"], index=2, value={"op": "webp", "quality": 9}),
    Edit(do="move", place=["pipeline", 2], to=["pipeline"], index=0),
    Edit(do="move", place=["pipeline", 0], to=["pipeline", 0, "some_of"], index=1),
    Edit(do="move", place=["pipeline", 1, "some_of", 1], to=["pipeline"], index=3),
    Edit(do="set", place=["pipeline", 2], value={"steps": [{"op": "identity"}], "repeat": 2}),
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.do} {edit.place}")
def test_an_edit_changes_the_data_as_said_and_no_comment_is_lost(edit):
    text = edited(TEXT, [edit])
    assert yaml.safe_load(text) == plain(yaml.safe_load(TEXT), edit)
    assert comments(text) == comments(TEXT)


def test_only_the_line_of_a_value_changes():
    after, before = edited(TEXT, [SIZE]).splitlines(), TEXT.splitlines()
    assert [number for number, line in enumerate(after) if line != before[number]] == [12]
    assert after[12] == "  - {op: down, size: {randint: [8, 20]}, filter: box, antialias: true}"
    assert list(yaml.safe_load(edited(TEXT, [SIZE]))) == ["version", "name", "pipeline", "seed"]


@pytest.mark.parametrize("name", preset_names())
def test_a_round_trip_moves_nothing_in_any_preset(name):
    once = edited(preset_text(name), [])
    assert once == edited(once, [])
    assert comments(once) == comments(preset_text(name))
    assert parse_spec(once).digest == parse_spec(preset_text(name)).digest


def test_many_edits_in_a_row_agree_with_plain_data():
    draw = random.Random(3)
    text = preset_text("surveillance")
    data = yaml.safe_load(text)
    for _ in range(40):
        count = len(data["pipeline"])
        place = ["pipeline", draw.randrange(count)]
        kind = draw.choice(["set", "move", "insert", "remove"] if count > 3 else ["set", "insert"])
        if kind == "set":
            edit = Edit(do="set", place=[*place, "p"], value=round(draw.random(), 3))
        elif kind == "move":
            edit = Edit(do="move", place=place, to=["pipeline"], index=draw.randrange(count))
        elif kind == "insert":
            edit = Edit(do="insert", place=["pipeline"], index=place[1], value={"op": "grayscale"})
        else:
            edit = Edit(do="remove", place=place)
        text, data = edited(text, [edit]), plain(data, edit)
        assert yaml.safe_load(text) == data


def test_a_recipe_that_extends_another_is_changed_under_set(tmp_path):
    edit = Edit(do="set", place=["pipeline", 3, "size"], value=10)
    text = "extends: sensor  # ours\n"
    opened = RecipeReader(tmp_path).open(text)
    index = next(i for i, step in enumerate(opened.resolved["pipeline"]) if step["op"] == "down")
    edit = Edit(do="set", place=["pipeline", index, "size"], value=10)
    opened = RecipeReader(tmp_path).open(text, [edit])
    assert yaml.safe_load(opened.text) == {"extends": "sensor", "set": {f"pipeline.{index}.size": 10}}
    assert opened.spec.steps[index].op.size == 10
    assert "# ours" in opened.text


@pytest.mark.parametrize("name", ["sensor", "bsrgan", "turb", "style", "webcam"])
def test_written_out_it_is_the_same_recipe(name):
    spec = parse_spec(preset_text(name))
    assert parse_spec(written_out(spec)).digest == spec.digest


def test_faults_stand_at_their_lines():
    text = "version: 1\npipeline:\n  - {op: jpg}\n  - {op: jpeg, quality: 300}\n  - {op: down, size: 0, filter: box}\n"
    faults = RecipeReader().open(text).faults
    assert [fault.line for fault in faults][:2] == [3, 4] and {fault.line for fault in faults} == {3, 4, 5}
    assert "jpeg" in faults[0].message and "[1, 100]" in faults[1].message
    assert RecipeReader().open("pipeline: [").faults[0].line >= 1


@pytest.mark.parametrize(
    "edit",
    [
        Edit(do="set", place=["pipeline", 9, "size"], value=1),
        Edit(do="set", place=["seed", "x"], value=1),
        Edit(do="remove", place=["nothing"]),
        Edit(do="move", place=["pipeline", 0]),
        Edit(do="set", place=["pipeline", "x"], value=1),
    ],
    ids=str,
)
def test_an_edit_that_leads_nowhere_is_refused(edit):
    with pytest.raises(SpecError, match=f"{edit.do}: the recipe has no place ") as fault:
        edited(TEXT, [edit])
    assert not re.search("Error|NoneType|object", str(fault.value))


def test_places_do_not_count_from_the_end():
    """-1 is the last item to Python, and nothing to whoever writes a recipe."""
    with pytest.raises(SpecError, match=r"edits\.0\.place\.1"):
        read_body(Recipe, b'{"text": "", "edits": [{"do": "remove", "place": ["pipeline", -1]}]}')


OUTSIDE = [
    {"op": "style", "weights": "/etc/passwd"},
    {"op": "style", "weights": "../secret"},
    {"op": "style", "weights": "Makefile"},
    {"op": "albumentations", "transform": "TextImage", "params": {"font_path": "/etc/passwd"}},
    {"one_of": [{"op": "style", "weights": "/etc/passwd"}]},
]


@pytest.mark.parametrize("step", OUTSIDE, ids=str)
@pytest.mark.parametrize("home", [True, False])
def test_a_recipe_of_the_page_reads_no_file_outside(step, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    opened = RecipeReader(tmp_path / "home" if home else None).open(
        json.dumps({"version": 1, "pipeline": [step]})
    )
    assert opened.spec is None and "outside" in opened.faults[0].message


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.yaml", "sub/../../secret.yaml", "~/x.yaml", "\u2025/x"]
)
def test_a_recipe_of_the_page_extends_presets_and_its_folder_only(name, tmp_path):
    (tmp_path / "secret.yaml").write_text("version: 1\npipeline: [{op: identity}]\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "base.yaml").write_text("version: 1\npipeline: [{op: grayscale}]\n")
    assert RecipeReader(home).open(json.dumps({"extends": name})).spec is None
    assert RecipeReader(home).open("extends: base.yaml").spec.steps[0].label == "grayscale"
    assert RecipeReader(home).open("extends: turb").spec.steps


@pytest.mark.parametrize("name", list(OPS))
def test_every_op_has_a_step_to_begin_with_and_units(name):
    opened = RecipeReader().open(json.dumps({"version": 1, "pipeline": [starters()[name]]}))
    assert opened.faults == () and opened.spec.steps[0].label == name
    kind = OPS[name]
    numeric = [
        key
        for key, info in kind.model_fields.items()
        if any(type(m).__name__ in {"Real", "Whole"} for m in info.metadata)
    ]
    assert [key for key in numeric if unit_of(name, key) is None] == []
    for low, high in ranges().get(name, {}).values():
        assert low < high


def test_histograms_are_of_what_is_drawn():
    spec = parse_spec(
        "{version: 1, pipeline: [{op: jpeg, quality: {randint: [10, 13]}}, {op: blur, one_of: [{op: defocus, radius: {uniform: [1, 3]}}]}, {op: down, size: {choice: [7, 14], weights: [1, 3]}, filter: box, antialias: true}]}"
    )
    found = histograms(spec.steps)
    whole = found["pipeline.0"]["quality"]
    assert (whole["low"], whole["high"], len(whole["counts"])) == (9.5, 13.5, 4)
    assert sum(whole["counts"]) == 600 and min(whole["counts"]) > 100
    flat = found["pipeline.1.one_of.0"]["radius"]["counts"]
    assert sum(flat) == 600 and max(flat) < 50
    words = found["pipeline.2"]["size"]
    assert words["words"] == ["7", "14"] and 110 < words["counts"][0] < 190
