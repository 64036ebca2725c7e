"""Reading a view: rows become batches, HR and LR joined by row; batches are a pure function of (seed,
epoch).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.pairs.format.reader import VERIFY, ShardSet, open_lr
from lrfr.pairs.order import epoch_order
from lrfr.pairs.store import Rows, Store
from lrfr.pairs.views import draw_variants, select_rows, view_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

AHEAD_BATCHES = 4


@dataclass(frozen=True)
class Batch:
    """Pairs of one step.

    Attributes:
        hr_bchw: uint8 ``[B, 3, S, S]`` RGB.
        lr_bchw: uint8 ``[B, 3, S, S]`` RGB, upsampled as the spec says (equal to ``hr_bchw`` in a view
            without variants).
        size_px_b: int64 ``[B]``, native side of the LR image.
        label_b: int64 ``[B]``, 0 .. num_classes - 1; -1 for no identity.
        attributes_ba: int8 ``[B, A]``, 1, 0 or -1 for unknown.
        row_b: int64 ``[B]``, row in the base.

    """

    hr_bchw: torch.Tensor
    lr_bchw: torch.Tensor
    size_px_b: torch.Tensor
    label_b: torch.Tensor
    attributes_ba: torch.Tensor
    row_b: torch.Tensor

    def __len__(self) -> int:
        return len(self.row_b)

    def as_float(self) -> Batch:
        """Return the batch with images as float32 in [-1, 1]: ``(x / 255 - 0.5) / 0.5``."""
        return replace(self, hr_bchw=_to_float(self.hr_bchw), lr_bchw=_to_float(self.lr_bchw))

    def to(self, device: str | torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, item.name).to(device, non_blocking=True) for item in fields(self)))


def _to_float(images: torch.Tensor) -> torch.Tensor:
    return images.to(torch.float32).mul_(2.0 / 255.0).sub_(1.0)


class PairDataset:
    """A view of a store, by position 0 .. len - 1; holds no open file, so it may be pickled and carried
    across a fork.

    Args:
        store: the store's folder.
        view: the view's name.
        split: only rows of this split (besides the view's own filter).
        verify: ``always`` (file hash when opened, record check at every read), ``records`` or ``never``.

    Raises:
        SpecError: no such store, view or split.
        DataError: a manifest, row table or view is damaged.

    """

    def __init__(
        self, store: Path | str, view: str = "default", *, split: str | None = None, verify: str = "always"
    ) -> None:
        if verify not in VERIFY:
            raise SpecError(f"no verify mode '{verify}'", hint=did_you_mean(verify, VERIFY))
        place = Store(Path(store))
        self.view = place.view(view)
        self.digest = view_digest(self.view)
        self._rows: Rows = place.rows(self.view["base"])
        base = place.base(self.view["base"])
        self.hr = ShardSet(base, place.base_manifest(self.view["base"]), self._rows, verify)
        self.lr = [
            open_lr(place.lr(variant["action"]), self._rows, verify) for variant in self.view["variants"]
        ]
        for lr in self.lr:
            if lr.manifest["content"] != self.hr.manifest["content"]:
                raise DataError(
                    "the variant belongs to another base", file=str(lr.folder), hint="lrfr store verify"
                )
        self.rows = select_rows(self._rows, self.view["filter"], split)
        self._labels, self.label_names = _dense_labels(self._rows, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_classes(self) -> int:
        """Number of identities in the view."""
        return len(self.label_names)

    @property
    def label_n(self) -> int:
        """Number of identities in the view (the size of a classification head)."""
        return self.num_classes

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of every position, int64 ``[len]``."""
        return self._labels

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attribute columns."""
        return self._rows.attribute_names

    @property
    def attributes(self) -> NDArray[np.int8]:
        """Attributes of every position, int8 ``[len, A]``: 1, 0 or -1 for unknown."""
        return np.asarray(self._rows.attributes[self.rows])

    @property
    def size_px(self) -> int:
        """Side of the HR crops."""
        return int(self.hr.manifest["prepare"]["size_px"])

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Weight of every variant."""
        return tuple(variant["weight"] for variant in self.view["variants"])

    def key(self, position: int) -> bytes:
        """Return the source key of a position."""
        return self._rows.key(int(self.rows[position]))

    def __getitem__(self, position: int) -> Batch:
        """Return a batch of one, of epoch 0."""
        return self.batch(np.array([position]), 0)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return a batch of epoch 0 (for torch's DataLoader with ``collate_fn=lambda batch: batch``)."""
        return self.batch(np.asarray(positions), 0)

    def batch(self, rows: NDArray[np.integer[Any]], epoch: int) -> Batch:
        """Read positions as they are in an epoch.

        Args:
            rows: positions ``[B]`` in 0 .. len - 1.
            epoch: decides which variant each shows.

        Raises:
            DataError: a shard or record is damaged; names it.

        """
        positions = np.asarray(rows, np.int64)
        base_rows = self.rows[positions]
        hr = np.empty((len(base_rows), self.size_px, self.size_px, 3), np.uint8)
        for index, image in enumerate(self.hr.images(base_rows.tolist())):
            hr[index] = image
        lr, sizes = self._read_lr(base_rows, epoch, hr)
        return Batch(
            hr_bchw=_chw(hr),
            lr_bchw=_chw(lr),
            size_px_b=torch.from_numpy(sizes),
            label_b=torch.from_numpy(self._labels[positions]),
            attributes_ba=torch.from_numpy(self._rows.attributes[base_rows]),
            row_b=torch.from_numpy(base_rows),
        )

    def _read_lr(
        self, base_rows: NDArray[np.int64], epoch: int, hr: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        if not self.lr:
            return hr, np.full(len(base_rows), self.size_px, np.int64)
        drawn = draw_variants(self.digest, epoch, base_rows, self.weights)
        lr, sizes = np.empty_like(hr), np.empty(len(base_rows), np.int64)
        for number in np.unique(drawn).tolist():
            members = np.flatnonzero(drawn == number)
            rows = base_rows[members].tolist()
            images = list(self.lr[number].images(rows))
            _upsample(images, self.view["variants"][number]["up"], lr, members)
            sizes[members] = self.lr[number].native_px(rows, images)
        return lr, sizes


def _dense_labels(rows: Rows, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the identities that occur from 0 on, in the order of their names."""
    labels = rows.labels[chosen].astype(np.int64)
    present = np.unique(labels[labels >= 0])
    dense = np.where(labels >= 0, np.searchsorted(present, labels), -1)
    return dense.astype(np.int64), tuple(rows.label_names[number] for number in present)


def _upsample(
    images: list[NDArray[np.uint8]], up: dict[str, Any], result: NDArray[np.uint8], members: NDArray[np.int64]
) -> None:
    """Resize to the HR size into ``result[members]``, all images of one size in one call."""
    from lrfr.degrade.ops.resize import resize_batch

    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    for shape, indices in groups.items():
        stack = np.stack([images[index] for index in indices])
        same = shape == result.shape[1:]
        result[members[indices]] = (
            stack if same else resize_batch(stack, result.shape[1], up["filter"], up["antialias"])
        )


def _chw(images_bhwc: NDArray[np.uint8]) -> torch.Tensor:
    """Return ``[B, 3, H, W]`` over the same bytes: torch's channels_last layout, which convolutions like and
    which costs no copy.
    """
    return torch.from_numpy(images_bhwc).permute(0, 3, 1, 2)


class PairLoader:
    """Batches of a dataset in the order of an epoch, read ahead by threads.

    The order is a pure function of (seed, epoch); global batch ``t`` holds the samples ``[t * G, (t + 1) *
    G)`` with ``G = batch_size * world_size`` and each rank takes its slice. So (epoch, t) is all the state
    there is: a run may go on with other threads and, at the same ``G``, another world size, without skipping
    or repeating a sample.

    Args:
        dataset: what to read.
        batch_size: per rank.
        seed: of the order.
        rank: of this process, from 0.
        world_size: number of processes.
        threads: reading threads; 0 reads in the caller.
        shuffle: whether to permute; without it rows come in row order.
        drop_last: whether an incomplete last global batch is left out.

    """

    def __init__(
        self,
        dataset: PairDataset,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size:
            raise SpecError(
                f"batch size {batch_size}, rank {rank} of {world_size}",
                hint="batch size >= 1 and 0 <= rank < world size",
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.threads = threads
        self.shuffle = shuffle
        self.drop_last = drop_last

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in an epoch."""
        share = self.batch_size * self.world_size
        return len(self.dataset) // share if self.drop_last else -(-len(self.dataset) // share)

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
