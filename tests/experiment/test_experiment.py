"""The experiment runner: order, resume, failures that stop only what needs them, kills, locks, and errors in
the declaration.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.progress import Hooks
from lrfr.experiment.declare import load_declaration
from lrfr.experiment.experiment import Clock, _failure
from lrfr.experiment.steps.command_plan import Step, steps_of
from lrfr.experiment.steps.launch import LocalLaunch
from lrfr.experiment.steps.runner import StepRunner
from lrfr.pairs.sources.places import from_anywhere

DECLARATION = """
version: 1
name: small
title: A small comparison
views:
  hr: {flags: {n-ids: 4}}
  lr: {flags: {spec: [a, b], weights: [1, 2]}}
trainings:
  teacher: {method: baseline, view: hr, seeds: [0, 1], estimate_s: 5}
  student: {method: fskd, view: lr, seeds: [0, 1, 2], set: {lambda: 5, deep: true}, parents: {teacher: teacher}}
evaluations:
  dev: {benchmark: pairs, of: [student], flags: {sizes: [112, 14]}}
report: {}
"""

# writes its own command line down, then does what the control file says
STAND_IN = """
import json, pathlib, sys, time
words = sys.argv[1:]
with open("calls.txt", "a") as calls:
    calls.write(" ".join(words) + "\\n")
control = json.loads(pathlib.Path("control.json").read_text()) if pathlib.Path("control.json").exists() else {}
for key, action in control.items():
    if key in " ".join(words):
        time.sleep(action.get("sleep", 0))
        if "code" in action and not pathlib.Path(action.get("until", "never")).exists():
            pathlib.Path(action.get("touch", "touched")).touch()
            print(json.dumps({"ok": False, "code": action["code"], "error": {"message": "as told"}, "result": None}))
            sys.exit(action["code"])
if "--out" in words:
    out = pathlib.Path(words[words.index("--out") + 1])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(" ".join(words))
made = {"train": ("--name", "runs/{}/run.json"), "make-pairs": ("--view", "store/views/{}.json")}.get(words[0])
if made:
    out = pathlib.Path(made[1].format(words[words.index(made[0]) + 1]))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.touch()
