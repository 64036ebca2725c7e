"""Where a copy of a view goes: a folder, or an address that can be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lrfr.core.errors import DataError, EnvironmentFault, SpecError, as_path
from lrfr.core.files import (
    check_space,
    data_of,
    discard,
    make_folder,
    publish,
    sha256_file,
    sweep,
    temp_name,
    write_atomic,
    write_fault,
)
from lrfr.core.lock import ORIGIN, store_lock
from lrfr.pairs.format.remote.address import Address, checked_name, is_address, patiently
from lrfr.pairs.format.remote.mirror import Mirror, listed_anew
from lrfr.pairs.format.remote.shard_cache import ShardCache
from lrfr.pairs.format.remote.store_index import INDEX, index_without, write_index
from lrfr.pairs.reading.view_files import Needed


@dataclass(frozen=True)
class CopySource:
    """A store in a folder, or the mirror of one."""

    root: Path

    def stage(self, item: Needed, scratch: Path, link: bool = False) -> Path:
        """Return the path of a file whose bytes are as they should be: a temporary copy.

        Raises:
            DataError: the source is damaged.

        """
        path, mirror = self.root / item.path, Mirror.of(self.root)
        if mirror and not path.exists():
            mirror.download(path, item.bytes, item.sha256, scratch)
            return scratch
        try:
            if not (link and _linked(path, scratch)):
                shutil.copyfile(path, scratch)
            if sha256_file(scratch) == item.sha256:
                return scratch
        except FileNotFoundError:
            raise DataError("the file is not there", file=str(path), hint="lrfr store repair") from None
        discard(scratch)
        hint = "lrfr store verify, lrfr store repair; copy again where it was written anew meanwhile"
        raise DataError("damaged: not copied", file=str(path), hint=hint)


def _linked(path: Path, scratch: Path) -> bool:
    try:
        os.link(path, scratch)
        return True
    except OSError:
        return False  # another device, or a file system without links


class CopyPlace(Protocol):
    """A place that a copy can be written to."""

    def __str__(self) -> str:
        """Return its name for messages."""

    def opened(self, needed: int) -> AbstractContextManager[None]:
        """Return a context in which it may be written."""

    def read(self, path: str) -> bytes | None:
        """Return a small file, None where there is none."""

    def has(self, items: Sequence[Needed]) -> set[str]:
        """Return the paths of the files that are there already, whole."""

    def put(self, source: CopySource, item: Needed, link: bool) -> None:
        """Write a file, checked; it is whole or absent."""

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""

    def unlist(self, written: Mapping[str, str]) -> None:
        """Take files that are about to be written with this sha256, or removed (""), out of the index where
        it tells another: a reader refuses all of a place whose index is wrong.
        """

    def seal(self) -> None:
        """Write the index."""


@dataclass(frozen=True)
class FolderPlace:
    """A folder of this machine."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    @contextmanager
    def opened(self, needed: int) -> Iterator[None]:
        """Hold the store's lock.

        Raises:
            LockedError: another process writes there.
            EnvironmentFault: there is no room.

        """
        make_folder(self.root / "tmp")
        with store_lock(self.root):
            sweep(self.root / "tmp")
            check_space(self.root, needed)
            yield

    def read(self, path: str) -> bytes | None:
        """Return a small file, None where there is none."""
        try:
            return data_of(self.root / path)
        except OSError:
            return None

    def has(self, items: Sequence[Needed]) -> set[str]:
        """Return the paths of the files that are there already, every byte compared."""
        return {item.path for item in items if self._same(item)}

    def _same(self, item: Needed) -> bool:
        path = self.root / item.path
        try:
            size = path.stat().st_size
            return item.bytes in (None, size) and sha256_file(path) == item.sha256
        except OSError:
            return False

    def put(self, source: CopySource, item: Needed, link: bool) -> None:
        """Write a file under a temporary name, check it, sync it and rename it.

        Raises:
            EnvironmentFault: it cannot be written.

        """
        target = self.root / checked_name(item.path)
        make_folder(target.parent)
        scratch = temp_name(self.root / "tmp", target.name)
        try:
            source.stage(item, scratch, link)
            with scratch.open("rb") as handle:
                os.fsync(handle.fileno())
            publish(scratch, target)
        except OSError as error:
            raise write_fault(error, target, item.bytes or 0) from error
        finally:
            discard(scratch)

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        (self.root / path).unlink(missing_ok=True)

    def unlist(self, written: Mapping[str, str]) -> None:
        """Take files that change out of the index."""
        index = index_without(self.read(INDEX) or b"", written)
        if index is not None:
            write_atomic(self.root / INDEX, index, self.root / "tmp")

    def seal(self) -> None:
        """Write the index, so that the folder can be served."""
        write_index(self.root)


