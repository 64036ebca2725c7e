"""Bringing a store of an older layout to today's: bytes whose content agrees are taken over, ids are made
anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import EnvironmentFault, SpecError
from lrfr.core.files import (
    check_space,
    data_of,
    make_folder,
    sweep,
    temp_name,
    write_atomic,
    write_fault,
)
from lrfr.core.files.inside import remove
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.build.look.report_files import write_report
from lrfr.pairs.build.lr import lr_places, variant_of, write_variants
from lrfr.pairs.build.plan import base_identity, content_identity
from lrfr.pairs.care.older_layout import (
    OlderBase,
    older_files,
    read_older_base,
    read_older_variant,
    read_older_view,
)
from lrfr.pairs.care.older_records import agrees, kept_anew, taken_over
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.disk.lmdb_files import REGISTRY
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.reader import Folder, ShardSet, open_base
from lrfr.pairs.format.records import Record
from lrfr.pairs.format.rows import CROP_BYTES, Rows, StoredRows, write_rows
from lrfr.pairs.format.shard import ShardPlace, committed, is_whole, listed, write_shard
from lrfr.pairs.format.shard_layout import hr_row_bytes, shard_spans
from lrfr.pairs.format.store_files import StoreFiles, open_store
from lrfr.pairs.format.view_manifest import View, ViewPart
from lrfr.pairs.views import ViewRows, select_rows, view_id


@dataclass(frozen=True)
class Renamed:
    """One thing under its old and its new id; ``kind`` is ``base``, ``lr`` or ``view``."""

    kind: str
    old: str
    new: str


@dataclass
class Upgraded:
    """What an upgrade did.

    Attributes:
        renamed: old id and new id of every base, variant and view.
        degraded: images that were degraded anew, because the code of an op gives other pixels today.
        left: what could not be brought over, with the reason.

    """

    renamed: list[Renamed] = field(default_factory=list)
    degraded: int = 0
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Moved:
    """A base under both names."""

    older: OlderBase
    rows: Rows
    folder: Path
    new: BaseManifest


def upgrade(root: str | Path, to: str | Path | None = None, hooks: Hooks = SILENT) -> Upgraded:
    """Bring a store of layout 2 to today's layout.

    HR records are taken over after their checksums; records of a variant are when today's code gives the
    same pixels for some rows, else the variant is degraded anew. Views keep their old ids as ``former``, so
    that what was trained on them still finds them. Killed and run again, it goes on. In place, the old parts
    are removed when every view stands on new ones.

    Args:
        root: the store.
        to: a folder for the new store, which leaves the old one as it is; None upgrades in place.
        hooks: told of records done, asked between shards whether to stop.

    Raises:
        SpecError: there is no store.
        DataError: the old store is damaged.
        Stopped: a stop was asked for; finished shards are kept.

    """
    old, done = open_store(Path(root)), Upgraded()
    target = StoreFiles(Path(to)) if to is not None else old
    _check_nesting(old.root, target.root)
    with store_lock(target.root):
        make_folder(target.tmp)
        sweep(target.tmp)
        bases = {}
        for path in older_files(old.root, "base/*/manifest.json"):
            moved = _base(path, target, hooks)
            bases[moved.older.manifest.content, moved.older.manifest.id] = moved
            done.renamed.append(Renamed("base", moved.older.manifest.id, moved.new.id))
        variants = _variants(old, target, list(bases.values()), hooks, done)
        by_id = {moved.older.manifest.id: moved for moved in bases.values()}
        for path in older_files(old.root, "views/*.json"):
            _view(path, target, by_id, variants, done)
        REGISTRY.clear()
        if to is None and not done.left:
            _remove_older(target)
    return done


def _check_nesting(old: Path, new: Path) -> None:
    if old.resolve() != new.resolve() and old.resolve() in new.resolve().parents:
        raise EnvironmentFault("the new store lies inside the old one", file=str(new))


def _base(path: Path, target: StoreFiles, hooks: Hooks) -> _Moved:
    """Take one base over."""
    older = read_older_base(path)
    rows = StoredRows(path.parent, older.manifest.files, older.manifest.permutation_seed).table()
    reader = ShardSet([Folder(path.parent, older.manifest)])
    if older.manifest.crop.aligned:
        rows = replace(rows, crops=_crops_of(reader))
    content = content_identity(rows, older.manifest.crop, older.manifest.permutation_seed)
    base_id = base_identity(content, rows, older.manifest.block_rows)
    folder = target.base(base_id)
    if (folder / "manifest.json").exists():
        found = target.base_manifest(base_id)
        if is_whole(folder, found.shards):
            return _Moved(older, rows, path.parent, found)
    make_folder(folder)
    check_space(folder, sum(shard.bytes for shard in older.manifest.shards))
    files = write_rows(folder, rows, target.tmp)
    spans = shard_spans("hr", len(rows), hr_row_bytes(older.manifest.crop.size_px))
    places = [
        ShardPlace(folder, name, base_id, start, stop, older.manifest.block_rows)
        for name, start, stop in spans
    ]
    _copy(reader, places, target, hooks, lambda place: taken_over(reader, place))
    new = replace(
        older.manifest,
        id=base_id,
        content=content,
        files=files,
        shards=listed(places),
    )
    write_atomic(folder / "manifest.json", new.seal(), target.tmp)
    return _Moved(older, rows, path.parent, target.base_manifest(base_id))


def _crops_of(reader: ShardSet) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return what stands for the landmarks of aligned rows, which layout 2 has not kept: the crops' own
    bytes.
    """
    hashes = [
        hashlib.blake2b(bytes(reader.record(row).payload), digest_size=CROP_BYTES, person=b"crop").digest()
        for row in range(len(reader))
    ]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(reader), CROP_BYTES)


