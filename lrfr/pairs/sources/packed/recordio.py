"""The source ``recordio``: insightface's ``train.rec`` with ``train.idx``, read without MXNet.

A record is the magic 0xced7230a, a word of 3 bits part flag and 29 bits length, and the payload padded to 4
bytes. Payloads that contain the magic are split there into parts (flags 1, 2, 3), which are joined again with
the magic between them. The payload starts with ``flag, label, id, id2`` (``<IfQQ``); a flag above 0 is the
number of float32 labels that follow.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lrfr.core.errors import DataError, ImageFault, SpecError, as_path
from lrfr.core.files import open_regular
from lrfr.core.lists import read_rows
from lrfr.pairs.sources.base import Content, Face, Listing, Place, Source, Tally, file_stamp
from lrfr.pairs.sources.listing.origin_files import origin_files

MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_WORDS = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_MAX_LABELS = 1 << 20


@dataclass(frozen=True)
class RecordIOSource(Source):
    """A ``.rec`` file of insightface (or its folder), read without MXNet; labels are the numbers in it."""

    path: Path
    kind = "recordio"

    def listing(self) -> Listing:
        """List the image records: by the ``.idx`` file where there is one, else by scanning.

        A record that cannot be read is refused, and the next one is looked for behind it.
        """
        tally = Tally("record")
        with _open(self.path) as handle:
            size = os.fstat(handle.fileno()).st_size
            places = self._index(size)
            if not places:
                starts, broken = scan_over_faults(handle, size)
                places = list(enumerate(starts))
                for offset in broken:
                    tally.see()
                    tally.end("record", f"byte {offset}", "E_TRUNCATED", "no whole record starts here")
            if not places:
                raise DataError("no records", file=str(self.path))
            first, stop = _image_range(handle, size, places)
            for number, offset in places:
                tally.see()
                if first <= number < stop:
                    tally.faces.append(_face(handle, size, number, offset))
                else:
                    tally.end("record", f"{number:08d}", "header")
        return tally.listing()

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the stamp of the file and where the record lies in it."""
        found = file_stamp(self.path)
        return (*found, int(place)) if found else None

    def stamps(self, places: Sequence[Place]) -> list[tuple[int, ...] | None]:
        """Return the stamps of many; the file is asked once."""
        found = file_stamp(self.path)
        return [(*found, int(place)) if found else None for place in places]

    def origins(self) -> list[Path] | None:
        """Return the file and its index."""
        return origin_files(self.path, [self.path.with_suffix(".idx")])

    def read(self, place: Place) -> Content:
        """Read one record's image bytes."""
        with _open(self.path) as handle:
            try:
                payload = read_record(handle, int(place), os.fstat(handle.fileno()).st_size)
                return parse_header(payload)[1]
            except DataError as error:
                raise ImageFault("E_TRUNCATED", error.message, file=str(self.path)) from None

    def describe(self) -> dict[str, str | int]:
        """Name the file."""
        return {"kind": self.kind, "name": self.path.name}

    def _index(self, size: int) -> list[tuple[int, int]]:
        path = self.path.with_suffix(".idx")
        if not path.exists():
            return []
        places = []
        for line, parts in read_rows(path, "number<tab>position", fields=2, error=DataError):
            if not all(part.isdecimal() and len(part) < 19 for part in parts):
                raise DataError("expected 'number<tab>position'", file=str(path), line=line)
            if int(parts[1]) + _WORDS.size > size:
                raise DataError(
                    f"position {parts[1]} lies beyond the end of the .rec file", file=str(path), line=line
                )
            places.append((int(parts[0]), int(parts[1])))
        return places


def open_recordio(place: str) -> RecordIOSource:
    """Open a ``.rec`` file, or the ``train.rec`` or only one of a folder."""
    path = as_path(place or ".", "a source")
    if not path.is_dir():
        return RecordIOSource(path)
    found = sorted(path.glob("*.rec"))
    chosen = path / "train.rec" if len(found) != 1 else found[0]
    if not chosen.exists() and found:
        raise SpecError(
            f"several .rec files: {', '.join(item.name for item in found)}",
            file=place,
            hint=f"write recordio:{found[0]}",
        )
    return RecordIOSource(chosen)


def _open(path: Path) -> BinaryIO:
    try:
        return os.fdopen(open_regular(path), "rb")
    except OSError as error:
        raise SpecError(f"cannot read: {error.strerror}", file=str(path)) from None


def _part(handle: BinaryIO, offset: int, size: int) -> tuple[int, int]:
    """Return (part flag, length) of the record part at ``offset``, bounds checked."""
    handle.seek(offset)
    words = handle.read(_WORDS.size)
    if len(words) < _WORDS.size:
        raise DataError("the record is cut short", path=f"byte {offset}")
    magic, packed = _WORDS.unpack(words)
    if magic != MAGIC:
        raise DataError("no record starts here (bad magic)", path=f"byte {offset}")
    length = packed & 0x1FFFFFFF
    if offset + _WORDS.size + length > size:
        raise DataError(f"the record claims {length} bytes, the file ends before", path=f"byte {offset}")
    return packed >> 29, length


