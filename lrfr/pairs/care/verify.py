"""Checking a store: every byte of every file against what was committed, and with ``deep`` every record and
pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.files import data_of, entries_of, sha256_file
from lrfr.core.files.inside import own_entries
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.build.look.report_files import report_faults
from lrfr.pairs.columns.column_manifest import unfinished_columns
from lrfr.pairs.columns.column_store import column_faults
from lrfr.pairs.format.disk.lmdb_files import REGISTRY, Expected
from lrfr.pairs.format.disk.lmdb_pages import salvage
from lrfr.pairs.format.manifests import BaseManifest, Origin, ShardEntry, VariantManifest, shard_origins
from lrfr.pairs.format.reader import Folder
from lrfr.pairs.format.records import Block, block_key, decodes, read_block, store_seed, unpack
from lrfr.pairs.format.rows import check_file
from lrfr.pairs.format.store_files import StoreFiles, refuse_other_layouts
from lrfr.pairs.format.view_manifest import Forgetting, View, ViewPart
from lrfr.pairs.views import ViewRows, select_rows, view_id

AnyManifest = BaseManifest | VariantManifest
# as what a shard's records are sealed, and how many lie in a block
Sealed = tuple[Origin, int]
# gives the block of a number
Blocks = Callable[[int], Block]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the file, the place in it, and what."""

    file: str
    place: str
    fault: str

    @classmethod
    def of(cls, error: LrfrError) -> Finding:
        """Return the finding that an error tells."""
        return cls(error.file or "", error.path or "", error.message)

    def __str__(self) -> str:
        """Return it on one line."""
        return ": ".join(part for part in (self.file, self.place, self.fault) if part)


def verify(store: StoreFiles, deep: bool = False, hooks: Hooks = SILENT) -> list[Finding]:
    """Check views, manifests, row tables, sidecars, shards and columns of a store; an empty list means that
    every byte is as written.

    Args:
        store: the store.
        deep: also decode every record and recompute the logical digest of every shard.
        hooks: told of folders done.

    Raises:
        DataError: an older version of lrfr has laid the store out; says what to run.

    """
    refuse_other_layouts(store)
    findings = _check_views(store) + _check_acts(store)
    folders = [store.base(key) for key in store.bases()] + [store.lr(key) for key in store.variants()]
    for index, folder in enumerate(folders):
        findings += check_folder(folder, deep)
        hooks.progress(index + 1, len(folders), phase="verify")
    return findings + [Finding(str(path), "", fault) for path, fault in column_faults(store)]


def _check_acts(store: StoreFiles) -> list[Finding]:
    """Name acts of forgetting that did not end, and lists of digests that are not as they were written."""
    findings = []
    for path in _acts(store):
        try:
            act = Forgetting.read(path)
            if act.state == "begun":
                fault = (
                    f"forgetting of {act.date[:10]} was begun and has not ended: run the same command again"
                )
                findings.append(Finding(str(path), "", fault))
            elif act.digests:
                check_file(path.with_suffix(".npy"), act.digests)
        except DataError as error:
            findings.append(Finding.of(error))
    return findings


def _check_views(store: StoreFiles) -> list[Finding]:
    findings = []
    for name in store.views():
        path = store.view_path(name)
        try:
            view = store.view(name)
            findings += [Finding(str(path), "", fault) for fault in _view_faults(store, view)]
            findings += map(Finding.of, report_faults(store, name))
        except LrfrError as error:
            findings.append(Finding.of(error))
    return findings


def _view_faults(store: StoreFiles, view: View) -> Iterator[str]:
    """Yield what is wrong between a view and the parts it names; what is wrong inside these is reported with
    them.
    """
    whole = True
    for part in view.parts:
        faults = list(_part_faults(store, part))
        yield from (fault for fault in faults if fault)
        whole &= not faults
    if whole:
        yield from _id_fault(store, view)


def _part_faults(store: StoreFiles, part: ViewPart) -> Iterator[str]:
    """Yield what is wrong between a part and what it names; "" for what is wrong inside that."""
    if not (store.base(part.base) / "manifest.json").exists():
        yield f"its base {part.base} is not here"
        return
    try:
        base = store.base_manifest(part.base)
    except DataError:
        yield ""
        return
    for key in part.lr:
        if not (store.lr(key) / "manifest.json").exists():
            yield f"its variant {key} is not here"
            continue
        try:
            if store.lr_manifest(key).content != base.content:
                yield f"its variant {key} belongs to another base"
        except DataError:
            yield ""
    try:
        store.shown(part, base)
    except DataError as error:
        yield f"its mask {part.mask}: {error.message}"


def _id_fault(store: StoreFiles, view: View) -> Iterator[str]:
    first = view.parts[0]
    try:
        rows = ViewRows(store, view.parts)
        shown = rows.take(select_rows(rows, view.filter), whole=False)
    except DataError as error:
        # a damaged table is told with its base
        if error.file is None:
            yield error.message
        return
    variants = [store.lr_manifest(key) for key in first.lr]
    if view_id(rows.manifests[0], shown, view.variants, variants) != view.id:
        yield "its id is not that of what it shows"


