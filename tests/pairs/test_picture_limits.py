"""A picture that stalls, a record that lies, a reader that fails in its own way: each is one refused face with a
code, on every executor, and the run goes on.
"""

import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from lrfr.core.errors import DataError, EnvironmentFault, ImageFault
from lrfr.pairs.executors import picture_limits
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.executors.picture_limits import (
    FaceLimits,
    bounded_memory,
    picture_within_limits,
    within_limits,
)
from tests.pairs.toy import ToySource, build

SLOW, LIES, ODD, STARVED = (5, 1), (1, 2), (2, 1), (3, 0)


def _burn():
    """Take the processor, as a decoder in Python does that never ends."""
    until = time.thread_time() + 5
    while time.thread_time() < until:
        try:
            sum(range(1000))
        except Exception:
            pass
    raise AssertionError("nobody has ended it")


@dataclass(frozen=True)
class BadSource(ToySource):
    """One face stalls, one is no picture, one record is not what it says, one wants all memory."""

    def __setstate__(self, state):
        picture_limits.SECONDS = 0.2  # in the worker, too
        self.__dict__.update(state)

    def read(self, place):
        if tuple(place) == SLOW:
            _burn()
        if tuple(place) == LIES:
            return "text"
        if tuple(place) == ODD:
            raise IndexError("record 7 of 3")
        if tuple(place) == STARVED:
            return np.zeros(1 << 46, np.uint8)
        return super().read(place)


@pytest.fixture(autouse=True)
def _limit(monkeypatch):
    monkeypatch.setattr(picture_limits, "SECONDS", picture_limits.SECONDS)
    monkeypatch.setattr(picture_limits, "WAITING_SECONDS", picture_limits.WAITING_SECONDS)


@pytest.mark.parametrize(
    "runner", [Runner("serial"), Runner("process", 2, start="fork")], ids=["serial", "process"]
)
def test_a_bad_face_is_refused_with_its_code_and_the_run_goes_on(runner, folder):
    picture_limits.SECONDS = 0.2
    made = build(folder / "store", BadSource(ids=6, per_id=3), runner)
    assert dict(made.done.report.refused) == {"E_SLOW": 1, "E_RECORD": 2, "E_BOMB": 1}
    assert made.done.rows == 18 - 4
    told = (folder / "store/reports/default.quarantine.jsonl").read_text()
    assert "IndexError: record 7 of 3" in told and "gives str" in told
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL


def test_in_a_thread_it_is_refused_once_it_has_ended():
    picture_limits.SECONDS = 0.05
    found = []

    def work():
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass

    def run():
        with pytest.raises(ImageFault, match="E_SLOW"):
            within_limits(work)
        found.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImageFault("E_FORMAT"), "E_FORMAT"),
        (DataError("cut"), "E_RECORD"),
        (OSError(5, "EIO"), "E_READ"),
        (MemoryError(), "E_BOMB"),
        (RecursionError(), "E_RECORD"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "y"), "E_RECORD"),
    ],
)
def test_what_a_reader_raises_is_a_code(error, code):
    def work():
        raise error

    with pytest.raises(ImageFault) as caught:
        within_limits(work)
    assert caught.value.code == code


@pytest.mark.parametrize("error", [EnvironmentFault("disk full"), KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_a_run_still_ends_it(error):
    def work():
        raise error

    with pytest.raises(type(error)):
        within_limits(work)


def test_a_busy_machine_refuses_nothing():
    """The clock on the wall does not count: a face that waits takes no processor."""
    picture_limits.SECONDS = 0.01
    assert within_limits(lambda: time.sleep(0.05) or 7) == 7


def test_a_reader_that_only_waits_ends_the_run_and_an_alarm_of_others_stays():
    picture_limits.WAITING_SECONDS = 0.05
    held, handler = signal.setitimer(signal.ITIMER_REAL, 0)[0], signal.getsignal(signal.SIGALRM)
    try:
        with pytest.raises(EnvironmentFault, match="waited for longer"):
            within_limits(lambda: time.sleep(30))
        assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]) == (handler, 0)
        signal.setitimer(signal.ITIMER_REAL, 200)
        assert within_limits(lambda: time.sleep(0.1) or 7) == 7
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, held)


def test_the_limit_of_memory_is_put_back():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with bounded_memory(), pytest.raises(MemoryError):
        np.zeros(1 << 46, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.parametrize(
    "content, code",
    [(b"", "E_EMPTY"), (b"no picture", "E_FORMAT"), ("text", "E_RECORD"), (np.zeros((4, 4)), "E_RECORD")],
)
def test_what_a_command_looks_at_itself_is_refused_as_in_a_task(content, code):
    with pytest.raises(ImageFault) as caught:
        picture_within_limits(lambda: content)
    assert caught.value.code == code


def test_many_faces_of_a_block_have_their_time_each():
    """The timers run on over all of them."""
    picture_limits.SECONDS = 0.1

    def work():
        until = time.thread_time() + 0.03
        while time.thread_time() < until:
            pass
        return True

    with FaceLimits() as within:
        assert all(within(work) for _ in range(10))
        with pytest.raises(ImageFault, match="E_SLOW"):
            within(_burn)
        assert within(work)
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL


def test_a_block_within_a_block_leaves_the_outer_its_timers():
    picture_limits.SECONDS = 0.1
    with FaceLimits() as within:
        assert within_limits(lambda: 7) == 7
        with pytest.raises(ImageFault, match="E_SLOW"):
            within(_burn)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
