"""The Ray executor: the bytes of a serial run, and a store that resumes when workers, nodes or the driver are
killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lrfr.core.errors import DataError, EnvironmentFault
from lrfr.core.files import is_alive
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.dispatch import Runner
from tests.fit.cameras import bank_of, people_file
from tests.pairs.test_combinations import SOURCES, SPEC
from tests.pairs.toy import ToySource, build, tree

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@dataclass(frozen=True)
class SlowSource(ToySource):
    """Toy faces that take a while to read, so that kills hit running tasks."""

    def read(self, place):
        time.sleep(0.004)
        return super().read(place)


@dataclass(frozen=True)
class Deadly:
    """A task that kills its worker the first ``deaths`` times."""

    folder: Path
    deaths: int

    def run(self):
        tries = len(list(self.folder.iterdir()))
        (self.folder / f"try-{tries}").touch()
        if tries < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return TaskReport(tries + 1)


@dataclass(frozen=True)
class Hungry:
    """A task that asks for more memory than a worker may have."""

    def run(self):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, hard))
        return TaskReport(len(bytearray(1 << 42)))


@dataclass(frozen=True)
class Faulty:
    """A task that fails with a typed error."""

    def run(self):
        raise DataError("damaged", file="x.mdb", path="row 7", hint="repair")


def processes(name: str) -> set[int]:
    """Pids of processes whose command line contains ``name``, of this test's process group or below."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if name in text:
            found.add(int(path.parent.name))
    return found


def ray_folders() -> set[str]:
    import tempfile

    return {path.name for path in Path(tempfile.gettempdir()).glob("lrfr-ray-*")}


def mine(folder: str) -> set[int]:
    """Pids of Ray's processes of one session, told by its folder."""
    return processes(folder)


@pytest.fixture(scope="module")
def session():
    """One local Ray for the tests of this file."""
    from lrfr.pairs.executors.ray import ray_session

    before, home = ray_folders(), set(Path.home().glob(".ray*"))
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # the toy source and tasks live here
    with ray_session(2):
        patch.undo()
        (folder,) = ray_folders() - before
        yield folder
    deadline = time.monotonic() + 20
    while mine(folder) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not mine(folder), "Ray left processes behind"
    assert folder not in ray_folders(), "Ray left its folder behind"
    assert set(Path.home().glob(".ray*")) == home, "Ray wrote to the home folder"


def test_bytes_of_a_serial_run(folder, store, session):
    build(folder / "ray", runner=Runner("ray", workers=2))
    assert tree(folder / "ray") == tree(store)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_executor_writes_the_bytes_of_a_serial_run(folder, session, kind):
    source, trees = SOURCES[kind](folder / kind), {}
    for executor in ("serial", "process", "ray"):
        store = folder / executor
        make_pairs(source, parse_spec(SPEC), store=store, runner=Runner(executor, workers=2))
        trees[executor] = tree(store)
    assert len([name for name in trees["serial"] if name.endswith(".mdb")]) == 4
    assert trees["process"] == trees["serial"] and trees["ray"] == trees["serial"]


def test_simulated_faces_of_a_fit_are_those_of_a_serial_run(tmp_path, session, monkeypatch):
    monkeypatch.setattr("lrfr.fit.infer.bank.CHUNK", 5)
    faces = people_file(tmp_path, 3)
    for executor in ("serial", "ray"):
        bank_of(tmp_path / executor, Runner(executor, 2), "sensor", faces)
    alone, many = ({p.name: p.read_bytes() for p in (tmp_path / e).iterdir()} for e in ("serial", "ray"))
    assert many == alone and len(alone) == 2


def test_killed_worker_is_replaced(tmp_path, session):
    assert Runner("ray", 2).run([Deadly(tmp_path, 2)], 0, "t", 0, 1) == [TaskReport(3)]


def test_worker_that_always_dies_is_one_clear_error(tmp_path, session):
    with pytest.raises(EnvironmentFault, match="died again and again"):
        Runner("ray", 2).run([Deadly(tmp_path, 99)], 0, "t", 0, 1)


def test_worker_out_of_memory_is_an_error_not_a_hang(session):
    with pytest.raises(Exception, match=r"MemoryError|out of memory"):
        Runner("ray", 2).run([Hungry()], 0, "t", 0, 1)


def test_typed_errors_survive_the_way_back(session):
    with pytest.raises(DataError) as caught:
        Runner("ray", 2).run([Faulty()], 0, "t", 0, 1)
    assert (caught.value.file, caught.value.path, caught.value.hint) == ("x.mdb", "row 7", "repair")


