"""Opening a source with everything that is said about it: landmarks, channel order, splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.landmarks import read_landmarks
from lrfr.core.lists import Shape, match_names, read_keyed
from lrfr.pairs.align.checks import check_landmarks
from lrfr.pairs.align.unaligned import unaligned_warning
from lrfr.pairs.build.channel_order import source_looks_swapped
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.sources.base import Face, Source
from lrfr.pairs.sources.table import open_source


@dataclass(frozen=True)
class IngestOptions:
    """How a source is taken in.

    Attributes:
        size_px: side of the HR crops.
        color: order of the source's channels: ``rgb``, ``bgr``, or ``auto`` (looked at).
        landmarks: file of five points per key to cut the crops by; None cuts the central square.
        split_file: file of lines ``key<tab>split``.
        seed: of the order of the rows.
        access: ``block`` or ``random``: how the store will be read.
        cached: whether files with the stamps of an earlier look are not read again.

    """

    size_px: int = 112
    color: str = "auto"
    landmarks: Path | None = None
    split_file: Path | None = None
    seed: int = 0
    access: str = "block"
    cached: bool = True


def open_ingest(source: str | Path | Source, options: IngestOptions | None = None) -> Ingest:
    """Open a source by its name (``kind:place`` or a path), or take an open one, and look at its channels.

    Raises:
        SpecError: no such source, a malformed landmark or split file, or landmarks of other keys or of
            another convention.

    """
    options = options or IngestOptions()
    opened = source if isinstance(source, Source) else open_source(str(source))
    listing = opened.listing()
    notes = list(listing.notes)
    if options.split_file:
        listing = replace(listing, faces=_with_splits(listing.faces, options.split_file, notes))
    keys = [face.key for face in listing.faces]
    marks = _landmarks(options.landmarks, keys, notes) if options.landmarks else None
    unaligned = "" if marks is not None else unaligned_warning(opened, listing.faces)
    swapped = options.color != "bgr" and source_looks_swapped(opened, listing.faces)
    order = "bgr" if options.color == "bgr" or (options.color == "auto" and swapped) else "rgb"
    warnings = (*((_WARNING[order],) if swapped else ()), *((unaligned,) if unaligned else ()), *notes)
    prepare = Prepare(size_px=options.size_px, color=order, aligned=marks is not None)
    base = BaseOptions(prepare, options.seed, options.access)
    return Ingest(opened, base, marks, options.cached, warnings, listing)


_WARNING = {
    "bgr": "red and blue look swapped in this source; they are swapped back (--color rgb keeps them)",
    "rgb": "red and blue look swapped in this source; --color bgr swaps them back",
}


def _landmarks(path: Path, keys: Sequence[str], notes: list[str]) -> dict[str, Landmarks]:
    """Read the landmarks of a source's faces; names that are spelled otherwise are brought together."""
    marks = read_landmarks(path, keys)
    match = match_names(marks, keys)
    found = {key: marks[name] for name, key in match.known.items()}
    if match.how:
        notes.append(f"{len(found)} of {len(marks)} keys of {path.name} match {match.how}")
    check_landmarks(keys, found or marks, str(path))
    return found


_SPLIT = Shape("key<tab>split", (1,))


def _with_splits(faces: Sequence[Face], path: Path, notes: list[str]) -> tuple[Face, ...]:
    """Give faces the split that a file says; a key of the file that the source lacks is an error."""
    keys = {face.key for face in faces}
    rows = read_keyed(path, _SPLIT, keys)
    match = match_names({row.key for row in rows}, keys)
    splits: dict[str, str] = {}
    for line, name, (split,) in rows:
        if name not in match.known:
            missing = len({row.key for row in rows}) - len(match.known)
            raise SpecError(
                f"the split file names {missing} unknown keys, the first is {name!r}",
                file=str(path),
                line=line,
                hint=f"the source's look like '{min(keys, default='')}'",
            )
        if splits.setdefault(match.known[name], split) != split:
            raise SpecError(f"{name!r} is given two splits", file=str(path), line=line)
    if match.how:
        notes.append(f"{len(match.known)} keys of {path.name} match {match.how}")
    return tuple(replace(face, split=splits.get(face.key, "")) for face in faces)
