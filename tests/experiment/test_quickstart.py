"""From photographs to a report: what they are is seen, what is small is said, and the way goes on where it was left."""

import json
import re
import shlex

import numpy as np
import pytest

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import canonical, temp_name
from lrfr.core.image import encode_png
from lrfr.core.lists import is_held_out
from lrfr.core.progress import Hooks, Stopped
from lrfr.experiment.first_hour import first_plan
from lrfr.experiment.first_hour.first_plan import sides_of
from lrfr.experiment.first_hour.pace import length_of
from lrfr.experiment.first_hour.photo_look import absolute, look_at
from lrfr.experiment.first_hour.quickstart import ASKED, Asked, _begun, quickstart
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.build.make import ViewOptions, make_pairs
from lrfr.pairs.sources.synthetic import render_face
from lrfr.pairs.sources.synthetic_photos import photograph
from lrfr.train.parents import train_model
from lrfr.train.recipe import load_recipe
from tests.experiment.in_process import PACE, detector, in_process

__all__ = ["detector", "in_process"]


@pytest.fixture(autouse=True)
def paced(monkeypatch):
    monkeypatch.setattr(first_plan, "pace_of", PACE)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


def crops(folder, people=10, each=4, name="{who}/{number}.png"):
    for person in range(people):
        for number in range(each):
            image = render_face(person, number, 3)[0]
            write(folder / name.format(who=f"p{person:02d}", number=number), image)
    return folder


def photos(folder, people=6, each=2):
    for person in range(people):
        for number in range(each):
            write(folder / f"p{person}" / f"{number}.png", photograph(person, number, 0)[0])
    return folder


def test_aligned_crops_are_seen_by_their_pixels_and_photographs_too(tmp_path):
    aligned, _ = look_at(str(crops(tmp_path / "crops")))
    raw, _ = look_at(str(photos(tmp_path / "photos")))
    assert aligned.aligned and not raw.aligned
    assert aligned.crops_source("aligned") == str(tmp_path / "crops")
    assert raw.crops_source("aligned") == "aligned"
    assert look_at(str(tmp_path / "photos"), aligned=True)[0].aligned


def test_a_loose_folder_of_square_photographs_is_no_folder_of_crops(tmp_path):
    for person in range(10):
        wide = np.full((180, 180, 3), 90, np.uint8)
        wide[5:117, 60:172] = render_face(person, 0, 3)[0]
        write(tmp_path / f"p{person}/0.png", wide)
    assert not look_at(str(tmp_path))[0].aligned


@pytest.mark.parametrize(
    "name", ["{who}_{number}.png", "{who}-000{number}.png", "{who} ({number}).png", "{who}{number}.png"]
)
def test_names_of_files_tell_who_is_who(tmp_path, name):
    folder = tmp_path / "flat"
    for who in ("ann", "Ben Oe", "c"):
        for number in (1, 2):
            write(folder / name.format(who=who, number=number), render_face(number, 0, 3)[0])
    write(folder / name.format(who="p07_x2", number=3), render_face(1, 0, 3)[0])
    look, _ = look_at(str(folder), aligned=False)
    people = dict(look.people)
    assert people.pop("p07_x" if "{who}{number}" in name else "p07_x2") == 1
    assert people == {"ann": 2, "Ben Oe": 2, "c": 2}
    assert look.form == "names of files"
    lines = look.people_table().splitlines()
    assert lines[0] == "path\tidentity" and lines[1].endswith(("\tann", "\tBen Oe", "\tc"))


def test_a_list_in_a_flat_folder_tells_who_is_who(tmp_path):
    folder = crops(tmp_path / "flat", 3, 2, "{who}x{number}y.png")
    rows = [f"p{person:02d}x{number}y.png,name {person}" for person in range(3) for number in range(2)]
    (folder / "who.csv").write_text("\n".join(["path,identity", *rows]))
    look, _ = look_at(str(folder), aligned=False)
    assert look.people == {"name 0": 2, "name 1": 2, "name 2": 2} and "who.csv" in look.form
    assert look.crops_source("aligned") == "csv:people.tsv,root=aligned"