def test_sigterm_stays_the_process_own(session):
    """Ray starts with a handler of its own, which ended the command with another exit code."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_bad_face_is_refused_with_its_code(session):
    from lrfr.pairs.build.look.scan_task import ScanTask
    from lrfr.pairs.build.prepare import Prepare
    from lrfr.pairs.executors.ray import OnRay
    from tests.pairs.test_picture_limits import LIES, ODD, SLOW, BadSource

    task = ScanTask(BadSource(), (LIES, SLOW, ODD, (0, 1)), Prepare(size_px=16), None)
    ((_, report),) = OnRay(1).run([task], lambda: False)
    assert [item.code for item in report.scanned] == ["E_RECORD", "E_SLOW", "E_RECORD", ""]


def kill_workers(folder: str, until: threading.Event, kills: list[int]) -> None:
    source = random.Random(4)
    while len(kills) < 7 and not until.wait(source.uniform(0.2, 1.5)):
        running = [pid for pid in processes("ray::_work")]
        if running:
            victim = source.choice(running)
            try:
                os.kill(victim, signal.SIGKILL)
                kills.append(victim)
            except ProcessLookupError:
                continue


@pytest.mark.soak
def test_workers_killed_at_random_moments(folder, session):
    """Seven kills; a task that is killed more often than it is retried ends the run with one message, and the
    same command goes on.
    """
    build(folder / "serial", source=SlowSource())
    done, kills = threading.Event(), []
    killer = threading.Thread(target=kill_workers, args=(session, done, kills))
    killer.start()
    try:
        for number in range(3):
            for _ in range(10):
                try:
                    build(folder / f"ray-{number}", source=SlowSource(), runner=Runner("ray", workers=2))
                    break
                except EnvironmentFault:
                    continue
            assert tree(folder / f"ray-{number}") == tree(folder / "serial")
            if kills:
                break
    finally:
        done.set()
        killer.join()
    assert kills


_DRIVER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests.pairs.test_ray import SlowSource
from tests.pairs.toy import build
from lrfr.pairs.executors.dispatch import Runner
print("ready", flush=True)
build(Path(sys.argv[1]), source=SlowSource(), runner=Runner("ray", workers=2))
"""


def kill_driver(folder: Path, after_s: float) -> bool:
    """Start a build with its own Ray, kill it ``after_s`` after its start, and wait until Ray's processes
    have gone.
    """
    before = ray_folders()
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER.format(tests=str(Path(__file__).parents[2])), str(folder)],
        stdout=subprocess.PIPE,
    )
    assert driver.stdout.readline() == b"ready\n"
    time.sleep(after_s)
    driver.kill()
    hit = driver.wait() == -signal.SIGKILL
    left = ray_folders() - before
    deadline = time.monotonic() + 30
    while any(mine(name) for name in left) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(mine(name) for name in left), "orphans after the driver's death"
    # workers go by other names; they end soon after their node's process
    while (working := owners(folder / "tmp")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not working, "workers after the driver's death"
    return hit


def owners(tmp: Path) -> set[int]:
    """Living processes that have files in a store's folder for unfinished ones."""
    pids = {int(path.name.rsplit(".", 3)[2]) for path in tmp.glob("*.*.*.*")}
    return {pid for pid in pids if is_alive(pid)}


@pytest.mark.parametrize("count", [2, pytest.param(30, marks=[pytest.mark.soak, pytest.mark.timeout(1500)])])
def test_killed_drivers_resume_to_the_same_bytes(folder, count):
    build(folder / "serial", source=SlowSource())
    source, hits = random.Random(count), 0
    for number in range(count):
        hits += kill_driver(folder / f"s-{number}", source.uniform(2.0, 9.0))
        build(folder / f"s-{number}", source=SlowSource())
        assert tree(folder / f"s-{number}") == tree(folder / "serial")
    print(f"\n{count} drivers killed, {hits} of them at work, 0 differing stores, 0 orphans")
    assert hits


_CLUSTER = """
import os, sys
sys.path.insert(0, {tests!r})
os.environ.update(PYTHONPATH={tests!r}, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0123456789abcdef" * 4, RAY_USAGE_STATS_ENABLED="0")
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from tests.pairs.toy import build, tree
from tests.pairs.test_ray import SlowSource
from lrfr.pairs.executors.dispatch import Runner
node = dict(num_cpus=1, object_store_memory=80 * 1024 * 1024, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=node)
second = cluster.add_node(**node)
cluster.wait_for_nodes()
root = Path(sys.argv[1])
try:
    scratch = root / "local"
    scratch.mkdir()
    build(root / "two", source=SlowSource(), runner=Runner("auto", workers=2, ray_address=cluster.address, scratch=scratch))
    print("nodes", len(cluster.list_all_nodes()), flush=True)
finally:
    cluster.shutdown()
"""


def test_two_nodes_write_the_bytes_of_one(folder):
    """Ray's own two-node cluster on this machine, one store, shards built in a local scratch folder and
    moved.
    """
    build(folder / "serial", source=SlowSource())
    code = _CLUSTER.format(tests=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nodes 2" in done.stdout
    assert tree(folder / "two") == tree(folder / "serial")
    assert not list((folder / "local").iterdir())


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_nodes_killed_at_random_moments(folder):
    """Six variants on two nodes, of which one or both die again and again."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tests.pairs.ray_nodes", str(folder), "24", "1"]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["nodes killed"] >= 24 and told["at work"] >= 12 and told["differing"] == 0
