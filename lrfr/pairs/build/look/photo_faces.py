"""Photographs become faces: those of every photograph that was scanned, searched once and in parallel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lrfr.pairs.align.aligner import flag_of
from lrfr.pairs.align.landmark_table import LandmarkRow
from lrfr.pairs.align.photo_list import crop_names
from lrfr.pairs.build.look.face_cache import FaceCache, cache_path
from lrfr.pairs.build.look.face_search import FaceReport, FaceTask, FoundFaces, search_digest
from lrfr.pairs.build.look.scan_table import Scanned, ScanTable
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.sources.base import FaceList

PHOTOS_A_TASK = 8
# a rough estimate, to choose an executor by
SECONDS_A_PHOTO = 0.1


@dataclass(frozen=True)
class PhotoFaces:
    """The faces of photographs.

    Attributes:
        faces: one or more a photograph; a photograph without one stands there as refused.
        found: what is known of each.
        table: landmarks, scores and remarks of those that are used, by key.
        photos: how many photographs are used.
        held: how many faces those hold.
        seconds: what the search took a photograph on one core; 0.0 where nothing had to be searched.
        several: whether a photograph may be several rows.
        forgotten: how many of the faces may not be kept, and are left out.

    """

    faces: FaceList
    found: ScanTable
    table: tuple[LandmarkRow, ...]
    photos: int
    held: int
    seconds: float
    several: bool
    forgotten: int = 0

    def without(self, is_secret: Callable[[bytes], bool]) -> PhotoFaces:
        """Return them without the faces whose keys may not be kept."""
        stays = np.array([not is_secret(face.key_bytes) for face in self.faces], bool)
        if stays.all():
            return self
        faces = self.faces.take(np.flatnonzero(stays))
        keys = {face.key for face in faces}
        table = tuple(row for row in self.table if row.key in keys)
        gone = int((~stays).sum())
        return replace(self, faces=faces, found=self.found.only(stays), table=table, forgotten=gone)


def find_faces(
    ingest: Ingest, photos: FaceList, scanned: ScanTable, store: Path, runner: Runner
) -> PhotoFaces:
    """Find the faces of photographs.

    Args:
        ingest: where they are read from, and how faces are searched.
        photos: all of them.
        scanned: what one look at each told.
        store: whose cache remembers what was found, by content.
        runner: where the search runs.

    """
    assert ingest.search is not None
    cache = FaceCache(cache_path(store, search_digest(ingest.search, ingest.options.prepare)))
    digests = {row: scanned.digests[row].tobytes() for row in np.flatnonzero(scanned.usable).tolist()}
    known = {content: cache.get(content) if ingest.cached else None for content in digests.values()}
    first: dict[bytes, int] = {}
    for row, content in digests.items():
        if known[content] is None:
            first.setdefault(content, row)
    found = {content: faces for content, faces in known.items() if faces is not None}
    fresh, seconds = _search(ingest, photos, first, cache, (runner, len(found)))
    found |= fresh
    of_row = {row: found[content] for row, content in digests.items()}
    joined = _joined(photos, scanned, of_row)
    return replace(joined, seconds=seconds, several=ingest.search.rules.face == "all")


def _search(
    ingest: Ingest,
    photos: FaceList,
    first: Mapping[bytes, int],
    cache: FaceCache,
    where: tuple[Runner, int],
) -> tuple[dict[bytes, FoundFaces], float]:
    """Search what is not known, each content once, and remember it as it comes; return it with the seconds a
    photograph. ``where`` is the runner and how many contents are known.
    """
    runner, done = where
    assert ingest.search is not None
    contents, tasks = list(first), []
    for start in range(0, len(contents), PHOTOS_A_TASK):
        some = contents[start : start + PHOTOS_A_TASK]
        places = tuple(photos.places(first[content] for content in some))
        tasks.append(FaceTask(ingest.source, places, b"".join(some), ingest.options.prepare, ingest.search))
    found: dict[bytes, FoundFaces] = {}
    spent = 0.0

    def told(number: int, report: FaceReport) -> None:
        nonlocal spent
        start = number * PHOTOS_A_TASK
        some = dict(zip(contents[start : start + PHOTOS_A_TASK], report.found, strict=True))
        found.update(some)
        cache.add(some.items())
        spent += report.seconds

    total = done + len(contents)
    runner.run(tasks, len(contents) * SECONDS_A_PHOTO, "faces", done, total, each=told)
    return found, spent / max(1, len(contents))


def _joined(photos: FaceList, scanned: ScanTable, found: Mapping[int, FoundFaces]) -> PhotoFaces:
    """Return a face for each that was found, and one refused for each photograph of which none is used."""
    taken = {photo.key for photo in photos}
    further = set[str]()
    faces, items, table = FaceList(), list[Scanned](), list[LandmarkRow]()
    used = held = 0
    for row, photo in enumerate(photos):
        item, seen = scanned[row], found.get(row)
        if seen is None or seen.code:
            refused = Scanned(code=seen.code, detail=seen.detail, flags=item.flags) if seen else item
            faces.append(photo)
            items.append(refused)
            continue
        used, held = used + 1, held + len(seen.faces)
        names = crop_names(photo.key, len(seen.faces), taken)
        for number, face in enumerate(seen.faces):
            key = names[number] if number else photo.key
            faces.append(replace(photo, key=key))
            if number and key in further:
                items.append(Scanned(code="E_KEY", detail="another photograph's face has its name"))
                continue
            further |= {key} if number else set()
            flags = tuple(flag_of(remark.code) for remark in face.remarks)
            items.append(replace(item, flags=(*(item.flags if not number else ()), *flags)))
            table.append(replace(face, key=key))
    return PhotoFaces(faces, ScanTable.of(items), tuple(table), used, held, 0.0, several=False)