def test_one_folder_around_all_is_looked_through(tmp_path):
    crops(tmp_path / "lfw/lfw-deepfunneled", 4, 2)
    look, _ = look_at(str(tmp_path / "lfw"))
    assert set(look.people) == {"p00", "p01", "p02", "p03"} and "below it" in look.notes[0]


def test_a_source_gets_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("path,identity\n")
    assert absolute("csv:a.csv,root=img") == f"csv:{tmp_path}/a.csv,root={tmp_path}/img"
    assert absolute("a.csv") == f"{tmp_path}/a.csv"
    assert absolute("synthetic:ids=3,per_id=2") == "synthetic:ids=3,per_id=2"


def test_the_hold_out_leaves_people_on_both_sides(tmp_path):
    look, _ = look_at(str(crops(tmp_path / "c", 10, 2)))
    sides = sides_of(look)
    assert set(sides.held) == {name for name in look.people if is_held_out(name, sides.share)}
    assert len(sides.held) >= 4 and len(sides.learn) >= 2 and not sides.held.keys() & sides.learn.keys()
    few, _ = look_at(str(crops(tmp_path / "few", 3, 4)))
    with pytest.raises(DataError, match="3 people, 3 of them") as caught:
        sides_of(few)
    assert "lrfr quickstart synthetic:" in str(caught.value)


def test_a_training_fits_into_its_time_but_never_below_a_few_steps():
    assert length_of(1000, 100.0, 0.01, 40).steps == 156  # 100 s / (64 * 0.01 s)
    assert length_of(1000, 1e6, 0.01, 40).steps == 40 * 1000 // 64
    assert length_of(10, 0.0, 0.01, 40).steps == 20 and length_of(10, 0.0, 0.01, 40).batch_size == 4


def test_everything_small_is_said_before_anything_runs(tmp_path):
    first = quickstart(crops(tmp_path / "c", 10, 2), tmp_path / "out", minutes=1)
    told = " ".join(first.plan.remarks)
    assert (
        "few people to measure on" in told and "few people to learn from" in told and "impostor pairs" in told
    )
    assert not (tmp_path / "out").exists()


def test_stopped_anywhere_it_goes_on_and_ends_in_a_report(tmp_path, in_process, lrfr):
    folder = crops(tmp_path / "mine", 10, 4)
    out = tmp_path / "hour"
    ended = []
    hooks = Hooks(lambda done, total, **info: ended.append(info["step"]), should_stop=lambda: len(ended) > 1)
    with pytest.raises(Stopped):
        quickstart(folder, out, minutes=0.1).run(hooks)
    first = [item.name for item in (out / "steps").iterdir()]
    code, said, err = lrfr("quickstart", "mine", "--out", "hour", "--minutes", "0.1", "--json")
    assert code == 0, err
    found = json.loads(said)["result"]
    assert len(first) == 2 and [found["states"][name.removesuffix(".json")] for name in first] == ["kept"] * 2
    assert set(found["states"].values()) == {"kept", "done"}
    assert [row["accuracy %, 112 px against"] for row in found["table"]] == ["teacher", "untaught", "student"]
    assert all(re.match(r"\d+\.\d \[", row["7 px"]) for row in found["table"])
    page = (out / "report.html").read_text("utf-8")
    assert "student-s0" in page and "aligned" not in found["states"]
    # the commands that were shown work alone, in the folder
    line = quickstart(folder, out).experiment.plan().steps[-2].command
    code, said, err = lrfr("quickstart", "mine", "--out", "hour", "--dry-run")
    assert code == 0 and "eval-held-out-student-s0" in said and "to do" not in said.replace("steps to do", "")
    assert shlex.split(line)[0] == "eval"


