"""Files that are whole or absent: canonical JSON sealed with its own hash, atomic writes, hashes of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lrfr.core.errors import DataError, EnvironmentFault, ImageFault
from lrfr.core.files.leftovers import discard, sweep_beside, temp_name
from lrfr.core.files.reading import data_of, opened, parsed

MAX_FILE_BYTES = 256 * 1024 * 1024  # no face needs more; a forged size may not take the memory
_AGAIN = "make room and type the same command again: what is written is kept"
_CHUNK = 1 << 20


def canonical(value: Any) -> bytes:
    """Return the one JSON spelling of a value: sorted keys, no white space, ASCII, a final newline."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def sha256_hex(data: bytes) -> str:
    """Return the sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON."""
    return sha256_hex(canonical(value))


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with opened(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a regular file without ever blocking on a FIFO or device.

    Raises:
        ImageFault: E_NOTFILE, E_READ, E_BOMB, E_EMPTY or E_CHANGED.

    """
    return read_file(path)[0]


def read_file(path: str | Path) -> tuple[bytes, os.stat_result]:
    """Return, or raise, what :func:`read_bytes` does; and what the file was before a byte was read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # no file may be called so: too long, a NUL, a lone surrogate
        # opening a socket fails with ENXIO before its type can be asked of the descriptor
        code = "E_NOTFILE" if os.path.exists(path) and not os.path.isfile(path) else "E_READ"
        raise ImageFault(code, getattr(error, "strerror", None) or str(error), file=str(path)) from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise ImageFault("E_NOTFILE", file=str(path))
        if before.st_size > MAX_FILE_BYTES:
            raise ImageFault("E_BOMB", f"{before.st_size} bytes", file=str(path))
        data = _read_up_to(descriptor, before.st_size + 1)
        after = os.fstat(descriptor)
    except OSError as error:
        raise ImageFault("E_READ", error.strerror or "", file=str(path)) from None
    finally:
        os.close(descriptor)
    sizes = {before.st_size, after.st_size, len(data)}
    if len(sizes) > 1 or before.st_mtime_ns != after.st_mtime_ns:
        raise ImageFault("E_CHANGED", file=str(path))
    if not data:
        raise ImageFault("E_EMPTY", file=str(path))
    return data, before


def _read_up_to(descriptor: int, size: int) -> bytes:
    """Read until the end of a file, or ``size`` bytes; a network file system may give less at a time."""
    data = os.read(descriptor, size)
    while 0 < len(data) < size - 1 and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def seal(value: dict[str, Any]) -> bytes:
    """Return canonical JSON with ``digest`` = sha256 of the rest, so that no byte of it can change unseen."""
    body = {name: item for name, item in value.items() if name != "digest"}
    return canonical({**body, "digest": digest_of(body)})


CHANGED = "it was changed after it was written: bring it back as it was, or make it again"


def unseal(data: bytes, file: str, hint: str = CHANGED) -> dict[str, Any]:
    """Return the value of :func:`seal`; ``hint`` says what helps where it is damaged.

    Raises:
        DataError: a byte differs from what was written.

    """
    try:
        value = parsed(data)
        whole = isinstance(value, dict) and seal(value) == data
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise DataError("damaged: it does not match its own digest", file=file, hint=hint)
    assert isinstance(value, dict)
    return value


def read_sealed(path: Path, hint: str = CHANGED) -> dict[str, Any]:
    """Read a sealed JSON file; ``hint`` says what helps where it is damaged.

    Raises:
        DataError: the file is missing, unreadable or damaged.

    """
    try:
        return unseal(data_of(path), str(path), hint)
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(path)) from None


def write_atomic(path: Path, data: bytes, tmp: Path) -> None:
    """Write ``data`` under a temporary name in ``tmp`` (same file system), sync it and rename it into
    place.
    """
    _refuse_devices(path)
    scratch = temp_name(tmp, path.name)
    try:
        with scratch.open("xb") as handle:  # new, so no link stands in its place
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        publish(scratch, path)
    except OSError as error:
        discard(scratch)
        raise write_fault(error, path, len(data)) from error


def write_if_other(path: Path, data: bytes, tmp: Path) -> None:
    """Write ``data`` like :func:`write_atomic` unless the file holds it already."""
    with suppress(OSError):  # missing or unreadable: written anew
        if data_of(path, most=len(data), linked=False) == data:
            return
    write_atomic(path, data, tmp)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it and rename it, in folders made as needed; it is not
    synced, as fits what the same command makes again.
    """
    _refuse_devices(path)
    make_folder(path.parent)
    sweep_beside(path.parent)
    scratch = temp_name(path.parent, path.name)
    try:
        with scratch.open("xb") as handle:
            handle.write(data)
        os.replace(scratch, path)
    except OSError as error:
        discard(scratch)
        raise write_fault(error, path, len(data)) from error


def _refuse_devices(path: Path) -> None:
    """Refuse to put a file in the place of a device, FIFO or socket: a rename would remove it."""
    with suppress(OSError, ValueError):  # nothing is there yet, or whoever writes says why it cannot
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise EnvironmentFault("not a regular file", file=str(path), hint="name another --out")


def publish(scratch: Path, path: Path) -> None:
    """Rename a closed, synced file to its final name and sync the folder."""
    os.replace(scratch, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably."""
    try:
        for folder in reversed([path, *path.parents]):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                # else a file in it may reach the disk, and the folder not
                sync_folder(folder.parent)
    except OSError as error:
        raise write_fault(error, path, 0) from error


def differences(left: object, right: object, place: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield (place, left, right) for every leaf in which two JSON values differ; lists of another length are
    one leaf.
    """
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            yield from differences(left.get(key), right.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{place}[{index}]")
    elif left != right:
        yield place, left, right


def check_space(folder: Path, needed: int) -> None:
    """Refuse to start what cannot fit.

    Raises:
        EnvironmentFault: less than ``needed`` bytes are free.

    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        said = f"not enough disk space: {needed:,} bytes needed, {free:,} free"
        raise EnvironmentFault(said, file=str(folder), hint=_AGAIN)


def write_fault(error: BaseException, path: Path, needed: int) -> EnvironmentFault:
    """Return the fault that names what stopped a write: disk full (with the bytes needed), another error."""
    code = getattr(error, "errno", None)
    free = _free_bytes(path)
    if code == errno.ENOSPC or (code is None and free is not None and free < max(needed, 1 << 20)):
        full = f"disk full: at least {needed:,} bytes needed, {free or 0:,} free"
        return EnvironmentFault(full, file=str(path), hint=_AGAIN)
    reason = getattr(error, "strerror", None) or str(error)
    # a quota, the largest file that is allowed here, or LMDB's own word on a full disk
    if code in (errno.EDQUOT, errno.EFBIG) or os.strerror(errno.ENOSPC) in reason:
        return EnvironmentFault(f"cannot write {needed:,} bytes: {reason}", file=str(path), hint=_AGAIN)
    elsewhere = "name a folder that you may write to, by --out, --store or --runs"
    return EnvironmentFault(f"cannot write: {reason}", file=str(path), hint=elsewhere)


def _free_bytes(path: Path) -> int | None:
    for folder in (path, *path.parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return None