def _copy(
    reader: ShardSet,
    places: Sequence[ShardPlace],
    target: StoreFiles,
    hooks: Hooks,
    records: Callable[[ShardPlace], Iterator[Record]],
) -> None:
    """Write the records of a store under another id, shard by shard; what is committed is left."""
    for place in places:
        if hooks.stopping():
            raise Stopped
        if not committed(place):
            write_shard(place, records(place), target.tmp)
        hooks.progress(place.stop, len(reader), phase=place.store_id)


def _variants(
    old: StoreFiles, target: StoreFiles, bases: Sequence[_Moved], hooks: Hooks, done: Upgraded
) -> dict[tuple[str, str], VariantManifest]:
    """Take the variants over; return them by (new content, old id)."""
    found = {}
    for path in older_files(old.root, "lr/*/manifest.json"):
        older = read_older_variant(path)
        owners = {
            moved.new.content: moved for moved in bases if moved.older.manifest.content == older.content
        }
        if not owners:
            done.left.append(f"{path.parent}: its base is not here")
        for content, moved in owners.items():
            try:
                new, images = _variant(path.parent, older, moved, target, hooks)
            except SpecError as error:
                done.left.append(f"{path.parent}: {error.message}")
                continue
            found[content, older.id] = new
            done.degraded += images
            done.renamed.append(Renamed("lr", older.id, new.id))
    return found


def _variant(
    folder: Path, older: VariantManifest, moved: _Moved, target: StoreFiles, hooks: Hooks
) -> tuple[VariantManifest, int]:
    """Take one variant over; return it and how many images were degraded anew."""
    variant = variant_of(older)
    base = open_base(target.base(moved.new.id))
    reader = ShardSet([Folder(folder, older)])
    places = lr_places(target, moved.new, variant)
    if not (target.lr(places[0].store_id) / "manifest.json").exists():
        make_folder(target.lr(places[0].store_id))
        if agrees(reader, older, base):
            digest = variant.spec.pixel_digest
            _copy(reader, places, target, hooks, lambda place: kept_anew(reader, base, place, digest))
    written = write_variants(target, moved.new, [variant], Runner("serial", hooks=hooks))[0]
    return written.manifest, written.written


def _view(
    path: Path,
    target: StoreFiles,
    bases: dict[str, _Moved],
    variants: dict[tuple[str, str], VariantManifest],
    done: Upgraded,
) -> None:
    """Write one view over the new parts, last of all: until then the old one stands."""
    older = read_older_view(path)
    (part,) = older.parts
    moved = bases.get(part.base)
    manifests = [variants.get((moved.new.content, key)) for key in part.lr] if moved else []
    whole = [manifest for manifest in manifests if manifest is not None]
    if moved is None or len(whole) < len(older.variants):
        done.left.append(f"{path}: a part of it is not here")
        return
    parts = (ViewPart(moved.new.id, tuple(manifest.id for manifest in whole)),)
    rows = ViewRows(target, parts)
    shown = rows.take(select_rows(rows, older.filter), whole=False)
    new_id = view_id(moved.new, shown, older.variants, whole)
    new = View(older.name, new_id, parts, older.variants, older.filter, former=(older.id,))
    quarantine = moved.folder / "quarantine.jsonl"
    told = data_of(quarantine) if quarantine.exists() else b""
    write_report(target, older.name, moved.older.report, told)
    make_folder(target.view_path(older.name).parent)
    write_atomic(target.view_path(older.name), new.seal(), target.tmp)
    done.renamed.append(Renamed("view", older.id, new_id))


def _remove_older(target: StoreFiles) -> None:
    """Remove the parts of the old layout, variants before bases; each is first renamed into the folder of
    temporary files, which every run sweeps: one that is killed leaves nothing half removed.
    """
    for place in ("lr/*/manifest.json", "base/*/manifest.json"):
        for path in older_files(target.root, place):
            going = temp_name(target.tmp, path.parent.name)
            try:
                path.parent.rename(going)
            except OSError as error:
                raise write_fault(error, path.parent, 0) from error
            remove(going)
