"""Reading by processes: the batches of threads, and an end without a trace, however it comes."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path

import pytest
import torch

from lrfr.core.errors import DataError, EnvironmentFault, LrfrError
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from tests.pairs.toy import LIGHT_SPEC, SPEC, build, ingest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mixed(folder):
    build(folder / "mixed", variants=3, spec=LIGHT_SPEC)
    return PairDataset(folder / "mixed")


def rows_of(batches):
    return [
        (
            batch.row_b.tolist(),
            batch.size_px_b.tolist(),
            batch.hr_bchw.sum().item(),
            batch.lr_bchw.numpy().tobytes(),
        )
        for batch in batches
    ]


def readers():
    """Processes of this one that read, by their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f") S {os.getpid()} " in status.replace(") R ", ") S ") and b"spawn_main" in line:
                found.append(int(entry.name))
    return found


def open_ends():
    """Descriptors of this process that a pool may have left: shared memory, pipes, sockets."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return sum(place.startswith(("/memfd:lrfr", "pipe:", "socket:")) for place in found)


def mapped():
    return sum("memfd:lrfr" in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.fixture
def nothing_left():
    """Everything that a pool opens is closed with it: processes, descriptors, memory, names in /dev/shm."""
    gc.collect()
    ensure_running()  # multiprocessing's own tracker stays
    before, names = open_ends(), set(os.listdir("/dev/shm"))
    yield
    gc.collect()
    assert not readers() and not mapped()
    assert open_ends() <= before
    left = {name for name in set(os.listdir("/dev/shm")) - names if not name.startswith("lrfr-test-")}
    assert not {name for name in left if name.startswith(("torch_", "psm_", "lrfr"))}


@pytest.mark.parametrize(("workers", "spec"), [(1, SPEC), (3, LIGHT_SPEC)], ids=["one, by torch", "three"])
def test_processes_give_the_batches_of_threads(folder, workers, spec, nothing_left):
    """Two epochs, an epoch that is left in its middle, two readings side by side, a state."""
    build(folder / "mixed", variants=3, spec=spec)
    mixed = PairDataset(folder / "mixed")
    expected = PairLoader(mixed, 20, seed=1, drop_last=False)
    with PairLoader(mixed, 20, seed=1, drop_last=False, workers=workers) as loader:
        assert rows_of(loader) == rows_of(expected) and rows_of(loader) == rows_of(expected)
        reading = loader.iterate(5)
        some = rows_of(next(reading) for _ in range(3))
        if workers > 1:
            reading.close()
        assert rows_of(loader.iterate(6, 2)) == rows_of(expected.iterate(6, 2))
        assert some == rows_of(expected.iterate(5))[:3]
        if workers == 1:  # the first reading goes on beside the second
            assert rows_of(reading) == rows_of(expected.iterate(5, 3))
        state = {**loader.state_dict(), "epoch": 5, "batch": 3}
        loader.load_state_dict(state)
        assert rows_of(loader) == rows_of(expected.iterate(5, 3))
        assert next(loader.iterate(0)).hr_bchw.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_is_its_own(mixed, nothing_left):
    """What was handed out does not change when its memory is read into again."""
    with PairLoader(mixed, 16, seed=1, workers=1) as loader:
        kept = list(loader)
    assert rows_of(kept) == rows_of(PairLoader(mixed, 16, seed=1).iterate(0))


def test_a_view_without_variants_shows_hr_twice(folder, nothing_left):
    make_pairs(ingest(), [], store=folder / "s")
    dataset = PairDataset(folder / "s")
    with PairLoader(dataset, 40, workers=1) as loader:
        assert rows_of(loader) == rows_of(PairLoader(dataset, 40).iterate(0))
        batch = next(loader.iterate(0))
        assert batch.hr_bchw.data_ptr() == batch.lr_bchw.data_ptr()


def test_damage_is_told_at_its_batch_and_reading_goes_on(mixed, folder, nothing_left):
    shard = sorted((folder / "mixed" / "base").glob("*/hr-00001.mdb"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with PairLoader(mixed, 16, shuffle=False, workers=2) as loader:
        reading, seen = loader.iterate(0), []
        with pytest.raises(DataError, match=r"hr-00001\.mdb") as caught:
            seen.extend(len(batch) for batch in reading)
        assert len(seen) == 4 and "store repair" in caught.value.hint
        pids = readers()
        assert len(list(loader.iterate(0, 8))) == 4  # by the same processes
        assert readers() == pids


@pytest.mark.parametrize("moment", ["between", "while it waits"])
def test_a_killed_process_is_one_error(mixed, moment, nothing_left):
    loader = PairLoader(mixed, 16, workers=2)
    reading = iter(loader)
    next(reading)
    first, last = readers()
    if moment == "between":
        os.kill(last, signal.SIGKILL)
    else:  # the parent waits for one that has stopped
        for pid in (first, last):
            os.kill(pid, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (first, signal.SIGKILL)).start()
        threading.Timer(0.5, os.kill, (last, signal.SIGKILL)).start()
    start = time.monotonic()
    with pytest.raises(EnvironmentFault, match="a worker process died") as caught:
        list(reading)
    assert time.monotonic() - start < 60 and "load_state_dict" in caught.value.hint
    state = loader.state_dict()
    rest = rows_of(loader.iterate(0, int(state["batch"])))  # new processes are started
    assert rest == rows_of(PairLoader(mixed, 16).iterate(0, int(state["batch"])))
    loader.close()


def test_an_error_of_the_loop_ends_cleanly(mixed, nothing_left):
    with pytest.raises(ZeroDivisionError), PairLoader(mixed, 16, workers=2) as loader:
        for _ in loader:
            raise ZeroDivisionError
    assert not readers()


def test_a_loader_that_is_forgotten_takes_its_processes_along(mixed, nothing_left):
    loader = PairLoader(mixed, 16, workers=1)
    next(iter(loader))
    assert len(readers()) == 1
    del loader


SCRIPT = """
import sys, time, os, signal
import lrfr
if {guard}:
    dataset = lrfr.PairDataset({store!r})
    loader = lrfr.PairLoader(dataset, 8, workers={workers})
    print("start", flush=True)
    for number, batch in enumerate(loader):
        print("batch", flush=True)
        time.sleep({pause})
    print("done", flush=True)
"""


def script(folder, mixed, guard="__name__ == '__main__'", pause=0.0, workers=2):
    path = folder / "script.py"
    said = SCRIPT.format(guard=guard, store=str(folder / "mixed"), pause=pause, workers=workers)
    path.write_text(said)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def gone(group):
    """Wait until no process of a group is left."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_script_that_is_stopped(mixed, folder, ends):
    process = script(folder, mixed, pause=0.3)
    assert process.stdout.readline() == "start\n" and process.stdout.readline() == "batch\n"
    if ends == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(process.pid, ends)
    else:
        process.send_signal(ends)
    _, errors = process.communicate(timeout=60)
    assert gone(process.pid)
    assert process.returncode != 0
    if ends == signal.SIGINT:
        assert "KeyboardInterrupt" in errors and errors.count("Traceback") == 1


def test_a_script_without_the_guard_is_told_so(mixed, folder):
    process = script(folder, mixed, guard="True", workers=1)
    _, errors = process.communicate(timeout=100)
    assert process.returncode != 0 and "if __name__ ==" in errors
    assert gone(process.pid)


def test_errors_are_typed(mixed):
    with pytest.raises(LrfrError, match="workers"):
        PairLoader(mixed, 8, workers=-1)
