"""Reading the layouts in which benchmarks are distributed: what is missing is named, with the expected tree
beside it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import opened, sha256_file
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.lists import Line, Row, read_lines, read_rows, read_text
from lrfr.core.lists.text import lines_of as text_lines
from lrfr.eval.embeddings import Ints

# LFW's own suffix first
_LOWER = (".jpg", ".png", *sorted(IMAGE_SUFFIXES - {".jpg", ".png"}))
PICTURE_SUFFIXES = (*_LOWER, *map(str.upper, _LOWER))
MAX_MAT_BYTES = 256 * 1024 * 1024


def told_tree(tree: str) -> str:
    """Return the expected files of a benchmark for a message, a line each."""
    return "expected tree:\n  " + tree.strip().replace("\n", "\n  ")


def need(root: Path, choices: str | Sequence[str], tree: str) -> Path:
    """Return the first of ``choices`` (paths below ``root``) that exists.

    Raises:
        DataError: none does; the message shows the expected tree.

    """
    names = [choices] if isinstance(choices, str) else list(choices)
    for name in names:
        if (root / name).exists():
            return root / name
    missing = " or ".join(f"'{name}'" for name in dict.fromkeys(names))
    what = (
        f"{missing} is missing"
        if root.is_dir()
        else "a file; the folder around it is wanted"
        if root.exists()
        else "no such folder"
    )
    raise DataError(what, file=str(root), hint=told_tree(tree))


def lines_of(path: Path) -> list[Line]:
    """Return the lines of a benchmark's list that are not blank."""
    return read_lines(path, names=True, error=DataError)


def rows_of(path: Path, columns: int, separator: str | None = None, *, skip: int = 0) -> list[Row]:
    """Return the fields of each line after the first ``skip``; every line must have at least ``columns`` of
    them.
    """
    expected = f"{columns} fields"
    rows = read_rows(path, expected, separator=separator, names=True, error=DataError)[skip:]
    for number, fields in rows:
        if len(fields) < columns:
            raise DataError(f"{len(fields)} fields, expected {columns}", file=str(path), line=number)
    if not rows:
        raise DataError("the list is empty", file=str(path))
    return rows


def own_rows(path: Path, columns: Sequence[str], *, optional: int = 0) -> list[Row]:
    """Return the fields of a list that a user wrote: tabs, commas (with quotes) or spaces between, with or
    without a header.

    Args:
        path: the list.
        columns: their names, the last ``optional`` of which may be missing.
        optional: how many.

    Raises:
        DataError: a line has another number of fields than there may be, or than the other lines.

    """
    least, expected = len(columns) - optional, " <tab> ".join(columns)
    rows = read_rows(
        path,
        expected,
        fields=tuple(range(least, len(columns) + 1)),
        # a name that stands alone may hold anything but a tab
        separator="auto" if least > 1 else "\t",
        names=True,
        error=DataError,
    )
    if not rows:
        raise DataError("the list is empty", file=str(path))
    heading = [field.lower().replace(" ", "_") for field in rows[0].fields]
    if heading[0] in _HEADINGS and not Path(rows[0].fields[0]).suffix:
        rows = rows[1:]
    wanted = len(rows[0].fields) if rows else 0
    for number, fields in rows:
        if len(fields) != wanted:
            raise DataError(
                f"expected '{expected}', found {len(fields)} fields where the lines before have {wanted}",
                file=str(path),
                line=number,
            )
    if not rows:
        raise DataError("the list has a header and no lines", file=str(path))
    return rows


def table_rows(path: Path, first: str) -> tuple[list[str], list[Row]]:
    """Return (names of the columns, rows) of a list as CelebA has them: a count and names, a CSV header that
    begins with ``first``, or neither; commas or white space between.
    """
    lines = lines_of(path)
    rows = [Row(line.number, _cut(line.text)) for line in lines]
    if rows and len(rows[0].fields) == 1 and rows[0].fields[0].isdigit():
        return (rows[1].fields, rows[2:]) if len(rows) > 1 else ([], [])
    if rows and rows[0].fields[0] == first:
        return rows[0].fields[1:], rows[1:]
    return [], rows


def _cut(text: str) -> list[str]:
    return [field.strip() for field in text.split(",")] if "," in text else text.split()


_HEADINGS = {"path", "file", "filename", "image", "img", "key", "left", "first", "a"}
_HEADINGS |= {f"{word}{mark}{side}" for word in tuple(_HEADINGS) for mark in ("", "_") for side in "a1l"}


