"""Text lists of the world, read in one way: any of its encodings and line ends, each line with its number."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lrfr.core.errors import LrfrError, SpecError

MAX_LIST_BYTES = 2 * 1024**3
_LINE_END = re.compile(r"\r\n|\n|\r")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Line(NamedTuple):
    """A line that is not blank, and its number in the file, from 1."""

    number: int
    text: str


class Row(NamedTuple):
    """The fields of a line, and its number in the file, from 1."""

    number: int
    fields: list[str]


def read_text(path: Path, *, names: bool = False, error: type[LrfrError] = SpecError) -> str:
    r"""Return the text of a list: UTF-8 with or without a byte order mark, or UTF-16 with one.

    What is none of these is read as Latin-1, which never fails: lists made on old systems are. Line ends are
    left as they are.

    Args:
        path: the file.
        names: whether words of the list are compared with names of files. Bytes that are not UTF-8 are then
            kept as Python keeps them in file names (``caf\\xe9`` becomes ``caf\\udce9``), so that both agree.
        error: the type of what is raised: ``SpecError`` for lists a user wrote, ``DataError`` for those that
            belong to a data set.

    Raises:
        LrfrError: of the type ``error``: the file cannot be read, or is larger than 2 GiB.

    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_LIST_BYTES else b""
    except OSError as fault:
        raise error(f"cannot read: {fault.strerror}", file=str(path)) from None
    if size > MAX_LIST_BYTES:
        raise error(f"larger than {MAX_LIST_BYTES} bytes", file=str(path))
    if data.startswith(_UTF_16):
        return data.decode("utf-16", "replace")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape") if names else data.decode("latin-1")


def read_lines(path: Path, *, names: bool = False, error: type[LrfrError] = SpecError) -> list[Line]:
    r"""Return the lines that are not blank, without white space at their ends.

    Lines end with ``\n``, ``\r\n`` or ``\r``, the last one with or without; no other character ends one, so
    that names may hold it.

    Args:
        path: the file.
        names: see :func:`read_text`.
        error: see :func:`read_text`.

    """
    return list(_lines_of(read_text(path, names=names, error=error)))


def read_rows(
    path: Path,
    expected: str,
    *,
    fields: int | tuple[int, ...] = (),
    separator: str | None = None,
    names: bool = False,
    error: type[LrfrError] = SpecError,
) -> list[Row]:
    """Return the fields of every line that is not blank.

    Args:
        path: the file.
        expected: what a line holds, for the message: ``name x y``.
        fields: how many there must be: a number, or several that will do; () takes any.
        separator: what stands between fields: None for white space; with a comma or tab, fields may be
            quoted as CSV has it.
        names: see :func:`read_text`.
        error: see :func:`read_text`.

    Raises:
        LrfrError: of the type ``error``, with file and line: another number of fields.

    """
    allowed = (fields,) if isinstance(fields, int) else fields
    text = read_text(path, names=names, error=error)
    try:
        rows = list(_quoted(text, separator) if separator else _words(text))
    except csv.Error as fault:
        raise error(f"cannot tell its fields apart: {fault}", file=str(path)) from None
    for row in rows:
        if allowed and len(row.fields) not in allowed:
            raise error(
                f"expected '{expected}', found {len(row.fields)} fields", file=str(path), line=row.number
            )
    return rows


def _lines_of(text: str) -> Iterator[Line]:
    for number, line in enumerate(_LINE_END.split(text), 1):
        if line.strip():
            yield Line(number, line.strip())


def _words(text: str) -> Iterator[Row]:
    for number, line in _lines_of(text):
        yield Row(number, line.split())


def _quoted(text: str, separator: str) -> Iterator[Row]:
    """Split outside quotes; a quoted field may hold line ends, so rows are numbered by their last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for fields in reader:
        if any(field.strip() for field in fields):
            yield Row(reader.line_num, [field.strip() for field in fields])
