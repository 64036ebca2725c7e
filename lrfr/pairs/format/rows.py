"""The row table of a base: columns over all faces, in memory, as mapped files and as digests."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import opened, sha256_file, sha256_hex, write_if_other
from lrfr.pairs.format.disk.array_file import arrays_of, check_whole, map_array
from lrfr.pairs.format.disk.row_runs import gather_keys
from lrfr.pairs.format.remote.mirror import ensure

CROP_BYTES = 16
# a file that was written this lately may be written again under the same stamp
_SETTLED_NS = 2 * 10**9


def row_key(seed: int, key: bytes) -> bytes:
    """Return what rows are sorted by, a keyed hash: neighbors in the source are strangers in the store."""
    return _keyed(seed, key).digest()


def _keyed(seed: int, key: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(key, key=seed.to_bytes(8, "little"), digest_size=16)


def order_of(seed: int, keys: Iterable[bytes]) -> NDArray[np.uint64]:
    """Return the 128 bits of :func:`row_key` for every key, uint64 ``[n, 2]``, high word first."""
    words = bytearray()  # joining would hold every hash as an object
    keyed = _keyed(seed)
    for key in keys:
        state = keyed.copy()
        state.update(key)
        words += state.digest()
    return np.frombuffer(words, ">u8").astype(np.uint64).reshape(-1, 2)


@dataclass(frozen=True)
class Rows:
    """The row table of a base, columns only (no object per row), sorted by ``order``.

    Attributes:
        key_blob: uint8, the keys one after another.
        key_ends: int64 ``[n]``, where each key ends.
        order: uint64 ``[n, 2]``, the hash of each key that rows are sorted by (:func:`order_of`).
        labels: int32 ``[n]``, numbers into ``label_names``; -1 for no identity.
        attributes: int8 ``[n, a]``, 1, 0 or -1 for unknown.
        splits: int16 ``[n]``, numbers into ``split_names``.
        digests: uint8 ``[n, 32]``, sha256 of the source bytes (or the fingerprint).
        crops: uint8 ``[n, 16]``, hash of what cuts this row alone (its landmarks); ``[n, 0]`` where all are
            cut alike.
        sizes: uint32 ``[n]``, source bytes.

    """

    key_blob: NDArray[np.uint8]
    key_ends: NDArray[np.int64]
    order: NDArray[np.uint64]
    labels: NDArray[np.int32]
    label_names: tuple[str, ...]
    attributes: NDArray[np.int8]
    attribute_names: tuple[str, ...]
    splits: NDArray[np.int16]
    split_names: tuple[str, ...]
    digests: NDArray[np.uint8]
    crops: NDArray[np.uint8]
    sizes: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, row: int) -> bytes:
        """Return the source key of a row, which is the sample key of its random streams."""
        start = int(self.key_ends[row - 1]) if row else 0
        return self.key_blob[start : int(self.key_ends[row])].tobytes()

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return the table of some rows: names that none of them has are left out, as if the others had
        never been there.
        """
        keys, ends = gather_keys(self.key_blob, self.key_ends, rows)
        return replace(
            self,
            key_blob=keys,
            key_ends=ends,
            order=self.order[rows],
            labels=self.labels[rows],
            attributes=self.attributes[rows],
            splits=self.splits[rows],
            digests=self.digests[rows],
            crops=self.crops[rows],
            sizes=self.sizes[rows],
        ).pruned()

    def pruned(self) -> Rows:
        """Return the table without the names that no row has."""
        labels, label_names = _renumbered(self.labels, self.label_names)
        splits, split_names = _renumbered(self.splits, self.split_names)
        known = np.flatnonzero((self.attributes >= 0).any(0))
        return replace(
            self,
            labels=labels.astype(np.int32),
            label_names=label_names,
            attributes=self.attributes[:, known],
            attribute_names=tuple(self.attribute_names[column] for column in known.tolist()),
            splits=splits.astype(np.int16),
            split_names=split_names,
        )

    def pixels_digest(self) -> str:
        """Return the sha256 over what decides the crops, in row order: key, source bytes and cut of every
        row.
        """
        # keys too, though they are no pixels: they seed what every variant draws
        return _digest(self.key_blob, self.key_ends, self.digests, self.crops)

    def digest(self) -> str:
        """Return the sha256 over all that a reader can see of the rows, in row order: what decides the
        crops, labels, attributes and splits.
        """
        names = [_joined(item) for item in (self.label_names, self.attribute_names, self.split_names)]
        pixels = (self.key_blob, self.key_ends, self.digests, self.crops)
        return _digest(*pixels, self.labels, self.attributes, self.splits, *names)


def _renumbered(
    numbers: NDArray[np.integer], names: tuple[str, ...]
) -> tuple[NDArray[np.integer], tuple[str, ...]]:
    """Number the names that occur from 0 on; -1 stays."""
    present = np.flatnonzero(np.bincount(numbers[numbers >= 0], minlength=len(names)))
    dense = np.full(len(names) + 1, -1, np.int64)  # the last entry is for -1
    dense[present] = np.arange(len(present))
    return dense[numbers], tuple(names[number] for number in present.tolist())


