"""What runs beside the steps: the next batches are decoded ahead, the last checkpoint is written behind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch
from torch import Tensor

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


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies in memory of the host; those of a GPU go together, through page-locked memory."""
    copies = {}
    for name, tensor in tensors.items():
        if tensor.is_cuda:
            copies[name] = torch.empty_like(tensor, device="cpu", pin_memory=True)
            copies[name].copy_(tensor, non_blocking=True)
        else:
            copies[name] = tensor.detach().to("cpu", copy=True)
    if any(tensor.is_cuda for tensor in tensors.values()):
        torch.cuda.synchronize()
    return copies


class Writer:
    """Write in one background thread, in order, and one thing at a time: a second waits for the first.

    What fails there is raised here, at the next :meth:`check`, :meth:`submit` or :meth:`close`.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lrfr-writer")
        self._last: Future[None] | None = None

    def submit(self, work: Callable[[], None]) -> None:
        """Wait for the work before, then begin this one."""
        self.wait()
        self._last = self._pool.submit(work)

    def check(self) -> None:
        """Raise what has failed by now; wait for nothing."""
        if self._last is not None and self._last.done():
            self.wait()

    def wait(self) -> None:
        """Wait until all is written."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def close(self) -> None:
        """Wait and end the thread."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()
