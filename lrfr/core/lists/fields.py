"""The fields of a list's lines: tabs, commas, semicolons or white space between them, quoted or not."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lrfr.core.errors import LrfrError, SpecError
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.lists.text import Line, lines_of, read_text

# lines that are looked at to find out what separates fields
_SAMPLE = 2000
_SEPARATORS = ("\t", ",", ";")
Splitter = Callable[[str], list[str]]


class Row(NamedTuple):
    """The fields of a line, and its number in the file, from 1."""

    number: int
    fields: list[str]


class Keyed(NamedTuple):
    """A line that says something about a name: its number in the file, the name, and what follows it."""

    number: int
    key: str
    values: list[str]


# how the first line of a list begins that lrfr wrote
MADE = "# lrfr "


def read_rows(
    path: Path,
    expected: str,
    *,
    fields: int | tuple[int, ...] = (),
    separator: str | None = None,
    header: tuple[int, ...] = (),
    names: bool = False,
    error: type[LrfrError] = SpecError,
) -> list[Row]:
    """Return the fields of every line that is not blank.

    Args:
        path: the file.
        expected: what a line holds, for the message: ``name x y``.
        fields: how many there must be: a number, or several that will do; () takes any.
        separator: what stands between fields: None for white space; with a comma or tab, fields may be
            quoted as CSV has it; ``auto`` is the tab, comma, semicolon or white space by which most lines
            have ``fields``.
        header: how many fields the first line may have instead.
        names: see :func:`read_text`.
        error: see :func:`read_text`.

    Raises:
        LrfrError: of the type ``error``, with file and line: another number of fields.

    """
    allowed = (fields,) if isinstance(fields, int) else fields
    text = read_text(path, names=names, error=error)
    if text.startswith(
        MADE
    ):  # the line that says what made it; its end stays, so that lines keep their numbers
        text = text[text.find("\n") :] if "\n" in text else ""
    if separator == "auto":
        # a spreadsheet's own word on it
        told = re.match(r'"?sep=([,;\t])"?(?=\r?\n)', text)
        text = f"{' ' * len(told[0])}{text[told.end() :]}" if told else text
        separator = told[1] if told else _separator_of(text, allowed)
    rows = list(quoted_rows(text, separator) if separator else _words(text))
    for index, row in enumerate(rows):
        if allowed and len(row.fields) not in ((*allowed, *header) if index == 0 else allowed):
            raise error(
                f"expected '{expected}', found {len(row.fields)} fields",
                file=str(path),
                line=row.number,
                hint=separator_hint(" ".join(row.fields)),
            )
    return rows


def separator_hint(line: str) -> str | None:
    """Return what to say of a line whose fields seem to stand apart by a mark that separates none, None of
    others.
    """
    mark = next((mark for mark in ("|", "::", ":") if mark in line), None)
    if mark is None or any(known in line for known in _SEPARATORS):
        return None
    return f"'{mark}' separates no fields: write a tab, a comma or a semicolon in its place"


def _separator_of(text: str, allowed: Sequence[int]) -> str | None:
    """Return the separator by which most lines have an allowed number of fields, None for white space."""
    lines = [line for _, line in zip(range(_SAMPLE), lines_of(text), strict=False)]
    found: list[str | None] = [mark for mark in _SEPARATORS if any(mark in line.text for line in lines)]
    found.append(None)
    counts = [
        [len(one_row(line.text, mark) if mark else line.text.split()) for line in lines] for mark in found
    ]
    if not allowed:
        # a table: every line has as many fields as the first, and more than one
        scores = [sum(count == own[0] > 1 for count in own) for own in counts]
    else:
        scores = [sum(count in allowed for count in own) for own in counts]
    return found[scores.index(max(scores))]


def _words(text: str) -> Iterator[Row]:
    for number, line in lines_of(text):
        yield Row(number, line.split())


def one_row(line: str, separator: str) -> list[str]:
    """Split one line outside quotes; one whose quotes do not close is split as if it had none."""
    try:
        fields = next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        fields = line.split(separator)
    return [field.strip() for field in fields]


def quoted_rows(text: str, separator: str) -> Iterator[Row]:
    """Split outside quotes; a quoted field may hold line ends, so rows are numbered by their last line.

    A quote that never closes would swallow the rest of the list: such a list is split line by line.
    """
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [Row(reader.line_num, [field.strip() for field in fields]) for fields in reader]
    except csv.Error:
        rows = [Row(number, one_row(line, separator)) for number, line in lines_of(text)]
    yield from (row for row in rows if any(row.fields))


@dataclass(frozen=True)
class Shape:
    """What the lines of a keyed list hold.

    Attributes:
        expected: for the message: ``key<tab>split``.
        counts: how many values may follow the key; of several that fit, the largest is meant.
        valid: whether a text can be a value.
        more: whether further columns may follow where tabs, commas or semicolons separate them.
        headings: words in lower case that name the column of keys in a header.

    """

    expected: str
    counts: tuple[int, ...]
    valid: Callable[[str], bool] = bool
    more: bool = False
    headings: tuple[str, ...] = ("key", "path", "file", "filename", "file_name", "image", "image_id", "name")

    def parse(self, fields: list[str], count: int) -> tuple[str, list[str]] | None:
        """Return key and values, None where the fields are no line of this shape."""
        enough = len(fields) >= count + 1 if self.more else len(fields) == count + 1
        values = fields[1 : count + 1]
        return (fields[0], values) if enough and fields[0] and all(map(self.valid, values)) else None

    def is_header(self, fields: Sequence[str], first: bool) -> bool:
        """Return whether a line that is none of the list's names its columns or counts its lines."""
        if len(fields) == 1:
            return first and fields[0].isdigit()
        if not fields:
            return False
        if PurePosixPath(fields[0]).suffix.lower() in IMAGE_SUFFIXES or any(map(is_number, fields)):
            return False
        # names of columns are words, and no two are alike
        words = len(set(fields)) == len(fields) and all(field.isidentifier() for field in fields)
        whole = len(fields) - 1 in self.counts and words
        return fields[0].lower() in self.headings or len(fields) in self.counts or whole