print(json.dumps({"ok": True, "code": 0, "error": None, "result": {}}))
"""


@pytest.fixture
def steps(tmp_path):
    (tmp_path / "small.yaml").write_text(DECLARATION)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    return steps_of(load_declaration(tmp_path / "small.yaml"))


def runner(tmp_path: Path, jobs: int = 1) -> StepRunner:
    folder = tmp_path / "small"
    folder.mkdir(exist_ok=True)
    return StepRunner(folder, (sys.executable, str(tmp_path / "stand_in.py")), jobs)


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "small" / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def ignore(*_):
    pass


def test_plan_is_command_lines_in_a_working_order(steps):
    lines = [" ".join(step.argv) for step in steps]
    assert lines[:2] == [
        "make-pairs --view hr --n-ids 4",
        "make-pairs --view lr --spec a --spec b --weights 1,2",
    ]
    assert "train baseline --view hr --name teacher-s1 --set train.seed=1" in lines
    # a student takes the teacher of its own seed, or the first one where there is none
    assert (
        "train fskd --view lr --name student-s1 --parent teacher=runs/teacher-s1 --set train.seed=1 --set "
        "lambda=5 --set deep=true" in lines
    )
    assert (
        "train fskd --view lr --name student-s2 --parent teacher=runs/teacher-s0 --set train.seed=2 --set "
        "lambda=5 --set deep=true" in lines
    )
    assert "eval runs/student-s2 --benchmark pairs --out results/dev-student-s2.json --sizes 112,14" in lines
    assert lines[-1].startswith("report results/dev-student-s0.json results/dev-student-s1.json")
    seen = set()
    for step in steps:
        assert set(step.needs) | set(step.after) <= seen
        seen.add(step.id)


@pytest.mark.parametrize(
    ("lost", "step"),
    [
        ("store/views/lr.json", "pairs-lr"),
        ("runs/student-s1", "train-student-s1"),
        ("results/dev-student-s0.json", "eval-dev-student-s0"),
    ],
)
def test_what_was_taken_away_is_made_again(tmp_path, steps, lost, step):
    runner(tmp_path).run(steps, ignore)
    place = tmp_path / "small" / lost
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    again = runner(tmp_path).run(steps, ignore)
    assert {name for name, state in again.items() if state == "done"} == {step, "report"} and place.exists()


@pytest.mark.parametrize("jobs", [1, 3])
def test_second_run_does_nothing_but_the_report(tmp_path, steps, jobs):
    first = runner(tmp_path, jobs).run(steps, ignore)
    assert set(first.values()) == {"done"} and len(calls(tmp_path)) == len(steps)
    again = runner(tmp_path, jobs).run(steps, ignore)
    assert [name for name, state in again.items() if state != "kept"] == ["report"]
    assert len(calls(tmp_path)) == len(steps) + 1


def test_ray_runs_steps_as_child_processes_do(tmp_path, steps):
    pytest.importorskip("ray")
    from lrfr.experiment.steps.launch import RayLaunch
    from lrfr.pairs.executors.ray import ray_session

    with ray_session(2) as ray:
        run = runner(tmp_path, 2)
        run.launch = RayLaunch(ray, 1)
        (run.folder / "control.json").write_text(json.dumps({"--name student-s1": {"code": 6}}))
        states = run.run(steps, ignore)
        assert states["train-student-s1"] == "failed" and states["report"] == "done"
        assert run.record(steps[0]).result == {}
        (run.folder / "control.json").unlink()
        assert set(run.run(steps, ignore).values()) == {"done", "kept"}
    assert sum("make-pairs" in line for line in calls(tmp_path)) == 2


def test_a_step_that_must_wait_holds_up_no_other(tmp_path, steps):
    run = runner(tmp_path, 2)
    (run.folder / "control.json").write_text(
        json.dumps({"--view hr --n-ids": {"sleep": 1.5}})
    )  # the teachers need it
    chosen = [step for step in steps if step.id.startswith(("pairs", "train-teacher"))]
    run.run([*chosen, *(Step(f"free-{n}", (f"free{n}",)) for n in range(3))], ignore)
    order = ["free" if "free" in line else line.split()[0] for line in calls(tmp_path)]
    assert order[-2:] == ["train", "train"] and order.count("free") == 3


def test_the_time_left_follows_the_steps_behind():
    clock = Clock({"a": 10.0, "b": 40.0, "c": None, "d": 80.0}, 2)
    assert clock.left() == ""
    clock.end("c", 3.0)
    assert clock.left() == ""
    clock.end("a", 110.0)  # 100 s more than its estimate; 30 s of doubt: (110 + 30) / (10 + 30) = 3.5
    assert clock.left() == ", about 4 min left"  # (40 + 80) * 3.5 / 2 = 210 s
    clock.end("b", None)
    assert clock.left() == ", about 2 min left" and clock.ended == 3  # 80 * 3.5 / 2 = 140 s
    clock.end("d", 0.0)
    assert clock.left() == ", about 0 s left"


def test_failure_stops_only_what_needs_it(tmp_path, steps):
    run = runner(tmp_path)
    (run.folder / "control.json").write_text(json.dumps({"--name student-s1": {"code": 6}}))
    states = run.run(steps, ignore)
    assert states["train-student-s1"] == "failed" and states["eval-dev-student-s1"] == "skipped"
    assert all(state == "done" for name, state in states.items() if "student-s1" not in name)
    assert "student-s1" not in calls(tmp_path)[-1], "the report shows only results that exist"
    first = next(run.record(step) for step in steps if step.id == "train-student-s1")
    for code, kind in ((first.code, DataError), (5, EnvironmentFault)):  # a full disk is nobody's data
        run.record = lambda step, code=code: replace(first, code=code)
        assert type(_failure(run, steps, states)) is kind and "as told" in str(_failure(run, steps, states))
    del run.record
    (run.folder / "control.json").unlink()
    before = len(calls(tmp_path))
    assert set(run.run(steps, ignore).values()) == {"done", "kept"}
    assert len(calls(tmp_path)) == before + 3  # the training, its evaluation, the report


@pytest.mark.parametrize("code", [130, 143])
def test_a_step_that_is_interrupted_is_called_stopped(tmp_path, steps, code):
    run, told = runner(tmp_path), []
    (run.folder / "control.json").write_text(json.dumps({"--name student-s1": {"code": code}}))
    states = run.run(steps, lambda step, state, seconds: told.append((step.id, state)))
    assert states["train-student-s1"] == "stopped" and states["eval-dev-student-s1"] == "skipped"
    assert ("train-student-s1", "stopped") in told and "failed" not in dict(told).values()


def test_a_wish_to_stop_makes_no_step_a_failed_one(tmp_path, steps):
    run, begun = runner(tmp_path), []
    (run.folder / "control.json").write_text(json.dumps({"": {"sleep": 60}}))
    states = run.run(
        steps,
        lambda step, state, seconds: begun.append(state) if state == "running" else None,
        Hooks(should_stop=lambda: bool(begun)),
    )
    assert set(states.values()) == {"stopped", "skipped"}


def test_changed_step_is_redone_with_everything_after_it(tmp_path, steps):
    runner(tmp_path).run(steps, ignore)
    (tmp_path / "small.yaml").write_text(DECLARATION.replace("lambda: 5", "lambda: 7"))
    states = runner(tmp_path).run(steps_of(load_declaration(tmp_path / "small.yaml")), ignore)
    redone = {name for name, state in states.items() if state == "done"}
    assert redone == {name for name in states if "student" in name} | {"report"}


def test_locked_output_is_waited_for(tmp_path, steps, monkeypatch):
    monkeypatch.setattr("lrfr.experiment.steps.runner._POLL_S", 0.01)
    run = runner(tmp_path)
    (run.folder / "control.json").write_text(
        json.dumps({"make-pairs --view hr": {"code": 4, "touch": "free", "until": "free"}})
    )
    assert set(run.run(steps, ignore).values()) == {"done"}
    assert sum("--view hr --n-ids" in line for line in calls(tmp_path)) == 2


def test_kill_at_a_random_step_then_the_same_command_ends_the_same(tmp_path, steps):
    clean = tmp_path / "clean"
    clean.mkdir()
    StepRunner(clean, (sys.executable, str(tmp_path / "stand_in.py"))).run(steps, ignore)
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from lrfr.experiment.declare import load_declaration
        from lrfr.experiment.steps.command_plan import steps_of
        from lrfr.experiment.steps.runner import StepRunner
        steps = steps_of(load_declaration(Path({str(tmp_path / "small.yaml")!r})))
        StepRunner(Path("small"), (sys.executable, {str(tmp_path / "stand_in.py")!r})).run(steps, lambda *a: None)
    """)
    folder = tmp_path / "small"
    folder.mkdir()
    for kill_after in (2, 5):
        child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
        while len(calls(tmp_path)) < kill_after and child.poll() is None:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        time.sleep(0.3)  # the step's own process ends by itself
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True).returncode == 0
    for part in ("results", "report.html"):
        assert _texts(folder / part) == _texts(clean / part)


