"""Processes that read ahead: each decodes into memory that it shares with its parent; it has no name and so
cannot be left behind.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import EnvironmentFault, LrfrError
from lrfr.pairs.executors.base import prepare_worker
from lrfr.pairs.executors.local import why_broken
from lrfr.pairs.reading.pair_reader import Images, PairReader

# one is read by the parent while the next is being filled
SLOTS = 2
_END_SECONDS = 5.0


class SharedMemory:
    """Bytes that a process and those it spawns both see; freed with the last of them, however it ends."""

    def __init__(self, size: int) -> None:
        self._open(_nameless_file(size), size)

    def _open(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self.map = mmap.mmap(descriptor, size)
        weakref.finalize(self, os.close, descriptor)

    def __reduce__(self) -> tuple[object, ...]:
        """Hand the file itself to a process that is being started."""
        from multiprocessing.reduction import DupFd

        return (_opened, (DupFd(self._descriptor), self.size))


def _opened(handle: object, size: int) -> SharedMemory:
    made = SharedMemory.__new__(SharedMemory)
    made._open(handle.detach(), size)  # type: ignore[attr-defined]  # a private class of multiprocessing
    return made


def _nameless_file(size: int) -> int:
    """Return the descriptor of a new file in no folder: in memory where the system can, which no small
    ``/dev/shm`` of a container limits.
    """
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("lrfr-read")
        else:
            with tempfile.TemporaryFile(prefix="lrfr-read-") as handle:
                descriptor = os.dup(handle.fileno())
        os.ftruncate(descriptor, size)
    except OSError as error:
        raise EnvironmentFault(f"no {size:,} bytes of memory to read into: {error.strerror}") from None
    return descriptor


@dataclass(frozen=True)
class Slots:
    """Memory for the images of a few batches of one reading process.

    Attributes:
        memory: of all.
        batch: most faces of a batch.
        side: of the HR images in pixels.
        lr_side: of the LR images; 0 where LR is no other image than HR.

    """

    memory: SharedMemory
    batch: int
    side: int
    lr_side: int

    @classmethod
    def of(cls, reader: PairReader, batch: int) -> Slots:
        """Return slots for batches of a view."""
        side, lr_side = reader.size_px, reader.lr_side if reader.lr else 0
        size = SLOTS * batch * (side * side + lr_side * lr_side) * 3
        return cls(SharedMemory(size), batch, side, lr_side)

    def images(self, slot: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return HR and LR of the first faces of a slot, uint8 ``[count, side, side, 3]`` each."""
        one = np.frombuffer(self.memory.map, np.uint8).reshape(SLOTS, -1)[slot]
        place = self.batch * self.side * self.side * 3
        hr = one[:place].reshape(self.batch, self.side, self.side, 3)[:count]
        if not self.lr_side:
            return hr, hr
        return hr, one[place:].reshape(self.batch, self.lr_side, self.lr_side, 3)[:count]


@dataclass(frozen=True)
class Wish:
    """Positions to read as they are in an epoch, and the slot to read them into."""

    positions: NDArray[np.int64]
    epoch: int
    slot: int


def _serve(answers: Connection, slots: Slots) -> None:
    """Read what is wished until the parent has gone."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prepare_worker()
    try:
        answers.send(None)
        reader: PairReader = answers.recv()
        while True:
            _answer(answers, reader, slots, answers.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(answers: Connection, reader: PairReader, slots: Slots, wish: Wish) -> None:
    try:
        into = slots.images(wish.slot, len(wish.positions))
        answers.send(reader.read(wish.positions, wish.epoch, into).size_px_b)
    except LrfrError as error:
        answers.send(error)
    except Exception as error:
        # another's exception may not survive the way; its text does
        answers.send(EnvironmentFault(f"a reading process failed: {type(error).__name__}: {error}"))


class ReadPool:
    """Spawned processes that read batches of one view, each in its turn, so that batches come in order.

    Args:
        reader: what to read.
        workers: how many processes.
        batch: most faces of a batch.

    Attributes:
        usable: whether the next batches may be asked for; not after an interruption or a death.
        idle: whether nobody reads, kept by its owner.

    """

    def __init__(self, reader: PairReader, workers: int, batch: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._slots = [Slots.of(reader, batch) for _ in range(workers)]
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        self._owed = [0] * workers
        self._started = False
        self.usable = self.idle = True
        self._end = weakref.finalize(self, _end, self._pipes, self._processes)
        try:
            self._start(context, reader)
        except BaseException:
            self.close()
            raise

    def _start(self, context: SpawnContext, reader: PairReader) -> None:
        for slots in self._slots:
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, slots), daemon=True, name="lrfr-read")
            process.start()
            # with no copy left here, the end of the process is the end of the pipe
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)
        for worker in range(len(self._slots)):  # they import at the same time
            self._hear(worker)
            self._say(worker, reader)
        self._started = True

    def read(self, batches: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Images]:
        """Yield the images of every batch, in order, in memory of their own.

        Raises:
            DataError: a shard or record is damaged; names it.
            EnvironmentFault: a process died.

        """
        workers, asked = len(self._pipes), 0
        for worker in range(workers):  # what an iteration that was left early had asked for
            while self._owed[worker]:
                self._hear(worker)
        for index, positions in enumerate(batches):
            while asked < min(len(batches), index + SLOTS * workers):
                wish = Wish(batches[asked], epoch, asked // workers % SLOTS)
                self._say(asked % workers, wish)
                self._owed[asked % workers] += 1
                asked += 1
            sizes = self._hear(index % workers)
            if isinstance(sizes, LrfrError):
                raise sizes
            slots = self._slots[index % workers]
            hr, lr = slots.images(index // workers % SLOTS, len(positions))
            own = hr.copy()
            yield Images(own, lr.copy() if slots.lr_side else own, np.asarray(sizes, np.int64))

    def _say(self, worker: int, what: object) -> None:
        self.usable = False
        try:
            self._pipes[worker].send(what)
        except OSError:
            raise self._fault() from None
        self.usable = True

    def _hear(self, worker: int) -> object:
        """Wait for an answer; an interruption leaves the pool unusable, for half of a message may be read."""
        self.usable = False
        pipe, process = self._pipes[worker], self._processes[worker]
        try:
            if pipe not in wait([pipe, process.sentinel]):
                raise EOFError
            found: object = pipe.recv()
        except (EOFError, OSError):
            raise self._fault() from None
        self._owed[worker] = max(0, self._owed[worker] - 1)
        self.usable = True
        return found

    def _fault(self) -> LrfrError:
        return why_broken(self._started, "spawn", "load_state_dict() goes on where state_dict() was asked")

    def close(self) -> None:
        """End the processes."""
        self.usable = self.idle = False
        self._end()


def _end(pipes: list[Connection], processes: list[SpawnProcess]) -> None:
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(_END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
