"""Random access to the records of one store folder, checked before use."""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from lrfr.core.errors import DataError
from lrfr.pairs.format.lmdb_files import REGISTRY, Expected, OpenFile
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.records import (
    CHECK_BYTES,
    HEAD_BYTES,
    RAW,
    SAME_AS_HR,
    Encoded,
    Record,
    decode_each,
    store_seed,
    unpack,
    unpack_head,
)
from lrfr.pairs.format.rows import Rows, read_rows

VERIFY = ("always", "records", "never")


class ShardSet:
    """The shards of one folder; holds no open file, so it may be copied, pickled and carried across a fork.

    Args:
        folder: the base or LR folder.
        manifest: its manifest; the layout is taken from it.
        rows: the row table (of the base).
        verify: ``always`` checks a file's sha256 when it is opened and every record when it is read,
            ``records`` leaves the first out, ``never`` checks sizes only.
        base: of a degraded variant: where the images lie that equal their HR image.

    """

    def __init__(
        self,
        folder: Path,
        manifest: BaseManifest | VariantManifest,
        rows: Rows,
        verify: str = "always",
        base: ShardSet | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.rows = rows
        self.verify = verify
        self._base = base
        whole = verify == "always"
        self._files = [
            (str(folder / f"{shard.shard}.mdb"), Expected(shard.bytes, shard.sha256 if whole else None))
            for shard in manifest.shards
        ]
        self._starts = [shard.start for shard in manifest.shards]
        self._check_shards()
        self._seed = store_seed(manifest.id)
        self._block_rows = manifest.block_rows
        self._check = verify != "never"

    def _check_shards(self) -> None:
        """Refuse shards that do not cover the rows one after another, or that cut through a block."""
        end = 0
        for shard in self.manifest.shards:
            if shard.start != end or end % self.manifest.block_rows:
                raise DataError(
                    f"shard {shard.shard} starts at row {shard.start} where {end} belongs",
                    file=str(self.folder / "manifest.json"),
                    hint="lrfr store verify",
                )
            end = shard.stop
        if end != self.manifest.rows:
            raise DataError(
                f"{end} rows in shards where {self.manifest.rows} belong",
                file=str(self.folder / "manifest.json"),
                hint="lrfr store verify",
            )

    def __len__(self) -> int:
        return self.manifest.rows

    def record(self, row: int) -> Record:
        """Return one record; its payload is a view of the file that lives as long as the record. One that is
        the same as HR has HR's payload.

        Raises:
            DataError: the shard or the record is damaged; names store, shard and row.

        """
        path, expected = self._files[bisect_right(self._starts, row) - 1]
        number, slot = divmod(row, self._block_rows)
        opened = REGISTRY.file(path, expected)
        try:
            found = unpack(opened.block(number), slot, row, self._seed, verify=self._check, owner=opened)
        except DataError as error:
            place = f"store {self.manifest.id}, row {row}"
            raise DataError(
                error.message, file=path, path=place, hint="lrfr store verify, then lrfr store repair"
            ) from None
        if found.codec != SAME_AS_HR:
            return found
        return self._originals().record(row)._replace(tail=bytes(found.tail))

    def images(
        self, rows: Sequence[int], hr: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels of many rows, uint8 ``[h, w, 3]`` each; all are looked up and checked before the
        first is decoded.

        Args:
            rows: which.
            hr: of a degraded variant: the HR images of these rows, where they are decoded already.

        Raises:
            DataError: a shard or record is damaged; names store, shard and row.

        """
        held: dict[int, OpenFile] = {}  # keeps mapped what is decoded
        encoded = self._encoded(rows, held)
        same = [index for index, item in enumerate(encoded) if item[1] == SAME_AS_HR]
        originals: Iterator[NDArray[np.uint8]] = iter(())
        if same:
            some = [rows[index] for index in same]
            originals = self._originals().images(some) if hr is None else (hr[index] for index in same)
        yield from decode_each(encoded, originals)

    def _originals(self) -> ShardSet:
        """Return the base."""
        if self._base is None:
            raise DataError("an image is kept in the base, which was not opened", file=str(self.folder))
        return self._base

    def native_px(self, rows: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> list[int]:
        """Return the side before any upsampling: of the image itself, or from the record's tail where it was
        stored upsampled.
        """
        if isinstance(self.manifest, BaseManifest) or self.manifest.form.lr == "native":
            return [len(image) for image in images]
        return [json.loads(bytes(self.record(row).tail))["native_px"] for row in rows]

    def _encoded(self, rows: Sequence[int], held: dict[int, OpenFile]) -> list[Encoded]:
        """Look rows up. Training reads through this loop: it is :func:`unpack` once more, flat, and leaves
        all reporting to it.
        """
        starts, block_rows, seed, verify = self._starts, self._block_rows, self._seed, self._check
        found: list[Encoded] = []
        row = 0
        try:
            for row in rows:
                shard = bisect_right(starts, row) - 1
                opened = held.get(shard)
                if opened is None:
                    opened = held[shard] = REGISTRY.file(*self._files[shard])
                number, slot = divmod(row, block_rows)
                view, offsets, start = opened.blocks.get(number) or opened.block(number)
                head, end = start + offsets[slot], start + offsets[slot + 1]
                check, length, codec, _, height, width, _, owner = unpack_head(view, head)
                if verify and xxh3_64_intdigest(view[head + CHECK_BYTES : end], seed) != check:
                    raise DataError("damaged")
                if owner != row or (codec == RAW and length != 3 * height * width):
                    raise DataError("damaged")
                found.append((view[head + HEAD_BYTES : head + HEAD_BYTES + length], codec, height, width))
        except (DataError, IndexError, struct.error):
            self.record(row)  # finds the same fault and names it
            raise
        return found


def open_base(folder: Path, verify: str = "always") -> ShardSet:
    """Open a base folder.

    Raises:
        DataError: manifest or row table are missing or damaged.

    """
    manifest = BaseManifest.read(folder / "manifest.json")
    return ShardSet(folder, manifest, read_rows(folder, manifest.files), verify)


def open_lr(folder: Path, base: ShardSet, verify: str = "always") -> ShardSet:
    """Open the folder of a degraded variant of a base."""
    return ShardSet(folder, VariantManifest.read(folder / "manifest.json"), base.rows, verify, base)
