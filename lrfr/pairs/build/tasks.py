"""The work that executors hand out: pure functions of their fields that leave a file behind and return a
small report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.files import canonical, sha256_hex
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.look.scan_table import Scanned
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.format.manifests import LR_CODEC, LrCodec
from lrfr.pairs.format.reader import OpenBase, open_base
from lrfr.pairs.format.records import JPEG, Record, lr_record
from lrfr.pairs.format.shard import ShardPlace, ShardWriter, write_shard
from lrfr.pairs.sources.base import Content, Place, Source

# enough for the batched resize, few enough for images and results to stay in cache
DEGRADE_BATCH = 64
# of one batch: bounds what the float copies of large images take
DEGRADE_PIXELS = DEGRADE_BATCH * 256 * 256


@dataclass(frozen=True)
class ScanReport(TaskReport):
    """What a look at some faces told, one entry a face."""

    scanned: tuple[Scanned, ...] = ()


@dataclass(frozen=True)
class ShardReport(TaskReport):
    """What writing a shard told: the rows whose bytes changed since they were scanned."""

    changed: tuple[int, ...] = ()


def content_digest(content: Content) -> tuple[str, int]:
    """Return (sha256, bytes) of what a source gave."""
    if isinstance(content, np.ndarray):
        # the shape is hashed too: the same bytes may be pictures of two shapes
        return sha256_hex(canonical(list(content.shape)) + content.tobytes()), int(content.nbytes)
    return sha256_hex(content), len(content)


@dataclass(frozen=True)
class ScanTask:
    """Look at every byte of some faces once: hash them and prove that they decode."""

    source: Source
    places: tuple[Place, ...]
    prepare: Prepare
    landmarks: tuple[Landmarks | None, ...] | None

    def run(self) -> ScanReport:
        """Return one :class:`Scanned` a face."""
        count = len(self.places)
        return ScanReport(count, tuple(self._scan(index) for index in range(count)))

    def _scan(self, index: int) -> Scanned:
        place = self.places[index]
        try:
            content = self.source.read(place)
            marks, name = self.landmarks[index] if self.landmarks else None, place
            pixels, remarks = self.prepare.look(content, marks, name if isinstance(name, str) else "")
        except ImageFault as fault:
            return Scanned(code=fault.code, detail=fault.detail)
        sha256, size = content_digest(content)
        constant = pixels.item(0) == pixels.item(pixels.size // 2) and pixels.min() == pixels.max()
        flags = (*remarks, "W_CONSTANT") if constant else remarks
        return Scanned(sha256, size, flags=flags)


@dataclass(frozen=True)
class HrTask:
    """Write one HR shard from the sources; reports the faces whose bytes changed since they were scanned."""

    place: ShardPlace
    tmp: Path
    scratch: Path | None
    source: Source
    places: tuple[Place, ...]
    digests: bytes
    prepare: Prepare
    landmarks: tuple[Landmarks | None, ...] | None

    def run(self) -> ShardReport:
        """Return the first row that changed, or none."""
        try:
            write_shard(self.place, self._records(), self.tmp, self.scratch)
        except _Changed as changed:
            return ShardReport(changed=(changed.row,))
        return ShardReport(len(self.places))

    def _records(self) -> Iterator[Record]:
        for index, place in enumerate(self.places):
            row = self.place.start + index
            try:
                content = self.source.read(place)
                expected = self.digests[32 * index : 32 * index + 32].hex()
                # compared once more as it is written: the plan's id speaks of the bytes that were scanned
                if (self.source.fingerprint(place) or content_digest(content)[0]) != expected:
                    raise _Changed(row)
                payload = self.prepare.jpeg(content, self.landmarks[index] if self.landmarks else None)
            except ImageFault as fault:
                raise _Changed(row) from fault
            yield Record(row, JPEG, self.prepare.size_px, self.prepare.size_px, payload)


class _Changed(Exception):
    """A source's bytes are not those that were planned."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


@dataclass(frozen=True)
class Draw:
    """One degraded variant as a task makes it.

    Attributes:
        spec: canonical text; its ``store`` says whether images are upsampled first.
        variant: number of the draw.
        traces: whether every record carries the parameters drawn for it.
        codec: the rule by which images are kept.

    """

    spec: str
    variant: int
    traces: bool
    codec: LrCodec = LR_CODEC


@dataclass(frozen=True)
class LrTask:
    """Write the same rows of some degraded variants of one base, each a shard: HR is decoded once for all."""

    places: tuple[ShardPlace, ...]
    draws: tuple[Draw, ...]
    tmp: Path
    scratch: Path | None
    base: Path
    base_digest: str

    def run(self) -> ShardReport:
        """Return how many images were written."""
        base = _base(self.base, self.base_digest)
        rows, shift = self.places[0].rows, self.places[0].start - self.places[0].rows.start
        step = batch_rows(_pipeline(self.draws[0].spec).spec.image.size_px)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(ShardWriter(place, self.tmp, self.scratch)) for place in self.places
            ]
            for start in range(0, len(rows), step):
                some = rows[start : start + step]
                hr = HrRows.of(base, some)
                for writer, draw in zip(writers, self.draws, strict=True):
                    made = degraded_records(hr, draw)
                    writer.add(record._replace(row=record.row + shift) for record in made)
            for writer in writers:
                writer.commit()
        return ShardReport(len(rows) * len(self.draws))


def batch_rows(size_px: int) -> int:
    """Return how many images are degraded at once: 64 up to 256 px, fewer of larger ones."""
    return max(1, min(DEGRADE_BATCH, DEGRADE_PIXELS // size_px**2))


class HrRows(NamedTuple):
    """Some rows of a base: numbers, keys and images."""

    rows: Sequence[int]
    keys: list[bytes]
    images: list[NDArray[np.uint8]]

    @classmethod
    def of(cls, base: OpenBase, rows: Sequence[int]) -> HrRows:
        """Read and decode them, once for all that is made of them."""
        return cls(rows, [base.rows.key(row) for row in rows], list(base.images(rows)))


def degraded_records(some: HrRows, draw: Draw) -> list[Record]:
    """Return the records of some rows of a degraded variant."""
    pipeline = _pipeline(draw.spec)
    upsampled = pipeline.spec.store.lr == "upsampled"
    records = []
    made = pipeline.run(some.keys, some.images, draw.variant)
    for row, hr, done in zip(some.rows, some.images, made, strict=True):
        tail = dict(done.trace.as_json()) if draw.traces else {}
        if upsampled:
            tail["native_px"] = done.image.shape[0]
        image = _upsampled(pipeline, done.image) if upsampled else done.image
        records.append(lr_record(row, image, hr, canonical(tail) if tail else b"", draw.codec))
    return records


def _upsampled(pipeline: Any, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    up = pipeline.spec.store.up
    return np.asarray(resize_batch(image[None], up.size_px, up.filter, up.antialias)[0])


@lru_cache(maxsize=2)
def _base(folder: Path, digest: str) -> OpenBase:
    """Return the reader of a base, kept for the life of the worker (the digest tells a rebuilt one from the
    old).
    """
    return open_base(folder)


@lru_cache(maxsize=8)
def _pipeline(spec: str) -> Any:
    """Return the pipeline of a canonical spec, kept for the life of the worker: heavy state is loaded
    once.
    """
    return Pipeline(parse_spec(spec, "the stored spec"))
