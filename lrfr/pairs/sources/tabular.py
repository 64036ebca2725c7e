"""The sources ``csv`` and ``parquet``: a table of images with identities, splits and attributes; the images
lie beside it, or in it (Hugging Face's way).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lrfr.core.errors import ImageFault, SpecError
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.lists import read_lines, read_rows
from lrfr.core.lists.fields import separator_hint
from lrfr.pairs.sources.base import (
    Content,
    Face,
    Listing,
    Place,
    Source,
    Tally,
    identity_name,
    label_name,
    no_identity_note,
)
from lrfr.pairs.sources.folder import FilesSource
from lrfr.pairs.sources.listed.image_list import ImageListSource
from lrfr.pairs.sources.packed.arrow_files import PATH_NAMES, holds_images, text_columns
from lrfr.pairs.sources.packed.columnar import SUFFIXES, ColumnarSource, columnar_paths
from lrfr.pairs.sources.places import below, place_options

SPLIT_NAMES = ("split", "partition", "set")
_BINARY = {"": None, "0": 0, "1": 1, "-1": -1, "0.0": 0, "1.0": 1, "-1.0": -1, "true": 1, "false": 0}


@dataclass(frozen=True)
class Table:
    """Columns of text.

    Attributes:
        columns: by name, all of the same length.
        bad: (name, what is wrong) of lines that could not be read.
        headless: whether the first line names no column.

    """

    columns: Mapping[str, Sequence[str]]
    bad: tuple[tuple[str, str], ...] = ()
    headless: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def refuse(self, tally: Tally, unit: str) -> None:
        """Account for the lines that could not be read."""
        for name, detail in self.bad:
            tally.see(unit)
            tally.end(unit, name, "E_LINE", detail)


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean."""

    table: Table
    file: Path

    @cached_property
    def _paths(self) -> Sequence[str]:
        return self.table.columns[_column(self.table, PATH_NAMES, self.file)]

    @cached_property
    def _others(self) -> dict[str, Sequence[str] | None]:
        names = {"split": SPLIT_NAMES, "key": ("key",)}
        found = {word: _find(self.table.columns, some) for word, some in names.items()}
        found["label"] = label_name(self.table.columns)
        return {word: self.table.columns[name] if name else None for word, name in found.items()}

    @cached_property
    def _attributes(self) -> dict[str, list[int | None]]:
        return attributes_of(self.table)

    @property
    def labeled(self) -> bool:
        """Whether there is a column of identities."""
        return self._others["label"] is not None

    def path(self, row: int) -> str:
        """Return the path of an image."""
        return self._paths[row]

    def key(self, row: int) -> str:
        """Return what the column ``key`` says, "" where there is none."""
        return self._text("key", row)

    def split(self, row: int) -> str:
        """Return the split, "" for none."""
        return self._text("split", row)

    def label(self, row: int) -> tuple[str, str]:
        """Return (identity, reason code)."""
        text = self._text("label", row)
        return identity_name(text), "E_LABEL" if text.lower() in {"nan", "inf", "-inf"} else ""

    def attributes(self, row: int) -> dict[str, int]:
        """Return the binary attributes that are known."""
        values = {name: column[row] for name, column in self._attributes.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _text(self, word: str, row: int) -> str:
        column = self._others[word]
        return column[row] if column is not None else ""


@dataclass(frozen=True)
class TableSource(FilesSource):
    """A CSV or Parquet list (``list.csv[,root=FOLDER][,with=MORE.csv]``) with a column of paths.

    There may be columns for identity, split and binary attributes; others are ignored. Attributes are 1 and 0
    (or 1 and -1); an empty cell is unknown. ``more`` are further lists with the same path column, joined by
    it. A list without a header is read as ``path,label``.
    """

    path: Path
    root: Path
    more: tuple[Path, ...] = ()
    kind = "table"

    def listing(self) -> Listing:
        """List the faces of the table; a row that cannot be read is refused, and no other."""
        table = read_table(self.path)
        if table.headless:
            return ImageListSource(self.path, self.root).listing()
        columns, tally = Columns(table, self.path), Tally("line")
        keys = [columns.path(row) for row in range(table.rows)]
        further = [_joined(path, keys) for path in self.more]
        tally.see(count=table.rows)
        for row, key in enumerate(keys):
            values = {name: column[row] for group in further for name, column in group.items()}
            known = {name: value for name, value in values.items() if value is not None}
            label, fault = columns.label(row)
            place = below(key, self.root)
            attributes = columns.attributes(row) | known
            if key:
                tally.faces.append(Face(place, label, place, attributes, columns.split(row), fault))
            else:
                tally.end("line", f"{self.path.name}, row {row + 1}", "E_LINE", "it names no file")
        if not columns.labeled and len(table.columns) > 1:
            tally.notes.append(no_identity_note(self.path.name, table.columns))
        table.refuse(tally, "line")
        return tally.listing()

    def read(self, place: Place) -> Content:
        """Read one file; a path that leads out of the list's folder is refused."""
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise ImageFault("E_READ", "the path leaves the folder of the list", file=place)
        return super().read(place)

    def describe(self) -> dict[str, str | int]:
        """Name the list."""
        return {"kind": self.kind, "name": self.path.name}


def read_table(path: Path) -> Table:
    """Read a CSV (with a header), JSON lines, Parquet or Arrow file as columns of text.

    Raises:
        SpecError: unreadable, or no header that names each column once.
        EnvironmentFault: Parquet without pyarrow.

    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return Table(text_columns(path))
    if suffix in {".jsonl", ".ndjson"}:
        return _read_json_lines(path)
    separator = "\t" if suffix == ".tsv" else "auto"
    rows = read_rows(path, "a row of the list", separator=separator, names=True)
    header = [name.lstrip("#").strip() for name in rows[0].fields] if rows else []
    known = _find(dict.fromkeys(header), PATH_NAMES) or label_name(header)
    if header and not known and any(Path(word).suffix.lower() in IMAGE_SUFFIXES for word in header):
        return Table({}, headless=True)
    if len(header) < 1 or len(set(header)) != len(header):
        raise SpecError("the first line must name the columns, each once", file=str(path), line=1)
    good = [fields for _, fields in rows[1:] if len(fields) == len(header)]
    bad = tuple(
        (f"{path.name}:{number}", f"{len(fields)} fields, the header has {len(header)}: {fields[0][:80]}")
        for number, fields in rows[1:]
        if len(fields) != len(header)
    )
    columns = [list(column) for column in zip(*good, strict=True)] or [[] for _ in header]
    return Table(dict(zip(header, columns, strict=True)), bad)


def _read_json_lines(path: Path) -> Table:
    good: list[dict[str, Any]] = []
    bad = []
    for number, line in read_lines(path, names=True):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            good.append(value)
        else:
            bad.append((f"{path.name}:{number}", "not a JSON object"))
    names = list(dict.fromkeys(name for value in good for name in value))
    columns = {name: [_text_of(value.get(name)) for value in good] for name in names}
    return Table(columns, tuple(bad))


def _text_of(value: object) -> str:
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _find(table: Mapping[str, Any], names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in table}
    return next((lower[name] for name in names if name in lower), None)


def _column(table: Table, names: Sequence[str], path: Path) -> str:
    found = _find(table.columns, names)
    if found is None:
        columns = ", ".join(name[:40] for name in table.columns)[:400]
        hint = separator_hint(columns) if len(table.columns) == 1 else None
        hint = f"columns: {columns}" + (f"; {hint}" if hint else "")
        raise SpecError(f"no column {' or '.join(names)}", file=str(path), line=1, hint=hint)
    return found


def attributes_of(table: Table) -> dict[str, list[int | None]]:
    """Return the binary columns; where only 1 and -1 occur, -1 means no (CelebA's way), else it means
    unknown.
    """
    result: dict[str, list[int | None]] = {}
    for name, column in table.columns.items():
        distinct = set(column)
        if (
            name.lower() in {*PATH_NAMES, *SPLIT_NAMES}
            or label_name([name])
            or any(value.lower() not in _BINARY for value in distinct)
        ):
            continue
        meaning = {value: _BINARY[value.lower()] for value in distinct}
        minus = None if 0 in meaning.values() else 0
        meaning = {value: minus if number == -1 else number for value, number in meaning.items()}
        result[name] = [meaning[value] for value in column]
    return result


def _joined(path: Path, keys: Sequence[str]) -> dict[str, list[int | None]]:
    table = read_table(path)
    place = {key: index for index, key in enumerate(table.columns[_column(table, PATH_NAMES, path)])}
    return {
        name: [column[place[key]] if key in place else None for key in keys]
        for name, column in attributes_of(table).items()
    }


def open_table(text: str) -> Source:
    """Open ``list.csv[,root=FOLDER][,with=MORE.csv]`` (images lie beside the list unless ``root`` says
    otherwise), or a Parquet or Arrow file, or a folder or pattern of them.
    """
    path, _ = place_options(text, ("root", "with"))
    columnar = columnar_paths(path)
    if columnar and (len(columnar) > 1 or path.is_dir() or holds_images(columnar[0])):
        return ColumnarSource(path)
    return open_list_table(text)


def open_list_table(text: str) -> TableSource:
    """Open ``list.csv[,root=FOLDER][,with=MORE.csv]``, a table that names files."""
    path, options = place_options(text, ("root", "with"))
    root = Path(options["root"][-1]) if "root" in options else path.parent
    return TableSource(path, root, tuple(map(Path, options.get("with", []))))
