"""Random access to the records of one store folder, checked before use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.errors import DataError
from lrfr.pairs.files import read_sealed
from lrfr.pairs.records import Record, store_seed, unpack
from lrfr.pairs.registry import REGISTRY, Expected
from lrfr.pairs.shard import block_key
from lrfr.pairs.store import Rows, read_rows

VERIFY = ("always", "records", "never")


@dataclass(frozen=True)
class ShardSet:
    """The shards of one folder; holds no open file, so it may be copied, pickled and carried across a fork.

    Attributes:
        folder: the base or LR folder.
        manifest: its manifest.
        rows: the row table (of the base).
        verify: ``always`` checks a file's sha256 when it is opened and every record when it is read, ``records`` leaves the
            first out, ``never`` checks sizes only.

    """

    folder: Path
    manifest: dict[str, Any]
    rows: Rows
    verify: str = "always"

    @property
    def starts(self) -> list[int]:
        """First row of each shard."""
        return [shard["start"] for shard in self.manifest["shards"]]

    def __len__(self) -> int:
        return int(self.manifest["rows"])

    @contextmanager
    def lend(self, row: int) -> Iterator[Record]:
        """Lend one record; its payload is a view of the file and must not be kept.

        Raises:
            DataError: the shard or the record is damaged; names store, shard and row.

        """
        shards = self.manifest["shards"]
        shard = shards[row // self.manifest["shard_rows"]]
        path = self.folder / f"{shard['shard']}.mdb"
        block_rows = self.manifest["block_rows"]
        expected = Expected(shard["bytes"], shard["sha256"] if self.verify == "always" else None)
        with REGISTRY.value(path, block_key(row // block_rows), expected) as block:
            try:
                record = unpack(block, row % block_rows, row, store_seed(self.manifest["id"]), self.verify != "never")
            except DataError as error:
                place = f"store {self.manifest['id']}, row {row}"
                raise DataError(error.message, file=str(path), path=place, hint="lrfr store verify, then lrfr store repair") from None
            yield record

    def record(self, row: int) -> Record:
        """Return one record with its own copy of the payload."""
        with self.lend(row) as record:
            return Record(row, record.codec, record.height, record.width, bytes(record.payload), bytes(record.tail), record.empty)

    def shard_of(self, row: int) -> str:
        """Return the name of the shard that holds a row."""
        return str(self.manifest["shards"][bisect_right(self.starts, row) - 1]["shard"])


def open_base(folder: Path, verify: str = "always") -> ShardSet:
    """Open a base folder.

    Raises:
        DataError: manifest or row table are missing or damaged.

    """
    manifest = read_sealed(folder / "manifest.json")
    return ShardSet(folder, manifest, read_rows(folder, manifest["files"]), verify)


def open_lr(folder: Path, rows: Rows, verify: str = "always") -> ShardSet:
    """Open the folder of a degraded variant of the base with these rows."""
    return ShardSet(folder, read_sealed(folder / "manifest.json"), rows, verify)
