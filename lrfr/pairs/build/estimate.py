"""What make-pairs would do: counts, bytes and time, from a small trial in memory; only what was seen of the
source is kept, in the scan cache.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.core.files import make_folder, write_atomic
from lrfr.core.image import encode_png
from lrfr.degrade.inspect.picture_grid import tile
from lrfr.degrade.pipeline import Pipeline
from lrfr.pairs.build.growth import Growth, RowCounts, grow
from lrfr.pairs.build.hr import Seen, look, plan_base
from lrfr.pairs.build.ingest import Memory
from lrfr.pairs.build.look.photo_faces import SECONDS_A_PHOTO
from lrfr.pairs.build.lr import Variant, variant_id
from lrfr.pairs.build.plan import BasePlan
from lrfr.pairs.build.scan import SCAN_MS, Ingest
from lrfr.pairs.build.view_file import MakeOptions, ViewOptions, Wish, wish
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.records import HEAD_BYTES, JPEG, decode_payload, lr_record
from lrfr.pairs.format.store_files import StoreFiles, refuse_other_layouts
from lrfr.pairs.format.view_manifest import SourceReport
from lrfr.pairs.sources.base import FaceList, Listing

if TYPE_CHECKING:
    from lrfr.degrade.spec.model import Spec

TRIAL = 32
# photographs whose faces are looked for, unless a number is named
SEARCHED = 64
# the record's head and its place in the block's table
_RECORD_BYTES = HEAD_BYTES + 4


@dataclass(frozen=True)
class Part:
    """What one part (the scan, HR, or a variant) would take.

    Attributes:
        part: its name.
        images: to write (to read, of the scan); 0 where it is there already.
        megabytes: of them.
        minutes: on one core.

    """

    part: str
    images: int
    megabytes: float
    minutes: float


@dataclass(frozen=True)
class Estimate:
    """What make-pairs would do.

    Attributes:
        parts: the scan and HR first, then every variant.
        bases: ids of the bases that the view would stand on.
        rows: number of usable faces.
        identities: number of identities.
        report: of the source, with what would be refused.
        counts: what would become of rows.
        sampled: (faces looked at, all faces) where only some were, and the rest is scaled up.
        warnings: what to tell about the scan.

    """

    parts: tuple[Part, ...]
    bases: tuple[str, ...]
    rows: int
    identities: int
    report: SourceReport
    counts: RowCounts
    sampled: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it as plain data, megabytes under ``MB``."""
        parts = [
            {"part": part.part, "images": part.images, "MB": part.megabytes, "minutes": part.minutes}
            for part in self.parts
        ]
        counts = {"refused": dict(self.report.refused), "flagged": dict(self.report.flagged)}
        told = {
            "bases": list(self.bases),
            "rows": self.rows,
            "identities": self.identities,
            "row_counts": self.counts.as_json(),
        }
        told |= {"sampled": list(self.sampled)} if self.sampled else {}
        return {"estimate": parts, **told, **counts}


def estimate(
    store: StoreFiles,
    ingest: Ingest,
    specs: Sequence[Spec],
    runner: Runner,
    *,
    options: MakeOptions | None = None,
    view: ViewOptions | None = None,
    sample: int | None = None,
) -> Estimate:
    """Plan everything, try it on a few faces, and scale up.

    What is seen of the source goes into the scan cache of the store (unless the ingest is not ``cached``), so
    that make-pairs need not look again.

    Args:
        store: where the pairs would go.
        ingest: the source.
        specs: of the variants.
        runner: how to look at the source.
        options: see :func:`lrfr.pairs.build.make.make_pairs`.
        view: its name and filter.
        sample: look at so many faces, spread over all, and scale up; None looks at every one.

    Raises:
        SpecError, DataError: as :func:`lrfr.pairs.build.make.make_pairs` would.

    """
    refuse_other_layouts(store)
    options, view = options or MakeOptions(), view or ViewOptions()
    asked = wish(store, ingest, specs, view, options)
    whole = asked.ingest.listing()
    if sample is None and asked.ingest.search and len(whole.faces) > SEARCHED:
        sample = SEARCHED  # looking for every face is most of the work
    ingest = asked.ingest if sample is None else replace(asked.ingest, listed=_some(whole, sample), kept=None)
    seen = look(store, ingest, runner)
    scale = len(whole.faces) / max(1, len(ingest.faces()))
    plan = plan_base(seen, ingest)
    growth = grow(store, plan, asked.rule(store))
    left = seen.again + len(whole.faces) - len(ingest.faces())
    looks = [_part("scan", left, 0.0, SCAN_MS / 1e3)]
    if seen.photos:
        rest = len(whole.faces) - len(ingest.faces())
        looks.append(_part("faces", rest, 0.0, seen.photos.seconds or SECONDS_A_PHOTO))
        asked = replace(asked, ingest=seen.ingest(asked.ingest))
    parts = (*looks, *_parts(store, asked, plan, growth, scale))
    report, counts = seen.report(ingest.source.describe()), growth.counts
    rows = _scaled(counts.new + counts.kept + counts.replaced, scale)
    bases = {
        *(part.base.id for part in growth.held),
        *((growth.fresh.base_id,) if growth.fresh and scale == 1 else ()),
    }
    sampled = (len(ingest.faces()), len(whole.faces)) if scale != 1 else None
    notes = (seen.note,) if seen.note else ()
    found = (parts, tuple(sorted(bases)), rows, _identities(seen, whole.faces, plan), report, counts)
    return Estimate(*found, sampled, notes)


