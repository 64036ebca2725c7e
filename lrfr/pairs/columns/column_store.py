"""The columns of a store: writing them for a view, finding, listing, checking, removing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, LrfrError, SpecError, did_you_mean
from lrfr.core.files.inside import remove
from lrfr.core.lock import store_lock
from lrfr.pairs.columns.column_manifest import (
    ColumnManifest,
    ColumnPlace,
    as_dtype,
    columns_of,
    find_column,
    manifest_files,
    names_of,
)
from lrfr.pairs.columns.column_rows import write_rows
from lrfr.pairs.columns.column_write import ImageFunction
from lrfr.pairs.columns.given_values import Values
from lrfr.pairs.columns.row_array import chunk_fault, open_column
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts


@dataclass(frozen=True)
class ColumnLine:
    """A column in a listing.

    Attributes:
        name: of the column.
        base: id of the base.
        producer: what computed it.
        dtype: of the values.
        width: values of a row; 0 for a single number.
        rows: number of rows.
        bytes: of all files.

    """

    name: str
    base: str
    producer: str
    dtype: str
    width: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class ColumnWritten:
    """What :func:`write_column` did: rows that were computed or taken over, and rows that were there."""

    written: int
    found: int


def write_column(
    store: StoreFiles,
    bases: Sequence[str],
    named: tuple[str, str],
    values: Values | ImageFunction,
    *,
    dtype: object = None,
    runner: Runner | None = None,
    wanted: Mapping[str, NDArray[np.bool_]] | None = None,
) -> ColumnWritten:
    """Write a column for some bases, where it is not there yet: after a view has grown, the same call
    computes the new rows alone.

    Args:
        store: where.
        bases: ids of the bases of a view, in its order.
        named: name and producer.
        values: for some rows of the bases, or a function of up to 256 HR images (uint8 ``[S, S, 3]`` each)
            that gives ``[n]`` or ``[n, D]``, such as a model of :func:`lrfr.load_model`.
        dtype: of the values as they are stored; by default as they come.
        runner: where a function is computed; by default in this process.
        wanted: base to the rows that a function is computed for, bool ``[rows]``; by default all, so that
            every view has them.

    Raises:
        SpecError: the name or type cannot be one, or the values do not fit the rows.
        DataError: a record is damaged, or forgetting has not ended.
        LockedError: another process writes this store.

    """
    name, producer = named
    kept = as_dtype(dtype) if dtype is not None else ""
    places = [ColumnPlace(open_store(store.root), base, name, producer) for base in bases]
    written = start = 0
    with store_lock(store.root):
        refuse_other_layouts(store)
        for place in places:
            count = place.store.base_manifest(place.base).rows
            if isinstance(values, Values):
                mine = values.within(start, start + count)
                if place.manifest.exists():
                    mine.check_same(open_column(place), kept)
                else:
                    mine.write(place, count, kept)
                    written += len(mine.rows)
            else:
                rows = wanted[place.base] if wanted else np.ones(count, np.bool_)
                written += write_rows(place, values, kept, runner or Runner("serial"), rows)
            start += count
    _refuse_other_kinds([ColumnManifest.read(place.manifest) for place in places], kept)
    asked = len(values.rows) if isinstance(values, Values) else start
    if wanted:
        asked = sum(int(wanted[base].sum()) for base in bases)
    return ColumnWritten(written, max(0, asked - written))


def _refuse_other_kinds(manifests: Sequence[ColumnManifest], dtype: str) -> None:
    kinds = sorted({(item.dtype, item.width) for item in manifests})
    if len(kinds) > 1 or (dtype and kinds[0][0] != dtype):
        raise SpecError(
            f"the column '{manifests[0].name}' of this producer is {kinds}, not {dtype or 'one of them'}",
            hint="drop_column() removes it, and another producer is another column",
        )


def find_columns(
    store: StoreFiles, bases: Sequence[str], name: str, producer: str | None = None
) -> list[ColumnPlace]:
    """Return where a column lies in each base of a view.

    Args:
        store: where.
        bases: ids of the bases of a view, in its order.
        name: of the column.
        producer: what computed it; may be left out where one alone did.

    Raises:
        SpecError: there is no such column, or several.
        DataError: bases that the view has grown by do not have it, or a manifest is damaged.

    """
    found = [find_column(store, base, name, producer) for base in bases]
    there = [item for item in found if item is not None]
    if not there:
        known = sorted({other for base in bases for other in names_of(store, base)})
        raise SpecError(
            f"no column '{name}'" + (f" by '{producer}'" if producer else ""),
            file=str(store.root),
            hint=f"{did_you_mean(name, known)}; Store.write_column writes one",
        )
    if len(there) < len(found):
        missing = [base for base, item in zip(bases, found, strict=True) if item is None]
        raise DataError(
            f"the column '{name}' is missing for {len(missing)} of {len(found)} parts, the first is "
            f"{missing[0]}",
            file=str(store.root),
            hint="Store.write_column with the same name and producer computes what is missing",
        )
    if len({item.producer for item in there}) > 1:
        raise SpecError(f"the parts of '{name}' have several producers", hint="producer='...'")
    _refuse_other_kinds(there, "")
    return [ColumnPlace(store, item.base, name, item.producer) for item in there]


def list_columns(store: StoreFiles, bases: Sequence[str] | None = None) -> tuple[ColumnLine, ...]:
    """Return the finished columns of some bases, or of all.

    Raises:
        DataError: a manifest is damaged.

    """
    found = [ColumnManifest.read(path) for path in manifest_files(store)]
    return tuple(
        ColumnLine(
            item.name,
            item.base,
            item.producer,
            item.dtype,
            item.width,
            item.rows,
            sum(chunk.bytes for chunk in item.files),
        )
        for item in found
        if bases is None or item.base in bases
    )


def drop_column(store: StoreFiles, bases: Sequence[str], name: str, producer: str | None = None) -> int:
    """Remove a column from some bases, finished or not; return how many folders went.

    Raises:
        SpecError: there is none.

    """
    wanted = {ColumnPlace(store, base, name, producer).folder for base in bases} if producer else None
    with store_lock(store.root):
        refuse_other_layouts(store)
        doomed = [
            folder
            for base in bases
            for folder in sorted(columns_of(store, base).glob(f"{name}-*"))
            if folder.name.rsplit("-", 1)[0] == name and (wanted is None or folder in wanted)
        ]
        for folder in doomed:
            remove(folder)
    if not doomed:
        known = sorted({other for base in bases for other in names_of(store, base)})
        raise SpecError(f"no column '{name}'", file=str(store.root), hint=did_you_mean(name, known))
    return len(doomed)


def column_faults(store: StoreFiles) -> Iterator[tuple[Path, str]]:
    """Yield (file, fault) for all that is wrong with the columns of a store, every byte compared."""
    for path in manifest_files(store):
        try:
            manifest = ColumnManifest.read(path)
            place = ColumnPlace(store, manifest.base, manifest.name, manifest.producer)
            if place.manifest != path:
                yield path, f"the manifest belongs to {place.folder.name} of {manifest.base}"
            if not (store.base(manifest.base) / "manifest.json").exists():
                yield path, f"its base {manifest.base} is not here"
            elif store.base_manifest(manifest.base).rows != manifest.rows:
                yield path, f"{manifest.rows} rows where the base has others"
        except LrfrError as error:
            yield path, error.message
            continue
        for chunk in manifest.files:
            fault = chunk_fault(path.parent / chunk.file, chunk)
            if fault:
                yield path.parent / chunk.file, fault
