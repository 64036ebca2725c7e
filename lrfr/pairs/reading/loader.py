"""Batches of a view in the order of an epoch, a pure function of (seed, epoch), read ahead by threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError, as_count, check_kind
from lrfr.core.files import digest_of
from lrfr.pairs.format.pair_batch import Batch
from lrfr.pairs.format.shard_layout import UNIT_ROWS
from lrfr.pairs.reading.dataset import PairDataset

AHEAD_BATCHES = 4
WINDOW_ROWS = 4096


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

    """

    dataset: PairDataset
    batch_size: int
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    threads: int = 1
    shuffle: bool = True
    drop_last: bool = True

    def __post_init__(self) -> None:
        check_kind(self.dataset, PairDataset, "a PairDataset")
        for name, least in (("batch_size", 1), ("seed", 0), ("rank", 0), ("world_size", 1), ("threads", 0)):
            setattr(self, name, as_count(getattr(self, name), name, least))
        if self.batch_size < 1 or not 0 <= self.rank < self.world_size:
            raise SpecError(
                f"batch size {self.batch_size}, rank {self.rank} of {self.world_size}",
                hint="batch size >= 1 and 0 <= rank < world size",
            )
        self.epoch = 0
        self._taken = 0  # batches of this epoch that were handed out
        self._first = 0  # where the next iteration starts; 0 but behind load_state_dict

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in an epoch."""
        share = self.batch_size * self.world_size
        return len(self.dataset) // share if self.drop_last else -(-len(self.dataset) // share)

    def __len__(self) -> int:
        """Return how many batches this rank gets in an epoch."""
        share = self.batch_size * self.world_size
        last = len(self.dataset) % share
        left_out = not self.drop_last and 0 < last <= self.rank * self.batch_size
        return self.batches_per_epoch - left_out

    def __iter__(self) -> Iterator[Batch]:
        """Yield this epoch's batches: all of them, or what :meth:`load_state_dict` left of them."""
        epoch, first = self.epoch, self._first
        self._first, self._taken = 0, first
        for number, batch in enumerate(self.iterate(epoch, first), first + 1):
            self._taken = number
            yield batch
        self.set_epoch(epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, to its first batch unless it is the one that was loaded or runs."""
        epoch = as_count(epoch, "epoch")
        if epoch != self.epoch:
            self.epoch, self._taken, self._first = epoch, 0, 0

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
        for name, value in mine.items():
            if state.get(name) != value:
                raise SpecError(
                    f"the state is of another order: {name} {state.get(name)!r}, here {value!r}",
                    hint="go on with the same view, seed and batch_size * world_size",
                )
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int) or epoch < 0 or batch < 0:
            raise SpecError(f"no place to go on from: epoch {epoch!r}, batch {batch!r}", hint="integers >= 0")
        self.epoch, self._taken, self._first = epoch, batch, batch

    def _order(self) -> dict[str, int | str | bool]:
        """Return what decides which samples the global batch of a number holds."""
        return {
            "view": self.dataset.digest,
            "rows": len(self.dataset),
            "seed": self.seed,
            "global_batch": self.batch_size * self.world_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
        }

    def positions(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the dataset positions of every batch of this rank."""
        order = epoch_order(len(self.dataset), self.seed, epoch, self.shuffle)
        share = self.batch_size * self.world_size
        first = self.rank * self.batch_size
        return [
            order[t * share : (t + 1) * share][first : first + self.batch_size]
            for t in range(self.batches_per_epoch)
        ]

    def iterate(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch ``start`` on (no batch before it is read)."""
        wanted = [item for item in self.positions(epoch)[start:] if len(item)]
        if self.threads < 1:
            for item in wanted:
                yield self.dataset.batch(item, epoch)
            return
        with ThreadPoolExecutor(self.threads, thread_name_prefix="lrfr-read") as pool:
            waiting = [pool.submit(self.dataset.batch, item, epoch) for item in wanted[:AHEAD_BATCHES]]
            for index in range(len(wanted)):
                batch = waiting.pop(0).result()
                if index + AHEAD_BATCHES < len(wanted):
                    waiting.append(pool.submit(self.dataset.batch, wanted[index + AHEAD_BATCHES], epoch))
                yield batch


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool = True) -> NDArray[np.int64]:
    """Return a permutation of ``range(count)``: the same for every rank, worker and restart.

    Units of 64 neighboring rows are permuted, then rows are shuffled inside windows of 4,096, so that reading
    touches few pages at a time. Rows already lie in random order in a base, so batches are as mixed as those
    of a full shuffle.
    """
    if not shuffle:
        return np.arange(count, dtype=np.int64)
    units = (count + UNIT_ROWS - 1) // UNIT_ROWS
    unit_order = np.argsort(_random_words(seed, epoch, "units", units), kind="stable")
    rows = (unit_order[:, None] * UNIT_ROWS + np.arange(UNIT_ROWS)).reshape(-1)
    rows = rows[rows < count]
    window = np.arange(count) // WINDOW_ROWS
    return np.asarray(rows[np.lexsort((_random_words(seed, epoch, "rows", count), window))], np.int64)


def _random_words(seed: int, epoch: int, name: str, count: int) -> NDArray[np.uint64]:
    key = int(digest_of([seed, epoch, name])[:32], 16)
    return np.asarray(np.random.Philox(key=key).random_raw(count), np.uint64)