def read_keyed(
    path: Path,
    shape: Shape,
    known: Collection[str] = (),
    *,
    error: type[LrfrError] = SpecError,
) -> list[Keyed]:
    """Read a list whose lines begin with a name, which may hold spaces and commas.

    One separator is found for the whole list: that by which most lines have the shape and, where the names
    are known, name one of them. A count and a header may stand first; lines that begin with ``#`` are
    comments, unless they name something known.

    Args:
        path: the file.
        shape: of the lines.
        known: the names that may be meant.
        error: see :func:`read_text`.

    Raises:
        LrfrError: of the type ``error``, with file and line, where a line has another shape.

    """
    lines = list(lines_of(read_text(path, names=True, error=error)))
    names = known if isinstance(known, set | frozenset | dict) else set(known)
    split, count = _way_of(lines, shape, names)
    found: list[Keyed] = []
    for index, (number, line) in enumerate(lines):
        parsed = shape.parse(split(line), count)
        if line.startswith("#") and not (parsed and parsed[0] in names):
            continue
        if parsed and not (index == 0 and parsed[0].lower() in shape.headings and parsed[0] not in names):
            found.append(Keyed(number, *parsed))
        elif parsed is None and not (
            not found and shape.is_header(line.replace(",", " ").split(), index == 0)
        ):
            said = f"expected '{shape.expected}'"
            raise error(said, file=str(path), line=number, hint=separator_hint(line))
    return found


def _way_of(lines: Sequence[Line], shape: Shape, known: Collection[str]) -> tuple[Splitter, int]:
    """Return how most of the lines are split into the shape, and how many values they have."""
    some = [line for line in lines[:_SAMPLE] if not line.text.startswith("#")] or lines[:_SAMPLE]
    best: tuple[tuple[int, ...], Splitter, int] | None = None
    for count in sorted(shape.counts, reverse=True):
        for split in _splitters(count):
            keys = [found[0] for line in some if (found := shape.parse(split(line.text), count))]
            # "a.png 1" is hardly a name: its number belongs to the values
            plain = sum(not (tail := key.rsplit(None, 1)[1:]) or not is_number(tail[0]) for key in keys)
            score = (sum(key in known for key in keys), plain, len(keys))
            if best is None or score > best[0]:
                best = (score, split, count)
    assert best is not None
    return best[1], best[2]


def _splitters(count: int) -> list[Splitter]:
    marked: list[Splitter] = [lambda line, mark=mark: one_row(line, mark) for mark in _SEPARATORS]  # type: ignore[misc]
    return [
        *marked,
        lambda line: line.rsplit(None, count),
        lambda line: line.replace(",", " ").rsplit(None, count),
    ]


def is_number(text: str) -> bool:
    """Return whether a field of a list reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_count(text: str) -> bool:
    """Return whether a text reads as a whole number from 0 on of at most 18 digits; int() takes it then."""
    return text.isdecimal() and len(text) < 19
