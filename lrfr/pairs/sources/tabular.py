"""The sources ``csv`` and ``parquet`` (a list of images with identities, splits and attributes) and
``celeba`` (its own lists).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.core.errors import EnvironmentFault, ImageFault, SpecError
from lrfr.core.files import read_bytes
from lrfr.core.lists import read_rows
from lrfr.pairs.sources.base import Content, Face, Place, Source
from lrfr.pairs.sources.folder import file_stamp

PATH_NAMES = ("path", "key", "file", "filename", "image", "image_id")
LABEL_NAMES = ("identity", "label", "id", "person", "subject")
SPLIT_NAMES = ("split", "partition", "set")
_BINARY = {"": None, "0": 0, "1": 1, "-1": -1, "0.0": 0, "1.0": 1, "-1.0": -1, "true": 1, "false": 0}
Table = dict[str, list[str]]


class _Files(Source):
    """Reading images below a folder; keys that leave it are refused."""

    root: Path

    def read(self, place: Place) -> Content:
        """Read one file."""
        return read_bytes(self._path(place))

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the file's size, times and inode."""
        return file_stamp(self.root / place)

    def _path(self, place: str) -> Path:
        path = self.root / place
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise ImageFault("E_READ", "the path leaves the folder of the list", file=place)
        return path


@dataclass(frozen=True)
class TableSource(_Files):
    """A CSV or Parquet list (``list.csv[,root=FOLDER][,with=MORE.csv]``) with a column of paths.

    There may be columns for identity, split and binary attributes; others are ignored. Attributes are 1 and 0
    (or 1 and -1); an empty cell is unknown. ``more`` are further lists with the same path column, joined by
    it.
    """

    path: Path
    root: Path
    more: tuple[Path, ...] = ()
    kind = "table"

    def faces(self) -> list[Face]:
        """List the faces of the table."""
        table = read_table(self.path)
        keys = table[_column(table, PATH_NAMES, self.path)]
        labels = _optional(table, LABEL_NAMES, len(keys))
        splits = _optional(table, SPLIT_NAMES, len(keys))
        attributes = [attributes_of(table)] + [_joined(path, keys) for path in self.more]
        faces = []
        for index, key in enumerate(keys):
            values = {name: column[index] for group in attributes for name, column in group.items()}
            known = {name: value for name, value in values.items() if value is not None}
            fault = "E_LABEL" if labels[index].lower() in {"nan", "inf", "-inf"} else ""
            faces.append(Face(key, labels[index], key, known, splits[index], fault))
        return faces

    def describe(self) -> dict[str, str | int]:
        """Name the list."""
        return {"kind": self.kind, "name": self.path.name}