def read_record(handle: BinaryIO, offset: int, size: int, limit: int | None = None) -> bytes:
    """Return the payload of the record at ``offset``, its parts joined.

    Args:
        handle: the open ``.rec`` file.
        offset: where the record starts.
        size: bytes of the file; no length beyond it is believed.
        limit: stop after this many bytes of an unsplit record (to read only its header).

    Raises:
        DataError: bad magic, a length beyond the file, or parts out of order.

    """
    flag, length = _part(handle, offset, size)
    if flag == 0:
        return handle.read(length if limit is None else min(limit, length))
    if flag != 1:
        raise DataError("a record cannot start with a middle part", path=f"byte {offset}")
    parts = [handle.read(length)]
    while flag != 3:
        offset += _WORDS.size + (length + 3) // 4 * 4
        flag, length = _part(handle, offset, size)
        if flag not in {2, 3}:
            raise DataError("the parts of a record are out of order", path=f"byte {offset}")
        parts.append(handle.read(length))
    return _MAGIC_BYTES.join(parts)


def scan(handle: BinaryIO, size: int) -> list[int]:
    """Return the offset of every record by walking the file.

    Raises:
        DataError: the chain of records is broken.

    """
    offset, starts = 0, []
    while offset + _WORDS.size <= size:
        flag, length = _part(handle, offset, size)
        if flag in {0, 1}:
            starts.append(offset)
        offset += _WORDS.size + (length + 3) // 4 * 4
    return starts


def scan_over_faults(handle: BinaryIO, size: int) -> tuple[list[int], list[int]]:
    """Return the offsets of records, and of places where the chain is broken: it goes on at the next magic.

    Records begin at multiples of four bytes.
    """
    offset, starts, broken = 0, [], []
    while offset + _WORDS.size <= size:
        try:
            flag, length = _part(handle, offset, size)
        except DataError:
            broken.append(offset)
            offset = _next_magic(handle, offset + 4)
            continue
        if flag in {0, 1}:
            starts.append(offset)
        offset += _WORDS.size + (length + 3) // 4 * 4
    return starts, broken


def _next_magic(handle: BinaryIO, offset: int) -> int:
    """Return the next aligned place with the magic, a place behind the end where there is none."""
    handle.seek(offset)
    while data := handle.read(1 << 20):
        words = np.frombuffer(data[: len(data) // 4 * 4], "<u4")
        hits = np.flatnonzero(words == MAGIC)
        if len(hits):
            return offset + 4 * int(hits[0])
        offset += len(data)
    return offset


def _face(handle: BinaryIO, size: int, number: int, offset: int) -> Face:
    key = f"{number:08d}"
    try:
        label = _label_at(handle, size, offset)
    except DataError as error:
        return Face(key, "", offset, fault="E_TRUNCATED", detail=error.message)
    if label is None:
        return Face(key, "", offset, fault="E_LABEL")
    return Face(key, f"{label:07d}" if label >= 0 else "", offset)


def parse_header(payload: bytes) -> tuple[list[float], bytes]:
    """Return (labels, the rest) of a record's payload.

    Raises:
        DataError: the header is cut short or claims more labels than there are bytes.

    """
    if len(payload) < _HEADER.size:
        raise DataError("the record has no header")
    flag, label, _, _ = _HEADER.unpack_from(payload)
    if flag == 0:
        return [label], payload[_HEADER.size :]
    end = _HEADER.size + 4 * flag
    if flag > _MAX_LABELS or end > len(payload):
        raise DataError(f"the record claims {flag} labels")
    return list(struct.unpack_from(f"<{flag}f", payload, _HEADER.size)), payload[end:]


def _image_range(handle: BinaryIO, size: int, places: list[tuple[int, int]]) -> tuple[int, int]:
    """Return [first, stop) of the image numbers: record 0 may be a header that says where the images end."""
    lookup = dict(places)
    if 0 not in lookup:
        return min(lookup), max(lookup) + 1
    try:
        payload = read_record(handle, lookup[0], size)
    except DataError:
        return 0, max(lookup) + 1
    flag = _HEADER.unpack_from(payload)[0] if len(payload) >= _HEADER.size else 0
    labels, rest = parse_header(payload) if flag == 2 and len(payload) >= _HEADER.size + 8 else ([], b"")
    if len(labels) == 2 and not rest and all(map(math.isfinite, labels)):
        return 1, int(labels[0])
    return 0, max(lookup) + 1


def _label_at(handle: BinaryIO, size: int, offset: int) -> int | None:
    """Return the identity number of a record, None where it is no number."""
    payload = read_record(handle, offset, size, limit=_HEADER.size + 4 * 16)
    flag, label, _, _ = _HEADER.unpack_from(payload) if len(payload) >= _HEADER.size else (0, math.nan, 0, 0)
    if flag and len(payload) >= _HEADER.size + 4:
        label = struct.unpack_from("<f", payload, _HEADER.size)[0]
    return int(label) if math.isfinite(label) and label == int(label) else None
