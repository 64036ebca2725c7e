"""Which batches a run sees, in the order of the pairs room, and their flips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.core.errors import DataError, SpecError
from lrfr.core.streams import row_words
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


def make_loader(dataset: PairDataset, settings: TrainSettings, world: World) -> PairLoader:
    """Return the loader of this process.

    Raises:
        SpecError: the batch cannot be shared out.
        DataError: the view has fewer faces than one batch.

    """
    share, rest = divmod(settings.batch_size, world.size)
    if rest:
        raise SpecError(f"train.batch_size {settings.batch_size} is not a multiple of {world.size} processes")
    if settings.images_per_id and share % settings.images_per_id:
        raise SpecError(
            f"train.batch_size: {share} pairs a process are not a multiple of train.images_per_id "
            f"{settings.images_per_id}"
        )
    loader = PairLoader(
        dataset,
        share,
        seed=settings.seed,
        rank=world.rank,
        world_size=world.size,
        threads=settings.read_threads,
        workers=settings.read_workers,
        images_per_id=settings.images_per_id,
        weights=settings.weight_column,
    )
    if loader.batches_per_epoch < 1:
        raise DataError(
            f"the view has {len(dataset)} faces, too few for one batch of {settings.batch_size}",
            hint="--set batch_size=8, for a teacher --set parents.teacher.train.batch_size=8",
        )
    return loader


# a column of this ending holds what belongs to the mirrored HR faces
MIRRORED = "_mirrored"


def flip(batch: Batch, mode: str, seed: int, epoch: int) -> Batch:
    """Return a uint8 batch with its random horizontal flips; a draw is a function of (seed, epoch, row, side)
    alone. A column of HR faces that has a mirrored twin flips with them.
    """
    if mode == "none":
        return batch
    rows = batch.row_b.numpy()
    # by row, not by place in the batch: a flip does not depend on batch size or number of processes
    hr_b = np.zeros(len(rows), bool) if mode == "lr" else _coin(rows, seed, epoch, 0)
    lr_b = hr_b if mode == "joint" else _coin(rows, seed, epoch, 1)
    return replace(
        batch,
        hr_bchw=_mirror(batch.hr_bchw, hr_b),
        lr_bchw=_mirror(batch.lr_bchw, lr_b),
        columns=_turned(batch.columns, hr_b),
    )


def _turned(columns: Mapping[str, Tensor], hr_b: NDArray[np.bool_]) -> dict[str, Tensor]:
    mask_b1 = torch.from_numpy(hr_b)[:, None]
    return {
        name: torch.where(mask_b1, columns[name + MIRRORED], column) if name + MIRRORED in columns else column
        for name, column in columns.items()
        if not (name.endswith(MIRRORED) and name.removesuffix(MIRRORED) in columns)
    }


def _mirror(x_bchw: Tensor, where_b: NDArray[np.bool_]) -> Tensor:
    mask = torch.from_numpy(where_b)[:, None, None, None]
    return torch.where(mask, x_bchw.flip(3), x_bchw)


def _coin(rows: NDArray[np.int64], seed: int, epoch: int, side: int) -> NDArray[np.bool_]:
    """Toss a fair coin for every row."""
    return (row_words(rows, seed, epoch, side) & np.uint64(1)).astype(np.bool_)
