"""What decides a result is its name: every input moves the id, nothing incidental does; and no number of a
protocol moves without a new revision.
"""

import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from lrfr.eval.pairs import pair_list
from lrfr.eval.protocols.pair_lists import run_tsv
from lrfr.eval.protocols.table import BENCHMARKS
from lrfr.eval.protocols.verification import verify_pairs
from lrfr.eval.result_files import read_results, write_results
from lrfr.eval.results import Model
from lrfr.eval.settings import Settings, Task, settings_from
from tests.eval import golden
from tests.eval.test_cli import write_pairs
from tests.eval.test_identify import write_tinyface
from tests.eval.world import color_embed, identity_picture, save

NAMED = Model("m", digest="d" * 64)


def measured(folder, model=NAMED, **settings):
    task = Task(color_embed, Settings(**{"sizes": (24, 6), "replicates": 10, **settings}), model)
    return run_tsv(folder / "pairs.tsv", task)


@pytest.fixture
def lists(tmp_path):
    write_pairs(tmp_path / "one", 20)
    return tmp_path / "one"


def test_no_number_moves_without_a_new_revision():
    record = json.loads(golden.FILE.read_text())
    if record["versions"] != golden.versions():
        pytest.skip(f"golden values are of {record['versions']}; this is {golden.versions()}")
    assert not golden.moved(record["benchmarks"], golden.golden())


def test_every_family_of_benchmarks_has_a_golden_run():
    protocols = {getattr(entry.run, "func", entry.run).__module__ for entry in BENCHMARKS.values()}
    covered = {getattr(BENCHMARKS[name].run, "func", BENCHMARKS[name].run).__module__ for name in golden.RUNS}
    assert covered == protocols


def test_moved_numbers_and_unrenewed_revisions_are_told_apart():
    known = {"a": [1, "x"], "b": [1, "x"], "c": [1, "x"]}
    found = {"a": [1, "x"], "b": [1, "y"], "c": [2, "y"], "d": [1, "z"]}
    faults = golden.moved(known, found)
    assert [fault.split(":")[0] for fault in faults] == ["b", "c", "d"]
    assert "raise it" in faults[0] and "another revision" in faults[1] and "no golden value" in faults[2]


def renamed(lists, target):
    """Rename folder, list, people and pictures."""
    shutil.copytree(lists, target)
    for person in sorted((target / "images").iterdir()):
        for image in person.iterdir():
            image.rename(image.with_name("x" + image.name))
        person.rename(person.with_name("q" + person.name))
    lines = (target / "pairs.tsv").read_text().replace("/", "/x").replace("p", "qp").replace(".qpng", ".png")
    (target / "pairs.tsv").write_text(lines.replace("\n", "\r\n"))
    return target


def test_renamed_files_and_folders_change_no_name(lists, tmp_path):
    first = [result.id for result in measured(lists)]
    assert all(first) and len(set(first)) == len(first)
    assert [result.id for result in measured(renamed(lists, tmp_path / "two"))] == first
    assert [r.id for r in measured(lists, replace(NAMED, name="other", checkpoint="elsewhere"))] == first


def test_a_spec_draws_from_names_so_that_they_decide(lists, tmp_path):
    first, second = (
        measured(lists, sizes=(24, "fskd")),
        measured(renamed(lists, tmp_path / "two"), sizes=(24, "fskd")),
    )
    by_spec = [(a.id == b.id, "fskd" in a.sizes) for a, b in zip(first, second, strict=True)]
    assert by_spec == [(True, False), (False, True), (False, True)]


def change_pixels(folder):
    save(folder / "images" / "p1" / "a.png", identity_picture(77, 0))


def change_label(folder):
    text = (folder / "pairs.tsv").read_text().splitlines()
    (folder / "pairs.tsv").write_text("\n".join([*text[:-1], text[-1].replace("\t1\t", "\t0\t")]))


def change_fold(folder):
    text = (folder / "pairs.tsv").read_text().splitlines()
    (folder / "pairs.tsv").write_text("\n".join([*text[:-1], text[-1][:-1] + "0"]))


@pytest.mark.parametrize("change", [change_pixels, change_label, change_fold])
def test_other_data_have_another_name(lists, change):
    before = {result.id for result in measured(lists)}
    change(lists)
    assert before.isdisjoint(result.id for result in measured(lists))


