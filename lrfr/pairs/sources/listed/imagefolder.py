"""The source ``imagefolder``: a folder of images with ``metadata.csv``, ``.jsonl`` or ``.parquet`` in it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.lists.walk import Walk
from lrfr.pairs.sources.base import Face, Listing, Tally
from lrfr.pairs.sources.folder import FilesSource
from lrfr.pairs.sources.places import below
from lrfr.pairs.sources.tabular import Columns, read_table

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SPLITS = ("train", "validation", "val", "test", "dev")


@dataclass(frozen=True)
class ImageFolderSource(FilesSource):
    """A folder of images with a ``metadata.csv`` or ``.jsonl`` (Hugging Face's ``imagefolder``).

    Its column ``file_name`` says which image a line describes, from the folder of the metadata on; columns
    ``label`` or ``identity``, ``key``, ``split`` and binary ones say the rest. Without a label, the folder of
    the image names the identity.
    """

    root: Path
    kind = "imagefolder"

    def walks(self) -> Path:
        """Return the folder."""
        return self.root

    def listing(self) -> Listing:
        """List the images that the metadata names.

        Raises:
            SpecError: there is no metadata, or it has no column of file names.

        """
        tally = Tally("file")
        there = set(Walk(self.root, tally).pictures())
        tables = sorted(path for name in NAMES for path in self.root.rglob(name) if path.is_file())
        if not tables:
            raise SpecError(f"no {' or '.join(NAMES)} here", file=str(self.root))
        described: set[str] = set()
        for path in tables:
            folder = posixpath.dirname(path.relative_to(self.root).as_posix())
            described |= self._described(path, folder, there, tally)
        for name in sorted(there - described):
            tally.end("file", name, "not listed")
        return tally.listing()

    def _described(self, path: Path, folder: str, there: set[str], tally: Tally) -> set[str]:
        table = read_table(path)
        columns = Columns(table, path)
        found = set()
        for row in range(table.rows):
            name = posixpath.normpath(posixpath.join(folder, below(columns.path(row), path.parent)))
            if name not in there:
                tally.see("line")
                tally.end("line", name, "E_READ", f"{path.name} names it, and it is not there")
                continue
            if name in found:
                tally.see("file")
            found.add(name)
            tally.faces.append(self._face(columns, row, name))
        table.refuse(tally, "line")
        return found

    def _face(self, columns: Columns, row: int, name: str) -> Face:
        first = name.split("/", 1)[0]
        split = columns.split(row) or (first if "/" in name and first in _SPLITS else "")
        label, fault = columns.label(row)
        if not columns.labeled:
            label = posixpath.basename(posixpath.dirname(name))
            label = "" if label == split else label
        key = columns.key(row) or name
        return Face(key, label, name, columns.attributes(row), split, fault)

    def describe(self) -> dict[str, str | int]:
        """Name the folder, without its parents."""
        return {"kind": self.kind, "name": self.root.resolve().name}
