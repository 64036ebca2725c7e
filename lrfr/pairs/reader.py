"""Random access to the records of one store folder, checked before use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrfr.errors import DataError
from lrfr.pairs.files import read_sealed
from lrfr.pairs.records import Record, store_seed, unpack
from lrfr.pairs.registry import REGISTRY, Expected
from lrfr.pairs.shard import block_key
from lrfr.pairs.store import Rows, read_rows

VERIFY = ("always", "records", "never")


class ShardSet:
    """The shards of one folder; holds no open file, so it may be copied, pickled and carried across a fork.

    Args:
        folder: the base or LR folder.
        manifest: its manifest.
        rows: the row table (of the base).
        verify: ``always`` checks a file's sha256 when it is opened and every record when it is read, ``records`` leaves the
            first out, ``never`` checks sizes only.

    """

    def __init__(self, folder: Path, manifest: dict[str, Any], rows: Rows, verify: str = "always") -> None:
        self.folder = folder
        self.manifest = manifest
        self.rows = rows
        self.verify = verify
        whole = verify == "always"
        self._files = [
            (str(folder / f"{shard['shard']}.mdb"), Expected(shard["bytes"], shard["sha256"] if whole else None))
            for shard in manifest["shards"]
        ]
        self._seed = store_seed(manifest["id"])
        self._shard_rows, self._block_rows = int(manifest["shard_rows"]), int(manifest["block_rows"])
        self._check = verify != "never"

    def __len__(self) -> int:
        return int(self.manifest["rows"])

    def record(self, row: int) -> Record:
        """Return one record; its payload is a view of the file that lives as long as the record.

        Raises:
            DataError: the shard or the record is damaged; names store, shard and row.

        """
        path, expected = self._files[row // self._shard_rows]
        number, slot = divmod(row, self._block_rows)
        block, owner = REGISTRY.value(path, block_key(number), expected)
        try:
            return unpack(block, slot, row, self._seed, verify=self._check, owner=owner)
        except DataError as error:
            place = f"store {self.manifest['id']}, row {row}"
            raise DataError(error.message, file=path, path=place, hint="lrfr store verify, then lrfr store repair") from None


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
