"""What a column says about itself, and where it lies: ``store/columns/<base_id>/<name>-<id>/``, with
``manifest.json`` and one ``.npy`` file for each chunk of its rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from lrfr.core.errors import SpecError, check_kind, did_you_mean
from lrfr.core.files import digest_of, entries_of
from lrfr.pairs.format.manifests import Id, Positive, Sha256, Text
from lrfr.pairs.format.sealed import STRICT, Manifest
from lrfr.pairs.format.store_files import StoreFiles

DType = Literal["bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64"]
DTYPES = ("bool", "int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64")
MAX_WIDTH = 1 << 20
# what one task computes and a kill can lose; 16 MiB of 512 floats
CHUNK_ROWS = 8192
_NAME = "[A-Za-z_][A-Za-z0-9_]{0,63}"


@dataclass(frozen=True)
class Chunk:
    """One file of a column: its rows follow those of the chunk before.

    Attributes:
        file: name; it holds the first row and the sha256, so that a rename alone commits it.
        rows: number of rows.
        bytes: of the file.
        sha256: of the file.

    """

    file: Annotated[str, Field(pattern=r"^([0-9]{12}|present)-[0-9a-f]{64}\.npy$")]
    rows: Positive
    bytes: Positive
    sha256: Sha256

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class ColumnManifest(Manifest):
    """A finished column: one value, or one row of values, for every row of a base.

    Attributes:
        name: for people and batches.
        base: id of the base.
        producer: what computed the values, such as the digest of a teacher's checkpoint.
        dtype: of the values.
        width: values of a row; 0 for a single number.
        rows: as many as the base has.
        chunks: in row order.
        present: which rows have a value, bool ``[rows]``; None where all have one.

    """

    kind: ClassVar[str] = "column"
    name: Annotated[str, Field(pattern=f"^{_NAME}$")]
    base: Id
    producer: Annotated[str, Field(min_length=1, max_length=4096)]
    dtype: DType
    width: Annotated[int, Field(ge=0, le=MAX_WIDTH)]
    rows: Positive
    chunks: Annotated[tuple[Chunk, ...], Field(min_length=1, max_length=1_000_000)]
    present: Chunk | None = None
    sealed: Text = field(default="", compare=False)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row: ``()`` or ``(width,)``."""
        return (self.width,) if self.width else ()

    @property
    def files(self) -> tuple[Chunk, ...]:
        """Every file beside the manifest."""
        return (*self.chunks, self.present) if self.present else self.chunks

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(chunk.bytes for chunk in self.files)


@dataclass(frozen=True)
class ColumnPlace:
    """Where a column lies, and what tells it from others.

    Attributes:
        store: the store.
        base: id of the base.
        name: of the column.
        producer: what computes the values.

    """

    store: StoreFiles
    base: str
    name: str
    producer: str

    def __post_init__(self) -> None:
        """Refuse names that could leave the folder or stand for something else in a batch.

        Raises:
            SpecError: the name or the producer cannot be one.

        """
        check_kind(self.name, str, "the name of a column")
        check_kind(self.producer, str, "what computed the column")
        if not re.fullmatch(_NAME, self.name):
            raise SpecError(
                f"'{self.name}' is no name for a column",
                hint="letters, digits and '_', starting with a letter, at most 64",
            )
        if not 1 <= len(self.producer) <= 4096:
            raise SpecError(
                "a column says what computed it",
                hint="producer='...': a checkpoint's digest, or any text that changes when the values do",
            )

    @property
    def folder(self) -> Path:
        """Folder of the column."""
        number = digest_of([self.base, self.name, self.producer])[:16]
        return columns_of(self.store, self.base) / f"{self.name}-{number}"

    @property
    def manifest(self) -> Path:
        """File that says the column is whole."""
        return self.folder / "manifest.json"


def columns_of(store: StoreFiles, base: str) -> Path:
    """Return the folder of the columns of a base."""
    return store.part("columns", base)


def manifest_files(store: StoreFiles, base: str = "*") -> Iterator[Path]:
    """Yield the manifests of the finished columns of a base, or of all, in the order of their names."""
    yield from (path for folder in _folders(store, base) if (path := folder / "manifest.json").exists())


def _folders(store: StoreFiles, base: str = "*") -> list[Path]:
    bases = [base] if base != "*" else [path.name for path in entries_of(store.part("columns"))]
    return [
        path for name in bases for path in entries_of(store.part("columns", name)) if not path.is_symlink()
    ]


def unfinished_columns(store: StoreFiles) -> list[Path]:
    """Return the folders of columns whose writing did not end."""
    folders = [path for path in _folders(store) if re.fullmatch(rf"{_NAME}-[0-9a-f]{{16}}", path.name)]
    return [folder for folder in folders if folder.is_dir() and not (folder / "manifest.json").exists()]


def find_column(
    store: StoreFiles, base: str, name: str, producer: str | None = None
) -> ColumnManifest | None:
    """Return a column of a base, None if there is none.

    Raises:
        SpecError: several producers wrote one of this name, and none is named.
        DataError: a manifest is damaged.

    """
    if producer is not None:
        place = ColumnPlace(store, base, name, producer)
        return ColumnManifest.read(place.manifest) if place.manifest.exists() else None
    found = [
        manifest
        for path in manifest_files(store, base)
        if path.parent.name.rsplit("-", 1)[0] == name and (manifest := ColumnManifest.read(path))
    ]
    if len(found) > 1:
        raise SpecError(
            f"{len(found)} columns are called '{name}'",
            file=str(columns_of(store, base)),
            hint=f"producer='...': {', '.join(item.producer for item in found)}",
        )
    return found[0] if found else None


def names_of(store: StoreFiles, base: str) -> list[str]:
    """Return the names of the finished columns of a base."""
    return sorted({path.parent.name.rsplit("-", 1)[0] for path in manifest_files(store, base)})


def as_dtype(value: object) -> DType:
    """Return the name of a type that a column can have.

    Raises:
        SpecError: it is none of them.

    """
    try:
        name = np.dtype(value).name  # type: ignore[call-overload]  # whatever the caller gave
    except TypeError:
        name = str(value)
    if name not in DTYPES:
        raise SpecError(
            f"a column cannot hold {name}", hint=f"{did_you_mean(name, DTYPES)}; one of {', '.join(DTYPES)}"
        )
    return cast(DType, name)


def converted(values: NDArray[np.generic], dtype: str) -> NDArray[np.generic]:
    """Return values as another type that can hold all of them.

    Raises:
        SpecError: one of them is beyond the type's range, or a fraction where whole numbers belong.

    """
    if values.dtype == np.dtype(dtype):
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(dtype)
    if np.issubdtype(found.dtype, np.floating):
        kept = bool((np.isfinite(values) == np.isfinite(found)).all())
    else:
        kept = bool((found == values).all())
    if not kept:
        raise SpecError(f"{dtype} does not hold the values of this column", hint=f"they are {values.dtype}")
    return found
