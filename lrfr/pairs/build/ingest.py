"""Opening a source with everything that is said about it: landmarks, channel order, splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrfr.core.errors import SpecError
from lrfr.core.landmarks import read_landmarks
from lrfr.core.lists import read_lines
from lrfr.pairs.align.checks import check_landmarks
from lrfr.pairs.align.unaligned import unaligned_warning
from lrfr.pairs.build.channel_order import source_looks_swapped
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.sources.base import Content, Face, Place, Source
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
    if options.split_file:
        opened = WithSplits(opened, _read_splits(options.split_file))
    marks = read_landmarks(options.landmarks) if options.landmarks else None
    listed = opened.faces()
    unaligned = "" if marks is not None else unaligned_warning(opened, listed)
    if marks is not None:
        check_landmarks([face.key for face in listed], marks, str(options.landmarks))
    swapped = options.color != "bgr" and source_looks_swapped(opened, listed)
    order = "bgr" if options.color == "bgr" or (options.color == "auto" and swapped) else "rgb"
    warnings = (*((_WARNING[order],) if swapped else ()), *((unaligned,) if unaligned else ()))
    prepare = Prepare(size_px=options.size_px, color=order, aligned=marks is not None)
    base = BaseOptions(prepare, options.seed, options.access)
    return Ingest(opened, base, marks, options.cached, warnings, tuple(listed))


_WARNING = {
    "bgr": "red and blue look swapped in this source; they are swapped back (--color rgb keeps them)",
    "rgb": "red and blue look swapped in this source; --color bgr swaps them back",
}


@dataclass(frozen=True)
class WithSplits(Source):
    """A source whose faces get their split from a file."""

    inner: Source
    splits: dict[str, str]

    def faces(self) -> list[Face]:
        """List the faces with their splits; a key of the file that the source lacks is an error."""
        faces = [replace(face, split=self.splits.get(face.key, "")) for face in self.inner.faces()]
        missing = self.splits.keys() - {face.key for face in faces}
        if missing:
            raise SpecError(
                f"the split file names {len(missing)} unknown keys, the first is {min(missing)!r}"
            )
        return faces

    def read(self, place: Place) -> Content:
        """Read from the inner source."""
        return self.inner.read(place)

    def fingerprint(self, place: Place) -> str | None:
        """Ask the inner source."""
        return self.inner.fingerprint(place)

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Ask the inner source."""
        return self.inner.stamp(place)

    def describe(self) -> dict[str, Any]:
        """Describe the inner source."""
        return self.inner.describe()


def _read_splits(path: Path) -> dict[str, str]:
    """Read ``key<tab>split`` lines (a comma or white space also separates)."""
    splits = {}
    for number, line in read_lines(path, names=True):
        key, _, split = line.replace(",", "\t").rpartition("\t" if "\t" in line or "," in line else " ")
        if not key:
            raise SpecError("expected 'key<tab>split'", file=str(path), line=number)
        splits[key.strip()] = split.strip()
    return splits
