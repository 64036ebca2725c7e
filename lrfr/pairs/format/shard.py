"""One shard: an LMDB file of blocks, written once by one process, and its sidecar, which is the commit
record.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import xxhash

from lrfr.core.errors import DataError
from lrfr.core.files import (
    data_of,
    discard,
    opened,
    sha256_file,
    sha256_hex,
    temp_name,
    write_atomic,
    write_fault,
)
from lrfr.pairs.format.manifests import ShardEntry, Sidecar
from lrfr.pairs.format.records import SAME_AS_HR, Record, block_key, pack_block, store_seed

# address space, not disk; larger shards double it as they grow (see _put)
MAP_SIZE = 1 << 30
# a transaction keeps its dirty pages in memory: these bound them, and pay one commit for many blocks
ROWS_PER_COMMIT = 512
BYTES_PER_COMMIT = 32 << 20


@dataclass(frozen=True)
class ShardPlace:
    """Where a shard goes: ``folder/name.mdb`` and ``folder/name.json`` of the store ``store_id``, rows
    [start, stop), which are others of the folder's manifest where it begins with its row ``first``.
    """

    folder: Path
    name: str
    store_id: str
    start: int
    stop: int
    block_rows: int
    first: int | None = None

    @property
    def rows(self) -> range:
        """The rows of the folder's manifest that lie here."""
        first = self.start if self.first is None else self.first
        return range(first, first + self.stop - self.start)

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
        entries.append(ShardEntry(*kept, sidecar=sha256_hex(data_of(place.sidecar))))
    return tuple(entries)


class ShardWriter:
    """Writes one shard, given its records in order; leaves nothing behind unless it is committed.

    Several may be open at once. Each holds up to 32 MiB of pages in memory.

    Args:
        place: where it goes.
        tmp: folder for temporary files on the store's file system.
        scratch: local folder to build the LMDB file in when the store is on a network file system.

    Raises:
        EnvironmentFault: from every method: the file cannot be written (disk full, permission, I/O error).

    """

    def __init__(self, place: ShardPlace, tmp: Path, scratch: Path | None = None) -> None:
        self.place = place
        self._tmp = tmp
        self._built = temp_name(scratch or tmp, place.name)
        self._moved = temp_name(tmp, place.name + "-moved") if scratch else self._built
        self._env: Any = None
        self._logical, self._seed = xxhash.xxh3_128(), store_seed(place.store_id)
        self._row, self._same = place.start, 0
        self._group: list[Record] = []
        self._blocks: list[tuple[bytes, bytes]] = []
        self._rows, self._bytes = 0, 0  # of the open transaction

    def __enter__(self) -> ShardWriter:
        with self._told():
            self._env = _create(self._built)
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
        discard(self._built)
        discard(self._moved)

    def add(self, records: Iterable[Record]) -> None:
        """Take the next records, in any portions."""
        block_rows, group, row = self.place.block_rows, self._group, self._row
        for record in records:
            assert record.row == row, f"row {record.row} where {row} belongs"
            row += 1
            group.append(record)
            if len(group) < block_rows:
                continue
            self._pack()
            if self._rows >= ROWS_PER_COMMIT or self._bytes >= BYTES_PER_COMMIT:
                self._flush()
        self._row = row

    def commit(self) -> Sidecar:
        """Finish the shard and publish it; return its sidecar."""
        place = self.place
        assert self._row == place.stop, f"{self._row - place.start} rows of {place.stop - place.start}"
        with self._told():
            self._pack()
            self._flush()
            self._env.sync(True)
            self._close()
            # a map of a file on a network file system is slow, and not safe everywhere: the finished file is
            # copied in one go
            if self._moved != self._built:
                copy_synced(self._built, self._moved)
            size, sha256 = self._moved.stat().st_size, sha256_file(self._moved)
            # data first: a file without sidecar is not there. The folder is synced once, behind the sidecar;
            # should its rename alone outlive a crash, no file of its size is there, and it is written again
            os.replace(self._moved, place.data)
            records = self._logical.hexdigest()
            kept = (place.name, place.store_id, place.start, place.stop - place.start)
            sidecar = Sidecar(*kept, size, sha256, records, self._same)
            write_atomic(place.sidecar, sidecar.seal(), self._tmp)
        return sidecar

    def _pack(self) -> None:
        """Make a block of the records that wait."""
        if self._group:
            number = self._group[0].row // self.place.block_rows
            block = pack_block(self._group, self._seed)
            self._blocks.append((block_key(number), block))
            self._rows += len(self._group)
            self._bytes += len(block)
            self._same += sum(record.codec == SAME_AS_HR for record in self._group)
            self._group.clear()

    def _flush(self) -> None:
        """Write the blocks that wait in one transaction."""
        if self._blocks:
            with self._told():
                _put(self._env, self._blocks)
            for _, block in self._blocks:
                self._logical.update(block)
            self._blocks, self._rows, self._bytes = [], 0, 0

    def _close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the shard and what is wrong with its disk."""
        try:
            yield
        except (OSError, lmdb.Error) as error:
            rows = self.place.stop - self.place.start
            raise write_fault(error, self.place.data, 4096 * rows) from error


def write_shard(
    place: ShardPlace, records: Iterable[Record], tmp: Path, scratch: Path | None = None
) -> Sidecar:
    """Write a shard of exactly the rows [start, stop) and commit it; see :class:`ShardWriter`."""
    with ShardWriter(place, tmp, scratch) as writer:
        writer.add(records)
        return writer.commit()


def _create(path: Path) -> Any:
    """Open a new LMDB file; every option is fixed, because each of them changes the bytes."""
    return lmdb.open(
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


def copy_synced(source: Path, target: Path) -> None:
    """Copy a file's bytes to the disk."""
    with opened(source) as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