def test_another_wish_takes_another_folder_and_the_message_says_the_command(tmp_path, in_process, lrfr):
    crops(tmp_path / "mine", 10, 2)
    with pytest.raises(Stopped):
        quickstart(tmp_path / "mine", tmp_path / "hour").run(Hooks(should_stop=lambda: True))
    code, _, err = lrfr("quickstart", "mine", "--out", "hour", "--minutes", "3", "--dry-run")
    assert code == 2 and "other minutes" in err
    again = shlex.split(re.search(r"lrfr (quickstart [^)\n]*)", err)[1])
    assert lrfr(*again, "--dry-run")[0] == 0
    assert lrfr("quickstart", "mine", "--out", "hour", "--dry-run")[0] == 0
    write(tmp_path / "mine/p00/new.png", render_face(0, 9, 3)[0])
    code, _, err = lrfr("quickstart", "mine", "--out", "hour", "--dry-run")
    assert code == 2 and "other pictures in it" in err


def test_without_a_detector_it_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setenv("LRFR_DATA", str(tmp_path / "none"))
    open_detector.cache_clear()
    with pytest.raises(EnvironmentFault, match="lrfr detectors fetch"):
        quickstart(photos(tmp_path / "photos", 10, 2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_of_lrfr_teaches(tmp_path, in_process):
    folder = crops(tmp_path / "mine", 10, 2)
    make_pairs(folder, "maug", store=tmp_path / "store", view=ViewOptions(name="mine"))
    recipe = load_recipe("baseline", set={"train.unit": "step", "train.length": 1, "train.batch_size": 4})
    train_model(recipe, (tmp_path / "store", "mine"), tmp_path / "run")
    taught = quickstart(folder, tmp_path / "b", minutes=0.1, teacher=tmp_path / "run")
    lines = [step.command for step in taught.experiment.plan().steps]
    assert any(f"teacher={tmp_path}/run" in line for line in lines)
    assert any(line.startswith("route ") for line in lines)
    taught.run()
    assert [row[0] for row in taught.table()[1]] == ["teacher", "student", "contrast", "routed"]


def test_without_a_teacher_nothing_is_taught(tmp_path):
    first = quickstart(crops(tmp_path / "mine", 10, 2), tmp_path / "a", minutes=0.1, teacher="none")
    trained = [step.command for step in first.experiment.plan().steps if step.command.startswith("train ")]
    assert [line.split()[1] for line in trained] == ["baseline", "maug"] and "--parent" not in str(trained)


def test_no_teacher_of_that_name(tmp_path):
    with pytest.raises(SpecError, match=r"no such teacher.*'here'"):
        quickstart(tmp_path, teacher="resnet")


def test_killed_before_it_noted_what_was_asked_for_it_begins_anew(tmp_path, monkeypatch):
    source = str(crops(tmp_path / "crops"))
    first = quickstart(source, tmp_path / "out", minutes=0.1)
    monkeypatch.setattr("lrfr.experiment.first_hour.quickstart.canonical", _die)
    with pytest.raises(SystemExit):
        first.run()
    monkeypatch.undo()
    (tmp_path / "out" / f"{temp_name(tmp_path, 'quickstart.json').name}").write_text("half")
    assert not quickstart(source, tmp_path / "out", minutes=0.1).going_on
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(SpecError, match="something else lies here"):
        quickstart(source, tmp_path / "out", minutes=0.1)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "people.tsv").write_text("path\tidentity\n")
    with pytest.raises(SpecError, match="something else lies here"):
        quickstart(source, mine, minutes=0.1)


FORGED = [
    b"[1]",
    b'{"photos": "a", "content": "b", "teacher": "none", "minutes": "x"}',
    b'{"photos": "a", "content": "b", "teacher": "none", "minutes": NaN}',
    b'{"photos": "a", "content": "b", "teacher": "none", "minutes": -1.0}',
    b'{"photos": 1, "content": "b", "teacher": "none", "minutes": 1.0}',
    b"[" * 5000,
]


@pytest.mark.parametrize("forged", FORGED)
def test_what_was_asked_for_is_checked_field_by_field(tmp_path, forged):
    (tmp_path / ASKED).write_bytes(forged)
    with pytest.raises(DataError, match=r"quickstart\.json"):
        _begun(tmp_path)
    good = Asked("a", "b", "none", 1.0)
    (tmp_path / ASKED).write_bytes(canonical(vars(good)))
    assert _begun(tmp_path) == good


def _die(*_):
    raise SystemExit
