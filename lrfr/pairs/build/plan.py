"""The plan of a base: which faces are in, in which row each lies, and the ids that follow from it.

A plan is a pure function of the sources' keys and bytes, the labels and the options; no path, time, worker or
order enters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import canonical, digest_of, sha256_hex
from lrfr.pairs.build.prepare import Prepare
from lrfr.pairs.format.shard import FORMAT, LAYOUT
from lrfr.pairs.sources.base import Face
from lrfr.pairs.store import Rows, pack_rows

MAX_SHARD_ROWS, MIN_SHARD_ROWS = 8192, 64
SHARD_SECONDS = 60.0
BLOCK_ROWS = {"block": 32, "random": 1}
LR_BLOCK_ROWS = 64


@dataclass(frozen=True)
class Scanned:
    """What one look at a face's bytes told: its digest and size, or the reason why it is refused, and
    remarks.
    """

    sha256: str = ""
    size: int = 0
    code: str = ""
    detail: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class BaseOptions:
    """What besides the sources decides a base.

    Attributes:
        prepare: how a source becomes an HR crop.
        seed: of the permutation of the rows.
        access: ``block`` packs 32 records a value (for block order), ``random`` one (for sets larger than
            memory read in random order).

    """

    prepare: Prepare = field(default_factory=Prepare)
    seed: int = 0
    access: str = "block"


@dataclass(frozen=True)
class BasePlan:
    """A planned base: ``faces[row]``, its row table, ids and layout."""

    base_id: str
    content_id: str
    faces: tuple[Face, ...]
    rows: Rows
    options: BaseOptions
    shard_rows: int

    @property
    def block_rows(self) -> int:
        """Records per LMDB value."""
        return BLOCK_ROWS[self.options.access]

    def shards(self) -> list[tuple[str, int, int]]:
        """Return (name, first row, stop) of every HR shard."""
        return shard_spans("hr", len(self.faces), self.shard_rows)


def shard_spans(prefix: str, rows: int, shard_rows: int) -> list[tuple[str, int, int]]:
    """Return (name, first row, stop) of the shards of a store."""
    starts = range(0, rows, shard_rows)
    return [(f"{prefix}-{index:05d}", start, min(rows, start + shard_rows)) for index, start in enumerate(starts)]


def rows_per_shard(rows: int, cost_ms: float) -> int:
    """Return a power of two, at least 64: at most a minute of work and, for small sets, about eight shards to
    share out.

    It is part of the layout, so it depends on the number of rows and the spec's cost class, never on a clock.
    """
    limit = MAX_SHARD_ROWS
    while limit > MIN_SHARD_ROWS and (limit * cost_ms / 1e3 > SHARD_SECONDS or limit * 8 > max(rows, 1)):
        limit //= 2
    return limit


def row_key(seed: int, key: bytes) -> bytes:
    """Return what rows are sorted by: a keyed hash, so that neighbors in the source are strangers in the
    store.
    """
    return hashlib.blake2b(key, key=seed.to_bytes(8, "little"), digest_size=16).digest()


def check_keys(faces: Sequence[Face]) -> None:
    """Refuse a source with duplicate keys.

    Raises:
        SpecError: two faces share a key (one would silently overwrite the other).

    """
    seen: set[str] = set()
    for face in faces:
        if face.key in seen:
            raise SpecError(f"two faces have the key {face.key!r}", hint="keys must be unique in a source")
        seen.add(face.key)


def make_plan(faces: Sequence[Face], scanned: Sequence[Scanned], options: BaseOptions) -> BasePlan:
    """Plan a base from the faces that were not refused.

    Raises:
        DataError: nothing is left.

    """
    kept = [(row_key(options.seed, face.key_bytes), face.key_bytes, index) for index, face in enumerate(faces) if not scanned[index].code]
    if not kept:
        raise DataError("no usable face in the source", hint="see the quarantine report")
    kept.sort()
    order = [index for _, _, index in kept]
    rows = _row_table([faces[index] for index in order], [scanned[index] for index in order])
    content = hashlib.sha256(canonical({"prepare": options.prepare.describe(), "seed": options.seed, "format": FORMAT}))
    for row, face_index in enumerate(order):
        content.update(rows.key(row) + b"\0" + scanned[face_index].sha256.encode() + scanned[face_index].size.to_bytes(8, "little"))
    content_id = content.hexdigest()
    shard_rows = rows_per_shard(len(order), 0.0)
    identity = {
        "content": content_id,
        "table": {name: sha256_hex(data) for name, data in pack_rows(rows).items()},
        "layout": [FORMAT, LAYOUT, BLOCK_ROWS[options.access], shard_rows],
    }
    return BasePlan(digest_of(identity)[:16], content_id, tuple(faces[index] for index in order), rows, options, shard_rows)


def _numbers(names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return the number of each name among the sorted distinct names."""
    distinct = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(distinct)}
    return [place[name] for name in names], distinct


def _row_table(faces: Sequence[Face], scanned: Sequence[Scanned]) -> Rows:
    keys = [face.key_bytes for face in faces]
    labeled = tuple(sorted({face.label for face in faces if face.label}))
    label_of = {name: number for number, name in enumerate(labeled)}
    splits, split_names = _numbers([face.split for face in faces])
    attribute_names = tuple(sorted({name for face in faces for name in face.attributes}))
    attributes = np.full((len(faces), len(attribute_names)), -1, np.int8)
    for column, name in enumerate(attribute_names):
        attributes[:, column] = [face.attributes.get(name, -1) for face in faces]
    return Rows(
        key_blob=np.frombuffer(b"".join(keys), np.uint8),
        key_ends=np.cumsum([len(key) for key in keys], dtype=np.int64),
        labels=np.array([label_of.get(face.label, -1) for face in faces], np.int32),
        label_names=labeled,
        attributes=attributes,
        attribute_names=attribute_names,
        splits=np.array(splits, np.int16),
        split_names=split_names,
        digests=np.frombuffer(b"".join(bytes.fromhex(item.sha256) for item in scanned), np.uint8).reshape(-1, 32),
        sizes=np.array([min(item.size, 2**32 - 1) for item in scanned], np.uint32),
    )


def action_identity(content_id: str, pixel_digest: str, variant: int, form: dict[str, Any], shard_rows: int) -> str:
    """Return the id of one degraded variant of a base's content.

    Args:
        content_id: of the base (its labels and layout do not matter to a degraded variant).
        pixel_digest: of the spec's image, seed and pipeline.
        variant: number of the variant.
        form: how the pixels are stored (codec rule, upsampled or native, traces).
        shard_rows: rows per shard.

    """
    layout = [FORMAT, LAYOUT, LR_BLOCK_ROWS, shard_rows]
    return digest_of({"content": content_id, "spec": pixel_digest, "variant": variant, "form": form, "layout": layout})[:16]
