"""Parquet and Arrow files that hold the images themselves, as Hugging Face's data sets do."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.lists import is_count
from lrfr.core.lists.walk import Account, Leftovers, files_below
from lrfr.pairs.sources.base import (
    LABEL_NAMES,
    Content,
    Face,
    Listing,
    Place,
    Source,
    Tally,
    file_stamp,
    identity_name,
    label_name,
    no_identity_note,
)
from lrfr.pairs.sources.listing.origin_files import origin_files
from lrfr.pairs.sources.packed.archive import pattern_paths
from lrfr.pairs.sources.packed.arrow_files import (
    arrow_package,
    class_names,
    image_columns,
    image_group,
    is_simple,
    no_images,
    opened_table,
    rank,
    row_places,
    schema_of,
    struct_paths,
    text_of_cell,
    without_bytes,
)

SUFFIXES = (".parquet", ".arrow", ".feather")
_SPLITS = ("split", "partition", "set")
# data/train-00000-of-00002.parquet, default/train/0000.parquet, test/data-00000-of-00001.arrow
_SPLIT_FILE = re.compile(r"(?:.*/)?(train|test|validation|val|dev)(-\d+(-of-\d+.*)?|/[^/]+)$")


@dataclass(frozen=True)
class ColumnarSource(Source):
    """Parquet or Arrow files with the images in them: a file, folder or pattern (Hugging Face data sets).

    The image column is a struct of ``bytes`` and ``path``, or binary; a ``ClassLabel`` gives its name. The
    column ``key`` is the key, else the paths where no two are alike, else file and row.
    """

    path: Path
    kind = "parquet"

    def listing(self) -> Listing:
        """List every row.

        Raises:
            SpecError: no file, or no column of images.
            EnvironmentFault: pyarrow is missing.
            DataError: the only file is damaged.

        """
        tally, tables = Tally("row"), []
        paths, counted = columnar_paths(self.path, tally), self.path.is_dir()
        if not paths:
            raise SpecError("no .parquet or .arrow file here", file=str(self.path))
        for path in paths:
            try:
                tables.append(_Rows.of(path, os.path.relpath(path, self._folder())))
            except DataError as error:
                if len(paths) == 1:
                    raise
                tally.see("file", 0 if counted else 1)
                tally.end("file", path.name, "E_FORMAT", error.message)
            else:
                tally.use("file", 1 if counted else 0)
        twice = Counter(name for table in tables for name in table.paths)
        unique = all(count == 1 and name for name, count in twice.items())
        for table in tables:
            tally.see(count=len(table.places))
            tally.faces += [table.face(row, unique) for row in range(len(table.places))]
            tally.notes += table.notes
        return tally.listing()

    def _folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def read(self, place: Place) -> Content:
        """Return the bytes of one row's image."""
        name, column, group, row = place
        path = self._folder() / name
        stamp = file_stamp(path)
        try:
            if stamp is None:
                raise ImageFault("E_READ", file=str(path))
            value = image_group(path, stamp, column, group)[row].as_py()
        except (OSError, ValueError, IndexError, KeyError, MemoryError, DataError) as error:
            raise ImageFault("E_READ", str(error).splitlines()[0], file=str(path)) from None
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            path_only = isinstance(value, dict) and value.get("path")
            detail = (
                f"it names {value['path']}, whose bytes are not in it" if path_only else "the cell is empty"
            )
            raise ImageFault("E_EMPTY", detail, file=str(path))
        if not data:
            raise ImageFault("E_EMPTY", file=str(path))
        return data

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the stamp of the file and where the row lies in it."""
        found = file_stamp(self._folder() / place[0])
        return (*found, *place[2:]) if found else None

    def origins(self) -> list[Path] | None:
        """Return the files, and all that lies in their folder where it is one that is listed."""
        return origin_files(self.path) if self.path.exists() else columnar_paths(self.path)

    def describe(self) -> dict[str, str | int]:
        """Name the file or folder."""
        return {"kind": self.kind, "name": self.path.resolve().name}


def columnar_paths(path: Path, account: Account | None = None) -> list[Path]:
    """Return the Parquet and Arrow files that a path is, stands for, or holds at any depth."""
    if path.is_dir():
        # metadata of image folders, and what the library datasets keeps for itself
        return files_below(path, account or Leftovers(), SUFFIXES, but=("metadata.", "cache-", "tmp"))
    if path.suffix.lower() not in SUFFIXES:
        return []
    return [path] if path.exists() else [found for found in pattern_paths(str(path)) if found.exists()]


@dataclass(frozen=True)
class _Rows:
    """The rows of one file without the bytes of their images.

    Attributes:
        name: of the file.
        column: that holds the images.
        places: (row group, row in it) of every row.
        paths: of the image structs, "" where there are none.
        texts: the other columns as text.
        classes: names of the label's classes, none where the label is not a class.
        further: other columns of images.

    """

    name: str
    column: str
    places: tuple[tuple[int, int], ...]
    paths: tuple[str, ...]
    texts: dict[str, list[str]]
    classes: tuple[str, ...]
    further: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, name: str) -> _Rows:
        opened = opened_table(path)
        schema = schema_of(opened)
        column, *further = image_columns(schema) or [""]
        if not column:
            raise no_images(path, schema)
        simple = [field.name for field in schema if is_simple(field.type) or field.name == "key"]
        arrow = arrow_package()
        try:
            struct = arrow.types.is_struct(schema.field(column).type)
            with_path = struct and schema.field(column).type.get_field_index("path") >= 0
            table = without_bytes(opened, simple, f"{column}.path" if with_path else "")
            texts = {item: list(map(text_of_cell, table.column(item).to_pylist())) for item in simple}
            paths = struct_paths(table, column) if with_path else [""] * table.num_rows
        except (OSError, ValueError, KeyError, arrow.ArrowException) as error:
            raise DataError(f"cannot be read: {str(error).splitlines()[0][:200]}", file=str(path)) from None
        classes = class_names(schema, simple)
        return cls(name, column, row_places(opened, len(paths)), tuple(paths), texts, classes, tuple(further))

    def _named(self, names: Sequence[str]) -> list[str] | None:
        found = [own for own in self.texts if own.lower() in names]
        best = min(found, key=lambda own: rank(own, names), default=None)
        return self.texts[best] if best is not None else None

    @property
    def notes(self) -> list[str]:
        """What to tell about its columns."""
        further = [f"{self.name}: images are taken from '{self.column}', not from {', '.join(self.further)}"]
        unnamed = self.texts.keys() - {"key", *_SPLITS}
        missing = [no_identity_note(self.name, self.texts)] if unnamed and not self.label_column else []
        return [*(further if self.further else []), *missing]

    @cached_property
    def label_column(self) -> str | None:
        """The column that names the identity."""
        return label_name(self.texts)

    def face(self, row: int, unique_paths: bool) -> Face:
        keys, splits = self._named(("key",)), self._named(_SPLITS)
        stem = os.path.splitext(self.name)[0]
        key = keys[row] if keys else self.paths[row] if unique_paths else ""
        of_file = _SPLIT_FILE.match(stem)
        split = splits[row] if splits else of_file[1] if of_file else ""
        named = self.label_column
        label, fault = self._label(self.texts[named][row]) if named else ("", "")
        place = (self.name, self.column, *self.places[row])
        return Face(key or f"{stem}/{row:08d}", label, place, self._attributes(row), split, fault)

    def _label(self, text: str) -> tuple[str, str]:
        if text.lower() in {"nan", "inf", "-inf"}:
            return "", "E_LABEL"
        name = identity_name(text)
        if not name or not self.classes:
            return name, ""
        inside = is_count(name) and int(name) < len(self.classes)
        return (identity_name(self.classes[int(name)]), "") if inside else ("", "E_LABEL")

    def _attributes(self, row: int) -> dict[str, int]:
        taken = {"key", *LABEL_NAMES, *_SPLITS, (self.label_column or "").lower()}
        known = {"0": 0, "1": 1, "true": 1, "false": 0}
        values = {name: column[row] for name, column in self.texts.items() if name.lower() not in taken}
        # ``column_...`` is a row array of an export
        own = {name: value for name, value in values.items() if not name.startswith("column_")}
        return {name: known[value] for name, value in own.items() if value in known}
