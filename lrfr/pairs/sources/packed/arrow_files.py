"""Parquet and Arrow files opened without trust: columns of text, and one row group of images at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from lrfr.core.errors import DataError, SpecError, missing_extra
from lrfr.core.files import open_regular
from lrfr.pairs.sources.base import file_stamp, label_name

PATH_NAMES = ("path", "file_name", "key", "file", "filename", "image", "image_id")
_IMAGES = ("image", "img", "hr", "jpg", "jpeg", "png", "webp", "picture", "face", "bytes", "data")
# a row group is read as a whole; Hugging Face's hold 100 images
_MOST_GROUP_BYTES = 4 * 1024**3


def arrow_package() -> Any:
    """Return pyarrow with its Parquet reader.

    Raises:
        EnvironmentFault: it is not installed.

    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet") from None
    return pyarrow


def opened_table(path: Path) -> Any:
    """Return a Parquet file (with ``read_row_group``) or an Arrow table."""
    stamp = file_stamp(path)
    if stamp is None:
        raise DataError("cannot be read", file=str(path))
    return _open(path, stamp)


@lru_cache(maxsize=32)
def _open(path: Path, stamp: tuple[int, ...]) -> Any:
    arrow = arrow_package()
    try:
        # Arrow maps a path of its own: it would wait for a FIFO
        os.close(open_regular(path))
        if path.suffix.lower() == ".parquet":
            return arrow.parquet.ParquetFile(path)
        mapped = arrow.memory_map(str(path))
        try:
            return _valid(arrow.ipc.open_file(mapped).read_all())
        except arrow.ArrowInvalid:
            return _valid(arrow.ipc.open_stream(arrow.memory_map(str(path))).read_all())
    except (OSError, ValueError, KeyError, TypeError, MemoryError, arrow.ArrowException) as error:
        raise DataError(f"cannot be read: {str(error).splitlines()[0][:200]}", file=str(path)) from None


def _valid(table: Any) -> Any:
    """Return a table whose offsets and texts were looked at: Arrow follows forged ones out of the file, which
    ends the process.
    """
    table.validate(full=True)
    return table


def schema_of(opened: Any) -> Any:
    """Return the schema of an opened file."""
    return opened.schema_arrow if hasattr(opened, "schema_arrow") else opened.schema


@lru_cache(maxsize=4)
def image_group(path: Path, stamp: tuple[int, ...], column: str, group: int) -> Any:
    """Return the images of one row group as an Arrow column; group -1 is a whole Arrow file.

    Raises:
        DataError: larger than 4 GiB, or damaged.

    """
    opened = opened_table(path)
    if group < 0:
        return opened.column(column)
    if opened.metadata.row_group(group).total_byte_size > _MOST_GROUP_BYTES:
        raise DataError("a row group of more than 4 GiB", file=str(path))
    return _valid(opened.read_row_group(group, columns=[column])).column(column)


def image_columns(schema: Any) -> list[str]:
    """Return the columns that hold images, the one that is meant first."""
    import pyarrow

    def holds(kind: Any) -> bool:
        if pyarrow.types.is_struct(kind):
            return any(kind.field(index).name == "bytes" for index in range(kind.num_fields))
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    found = [field.name for field in schema if holds(field.type) and field.name != "key"]
    return sorted(found, key=lambda name: (rank(name, _IMAGES), found.index(name)))


def no_images(path: Path, schema: Any) -> DataError:
    """Return the fault of a table without a column of images, with the kinds of its columns."""
    kinds = ", ".join(f"{field.name[:40]} ({str(field.type)[:40]})" for field in schema)
    return DataError(
        f"no column of images among {kinds}"[:600],
        file=str(path),
        hint="images are encoded bytes, or a struct of bytes and path; numbers of pixels are not read",
    )


def rank(name: str, names: Sequence[str]) -> int:
    """Return how early a name stands among some, their number when it does not."""
    return names.index(name.lower()) if name.lower() in names else len(names)


def holds_images(path: Path) -> bool:
    """Return whether a file holds images, and not the paths of some.

    Raises:
        DataError: it cannot be read, or holds neither.

    """
    schema = schema_of(opened_table(path))
    found = bool(image_columns(schema))
    if not found and not any(is_simple(field.type) for field in schema if field.name.lower() in PATH_NAMES):
        raise no_images(path, schema)
    return found


def text_columns(path: Path) -> dict[str, list[str]]:
    """Return the columns of a table without images, as text.

    Raises:
        SpecError: it cannot be read.

    """
    try:
        opened = opened_table(path)
        table = _valid(opened.read()) if hasattr(opened, "read") else opened
        return {name: list(map(text_of_cell, table.column(name).to_pylist())) for name in table.column_names}
    except DataError as error:
        raise SpecError(error.message, file=str(path)) from None
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read: {error}", file=str(path)) from None


def text_of_cell(value: object) -> str:
    """Return a cell as text, "" for none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def is_simple(kind: Any) -> bool:
    """Return whether a column holds text, numbers or flags."""
    import pyarrow

    types = pyarrow.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_dictionary(kind)
    )


def without_bytes(opened: Any, simple: list[str], path_column: str) -> Any:
    """Read the simple columns and the paths of images, not their bytes."""
    if hasattr(opened, "read_row_group"):
        return _valid(opened.read(columns=[*simple, *([path_column] if path_column else [])]))
    return opened


def struct_paths(table: Any, column: str) -> list[str]:
    """Return the paths of a column of image structs, "" where one has none."""
    chunks = table.column(column).chunks
    return [path or "" for chunk in chunks for path in chunk.field("path").to_pylist()]


def row_places(opened: Any, rows: int) -> tuple[tuple[int, int], ...]:
    """Return (row group, row in it) of every row; row group -1 for Arrow files."""
    if not hasattr(opened, "read_row_group"):
        return tuple((-1, row) for row in range(rows))
    groups = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
    return tuple((group, row) for group, count in enumerate(groups) for row in range(count))


def class_names(schema: Any, simple: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the label's classes, which the schema's metadata holds."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])
        features = told["info"]["features"]
        label = label_name(simple)
        return tuple(map(str, features[label].get("names") or ())) if label else ()
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return ()
