"""Which batches a run sees, in the order of the pairs room or identities with several images each, and their
flips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.core.errors import DataError, SpecError
from lrfr.pairs.format.pair_batch import Batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.train.engine.distributed import World
from lrfr.train.settings import TrainSettings


class Loader(Protocol):
    """Batches as a pure function of (seed, epoch), read from any place in the epoch."""

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in an epoch."""

    def iterate(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this process's batches from batch ``start`` on."""


class PkLoader:
    """Every batch holds P identities with K images each (batch-hard triplets need it).

    An epoch takes every identity with at least K images once, in an order drawn from (seed, epoch); its K
    images are drawn too.

    Args:
        dataset: what to read.
        batch_size: P * K of this process.
        images_per_id: K.
        seed: of the draws.
        rank: of this process.
        world_size: number of processes.

    """

    def __init__(
        self,
        dataset: PairDataset,
        batch_size: int,
        images_per_id: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % images_per_id:
            raise SpecError(
                f"train.batch_size {batch_size} is not a multiple of train.images_per_id {images_per_id}"
            )
        self.dataset, self.seed, self.rank, self.world_size = dataset, seed, rank, world_size
        self.images, self.people = images_per_id, batch_size // images_per_id
        counts = np.bincount(dataset.labels[dataset.labels >= 0], minlength=dataset.num_classes)
        self.eligible = np.flatnonzero(counts >= images_per_id)
        # stable: within an identity, positions stay in the order of the rows on every machine
        self.by_label = np.argsort(dataset.labels, kind="stable")
        self.firsts = np.searchsorted(dataset.labels[self.by_label], np.arange(dataset.num_classes))
        self.counts = counts

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in an epoch."""
        return len(self.eligible) // (self.people * self.world_size)

    def positions(self, epoch: int, place: int) -> NDArray[np.int64]:
        """Return the dataset positions of one batch of this process."""
        order = np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(self.eligible)
        first = (place * self.world_size + self.rank) * self.people
        rows = []
        for label in order[first : first + self.people]:
            # a stream for each identity: what it draws does not depend on which others are in the batch
            draw = np.random.Generator(np.random.Philox(key=[self.seed, (epoch << 32) + int(label) + 1]))
            chosen = draw.permutation(self.counts[label])[: self.images]
            rows.append(self.by_label[self.firsts[label] + chosen])
        return np.concatenate(rows)

    def iterate(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of an epoch from batch ``start`` on."""
        for place in range(start, self.batches_per_epoch):
            yield self.dataset.batch(self.positions(epoch, place), epoch)


def make_loader(dataset: PairDataset, settings: TrainSettings, world: World) -> Loader:
    """Return the loader of this process.

    Raises:
        SpecError: the batch cannot be shared out.
        DataError: the view has fewer faces than one batch.

    """
    share, rest = divmod(settings.batch_size, world.size)
    if rest:
        raise SpecError(f"train.batch_size {settings.batch_size} is not a multiple of {world.size} processes")
    loader: Loader
    if settings.images_per_id:
        loader = PkLoader(
            dataset, share, settings.images_per_id, seed=settings.seed, rank=world.rank, world_size=world.size
        )
    else:
        threads = settings.read_threads
        loader = PairLoader(
            dataset, share, seed=settings.seed, rank=world.rank, world_size=world.size, threads=threads
        )
    if loader.batches_per_epoch < 1:
        raise DataError(
            f"the view has {len(dataset)} faces, too few for one batch of {settings.batch_size}",
            hint="--set batch_size=8, for a teacher --set parents.teacher.train.batch_size=8",
        )
    return loader


def flip(batch: Batch, mode: str, seed: int, epoch: int) -> Batch:
    """Return a uint8 batch with its random horizontal flips; a draw is a function of (seed, epoch, row, side)
    alone.
    """
    if mode == "none":
        return batch
    rows = batch.row_b.numpy()
    # by row, not by place in the batch: a flip does not depend on batch size or number of processes
    hr_b = _coin(rows, seed, epoch, 0)
    lr_b = hr_b if mode == "joint" else _coin(rows, seed, epoch, 1)
    return replace(batch, hr_bchw=_mirror(batch.hr_bchw, hr_b), lr_bchw=_mirror(batch.lr_bchw, lr_b))


def _mirror(x_bchw: Tensor, where_b: NDArray[np.bool_]) -> Tensor:
    mask = torch.from_numpy(where_b)[:, None, None, None]
    return torch.where(mask, x_bchw.flip(3), x_bchw)


def _coin(rows: NDArray[np.int64], seed: int, epoch: int, side: int) -> NDArray[np.bool_]:
    """Toss a fair coin for every row: one bit of a SplitMix64 hash."""
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64)
        for word in (seed, epoch, side):
            x = x + np.uint64((word * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
    return (x & np.uint64(1)).astype(np.bool_)