def _texts(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return {item.name: item.read_text() for item in files}


BAD = {
    "trainings.student: 'lrr' is no view": ("view: lr,", "view: lrr,"),
    "'techer' is no given model, import or training above this one": (
        "teacher: teacher}",
        "teacher: techer}",
    ),
    "did you mean 'method'": ("{method: fskd", "{methd: fskd"),
    "unknown version": ("version: 1", "version: 2"),
    "trainings.student.seeds": ("seeds: [0, 1, 2]", "seeds: zero"),
}


@pytest.mark.parametrize("expected", BAD)
def test_bad_declaration_is_one_message_with_a_line(tmp_path, expected):
    old, new = BAD[expected]
    path = tmp_path / "bad.yaml"
    path.write_text(DECLARATION.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_declaration(path)
    assert caught.value.line is not None and caught.value.line > 1
    assert all(part in str(caught.value) for part in expected.split(": ")), str(caught.value)


def test_unknown_name_lists_the_shipped_ones(lrfr):
    code, _, err = lrfr("experiment", "dmo", "--plan")
    assert code == 2 and "no such experiment file" in err


def test_places_are_looked_for_in_a_plan(lrfr, tmp_path):
    given = ("experiment", "strong-teacher", "--plan", "--place")
    code, _, err = lrfr(*given, f"faces={tmp_path}/nope")
    assert code == 2 and "nothing lies at the place 'faces'" in err and f"{tmp_path}/nope" in err
    assert lrfr(*given, f"faces={tmp_path}")[0] == 0 == lrfr(*given, "faces=synthetic:ids=3")[0]


def test_places_mean_the_same_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").mkdir()
    (tmp_path / "list.csv").write_text("path\n")
    wanted = {
        "a": f"{tmp_path}/a",
        "csv:list.csv,root=a,with=none.csv": f"csv:{tmp_path}/list.csv,root={tmp_path}/a,with=none.csv",
        "mixup:count=3,of=folder:a|csv:list.csv,root=b": (
            f"mixup:count=3,of=folder:{tmp_path}/a|csv:{tmp_path}/list.csv,root={tmp_path}/b"
        ),
        "tar:a/*.tar": f"tar:{tmp_path}/a/*.tar",
        "synthetic:ids=3": "synthetic:ids=3",
        "https://host/a": "https://host/a",
        "folder:nope": "folder:nope",
    }
    assert {text: from_anywhere(text) for text in wanted} == wanted


def test_a_step_that_is_being_started_while_all_is_stopped_ends(tmp_path):
    """The wish to stop comes once, and may come before the child is known."""
    launch = LocalLaunch()
    launch.stop()
    code, _ = launch(["sleep", "60"], tmp_path, tmp_path / "log", os.environ)
    assert code == -signal.SIGTERM


def test_no_link_in_an_experiment_leads_out(tmp_path):
    """Logs are appended and records written in the experiment's own folders alone."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "log").symlink_to("mine")
    with pytest.raises(OSError):
        LocalLaunch()(["true"], tmp_path, tmp_path / "log", os.environ)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError):
        LocalLaunch()(["true"], tmp_path, tmp_path / "fifo", os.environ)
    assert (tmp_path / "mine").read_text() == "mine"
    (tmp_path / "out").mkdir()
    for own in ("logs", "steps"):
        folder = tmp_path / f"with {own}"
        folder.mkdir()
        (folder / own).symlink_to(tmp_path / "out")
        with pytest.raises(DataError, match="a link where a folder of its own belongs"):
            StepRunner(folder, ("true",)).run([Step("a", ("x",))], lambda *_: None)
    assert not list((tmp_path / "out").iterdir())
