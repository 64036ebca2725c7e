"""Random access to the records of bases and variants, of one folder or of several in a row, checked before
use.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import pread
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from lrfr.core.errors import DataError
from lrfr.pairs.format.disk.lmdb_files import REGISTRY, Expected
from lrfr.pairs.format.disk.open_file import OpenFile
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest, shard_origins
from lrfr.pairs.format.records import (
    CHECK_BYTES,
    HEAD_BYTES,
    RAW,
    SAME_AS_HR,
    Encoded,
    Record,
    decode_each,
    store_seed,
    unpack_head,
    unpack_record,
)
from lrfr.pairs.format.remote.mirror import Mirror
from lrfr.pairs.format.rows import StoredRows
from lrfr.pairs.format.store_files import StoreFiles

VERIFY = ("always", "records", "never")


@dataclass(frozen=True)
class Folder:
    """The folder of a base or variant and its manifest.

    Raises:
        DataError: its shards do not cover its rows one after another, or cut through a block.

    """

    path: Path
    manifest: BaseManifest | VariantManifest

    def __post_init__(self) -> None:
        end, block_rows, origins = 0, self.manifest.block_rows, shard_origins(self.manifest)
        if len(origins) != len(self.manifest.shards):
            raise self._fault(f"{len(origins)} origins of {len(self.manifest.shards)} shards")
        for shard, origin in zip(self.manifest.shards, origins, strict=True):
            if shard.start != end or origin.start % block_rows:
                raise self._fault(f"shard {shard.shard} starts at row {shard.start} where {end} belongs")
            end = shard.stop
        if end != self.manifest.rows:
            raise self._fault(f"the shards hold {end} of {self.manifest.rows} rows")

    def _fault(self, message: str) -> DataError:
        return DataError(message, file=str(self.path / "manifest.json"), hint="lrfr store verify")


@dataclass(frozen=True, slots=True)
class _Shard:
    """One shard: its file, the row of the set that its records count from, and how they are packed."""

    path: str
    expected: Expected
    first: int
    block_rows: int
    seed: int
    store: str


class ShardSet:
    """The shards of some folders, whose rows follow one another; holds no open file, so it may be copied,
    pickled and carried across a fork.

    Args:
        folders: bases, or variants of one kind.
        verify: ``always`` checks a file's sha256 when it is opened and every record when it is read,
            ``records`` leaves the first out, ``never`` checks sizes only.
        base: of degraded variants: where the images lie that equal their HR image, by the same row numbers.

    """

    def __init__(
        self, folders: Sequence[Folder], verify: str = "always", base: ShardSet | None = None
    ) -> None:
        self.folders = tuple(folders)
        self.verify = verify
        self._base = base
        self._check = verify != "never"
        self._fetched = any(Mirror.of(folder.path) for folder in folders)
        self._shards: list[_Shard] = []
        self._starts: list[int] = []
        self._rows = 0
        for folder in folders:
            manifest = folder.manifest
            size = sum(shard.bytes for shard in manifest.shards)
            for shard, origin in zip(manifest.shards, shard_origins(manifest), strict=True):
                path = str(folder.path / f"{shard.shard}.mdb")
                checked = shard.sha256 if verify == "always" else None
                expected = Expected(shard.bytes, checked, size, shard.sha256)
                first = self._rows + shard.start - origin.start
                place = (first, manifest.block_rows, store_seed(origin.store), manifest.id)
                self._shards.append(_Shard(path, expected, *place))
                self._starts.append(self._rows + shard.start)
            self._rows += manifest.rows

    def __reduce__(self) -> tuple[object, ...]:
        """Carry the folders alone: where a mirrored one lies is found anew on another machine."""
        return type(self), (self.folders, self.verify, self._base)

    def __len__(self) -> int:
        return self._rows

    def shard_files(self, rows: NDArray[np.int64]) -> list[tuple[Path, int, str]]:
        """Return (path, bytes, sha256) of the shards that hold some rows."""
        places = np.unique(np.searchsorted(self._starts, rows, side="right") - 1).tolist()
        found = [self._shards[place] for place in places]
        return [(Path(item.path), item.expected.size, item.expected.content) for item in found]

    def record(self, row: int) -> Record:
        """Return one record as :meth:`stored`; one that is the same as HR has HR's payload.

        Raises:
            DataError: the shard or the record is damaged; names store, shard and row.

        """
        found = self.stored(row)
        if found.codec != SAME_AS_HR:
            return found
        return self._originals().record(row)._replace(tail=bytes(found.tail))

    def stored(self, row: int) -> Record:
        """Return one record as it lies in its shard.

        Raises:
            DataError: the shard or the record is damaged; names store, shard and row.

        """
        shard = self._shards[bisect_right(self._starts, row) - 1]
        own = row - shard.first
        number, slot = divmod(own, shard.block_rows)
        try:
            opened = REGISTRY.file(shard.path, shard.expected)
        except DataError as error:
            raise _forgotten(shard) or error from None
        try:
            offsets, start = opened.block(number)
            if slot + 1 >= len(offsets):
                raise DataError(f"the block has no record {slot}")
            data = opened.read(start + offsets[slot], offsets[slot + 1] - offsets[slot])
            return unpack_record(memoryview(data), own, shard.seed, verify=self._check)
        except DataError as error:
            place = f"store {shard.store}, row {own}"
            raise DataError(
                error.message, file=shard.path, path=place, hint="lrfr store verify, then lrfr store repair"
            ) from None

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
        encoded = self._by_shard(rows) if self._fetched else self._encoded(rows)
        same = [index for index, item in enumerate(encoded) if item[1] == SAME_AS_HR]
        originals: Iterator[NDArray[np.uint8]] = iter(())
        if same:
            some = [rows[index] for index in same]
            originals = self._originals().images(some) if hr is None else (hr[index] for index in same)
        yield from decode_each(encoded, originals)

    def _by_shard(self, rows: Sequence[int]) -> list[Encoded]:
        """Look rows of fetched shards up, one shard after another: a cache need hold no more at once."""
        places: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            places.setdefault(bisect_right(self._starts, row) - 1, []).append(index)
        found: dict[int, Encoded] = {}
        for members in places.values():
            found.update(zip(members, self._encoded([rows[index] for index in members]), strict=True))
        return [found[index] for index in range(len(rows))]

    def _originals(self) -> ShardSet:
        """Return the base."""
        if self._base is None:
            raise DataError(
                "an image is kept in the base, which was not opened", file=str(self.folders[0].path)
            )
        return self._base

    def native_px(self, rows: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> list[int]:
        """Return the side before any upsampling: of the image itself, or from the record's tail where it was
        stored upsampled.
        """
        manifest = self.folders[0].manifest
        if isinstance(manifest, BaseManifest) or manifest.form.lr == "native":
            return [len(image) for image in images]
        return [json.loads(bytes(self.record(row).tail))["native_px"] for row in rows]

    def _encoded(self, rows: Sequence[int]) -> list[Encoded]:
        """Look rows up. Training reads through this loop: it is :meth:`stored` once more, flat, and leaves
        all reporting to it.
        """
        starts, shards, verify = self._starts, self._shards, self._check
        found: list[Encoded] = []
        held: dict[int, OpenFile] = {}
        row = 0
        try:
            for row in rows:
                place = bisect_right(starts, row) - 1
                shard = shards[place]
                opened = held.get(place)
                if opened is None:
                    opened = held[place] = REGISTRY.file(shard.path, shard.expected)
                number, slot = divmod(row - shard.first, shard.block_rows)
                offsets, start = opened.blocks.get(number) or opened.block(number)
                head = offsets[slot]
                size = offsets[slot + 1] - head
                data = memoryview(pread(opened.descriptor, size, start + head))
                check, length, codec, _, height, width, _, owner = unpack_head(data)
                if verify and xxh3_64_intdigest(data[CHECK_BYTES:], shard.seed) != check:
                    raise DataError("damaged")
                if owner != row - shard.first or (codec == RAW and length != 3 * height * width):
                    raise DataError("damaged")
                if len(data) != size:
                    raise DataError("cut short")
                found.append((data[HEAD_BYTES : HEAD_BYTES + length], codec, height, width))
        except (DataError, IndexError, struct.error, OSError):
            self.record(row)  # finds the same fault and names it
            raise
        return found


def _forgotten(shard: _Shard) -> DataError | None:
    """Return the error that says why a folder is gone, where its rows were forgotten while it was read."""
    folder = Path(shard.path).parent
    fate = "" if folder.exists() else StoreFiles(folder.parent.parent).fate(shard.store)
    return DataError(f"{shard.store} was {fate}", file=shard.path, hint="open it again") if fate else None


class OpenBase(ShardSet):
    """The HR shards of one base with its row table."""

    def __init__(self, folder: Folder, verify: str = "always") -> None:
        super().__init__([folder], verify)
        assert isinstance(folder.manifest, BaseManifest)
        self.manifest: BaseManifest = folder.manifest
        self.rows = StoredRows(folder.path, self.manifest.files, self.manifest.permutation_seed)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.folders[0], self.verify)


def open_base(folder: Path, verify: str = "always") -> OpenBase:
    """Open a base folder.

    Raises:
        DataError: the manifest is missing or damaged.

    """
    return OpenBase(Folder(folder, BaseManifest.read(folder / "manifest.json")), verify)
