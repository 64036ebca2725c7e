"""Reading a view: rows become items of a plain DataLoader, or batches at once; HR and LR meet by row."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lrfr.core.errors import DataError, SpecError, as_count, as_path, did_you_mean
from lrfr.degrade.ops.resize import resize_batch
from lrfr.pairs.format.manifests import Up
from lrfr.pairs.format.pair_batch import Batch, PairItem
from lrfr.pairs.format.reader import VERIFY, Folder, ShardSet
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import View
from lrfr.pairs.views import ViewRows, dense_labels, draw_variants, select_rows, view_id


class PairDataset(Dataset[PairItem]):
    """A view of a store as a map-style dataset, by position 0 .. len - 1.

    It holds no open file: it may be pickled (spawn, forkserver) and carried across a fork. Which variant a
    row shows is drawn anew in every epoch: call :meth:`set_epoch` before each; worker processes, persistent
    ones too, see it. :meth:`batch` is the engine underneath, which reads many positions at once.

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
        self,
        store: Path | str | StoreFiles,
        view: str = "default",
        split: str | None = None,
        *,
        verify: str = "always",
    ) -> None:
        if verify not in VERIFY:
            raise SpecError(f"no verify mode '{verify}'", hint=did_you_mean(verify, VERIFY))
        place = store if isinstance(store, StoreFiles) else StoreFiles(as_path(store, "a store"))
        self.view = place.view(view)
        self.digest = self.view.digest
        stored = ViewRows(place, self.view.parts)
        first = stored.manifests[0]
        self.hr, self.lr = open_parts(place, self.view, verify)
        chosen = select_rows(stored, self.view.filter, split)
        if split:  # the id of a view that keeps just these rows
            variants = [place.lr_manifest(key) for key in self.view.parts[0].lr]
            self.digest = view_id(first, stored.take(chosen), self.view.variants, variants)
        self.size_px = first.crop.size_px  # side of the HR crops
        self.rows = stored.rows[chosen]  # row of the parts, one after another, of every position
        self._labels, self.label_names = dense_labels(stored, chosen)
        self.attribute_names = stored.attribute_names
        self._attributes = np.asarray(stored.attributes[chosen])
        self._keys = stored.keys
        # in shared memory, so that worker processes that run already see a new epoch
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.rows)

    def known_as(self, digest: str) -> PairDataset:
        """Return this view under an id that it had before its store was upgraded, with the draws of then."""
        older = copy.copy(self)
        older.digest = digest if digest in self.view.former else self.digest
        return older

    @property
    def num_classes(self) -> int:
        """Number of identities in the view."""
        return len(self.label_names)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of every position, int64 ``[len]``."""
        return self._labels

    @property
    def attributes(self) -> NDArray[np.int8]:
        """Attributes of every position, int8 ``[len, A]``: 1, 0 or -1 for unknown."""
        return self._attributes

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Weight of every variant."""
        return tuple(variant.weight for variant in self.view.variants)

    def key(self, position: int) -> bytes:
        """Return the source key of a position."""
        return self._keys.key(int(self.rows[position]))

    @property
    def epoch(self) -> int:
        """The epoch that items are of."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the variants of another epoch from the next item on, in this process and in its workers."""
        self._epoch.fill_(as_count(epoch, "epoch"))

    def __getitem__(self, position: int) -> PairItem:
        """Return one pair of the epoch.

        Raises:
            IndexError: no such position.
            DataError: a shard or record is damaged; names it.

        """
        count = len(self)
        if not -count <= position < count:
            raise IndexError(f"position {position} of {count}")
        return self.__getitems__([position % count])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[PairItem]:
        """Return many pairs of the epoch, read at once (torch's DataLoader asks for a batch in this way)."""
        batch = self.batch(np.asarray(positions, np.int64), self.epoch)
        numbers = zip(batch.size_px_b.tolist(), batch.label_b.tolist(), batch.row_b.tolist(), strict=True)
        return [
            PairItem(
                hr=batch.hr_bchw[index],
                lr=batch.lr_bchw[index],
                size_px=size_px,
                label=label,
                attributes=batch.attributes_ba[index],
                row=row,
                key=self.key(positions[index]).decode("utf-8", "surrogateescape"),
            )
            for index, (size_px, label, row) in enumerate(numbers)
        ]

    def batch(self, rows: NDArray[np.integer[Any]], epoch: int) -> Batch:
        """Read positions as they are in an epoch.

        Args:
            rows: positions ``[B]``, each 0 .. len - 1.
            epoch: decides which variant each shows.

        Raises:
            DataError: a shard or record is damaged; names it.

        """
        positions = np.asarray(rows, np.int64)
        base_rows = self.rows[positions]
        hr = np.empty((len(base_rows), self.size_px, self.size_px, 3), np.uint8)
        for index, image in enumerate(self.hr.images(base_rows.tolist())):
            hr[index] = image
        lr, sizes = self._read_lr(positions, epoch, hr)
        return Batch(
            hr_bchw=_chw(hr),
            lr_bchw=_chw(lr),
            size_px_b=torch.from_numpy(sizes),
            label_b=torch.from_numpy(self._labels[positions]),
            attributes_ba=torch.from_numpy(self._attributes[positions]),
            row_b=torch.tensor(self._places(positions)),
        )

    def _places(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what draws go by: positions, which show the same in all views of one id, whatever base they
        lie in; rows of the base under an id of before an upgrade.
        """
        return self.rows[positions] if self.digest in self.view.former else positions

    def _read_lr(
        self, positions: NDArray[np.int64], epoch: int, hr: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        base_rows = self.rows[positions]
        if not self.lr:
            return hr, np.full(len(base_rows), self.size_px, np.int64)
        drawn = draw_variants(self.digest, epoch, self._places(positions), self.weights)
        lr, sizes = np.empty_like(hr), np.empty(len(base_rows), np.int64)
        for number in np.unique(drawn).tolist():
            members = np.flatnonzero(drawn == number)
            rows = base_rows[members].tolist()
            images = list(self.lr[number].images(rows, hr[members]))
            _upsample(images, self.view.variants[number].up, lr, members)
            sizes[members] = self.lr[number].native_px(rows, images)
        return lr, sizes


def open_parts(store: StoreFiles, view: View, verify: str = "always") -> tuple[ShardSet, list[ShardSet]]:
    """Return the HR shards of a view, and those of every variant; rows run through the parts.

    Raises:
        DataError: a manifest is damaged, or a variant belongs to another base.

    """
    bases = [Folder(store.base(part.base), store.base_manifest(part.base)) for part in view.parts]
    hr, lr = ShardSet(bases, verify), []
    for number in range(len(view.variants)):
        folders = [
            Folder(store.lr(part.lr[number]), store.lr_manifest(part.lr[number])) for part in view.parts
        ]
        for base, folder in zip(bases, folders, strict=True):
            if folder.manifest.content != base.manifest.content:
                raise DataError(
                    "the variant belongs to another base", file=str(folder.path), hint="lrfr store verify"
                )
        lr.append(ShardSet(folders, verify, hr))
    return hr, lr


def _upsample(
    images: list[NDArray[np.uint8]], up: Up, result: NDArray[np.uint8], members: NDArray[np.int64]
) -> None:
    """Resize to the HR size into ``result[members]``, all images of one size in one call."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    for shape, indices in groups.items():
        stack = np.stack([images[index] for index in indices])
        same = shape == result.shape[1:]
        result[members[indices]] = (
            stack if same else resize_batch(stack, result.shape[1], up.filter, up.antialias)
        )


def _chw(images_bhwc: NDArray[np.uint8]) -> torch.Tensor:
    """Return ``[B, 3, H, W]`` over the same bytes: torch's channels_last layout, which convolutions like and
    which costs no copy.
    """
    return torch.from_numpy(images_bhwc).permute(0, 3, 1, 2)
