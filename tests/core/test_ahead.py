"""Working ahead: in order, bounded, errors in their turn, and no thread left behind."""

import threading
import time

import pytest

from lrfr.core.machine import ahead


@pytest.mark.parametrize("threads, depth", [(1, 1), (3, 1), (2, 5), (4, 100)])
def test_results_come_in_order(threads, depth):
    def slow(item):
        time.sleep(0.001 * (item % 3))
        return item * item

    assert list(ahead(slow, range(40), threads=threads, depth=depth)) == [n * n for n in range(40)]
    assert list(ahead(slow, [], threads=threads, depth=depth)) == []


def test_no_more_than_depth_is_done_before_it_is_taken():
    begun, results = [], ahead(lambda item: begun.append(item) or item, range(100), threads=2, depth=5)
    for taken in range(20):
        assert next(results) == taken
        time.sleep(0.002)
        assert len(begun) <= taken + 5
    results.close()
    time.sleep(0.05)
    assert len(begun) < 30


def test_an_error_is_raised_in_its_turn_and_ends_the_threads():
    def work(item):
        if item == 7:
            raise ValueError("seven")
        return item

    taken = []
    with pytest.raises(ValueError, match="seven"):
        for item in ahead(work, range(50), threads=3, depth=9):
            taken.append(item)
    assert taken == list(range(7))
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("lrfr-ahead") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread is left"
        time.sleep(0.01)
