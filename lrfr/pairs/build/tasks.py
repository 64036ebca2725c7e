"""The work that executors hand out: pure functions of their fields that leave a file behind and return a
small report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.files import canonical, sha256_hex
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.build.look.spool import Spool, SpoolReader, stamp_mark
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.picture_limits import checked_content, within_limits
from lrfr.pairs.format.manifests import LR_CODEC, LrCodec
from lrfr.pairs.format.reader import OpenBase, open_base
from lrfr.pairs.format.records import JPEG, Buffer, Record, lr_record
from lrfr.pairs.format.shard import ShardPlace, ShardWriter, write_shard
from lrfr.pairs.sources.base import Content, Place, Source

# enough for the batched resize, few enough for images and results to stay in cache
DEGRADE_BATCH = 64
# of one batch: bounds what the float copies of large images take
DEGRADE_PIXELS = DEGRADE_BATCH * 256 * 256
# files that are asked for their stamps at once
STAMPED = 512


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
    spool: Spool | None = None

    def run(self) -> ShardReport:
        """Return the first row that changed, or none."""
        try:
            write_shard(self.place, self._records(), self.tmp, self.scratch)
        except _Changed as changed:
            return ShardReport(changed=(changed.row,))
        return ShardReport(len(self.places))

    def _records(self) -> Iterator[Record]:
        side = self.prepare.size_px
        for index, payload in enumerate(self._spooled() if self.spool else repeat(None, len(self.places))):
            row = self.place.start + index
            yield Record(row, JPEG, side, side, self._payload(index, row) if payload is None else payload)

    def _spooled(self) -> Iterator[Buffer | None]:
        """Yield what the scan kept of each face, None where its file is not as it was then."""
        assert self.spool is not None
        with SpoolReader(self.spool) as reader:
            for start in range(0, len(self.places), STAMPED):
                stamps = self.source.stamps(self.places[start : start + STAMPED])
                marks = self.spool.entries["mark"][start : start + STAMPED].tolist()
                for index, (stamp, mark) in enumerate(zip(stamps, marks, strict=True), start):
                    yield reader.payload(index) if stamp and stamp_mark(stamp) == mark else None

    def _payload(self, index: int, row: int) -> bytes:
        place = self.places[index]
        try:
            content = checked_content(within_limits(partial(self.source.read, place)))
            expected = self.digests[32 * index : 32 * index + 32].hex()
            # compared once more as it is written: the plan's id speaks of the bytes that were scanned
            if (self.source.fingerprint(place) or content_digest(content)[0]) != expected:
                raise _Changed(row)
            return self.prepare.jpeg(content, self.landmarks[index] if self.landmarks else None)
        except ImageFault as fault:
            raise _Changed(row) from fault


class _Changed(Exception):
    """A source's bytes are not those that were planned."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


@dataclass(frozen=True)
class LrTask:
    """Write the same rows of some degraded variants of one base, each a shard: HR is decoded once for all.

    What the scan kept of them lies in ``spool``, each draw's records in one of the ``slots`` of an entry.
    """

    places: tuple[ShardPlace, ...]
    draws: tuple[Draw, ...]
    tmp: Path
    scratch: Path | None
    base: Path
    base_digest: str
    spool: Spool | None = None
    slots: tuple[int, ...] = ()

    def run(self) -> ShardReport:
        """Return how many images were written."""
        rows = self.places[0].rows
        step = batch_rows(_pipeline(self.draws[0].spec).spec.image.size_px)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(ShardWriter(place, self.tmp, self.scratch)) for place in self.places
            ]
            spool = stack.enter_context(SpoolReader(self.spool)) if self.spool else None
            for at in range(0, len(rows), step):
                for writer, records in zip(writers, self._made(rows[at : at + step], at, spool), strict=True):
                    writer.add(records)
            for writer in writers:
                writer.commit()
        return ShardReport(len(rows) * len(self.draws))

    def _made(self, rows: range, at: int, spool: SpoolReader | None) -> Iterator[Sequence[Record]]:
        """Yield the records of some rows, draw by draw: those that the scan kept, where it kept them all."""
        shift = self.places[0].start - self.places[0].rows.start
        kept: list[list[Record]] = []
        for index in range(at, at + len(rows)) if spool else ():
            found = spool.records(index, rows[index - at] + shift, self.slots) if spool else None
            if found is None:
                kept.clear()
                break
            kept.append(found)
        if kept:
            yield from zip(*kept, strict=True)
            return
        hr = HrRows.of(_base(self.base, self.base_digest), rows)
        for draw in self.draws:
            yield degraded_records(hr, draw, shift)


@dataclass(frozen=True)
class Spooled:
    """What the scan kept of the rows of a base: where it lies, and the variants in each entry."""

    base: str
    spool: Spool
    draws: tuple[Draw, ...]

    def of(self, base: str, task: LrTask) -> LrTask:
        """Return a task of the base with this id that takes what was kept, where that is all it writes."""
        if base != self.base or not set(task.draws) <= set(self.draws):
            return task
        rows = task.places[0].rows
        slots = tuple(map(self.draws.index, task.draws))
        return replace(task, spool=self.spool.take(slice(rows.start, rows.stop)), slots=slots)


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


def degraded_records(some: HrRows, draw: Draw, shift: int = 0) -> list[Record]:
    """Return the records of some rows of a degraded variant, with row numbers larger by ``shift``."""
    pipeline = _pipeline(draw.spec)
    upsampled = pipeline.spec.store.lr == "upsampled"
    records = []
    images, applied = pipeline.run_faces(some.keys, some.images, draw.variant)
    for row, key, hr, image, steps in zip(some.rows, some.keys, some.images, images, applied, strict=True):
        tail = b""
        if upsampled or draw.traces:
            told = dict(pipeline.trace(key, draw.variant, steps).as_json()) if draw.traces else {}
            tail = canonical(told | {"native_px": image.shape[0]} if upsampled else told)
        stored = _upsampled(pipeline, image) if upsampled else image
        records.append(lr_record(row + shift, stored, hr, tail, draw.codec))
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
