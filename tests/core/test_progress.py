"""Hooks say nothing by default; a signal asks to stop once, then acts as it would have."""

import os
import signal
import threading

import pytest

from lrfr.core.progress import SILENT, Hooks, stop_on_signal


class Terminated(BaseException):
    pass


@pytest.fixture
def handlers():
    """SIGINT and SIGTERM raise, as in a plain script; given back at the end."""

    def on_term(signum, frame):
        raise Terminated

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, on_term),
    }
    yield on_term
    for number, handler in before.items():
        signal.signal(number, handler)


def test_silence_takes_everything_and_never_stops():
    SILENT.progress(1, 2, loss=3.0)
    SILENT.note("nobody hears")
    assert not SILENT.stopping()


def test_hooks_hand_on_what_they_are_told():
    heard = []
    stop = []
    hooks = Hooks(
        lambda done, total, **info: heard.append((done, total, info)), heard.append, lambda: bool(stop)
    )
    hooks.progress(3, 9, loss=0.5)
    hooks.note("a remark")
    assert heard == [(3, 9, {"loss": 0.5}), "a remark"]
    assert not hooks.stopping()
    stop.append(True)
    assert hooks.stopping()


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_signal_raises_the_flag_and_is_delivered_at_the_end(handlers, number, raised):
    reached = []
    with pytest.raises(raised), stop_on_signal(lambda: reached.append("told")) as flag:
        assert not flag.asked()
        os.kill(os.getpid(), number)
        assert flag.asked()
        assert flag.signum == number
        reached.append("the work after it is finished")
    assert reached == ["told", "the work after it is finished"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is handlers


def test_a_second_signal_acts_at_once(handlers):
    reached = []
    with pytest.raises(KeyboardInterrupt), stop_on_signal():
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("first")
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("never")
    assert reached == ["first"]


def test_an_error_of_the_work_is_not_hidden_by_the_signal(handlers):
    with pytest.raises(ValueError, match="broken"), stop_on_signal():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGTERM) is handlers


def test_handlers_are_put_back_without_any_signal(handlers):
    with stop_on_signal() as flag:
        assert signal.getsignal(signal.SIGTERM) is not handlers
    assert not flag.asked()
    assert signal.getsignal(signal.SIGTERM) is handlers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stops_nothing(handlers, number):
    """As in a job in the background of a script: half of the work shall not pass for all of it."""
    signal.signal(number, signal.SIG_IGN)
    with stop_on_signal() as flag:
        os.kill(os.getpid(), number)
        assert not flag.asked()
    assert signal.getsignal(number) is signal.SIG_IGN


def test_a_stop_inside_another_reaches_both(handlers):
    """An inner long function ends with its signal delivered to the outer one, whose flag it raises."""
    with pytest.raises(Terminated), stop_on_signal() as outer:
        with stop_on_signal() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.asked()
            assert not outer.asked()
        assert outer.asked()


def test_other_threads_catch_nothing(handlers):
    found = []

    def work():
        with stop_on_signal() as flag:
            found.extend([flag.asked(), signal.getsignal(signal.SIGTERM) is handlers])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, True]
