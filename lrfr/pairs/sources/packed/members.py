"""The members of an archive, tar (plain or compressed) or zip, found by content and read in place; nothing is
ever extracted under a name of the archive.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from lrfr.core.errors import DataError, EnvironmentFault, ImageFault
from lrfr.core.files import MAX_FILE_BYTES, open_regular, opened
from lrfr.pairs.sources.base import file_stamp
from lrfr.pairs.sources.packed.tar_headers import PlainInfo

ARCHIVE_SUFFIXES = (
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
    ".zip",
)
_NO_PARTS = frozenset({"", ".", ".."})
_CHUNK = 1 << 20
# what decompresses to more than this many times its size, above a gigabyte, was made to fill a disk
_MOST_RATIO = 200
_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    Attributes:
        name: with ``/`` between folders.
        start: where its bytes lie, or its number in a zip.
        size: in bytes.
        fault: reason code when it cannot be used.
        detail: more about the fault.
        folder: whether it is one.

    """

    name: str
    start: int = 0
    size: int = 0
    fault: str = ""
    detail: str = ""
    folder: bool = False


def archive_stem(name: str) -> str:
    """Return an archive's name without its suffix."""
    ending = max((end for end in ARCHIVE_SUFFIXES if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(ending)] if ending else name


def members(path: Path) -> Iterator[Member]:
    """Yield every member; what cannot be one of a data set has a fault.

    Raises:
        DataError: no archive.
        EnvironmentFault: compressed by zstandard, and that package is missing; no room to decompress.

    """
    kind = _kind(path)
    found = _zip_members(path) if kind == "zip" else _tar_members(path, kind)
    for member in found:
        if _is_plain(member.name):
            yield member
            continue
        name = PurePosixPath(member.name.replace("\\", "/"))
        parts = [part for part in name.parts if part != "."]
        leads_out = name.is_absolute() or ".." in parts or not parts or parts[0].endswith(":")
        plain = "/".join(parts) or member.name
        fault = ("E_NAME", "") if leads_out and not member.folder else (member.fault, member.detail)
        yield Member(
            member.name if leads_out else plain, member.start, member.size, *fault, folder=member.folder
        )


def _is_plain(name: str) -> bool:
    """Return whether a name is a relative path as it would be written anew."""
    parts = name.split("/")
    return _NO_PARTS.isdisjoint(parts) and "\\" not in name and not parts[0].endswith(":")


def read_member(path: Path, start: int, size: int) -> bytes:
    """Return the bytes of one member.

    Raises:
        ImageFault: E_READ, E_BOMB or E_TRUNCATED.

    """
    if size > MAX_FILE_BYTES:
        raise ImageFault("E_BOMB", f"{size} bytes", file=str(path))
    stamp = file_stamp(path)
    if stamp is None:
        raise ImageFault("E_READ", file=str(path))
    kind = _kind(path)
    try:
        if kind == "zip":
            archive = _opened_zip(path, stamp)
            data = archive.read(archive.infolist()[start])
        else:
            handle = _opened(path, stamp, kind)
            data = os.pread(handle.fileno(), size, start)
    except OSError as error:
        raise ImageFault("E_READ", error.strerror or "", file=str(path)) from None
    except DataError as error:
        raise ImageFault("E_READ", error.message, file=str(path)) from None
    except (IndexError, RuntimeError, NotImplementedError, ValueError) as error:
        raise ImageFault("E_READ", str(error), file=str(path)) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, lzma.LZMAError) as error:
        raise ImageFault("E_TRUNCATED", str(error), file=str(path)) from None
    if len(data) != size:
        raise ImageFault("E_TRUNCATED", file=str(path))
    return data


_KINDS = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)


@lru_cache(maxsize=4096)
def _kind_of(path: Path, stamp: tuple[int, ...]) -> str:
    with opened(path) as handle:
        head = handle.read(8)
    return next((kind for mark, kind in _KINDS if head.startswith(mark)), "tar")


def _kind(path: Path) -> str:
    stamp = file_stamp(path)
    if stamp is None or not path.is_file():
        raise DataError("cannot be read, or no file", file=str(path))
    try:
        return _kind_of(path, stamp)
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(path)) from None


