"""Sweeps: a grid of options becomes trainings of a declared experiment, one table and one chart."""

import csv
import json
import os
import threading

import pytest
import yaml

from lrfr.core.errors import SpecError
from lrfr.experiment.declare import load_declaration
from lrfr.experiment.experiment import Experiment
from lrfr.experiment.steps.launch import LocalLaunch
from lrfr.experiment.steps.sweep import Sweep, plan_sweep, run_sweep, values_of
from lrfr.experiment.steps.sweep_table import Row, best_row, table_of
from lrfr.pairs.build.make import make_pairs
from tests.experiment import in_process as _in_process

in_process = _in_process.in_process

QUICK = {
    "train.unit": "step",
    "train.length": "2",
    "train.milestones": "[]",
    "train.batch_size": "16",
    "train.threads": "1",
}


def test_a_grid_is_every_combination_and_a_list_goes_together():
    over = {"lambda": ["1", "5"], "distance": ["cosine", "rkd"]}
    grid = [(one["lambda"], one["distance"]) for one in Sweep("fskd", over).points()]
    assert grid == [("1", "cosine"), ("1", "rkd"), ("5", "cosine"), ("5", "rkd")]
    paired = [(one["lambda"], one["distance"]) for one in Sweep("fskd", over, paired=True).points()]
    assert paired == [("1", "cosine"), ("5", "rkd")]


FAULTS = [
    (Sweep("fskd", {}), "needs values"),
    (Sweep("fskd", {"lambda": ["1"]}, set={"lambda": "2"}), "varied and set"),
    (Sweep("fskd", {"lambda": ["1", "2"], "distance": ["rkd"]}, paired=True), "lambda 2, distance 1"),
    (Sweep("fskd", {"lambda": ["1"] * 40, "distance": ["rkd"] * 40}), "1600 points"),
    (Sweep("fskd", {"lambdda": ["1"]}), "lambdda"),
    (Sweep("fskd", {"lambda": ["many"]}), "lambda"),
]


