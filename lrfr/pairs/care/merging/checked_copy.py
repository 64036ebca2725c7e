"""Copying what was committed from one store to another: every byte compared with its digest on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import discard, make_folder, opened, publish, sha256_file, temp_name, write_fault
from lrfr.core.progress import Hooks, Stopped
from lrfr.pairs.columns.column_manifest import ColumnManifest, columns_of, manifest_files
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.store_files import StoreFiles

_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileCopy:
    """One file to copy: its size is known where it is large, its digest always."""

    source: Path
    target: Path
    sha256: str
    bytes: int

    def is_there(self) -> bool:
        """Return whether the target is a file of this size and digest."""
        try:
            same_size = self.target.stat().st_size == self.bytes
        except OSError:
            return False
        return same_size and sha256_file(self.target) == self.sha256


def folder_files(source: Path, target: Path, manifest: BaseManifest | VariantManifest) -> Iterator[FileCopy]:
    """Yield the files of a base or variant, sidecars behind their shards; the manifest is not among them.

    Raises:
        DataError: one is missing.

    """
    for name, sha256 in (manifest.files if isinstance(manifest, BaseManifest) else {}).items():
        yield FileCopy(source / name, target / name, sha256, _size(source / name))
    for shard in manifest.shards:
        data, sidecar = f"{shard.shard}.mdb", f"{shard.shard}.json"
        yield FileCopy(source / data, target / data, shard.sha256, shard.bytes)
        yield FileCopy(source / sidecar, target / sidecar, shard.sidecar, _size(source / sidecar))


def column_files(source: StoreFiles, target: StoreFiles, base: str) -> Iterator[tuple[Path, list[FileCopy]]]:
    """Yield the manifest of every column of a base that another store lacks, with its files."""
    for path in manifest_files(source, base):
        there = columns_of(target, base) / path.parent.name
        if not (there / "manifest.json").exists():
            chunks = ColumnManifest.read(path).files
            yield (
                path,
                [
                    FileCopy(path.parent / item.file, there / item.file, item.sha256, item.bytes)
                    for item in chunks
                ],
            )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(path), hint="lrfr store repair") from None


@dataclass
class Copier:
    """Copies files, or gives them a second name; what is there already stays.

    Args:
        tmp: folder for temporary files of the target store.
        link: whether files may share their bytes with the other store.
        hooks: told of bytes done, asked whether to stop.
        total: bytes of everything.

    """

    tmp: Path
    link: bool
    hooks: Hooks
    total: int
    done: int = 0
    copied: int = 0

    def copy(self, item: FileCopy) -> None:
        """Copy one file.

        Raises:
            DataError: it does not match its digest; nothing was written.
            EnvironmentFault: the disk is full.
            Stopped: a stop was asked for.

        """
        if self.hooks.stopping():
            raise Stopped
        if not item.is_there():
            make_folder(item.target.parent)
            scratch = temp_name(self.tmp, item.target.name)
            try:
                if self._written(item, scratch) != item.sha256:
                    raise DataError(
                        "does not match the sha256 it was written with",
                        file=str(item.source),
                        hint=f"lrfr store verify --store {_root(item.source)}",
                    )
                publish(scratch, item.target)
            except OSError as error:
                raise write_fault(error, item.target, item.bytes) from error
            finally:
                discard(scratch)
            self.copied += item.bytes
        self.done += item.bytes
        self.hooks.progress(self.done, self.total, phase="merge")

    def _written(self, item: FileCopy, scratch: Path) -> str:
        """Write a file under another name; return its sha256."""
        if self.link and _linked(item.source, scratch):
            return sha256_file(scratch)
        total = hashlib.sha256()
        with opened(item.source) as reader, scratch.open("xb") as writer:
            while data := reader.read(_CHUNK):
                total.update(data)
                writer.write(data)
            writer.flush()
            os.fsync(writer.fileno())
        return total.hexdigest()


def _linked(source: Path, scratch: Path) -> bool:
    try:
        os.link(source, scratch)
    except OSError:  # another file system, or one without second names
        return False
    return True


def _root(path: Path) -> Path:
    """Return the store that a file of a base or variant lies in."""
    return path.parent.parent.parent
