"""The records of an older store as today's: the same pixels, kept as they are kept today."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from lrfr.pairs.build.lr import variant_of
from lrfr.pairs.build.tasks import Draw, HrRows, degraded_records
from lrfr.pairs.format.manifests import VariantManifest
from lrfr.pairs.format.reader import OpenBase, ShardSet
from lrfr.pairs.format.records import SAME_AS_HR, Record, lr_record
from lrfr.pairs.format.shard import ShardPlace

PROBE_ROWS = 16
_SPEC_OF_TRACE = re.compile(rb'"spec":"[0-9a-f]{64}"')


def taken_over(reader: ShardSet, place: ShardPlace) -> Iterator[Record]:
    """Yield HR records as they are."""
    for row in range(place.start, place.stop):
        found = reader.record(row)
        yield found._replace(payload=bytes(found.payload), tail=bytes(found.tail))


def kept_anew(reader: ShardSet, base: ShardSet, place: ShardPlace, digest: str) -> Iterator[Record]:
    """Yield the same LR pixels as they are kept today."""
    for row in range(place.start, place.stop):
        found, (hr,) = reader.record(row), base.images([row])
        yield lr_record(row, found.pixels(), hr, _tail(found, digest))


def agrees(reader: ShardSet, older: VariantManifest, base: OpenBase) -> bool:
    """Return whether today's code makes the stored records of some evenly spread rows."""
    rows = np.unique(np.linspace(0, len(reader) - 1, PROBE_ROWS).astype(int)).tolist()
    variant = variant_of(older)
    some = HrRows.of(base, rows)
    draw = Draw(variant.spec.canonical(), older.variant, older.form.traces)
    return all(
        bytes(made.tail) == _tail(found, variant.spec.pixel_digest)
        and np.array_equal(hr if made.codec == SAME_AS_HR else made.pixels(), found.pixels())
        for made, hr, found in zip(
            degraded_records(some, draw), some.images, map(reader.record, rows), strict=True
        )
    )


def _tail(record: Record, spec: str) -> bytes:
    """Return what stands behind the pixels; a trace names the spec of its pixels by today's digest."""
    return _SPEC_OF_TRACE.sub(b'"spec":"%b"' % spec.encode(), bytes(record.tail), count=1)
