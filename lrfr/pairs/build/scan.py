"""Looking at every source byte once before anything is planned, with a cache that may only save time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lrfr.core.files import canonical, digest_of, make_folder, write_atomic
from lrfr.pairs.build.plan import BaseOptions, Scanned
from lrfr.pairs.build.prepare import Landmarks
from lrfr.pairs.build.tasks import ScanTask
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.sources.base import Face, Listing, Source

# faces a task: long enough to pay for its way to a worker, short enough for a stop to be prompt
CHUNK = 512
# reading, hashing and decoding one 112 px JPEG on one core; only chooses the executor
SCAN_MS = 0.4
LandmarkTable = dict[str, Landmarks] | None


@dataclass(frozen=True)
class Ingest:
    """A source and how it is taken in.

    Attributes:
        source: the faces.
        options: how HR is cut, stored and permuted.
        landmarks: five points per key, where crops are aligned.
        cached: whether the scan cache may be used.
        warnings: what to tell the user about the source.
        listed: what the source lists, where it was listed already.
        allow_forgotten: whether faces that the store was made to forget may come back.

    """

    source: Source
    options: BaseOptions = field(default_factory=BaseOptions)
    landmarks: LandmarkTable = None
    cached: bool = True
    warnings: tuple[str, ...] = ()
    listed: Listing | None = None
    allow_forgotten: bool = False

    def listing(self) -> Listing:
        """List the source, once."""
        return self.source.listing() if self.listed is None else self.listed

    def faces(self) -> Sequence[Face]:
        """List the faces of the source, once."""
        return self.listing().faces

    def landmarks_of(self, faces: Sequence[Face]) -> tuple[Landmarks | None, ...] | None:
        """Return the landmarks of some faces."""
        return None if self.landmarks is None else tuple(self.landmarks.get(face.key) for face in faces)

    def cache_file(self, store: Path) -> Path:
        """Return the file of the scan cache for this source and way of taking it in."""
        where = [self.source.describe(), str(getattr(self.source, "root", ""))]
        how = [asdict(self.options.prepare.describe()), _landmarks_digest(self.landmarks)]
        return store / "cache" / f"scan-{digest_of([*where, *how])[:16]}.json"


def _landmarks_digest(landmarks: LandmarkTable) -> str:
    # as text: JSON has no NaN, and a face whose points are none is refused alone
    return digest_of({key: list(map(repr, points)) for key, points in landmarks.items()}) if landmarks else ""


def scan(ingest: Ingest, faces: Sequence[Face], store: Path, runner: Runner) -> list[Scanned]:
    """Return one :class:`Scanned` a face.

    Faces with a fingerprint are trusted without a look. Files whose size, times and inode are those of the
    cache are not read again; the cache never enters an id, and bytes are compared once more when the record
    is written.
    """
    known = _read_cache(ingest.cache_file(store)) if ingest.cached else {}
    found: list[Scanned | None] = []
    stamps: list[list[int] | None] = []
    for face in faces:
        named = ingest.source.fingerprint(face.place)
        stamp = None if named else ingest.source.stamp(face.place)
        stamps.append(list(stamp) if stamp else None)
        cached = known.get(face.key)
        # the order matters: a face that is refused by its list is never read, one with a fingerprint need not
        # be
        if face.fault:
            found.append(Scanned(code=face.fault, detail=face.detail))
        elif named:
            found.append(Scanned(named))
        else:
            found.append(cached[1] if cached and cached[0] == stamps[-1] else None)
    fresh = None in found
    _look(ingest, faces, found, runner)
    done = [item for item in found if item is not None]
    assert len(done) == len(faces)
    if ingest.cached and fresh and any(stamps):
        make_folder(store / "cache")
        entries = {
            face.key: [stamp, asdict(item)]
            for face, stamp, item in zip(faces, stamps, done, strict=True)
            if stamp and not item.code
        }
        write_atomic(ingest.cache_file(store), canonical(entries), store / "tmp")
    return _mark_duplicates(faces, done)


def _look(ingest: Ingest, faces: Sequence[Face], found: list[Scanned | None], runner: Runner) -> None:
    """Fill what is not known yet, in parallel."""
    missing = [index for index, item in enumerate(found) if item is None]
    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    tasks = []
    for chunk in chunks:
        some = [faces[index] for index in chunk]
        tasks.append(
            ScanTask(
                ingest.source,
                tuple(face.place for face in some),
                ingest.options.prepare,
                ingest.landmarks_of(some),
            )
        )
    reports = runner.run(tasks, len(missing) * SCAN_MS / 1e3, "scan", 0, len(missing))
    for chunk, report in zip(chunks, reports, strict=True):
        for index, item in zip(chunk, report.scanned, strict=True):
            found[index] = item


def _mark_duplicates(faces: Sequence[Face], found: list[Scanned]) -> list[Scanned]:
    """Flag every face whose bytes a face before it has, in the order of the keys (a source may list them in
    any).
    """
    seen: set[str] = set()
    marked = list(found)
    for index in sorted(range(len(faces)), key=lambda index: faces[index].key_bytes):
        sha256 = found[index].sha256
        if sha256 and sha256 in seen:
            marked[index] = replace(found[index], flags=(*found[index].flags, "W_DUPLICATE"))
        seen.add(sha256)
    return marked


def _read_cache(path: Path) -> dict[str, tuple[list[int], Scanned]]:
    """Read the cache; one that is damaged or of another version is no cache."""
    try:
        value = json.loads(path.read_bytes())
        return {
            key: (stamp, Scanned(**{**item, "flags": tuple(item["flags"])}))
            for key, (stamp, item) in value.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
