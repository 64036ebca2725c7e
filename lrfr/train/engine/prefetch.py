"""Decode the next batch while this one trains, and know how long training waited for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Iterate ``source`` in one background thread, ``depth`` items ahead, in its order.

    An exception of the source is raised at the place where its item would have come. ``waited_s`` is the time
    that the consumer spent waiting.
    """

    def __init__(self, source: Iterable[Item], depth: int = 2) -> None:
        self.waited_s = 0.0
        self._items: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source,), daemon=True, name="lrfr-prefetch")
        self._thread.start()

    def _fill(self, source: Iterable[Item]) -> None:
        last: tuple[bool, Item | BaseException | None] = (False, None)
        try:
            for item in source:
                if not self._put((True, item)):
                    return
        except BaseException as error:
            last = (False, error)
        self._put(last)

    def _put(self, entry: tuple[bool, Item | BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._items.put(entry, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        while True:
            start = time.perf_counter()
            good, item = self._items.get()
            self.waited_s += time.perf_counter() - start
            if good:
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join()
