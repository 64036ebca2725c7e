"""Batches of a view in the order of an epoch, a pure function of (seed, epoch), read ahead by threads or
processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError, as_count, check_kind
from lrfr.pairs.format.pair_batch import Batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.order import IDENTITY_DRAW_REVISION, Identities, epoch_order, weighted_order
from lrfr.pairs.reading.read_pool import ReadPool
from lrfr.pairs.reading.shard_fetch import with_fetching

AHEAD_BATCHES = 4


@dataclass(eq=False)
class PairLoader:
    """Batches of a dataset, epoch after epoch.

    The order is a pure function of (seed, epoch); global batch ``t`` holds the samples ``[t * G, (t + 1) *
    G)`` with ``G = batch_size * world_size`` and each rank takes its slice. So (epoch, t) is all the state
    there is: a run may go on with other threads and, at the same ``G``, another world size, without skipping
    or repeating a sample.

    Iterating yields the batches of one epoch; when all were taken the next epoch follows, or the one that
    :meth:`set_epoch` names. :meth:`state_dict` may be asked between any two batches.

    Attributes:
        dataset: what to read.
        batch_size: per rank.
        seed: of the order.
        rank: of this process, from 0.
        world_size: number of processes.
        threads: reading threads; 0 reads in the caller.
        shuffle: whether to permute; without it rows come in row order.
        drop_last: whether an incomplete last global batch is left out.
        workers: reading processes in place of threads, for where decoding keeps more cores busy than threads
            can (a script needs the ``__main__`` guard); 0 for none. They stay for later epochs, until
            :meth:`close`.
        images_per_id: K: batches hold ``batch_size / K`` identities with K images each, see
            :class:`~lrfr.pairs.reading.order.Identities`; 0 draws rows freely.
        columns: names of row arrays that batches carry, see :meth:`PairDataset.column`.
        weights: name of a row array of numbers of 0 or more: how often a row comes in an epoch, in
            proportion; the epoch is as long as without. "" shows each once.

    """

    dataset: PairDataset
    batch_size: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    threads: int = 1
    shuffle: bool = True
    drop_last: bool = True
    workers: int = 0
    images_per_id: int = 0
    columns: Sequence[str] = ()
    weights: str = ""

    def __post_init__(self) -> None:
        check_kind(self.dataset, PairDataset, "a PairDataset")
        least = {"batch_size": 1, "seed": 0, "rank": 0, "world_size": 1, "threads": 0, "workers": 0}
        for name, low in {**least, "images_per_id": 0}.items():
            setattr(self, name, as_count(getattr(self, name), name, low))
        if self.rank >= self.world_size:
            raise SpecError(f"rank {self.rank} of {self.world_size} processes", hint="0 <= rank < world_size")
        if self.columns:
            self.dataset = self.dataset.with_columns(*self.columns)
        if self.weights and (self.images_per_id or not self.shuffle):
            raise SpecError("weights go with neither images_per_id nor shuffle=False")
        self._weights = self.dataset.column(self.weights) if self.weights else None
        if self._weights is not None and len(self._weights.shape) != 1:
            raise SpecError(f"the column '{self.weights}' holds several numbers a row, not a weight")
        self._people = self._grouped() if self.images_per_id else None
        self._pools: list[ReadPool] = []
        self.epoch = 0
        self._taken = 0  # batches of this epoch that were handed out
        self._first = 0  # where the next iteration starts; 0 but behind load_state_dict

    def _grouped(self) -> Identities:
        if self.batch_size % self.images_per_id:
            raise SpecError(
                f"batch_size {self.batch_size} is not a multiple of images_per_id {self.images_per_id}"
            )
        if not self.shuffle:
            raise SpecError("images_per_id draws identities", hint="leave shuffle=False out")
        return Identities(self.dataset.labels, self.images_per_id)

    @property
    def left_out(self) -> int:
        """How many rows no epoch shows: with ``images_per_id``, those of identities with fewer images and
        those without identity.
        """
        return self._people.left_out if self._people else 0

    @property
    def left_over(self) -> int:
        """How many further rows an epoch does not show, others every time: what fills no batch
        (``drop_last``), and more than ``images_per_id`` of an identity.
        """
        shown = self.batches_per_epoch * self.batch_size * self.world_size
        return len(self.dataset) - self.left_out - min(shown, self._shown())

    def _shown(self) -> int:
        return len(self._people) if self._people else len(self.dataset)

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in an epoch."""
        share = self.batch_size * self.world_size
        return self._shown() // share if self.drop_last else -(-self._shown() // share)

    def __len__(self) -> int:
        """Return how many batches this rank gets in an epoch."""
        share = self.batch_size * self.world_size
        last = self._shown() % share
        left_out = not self.drop_last and 0 < last <= self.rank * self.batch_size
        return self.batches_per_epoch - left_out

    def __iter__(self) -> Iterator[Batch]:
        """Yield this epoch's batches: all of them, or what :meth:`load_state_dict` left of them."""
        if self._is_over():  # of somebody who took as many as there are and did not ask for one more
            self.set_epoch(self.epoch + 1)
        epoch, first = self.epoch, self._first
        self._first, self._taken = 0, first
        for number, batch in enumerate(self.iterate(epoch, first), first + 1):
            self._taken = number
            yield batch
        self.set_epoch(epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, to its first batch unless it is the one that was loaded or runs."""
        epoch = as_count(epoch, "epoch")
        if epoch != self.epoch or self._is_over():
            self.epoch, self._taken, self._first = epoch, 0, 0

    def _is_over(self) -> bool:
        return not self._first and 0 < len(self) == self._taken

    def state_dict(self) -> dict[str, int | str | bool]:
        """Return where this loader is: plain values, the same on every rank."""
        return {**self._order(), "epoch": self.epoch, "batch": self._taken}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go to where :meth:`state_dict` was asked; the next iteration yields what was left of that epoch.

        Raises:
            SpecError: the state belongs to another view, seed, order or global batch.

        """
        check_kind(state, Mapping, "what state_dict() returned")
        mine = self._order()
        for name in sorted({*mine, *state} - {"epoch", "batch"}):
            if state.get(name) != mine.get(name):
                raise SpecError(
                    f"the state is of another order: {name} {state.get(name)!r}, here {mine.get(name)!r}",
                    hint="go on with the same view, seed, images_per_id and batch_size * world_size",
                )
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int) or epoch < 0 or batch < 0:
            raise SpecError(f"no place to go on from: epoch {epoch!r}, batch {batch!r}", hint="integers >= 0")
        self.epoch, self._taken, self._first = epoch, batch, batch

    def _order(self) -> dict[str, int | str | bool]:
        """Return what decides which samples the global batch of a number holds."""
        grouped = {"images_per_id": self.images_per_id, "identity_draw": IDENTITY_DRAW_REVISION}
        weighted = {"weights": "" if self._weights is None else f"{self.weights} by {self._weights.producer}"}
        return {
            **(grouped if self.images_per_id else {}),
            **(weighted if self.weights else {}),
            "view": self.dataset.digest,
            "rows": len(self.dataset),
            "seed": self.seed,
            "global_batch": self.batch_size * self.world_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }

    def positions(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the dataset positions of every batch of this rank."""
        if self._people:
            order = self._people.order(self.seed, epoch)
        elif self._weights is not None:
            order = weighted_order(np.asarray(self._weights[:], np.float64), self.seed, epoch)
        else:
            order = epoch_order(len(self.dataset), self.seed, epoch, self.shuffle)
        share = self.batch_size * self.world_size
        first = self.rank * self.batch_size
        return [
            order[t * share : (t + 1) * share][first : first + self.batch_size]
            for t in range(self.batches_per_epoch)
        ]

    def iterate(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch ``start`` on (no batch before it is read).

        Raises:
            DataError: a shard or record is damaged; raised where its batch would have come.
            EnvironmentFault: a reading process died.

        """
        wanted = [item for item in self.positions(epoch)[start:] if len(item)]
        return with_fetching(self._read(wanted, epoch), self.dataset.reader, wanted, epoch)

    def _read(self, wanted: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        if self.workers:
            return self._by_processes(wanted, epoch)
        if self.threads:
            return self._by_threads(wanted, epoch)
        return (self.dataset.batch(item, epoch) for item in wanted)

    def _by_threads(self, wanted: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        ahead = max(AHEAD_BATCHES, 2 * self.threads)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="lrfr-read")
        try:
            waiting = deque(pool.submit(self.dataset.batch, item, epoch) for item in wanted[:ahead])
            for index in range(len(wanted)):
                batch = waiting.popleft().result()
                if index + ahead < len(wanted):
                    waiting.append(pool.submit(self.dataset.batch, wanted[index + ahead], epoch))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def _by_processes(self, wanted: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        # a second iteration beside a running one gets processes of its own
        pool = next((pool for pool in self._pools if pool.idle), None)
        if pool is None:
            pool = ReadPool(self.dataset.reader, self.workers, self.batch_size)
            self._pools.append(pool)
        pool.idle = False
        try:
            for positions, images in zip(wanted, pool.read(wanted, epoch), strict=True):
                yield self.dataset.as_batch(positions, images)
        finally:
            if pool.usable:
                pool.idle = True
            else:
                pool.close()
                self._pools = [other for other in self._pools if other is not pool]

    def close(self) -> None:
        """End the reading processes, if there are any; they also end with the loader, and start again when
        they are needed.
        """
        while self._pools:
            self._pools.pop().close()

    def __enter__(self) -> PairLoader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
