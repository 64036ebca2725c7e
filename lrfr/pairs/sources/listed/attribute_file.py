"""Attributes of faces from a table of one's own, by key or by identity, for a source of any kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.lists import match_names, read_rows
from lrfr.core.lists.fields import Row
from lrfr.pairs.sources.base import FaceList, label_name
from lrfr.pairs.sources.packed.arrow_files import PATH_NAMES
from lrfr.pairs.sources.packed.columnar import SUFFIXES
from lrfr.pairs.sources.tabular import SPLIT_NAMES, read_table

_TRUTH = {"1": 1, "1.0": 1, "+1": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}
_TRUTH |= {"-1": -1, "-1.0": -1}
_SEX = {"m": 1, "male": 1, "man": 1, "f": 0, "female": 0, "woman": 0}
_SEX_COLUMNS, _SEX_NAME = {"gender", "sex"}, "Male"
_UNKNOWN = {"", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"}
_KEY, _IDENTITY = "key", "identity"


@dataclass(frozen=True)
class AttributeTable:
    """What a file says of faces.

    Attributes:
        by: what its lines are about: ``key``, ``identity``, or "" where its header leaves that open.
        subjects: key or identity of each line.
        lines: number of each line in the file.
        columns: attribute to 1, 0 or None for unknown, of each line.
        ignored: names of the columns that hold something else than yes and no.

    """

    by: str
    subjects: Sequence[str]
    lines: Sequence[int]
    columns: Mapping[str, Sequence[int | None]]
    ignored: tuple[str, ...] = ()


def read_attributes(path: Path) -> AttributeTable:
    """Read a table of attributes: CSV, TSV, JSON lines or Parquet with a header, or CelebA's form (a count,
    the names, then ``name 1 -1 ...``).

    A column is an attribute where its cells are 1 and 0, 1 and -1, true and false, or yes and no; empty,
    ``na``, ``?`` and ``unknown`` are unknown. Beside 1 and 0, -1 is unknown; beside 1 alone it means no
    (CelebA's way). A column ``gender`` or ``sex`` of words becomes ``Male``. Others are ignored by name.

    Raises:
        SpecError: with file and line: no header, a line with another number of fields, no column of
            attributes, or a cell of one that is none of these.

    """
    header, rows = _read(path)
    names = [name.lower() for name in header]
    at = next((names.index(word) for word in (*PATH_NAMES, "name") if word in names), None)
    by, label = (_KEY if at is not None else ""), label_name(header)
    if at is None and label is not None:
        by, at = _IDENTITY, header.index(label)
    at = at or 0
    columns: dict[str, list[int | None]] = {}
    ignored = []
    for place, name in enumerate(header):
        if place == at or name == label or name.lower() in {*PATH_NAMES, *SPLIT_NAMES}:
            continue
        typed = _typed(name, [row.fields[place] for row in rows], rows, path)
        if typed is None:
            ignored.append(name)
        elif typed[0] in columns:
            raise SpecError(f"two columns give the attribute '{typed[0]}'", file=str(path), line=1)
        else:
            columns[typed[0]] = typed[1]
    if not columns:
        hint = "columns of 1 and 0, yes and no, or gender beside the column of keys or identities"
        raise SpecError("no column is an attribute", file=str(path), hint=hint)
    subjects = [row.fields[at] for row in rows]
    return AttributeTable(by, subjects, [row.number for row in rows], columns, tuple(ignored))


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """Return the names of the columns and the rows."""
    suffix = path.suffix.lower()
    if suffix in {*SUFFIXES, ".jsonl", ".ndjson"}:
        table = read_table(path)
        if table.bad:
            raise SpecError(f"{table.bad[0][0]}: {table.bad[0][1]}", file=str(path))
        cells = zip(*table.columns.values(), strict=True)
        return list(table.columns), [Row(number, list(row)) for number, row in enumerate(cells, 1)]
    rows = read_rows(path, "a row of the table", separator="\t" if suffix == ".tsv" else "auto", names=True)
    if rows and len(rows[0].fields) == 1 and rows[0].fields[0].isdecimal():
        rows = rows[1:]
    if len(rows) < 2:
        raise SpecError("expected a line of names and lines of values", file=str(path))
    header, rows = [name.lstrip("#").strip() for name in rows[0].fields], rows[1:]
    if len(rows[0].fields) == len(header) + 1:  # CelebA names no column of files
        header = [_KEY, *header]
    if len(set(header)) != len(header):
        raise SpecError("the first line must name the columns, each once", file=str(path), line=1)
    for row in rows:
        if len(row.fields) != len(header):
            told = f"{len(row.fields)} fields, the header has {len(header)}"
            raise SpecError(told, file=str(path), line=row.number)
    return header, rows


def _typed(
    name: str, cells: Sequence[str], rows: Sequence[Row], path: Path
) -> tuple[str, list[int | None]] | None:
    """Return attribute and values of a column, None where it is about something else."""
    words = [cell.lower() for cell in cells]
    counts = Counter(words)
    known = sum(count for word, count in counts.items() if word not in _UNKNOWN)
    sex = name.lower() in _SEX_COLUMNS and any(word in _SEX for word in counts)
    meaning = dict(_SEX if sex else _TRUTH)
    right = sum(count for word, count in counts.items() if word in meaning)
    if not known or 2 * right <= known:
        return None
    if not sex:
        binary = {meaning[word] for word in counts if word in meaning}
        minus = "unknown" if 0 in binary else "no"
        meaning = {
            word: (0 if minus == "no" else -1) if value == -1 else value for word, value in meaning.items()
        }
    values: list[int | None] = []
    for row, word in zip(rows, words, strict=True):
        if word not in meaning and word not in _UNKNOWN:
            expected = "male or female" if sex else "1 or 0, yes or no, or empty"
            told = f"column '{name}' says '{word}', expected {expected}"
            raise SpecError(told, file=str(path), line=row.number)
        found = meaning.get(word)
        values.append(None if found == -1 else found)
    return (_SEX_NAME if sex else name), values


def give_attributes(faces: FaceList, path: Path) -> tuple[FaceList, list[str]]:
    """Return the faces with the attributes of a file, and what to tell about it: how many faces have some,
    how many lines name nobody, what is unknown, which columns are ignored.

    A value of the file stands in place of one that the source has.

    Raises:
        SpecError: as :func:`read_attributes`; no line names a face, or two lines differ about one.

    """
    table = read_attributes(path)
    listed = [(face.key, face.label, face.attributes) for face in faces]
    labels = {label for _, label, _ in listed if label}
    by, matched, how = _matched(table, [key for key, _, _ in listed], labels, path)
    values = _values(table, matched, path)
    rows: list[Mapping[str, int]] = []
    changed = found = 0
    for key, label, own in listed:
        given = values.get(key if by == _KEY else label, {})
        found += bool(given)
        changed += sum(own.get(name, value) != value for name, value in given.items())
        rows.append({**own, **given})
    notes = [_told(path, by, rows, found, tuple(table.columns))]
    names = len({*table.subjects} - {*matched})
    kind = {_KEY: "keys", _IDENTITY: "identities"}[by]
    notes += [f"{names} {kind} of {path.name} name no face of the source"] if names else []
    notes += (
        [f"{len(matched)} of {len(set(table.subjects))} {kind} of {path.name} match {how}"] if how else []
    )
    notes += [f"{path.name} changes {changed} values that the source has"] if changed else []
    if table.ignored:
        notes.append(f"columns of {path.name} that are no attributes: {', '.join(table.ignored)}")
    return faces.with_attributes(rows), notes


def _matched(
    table: AttributeTable, keys: Collection[str], labels: Collection[str], path: Path
) -> tuple[str, Mapping[str, str], str]:
    """Return what the lines are about, and the known name of each of their subjects."""
    ways = [(_KEY, match_names(set(table.subjects), keys))] if table.by != _IDENTITY else []
    if table.by != _KEY:
        ways.append((_IDENTITY, match_names(set(table.subjects), labels, loosely=False)))
    by, best = max(ways, key=lambda way: len(way[1].known))
    if not best.known:
        known = min(keys if by == _KEY else labels, default="")
        hint = f"{'keys' if by == _KEY else 'identities'} of the source look like '{known}'"
        raise SpecError(f"no {by} of the file is one of the source", file=str(path), hint=hint)
    return by, best.known, best.how


def _values(table: AttributeTable, matched: Mapping[str, str], path: Path) -> dict[str, dict[str, int]]:
    """Return the known attributes of every known subject."""
    values: dict[str, dict[str, int]] = {}
    for place, subject in enumerate(table.subjects):
        if subject not in matched:
            continue
        row = {name: column[place] for name, column in table.columns.items()}
        own = {name: value for name, value in row.items() if value is not None}
        before = values.setdefault(matched[subject], own)
        if before != own:
            raise SpecError(
                f"{subject!r} is given two sets of values", file=str(path), line=table.lines[place]
            )
    return values


def _told(path: Path, by: str, rows: Sequence[Mapping[str, int]], found: int, names: Sequence[str]) -> str:
    unknown = {name: sum(name not in row for row in rows) for name in names}
    missing = ", ".join(f"{name} {count}" for name, count in unknown.items() if count)
    told = f"{path.name} gives {found} of {len(rows)} faces attributes by {by}: {', '.join(names)}"
    return f"{told}; unknown: {missing}" if missing else told
