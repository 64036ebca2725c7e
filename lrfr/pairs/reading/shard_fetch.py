"""Fetching the shards of the next batches of a store at an address, while this one is used."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import LrfrError
from lrfr.pairs.format.remote.mirror import Mirror, keep
from lrfr.pairs.reading.pair_reader import PairReader

T = TypeVar("T")
# at once; more hardly makes one machine's network busier
THREADS = 8
# batches ahead of the one in use: those that the loader reads ahead, and as many again
AHEAD_BATCHES = 8
FORGET_BATCHES = 64


def with_fetching(
    batches: Iterator[T], reader: PairReader, wanted: Sequence[NDArray[np.int64]], epoch: int
) -> Iterator[T]:
    """Yield batches; where their store is a mirror, fetch what the next ones need in threads.

    Args:
        batches: as they are read, one for each of ``wanted``.
        reader: of the view.
        wanted: positions of every batch.
        epoch: of which they are.

    """
    if Mirror.of(reader.hr.folders[0].path) is None:
        return batches
    return _ahead(batches, reader, wanted, epoch)


def _ahead(
    batches: Iterator[T], reader: PairReader, wanted: Sequence[NDArray[np.int64]], epoch: int
) -> Iterator[T]:
    pool, asked = ThreadPoolExecutor(THREADS, thread_name_prefix="lrfr-fetch"), set[Path]()
    mirror = Mirror.of(reader.hr.folders[0].path)
    assert mirror is not None
    # bytes asked for by each batch that is not read yet: half of the cache is for what is read now
    ahead: deque[int] = deque(maxlen=AHEAD_BATCHES)

    def ask(positions: NDArray[np.int64]) -> None:
        ahead.append(0)
        for path, size, sha256 in reader.shard_files(positions, epoch):
            if path not in asked and 2 * (sum(ahead) + size) <= mirror.cache.most_bytes:
                asked.add(path)
                ahead[-1] += size
                pool.submit(_fetch, path, size, sha256)

    def next_one(number: int) -> None:
        # what a small cache has removed since is asked for again
        if number % FORGET_BATCHES == 0:
            asked.clear()
        for positions in wanted[number : number + 1]:
            ask(positions)

    try:
        for number in range(AHEAD_BATCHES):
            next_one(number)
        for number, batch in enumerate(batches):
            next_one(number + AHEAD_BATCHES)
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(path: Path, size: int, sha256: str) -> None:
    try:
        held = keep(path, size, sha256)
    except LrfrError:
        return  # whoever reads it meets the same and says so
    if held is not None:
        os.close(held)
