"""The text of a list and its lines, whatever system wrote it."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lrfr.core.errors import LrfrError, SpecError

MAX_LIST_BYTES = 2 * 1024**3
_LINE_END = re.compile(r"\r\n|\n|\r")
# the mark of UTF-32 begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_HEAD = 400


class Line(NamedTuple):
    """A line that is not blank, and its number in the file, from 1."""

    number: int
    text: str


def read_text(path: Path, *, names: bool = False, error: type[LrfrError] = SpecError) -> str:
    r"""Return the text of a list: UTF-8 with or without a byte order mark, UTF-16, or UTF-32 with a mark.

    What is none of these is read as Latin-1, which never fails: lists made on old systems are. Line ends are
    left as they are.

    Args:
        path: the file.
        names: whether words of the list are compared with names of files. Bytes that are not UTF-8 are then
            kept as Python keeps them in file names (``caf\\xe9`` becomes ``caf\\udce9``), so that both agree.
        error: the type of what is raised: ``SpecError`` for lists a user wrote, ``DataError`` for those that
            belong to a data set.

    Raises:
        LrfrError: of the type ``error``: no regular file, cannot be read, or larger than 2 GiB.

    """
    data = _read(path, error)
    for mark, coding in _MARKS:
        if data.startswith(mark):
            return data.decode(coding, "replace")
    coding = _unmarked_utf16(data[:_HEAD])
    if coding:
        return data.decode(coding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape") if names else data.decode("latin-1")


def _read(path: Path, error: type[LrfrError]) -> bytes:
    try:
        # a pipe would wait for ever, and /dev/zero never ends
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as fault:
        raise error(f"cannot read: {getattr(fault, 'strerror', None) or fault}", file=str(path)) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_LIST_BYTES:
        os.close(descriptor)
        large = stat.S_ISREG(found.st_mode)
        said = f"larger than {MAX_LIST_BYTES} bytes" if large else "cannot read: not a regular file"
        raise error(said, file=str(path))
    with os.fdopen(descriptor, "rb") as handle:
        try:
            return handle.read()
        except OSError as fault:
            raise error(f"cannot read: {fault.strerror}", file=str(path)) from None


def read_lines(
    path: Path, *, names: bool = False, comments: bool = False, error: type[LrfrError] = SpecError
) -> list[Line]:
    r"""Return the lines that are not blank, without white space at their ends.

    Lines end with ``\n``, ``\r\n`` or ``\r``, the last one with or without; no other character ends one, so
    that names may hold it.

    Args:
        path: the file.
        names: see :func:`read_text`.
        comments: whether lines that begin with ``#`` are left out.
        error: see :func:`read_text`.

    """
    lines = lines_of(read_text(path, names=names, error=error))
    return [line for line in lines if not (comments and line.text.startswith("#"))]


def lines_of(text: str) -> Iterator[Line]:
    """Yield the lines of a text that are not blank."""
    for number, line in enumerate(_LINE_END.split(text), 1):
        if line.strip():
            yield Line(number, line.strip())


def _unmarked_utf16(head: bytes) -> str:
    """Return the name of the UTF-16 that a text without a mark is in, "" where it is none: of Latin letters
    every second byte is zero.
    """
    pairs = len(head) // 2
    if pairs < 2:
        return ""
    low, high = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if high >= 0.7 * pairs and low == 0:
        return "utf-16-le"
    return "utf-16-be" if low >= 0.7 * pairs and high == 0 else ""
