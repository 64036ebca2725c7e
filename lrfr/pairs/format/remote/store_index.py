"""The list of the small files of a store: what a place without folders, such as a web server, is read by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from lrfr.core.files import sha256_file, write_atomic
from lrfr.pairs.format.manifests import Count, Sha256, Text
from lrfr.pairs.format.sealed import STRICT, Manifest

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


def write_index(root: Path) -> StoreIndex:
    """Write the index of a store that lies in a folder, so that a web server can serve it as it is.

    Raises:
        EnvironmentFault: the folder cannot be written.

    """
    (root / "tmp").mkdir(exist_ok=True)
    made = index_of(root)
    write_atomic(root / INDEX, made.seal(), root / "tmp")
    return made
