"""The list of the small files of a store: what a place without folders, such as a web server, is read by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field

from lrfr.core.errors import DataError
from lrfr.core.files import seal, sha256_file, unseal, write_atomic
from lrfr.pairs.format.manifests import Count, Sha256, Text
from lrfr.pairs.format.sealed import STRICT, Manifest

if TYPE_CHECKING:
    from lrfr.pairs.format.store_files import StoreFiles

INDEX = "index.json"
MOST_INDEX_BYTES = 256 << 20
# everything by which a store is known; images, row tables and the values of columns are found by these
SMALL = (
    "views/*.json",
    "base/*/manifest.json",
    "lr/*/manifest.json",
    "columns/*/*/manifest.json",
    "masks/*.npy",
    "reports/*",
    "forgotten/*",
)
# what names others stands behind them; data and masks, which name nothing, stand before all
_NAMING = (
    "(base|lr)/[^/]+/(?!manifest\\.json)[^/]+\\.json",
    "base/[^/]+/manifest\\.json",
    "(lr/[^/]+|columns/[^/]+/[^/]+)/manifest\\.json",
    "(reports|forgotten)/[^/]+(?<!\\.json)",
    "(reports|forgotten)/[^/]+\\.json",
    "views/[^/]+",
    INDEX,
)
_NAME = "[A-Za-z0-9_][A-Za-z0-9._-]{0,199}"
_KNOWN = re.compile(
    rf"(views|masks|reports|forgotten)/{_NAME}|(base|lr)/{_NAME}/manifest\.json|columns/{_NAME}/{_NAME}/manifest\.json"
)


@dataclass(frozen=True)
class IndexEntry:
    """A small file: its path in the store, its size and its sha256."""

    path: Annotated[str, Field(max_length=700, pattern=f"^({_KNOWN.pattern})$")]
    bytes: Count
    sha256: Sha256

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class StoreIndex(Manifest):
    """The small files of a store, in the order of their paths."""

    kind: ClassVar[str] = "index"
    files: Annotated[tuple[IndexEntry, ...], Field(max_length=1_000_000)]
    sealed: Text = field(default="", compare=False)


def small_files(root: Path) -> Iterator[Path]:
    """Yield the small files of a store that lies in a folder."""
    for pattern in SMALL:
        yield from (path for path in sorted(root.glob(pattern)) if path.is_file())


def rank_of(path: str) -> int:
    """Return where a file of a store stands in the order of appearing: sidecars behind their shards, a base's
    manifest behind its files, variants and columns behind bases, what is told of a list behind the list,
    views behind all of these. Files of one rank name none of each other, so threads may write them at once;
    what is removed goes from the highest rank down.
    """
    return next((rank for rank, form in enumerate(_NAMING, 1) if re.fullmatch(form, path)), 0)


def is_small(name: str) -> bool:
    """Return whether a path in a store is one of its small files."""
    return bool(_KNOWN.fullmatch(name)) and ".." not in name


def index_of(root: Path) -> StoreIndex:
    """Return the index of a store that lies in a folder."""
    entries = [
        IndexEntry(path.relative_to(root).as_posix(), path.stat().st_size, sha256_file(path))
        for path in small_files(root)
    ]
    return StoreIndex(tuple(sorted(entries, key=lambda entry: entry.path)))


def index_without(index: bytes, written: Mapping[str, str]) -> bytes | None:
    """Return an index without the files that are about to be written with another sha256 than it tells (or
    removed: ""); None where it need not change, or is damaged.
    """
    try:
        said = unseal(index, INDEX)
        kept = [item for item in said["files"] if written.get(item["path"], item["sha256"]) == item["sha256"]]
    except (DataError, KeyError, TypeError):
        return None
    return None if len(kept) == len(said["files"]) else seal({**said, "files": kept})


def write_index(root: Path) -> StoreIndex:
    """Write the index of a store that lies in a folder, so that a web server can serve it as it is.

    Raises:
        EnvironmentFault: the folder cannot be written.

    """
    (root / "tmp").mkdir(exist_ok=True)
    made = index_of(root)
    write_atomic(root / INDEX, made.seal(), root / "tmp")
    return made


def index_store(store: StoreFiles) -> StoreIndex:
    """Write the index of a store of which every view can be read.

    Raises:
        DataError: a view cannot be read, or there is none: the folder may be another's.
        EnvironmentFault: the folder cannot be written.

    """
    for name in store.views() or ["default"]:
        store.view(name)
    return write_index(store.root)
