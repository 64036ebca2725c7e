"""Views: which rows of which parts an experiment sees, which variant each shows, and the id of it all."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import digest_of
from lrfr.core.lists import match_names
from lrfr.pairs.format.disk.row_runs import copy_rows, join_keys
from lrfr.pairs.format.manifests import LOSSLESS, BaseManifest, Crop, VariantManifest
from lrfr.pairs.format.rows import CROP_BYTES, Rows, StoredRows
from lrfr.pairs.format.sealed import LAYOUT, plain_fields
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import RowFilter, VariantRef, ViewPart

_NO_TABLES: Mapping[str, StoredRows] = MappingProxyType({})


@dataclass(frozen=True)
class RowKeys:
    """The keys of the rows of some parts; small when pickled."""

    tables: tuple[StoredRows, ...]
    first: tuple[int, ...]

    def key(self, row: int) -> bytes:
        """Return the source key of a row number."""
        part = bisect_right(self.first, row) - 1
        return self.tables[part].key(row - self.first[part])


class ViewRows:
    """The rows that the parts of a view show, before its filter, as one table in reading order.

    Rows are sorted by the keyed hash of their key, as in a base: the order tells nothing of the parts. Row
    numbers run through the parts, one after another.

    Args:
        store: where the parts lie.
        parts: of the view.
        tables: row tables that were looked into already, by the id of their base.

    Attributes:
        manifests: of the bases.
        keys: looks keys up by row number.
        rows: int64 ``[n]``, row number of every place.
        labels: int32 ``[n]``, numbers into ``label_names``; -1 for no identity.
        attributes: int8 ``[n, a]``, 1, 0 or -1 for unknown.
        splits: int16 ``[n]``, numbers into ``split_names``.

    Raises:
        DataError: a manifest, table or mask is damaged; the parts do not go together, or share a key.

    """

    def __init__(
        self, store: StoreFiles, parts: Sequence[ViewPart], tables: Mapping[str, StoredRows] = _NO_TABLES
    ) -> None:
        self.manifests = tuple(store.base_manifest(part.base) for part in parts)
        check_together([Made.of(manifest) for manifest in self.manifests])
        self._tables = [tables.get(item.id) or store.rows_of(item) for item in self.manifests]
        self._first = np.cumsum([0, *(manifest.rows for manifest in self.manifests)])
        self.keys = RowKeys(tuple(self._tables), tuple(self._first.tolist()))
        self.rows = self._merged([store.shown(*pair) for pair in zip(parts, self.manifests, strict=True)])
        self.label_names, self.labels = self._joined("label")
        self.split_names, self.splits = self._joined("split")
        self.attribute_names = tuple(sorted({n for table in self._tables for n in table.attribute_names}))
        self.attributes = self._joined_attributes()

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64], whole: bool = True) -> Rows:
        """Return the table of some places, as a base of just these rows has it; where it is only to be named,
        not ``whole``: without order and sizes, which are in no digest.
        """
        rows = self.rows[places]
        of = [(table, *self._within(part, rows)) for part, table in enumerate(self._tables)]
        aligned = max(manifest.crop.aligned for manifest in self.manifests)
        keys, ends = join_keys(
            [(table.key_blob, table.key_ends, own, mine) for table, mine, own in of], len(rows)
        )
        return Rows(
            key_blob=keys,
            key_ends=ends,
            order=_gathered(of if whole else (), "order", (len(rows) * whole, 2), np.uint64),
            labels=np.asarray(self.labels[places]),
            label_names=self.label_names,
            attributes=np.asarray(self.attributes[places]),
            attribute_names=self.attribute_names,
            splits=np.asarray(self.splits[places]),
            split_names=self.split_names,
            digests=_gathered(of, "digests", (len(rows), 32), np.uint8),
            crops=_gathered(of, "crops", (len(rows), CROP_BYTES if aligned else 0), np.uint8),
            sizes=_gathered(of if whole else (), "sizes", (len(rows) * whole,), np.uint32),
        ).pruned()

    def _within(self, part: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which of some row numbers lie in a part, and their rows there."""
        first, stop = self._first[part : part + 2]
        mine = np.flatnonzero((rows >= first) & (rows < stop))
        return mine, rows[mine] - first

    def _merged(self, masks: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.int64]:
        """Return the shown rows of all parts in the order of their hashes."""
        if len(masks) == 1:
            return np.arange(self._first[1]) if masks[0] is None else np.flatnonzero(masks[0])
        shown = [
            np.arange(manifest.rows) if mask is None else np.flatnonzero(mask)
            for mask, manifest in zip(masks, self.manifests, strict=True)
        ]
        order = np.concatenate([table.order[rows] for table, rows in zip(self._tables, shown, strict=True)])
        rows = np.concatenate([part + first for part, first in zip(shown, self._first, strict=False)])
        # every part is sorted: a stable sort merges runs
        ways = np.argsort(order[:, 0], kind="stable")
        high = order[ways, 0]
        if (high[1:] == high[:-1]).any():
            ways = np.lexsort((order[:, 1], order[:, 0]))
            twice = np.flatnonzero((order[ways][1:] == order[ways][:-1]).all(1))
            if len(twice):
                key = self.keys.key(int(rows[ways[twice[0]]])).decode("utf-8", "surrogateescape")
                raise DataError(f"{len(twice)} keys lie in two parts of a view, the first is {key!r}")
        return np.asarray(rows[ways], np.int64)

    def _joined(self, kind: str) -> tuple[tuple[str, ...], NDArray[Any]]:
        """Return the names of labels or splits of all parts, sorted, and the number of every place."""
        tables = [(table, getattr(table, f"{kind}_names")) for table in self._tables]
        if len(tables) == 1:
            return tables[0][1], self._shown(getattr(self._tables[0], f"{kind}s"))
        names = tuple(sorted({name for _, own in tables for name in own}))
        place = {name: number for number, name in enumerate(names)}
        result = np.empty(len(self), getattr(self._tables[0], f"{kind}s").dtype)
        for part, (table, own) in enumerate(tables):
            mine, rows = self._within(part, self.rows)
            # the last entry is for -1
            result[mine] = np.array([*(place[name] for name in own), -1])[getattr(table, f"{kind}s")[rows]]
        return names, result

    def _shown(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return a column of the only part: as it lies on disk where all of it is shown."""
        return column if len(self) == len(column) else column[self.rows]

    def _joined_attributes(self) -> NDArray[np.int8]:
        if len(self._tables) == 1:
            return self._shown(self._tables[0].attributes)
        result = np.full((len(self), len(self.attribute_names)), -1, np.int8)
        for part, table in enumerate(self._tables):
            mine, rows = self._within(part, self.rows)
            columns = np.array([self.attribute_names.index(name) for name in table.attribute_names], np.int64)
            result[mine[:, None], columns] = table.attributes[rows]
        return result


_Found = tuple[StoredRows, NDArray[np.int64], NDArray[np.int64]]


def _gathered(of: Sequence[_Found], name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    result = np.zeros(shape, dtype)  # of a column that a table lacks too
    for table, mine, rows in of:
        column = getattr(table, name)
        if column.shape[1:] == shape[1:]:
            copy_rows(result, mine, column, rows)
    return result


@dataclass(frozen=True)
class Made:
    """How the rows of a base are made: what parts of one view share."""

    base: str
    crop: Crop
    seed: int

    @classmethod
    def of(cls, base: BaseManifest) -> Made:
        """Return it for a base."""
        return cls(base.id, base.crop, base.permutation_seed)


def check_together(parts: Sequence[Made]) -> None:
    """Refuse bases that cannot be parts of one view.

    Raises:
        DataError: their crops or the seeds of their row order differ.

    """
    first = {**parts[0].crop.told(), "permutation seed": parts[0].seed}
    for other in parts[1:]:
        found = {**other.crop.told(), "permutation seed": other.seed}
        said = [f"{name} {found[name]}, not {value}" for name, value in first.items() if found[name] != value]
        if said:
            raise DataError(
                f"bases {parts[0].base} and {other.base} are not made alike: {'; '.join(said)}",
                hint="parts of one view share size, quality, color order, alignment and --permutation-seed",
            )


# raised when the same view draws other variants (reading/variant_draw.py); one variant is not drawn
DRAW_REVISION = 2


def view_id(
    base: BaseManifest,
    shown: Rows,
    refs: Sequence[VariantRef],
    variants: Sequence[VariantManifest],
) -> str:
    """Return the id of what a view shows: the same rows with the same variants have the same id, whatever
    parts or filter they come from; no name enters.

    Args:
        base: one that the rows lie in.
        shown: the table of the rows that are shown (:meth:`ViewRows.take`).
        refs: the view's variants.
        variants: their manifests, of that base.

    """
    total = sum(ref.weight for ref in refs)
    drawn = [
        {
            "spec": manifest.pixel_digest,
            "variant": manifest.variant,
            "form": asdict(manifest.form),
            "codec": LOSSLESS,
            "share": round(ref.weight / total, 12),
            "up": asdict(ref.up),
        }
        for ref, manifest in zip(refs, variants, strict=True)
    ]
    crops = {"crop": plain_fields(base.crop), "seed": base.permutation_seed, "layout": LAYOUT}
    if len(drawn) > 1:
        crops["draw"] = DRAW_REVISION
    return digest_of({**crops, "rows": shown.digest(), "variants": drawn})


def select_rows(rows: ViewRows, chosen: RowFilter, split: str | None = None) -> NDArray[np.int64]:
    """Return the places of the rows that a view's filter keeps, in reading order; those of ``split`` instead
    of the filter's own, where one is named.

    Raises:
        SpecError: an identity or split that the parts do not have.
        DataError: nothing is left.

    """
    keep = np.ones(len(rows), dtype=bool)
    name = split or chosen.split
    if name:
        if name not in rows.split_names:
            known = [item for item in rows.split_names if item]
            hint = did_you_mean(name, known) if known else "it has none; make-pairs --holdout 0.2 makes two"
            raise SpecError(f"no split '{name}'", hint=hint)
        keep &= rows.splits == rows.split_names.index(name)
    if chosen.ids is not None:
        keep &= np.isin(rows.labels, _numbers_of(rows, chosen.ids))
    if chosen.min_per_id:
        counts = np.bincount(rows.labels[keep & (rows.labels >= 0)], minlength=len(rows.label_names) + 1)
        keep &= (rows.labels >= 0) & (counts[rows.labels] >= chosen.min_per_id)
    found = np.flatnonzero(keep)
    if not len(found):
        raise DataError("the filter leaves no row", hint=f"filter: {asdict(chosen)}")
    return found


def _numbers_of(rows: ViewRows, ids: Sequence[str]) -> list[int]:
    place = {name: number for number, name in enumerate(rows.label_names)}
    # two systems may spell one name in two ways
    near = match_names(ids, place, loosely=False).known
    missing = [name for name in ids if name not in near]
    if missing:
        raise SpecError(
            f"{len(missing)} identities of the list are not in the view, the first is '{missing[0]}'"
        )
    return [place[near[name]] for name in ids]


def known_attributes(rows: ViewRows, chosen: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """Return the names of the attributes that any chosen row has, and int8 ``[chosen, a]`` of these alone."""
    values = rows.attributes[chosen]
    known = np.flatnonzero((values >= 0).any(0))
    return tuple(rows.attribute_names[column] for column in known.tolist()), np.take(values, known, axis=1)


def dense_labels(rows: ViewRows, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the label of every chosen row and the names of all: the identities that occur, numbered from 0
    on in the order of their names; -1 for none.
    """
    labels = rows.labels[chosen].astype(np.int64)
    present = np.unique(labels[labels >= 0])
    dense = np.where(labels >= 0, np.searchsorted(present, labels), -1)
    return dense.astype(np.int64), tuple(rows.label_names[number] for number in present)
