"""The one way in which files are opened that lrfr reads back: regular files only, never larger than a
cap, never waited for; and JSON of a plain shape.

What goes wrong is an ``OSError``, as of ``open``: a FIFO, device, socket or folder, and a file above its
cap too.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lrfr.core.errors import DataError, EnvironmentFault

MAX_TEXT_BYTES = 512 * 1024 * 1024
# of brackets in brackets; our deepest file has nine
MAX_DEPTH = 64
_STRING, _BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"'), re.compile(r"[\[{\]}]")
_GROWTH = 1 << 16
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def open_regular(path: str | Path, *, most: int | None = None, linked: bool = True) -> int:
    """Return a descriptor of a regular file, opened for reading.

    Args:
        path: the file.
        most: bytes that it may have; None for any number.
        linked: whether the last part of the path may be a symbolic link.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger.

    """
    try:
        descriptor = os.open(path, _OPEN if linked else _OPEN | os.O_NOFOLLOW)
    except ValueError as error:  # a NUL or a lone surrogate: no file is called so
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            raise OSError(errno.ELOOP, "a link where a file belongs", str(path)) from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if most is not None and found.st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def opened(path: str | Path, *, most: int | None = None, linked: bool = True) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading bytes; arguments and errors as of :func:`open_regular`."""
    with os.fdopen(open_regular(path, most=most, linked=linked), "rb") as handle:
        yield handle


def data_of(path: str | Path, *, most: int = MAX_TEXT_BYTES, linked: bool = True) -> bytes:
    """Return the bytes of a regular file; arguments and errors as of :func:`open_regular`."""
    with opened(path, most=most, linked=linked) as handle:
        # it may grow while it is read
        data = handle.read(min(most, os.fstat(handle.fileno()).st_size + _GROWTH) + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data


def parsed(data: bytes) -> Any:
    """Return the value of JSON text.

    Raises:
        ValueError: it is not UTF-8, not JSON, nested too deeply, has a key twice, or a number that is no
            finite 64-bit one.

    """
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_of(path: str | Path, *, most: int = MAX_TEXT_BYTES, linked: bool = True) -> Any:
    """Return the value of a JSON file.

    Raises:
        OSError: as :func:`open_regular`.
        ValueError: as :func:`parsed`.

    """
    return parsed(data_of(path, most=most, linked=linked))


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _whole(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError("a whole number beyond 64 bits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number beyond what a float holds")
    return value


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")


def entries_of(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name; nothing where there is no such folder.

    Raises:
        EnvironmentFault: it is there and cannot be listed: what it holds is not known.
        DataError: it is no folder.

    """
    try:
        with os.scandir(folder) as found:
            return sorted(folder / entry.name for entry in found)
    except FileNotFoundError:
        if folder.is_symlink():
            raise DataError("a link that leads nowhere, where a folder belongs", file=str(folder)) from None
        return []
    except NotADirectoryError:
        # else a file stands further up, and nothing is here
        if not os.path.lexists(folder):
            return []
        raise DataError("not a folder", file=str(folder)) from None
    except OSError as error:
        raise EnvironmentFault(f"cannot be listed: {error.strerror}", file=str(folder)) from None


def append_to(path: str | Path) -> int:
    """Return a descriptor that appends to a regular file, made where there is none; never a link or FIFO.

    Raises:
        OSError: it cannot be opened so.

    """
    how = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, how, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


@contextmanager
def opened_to_append(path: str | Path) -> Iterator[io.FileIO]:
    """Open a file for appending, each write at once; errors as of :func:`append_to`."""
    with os.fdopen(append_to(path), "ab", 0) as handle:
        yield handle


def stats_below(root: Path, places: Sequence[str]) -> list[os.stat_result | None]:
    """Return what the system says of many files whose paths are relative to a folder (or absolute), None
    where it cannot be asked. The way to the folder is walked once, not for each.
    """
    at = None
    try:
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return [_stat_at(place, at) for place in places]
    except OSError:  # no folder, or none that may be listed: its files may still be asked
        return [_stat_at(os.path.join(root, place), None) for place in places]
    finally:
        if at is not None:
            os.close(at)


def _stat_at(place: str, at: int | None) -> os.stat_result | None:
    try:
        return os.stat(place, dir_fd=at)
    except (OSError, ValueError):  # no file may be called so: too long, a NUL
        return None