@pytest.mark.parametrize(("sweep", "told"), FAULTS)
def test_what_cannot_be_is_told_before_anything_runs(tmp_path, sweep, told):
    with pytest.raises(SpecError, match=told):
        plan_sweep(sweep, tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


def test_points_of_one_recipe_are_one_training_and_names_hold_what_decides(tmp_path):
    def runs(**fields):
        return plan_sweep(Sweep("fskd", **{"over": {"lambda": ["1", "5", "5.0"]}, **fields}), tmp_path).runs

    first, five, again = runs()
    assert five == again != first
    # the default of the key is the default's run, whatever else is varied
    assert runs(over={"distance": ["cosine"]}, set={"lambda": "5"})[0][-10:] == five[-10:]
    assert runs(over={"distance": ["cosine"]})[0][-10:] == five[-10:]
    for other in (
        {"view": "b"},
        {"set": {"train.lr": "0.5"}},
        {"parents": {"teacher": "t"}},
        {"recipe": "paper"},
    ):
        assert not set(runs(**other)) & {first, five}, other


def test_it_is_an_experiment_file_whose_view_lies_elsewhere(tmp_path):
    from lrfr.experiment.steps.command_plan import steps_of
    from lrfr.experiment.steps.sweep import declared

    sweep = Sweep("fskd", {"lambda": ["1"]}, store=str(tmp_path / "there"), parents={"teacher": "runs/t"})
    planned = plan_sweep(sweep, tmp_path / "sweep").experiment
    (tmp_path / "x.yaml").write_bytes(declared(planned.declaration))
    assert steps_of(load_declaration(tmp_path / "x.yaml")) == planned.steps
    kinds = [step.argv[0] for step in planned.steps]
    assert kinds == ["train", "eval", "report"]
    train = planned.steps[0].argv
    assert train[train.index("--store") + 1] == str(tmp_path / "there")
    assert train[train.index("--parent") + 1].startswith("teacher=/")


def test_values_are_split_outside_brackets_and_count_once():
    assert values_of("1, 5,5,{choice: [7, 14]},[1,2]") == ["1", "5", "{choice: [7, 14]}", "[1,2]"]


def test_the_best_point_and_the_table_are_means_over_sizes():
    rows = [
        Row({"a": "1"}, "x", {"lfw": 0.5, "agedb": 0.7}, {}),
        Row({"a": "2"}, "y", {"lfw": 0.6, "agedb": 0.8}, {}),
        Row({"a": "3"}, "z", {}, {}),
    ]
    assert best_row(rows) is rows[1] and best_row(rows[2:]) is None
    assert table_of(rows) == (
        ["a", "lfw", "agedb", "mean"],
        [["1", "50.00", "70.00", "60.00"], ["2", "60.00", "80.00", "70.00"], ["3", "-", "-", "-"]],
    )


def test_a_second_sweep_trains_only_what_is_new(lrfr, in_process, tmp_path):
    make_pairs("synthetic:ids=8,per_id=6,seed=3", "fskd", store=tmp_path / "store")
    fixed = [word for key, value in QUICK.items() for word in ("--set", f"{key}={value}")]
    words = ["sweep", "baseline", *fixed, "--sizes", "14", "--folder", "s", "--json"]

    def sweep(*more):
        code, out, err = lrfr(*words, *more)
        assert code == 0, err
        return json.loads(out.splitlines()[-1])["result"]

    plan = sweep("--over", "head.scale=16,64", "--dry-run")
    assert len(plan["points"]) == 2 and len(plan["steps"]) == 5 and not (tmp_path / "s").exists()
    first = sweep("--over", "head.scale=16,64")
    trained = {name: state for name, state in first["states"].items() if name.startswith("train-")}
    assert set(trained.values()) == {"done"} and len(trained) == 2
    again = sweep("--over", "head.scale=64,32")
    states = {name: state for name, state in again["states"].items() if name.startswith("train-")}
    assert sorted(states.values()) == ["done", "kept"]
    assert {name for name, state in states.items() if state == "kept"} <= set(trained)
    assert again["best"]["head.scale"] in {"64", "32"}
    with (tmp_path / "s" / "sweep.csv").open() as lines:
        table = list(csv.reader(lines))
    assert [row[0] for row in table] == ["head.scale", "64", "32"] and len(table[0]) == 2 + 2
    shown = {row["point"]["head.scale"]: row["mean"] for row in again["rows"]}
    assert dict(zip(table[0][2::2], map(float, table[1][2::2]), strict=True)) == shown["64"]
    assert (tmp_path / "s" / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    assert yaml.safe_load((tmp_path / "s" / "experiment.yaml").read_text())["views"]["default"]["store"]


def test_an_experiment_file_of_somebody_is_not_replaced(tmp_path, monkeypatch):
    """A sweep writes one of that name; its own, of whatever points, it may write again."""
    monkeypatch.setattr(Experiment, "run", lambda *_, **__: None)
    planned, other = (
        plan_sweep(Sweep("fskd", {"lambda": [value]}), tmp_path / "mine") for value in ("1", "5")
    )
    path = tmp_path / "mine" / "experiment.yaml"
    run_sweep(planned)
    run_sweep(other)
    written = path.read_bytes()
    path.write_bytes(written.split(b"\n", 1)[1])  # as it was written without its first line
    run_sweep(other)
    assert path.read_bytes() == written
    for mine in (b"version: 1\nname: mine\n", b"", b"\xff"):
        path.write_bytes(mine)
        with pytest.raises(SpecError, match="no sweep has written"):
            run_sweep(other)
        assert path.read_bytes() == mine
    path.unlink()
    path.mkdir()
    with pytest.raises(SpecError, match="no sweep has written"):
        run_sweep(other)


def test_side_by_side_a_teacher_that_is_to_be_trained_is_trained_once_and_first(monkeypatch, tmp_path):
    """``--jobs 2``: the first training runs alone, as it makes what the others find; then two at a time."""
    lock, running, seen = threading.Lock(), [], []
    both = threading.Barrier(2, timeout=20)

    def launch(self, words, folder, log, environment):
        name = words[words.index("lrfr") + 1 :][:1][0]
        with lock:
            running.append(name)
            seen.append((name, len(running), environment.get("OMP_NUM_THREADS")))
            trainings = sum(kind == "train" for kind, *_ in seen)
        if name == "train" and trainings > 1:
            both.wait()  # never passed by one alone
        with lock:
            running.remove(name)
        if name == "train":
            (folder / "runs" / words[words.index("--name") + 1]).mkdir(parents=True)
        return 0, b"{}"

    monkeypatch.setattr(LocalLaunch, "__call__", launch)
    planned = plan_sweep(Sweep("fskd", {"lambda": ["1", "2", "5"]}), tmp_path / "s")
    assert planned.trains_parents
    outcome = run_sweep(planned, jobs=2)
    trained = [count for name, count, _ in seen if name == "train"]
    assert trained[0] == 1 and sorted(trained[1:]) == [1, 2] and len(trained) == 3
    assert set(outcome.states.values()) == {"done", "kept"}
    assert seen[1][2] == str(max(1, (os.cpu_count() or 1) // 2))
