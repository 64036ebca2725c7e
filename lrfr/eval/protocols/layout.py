"""Reading the layouts in which benchmarks are distributed: what is missing is named, with the expected tree
beside it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.lists import Line, Row, read_lines, read_rows
from lrfr.eval.embeddings import Ints

MAX_MAT_BYTES = 256 * 1024 * 1024


def need(root: Path, choices: str | Sequence[str], tree: str) -> Path:
    """Return the first of ``choices`` (paths below ``root``) that exists.

    Raises:
        DataError: none does; the message shows the expected tree.

    """
    names = [choices] if isinstance(choices, str) else list(choices)
    for name in names:
        if (root / name).exists():
            return root / name
    missing = " or ".join(f"'{name}'" for name in names)
    what = (
        f"{missing} is missing"
        if root.is_dir()
        else "a file; the folder around it is wanted"
        if root.exists()
        else "no such folder"
    )
    raise DataError(what, file=str(root), hint=f"expected tree:\n{tree.strip()}")


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


def integer(text: str, path: Path, line: int) -> int:
    """Return an integer field."""
    try:
        return int(text)
    except ValueError:
        raise DataError(f"'{text}' is not an integer", file=str(path), line=line) from None


def int_table(path: Path, columns: int, *, delimiter: str | None = None, skip: int = 0) -> Ints:
    """Return the first ``columns`` integer columns of a long list, [rows, columns]; fifteen million rows take
    seconds.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.loadtxt(
                path,
                np.int64,
                delimiter=delimiter,
                skiprows=skip,
                usecols=range(columns),
                ndmin=2,
                encoding="utf-8-sig",
            )
    except (ValueError, IndexError, UserWarning) as error:
        raise DataError(
            f"not {columns} columns of integers: {str(error).splitlines()[0]}", file=str(path)
        ) from None


def file_digest(*paths: Path) -> str:
    """Return sha256 over the files' sha256 sums."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()


def inside(root: Path, name: str) -> Path:
    """Join a name from a list to ``root``; a name that leads out of it is refused."""
    parts = PurePosixPath(PureWindowsPath(name).as_posix())
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in parts.parts[0]:
        raise DataError(f"the list names '{name}', which is not below the folder", file=str(root))
    return root / parts


def load_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read variables of a MATLAB file (before 7.3).

    Raises:
        DataError: damaged, too large, or a variable is missing.

    """
    from scipy.io import loadmat

    try:
        if path.stat().st_size > MAX_MAT_BYTES:
            raise DataError(f"larger than {MAX_MAT_BYTES} bytes", file=str(path))
        found = loadmat(str(path), variable_names=list(names))
    except DataError:
        raise
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