OTHER = {
    "convention": "B",
    "flip": "sum",
    "low_res": {"filter": "bilinear", "antialias": True},
    "replicates": 11,
    "seed": 1,
    "template_norm": "unit",
    "detector_score": False,
    "gallery_mean": "unit",
    "official_sweep": True,
}


# these go together: tests/eval/test_aligned_photographs.py
ALIGNMENT = {"align", "face", "on_miss", "detector", "detector_weights"}


@pytest.mark.parametrize("name", [item.name for item in fields(Settings) if item.name not in ALIGNMENT])
def test_a_setting_is_in_the_name_when_it_decides_a_number(lists, name):
    before = [result.id for result in measured(lists)]
    if name in OTHER:
        settings = settings_from({"sizes": [24, 6], "replicates": 10, name: OTHER[name]})
        after = run_tsv(lists / "pairs.tsv", Task(color_embed, settings, NAMED))
        assert set(before).isdisjoint(result.id for result in after)
    else:
        incidental = {
            "batch": 3,
            "finetuned": "ours",
            "any_folds": True,
            "matching": ("same", "cross"),
            "sizes": (24, 6),
        }
        assert [result.id for result in measured(lists, **{name: incidental[name]})] == before


def test_model_revision_and_cell_are_in_the_name(lists):
    result = measured(lists)[0]
    others = [
        replace(result, model=replace(NAMED, digest="e" * 64)),
        replace(result, revision=99),
        replace(result, sizes=(24, 5)),
        replace(result, benchmark="lfw"),
    ]
    assert len({result.id, *(other.id for other in others)}) == 5
    assert replace(result, seconds=1.0, time="then", command="lrfr eval", data="there").id == result.id


def test_a_model_without_digest_has_no_name(lists):
    assert {result.id for result in measured(lists, Model("toy"))} == {None}


def test_defaults_are_left_out_of_the_settings():
    assert Settings().changed() == {} and Settings(batch=3, sizes=(7,)).changed() == {}
    changed = Settings(convention="B", seed=3).changed()
    assert changed == {"convention": "B", "seed": 3}
    assert settings_from(changed).digest() == Settings(convention="B", seed=3).digest() != Settings().digest()


def test_the_order_of_distractors_decides_nothing(tmp_path):
    write_tinyface(tmp_path)
    task = Task(color_embed, Settings(replicates=0), NAMED)
    before = BENCHMARKS["tinyface"].run(tmp_path, task)[0]
    folder = tmp_path / "Testing_Set" / "Gallery_Distractor"
    for place, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        path.rename(path.with_name(f"z{place}{path.suffix}"))
    assert BENCHMARKS["tinyface"].run(tmp_path, task)[0].id == before.id


def test_a_written_result_keeps_its_name_and_an_old_one_has_none(lists, tmp_path):
    results = measured(lists)
    write_results(results, tmp_path / "r.json")
    assert [result.id for result in read_results([tmp_path / "r.json"])] == [result.id for result in results]
    body = json.loads((tmp_path / "r.json").read_text())
    assert [item["id"] for item in body["results"]] == [result.id for result in results]
    for item in body["results"]:
        for name in ("id", "revision", "settings", "settings_digest", "list_digest", "pixels_digest"):
            del item[name]
    (tmp_path / "old.json").write_text(json.dumps(body))
    old = read_results([tmp_path / "old.json"])
    assert {result.id for result in old} == {None}
    assert [result.metrics for result in old] == [result.metrics for result in results]


def test_arrays_and_lists_of_plain_python_have_names_too():
    rng = np.random.default_rng(0)
    faces = [rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(8)]
    pairs = pair_list(
        [(faces[i], faces[i + 1]) for i in range(0, 8, 2)] * 3, [True, False] * 6, folds=[0, 0, 1, 1] * 3
    )
    settings = Settings(sizes=(24,), replicates=0)
    first = verify_pairs(color_embed, pairs, settings, NAMED)[0].id
    faces[0][0, 0, 0] ^= 1
    assert first and verify_pairs(color_embed, pairs, settings, NAMED)[0].id != first