@dataclass(frozen=True)
class AddressPlace:
    """An object store. An object appears when all of it has come, so nothing is half there."""

    address: Address
    scratch: Path

    def __str__(self) -> str:
        return self.address.url

    @contextmanager
    def opened(self, needed: int) -> Iterator[None]:
        """Make the folder for what is on its way."""
        make_folder(self.scratch)
        sweep(self.scratch)
        yield

    def read(self, path: str) -> bytes | None:
        """Return a small file, None where there is none."""
        url = self.address.of(path)
        try:
            return bytes(patiently(url, lambda: self.address.files().cat_file(url)))
        except FileNotFoundError:
            return None

    def has(self, items: Sequence[Needed]) -> set[str]:
        """Return the paths of the files that are there with their size; ``verify`` of the address reads
        them.
        """
        folders = dict.fromkeys(item.path.rpartition("/")[0] for item in items)
        sizes: dict[str, int] = {}
        for folder in folders:
            sizes |= self._sizes(folder)
        return {item.path for item in items if item.path in sizes and item.bytes in (None, sizes[item.path])}

    def _sizes(self, folder: str) -> dict[str, int]:
        url = self.address.of(folder)
        try:
            found = patiently(url, lambda: self.address.files().ls(url, detail=True))
        except FileNotFoundError:
            return {}
        return {f"{folder}/{str(item['name']).rpartition('/')[2]}": int(item["size"] or 0) for item in found}

    def put(self, source: CopySource, item: Needed, link: bool) -> None:
        """Upload a file that was checked.

        Raises:
            EnvironmentFault: the address cannot be written.

        """
        scratch = temp_name(self.scratch, item.path.rpartition("/")[2])
        try:
            self._upload(source.stage(item, scratch, link=True), item.path)
        finally:
            discard(scratch)

    def _upload(self, staged: Path, path: str) -> None:
        url = self.address.of(path)
        try:
            patiently(url, lambda: self.address.files().put_file(str(staged), url))
        except FileNotFoundError:
            raise EnvironmentFault("there is no such bucket or folder", file=self.address.url) from None

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        url = self.address.of(path)
        try:
            patiently(url, lambda: self.address.files().rm_file(url))
        except FileNotFoundError:
            return

    def unlist(self, written: Mapping[str, str]) -> None:
        """Take files that change out of the index."""
        index = index_without(self.read(INDEX) or b"", written)
        if index is not None:
            self._write_index(index)

    def seal(self) -> None:
        """Write the index anew, of all that the address holds."""
        self._write_index(listed_anew(self.address).seal())

    def _write_index(self, data: bytes) -> None:
        staged = temp_name(self.scratch, INDEX)
        try:
            staged.write_bytes(data)
            self._upload(staged, INDEX)
        finally:
            discard(staged)


def place_of(place: Path | str) -> CopyPlace:
    """Return the place that a path or an address names; ``file://`` is a folder.

    Raises:
        SpecError: it can only be read.

    """
    if not (isinstance(place, str) and is_address(place)):
        return _folder(as_path(place, "a store"))
    address = Address(place)
    if address.kind == "file":
        return _folder(Path(place.removeprefix("file://")))
    if address.kind in ("http", "https"):
        raise SpecError("a web server is only read", file=address.url, hint="copy to a folder that it serves")
    return AddressPlace(address, ShardCache.here().root / "upload")


def _folder(root: Path) -> FolderPlace:
    if (root / ORIGIN).exists():
        raise SpecError("a cache is no place for a copy", file=str(root))
    return FolderPlace(root)
