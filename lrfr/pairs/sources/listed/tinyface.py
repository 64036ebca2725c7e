"""The source ``tinyface``: TinyFace as distributed, or its aligned copies ``aligned_pad_*``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lrfr.core.errors import SpecError
from lrfr.core.lists.walk import Walk
from lrfr.pairs.sources.base import Face, Listing, Tally
from lrfr.pairs.sources.folder import FilesSource

# folder of the distribution: split
_PARTS = {
    "Probe": "probe",
    "Gallery_Match": "gallery",
    "Gallery_Distractor": "distractor",
    "Training_Set": "train",
}


@dataclass(frozen=True)
class TinyFaceSource(FilesSource):
    """TinyFace: its folder with ``Training_Set`` and ``Testing_Set``, or one with ``aligned_pad_*``.

    The number before the first ``_`` of a file's name is the identity (in ``Training_Set`` the folder, where
    there is one), distractors have none; the part of the set is the split.
    """

    folder: Path
    kind = "tinyface"

    @property
    def root(self) -> Path:  # type: ignore[override]
        """The folder that holds the parts of the set, at most one folder above them.

        Raises:
            SpecError: none, or several aligned copies.

        """
        aligned = sorted(path for path in self.folder.glob("aligned_pad_*") if path.is_dir())
        if len(aligned) > 1:
            raise SpecError(
                f"several aligned copies: {', '.join(path.name for path in aligned)}",
                file=str(self.folder),
                hint=f"write tinyface:{aligned[0]}",
            )
        inner = self.folder / "tinyface"
        return aligned[0] if aligned else inner if inner.is_dir() else self.folder

    def listing(self) -> Listing:
        """List the images of every part that is there."""
        tally = Tally("file")
        for name, part in self._pictures(tally):
            if part is None:
                tally.end("file", name, "not listed")
            else:
                tally.faces.append(Face(name, _person(name, part), name, split=_PARTS[part]))
        return tally.listing()

    def _pictures(self, tally: Tally) -> Iterator[tuple[str, str | None]]:
        for name in Walk(self.root, tally).pictures():
            yield name, next((part for part in PurePosixPath(name).parts[:-1] if part in _PARTS), None)

    def describe(self) -> dict[str, str | int]:
        """Name the data set and the copy that is read."""
        return {"kind": self.kind, "name": self.root.name}


def _person(name: str, part: str) -> str:
    if part == "Gallery_Distractor":
        return ""
    path = PurePosixPath(name)
    if part == "Training_Set" and path.parent.name != part:
        return path.parent.name
    found = re.match(r"(\d+)_", path.name)
    return str(int(found[1])) if found else ""
