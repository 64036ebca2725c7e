"""Reading a view: rows become items of a plain DataLoader, or batches at once; HR and LR meet by row."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lrfr.core.errors import SpecError, as_count, check_kind, did_you_mean, shortly
from lrfr.pairs.columns.column_store import find_columns
from lrfr.pairs.columns.row_array import RowArray, open_column
from lrfr.pairs.format.pair_batch import Batch, PairItem
from lrfr.pairs.format.reader import VERIFY
from lrfr.pairs.format.store_files import StoreFiles, root_of
from lrfr.pairs.reading.hugging_face import to_hf
from lrfr.pairs.reading.pair_reader import Images, PairReader, open_parts
from lrfr.pairs.views import ViewRows, dense_labels, known_attributes, select_rows, view_id

if TYPE_CHECKING:
    import datasets


class PairDataset(Dataset[PairItem]):
    """A view of a store as a map-style dataset, by position 0 .. len - 1.

    It holds no open file: it may be pickled (spawn, forkserver) and carried across a fork. Which variant a
    row shows is drawn anew in every epoch: call :meth:`set_epoch` before each; worker processes, persistent
    ones too, see it. :meth:`batch` is the engine underneath, which reads many positions at once.

    Args:
        store: the store's folder, or its address (``s3://bucket/store``, ``https://host/store``).
        view: the view's name.
        split: rows of this split, also where the view itself keeps another; the rest of its filter holds.
        verify: ``always`` (file hash when opened, record check at every read), ``records`` or ``never``.
        columns: names of row arrays that items and batches carry.

    Raises:
        SpecError: no such store, view, split or column.
        DataError: a manifest, row table or view is damaged.

    """

    def __init__(
        self,
        store: Path | str | StoreFiles,
        view: str = "default",
        split: str | None = None,
        *,
        verify: str = "always",
        columns: Sequence[str] = (),
    ) -> None:
        if verify not in VERIFY:
            raise SpecError(f"no verify mode '{verify}'", hint=did_you_mean(verify, VERIFY))
        place = store if isinstance(store, StoreFiles) else StoreFiles(root_of(store))
        self._place, self._check = place, verify == "always"
        self.view = place.view(view)
        digest = self.view.digest
        stored = ViewRows(place, self.view.parts)
        first = stored.manifests[0]
        self.hr, self.lr = open_parts(place, self.view, verify)
        check_kind(split, str | None, "the name of a split")
        chosen = select_rows(stored, self.view.filter, split)
        if split:  # the id of a view that keeps just these rows
            variants = [place.lr_manifest(key) for key in self.view.parts[0].lr]
            digest = view_id(first, stored.take(chosen), self.view.variants, variants)
        self.size_px = first.crop.size_px  # side of the HR crops
        self.rows = stored.rows[chosen]  # row of the parts, one after another, of every position
        self.reader = PairReader(self.view, digest, self.hr, self.lr, self.rows, self.size_px)
        self._labels, self.label_names = dense_labels(stored, chosen)
        self.attribute_names, self._attributes = known_attributes(stored, chosen)
        self._keys = stored.keys
        self.split_names = stored.split_names
        self._splits = np.asarray(stored.splits[chosen])
        # in shared memory, so that worker processes that run already see a new epoch
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._columns = {name: self.column(name) for name in columns}

    def __repr__(self) -> str:
        of = f"{self.num_classes} identities, {self.size_px} px"
        return f"PairDataset({str(self._place.root)!r}, {self.view.name!r}: {len(self)} faces of {of})"

    def __len__(self) -> int:
        return len(self.rows)

    def known_as(self, digest: str) -> PairDataset:
        """Return this view under an id that it had before its store was upgraded, with the draws of then."""
        older = copy.copy(self)
        older.reader = replace(self.reader, digest=digest if digest in self.view.former else self.digest)
        return older

    def column(self, name: str, producer: str | None = None) -> RowArray:
        """Return a row array by position; it may be indexed like a numpy array and reads what is asked for.

        Args:
            name: as it was written, see :meth:`lrfr.Store.write_column`.
            producer: what computed it; may be left out where one alone did.

        Raises:
            SpecError: there is no such column, or several.
            DataError: the view has grown and the new rows do not have it yet, or it is damaged.

        """
        found = find_columns(self._place, [part.base for part in self.view.parts], name, producer)
        return RowArray([open_column(place, self._check) for place in found], self.rows)

    def with_columns(self, *names: str) -> PairDataset:
        """Return this dataset with row arrays that its items (``item["columns"]``) and batches
        (``batch.columns``) carry.
        """
        wider = copy.copy(self)
        wider._columns = {**self._columns, **{name: self.column(name) for name in names}}
        return wider

    def with_lr_side(self, side_px: int) -> PairDataset:
        """Return this dataset with LR faces of another side than the HR faces', for networks that take small
        faces as they are: what lies at that side in the store is not touched, the rest is resized by the
        filter of its spec. 0 is the side of the HR faces.
        """
        other = copy.copy(self)
        other.reader = replace(self.reader, lr_px=as_count(side_px, "side_px"))
        return other

    @property
    def place(self) -> StoreFiles:
        """The store."""
        return self._place

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the row arrays that items and batches carry."""
        return tuple(self._columns)

    @property
    def row_arrays(self) -> Mapping[str, RowArray]:
        """The row arrays that items and batches carry, by name."""
        return dict(self._columns)

    def to_hf(
        self, *, streaming: bool = False, cache_dir: Path | str | None = None
    ) -> datasets.Dataset | datasets.IterableDataset:
        """Return the view as a Hugging Face dataset (extra ``[huggingface]``): ``hr`` (the JPEG of the store)
        and ``lr`` (as in an item, PNG) as ``Image``, ``label`` as ``ClassLabel``, the rest of an item and the
        columns. LR is that of this dataset's epoch.

        Args:
            streaming: read rows when they are asked for, and write nothing.
            cache_dir: where its arrow files go, by default the usual place of ``datasets``.

        Raises:
            EnvironmentFault: ``datasets`` is not installed.

        """
        return to_hf(self, streaming=streaming, cache_dir=cache_dir)

    @property
    def digest(self) -> str:
        """The id by which runs and results know what is read: the view's, or that of a view of the split."""
        return self.reader.digest

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

    def hr_bytes(self, position: int) -> bytes:
        """Return the JPEG of a position as it lies in the store."""
        return bytes(self.hr.record(int(self.rows[position])).payload)

    def key(self, position: int) -> bytes:
        """Return the source key of a position."""
        return self._keys.key(int(self.rows[position]))

    def split(self, position: int) -> str:
        """Return the name of the split of a position, "" for none."""
        return self.split_names[int(self._splits[position])] if self.split_names else ""

    @property
    def epoch(self) -> int:
        """The epoch that items are of."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the variants of another epoch from the next item on, in this process and in its workers."""
        self._epoch.fill_(as_count(epoch, "epoch"))

    @overload
    def __getitem__(self, position: int) -> PairItem: ...
    @overload
    def __getitem__(self, position: slice) -> list[PairItem]: ...

    def __getitem__(self, position: int | slice) -> PairItem | list[PairItem]:
        """Return one pair of the epoch, or the pairs of a slice.

        Args:
            position: any integer of -len .. len - 1, negative ones from the end, as in a list.

        Raises:
            IndexError: no such position.
            SpecError: no integer.
            DataError: a shard or record is damaged; names it.

        """
        if isinstance(position, slice):
            return self.__getitems__(range(*position.indices(len(self))))
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[PairItem]:
        """Return many pairs of the epoch, read at once (torch's DataLoader asks for a batch in this way)."""
        places = self._checked(positions)
        batch = self.batch(places, self.epoch)
        numbers = zip(batch.size_px_b.tolist(), batch.label_b.tolist(), batch.row_b.tolist(), strict=True)
        items = []
        for index, (size_px, label, row) in enumerate(numbers):
            item = PairItem(
                hr=batch.hr_bchw[index],
                lr=batch.lr_bchw[index],
                size_px=size_px,
                label=label,
                attributes=batch.attributes_ba[index],
                row=row,
                key=self.key(int(places[index])).decode("utf-8", "surrogateescape"),
            )
            if self._columns:
                item["columns"] = {name: column[index] for name, column in batch.columns.items()}
            items.append(item)
        return items

    def _checked(self, positions: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return positions as numbers from 0 on.

        Raises:
            IndexError: one of them does not exist.
            SpecError: one is no integer.

        """
        try:
            found = np.asarray(positions)
        except (TypeError, ValueError):  # rows of unequal length
            found = np.empty(1, object)
        empty = isinstance(positions, Sized) and not len(positions)
        if found.ndim != 1 or not (empty or np.issubdtype(found.dtype, np.integer)):
            raise SpecError(f"expected positions in the data set: whole numbers, got {shortly(positions)}")
        found, count = found.astype(np.int64), len(self)
        wrong = (found < -count) | (found >= count)
        if wrong.any():
            raise IndexError(f"position {found[wrong][0]} of {count}")
        return np.asarray(np.where(found < 0, found + count, found), np.int64)

    def batch(self, rows: Sequence[int] | NDArray[np.integer[Any]], epoch: int) -> Batch:
        """Read positions as they are in an epoch.

        Args:
            rows: positions ``[B]``, as :meth:`__getitem__` takes them.
            epoch: decides which variant each shows.

        Raises:
            IndexError: a position does not exist.
            DataError: a shard or record is damaged; names it.

        """
        positions, epoch = self._checked(rows), as_count(epoch, "epoch")
        return self.as_batch(positions, self.reader.read(positions, epoch))

    def as_batch(self, positions: NDArray[np.int64], images: Images) -> Batch:
        """Return a batch of images that were read and of what else is known of their positions."""
        return Batch(
            hr_bchw=_channels_last(images.hr_bhwc),
            lr_bchw=_channels_last(images.lr_bhwc),
            size_px_b=torch.from_numpy(images.size_px_b),
            label_b=torch.from_numpy(self._labels[positions]),
            attributes_ba=torch.from_numpy(self._attributes[positions]),
            row_b=torch.tensor(self.reader.places(positions)),
            columns={name: torch.from_numpy(column[positions]) for name, column in self._columns.items()},
        )


def _channels_last(images_bhwc: NDArray[np.uint8]) -> torch.Tensor:
    """Return ``[B, 3, H, W]`` over the same bytes: torch's channels_last layout, which convolutions like and
    which costs no copy.
    """
    return torch.from_numpy(images_bhwc).permute(0, 3, 1, 2)
