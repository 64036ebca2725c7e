"""One shard: an LMDB file of blocks, written once by one process, and its sidecar, which is the commit
record.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import xxhash

from lrfr.core.errors import DataError
from lrfr.core.files import (
    discard,
    publish,
    sha256_file,
    sha256_hex,
    temp_name,
    write_atomic,
    write_fault,
)
from lrfr.pairs.format.manifests import ShardEntry, Sidecar
from lrfr.pairs.format.records import Record, block_key, pack_block, store_seed

# address space, not disk; larger shards double it as they grow (see _put)
MAP_SIZE = 1 << 30
# a transaction keeps its dirty pages in memory: this bounds them, and pays one commit for many blocks
ROWS_PER_COMMIT = 512


@dataclass(frozen=True)
class ShardPlace:
    """Where a shard goes: ``folder/name.mdb`` and ``folder/name.json`` of the store ``store_id``, rows
    [start, stop).
    """

    folder: Path
    name: str
    store_id: str
    start: int
    stop: int
    block_rows: int

    @property
    def data(self) -> Path:
        """The LMDB file."""
        return self.folder / f"{self.name}.mdb"

    @property
    def sidecar(self) -> Path:
        """The commit record."""
        return self.folder / f"{self.name}.json"


def committed(place: ShardPlace) -> Sidecar | None:
    """Return the sidecar of a finished shard (sidecar whole, file there with the right size), else None."""
    try:
        sidecar = Sidecar.read(place.sidecar)
        size = place.data.stat().st_size
    except (DataError, OSError):
        return None
    rows = place.stop - place.start
    same = (sidecar.store, sidecar.start, sidecar.rows) == (place.store_id, place.start, rows)
    return sidecar if same and sidecar.bytes == size else None


def is_whole(folder: Path, shards: Sequence[ShardEntry]) -> bool:
    """Return whether every shard of a manifest is there with its sidecar and size (``verify`` looks at the
    bytes).
    """
    try:
        return all(
            (folder / f"{shard.shard}.mdb").stat().st_size == shard.bytes
            and (folder / f"{shard.shard}.json").exists()
            for shard in shards
        )
    except OSError:
        return False


def listed(places: Sequence[ShardPlace]) -> tuple[ShardEntry, ...]:
    """Return the entries of committed shards for a manifest.

    Raises:
        DataError: a sidecar is missing or damaged.

    """
    entries = []
    for place in places:
        found = Sidecar.read(place.sidecar)
        kept = (found.shard, found.start, found.rows, found.bytes, found.sha256, found.records)
        entries.append(ShardEntry(*kept, sidecar=sha256_hex(place.sidecar.read_bytes())))
    return tuple(entries)


def write_shard(
    place: ShardPlace, records: Iterable[Record], tmp: Path, scratch: Path | None = None
) -> Sidecar:
    """Write a shard and commit it; return its sidecar.

    Args:
        place: where it goes.
        records: exactly the rows [start, stop) in order.
        tmp: folder for temporary files on the store's file system.
        scratch: local folder to build the LMDB file in when the store is on a network file system.

    Raises:
        EnvironmentFault: the file cannot be written (disk full, permission, I/O error).

    """
    built = temp_name(scratch or tmp, place.name)
    moved = temp_name(tmp, place.name + "-moved") if scratch else built
    try:
        logical = _write_database(built, place, records)
        # a map of a file on a network file system is slow, and not safe everywhere: the finished file is
        # copied in one go
        if scratch:
            _copy_synced(built, moved)
        size, sha256 = moved.stat().st_size, sha256_file(moved)
        # data first: a file without sidecar is not there, a sidecar without its file would be a lie
        publish(moved, place.data)
        rows = place.stop - place.start
        sidecar = Sidecar(place.name, place.store_id, place.start, rows, size, sha256, logical)
        write_atomic(place.sidecar, sidecar.seal(), tmp)
        return sidecar
    except (OSError, lmdb.Error) as error:
        raise write_fault(error, place.data, 4096 * (place.stop - place.start)) from error
    finally:
        discard(built)
        discard(moved)


def _write_database(path: Path, place: ShardPlace, records: Iterable[Record]) -> str:
    """Write the LMDB file; every option is fixed, because each of them changes the bytes."""
    logical, seed = xxhash.xxh3_128(), store_seed(place.store_id)
    env = lmdb.open(
        str(path),
        map_size=MAP_SIZE,
        subdir=False,
        lock=False,
        # one sync at the end is enough: until the sidecar is there nobody reads this file
        sync=False,
        # unused parts of pages are zeroed: equal records give equal files
        meminit=True,
        writemap=False,
        lib_version=0,
        max_spare_txns=0,
    )
    row = place.start
    try:
        for batch in _batched(records, ROWS_PER_COMMIT):
            blocks = []
            for group in _batched(batch, place.block_rows):
                assert group[0].row == row, f"row {group[0].row} where {row} belongs"
                blocks.append((block_key(row // place.block_rows), pack_block(group, seed)))
                row += len(group)
            _put(env, blocks)
            for _, block in blocks:
                logical.update(block)
        assert row == place.stop, f"{row - place.start} rows where {place.stop - place.start} belong"
        env.sync(True)
    finally:
        env.close()
    return logical.hexdigest()


def _put(env: Any, blocks: Sequence[tuple[bytes, bytes]]) -> None:
    """Commit some blocks; a map that is full grows, always at the same block for the same records."""
    while True:
        try:
            with env.begin(write=True) as transaction:
                for key, block in blocks:
                    transaction.put(key, block, append=True)
            return
        except lmdb.MapFullError:
            env.set_mapsize(2 * env.info()["map_size"])


def _batched(items: Iterable[Record], size: int) -> Iterator[list[Record]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _copy_synced(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
