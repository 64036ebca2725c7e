"""``landmarks.tsv``: the landmarks of every crop, to be looked at, edited and used again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.landmarks import read_landmarks
from lrfr.core.lists import Line, read_lines
from lrfr.pairs.align.aligner import DECIMALS, REMARK_TEXTS, Remark

_POINTS = tuple(f"{axis}{number}" for number in range(1, 6) for axis in "xy")
COLUMNS = ("key", *_POINTS, "score", "remark")
_HEADER = "\t".join(COLUMNS)


@dataclass(frozen=True)
class LandmarkRow:
    """One line of the table.

    Attributes:
        key: the photograph's key; with several faces it stands on several lines, best face first.
        points: x1, y1 to x5, y5 in pixels of the photograph.
        score: the detector's, in [0, 1].
        remarks: what was unusual.

    """

    key: str
    points: tuple[float, ...]
    score: float = 1.0
    remarks: tuple[Remark, ...] = ()

    @property
    def points_xy(self) -> NDArray[np.float64]:
        """The points as float64 ``[5, 2]``."""
        return np.array(self.points).reshape(5, 2)


def table_bytes(rows: Iterable[LandmarkRow]) -> bytes:
    """Return the table: a header, then key, ten numbers, score and remarks, with tabs between."""
    lines = [_HEADER]
    for row in rows:
        numbers = [f"{value:.{DECIMALS}f}" for value in row.points]
        lines.append("\t".join([row.key, *numbers, f"{row.score:.4f}", " ".join(map(str, row.remarks))]))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def read_table(path: Path) -> dict[str, list[LandmarkRow]]:
    """Read a table of landmarks, or any list of ``key x1 y1 ... x5 y5`` lines.

    Raises:
        SpecError: a line cannot be read, with its number.

    """
    lines = read_lines(path, names=True)
    if not _is_own(lines):
        return {key: [LandmarkRow(key, points)] for key, points in read_landmarks(path).items()}
    found: dict[str, list[LandmarkRow]] = {}
    for number, text in lines[1:]:
        row = _row_of(text.split("\t"), path, number)
        found.setdefault(row.key, []).append(row)
    return found


def is_own_table(path: Path) -> bool:
    """Say whether a file of landmarks has the header of lrfr's own tables.

    Raises:
        SpecError: it cannot be read.

    """
    return _is_own(read_lines(path, names=True))


def _is_own(lines: list[Line]) -> bool:
    return bool(lines) and lines[0].text.split("\t")[:11] == list(COLUMNS[:11])


def _row_of(parts: list[str], path: Path, line: int) -> LandmarkRow:
    try:
        numbers = tuple(float(part) for part in parts[1:11])
        score = float(parts[11]) if len(parts) > 11 and parts[11] else 1.0
    except ValueError:
        numbers, score = (), 1.0
    if len(numbers) != 10 or not np.isfinite([*numbers, score]).all():
        raise SpecError(f"expected {' '.join(COLUMNS)}, with tabs between", file=str(path), line=line)
    return LandmarkRow(parts[0], numbers, score, _remarks_of(parts[12] if len(parts) > 12 else ""))


def _remarks_of(text: str) -> tuple[Remark, ...]:
    """Read remarks; words that are none of lrfr's are a person's own and are left out."""
    found = []
    for word in text.split():
        code, _, value = word.partition("=")
        if code in REMARK_TEXTS and (value.replace(".", "", 1).replace("-", "", 1).isdigit() or not value):
            found.append(Remark(code, float(value or 0)))
    return tuple(found)
