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
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.format.manifests import LOSSLESS, BaseManifest, Crop, Form
from lrfr.pairs.format.rows import CROP_BYTES, Rows, order_of
from lrfr.pairs.format.sealed import LAYOUT
from lrfr.pairs.format.shard_layout import BLOCK_ROWS, hr_row_bytes, shard_spans
from lrfr.pairs.sources.base import Face


@dataclass(frozen=True, slots=True)
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


def base_options(base: BaseManifest, prepare: Prepare) -> BaseOptions:
    """Return the options of a base that is there, with the channel order and alignment of another source."""
    access = next(name for name, rows in BLOCK_ROWS.items() if rows == base.block_rows)
    made = replace(prepare, size_px=base.crop.size_px, quality=base.crop.quality)
    return BaseOptions(made, base.permutation_seed, access)


@dataclass(frozen=True)
class BasePlan:
    """A planned base: ``faces[row]``, its row table and ids."""

    base_id: str
    content_id: str
    faces: tuple[Face, ...]
    rows: Rows
    options: BaseOptions

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
        faces = tuple(self.faces[row] for row in rows.tolist())
        return _planned(faces, self.rows.take(rows), self.options)

    def shards(self) -> list[tuple[str, int, int]]:
        """Return (name, first row, stop) of every HR shard."""
        return shard_spans("hr", len(self.faces), hr_row_bytes(self.options.prepare.size_px))


def make_plan(
    faces: Sequence[Face],
    scanned: Sequence[Scanned],
    options: BaseOptions,
    landmarks: Mapping[str, Landmarks] | None = None,
) -> BasePlan:
    """Plan a base from the faces that were not refused.

    Raises:
        DataError: nothing is left.

    """
    kept = [index for index, item in enumerate(scanned) if not item.code]
    if not kept:
        raise DataError("no usable face in the source", hint="see the quarantine report")
    order = order_of(options.seed, (faces[index].key_bytes for index in kept))
    ways = np.lexsort((order[:, 1], order[:, 0]))
    chosen = [kept[way] for way in ways.tolist()]
    rows = _row_table([faces[index] for index in chosen], [scanned[index] for index in chosen], landmarks)
    return _planned(tuple(faces[index] for index in chosen), replace(rows, order=order[ways]), options)


def _planned(faces: tuple[Face, ...], rows: Rows, options: BaseOptions) -> BasePlan:
    content = content_identity(rows, options.prepare.describe(), options.seed)
    base_id = base_identity(content, rows, BLOCK_ROWS[options.access])
    return BasePlan(base_id, content, faces, rows, options)


def content_identity(rows: Rows, crop: Crop, seed: int) -> str:
    """Return the digest of what degraded variants depend on: of every row its key, source bytes and cut, how
    crops are made, and the order of the rows.
    """
    return digest_of({"layout": LAYOUT, "crop": asdict(crop), "seed": seed, "rows": rows.pixels_digest()})


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


def _numbers(names: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return the number of each name among the sorted distinct names."""
    distinct = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(distinct)}
    return [place[name] for name in names], distinct


def _row_table(
    faces: Sequence[Face], scanned: Sequence[Scanned], landmarks: Mapping[str, Landmarks] | None
) -> Rows:
    keys, digests, crops, ends = bytearray(), bytearray(), bytearray(), np.empty(len(faces), np.int64)
    for index, (face, item) in enumerate(zip(faces, scanned, strict=True)):
        keys += face.key_bytes
        ends[index] = len(keys)
        digests += bytes.fromhex(item.sha256)
        crops += landmark_hash(landmarks.get(face.key)) if landmarks is not None else b""
    labeled = tuple(sorted({face.label for face in faces if face.label}))
    label_of = {name: number for number, name in enumerate(labeled)}
    splits, split_names = _numbers([face.split for face in faces])
    attribute_names = tuple(sorted({name for face in faces for name in face.attributes}))
    attributes = np.full((len(faces), len(attribute_names)), -1, np.int8)
    for column, name in enumerate(attribute_names):
        attributes[:, column] = [face.attributes.get(name, -1) for face in faces]
    return Rows(
        key_blob=np.frombuffer(keys, np.uint8),
        key_ends=ends,
        order=np.zeros((0, 2), np.uint64),
        labels=np.array([label_of.get(face.label, -1) for face in faces], np.int32),
        label_names=labeled,
        attributes=attributes,
        attribute_names=attribute_names,
        splits=np.array(splits, np.int16),
        split_names=split_names,
        digests=np.frombuffer(digests, np.uint8).reshape(-1, 32),
        crops=np.frombuffer(crops, np.uint8).reshape(len(faces), -1 if crops else 0),
        sizes=np.array([min(item.size, 2**32 - 1) for item in scanned], np.uint32),
    )