def read_folder(folder: Path) -> AnyManifest:
    """Read the manifest of a base or LR folder.

    Raises:
        DataError: missing, damaged or of another folder.

    """
    store = StoreFiles(folder.parent.parent)
    return (
        store.base_manifest(folder.name) if folder.parent.name == "base" else store.lr_manifest(folder.name)
    )


def check_folder(folder: Path, deep: bool = False) -> list[Finding]:
    """Check one base or LR folder of a store."""
    try:
        manifest = Folder(folder, read_folder(folder)).manifest
    except DataError as error:
        return [Finding.of(error)]
    findings = []
    files = manifest.files if isinstance(manifest, BaseManifest) else {}
    for name, sha256 in files.items():
        fault = _check_file(folder / name, None, sha256)
        findings += [Finding(str(folder / name), "", fault)] if fault else []
    for shard, origin in zip(manifest.shards, shard_origins(manifest), strict=True):
        findings += check_shard(folder, shard, (origin, manifest.block_rows), deep)
    return findings


def check_shard(folder: Path, shard: ShardEntry, sealed: Sealed, deep: bool = False) -> list[Finding]:
    """Check one shard and its sidecar."""
    data, sidecar = folder / f"{shard.shard}.mdb", folder / f"{shard.shard}.json"
    findings = []
    for path, size, sha256 in ((data, shard.bytes, shard.sha256), (sidecar, None, shard.sidecar)):
        fault = _check_file(path, size, sha256)
        if fault:
            findings.append(Finding(str(path), f"rows {shard.start} to {shard.stop - 1}", fault))
    size_is_right = data.exists() and data.stat().st_size == shard.bytes
    # whole files are hashed already; records are looked at only to say which of them are damaged
    damaged = any(finding.file == str(data) for finding in findings)
    if size_is_right and damaged:
        findings += _check_records(data, shard, sealed, _salvaged(data))
    elif size_is_right and deep:
        findings += _check_records(data, shard, sealed, _opened(data, shard))
    return findings


def _opened(path: Path, shard: ShardEntry) -> Blocks:
    """Return what gives the blocks of a file whose bytes are as they were written."""

    def block(number: int) -> Block:
        opened = REGISTRY.file(str(path), Expected(shard.bytes))
        return read_block(memoryview(opened.value(block_key(number))))

    return block


def _salvaged(path: Path) -> Blocks:
    """Return what gives the blocks of a damaged file, which LMDB could leave."""
    values = salvage(data_of(path, most=1 << 40))

    def block(number: int) -> Block:
        try:
            return read_block(values[block_key(number)])
        except KeyError:
            raise DataError("the block cannot be reached") from None

    return block


def _check_file(path: Path, size: int | None, sha256: str) -> str:
    """Return what is wrong with a file, "" if nothing."""
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            return f"{found} bytes where {size} were written"
        same = sha256_file(path) == sha256
    except OSError as error:
        return f"cannot read: {error.strerror}"
    return "" if same else "the content does not match its sha256"


def _check_records(path: Path, shard: ShardEntry, sealed: Sealed, block_of: Blocks) -> list[Finding]:
    """Check every record: checksum, row, pixels; and the logical digest over all blocks."""
    findings, logical = [], xxhash.xxh3_128()
    (origin, block_rows), end = sealed, sealed[0].start + shard.rows
    seed = store_seed(origin.store)
    for first in range(origin.start, end, block_rows):
        rows = range(first, min(end, first + block_rows))
        try:
            block = block_of(first // block_rows)
            logical.update(block.view)
            findings += [
                Finding(str(path), f"row {row}", fault)
                for row in rows
                if (fault := _fault(block, row, block_rows, seed))
            ]
        except DataError as error:
            findings.append(Finding(str(path), f"rows {rows.start} to {rows.stop - 1}", error.message))
    if not findings and logical.hexdigest() != shard.records:
        findings.append(Finding(str(path), "", "the records do not match their digest"))
    return findings


def _fault(block: Block, row: int, block_rows: int, seed: int) -> str:
    try:
        record = unpack(block, row % block_rows, row, seed)
    except DataError as error:
        return error.message
    return "" if decodes(record) else "the pixels do not decode"


def _acts(store: StoreFiles) -> list[Path]:
    return [path for path in entries_of(store.part("forgotten")) if path.suffix == ".json"]


def unfinished(store: StoreFiles) -> list[Path]:
    """Return folders without a manifest: builds that were interrupted, or whose manifest was lost."""
    folders = [path for kind in ("base", "lr") for path in own_entries(store.root, kind)]
    left = [folder for folder in folders if folder.is_dir() and not (folder / "manifest.json").exists()]
    return left + unfinished_columns(store)
