"""Where everything lies in a store, and reading its manifests, row tables and views.

::

    store/base/<base_id>/     manifest.json  labels.npy  rows.npz  quarantine.jsonl  hr-00000.mdb + .json ...
    store/lr/<action_id>/     manifest.json  lr-00000.mdb + .json ...
    store/views/<name>.json   {base, variants: [{action, weight, ...}], filter}
    store/tmp, store/cache, store/run.log      nothing in them is ever hashed
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import read_sealed, sha256_hex
from lrfr.pairs.format.shard import FORMAT, LAYOUT

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Store:
    """A store folder."""

    root: Path

    def base(self, base_id: str) -> Path:
        """Folder of a base."""
        return self.root / "base" / base_id

    def lr(self, action_id: str) -> Path:
        """Folder of a degraded variant."""
        return self.root / "lr" / action_id

    @property
    def tmp(self) -> Path:
        """Folder of temporary files."""
        return self.root / "tmp"

    def view_path(self, name: str) -> Path:
        """File of a view.

        Raises:
            SpecError: the name could leave the folder.

        """
        if not _NAME.fullmatch(name):
            raise SpecError(
                f"'{name}' is no name for a view",
                hint="letters, digits, '.', '_' and '-', starting with a letter or digit",
            )
        return self.root / "views" / f"{name}.json"

    def views(self) -> list[str]:
        """Names of all views."""
        return sorted(path.stem for path in (self.root / "views").glob("*.json"))

    def bases(self) -> list[str]:
        """Ids of all bases that have a manifest."""
        return sorted(path.parent.name for path in (self.root / "base").glob("*/manifest.json"))

    def actions(self) -> list[str]:
        """Ids of all LR stores that have a manifest."""
        return sorted(path.parent.name for path in (self.root / "lr").glob("*/manifest.json"))

    def view(self, name: str) -> dict[str, Any]:
        """Read a view.

        Raises:
            SpecError: there is no such store or view.
            DataError: the view is damaged.

        """
        path = self.view_path(name)
        if not self.root.is_dir():
            raise SpecError("there is no store here", file=str(self.root), hint="lrfr make-pairs writes one")
        if not path.exists():
            raise SpecError(f"no view '{name}'", file=str(self.root), hint=did_you_mean(name, self.views()))
        return read_sealed(path)

    def base_manifest(self, base_id: str) -> dict[str, Any]:
        """Read and check a base's manifest."""
        return _checked(self.base(base_id) / "manifest.json", base_id)

    def lr_manifest(self, action_id: str) -> dict[str, Any]:
        """Read and check an LR store's manifest."""
        return _checked(self.lr(action_id) / "manifest.json", action_id)

    def rows(self, base_id: str) -> Rows:
        """Read the row table of a base."""
        return read_rows(self.base(base_id), self.base_manifest(base_id)["files"])


def check_layout(manifest: dict[str, Any], path: Path) -> None:
    """Refuse a store that another version of lrfr has laid out.

    Raises:
        DataError: says what to do.

    """
    if manifest.get("layout") != LAYOUT:
        hint = "run lrfr make-pairs again: it is built anew; lrfr store gc removes the old one"
        raise DataError(
            f"layout {manifest.get('layout')} of another version, this one reads {LAYOUT}",
            file=str(path),
            hint=hint,
        )


def _checked(path: Path, expected_id: str) -> dict[str, Any]:
    manifest = read_sealed(path)
    if manifest.get("format") != FORMAT:
        raise DataError(f"format {manifest.get('format')!r}, this version reads {FORMAT}", file=str(path))
    check_layout(manifest, path)
    if manifest.get("id") != expected_id:
        raise DataError(
            f"the manifest belongs to {manifest.get('id')}", file=str(path), hint="lrfr store verify"
        )
    return manifest


@dataclass(frozen=True)
class Rows:
    """The row table of a base, columns only (no object per row).

    Attributes:
        labels: int32 ``[n]``, numbers into ``label_names``; -1 for no identity.
        attributes: int8 ``[n, a]``, 1, 0 or -1 for unknown.
        splits: int16 ``[n]``, numbers into ``split_names``.
        digests: uint8 ``[n, 32]``, sha256 of the source bytes (or the fingerprint).
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
    sizes: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, row: int) -> bytes:
        """Return the source key of a row, which is the sample key of its random streams."""
        start = int(self.key_ends[row - 1]) if row else 0
        return self.key_blob[start : int(self.key_ends[row])].tobytes()


_COLUMNS = ("key_blob", "key_ends", "attributes", "splits", "digests", "sizes")
_NAMES = ("label_names", "attribute_names", "split_names")


def pack_rows(rows: Rows) -> dict[str, bytes]:
    """Return the files ``labels.npy`` and ``rows.npz`` as bytes (the same bytes for the same table)."""
    labels, table = io.BytesIO(), io.BytesIO()
    np.save(labels, rows.labels, allow_pickle=False)
    columns: dict[str, Any] = {name: getattr(rows, name) for name in _COLUMNS}
    for name in _NAMES:
        text = "".join(f"{item}\0" for item in getattr(rows, name))
        columns[name] = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
    np.savez(table, **columns)
    return {"labels.npy": labels.getvalue(), "rows.npz": table.getvalue()}


def read_rows(folder: Path, files: dict[str, str]) -> Rows:
    """Read the row table, checked against the sha256 sums of the manifest.

    Raises:
        DataError: a file is missing or damaged.

    """
    content = {name: _read_checked(folder / name, files[name]) for name in ("labels.npy", "rows.npz")}
    labels = np.load(io.BytesIO(content["labels.npy"]), allow_pickle=False)
    with np.load(io.BytesIO(content["rows.npz"]), allow_pickle=False) as table:
        columns: dict[str, Any] = {name: table[name] for name in _COLUMNS}
        for name in _NAMES:
            text = table[name].tobytes().decode("utf-8", "surrogateescape")
            columns[name] = tuple(text.split("\0")[:-1])
    return Rows(labels=labels, **columns)


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror}", file=str(path), hint="lrfr store repair") from None
    if sha256_hex(data) != sha256:
        raise DataError("does not match the sha256 in the manifest", file=str(path), hint="lrfr store repair")
    return data
