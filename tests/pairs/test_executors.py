"""Where tasks run: reports in order, stops, dead workers, scripts without a guard, and the caller's own
settings left alone.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.dispatch import Runner

ROOT = Path(__file__).parents[2]
LOCAL = [("serial", "fork"), ("process", "fork"), ("process", "spawn"), ("process", "forkserver")]


@dataclass(frozen=True)
class Square(TaskReport):
    value: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Task:
    number: int
    seconds: float = 0.0

    def run(self):
        time.sleep(self.seconds)
        return Square(2, self.number**2, cv2.getNumThreads())


@dataclass(frozen=True)
class Faulty:
    def run(self):
        raise DataError("damaged", file="x.mdb", path="row 7", hint="repair")


@dataclass(frozen=True)
class Deadly:
    def run(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("executor", "start"), LOCAL)
def test_reports_come_in_the_order_of_the_tasks(executor, start):
    seen = []
    hooks = Hooks(lambda done, total, **info: seen.append((done, total, info["phase"])))
    tasks = [Task(number, 0.02 * (number == 0)) for number in range(7)]
    reports = Runner(executor, 2, hooks=hooks, start=start).run(tasks, 1.0, "p", 4, 18)
    assert [report.value for report in reports] == [number**2 for number in range(7)]
    assert seen == [(4 + 2 * count, 18, "p") for count in range(1, 8)]
    assert {report.threads for report in reports} == {1}


@pytest.mark.parametrize(("executor", "start"), LOCAL[:2])
def test_a_stop_lets_running_tasks_finish_and_starts_no_more(executor, start):
    done = []
    hooks = Hooks(lambda count, total, **info: done.append(count), should_stop=lambda: bool(done))
    with pytest.raises(Stopped):
        Runner(executor, 2, hooks=hooks, start=start).run([Task(n, 0.05) for n in range(40)], 1.0, "p", 0, 80)
    assert 1 <= len(done) <= 4


@pytest.mark.parametrize(("executor", "start"), LOCAL[:2])
def test_a_typed_error_keeps_its_fields(executor, start):
    with pytest.raises(DataError) as caught:
        Runner(executor, 2, start=start).run([Faulty(), Faulty()], 1.0, "p", 0, 2)
    assert (caught.value.file, caught.value.path, caught.value.hint) == ("x.mdb", "row 7", "repair")


def test_a_killed_worker_is_said_to_be_killed():
    with pytest.raises(EnvironmentFault, match="died"):
        Runner("process", 2, start="fork").run([Deadly()], 1.0, "p", 0, 1)


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_whoever_asks_twice_does_not_wait_for_running_tasks(start):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    began = time.monotonic()
    tasks = [Task(0), Task(1, 60.0), Task(2, 60.0)]
    with pytest.raises(KeyboardInterrupt):
        Runner("process", 2, hooks=Hooks(interrupt), start=start).run(tasks, 1.0, "p", 0, 6)
    assert time.monotonic() - began < 40


def test_opencvs_threads_are_the_callers_again():
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        Runner("serial").run([Task(1)], 1.0, "p", 0, 2)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize(
    ("seconds", "workers", "address", "expected"),
    [
        (1.0, 8, None, "serial"),
        (100.0, 8, None, "process"),
        (100.0, 1, None, "serial"),
        (1.0, 8, "here:1", "ray"),
    ],
)
def test_auto_takes_what_the_work_is_worth(seconds, workers, address, expected):
    assert Runner("auto", workers, address).chosen(seconds) == expected


def test_an_unknown_executor_is_answered_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'process'"):
        Runner("proces").run([Task(1)], 1.0, "p", 0, 1)


SCRIPT = """
import sys
from pathlib import Path
from tests.pairs.toy import LIGHT_SPEC, build
from lrfr.pairs.executors.dispatch import Runner
from lrfr.core.errors import LrfrError
{guard}
    try:
        build(Path(sys.argv[1]), runner=Runner("process", 2, start="{start}"), spec=LIGHT_SPEC)
        print("built")
    except LrfrError as error:
        print("error:", error)
"""


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
@pytest.mark.parametrize(
    ("guard", "phrase"), [("if True:", "error"), ('if __name__ == "__main__":', "built")]
)
def test_a_script_without_a_guard_is_told_so(tmp_path, start, guard, phrase):
    """The workers import the script again; without a guard it would build there, too."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard=guard, start=start))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith(phrase), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if phrase == "error":
        assert "if __name__ ==" in done.stdout and "works when it is imported" in done.stdout
        assert "script.py" in done.stdout and "memory" not in done.stdout


def test_what_a_killed_session_of_ray_left_goes_with_the_next(tmp_path, monkeypatch):
    """Folders of dead owners go; those of the living, links, and names that are no session's stay."""
    from lrfr.pairs.executors import ray

    monkeypatch.setattr(ray, "_short_folder", lambda: str(tmp_path))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    kept = [f"lrfr-ray-{os.getpid()}-a", "lrfr-ray-x-y", "lrfr-ray", "other-999999999-a"]
    for name in (*kept, "lrfr-ray-999999999-a", "lrfr-ray-999999998-b"):
        (tmp_path / name / "session").mkdir(parents=True)
    (tmp_path / "lrfr-ray-999999999-link").symlink_to(tmp_path / "outside")
    made = Path(ray._own_folder())
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, "outside", "lrfr-ray-999999999-link", made.name}
    assert (tmp_path / "outside" / "kept").exists() and made.name.startswith(f"lrfr-ray-{os.getpid()}-")


@pytest.mark.parametrize(
    "name", ["NodeDiedError", "WorkerCrashedError", "ObjectLostError", "OutOfMemoryError"]
)
def test_whatever_of_ray_is_lost_is_one_error_to_go_on_after(name):
    """What the cluster loses with a task is nobody's bug; the task's own errors come through as they are."""
    ray = pytest.importorskip("ray")
    from lrfr.pairs.executors.ray import _fetch

    kind = getattr(ray.exceptions, name)
    lost = kind.__new__(kind)
    Exception.__init__(lost, "lost")

    class Cluster:
        exceptions = ray.exceptions

        @staticmethod
        def get(reference):
            raise lost

    with pytest.raises(EnvironmentFault) as fault:
        _fetch(Cluster, None)
    assert "go on" in str(fault.value.hint)