def integer(text: str, path: Path, line: int) -> int:
    """Return an integer field."""
    try:
        return int(text)
    except ValueError:
        raise DataError(f"'{text}' is not an integer", file=str(path), line=line) from None


def int_table(path: Path, columns: int) -> Ints:
    """Return the first ``columns`` integer columns of a long list, [rows, columns], below a header where
    there is one; commas, semicolons, tabs or spaces between; fifteen million rows take seconds.

    Raises:
        DataError: it cannot be read, or a field is no integer; the line is named.

    """
    text = read_text(path, error=DataError)
    first = next(text_lines(text), Line(1, "")).text
    if not first:
        raise DataError("the list is empty", file=str(path))
    mark = next((mark for mark in ",;" if mark in first), None)
    # a line that names columns holds no number
    skip = int(not any(field.strip(' "')[:1].isdigit() for field in first.split(mark)))
    numbers = io.StringIO(text.lstrip(), newline=None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.loadtxt(
                numbers,
                np.int64,
                delimiter=mark,
                skiprows=skip,
                usecols=range(columns),
                ndmin=2,
                comments=None,
                quotechar='"',
            )
    except (ValueError, IndexError, UserWarning, OverflowError) as error:
        told = str(error).splitlines()[0]
        row = re.search(r"at row (\d+)", told)
        # numpy counts rows from 0, but from 1 where columns are missing
        at = int(row.group(1)) - told.startswith("invalid column") if row else -1
        numbers_at = [line.number for line in text_lines(text)][skip:] if row else []
        line = numbers_at[at] if 0 <= at < len(numbers_at) else None
        raise DataError(f"not {columns} columns of integers: {told}", file=str(path), line=line) from None


def file_digest(*paths: Path) -> str:
    """Return sha256 over the files' sha256 sums."""
    total = hashlib.sha256()
    for path in paths:
        total.update(bytes.fromhex(sha256_file(path)))
    return total.hexdigest()


def inside(root: Path, name: str) -> Path:
    """Join a name from a list to ``root``; a name that leads out of it is refused, and where its end is a
    file below ``root`` (a path of another machine), the message says what to cut.
    """
    parts = PurePosixPath(PureWindowsPath(name).as_posix())
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0]:
        hint = None
        if parts.is_absolute() or PureWindowsPath(name).is_absolute():
            tails = ["/".join(parts.parts[start:]) for start in range(1, len(parts.parts))]
            there = next((tail for tail in tails if os.path.isfile(root / tail)), None)
            hint = (
                f"a path of another machine? '{there}' is there: cut '{name[: -len(there)]}' from each line"
                if there
                else f"expected paths below {root}, such as '{tails[-1] if tails else 'a.jpg'}'"
            )
        raise DataError(f"the list names '{name}', which is not below the folder", file=str(root), hint=hint)
    return root / parts


def listed_file(root: Path, name: str, list_path: Path, line: int, suffixes: Sequence[str] = ("",)) -> Path:
    """Return the file that a line of a list names, below ``root``, whether it is there or not.

    A name in another Unicode form or encoding than the file's is found too, and one without its suffix.

    Raises:
        DataError: the name leads out of the folder; the message names the line.

    """
    try:
        path = inside(root, name)
    except DataError as fault:
        raise DataError(fault.message, file=str(list_path), line=line, hint=fault.hint) from None
    plain = path.relative_to(root).as_posix()
    old = plain.encode("utf-8", "surrogateescape").decode("latin-1")
    forms = [plain, *(unicodedata.normalize(form, plain) for form in ("NFC", "NFD")), old]
    every = [root / f"{form}{suffix}" for form in dict.fromkeys(forms) for suffix in suffixes]
    return next((other for other in every if os.path.exists(other)), every[0])  # also of impossible names


def load_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read variables of a MATLAB file (before 7.3).

    Raises:
        DataError: damaged, too large, or a variable is missing.

    """
    from scipy.io import loadmat

    try:
        with opened(path, most=MAX_MAT_BYTES) as handle:
            found = loadmat(handle, variable_names=list(names))
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", file=str(path)) from None
    except Exception as error:  # scipy raises many kinds on damaged files
        raise DataError(f"not a readable MATLAB file: {type(error).__name__}", file=str(path)) from None
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"has no variable '{missing[0]}'", file=str(path), hint=f"expected: {', '.join(names)}"
        )
    return dict(found)


def cell_strings(cells: Any) -> list[str]:
    """Flatten a MATLAB cell array of strings."""
    return [
        str(cell.item()) if isinstance(cell, np.ndarray) and cell.size == 1 else str(cell)
        for cell in np.asarray(cells).reshape(-1)
    ]
