"""Bases, degraded variants and columns without some of their rows: shards that hold none of these are taken
over as they lie.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.files import (
    check_space,
    data_of,
    discard,
    make_folder,
    publish,
    sha256_hex,
    temp_name,
    write_atomic,
    write_fault,
)
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.build.plan import base_identity, content_identity, variant_identity
from lrfr.pairs.care.forgetting.asked_rows import Doomed
from lrfr.pairs.columns.column_carry import Origin as Source
from lrfr.pairs.columns.column_carry import carry_columns
from lrfr.pairs.format.manifests import (
    BaseManifest,
    Origin,
    ShardEntry,
    Sidecar,
    VariantManifest,
    shard_origins,
)
from lrfr.pairs.format.reader import Folder, ShardSet
from lrfr.pairs.format.records import Record
from lrfr.pairs.format.rows import write_rows
from lrfr.pairs.format.shard import ShardPlace, committed, copy_synced, is_whole, write_shard
from lrfr.pairs.format.store_files import StoreFiles


@dataclass
class Work:
    """What rewriting took: shards written anew and taken over, bytes of the former, records that went."""

    rewritten: int = 0
    taken_over: int = 0
    bytes: int = 0
    records: int = 0


@dataclass(frozen=True)
class Cut:
    """One shard without its doomed rows.

    Attributes:
        entry: of the old manifest.
        origin: of its records.
        rows: those that stay, counted from the old folder's row 0.
        start: row of the first of them in the new folder.

    """

    entry: ShardEntry
    origin: Origin
    rows: NDArray[np.int64]
    start: int

    @property
    def whole(self) -> bool:
        """Whether all its rows stay."""
        return len(self.rows) == self.entry.rows


def cuts(manifest: BaseManifest | VariantManifest, kept: NDArray[np.int64]) -> list[Cut]:
    """Return every shard of which something stays."""
    found = []
    for entry, origin in zip(manifest.shards, shard_origins(manifest), strict=True):
        first, stop = np.searchsorted(kept, (entry.start, entry.stop)).tolist()
        if stop > first:
            found.append(Cut(entry, origin, kept[first:stop], first))
    return found


@dataclass(frozen=True)
class Rewriter:
    """Writes what is left of bases and variants beside them; what an earlier try has written is kept."""

    store: StoreFiles
    hooks: Hooks
    work: Work

    def base(self, doomed: Doomed) -> BaseManifest:
        """Write a base without its doomed rows, with its columns."""
        old, kept = doomed.base, doomed.kept
        table = doomed.table.table().take(kept)
        content = content_identity(table, old.crop, old.permutation_seed)
        key = base_identity(content, table, old.block_rows)
        folder = self.store.base(key)
        self.work.records += old.rows - len(kept)
        if not self._is_there(folder):
            make_folder(folder)
            files = write_rows(folder, table, self.store.tmp)
            names = (len(table.label_names), table.attribute_names)
            made = replace(old, id=key, content=content, rows=len(kept), identities=names[0], files=files)
            made = replace(made, attributes=names[1])
            shards, origins, _ = self._shards(Folder(self.store.base(old.id), old), folder, kept)
            made = replace(made, shards=shards, origins=origins)
            write_atomic(folder / "manifest.json", made.seal(), self.store.tmp)
        else:
            self._count(cuts(old, kept))
        carry_columns(self.store, key, [Source(self.store, old.id)], np.zeros(len(kept), np.int64), kept)
        return self.store.base_manifest(key)

    def variant(self, old: VariantManifest, kept: NDArray[np.int64], content: str) -> VariantManifest:
        """Write a degraded variant without the rows that its base has lost."""
        key = variant_identity(content, old.pixel_digest, old.variant, old.form)
        folder = self.store.lr(key)
        self.work.records += old.rows - len(kept)
        if not self._is_there(folder):
            make_folder(folder)
            shards, origins, same = self._shards(Folder(self.store.lr(old.id), old), folder, kept)
            made = replace(old, id=key, content=content, rows=len(kept), shards=shards, origins=origins)
            made = replace(made, same_as_hr=same)
            write_atomic(folder / "manifest.json", made.seal(), self.store.tmp)
        else:
            self._count(cuts(old, kept))
        return self.store.lr_manifest(key)

    def _is_there(self, folder: Path) -> bool:
        if not (folder / "manifest.json").exists():
            return False
        kind = self.store.base_manifest if folder.parent.name == "base" else self.store.lr_manifest
        return is_whole(folder, kind(folder.name).shards)

    def _shards(
        self, old: Folder, folder: Path, kept: NDArray[np.int64]
    ) -> tuple[tuple[ShardEntry, ...], tuple[Origin, ...], int]:
        """Write or take over every shard; return entries, origins and records that are the same as HR."""
        entries, origins, same = [], [], 0
        some, reader = cuts(old.manifest, kept), ShardSet([old])
        check_space(folder, sum(cut.entry.bytes for cut in some if not cut.whole))
        for done, cut in enumerate(some):
            if self.hooks.stopping():
                raise Stopped
            if cut.whole:
                _take_over(old.path, folder, cut.entry, self.store.tmp)
                entry, origin = cut.entry, cut.origin
            else:
                entry, origin = self._write(reader, old, folder, cut), Origin(folder.name, cut.origin.start)
            entries.append(replace(entry, start=cut.start))
            origins.append(origin)
            same += Sidecar.read(folder / f"{entry.shard}.json").same_as_hr
            self.hooks.progress(done + 1, len(some), phase=folder.name)
        self._count(some)
        own = [Origin(folder.name, entry.start) for entry in entries]
        return tuple(entries), () if origins == own else tuple(origins), same

    def _count(self, some: list[Cut]) -> None:
        self.work.rewritten += sum(not cut.whole for cut in some)
        self.work.taken_over += sum(cut.whole for cut in some)
        self.work.bytes += sum(cut.entry.bytes for cut in some if not cut.whole)

    def _write(self, reader: ShardSet, old: Folder, folder: Path, cut: Cut) -> ShardEntry:
        start, rows = cut.origin.start, old.manifest.block_rows
        place = ShardPlace(folder, cut.entry.shard, folder.name, start, start + len(cut.rows), rows)
        sidecar = committed(place) or write_shard(place, _renumbered(reader, cut), self.store.tmp)
        found = (sidecar.rows, sidecar.bytes, sidecar.sha256, sidecar.records)
        return ShardEntry(cut.entry.shard, cut.start, *found, sha256_hex(data_of(place.sidecar)))


def _renumbered(reader: ShardSet, cut: Cut) -> Iterator[Record]:
    for number, row in enumerate(cut.rows.tolist(), cut.origin.start):
        found = reader.stored(row)
        yield found._replace(row=number, payload=bytes(found.payload), tail=bytes(found.tail))


def _take_over(source: Path, folder: Path, entry: ShardEntry, tmp: Path) -> None:
    """Give a folder a shard of another, without writing it again; the sidecar comes last."""
    for name in (f"{entry.shard}.mdb", f"{entry.shard}.json"):
        link_file(source / name, folder / name, tmp)


def link_file(source: Path, target: Path, tmp: Path) -> None:
    """Give a file a second name, or copy it where the file system has no second names."""
    scratch = temp_name(tmp, target.name)
    try:
        try:
            os.link(source, scratch)
        except OSError:
            copy_synced(source, scratch)
        publish(scratch, target)
    except OSError as error:
        discard(scratch)
        raise write_fault(error, target, source.stat().st_size) from error
