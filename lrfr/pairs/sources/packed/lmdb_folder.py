"""The source ``lmdb``: BasicSR's folders ``name.lmdb/{data.mdb, meta_info.txt}``, keyed by file stem."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.lists import read_lines
from lrfr.pairs.format.lmdb_files import REGISTRY, Expected
from lrfr.pairs.sources.base import Content, Face, Place, Source

_META_LINE = re.compile(r"(?P<name>.+?)(?:\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*(?P<c>\d+))?\)(?:\s+\d+)?)?")
_LMDB_MAGIC = 0xBEEFC0DE


@dataclass(frozen=True)
class LmdbFolderSource(Source):
    """BasicSR's LMDB folder: ``data.mdb`` with ``meta_info.txt``.

    Its lines are ``name.png (h,w,c) level``; the part before a '/' is the identity.
    """

    path: Path
    kind = "lmdb"

    def faces(self) -> list[Face]:
        """List the keys."""
        self._expected()
        index = self.path / "meta_info.txt"
        faces = []
        for number, line in read_lines(index):
            match = _META_LINE.fullmatch(line)
            if match is None:
                raise SpecError("expected 'name.png (h,w,c) level'", file=str(index), line=number)
            key = match["name"].rsplit(".", 1)[0]
            faces.append(Face(key, key.split("/", 1)[0] if "/" in key else "", key))
        return faces

    def read(self, place: Place) -> Content:
        """Read one value."""
        try:
            opened = REGISTRY.file(str(self.path / "data.mdb"), self._expected())
            return bytes(opened.get(str(place).encode("ascii", "replace")))
        except DataError as error:
            raise ImageFault("E_READ", error.message, file=str(self.path)) from None

    def _expected(self) -> Expected:
        """Check that the file is as long as its own header says: a shorter one would end the process when it
        is mapped.
        """
        path = self.path / "data.mdb"
        try:
            size = path.stat().st_size
            with path.open("rb") as handle:
                pages = handle.read(8192)
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror}", file=str(path)) from None
        if size < needed_bytes(pages, str(path)):
            raise DataError("the database is cut short", file=str(path))
        return Expected(size)

    def describe(self) -> dict[str, str | int]:
        """Name the folder."""
        return {"kind": self.kind, "name": self.path.resolve().name}


def needed_bytes(pages: bytes, file: str) -> int:
    """Return how long an LMDB 0.9 file must be, from the newer of its two meta pages.

    Raises:
        DataError: not an LMDB file.

    """
    best = (-1, 0)
    page_size = struct.unpack_from("<I", pages, 40)[0] if len(pages) >= 152 else 0
    for start in (0, page_size):
        if (
            page_size < 512
            or len(pages) < start + 152
            or struct.unpack_from("<I", pages, start + 16)[0] != _LMDB_MAGIC
        ):
            continue
        last_page, transaction = struct.unpack_from("<QQ", pages, start + 136)
        best = max(best, (transaction, (last_page + 1) * page_size))
    if best[0] < 0:
        raise DataError("not an LMDB database", file=file)
    return best[1]