def _parts(store: StoreFiles, asked: Wish, plan: BasePlan, growth: Growth, scale: float) -> list[Part]:
    """Return what HR and every variant would take, tried on a few faces."""
    images, hr_bytes, hr_seconds = _try_hr(asked.ingest, plan)
    fresh = growth.fresh
    written = fresh is not None and not (store.base(fresh.base_id) / "manifest.json").exists()
    count = _scaled(len(fresh.rows) if fresh else 0, scale)
    parts = [_part("HR", count if written else 0, hr_bytes, hr_seconds)]
    contents = [(part.base.content, part.base.rows) for part in growth.held]
    contents += [(fresh.content_id, count)] if fresh else []
    for item in asked.wanted:
        lr_bytes, lr_seconds = _try_lr(item.variant, plan, images)
        missing = sum(
            rows
            for content, rows in contents
            if not (store.lr(variant_id(content, item.variant)) / "manifest.json").exists()
        )
        parts.append(_part(item.variant.name, missing, lr_bytes, lr_seconds))
    return parts


def _some(listing: Listing, count: int) -> Listing:
    """Return a listing of ``count`` of its faces, evenly spaced."""
    at = np.unique(np.linspace(0, len(listing.faces) - 1, count).astype(int))
    faces = listing.faces.take(at) if listing.faces else listing.faces
    seen = Counter(listing.seen) - Counter({listing.unit: len(listing.faces) - len(faces)})
    return replace(listing, faces=faces, seen=dict(seen))


def _scaled(count: int, scale: float) -> int:
    return round(count * scale)


def _identities(seen: Seen, faces: FaceList, plan: BasePlan) -> int:
    """Return how many identities there are; of a sample, all that are listed."""
    if len(seen.faces) == len(faces):
        return len(plan.rows.label_names)
    numbers, names = faces.labels()
    return len({names[number] for number in np.unique(numbers).tolist()} - {""})


def _part(name: str, images: int, bytes_each: float, seconds_each: float) -> Part:
    return Part(name, images, round(images * bytes_each / 1e6, 2), round(images * seconds_each / 60, 2))


def _try_hr(ingest: Ingest, plan: BasePlan) -> tuple[list[NDArray[np.uint8]], float, float]:
    """Return (crops, bytes of a record, seconds for one)."""
    faces = plan.faces[:TRIAL]
    marks = ingest.landmarks_of(faces) or (None,) * len(faces)
    start = time.perf_counter()
    payloads = [
        ingest.options.prepare.jpeg(ingest.source.read(face.place), mark)
        for face, mark in zip(faces, marks, strict=True)
    ]
    seconds = (time.perf_counter() - start) / len(faces)
    size = float(np.mean([len(payload) + _RECORD_BYTES for payload in payloads]))
    return [decode_payload(payload, JPEG, 0, 0) for payload in payloads], size, seconds


def _try_lr(variant: Variant, plan: BasePlan, images: list[NDArray[np.uint8]]) -> tuple[float, float]:
    """Return (bytes of a record, seconds for one)."""
    pipeline = Pipeline(variant.spec)
    keys = [plan.rows.key(row) for row in range(len(images))]
    pipeline.run(keys[:1], images[:1], variant.number)  # what is loaded once does not count
    start = time.perf_counter()
    done = pipeline.run(keys, images, variant.number)
    seconds = (time.perf_counter() - start) / len(images)
    records = [lr_record(0, item.image, hr) for item, hr in zip(done, images, strict=True)]
    return float(np.mean([len(record.payload) + _RECORD_BYTES for record in records])), seconds


def contact_sheet(
    store: StoreFiles, ingest: Ingest, specs: Sequence[Spec], path: Path, faces: int = 8
) -> None:
    """Write a PNG: a row per face, HR first and then one column a spec under its name, enlarged to the HR
    size by pixel repetition.

    Raises:
        SpecError: the file would not be a PNG.

    """
    if path.suffix.lower() != ".png":
        raise SpecError("a contact sheet is a PNG", file=str(path))
    ingest, listed = _shown(store, ingest, faces)
    spread = np.linspace(0, len(listed) - 1, min(faces, len(listed))).astype(int)
    picked = [listed[index] for index in spread.tolist()]
    marks = ingest.landmarks_of(picked) or (None,) * len(picked)
    images = [
        ingest.options.prepare.pixels(ingest.source.read(face.place), mark)
        for face, mark in zip(picked, marks, strict=True)
    ]
    columns = [images]
    for spec in specs:
        done = Pipeline(spec).run([face.key_bytes for face in picked], images, 0)
        columns.append([_repeat(item.image, ingest.options.prepare.size_px) for item in done])
    sheet = tile(list(zip(*columns, strict=True)), ["HR", *(spec.name for spec in specs)])
    make_folder(path.parent)
    write_atomic(path, encode_png(sheet), path.parent)


def _shown(store: StoreFiles, ingest: Ingest, faces: int) -> tuple[Ingest, FaceList]:
    """Return the faces that a sheet can show; those of photographs are looked for in some."""
    if ingest.search is None:
        return ingest, Memory.of(store, ingest.allow_forgotten).without(ingest.listing()).faces
    seen = look(store, replace(ingest, listed=_some(ingest.listing(), 4 * faces), kept=None), Runner())
    if not seen.found.usable.any():
        raise seen.nothing()
    return seen.ingest(ingest), seen.faces.take(np.flatnonzero(seen.found.usable))


def _repeat(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Enlarge by pixel repetition, so that the native pixels can be seen."""
    rows = np.arange(size_px) * image.shape[0] // size_px
    columns = np.arange(size_px) * image.shape[1] // size_px
    return np.asarray(image[rows][:, columns])
