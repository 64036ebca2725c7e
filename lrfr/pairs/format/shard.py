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
    read_sealed,
    seal,
    sha256_file,
    temp_name,
    write_atomic,
    write_fault,
)
from lrfr.pairs.format.records import Record, block_key, pack_block, store_seed

FORMAT = "LRS1"
LAYOUT = 2
MAP_SIZE = 1 << 30
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


def committed(place: ShardPlace) -> dict[str, Any] | None:
    """Return the sidecar of a finished shard (sidecar whole, file there with the right size), else None."""
    try:
        sidecar = read_sealed(place.sidecar)
        size = place.data.stat().st_size
    except (DataError, OSError):
        return None
    same = (sidecar.get("store"), sidecar.get("start"), sidecar.get("rows")) == (
        place.store_id,
        place.start,
        place.stop - place.start,
    )
    return sidecar if same and sidecar.get("bytes") == size else None


def is_whole(manifest: dict[str, Any], places: Sequence[ShardPlace]) -> bool:
    """Return whether every shard of a manifest is there with its sidecar and size (``verify`` looks at the
    bytes).
    """
    try:
        sizes = [place.data.stat().st_size for place in places if place.sidecar.exists()]
    except OSError:
        return False
    return sizes == [shard["bytes"] for shard in manifest["shards"]]


def write_shard(
    place: ShardPlace, records: Iterable[Record], tmp: Path, scratch: Path | None = None
) -> dict[str, Any]:
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
        if scratch:
            _copy_synced(built, moved)
        size, sha256 = moved.stat().st_size, sha256_file(moved)
        publish(moved, place.data)
        sidecar = {
            "format": FORMAT,
            "shard": place.name,
            "store": place.store_id,
            "start": place.start,
            "rows": place.stop - place.start,
            "bytes": size,
            "sha256": sha256,
            "records": logical,
        }
        write_atomic(place.sidecar, seal(sidecar), tmp)
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
        sync=False,
        meminit=True,
        writemap=False,
        lib_version=0,
        max_spare_txns=0,
    )
    row = place.start
    try:
        for batch in _batched(records, ROWS_PER_COMMIT):
            with env.begin(write=True) as transaction:
                for group in _batched(batch, place.block_rows):
                    assert group[0].row == row, f"row {group[0].row} where {row} belongs"
                    block = pack_block(group, seed)
                    logical.update(block)
                    transaction.put(block_key(row // place.block_rows), block, append=True)
                    row += len(group)
        assert row == place.stop, f"{row - place.start} rows where {place.stop - place.start} belong"
        env.sync(True)
    finally:
        env.close()
    return logical.hexdigest()


def _batched(items: Iterable[Record], size: int) -> Iterator[list[Record]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _copy_synced(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
