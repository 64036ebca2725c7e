"""The source ``lmdb``: BasicSR's folders ``name.lmdb/{data.mdb, meta_info.txt}``, keyed by file stem."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.files import opened
from lrfr.core.image import looks_like_picture
from lrfr.core.lists import read_lines
from lrfr.pairs.format.disk.lmdb_files import REGISTRY, Expected
from lrfr.pairs.format.disk.lmdb_pages import MAGIC
from lrfr.pairs.sources.base import Content, Face, Listing, Place, Source, Tally, file_stamp, identity_name

_SHAPE = re.compile(r"\d+,\s*\d+(,\s*\d+)?\)(\s+\d+)?")


@dataclass(frozen=True)
class LmdbFolderSource(Source):
    """An LMDB of encoded images: BasicSR's folder with ``meta_info.txt``, or any with one image a key.

    Lines of ``meta_info.txt`` are ``name.png (h,w,c) level``; without it, all values that are pictures are
    taken. The part of a key before a '/' is the identity; ``label-5`` labels ``image-5``.
    """

    path: Path
    kind = "lmdb"

    def listing(self) -> Listing:
        """List the keys, by ``meta_info.txt`` where there is one."""
        self._expected()
        index = self.path / "meta_info.txt"
        tally = Tally("record")
        if self.path.is_dir() and index.exists():
            for number, line in read_lines(index, names=True):
                tally.see()
                key = _listed_key(line)
                if key:
                    tally.faces.append(Face(key, _folder(key), key.encode("utf-8", "surrogateescape")))
                else:
                    tally.end(
                        "record", f"{index.name}:{number}", "E_LINE", "expected 'name.png (h,w,c) level'"
                    )
        else:
            self._walk(tally)
        return tally.listing()

    def _walk(self, tally: Tally) -> None:
        labels: dict[str, str] = {}
        found: list[tuple[str, bytes]] = []
        for raw, head in self._heads():
            tally.see()
            key = _key_text(raw)
            if looks_like_picture(head):
                found.append((key, raw))
            elif re.fullmatch(r"label-\d+", key):
                labels[key.removeprefix("label-")] = head[:256].decode("utf-8", "replace")
                tally.use("record")
            else:
                tally.end("record", key, "not a picture")
        for key, raw in found:
            number = key.removeprefix("image-")
            label = labels.get(number, _folder(key)) if key != number else _folder(key)
            tally.faces.append(Face(key, identity_name(label), raw))

    def _heads(self) -> list[tuple[bytes, bytes]]:
        """Return every key with the first bytes of its value."""
        try:
            opened = REGISTRY.file(str(self._file), self._expected())
            return list(opened.heads(1024))
        except DataError as error:
            raise DataError(f"damaged database: {error}", file=str(self.path)) from None

    def read(self, place: Place) -> Content:
        """Read one value."""
        try:
            opened = REGISTRY.file(str(self._file), self._expected())
            return opened.get(place)
        except DataError as error:
            raise ImageFault("E_READ", str(error), file=str(self.path)) from None

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the stamp of the database's file."""
        return file_stamp(self._file)

    def origins(self) -> list[Path] | None:
        """Return the database and its list."""
        return [self._file, self.path / "meta_info.txt"]

    @property
    def _file(self) -> Path:
        return self.path / "data.mdb" if self.path.is_dir() else self.path

    def _expected(self) -> Expected:
        """Check that the file is as long as its own header says."""
        path = self._file
        try:
            with opened(path) as handle:
                size, pages = os.fstat(handle.fileno()).st_size, handle.read(8192)
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror}", file=str(path)) from None
        if size < needed_bytes(pages, str(path)):
            raise DataError("the database is cut short", file=str(path))
        return Expected(size)

    def describe(self) -> dict[str, str | int]:
        """Name the folder."""
        return {"kind": self.kind, "name": self.path.resolve().name}


def _folder(key: str) -> str:
    return key.split("/", 1)[0] if "/" in key else ""


def _listed_key(line: str) -> str:
    """Return the key of a line ``name.png (h,w,c) level``: the name without its suffix."""
    name, bracket, rest = line.rpartition("(")
    name = name.strip() if bracket and _SHAPE.fullmatch(rest) else line
    return os.path.splitext(name)[0]


def _key_text(raw: bytes) -> str:
    """Return a key as text; numbers in binary become eight digits."""
    if (len(raw) in {4, 8} and not raw.isascii()) or b"\0" in raw:
        return f"{int.from_bytes(raw, 'big'):08d}"
    return raw.decode("utf-8", "surrogateescape")


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
            or struct.unpack_from("<I", pages, start + 16)[0] != MAGIC
        ):
            continue
        last_page, transaction = struct.unpack_from("<QQ", pages, start + 136)
        best = max(best, (transaction, (last_page + 1) * page_size))
    if best[0] < 0:
        raise DataError("not an LMDB database", file=file)
    return best[1]
