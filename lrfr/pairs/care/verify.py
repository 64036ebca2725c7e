"""Checking a store: every byte of every file against what was committed, and with ``deep`` every record and
pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from lrfr.core.errors import DataError, LrfrError
from lrfr.core.files import read_sealed, sha256_file, sha256_hex
from lrfr.pairs.format.lmdb_files import REGISTRY, Expected
from lrfr.pairs.format.records import Block, decodes, store_seed, unpack
from lrfr.pairs.store import Store

Progress = Callable[..., None]


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


def verify(
    store: Store, deep: bool = False, on_progress: Progress = lambda done, total, **info: None
) -> list[Finding]:
    """Check views, manifests, row tables, sidecars and shards of a store; an empty list means that every byte
    is as written.

    Args:
        store: the store.
        deep: also decode every record and recompute the logical digest of every shard.
        on_progress: called with (done, total) shards.

    """
    findings = _check_views(store)
    folders = [store.base(key) for key in store.bases()] + [store.lr(key) for key in store.actions()]
    for index, folder in enumerate(folders):
        findings += check_folder(folder, deep)
        on_progress(index + 1, len(folders), phase="verify")
    return findings


def _check_views(store: Store) -> list[Finding]:
    findings = []
    for name in store.views():
        path = store.view_path(name)
        try:
            view = store.view(name)
            findings += [Finding(str(path), "", fault) for fault in _missing_parts(store, view)]
        except LrfrError as error:
            findings.append(Finding.of(error))
    return findings


def _missing_parts(store: Store, view: dict[str, Any]) -> Iterator[str]:
    base = store.base(view["base"]) / "manifest.json"
    if not base.exists():
        yield f"its base {view['base']} is not here"
        return
    for variant in view["variants"]:
        manifest = store.lr(variant["action"]) / "manifest.json"
        if not manifest.exists():
            yield f"its variant {variant['action']} is not here"
            continue
        try:
            if read_sealed(manifest)["content"] != read_sealed(base)["content"]:
                yield f"its variant {variant['action']} belongs to another base"
        except DataError:
            continue  # reported with the folder


def check_folder(folder: Path, deep: bool = False) -> list[Finding]:
    """Check one base or LR folder."""
    try:
        manifest = read_sealed(folder / "manifest.json")
    except DataError as error:
        return [Finding.of(error)]
    findings = []
    if manifest.get("id") != folder.name:
        findings.append(
            Finding(str(folder / "manifest.json"), "", f"the manifest belongs to {manifest.get('id')}")
        )
    for name, sha256 in manifest.get("files", {}).items():
        fault = _check_file(folder / name, None, sha256)
        findings += [Finding(str(folder / name), "", fault)] if fault else []
    for shard in manifest["shards"]:
        findings += check_shard(folder, manifest, shard, deep)
    return findings


def check_shard(
    folder: Path, manifest: dict[str, Any], shard: dict[str, Any], deep: bool = False
) -> list[Finding]:
    """Check one shard and its sidecar."""
    data, sidecar = folder / f"{shard['shard']}.mdb", folder / f"{shard['shard']}.json"
    findings = []
    for path, size, sha256 in ((data, shard["bytes"], shard["sha256"]), (sidecar, None, shard["sidecar"])):
        fault = _check_file(path, size, sha256)
        if fault:
            findings.append(
                Finding(str(path), f"rows {shard['start']} to {shard['start'] + shard['rows'] - 1}", fault)
            )
    # a file of another size must not be mapped: the process would die
    size_is_right = data.exists() and data.stat().st_size == shard["bytes"]
    if size_is_right and (deep or any(finding.file == str(data) for finding in findings)):
        findings += _check_records(data, manifest, shard)
    return findings


def _check_file(path: Path, size: int | None, sha256: str) -> str:
    """Return what is wrong with a file, "" if nothing."""
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            return f"{found} bytes where {size} were written"
        same = sha256_file(path) == sha256 if size is not None else sha256_hex(path.read_bytes()) == sha256
    except OSError as error:
        return f"cannot read: {error.strerror}"
    return "" if same else "the content does not match its sha256"


def _check_records(path: Path, manifest: dict[str, Any], shard: dict[str, Any]) -> list[Finding]:
    """Check every record: checksum, row, pixels; and the logical digest over all blocks."""
    findings, logical = [], xxhash.xxh3_128()
    seed, block_rows = store_seed(manifest["id"]), manifest["block_rows"]
    stop = shard["start"] + shard["rows"]
    for first in range(shard["start"], stop, block_rows):
        rows = range(first, min(stop, first + block_rows))
        try:
            opened = REGISTRY.file(str(path), Expected(shard["bytes"]))
            block = opened.block(first // block_rows)
            logical.update(block.view)
            findings += [
                Finding(str(path), f"row {row}", fault)
                for row in rows
                if (fault := _fault(block, row, block_rows, seed))
            ]
            del opened, block
        except DataError as error:
            findings.append(Finding(str(path), f"rows {rows.start} to {rows.stop - 1}", error.message))
    if not findings and logical.hexdigest() != shard["records"]:
        findings.append(Finding(str(path), "", "the records do not match their digest"))
    return findings


def _fault(block: Block, row: int, block_rows: int, seed: int) -> str:
    try:
        record = unpack(block, row % block_rows, row, seed)
    except DataError as error:
        return error.message
    return "" if decodes(record) else "the pixels do not decode"


def unfinished(store: Store) -> list[Path]:
    """Return folders without a manifest: builds that were interrupted, or whose manifest was lost."""
    folders = [*sorted((store.root / "base").glob("*")), *sorted((store.root / "lr").glob("*"))]
    return [folder for folder in folders if folder.is_dir() and not (folder / "manifest.json").exists()]