def read_table(path: Path) -> Table:
    """Read a CSV (with a header) or Parquet file as columns of text.

    Raises:
        SpecError: unreadable, no header, a row of another length.
        EnvironmentFault: Parquet without pyarrow.

    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = read_rows(path, "a row of the list", separator=separator, names=True)
    header = rows[0].fields if rows else []
    if len(header) < 1 or len(set(header)) != len(header):
        raise SpecError("the first line must name the columns, each once", file=str(path), line=1)
    columns: list[list[str]] = [[] for _ in header]
    for number, fields in rows[1:]:
        if len(fields) != len(header):
            raise SpecError(
                f"{len(fields)} fields, the header has {len(header)}", file=str(path), line=number
            )
        for column, value in zip(columns, fields, strict=True):
            column.append(value)
    return dict(zip(header, columns, strict=True))


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise EnvironmentFault(
            "Parquet lists need the package 'pyarrow'", hint="pip install pyarrow"
        ) from None
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read: {error}", file=str(path)) from None
    return {
        name: ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        for name in table.column_names
    }


def _find(table: Mapping[str, Any], names: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in table}
    return next((lower[name] for name in names if name in lower), None)


def _column(table: Table, names: Sequence[str], path: Path) -> str:
    found = _find(table, names)
    if found is None:
        raise SpecError(
            f"no column {' or '.join(names)}", file=str(path), line=1, hint=f"columns: {', '.join(table)}"
        )
    return found


def _optional(table: Table, names: Sequence[str], count: int) -> list[str]:
    found = _find(table, names)
    return table[found] if found else [""] * count


def attributes_of(table: Table) -> dict[str, list[int | None]]:
    """Return the binary columns; where only 1 and -1 occur, -1 means no (CelebA's way), else it means
    unknown.
    """
    result: dict[str, list[int | None]] = {}
    for name, column in table.items():
        distinct = set(column)
        if name.lower() in {*PATH_NAMES, *LABEL_NAMES, *SPLIT_NAMES} or any(
            value.lower() not in _BINARY for value in distinct
        ):
            continue
        meaning = {value: _BINARY[value.lower()] for value in distinct}
        minus = None if 0 in meaning.values() else 0
        meaning = {value: minus if number == -1 else number for value, number in meaning.items()}
        result[name] = [meaning[value] for value in column]
    return result


def _joined(path: Path, keys: Sequence[str]) -> dict[str, list[int | None]]:
    table = read_table(path)
    place = {key: index for index, key in enumerate(table[_column(table, PATH_NAMES, path)])}
    return {
        name: [column[place[key]] if key in place else None for key in keys]
        for name, column in attributes_of(table).items()
    }


@dataclass(frozen=True)
class CelebaSource(_Files):
    """CelebA: its folder with ``identity_CelebA.txt`` and one image folder.

    ``list_attr_celeba.txt`` and ``list_eval_partition.txt`` are used where they are there.
    """

    folder: Path
    kind = "celeba"

    @property
    def root(self) -> Path:  # type: ignore[override]
        """The image folder."""
        known = [self.folder / name for name in ("img_align_celeba", "img_celeba", "images")]
        return next((path for path in known if path.is_dir()), self.folder)

    def faces(self) -> list[Face]:
        """List the images of the identity file with attributes and split."""
        identities = _numbered(self.folder / "identity_CelebA.txt")
        attributes = self._attributes()
        partition = self.folder / "list_eval_partition.txt"
        splits = (
            {name: ("train", "val", "test")[int(code)] for name, code in _numbered(partition)}
            if partition.exists()
            else {}
        )
        return [
            Face(name, f"{int(label):05d}", name, attributes.get(name, {}), splits.get(name, ""))
            for name, label in identities
        ]

    def _attributes(self) -> dict[str, dict[str, int]]:
        path = self.folder / "list_attr_celeba.txt"
        if not path.exists():
            return {}
        rows = read_rows(path, "name value ...")
        names = rows[1].fields if len(rows) > 1 else []
        found = {}
        for number, parts in rows[2:]:
            if len(parts) != len(names) + 1 or any(part not in {"1", "-1"} for part in parts[1:]):
                raise SpecError(
                    f"expected a name and {len(names)} values of 1 or -1", file=str(path), line=number
                )
            found[parts[0]] = {name: int(value == "1") for name, value in zip(names, parts[1:], strict=True)}
        return found

    def describe(self) -> dict[str, str | int]:
        """Name the data set."""
        return {"kind": self.kind, "name": "CelebA"}


def _numbered(path: Path) -> list[list[str]]:
    """Return the lines 'image number' of one of CelebA's lists."""
    rows = read_rows(path, "image number", fields=2)
    for line, (_, number) in rows:
        if not number.isdigit():
            raise SpecError(f"expected 'image number', found '{number}'", file=str(path), line=line)
    return [fields for _, fields in rows]


def open_table(text: str) -> TableSource:
    """Open ``list.csv[,root=FOLDER][,with=MORE.csv]`` (images lie beside the list unless ``root`` says
    otherwise).
    """
    first, *options = text.split(",")
    path = Path(first)
    root, more = path.parent, []
    for option in options:
        name, _, value = option.partition("=")
        if name == "root":
            root = Path(value)
        elif name == "with":
            more.append(Path(value))
        else:
            raise SpecError(f"unknown option '{option}'", file=first, hint="root=FOLDER or with=MORE.csv")
    return TableSource(path, root, tuple(more))