def _joined(names: tuple[str, ...]) -> NDArray[np.uint8]:
    text = "".join(f"{item}\0" for item in names)
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _digest(*columns: NDArray[np.generic]) -> str:
    total = hashlib.sha256()
    for column in columns:
        little = column.astype(column.dtype.newbyteorder("<"), copy=False)
        total.update(repr(column.shape).encode() + b"\0")  # it keeps neighboring columns apart
        total.update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


_COLUMNS = ("labels", "order", "attributes", "splits", "key_blob", "key_ends", "digests", "crops", "sizes")
_NAMES = ("label_names", "attribute_names", "split_names")


def row_files(rows: Rows) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of the files of a row table, one a column (the same bytes for the same table)."""
    for name in (*_COLUMNS, *_NAMES):
        content = getattr(rows, name)
        column = io.BytesIO()
        # what was picked by columns is in another order in memory
        array = _joined(content) if name in _NAMES else np.ascontiguousarray(content)
        np.save(column, array, allow_pickle=False)
        yield f"{name}.npy", column.getvalue()


def write_rows(folder: Path, rows: Rows, tmp: Path) -> dict[str, str]:
    """Write the files of a row table where they are not there yet; return the sha256 of each."""
    sums = {}
    for name, data in row_files(rows):
        write_if_other(folder / name, data, tmp)
        sums[name] = sha256_hex(data)
    return sums


class StoredRows:
    """The row table of a base on disk: a column is checked and mapped when it is first asked for. It holds no
    map when it is pickled.

    Args:
        folder: of the base.
        files: sha256 of its files, from the manifest.
        seed: of the permutation of the rows.

    Raises:
        DataError: (when a column is asked for) a file is missing or damaged.

    """

    def __init__(self, folder: Path, files: Mapping[str, str], seed: int) -> None:
        self.folder = folder
        self._files = dict(files)
        self._seed = seed
        self._columns: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_columns": {}}

    def __len__(self) -> int:
        return len(self.labels)

    def __getattr__(self, name: str) -> Any:
        # only what is no attribute yet comes here
        if name not in _COLUMNS and name not in _NAMES:
            raise AttributeError(name)
        if name not in self._columns:
            self._columns |= self._read(name)
        check_whole(self._columns[name])
        return self._columns[name]

    def key(self, row: int) -> bytes:
        """Return the source key of a row, which is the sample key of its random streams."""
        start = int(self.key_ends[row - 1]) if row else 0
        return bytes(self.key_blob[start : int(self.key_ends[row])])

    def table(self) -> Rows:
        """Return the whole table; its columns stay mapped."""
        return Rows(**{name: getattr(self, name) for name in (*_COLUMNS, *_NAMES)})

    def _read(self, name: str) -> dict[str, Any]:
        """Read one column, or all of a table that older versions kept in one file."""
        path = self.folder / f"{name}.npy"
        if path.name not in self._files:
            return self._read_packed()
        check_file(path, self._files[path.name])
        column = map_array(path)
        return {name: _split(column) if name in _NAMES else column}

    def _read_packed(self) -> dict[str, Any]:
        """Read ``labels.npy`` and ``rows.npz``, as tables were kept at first; one without ``crops`` has
        none.
        """
        for name in ("labels.npy", "rows.npz"):
            check_file(self.folder / name, self._files.get(name, ""))
        path = self.folder / "rows.npz"
        try:
            labels = map_array(self.folder / "labels.npy")
            with opened(path) as handle:
                found: dict[str, Any] = dict(arrays_of(handle, str(path), growth=16))
            found = {"labels": labels, "crops": np.zeros((len(labels), 0), np.uint8)} | found
            found |= {name: _split(found[name]) for name in _NAMES}
            ends = found["key_ends"].tolist()
            blob, starts = found["key_blob"].tobytes(), [0, *ends[:-1]]
            keys = (blob[start:stop] for start, stop in zip(starts, ends, strict=True))
            return found | {"order": order_of(self._seed, keys)}
        except (ValueError, KeyError, EOFError, OSError) as error:
            raise DataError(f"not a row table: {error}", file=str(path)) from None


def _split(text: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(text.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1])


def check_file(path: Path, sha256: str) -> None:
    """Compare a file with its sha256, without holding it in memory; a DataError tells where it differs."""
    ensure(path, sha256)
    try:
        same = _sha256(path) == sha256
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(path), hint="lrfr store repair") from None
    if not same:
        raise DataError("does not match the sha256 in the manifest", file=str(path), hint="lrfr store repair")


def _sha256(path: Path) -> str:
    """Return a file's sha256, hashed once in this process for as long as its stamp stays."""
    found = os.stat(path)
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if time.time_ns() - max(stamp[-2:]) < _SETTLED_NS:
        return sha256_file(path)
    return _hashed(path, stamp)


@lru_cache(maxsize=4096)
def _hashed(path: Path, stamp: tuple[int, ...]) -> str:
    return sha256_file(path)
