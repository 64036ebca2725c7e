"""The row table of a base: columns over all faces, as two files and as one digest."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import sha256_hex

CROP_BYTES = 16


@dataclass(frozen=True)
class Rows:
    """The row table of a base, columns only (no object per row).

    Attributes:
        key_blob: uint8, the keys one after another.
        key_ends: int64 ``[n]``, where each key ends.
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
        lengths = np.diff(self.key_ends, prepend=0)[rows]
        ends = np.cumsum(lengths, dtype=np.int64)
        steps = np.repeat(self.key_ends[rows] - ends, lengths) if len(rows) else np.zeros(0, np.int64)
        labels, label_names = _renumbered(self.labels[rows], self.label_names)
        splits, split_names = _renumbered(self.splits[rows], self.split_names)
        known = np.flatnonzero((self.attributes[rows] >= 0).any(0))
        return replace(
            self,
            key_blob=self.key_blob[steps + np.arange(len(steps))],
            key_ends=ends,
            labels=labels.astype(np.int32),
            label_names=label_names,
            attributes=self.attributes[rows][:, known],
            attribute_names=tuple(self.attribute_names[column] for column in known.tolist()),
            splits=splits.astype(np.int16),
            split_names=split_names,
            digests=self.digests[rows],
            crops=self.crops[rows],
            sizes=self.sizes[rows],
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
    present = np.unique(numbers[numbers >= 0])
    dense = np.where(numbers >= 0, np.searchsorted(present, numbers), -1)
    return dense, tuple(names[number] for number in present.tolist())


def _joined(names: tuple[str, ...]) -> NDArray[np.uint8]:
    text = "".join(f"{item}\0" for item in names)
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)


def _digest(*columns: NDArray[np.generic]) -> str:
    total = hashlib.sha256()
    for column in columns:
        little = column.astype(column.dtype.newbyteorder("<"), copy=False)
        # the shape keeps neighboring columns apart
        total.update(repr(column.shape).encode() + b"\0")
        total.update(np.ascontiguousarray(little).tobytes())
    return total.hexdigest()


_COLUMNS = ("key_blob", "key_ends", "attributes", "splits", "digests", "crops", "sizes")
_NAMES = ("label_names", "attribute_names", "split_names")
ROW_FILES = ("labels.npy", "rows.npz")


def pack_rows(rows: Rows) -> dict[str, bytes]:
    """Return the files ``labels.npy`` and ``rows.npz`` as bytes (the same bytes for the same table)."""
    labels, table = io.BytesIO(), io.BytesIO()
    np.save(labels, rows.labels, allow_pickle=False)
    columns = {name: np.asarray(getattr(rows, name)) for name in _COLUMNS}
    columns |= {name: _joined(getattr(rows, name)) for name in _NAMES}
    # numpy writes a zip with a fixed date, so the same table gives the same bytes; deflate would tie them to
    # zlib's version
    np.savez(table, **columns)  # type: ignore[arg-type]  # numpy's stub takes the names for allow_pickle
    return {"labels.npy": labels.getvalue(), "rows.npz": table.getvalue()}


def read_rows(folder: Path, files: Mapping[str, str]) -> Rows:
    """Read the row table, checked against the sha256 sums of the manifest; a table without ``crops`` (of an
    older layout) has none.

    Raises:
        DataError: a file is missing or damaged.

    """
    content = {name: _read_checked(folder / name, files.get(name, "")) for name in ROW_FILES}
    try:
        labels = np.load(io.BytesIO(content["labels.npy"]), allow_pickle=False)
        with np.load(io.BytesIO(content["rows.npz"]), allow_pickle=False) as table:
            crops = table["crops"] if "crops" in table else np.zeros((len(labels), 0), np.uint8)
            return Rows(
                key_blob=table["key_blob"],
                key_ends=table["key_ends"],
                labels=labels,
                label_names=_split(table["label_names"]),
                attributes=table["attributes"],
                attribute_names=_split(table["attribute_names"]),
                splits=table["splits"],
                split_names=_split(table["split_names"]),
                digests=table["digests"],
                crops=crops,
                sizes=table["sizes"],
            )
    except (ValueError, KeyError, EOFError, OSError) as error:
        raise DataError(f"not a row table: {error}", file=str(folder / "rows.npz")) from None


def _split(text: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(text.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1])


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(path), hint="lrfr store repair") from None
    if sha256_hex(data) != sha256:
        raise DataError("does not match the sha256 in the manifest", file=str(path), hint="lrfr store repair")
    return data
