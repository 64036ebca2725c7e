"""The plan of a base: which faces are in, in which row each lies, and the ids that follow from it.

A plan is a pure function of the sources' keys and bytes, the landmarks, the labels and the options; no path,
time, worker or order enters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of
from lrfr.pairs.build.look.scan_table import Scanned, ScanTable
from lrfr.pairs.build.look.spool import Spool
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.format.manifests import LOSSLESS, BaseManifest, Crop, Form
from lrfr.pairs.format.rows import CROP_BYTES, Rows, order_of
from lrfr.pairs.format.sealed import LAYOUT, plain_fields
from lrfr.pairs.format.shard_layout import BLOCK_ROWS, hr_row_bytes, shard_spans
from lrfr.pairs.sources.base import Face, FaceList


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


def base_options(base: BaseManifest, prepare: Prepare) -> BaseOptions:
    """Return the options of a base that is there, with the channel order and alignment of another source."""
    access = next(name for name, rows in BLOCK_ROWS.items() if rows == base.block_rows)
    made = replace(prepare, size_px=base.crop.size_px, quality=base.crop.quality)
    return BaseOptions(made, base.permutation_seed, access)


@dataclass(frozen=True)
class BasePlan:
    """A planned base: ``faces[row]``, its row table and ids, and what was left of its rows by the scan."""

    base_id: str
    content_id: str
    faces: FaceList
    rows: Rows
    options: BaseOptions
    spool: Spool | None = None

    @property
    def crop(self) -> Crop:
        """How crops are made."""
        return self.options.prepare.describe()

    @property
    def block_rows(self) -> int:
        """Records per LMDB value."""
        return BLOCK_ROWS[self.options.access]

    def part(self, rows: NDArray[np.int64]) -> BasePlan:
        """Return the plan of a base of some rows."""
        spool = self.spool and self.spool.take(rows)
        return _planned(self.faces.take(rows), self.rows.take(rows), self.options, spool)

    def shards(self) -> list[tuple[str, int, int]]:
        """Return (name, first row, stop) of every HR shard."""
        return shard_spans("hr", len(self.faces), hr_row_bytes(self.options.prepare.size_px))


def make_plan(
    faces: Sequence[Face],
    scanned: ScanTable | Sequence[Scanned],
    options: BaseOptions,
    landmarks: Mapping[str, Landmarks] | None = None,
) -> BasePlan:
    """Plan a base from the faces that were not refused.

    Raises:
        DataError: nothing is left.

    """
    table = scanned if isinstance(scanned, ScanTable) else ScanTable.of(scanned)
    kept = np.flatnonzero(table.usable)
    if not len(kept):
        raise DataError("no usable face in the source", hint="see the quarantine report")
    listed = FaceList.of(faces)
    keys = listed.keys() if len(kept) == len(listed) else map(listed.key_at, kept.tolist())
    order = order_of(options.seed, keys)
    ways = np.lexsort((order[:, 1], order[:, 0]))
    order, chosen = order[ways], kept[ways]
    picked = listed.take(chosen)
    rows = _row_table(picked, table.digests[chosen], table.sizes[chosen], landmarks)
    spool = table.spool and table.spool.of(chosen, picked.keys(), rows.digests)
    return _planned(picked, replace(rows, order=order), options, spool)


def _planned(faces: FaceList, rows: Rows, options: BaseOptions, spool: Spool | None = None) -> BasePlan:
    content = content_identity(rows, options.prepare.describe(), options.seed)
    base_id = base_identity(content, rows, BLOCK_ROWS[options.access])
    return BasePlan(base_id, content, faces, rows, options, spool)


def content_identity(rows: Rows, crop: Crop, seed: int) -> str:
    """Return the digest of what degraded variants depend on: of every row its key, source bytes and cut, how
    crops are made, and the order of the rows.
    """
    return digest_of(
        {"layout": LAYOUT, "crop": plain_fields(crop), "seed": seed, "rows": rows.pixels_digest()}
    )


def base_identity(content: str, rows: Rows, block_rows: int) -> str:
    """Return the id of a base: its content, labels, attributes and splits, and how records are packed."""
    return digest_of({"content": content, "table": rows.digest(), "block_rows": block_rows})[:16]


def variant_identity(content: str, pixel_digest: str, variant: int, form: Form) -> str:
    """Return the id of one degraded variant of a base's content.

    Args:
        content: of the base (its labels do not matter to a degraded variant).
        pixel_digest: of the spec's image, seed and pipeline.
        variant: number of the draw.
        form: how the pixels are stored.

    """
    stored = {"form": asdict(form), "codec": LOSSLESS, "layout": LAYOUT}
    return digest_of({"content": content, "spec": pixel_digest, "variant": variant, **stored})[:16]


def landmark_hash(landmarks: Landmarks | None) -> bytes:
    """Return 16 bytes that name the five points of one row (the same for equal numbers, however written)."""
    points = np.array(landmarks or (), "<f8") + 0.0  # no -0.0
    return hashlib.blake2b(points.tobytes(), digest_size=CROP_BYTES).digest()


def _numbers(
    column: tuple[NDArray[np.int32], tuple[str, ...]], unnamed: frozenset[str] = frozenset()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return a column of names numbered in the order of the names that occur, -1 for those that are none."""
    numbers, names = column
    present = {names[number]: number for number in np.unique(numbers).tolist()}
    known = tuple(sorted(present.keys() - unnamed))
    place = np.full(len(names), -1, np.int64)
    place[[present[name] for name in known]] = np.arange(len(known))
    return place[numbers], known


def _row_table(
    faces: FaceList,
    digests: NDArray[np.uint8],
    sizes: NDArray[np.uint32],
    landmarks: Mapping[str, Landmarks] | None,
) -> Rows:
    crops = bytearray()
    for face in faces if landmarks is not None else ():
        crops += landmark_hash(landmarks.get(face.key) if landmarks else None)
    key_blob, key_ends = faces.key_columns()
    labels, label_names = _numbers(faces.labels(), frozenset({""}))
    splits, split_names = _numbers(faces.splits())
    attributes, attribute_names = faces.attributes()
    return Rows(
        key_blob=key_blob,
        key_ends=key_ends,
        order=np.zeros((0, 2), np.uint64),
        labels=labels.astype(np.int32),
        label_names=label_names,
        attributes=attributes,
        attribute_names=attribute_names,
        splits=splits.astype(np.int16),
        split_names=split_names,
        digests=digests,
        crops=np.frombuffer(crops, np.uint8).reshape(len(faces), -1 if crops else 0),
        sizes=sizes,
    )
