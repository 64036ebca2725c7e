"""What listing a packed source told, and a first look at some faces, kept under the stamps of their files.

The same command again need not read an archive's headers. The cache may only save time: what is damaged or
foreign in it is passed over, and what cannot have been stamped surely is not kept.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lrfr.core.errors import EnvironmentFault
from lrfr.core.files import canonical, data_of, digest_of, json_of, make_folder, sha256_file, write_whole
from lrfr.pairs.build.look.scan_cache import is_settled
from lrfr.pairs.sources.base import Face, Listing, Other, Source, file_stamp
from lrfr.pairs.sources.listing.face_blob import NotKept, pack_faces, unpack_faces

MAGIC = b"LRLIST1\n"
_HEAD = struct.Struct("<32sQ")
_ROOM = Path(__file__).resolve().parents[3]
# whose change may change a listing or what a first look says
_CODE = (
    "pairs/sources",
    "pairs/build/look",
    "pairs/align/unaligned.py",
    "pairs/align/mean_face.npz",
    "core/lists",
    "core/image",
)
_MOST_LOOKS = 64
_MOST_BYTES = 1 << 32
_PASSING = frozenset({"E_READ", "E_FORMAT", "E_TRUNCATED", "E_CHANGED"})


@cache
def _code_digest() -> str:
    found = [path for name in _CODE for path in (_ROOM / name, *(_ROOM / name).rglob("*.py"))]
    digests = {str(path): sha256_file(path) for path in found if path.is_file()}
    return digest_of([digests, list(sys.version_info)])


def _class_digest(source: Source) -> str:
    """Return what names the code of a source, also of one from another package."""
    return sha256_file(Path(inspect.getfile(type(source))))


class ListingCache:
    """What is kept of one source in a folder.

    Args:
        folder: of caches, which need not be there.
        source: the source.

    Attributes:
        notes: what to tell about the files, none when they are sound.

    """

    def __init__(self, folder: Path, source: Source) -> None:
        place = os.path.abspath(getattr(source, "path", getattr(source, "root", "")))
        name = digest_of([place, source.describe()])[:16]
        self._listed, self._looked = folder / f"listing-{name}.bin", folder / f"looks-{name}.json"
        self._source = source
        self._new: tuple[str, Listing] | None = None
        self._looks: dict[str, Any] | None = None
        self._new_looks: dict[str, Any] = {}
        self.notes: list[str] = []

    def listing(self) -> Listing:
        """Return what the source lists: as it was kept, where nothing has changed."""
        before = _origin(self._source)
        if not before:
            return self._source.listing()
        found = self._kept(before.digest)
        if found is None:
            found = self._source.listing()
            same = before == _origin(self._source, before.now_ns)
            if before.settled and same and not _may_pass(found):
                self._new = (before.digest, found)
        return found

    def look(self, name: str, faces: Sequence[Face], at: Callable[[], Any]) -> Any:
        """Return what a look at some faces told, plain data; ``at`` looks, where their stamps are others."""
        now_ns, stamps = time.time_ns(), self._source.stamps([face.place for face in faces])
        if not all(stamp and is_settled(stamp, now_ns) for stamp in stamps):
            return at()
        seen = [[face.key, *map(str, stamp or ())] for face, stamp in zip(faces, stamps, strict=True)]
        key = digest_of([name, _code_digest(), seen])[:32]
        if self._looks is None:
            self._looks = self._read_looks()
        if key not in self._looks:
            self._looks[key] = self._new_looks[key] = at()
        return self._looks[key]

    def save(self) -> None:
        """Write what is new; a full or closed disk is told by whoever needs the space."""
        try:
            if self._new:
                make_folder(self._listed.parent)
                write_whole(self._listed, _packed(*self._new))
            if self._new_looks:
                last = list((self._looks or {}).items())[-_MOST_LOOKS:]
                make_folder(self._looked.parent)
                write_whole(self._looked, canonical({"looks": last, "digest": digest_of(last)}))
        except (EnvironmentFault, NotKept):
            return
        self._new, self._new_looks = None, {}

    def _kept(self, origin: str) -> Listing | None:
        try:
            data = data_of(self._listed, most=_MOST_BYTES)
        except OSError:
            return None
        try:
            return _unpacked(memoryview(data), origin)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error, RecursionError):
            self.notes.append(f"the cache {self._listed.name} is damaged: the source is listed again")
            return None

    def _read_looks(self) -> dict[str, Any]:
        try:
            value = json_of(self._looked)
            if value["digest"] == digest_of(value["looks"]):
                return dict(value["looks"])
        except OSError:
            return {}
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        self.notes.append(f"the cache {self._looked.name} is damaged: some faces are looked at again")
        return {}


def _may_pass(listing: Listing) -> bool:
    """Return whether something could not be read, which may be a passing fault of a disk."""
    codes = {code for code, _ in listing.faces.faults.values()} | {other.why for other in listing.others}
    return not codes.isdisjoint(_PASSING)


@dataclass(frozen=True)
class _Origin:
    """The digest of a source's files with their stamps, and whether a change must change them."""

    digest: str
    settled: bool
    now_ns: int


def _origin(source: Source, now_ns: int | None = None) -> _Origin | None:
    now_ns = time.time_ns() if now_ns is None else now_ns
    files = source.origins()
    if files is None:
        return None
    stamps = [file_stamp(path) for path in files]
    told = [[os.fspath(path), list(map(str, stamp or ()))] for path, stamp in zip(files, stamps, strict=True)]
    try:
        code = [_code_digest(), _class_digest(source)]
    except (OSError, TypeError):
        return None
    settled = all(stamp is None or is_settled(stamp, now_ns) for stamp in stamps)
    return _Origin(digest_of([told, source.describe(), code]), settled, now_ns)


def _packed(origin: str, listing: Listing) -> bytes:
    faces, blobs = pack_faces(listing.faces)
    header = {
        "origin": origin,
        "unit": listing.unit,
        "seen": listing.seen,
        "used": listing.used,
        "others": [[other.unit, other.name, other.why, other.detail] for other in listing.others],
        "notes": listing.notes,
        "left_out": listing.left_out,
        "faces": faces,
        "bytes": list(map(len, blobs)),
    }
    told = json.dumps(header).encode()
    body = b"".join((told, *blobs))
    digest = hashlib.blake2b(body, digest_size=32).digest()
    return MAGIC + _HEAD.pack(digest, len(told)) + body


def _unpacked(data: memoryview, origin: str) -> Listing | None:
    """Return a listing, None where it is of other files; raises a ValueError or the like where damaged."""
    digest, length = _HEAD.unpack_from(data, len(MAGIC))
    start = len(MAGIC) + _HEAD.size
    body = data[start:]
    if data[: len(MAGIC)] != MAGIC or hashlib.blake2b(body, digest_size=32).digest() != digest:
        raise ValueError("another digest")
    header = json.loads(bytes(body[:length]))
    if header["origin"] != origin:
        return None
    blobs, place = [], length
    for size in header["bytes"]:
        blobs.append(body[place : place + size])
        place += size
    return Listing(
        unpack_faces(header["faces"], blobs),
        header["unit"],
        header["seen"],
        header["used"],
        tuple(Other(*other) for other in header["others"]),
        tuple(header["notes"]),
        header["left_out"],
    )
