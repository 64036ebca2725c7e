"""The images of IJB's templates: what the lists say of them, and which of them can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.lists import Row
from lrfr.eval.embeddings import Bools, Floats, Ints
from lrfr.eval.protocols.layout import inside, integer, need, rows_of
from lrfr.eval.protocols.seen import Ledger, check_there
from lrfr.eval.results import Files


@dataclass(frozen=True)
class Media:
    """The images of all templates: file names, landmarks [N, 5, 2] in px, detector scores [N], template and
    medium numbers [N].
    """

    files: list[Path]
    points: Floats
    detector: Floats
    template: Ints
    medium: Ints
    empty: Ints
    counts: Mapping[str, int]
    remarks: tuple[str, ...]
    record: Files

    def sets(self) -> Sequence[Floats | Ints]:
        """Return all that the lists say of the images but their names."""
        return self.points, self.detector, self.template, self.medium


def read_media(data: Path, name: str, tree: str) -> Media:
    """Read the lists of faces and landmarks; faces without landmarks are left out, counted and named.

    Raises:
        DataError: the lists disagree, a picture is not there, or no face has landmarks.
        SpecError: the landmarks are of another convention.

    """
    from lrfr.pairs.align.checks import check_convention

    tid_path = need(data, f"meta/{name}_face_tid_mid.txt", tree)
    points_path = need(data, f"meta/{name}_name_5pts_score.txt", tree)
    crops = need(data, "loose_crop", tree)
    rows, marks = rows_of(tid_path, 3), rows_of(points_path, 12)
    for row, mark in zip(rows, marks, strict=False):
        if row.fields[0] != mark.fields[0]:
            raise DataError(
                f"does not list the same images as {tid_path.name}: '{mark.fields[0]}' for '{row.fields[0]}'",
                file=str(points_path),
                line=mark.number,
            )
    if len(rows) != len(marks):
        raise DataError(
            f"does not list the same images as {tid_path.name}: {len(marks)} for {len(rows)}",
            file=str(points_path),
        )
    numbers = np.array([_numbers(mark, points_path) for mark in marks], np.float64)
    template, medium = (
        np.array([integer(fields[column], tid_path, number) for number, fields in rows], np.int64)
        for column in (1, 2)
    )
    files = [inside(crops, row.fields[0]) for row in rows]
    check_there(files, [row.number for row in rows], tid_path)
    points = numbers[:, :10].reshape(-1, 5, 2)
    kept = _usable(points, numbers[:, 10])
    refused = [f"{marks[i].fields[0]} (line {marks[i].number})" for i in np.flatnonzero(~kept)]
    if not kept.any():
        raise DataError(
            f"none of {len(kept)} faces has landmarks: the first is {refused[0]}", file=str(points_path)
        )
    step = max(1, len(kept) // 64)
    check_convention(list(points[kept][::step]), str(points_path))
    empty = np.setdiff1d(template, template[kept])
    ledger = Ledger()
    ledger.unlisted(crops, [path for path, good in zip(files, kept, strict=True) if good])
    told = (
        f"{len(refused)} of {len(kept)} images have no landmarks or no detector score in {points_path.name}"
    )
    left = f"; {len(empty)} templates have no other image: their feature is zero" if len(empty) else ""
    return Media(
        files=[path for path, good in zip(files, kept, strict=True) if good],
        points=points[kept],
        detector=numbers[kept, 10],
        template=template[kept],
        medium=medium[kept],
        empty=empty,
        counts={"n_image": int(kept.sum()), "n_image_refused": len(refused), "n_template_empty": len(empty)},
        remarks=(f"{told}: {', '.join(refused[:3])}{left}",) if refused else (),
        record=ledger.files(),
    )


def _numbers(mark: Row, path: Path) -> list[float]:
    try:
        return [float(text) for text in mark.fields[1:12]]
    except ValueError as error:
        raise DataError(str(error), file=str(path), line=mark.number) from None


def _usable(points: Floats, detector: Floats) -> Bools:
    """Say which faces have landmarks, [N]: NaN stands for none, and so do points at (-1, -1) or (0, 0)."""
    absent = (points == -1).all(axis=2) | (points == 0).all(axis=2)
    finite = np.isfinite(points).all(axis=(1, 2)) & np.isfinite(detector)
    spread = np.ptp(np.where(np.isfinite(points), points, 0), axis=1).max(axis=1)
    return np.asarray(finite & ~absent.any(axis=1) & (spread > 1e-3))
