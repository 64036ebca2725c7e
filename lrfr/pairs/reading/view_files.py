"""The files that a view needs, in the order in which they may appear elsewhere: what names others comes after
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lrfr.core.files import sha256_file
from lrfr.pairs.columns.column_manifest import ColumnManifest, manifest_files
from lrfr.pairs.format.manifests import ShardEntry
from lrfr.pairs.format.store_files import StoreFiles


@dataclass(frozen=True)
class Needed:
    """One file: its path in the store, its sha256, and its size where a manifest says it."""

    path: str
    sha256: str
    bytes: int | None = None


@dataclass(frozen=True)
class NeededFolder:
    """A base, variant or column: its files, and the manifest that makes a whole of them."""

    path: str
    files: tuple[Needed, ...]
    manifest: Needed

    @property
    def bytes(self) -> int:
        """Bytes of the files whose size is known."""
        return sum(item.bytes or 0 for item in self.files)


def view_folders(store: StoreFiles, names: Sequence[str]) -> Iterator[NeededFolder]:
    """Yield the bases, variants and columns of some views, each once.

    Raises:
        SpecError: there is no such view.
        DataError: a view or manifest is damaged.

    """
    parts = [part for name in names for part in store.view(name).parts]
    for base in dict.fromkeys(part.base for part in parts):
        yield _base(store, base)
        for path in manifest_files(store, base):
            folder = path.parent.relative_to(store.root).as_posix()
            chunks = ColumnManifest.read(path).files
            files = tuple(Needed(f"{folder}/{item.file}", item.sha256, item.bytes) for item in chunks)
            yield NeededFolder(folder, files, small(store, f"{folder}/manifest.json"))
    for key in dict.fromkeys(key for part in parts for key in part.lr):
        shards = _shards(f"lr/{key}", store.lr_manifest(key).shards)
        yield NeededFolder(f"lr/{key}", shards, small(store, f"lr/{key}/manifest.json"))


def view_masks(store: StoreFiles, name: str) -> tuple[Needed, ...]:
    """Return the masks of a view."""
    found = dict.fromkeys(part.mask for part in store.view(name).parts if part.mask)
    return tuple(Needed(f"masks/{sha256}.npy", sha256) for sha256 in found)


def small(store: StoreFiles, path: str) -> Needed:
    """Return one of the small files, which lie in a folder also where the store is a mirror."""
    found = store.root / path
    return Needed(path, sha256_file(found), found.stat().st_size)


def _base(store: StoreFiles, base: str) -> NeededFolder:
    manifest, folder = store.base_manifest(base), f"base/{base}"
    rows = tuple(Needed(f"{folder}/{name}", sha256) for name, sha256 in manifest.files.items())
    shards = _shards(folder, manifest.shards)
    return NeededFolder(folder, (*rows, *shards), small(store, f"{folder}/manifest.json"))


def _shards(folder: str, shards: Sequence[ShardEntry]) -> tuple[Needed, ...]:
    found = []
    for shard in shards:
        found.append(Needed(f"{folder}/{shard.shard}.mdb", shard.sha256, shard.bytes))
        found.append(Needed(f"{folder}/{shard.shard}.json", shard.sidecar))
    return tuple(found)
