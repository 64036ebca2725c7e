"""The sources ``tar`` and ``zip``: archives of samples (WebDataset's way) or of folders, read in place."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError, SpecError
from lrfr.core.lists.walk import files_below
from lrfr.pairs.sources.base import Content, Listing, Place, Source, Tally, file_stamp
from lrfr.pairs.sources.listing.origin_files import origin_files
from lrfr.pairs.sources.packed.members import ARCHIVE_SUFFIXES, archive_stem, read_member
from lrfr.pairs.sources.packed.samples import Sample, folder_labels, posix, samples_of


@dataclass(frozen=True)
class TarSource(Source):
    """WebDataset archives: ``.tar``, also compressed; a folder or pattern (``x-{000..009}.tar``) of them.

    A sample is all files with one stem; its label comes from ``.json``, ``.cls`` or its folder. Where a
    sample has several images (``000.hr.jpg``, ``000.lr.png``), ``.hr`` is taken, else the first by name.
    """

    path: Path
    kind = "tar"

    def archives(self, tally: Tally) -> list[Path]:
        """Return the archives in order, also from folders below.

        Raises:
            SpecError: there is none.

        """
        if self.path.is_dir():
            found = files_below(self.path, tally, ARCHIVE_SUFFIXES)
        else:
            found = [self.path] if self.path.exists() else pattern_paths(str(self.path))
        if not found or not all(path.is_file() for path in found):
            missing = next((path for path in found if not path.is_file()), self.path)
            raise SpecError(f"no .{self.kind} archive here", file=str(missing))
        return found

    def _folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    def listing(self) -> Listing:
        """List one image a sample; all else in the archives is accounted for.

        Raises:
            SpecError: no archive there.
            DataError: the only archive is none.

        """
        tally, found = Tally("member"), []
        archives, counted = self.archives(tally), self.path.is_dir()
        for path in archives:
            name = os.path.relpath(path, self._folder())
            try:
                found.append((name, samples_of(path, tally, f"{name}: " if len(archives) > 1 else "")))
            except DataError as error:
                if len(archives) == 1:
                    raise
                tally.see("file", 0 if counted else 1)
                tally.end("file", name, "E_FORMAT", error.message)
            else:
                tally.use("file", 1 if counted else 0)
        label_of = folder_labels({folder for _, samples in found for folder, _ in samples})
        for name, samples in found:
            prefix = f"{archive_stem(name)}/" if len(archives) > 1 else ""
            path = self._folder() / name
            for folder, stem in list(samples):
                parts = samples.pop((folder, stem))
                sample = Sample(path, posix(folder, stem), label_of[folder], parts)
                tally.faces += sample.faces(name, prefix, tally)
        return tally.listing()

    def read(self, place: Place) -> Content:
        """Read the bytes of one member."""
        name, start, size = place
        return read_member(self._folder() / name, start, size)

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the stamp of the archive and where the member lies in it."""
        found = file_stamp(self._folder() / place[0])
        return (*found, *place[1:]) if found else None

    def stamps(self, places: Sequence[Place]) -> list[tuple[int, ...] | None]:
        """Return the stamps of many members; each archive is asked once."""
        folder = self._folder()
        asked = {name: file_stamp(folder / name) for name in {place[0] for place in places}}
        known = ((asked[place[0]], place) for place in places)
        return [(*found, *place[1:]) if found else None for found, place in known]

    def origins(self) -> list[Path] | None:
        """Return the archives, and all that lies in their folder where it is one that is listed."""
        if self.path.exists():
            return origin_files(self.path)
        return pattern_paths(str(self.path))

    def describe(self) -> dict[str, str | int]:
        """Name the archive or folder."""
        return {"kind": self.kind, "name": self.path.resolve().name}


@dataclass(frozen=True)
class ZipSource(TarSource):
    """Zip archives of folders or samples: one, a folder or a pattern of them, read in place."""

    kind = "zip"


def pattern_paths(text: str) -> list[Path]:
    """Return the files that ``{000..009}``, ``{a,b}``, ``*`` and ``?`` in a path stand for, in order; what
    braces name and is not there is among them.
    """
    spelled = [""]
    for piece in re.split(r"(\{[^{}]*\})", text):
        spelled = [start + end for start in spelled for end in _alternatives(piece)]
    found: list[str] = []
    for path in spelled:
        found += sorted(glob.glob(path)) if glob.has_magic(path) else [path]
    return [Path(path) for path in found] if spelled != [text] or glob.has_magic(text) else []


def _alternatives(piece: str) -> list[str]:
    if not (piece.startswith("{") and piece.endswith("}")):
        return [piece]
    ends = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", piece)
    if ends is None:
        return piece[1:-1].split(",") if "," in piece else [piece]
    first, last = int(ends[1]), int(ends[2])
    if last - first >= 1_000_000:
        raise SpecError("more than a million archives", path=piece)
    return [f"{number:0{len(ends[1])}d}" for number in range(first, last + 1)]
