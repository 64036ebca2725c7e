"""A store at an address as a folder: its small files are fetched when it is opened, all else when it is
used.

The folder lies in the cache and is laid out as any store, so that whatever reads stores reads it. A file's
path tells whether it is mirrored and from where, so a reader may be pickled, forked and spawned as ever;
carried to another machine, it opens a mirror there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.files import data_of, json_of, make_folder, sha256_file, temp_name, write_whole
from lrfr.core.lock import ORIGIN
from lrfr.pairs.format.remote.address import Address, checked_name, download, patiently, read_small
from lrfr.pairs.format.remote.shard_cache import FOLDER, NOBODY, CacheUser, ShardCache, hold, wrong_content
from lrfr.pairs.format.remote.store_index import (
    INDEX,
    MOST_INDEX_BYTES,
    SMALL,
    IndexEntry,
    StoreIndex,
    is_small,
    rank_of,
    small_files,
)

_MOST_SMALL_BYTES = 512 << 20
_THREADS = 8


@dataclass(frozen=True)
class Mirror:
    """The mirror of a store.

    Attributes:
        root: its folder.
        address: of the store.
        cache: in which it lies.

    """

    root: Path
    address: Address
    cache: ShardCache

    @classmethod
    def of(cls, path: Path) -> Mirror | None:
        """Return the mirror that a folder or file lies in, None for any other path."""
        parts = path.parts
        if FOLDER not in parts:
            return None
        place = len(parts) - 1 - parts[::-1].index(FOLDER)
        root = Path(*parts[: place + 2])
        try:
            said = json_of(root / ORIGIN)
            return cls(root, Address(said["url"]), ShardCache(root.parent.parent, int(said["most_bytes"])))
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def name(self, path: Path) -> str:
        """Return the name of a file in the store."""
        return path.relative_to(self.root).as_posix()

    def fetched(self, path: Path, size: int | None, sha256: str, user: CacheUser = NOBODY) -> int:
        """Return a descriptor that keeps a file in the cache until it is closed; fetches it where it is not
        there.

        Raises:
            DataError: what came is not what was written, twice.
            EnvironmentFault: it cannot be reached, or there is no room.

        """

        def write(scratch: Path) -> None:
            self.download(path, size, sha256, scratch)

        for _ in range(5):
            found = hold(path, size)
            if found is not None:
                return found
            self.cache.fetch(path, size, write, user)
        raise EnvironmentFault("removed as fast as it is fetched", file=str(path), hint="raise --cache-size")

    def download(self, path: Path, size: int | None, sha256: str, scratch: Path) -> None:
        """Write a file of the store to a temporary path and check it; wrong bytes are fetched once more.

        Raises:
            DataError: what came is not what was written, twice.

        """
        name = self.name(path)
        for _ in range(2):
            if download(self.address, name, scratch, size) == sha256:
                return
        raise wrong_content(self.address.of(name))


class MirrorPath(type(Path())):  # type: ignore[misc]  # what Path() gives depends on the system
    """A path in a mirror. Pickled, it carries the address: on a machine without this mirror it becomes the
    same file of a mirror of its own.
    """

    def __reduce__(self) -> tuple[object, ...]:
        mirror = Mirror.of(self)
        if mirror is None:
            return super().__reduce__()  # type: ignore[no-any-return]
        return _path_here, (str(mirror.root), mirror.address.url, mirror.name(self))


def as_mirrored(path: Path) -> Path:
    """Return a path that finds its way back wherever it is carried to; one in no mirror as it is."""
    return MirrorPath(path) if FOLDER in path.parts else path


def _path_here(root: str, url: str, name: str) -> Path:
    return MirrorPath(_root_here(root, url), name)


@lru_cache(maxsize=32)
def _root_here(root: str, url: str) -> Path:
    """Return the mirror that a path was carried from, on another machine one of its own."""
    return Path(root) if (Path(root) / ORIGIN).exists() else open_address(url)


def keep(path: Path, size: int | None, sha256: str, user: CacheUser = NOBODY) -> int | None:
    """Have a mirrored file fetched; return the descriptor that holds it, None for files of other stores.

    Raises:
        DataError, EnvironmentFault: see :meth:`Mirror.fetched`.

    """
    mirror = Mirror.of(path)
    return mirror.fetched(path, size, sha256, user) if mirror else None


def ensure(path: Path, sha256: str) -> None:
    """Have a mirrored table fetched that is never removed; one that was damaged on this disk since is fetched
    anew. Files of other stores are left alone.

    Raises:
        DataError, EnvironmentFault: see :meth:`Mirror.fetched`.

    """
    mirror = Mirror.of(path)
    if mirror is None:
        return
    if path.exists() and sha256_file(path) != sha256:
        path.unlink(missing_ok=True)
    os.close(mirror.fetched(path, None, sha256))


def open_address(url: str, cache: ShardCache | None = None) -> Path:
    """Return the mirror of a store, its small files as they are at the address now; where the address cannot
    be reached, as they were when it was last opened (with a warning).

    Raises:
        SpecError: no address, or no store there.
        DataError: its index is damaged.
        EnvironmentFault: it cannot be reached and was never opened here, or a package is missing.

    """
    address, cache = Address(url), cache or ShardCache.here()
    named = re.sub(r"[^A-Za-z0-9]+", "-", address.url)[-40:].strip("-")
    number = hashlib.sha256(address.url.encode()).hexdigest()[:16]
    root = cache.root / FOLDER / f"{named}-{number}"
    mirror = Mirror(root, address, cache)
    try:
        wanted = list(_listed(address, cache.root / "tmp"))
    except EnvironmentFault as error:
        if not (root / "views").is_dir():
            raise
        warnings.warn(f"{error.message}; reading {address.url} as it was last opened here", stacklevel=2)
        wanted = []
    else:
        try:
            _update(mirror, wanted)
        except DataError:
            now = list(_listed(address, cache.root / "tmp"))
            if now == wanted:
                raise
            _update(mirror, now)  # somebody has written there since it was listed
    write_whole(root / ORIGIN, json.dumps({"url": address.url, "most_bytes": cache.most_bytes}).encode())
    return root


def _listed(address: Address, tmp: Path) -> Iterator[IndexEntry]:
    """Yield the small files of a store: by its index, else by listing it; then with an empty sha256.

    Raises:
        SpecError: there is no store.

    """
    try:
        data = read_small(address, INDEX, MOST_INDEX_BYTES, tries=2)
    except FileNotFoundError:
        found = [] if address.kind in ("http", "https") else _find(address)
        if not found:
            hint = "lrfr store copy writes one; lrfr store index makes a folder fit for a web server"
            raise SpecError("there is no store here", file=address.url, hint=hint) from None
        yield from (IndexEntry(name, size, "") for name, size in found)
        return
    scratch = temp_name(tmp, INDEX)
    write_whole(scratch, data)
    try:
        yield from StoreIndex.read(scratch).files
    except DataError as error:
        hint = "lrfr store index, or copy again"
        raise DataError(error.message, file=address.of(INDEX), hint=hint) from None
    finally:
        scratch.unlink(missing_ok=True)


def _find(address: Address) -> list[tuple[str, int]]:
    files = address.files()
    inner = files._strip_protocol(address.url).rstrip("/")
    found = []
    for pattern in SMALL:
        listing = patiently(address.url, partial(files.glob, f"{inner}/{pattern}", detail=True), tries=2)
        names = ((str(name)[len(inner) + 1 :], info) for name, info in listing.items())
        found += [(name, int(info["size"] or 0)) for name, info in names if is_small(name)]
    return found


def listed_anew(address: Address) -> StoreIndex:
    """Return the index of all that an address holds now; every small file is read for it."""

    def entry(found: tuple[str, int]) -> IndexEntry:
        data = read_small(address, found[0], _MOST_SMALL_BYTES)
        return IndexEntry(found[0], len(data), hashlib.sha256(data).hexdigest())

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="lrfr-fetch") as pool:
        return StoreIndex(tuple(pool.map(entry, sorted(_find(address)))))


def _update(mirror: Mirror, wanted: list[IndexEntry]) -> None:
    """Bring the small files to what the address has; what was left there leaves this disk too."""
    keep_names = {entry.path for entry in wanted}
    gone = [path for path in small_files(mirror.root) if mirror.name(path) not in keep_names]
    for path in sorted(gone, key=lambda path: rank_of(mirror.name(path)), reverse=True):
        _drop(path)
    stale = [entry for entry in wanted if not _is_there(mirror.root / entry.path, entry)]
    # fetched in threads, written here one after another
    stale.sort(key=lambda entry: rank_of(entry.path))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="lrfr-fetch") as pool:
        for entry, data in zip(stale, pool.map(lambda item: _read(mirror, item), stale), strict=True):
            path = mirror.root / entry.path
            if path.name == "manifest.json" and not _holds(path, data):
                _drop(path)
            write_whole(path, data)
    make_folder(mirror.root / "views")


def _holds(path: Path, data: bytes) -> bool:
    try:
        return data_of(path, most=len(data)) == data
    except OSError:
        return False


def _is_there(path: Path, entry: IndexEntry) -> bool:
    return bool(entry.sha256) and path.exists() and sha256_file(path) == entry.sha256


def _read(mirror: Mirror, entry: IndexEntry) -> bytes:
    most = min(entry.bytes, _MOST_SMALL_BYTES)
    for _ in range(2):
        try:
            data = read_small(mirror.address, checked_name(entry.path), most)
        except FileNotFoundError:
            raise DataError("the file is not there", file=mirror.address.of(entry.path)) from None
        if entry.sha256 in ("", hashlib.sha256(data).hexdigest()):
            return data
    raise wrong_content(mirror.address.of(entry.path))


def _drop(path: Path) -> None:
    """Remove a small file; with a manifest everything that it stood for."""
    path.unlink(missing_ok=True)
    if path.name == "manifest.json":
        shutil.rmtree(path.parent, ignore_errors=True)