def _tar_members(path: Path, kind: str) -> Iterator[Member]:
    handle = _opened(path, cast("tuple[int, ...]", file_stamp(path)), kind)
    size = os.fstat(handle.fileno()).st_size
    handle.seek(0)
    count = 0
    try:
        with tarfile.open(fileobj=handle, mode="r:", tarinfo=PlainInfo) as archive:
            while (info := archive.next()) is not None:
                cast("Any", archive).members.clear()  # tarfile remembers every one
                count += 1
                member = _tar_member(info, size)
                yield member
                if member.fault == "E_TRUNCATED":
                    return
            end = archive.offset
        behind = _behind_end(handle, end, size)
        if behind:
            yield Member(f"{path.name}, at its end", fault="E_TRUNCATED", detail=behind)
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
        if not count:
            raise DataError(f"not a tar archive{_inside(kind)}: {error}", file=str(path)) from None
        yield Member(f"{path.name}, behind member {count}", fault="E_TRUNCATED", detail=str(error))


def _inside(kind: str) -> str:
    return f" inside {kind}, and a compressed file of another kind must be unpacked first" * (kind != "tar")


def _behind_end(handle: IO[bytes], end: int, size: int) -> str:
    """Return what stands wrongly behind the end of a tar, "" where only zeros do."""
    if end < size < end + tarfile.BLOCKSIZE:
        return "it ends inside a header"
    while end < size and (data := os.pread(handle.fileno(), _CHUNK, end)):
        if data.strip(b"\0"):
            joined = b"ustar" in data[: 64 * tarfile.BLOCKSIZE]
            return (
                "another archive is joined behind its end" if joined else "other bytes stand behind its end"
            )
        end += len(data)
    return ""


def _tar_member(info: tarfile.TarInfo, size: int) -> Member:
    if info.isdir():
        return Member(info.name, folder=True)
    if not info.isreg() or info.issparse():
        what = (
            f"a link to {info.linkname}" if info.islnk() or info.issym() else "a device, pipe or sparse file"
        )
        return Member(info.name, fault="E_NOTFILE", detail=what)
    if info.offset_data + info.size > size:
        return Member(info.name, fault="E_TRUNCATED", detail=f"it claims {info.size} bytes")
    return Member(info.name, info.offset_data, info.size)


def _zip_members(path: Path) -> Iterator[Member]:
    archive = _opened_zip(path, cast("tuple[int, ...]", file_stamp(path)))
    for number, info in enumerate(archive.infolist()):
        mode = info.external_attr >> 16
        if info.filename.endswith("/"):
            yield Member(info.filename, folder=True)
        elif mode & 0o170000 not in {0, 0o100000}:
            yield Member(info.filename, fault="E_NOTFILE", detail="a link or device")
        elif info.flag_bits & 1:
            yield Member(info.filename, fault="E_READ", detail="encrypted")
        else:
            yield Member(info.filename, number, info.file_size)


@lru_cache(maxsize=16)
def _opened_zip(path: Path, stamp: tuple[int, ...]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(_binary(path))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RecursionError) as error:
        raise DataError(f"not a whole zip archive: {error}", file=str(path)) from None


def _opened(path: Path, stamp: tuple[int, ...], kind: str) -> IO[bytes]:
    return _plain(path, stamp) if kind == "tar" else _unpacked(path, stamp, kind)


@lru_cache(maxsize=64)
def _plain(path: Path, stamp: tuple[int, ...]) -> IO[bytes]:
    return _binary(path)


def _binary(path: Path) -> io.BufferedReader:
    return os.fdopen(open_regular(path), "rb")


@lru_cache(maxsize=2)
def _unpacked(path: Path, stamp: tuple[int, ...], kind: str) -> IO[bytes]:
    """Decompress a tar into a file without a name, once a process: its members are read in any order."""
    target = tempfile.TemporaryFile(prefix="lrfr-")
    room = shutil.disk_usage(tempfile.gettempdir()).free - (256 << 20)
    most = max(_FREE_BYTES, _MOST_RATIO * stamp[0])
    written = 0
    try:
        with _decompressor(path, kind) as source:
            while data := source.read1(_CHUNK):
                written += len(data)
                if written > room:
                    raise EnvironmentFault(
                        "no room to decompress the archive",
                        file=str(path),
                        hint="set TMPDIR, or decompress it",
                    )
                if written > most:
                    raise DataError(f"it decompresses to more than {most} bytes", file=str(path))
                target.write(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError):
        # what came out so far is read; the member that is cut tells
        if not written:
            raise DataError("cannot be decompressed", file=str(path)) from None
    target.flush()
    return target


def _decompressor(path: Path, kind: str) -> io.BufferedIOBase:
    openers: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    if kind in openers:
        return cast("io.BufferedIOBase", openers[kind](_binary(path), "rb"))
    try:
        import zstandard
    except ImportError:
        raise EnvironmentFault(
            "archives compressed by zstandard need the package 'zstandard'", file=str(path)
        ) from None
    stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(_binary(path))
    return io.BufferedReader(cast("Any", stream))
