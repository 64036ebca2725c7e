"""Writing the parts of a view into one base, as if it had been built at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import check_space, make_folder, sweep, write_atomic
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.build.plan import base_identity, content_identity, variant_identity
from lrfr.pairs.columns.column_carry import Origin, carry_columns
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.manifests import LR_CODEC, BaseManifest, Sidecar, VariantManifest
from lrfr.pairs.format.reader import ShardSet
from lrfr.pairs.format.records import Record, lr_record
from lrfr.pairs.format.rows import Rows, write_rows
from lrfr.pairs.format.shard import ShardPlace, committed, is_whole, listed, write_shard
from lrfr.pairs.format.shard_layout import hr_row_bytes, lr_row_bytes, shard_spans
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.format.view_manifest import View, ViewPart
from lrfr.pairs.reading.pair_reader import open_parts
from lrfr.pairs.views import ViewRows


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        view: as it is now.
        parts: how many it had.
        copied: records.
        columns_left: names of columns that not every part has; they stay with the old parts.

    """

    view: View
    parts: int
    copied: int
    columns_left: tuple[str, ...] = ()


def compact(store: StoreFiles, name: str, hooks: Hooks = SILENT) -> Compacted:
    """Copy the records and columns of a view's parts into one base, and let the view stand on it.

    Nothing is decoded or degraded; id, order and pixels of the view stay. The base is the one that a build of
    these rows at once writes. The old parts stay for other views; ``gc`` removes what none uses. Killed and
    run again, it goes on.

    Raises:
        SpecError: there is no such view.
        DataError: a part is damaged.
        Stopped: a stop was asked for; finished shards are kept.

    """
    with store_lock(open_store(store.root).root):
        refuse_other_layouts(store)
        make_folder(store.tmp)
        sweep(store.tmp)
        view = store.view(name)
        if len(view.parts) == 1 and view.parts[0].mask is None:
            return Compacted(view, 1, 0)
        rows = ViewRows(store, view.parts)
        copy = _Copy(store, rows.rows, hooks)
        hr, lr = open_parts(store, view)
        base, copied = _base(copy, rows, hr)
        keys = []
        for reader in lr:
            several = len({folder.manifest.codec for folder in reader.folders}) > 1
            way = _CopyAnew(store, rows.rows, hooks, hr) if several else copy
            made, count = _variant(way, base, reader)
            keys.append(made.id)
            copied += count
        left = _carry(store, base.id, rows)
        view = replace(view, parts=(ViewPart(base.id, tuple(keys)),))
        write_atomic(store.view_path(name), view.seal(), store.tmp)
        REGISTRY.clear()
        return Compacted(store.view(name), len(rows.manifests), copied, left)


def _carry(store: StoreFiles, base: str, rows: ViewRows) -> tuple[str, ...]:
    """Take the columns of the parts along; return those that could not be."""
    first = np.array(rows.keys.first[:-1])
    origin = np.searchsorted(first, rows.rows, side="right") - 1
    origins = [Origin(store, manifest.id) for manifest in rows.manifests]
    done = carry_columns(store, base, origins, origin, rows.rows - first[origin])
    return tuple(name for name, _ in done.left)


@dataclass(frozen=True)
class _Copy:
    """Copies rows, by their numbers in the parts, to where they go."""

    store: StoreFiles
    rows: NDArray[np.int64]
    hooks: Hooks

    def shards(self, reader: ShardSet, places: Sequence[ShardPlace]) -> int:
        """Write the shards that are not committed; return how many records they hold."""
        done = 0
        for place in places:
            if self.hooks.stopping():
                raise Stopped
            if not committed(place):
                write_shard(place, self._records(reader, place), self.store.tmp)
                done += place.stop - place.start
            self.hooks.progress(place.stop, len(self.rows), phase=place.store_id)
        return done

    def _records(self, reader: ShardSet, place: ShardPlace) -> Iterator[Record]:
        for row in range(place.start, place.stop):
            found = reader.stored(int(self.rows[row]))
            yield found._replace(row=row, payload=bytes(found.payload), tail=bytes(found.tail))


@dataclass(frozen=True)
class _CopyAnew(_Copy):
    """Keeps the pixels of LR images by today's codec, where the parts have them by several."""

    hr: ShardSet

    def _records(self, reader: ShardSet, place: ShardPlace) -> Iterator[Record]:
        for row in range(place.start, place.stop):
            number = int(self.rows[row])
            (hr,) = self.hr.images([number])
            (pixels,) = reader.images([number], [hr])
            yield lr_record(row, pixels, hr, bytes(reader.stored(number).tail))


def _base(copy: _Copy, rows: ViewRows, reader: ShardSet) -> tuple[BaseManifest, int]:
    table, first = rows.take(np.arange(len(rows))), rows.manifests[0]
    content = content_identity(table, first.crop, first.permutation_seed)
    base_id = base_identity(content, table, first.block_rows)
    folder = copy.store.base(base_id)
    if (folder / "manifest.json").exists():
        found = copy.store.base_manifest(base_id)
        if is_whole(folder, found.shards):
            return found, 0
    make_folder(folder)
    check_space(folder, sum(shard.bytes for part in rows.manifests for shard in part.shards) // 2)
    files = write_rows(folder, table, copy.store.tmp)
    spans = shard_spans("hr", len(table), hr_row_bytes(first.crop.size_px))
    places = [ShardPlace(folder, name, base_id, a, b, first.block_rows) for name, a, b in spans]
    copied = copy.shards(reader, places)
    made = _manifest(first, table, base_id, content)
    # copied records are sealed as this base's own, whatever those of the parts were
    made = replace(made, files=files, shards=listed(places), origins=())
    write_atomic(folder / "manifest.json", made.seal(), copy.store.tmp)
    return copy.store.base_manifest(base_id), copied


def _manifest(first: BaseManifest, table: Rows, base_id: str, content: str) -> BaseManifest:
    names = (len(table.label_names), table.attribute_names)
    return replace(
        first, id=base_id, content=content, rows=len(table), identities=names[0], attributes=names[1]
    )


def _variant(copy: _Copy, base: BaseManifest, reader: ShardSet) -> tuple[VariantManifest, int]:
    first = reader.folders[0].manifest
    assert isinstance(first, VariantManifest)
    if isinstance(copy, _CopyAnew):
        first = replace(first, codec=LR_CODEC)
    key = variant_identity(base.content, first.pixel_digest, first.variant, first.form)
    folder = copy.store.lr(key)
    if (folder / "manifest.json").exists():
        found = copy.store.lr_manifest(key)
        if is_whole(folder, found.shards):
            return found, 0
    make_folder(folder)
    spans = shard_spans("lr", base.rows, lr_row_bytes(base.crop.size_px))
    places = [ShardPlace(folder, name, key, a, b, first.block_rows) for name, a, b in spans]
    copied = copy.shards(reader, places)
    same = sum(Sidecar.read(place.sidecar).same_as_hr for place in places)
    made = replace(first, id=key, content=base.content, rows=base.rows, shards=listed(places), origins=())
    made = replace(made, same_as_hr=same)
    write_atomic(folder / "manifest.json", made.seal(), copy.store.tmp)
    return copy.store.lr_manifest(key), copied
