"""The plan of a base: which faces are in, in which row each lies, and the ids that follow from it.

A plan is a pure function of the sources' keys and bytes, the landmarks, the labels and the options; no path,
time, worker or order enters.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of
from lrfr.pairs.build.look.scan_table import Scanned, ScanTable
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.format.manifests import LOSSLESS, BaseManifest, Crop, Form
from lrfr.pairs.format.rows import CROP_BYTES, Rows, order_of
from lrfr.pairs.format.sealed import LAYOUT
from lrfr.pairs.format.shard_layout import BLOCK_ROWS, hr_row_bytes, shard_spans
from lrfr.pairs.sources.base import Face

_PICKED = 1 << 14


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
        faces = tuple(_picked(self.faces, rows))
        return _planned(faces, self.rows.take(rows), self.options)

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
    used = faces if len(kept) == len(faces) else compress(faces, table.usable)
    order = order_of(options.seed, (face.key_bytes for face in used))
    ways = np.lexsort((order[:, 1], order[:, 0]))
    order, chosen = order[ways], kept[ways]
    picked = tuple(_picked(faces, chosen))
    rows = _row_table(picked, table.digests[chosen], table.sizes[chosen], landmarks)
    return _planned(picked, replace(rows, order=order), options)


def _picked(faces: Sequence[Face], rows: NDArray[np.int64]) -> Iterator[Face]:
    """Yield faces by their numbers, of which few are objects at a time."""
    for start in range(0, len(rows), _PICKED):
        yield from map(faces.__getitem__, rows[start : start + _PICKED].tolist())


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


def _numbers(names: Iterator[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of each name, -1 for one that is not known."""
    place = {name: number for number, name in enumerate(known)}
    return np.fromiter((place.get(name, -1) for name in names), np.int64)


def _row_table(
    faces: Sequence[Face],
    digests: NDArray[np.uint8],
    sizes: NDArray[np.uint32],
    landmarks: Mapping[str, Landmarks] | None,
) -> Rows:
    keys, crops, ends = bytearray(), bytearray(), array("q")
    for face in faces:
        keys += face.key_bytes
        ends.append(len(keys))
        if landmarks is not None:
            crops += landmark_hash(landmarks.get(face.key))
    labeled = tuple(sorted({face.label for face in faces} - {""}))
    split_names = tuple(sorted({face.split for face in faces}))
    described = [face for face in faces if face.attributes]
    attribute_names = tuple(sorted({name for face in described for name in face.attributes}))
    attributes = np.full((len(faces), len(attribute_names)), -1, np.int8)
    for column, name in enumerate(attribute_names):
        attributes[:, column] = [face.attributes.get(name, -1) for face in faces]
    return Rows(
        key_blob=np.frombuffer(keys, np.uint8),
        key_ends=np.frombuffer(ends, np.int64),
        order=np.zeros((0, 2), np.uint64),
        labels=_numbers((face.label for face in faces), labeled).astype(np.int32),
        label_names=labeled,
        attributes=attributes,
        attribute_names=attribute_names,
        splits=_numbers((face.split for face in faces), split_names).astype(np.int16),
        split_names=split_names,
        digests=digests,
        crops=np.frombuffer(crops, np.uint8).reshape(len(faces), -1 if crops else 0),
        sizes=sizes,
    )
