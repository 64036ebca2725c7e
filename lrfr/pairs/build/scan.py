"""Looking at every source byte once before anything is planned, with a cache that may only save time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lrfr.core.files import digest_of
from lrfr.pairs.build.look.scan_cache import FLAGS, ScanCache, is_settled, ticket_of
from lrfr.pairs.build.plan import BaseOptions, Scanned
from lrfr.pairs.build.prepare import Landmarks
from lrfr.pairs.build.tasks import ScanReport, ScanTask
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
        return store / "cache" / f"scan-{digest_of([*where, *how, FLAGS])[:16]}.bin"


def _landmarks_digest(landmarks: LandmarkTable) -> str:
    # as text: JSON has no NaN, and a face whose points are none is refused alone
    return digest_of({key: list(map(repr, points)) for key, points in landmarks.items()}) if landmarks else ""


@dataclass(frozen=True)
class Looked:
    """What a scan told.

    Attributes:
        found: one entry a face.
        again: how many faces a next scan would have to read, whatever happens to the files.
        note: what to tell about the cache, "" for nothing.

    """

    found: tuple[Scanned, ...]
    again: int = 0
    note: str = ""


def scan(
    ingest: Ingest,
    faces: Sequence[Face],
    store: Path,
    runner: Runner,
    secret: Callable[[str], bool] = lambda sha256: False,
) -> Looked:
    """Look at every face.

    Faces with a fingerprint are trusted without a look. Files whose size, times and inode are those of the
    cache are not read again; the cache never enters an id, and bytes are compared once more when the record
    is written. What is ``secret`` by its digest is not remembered.
    """
    found = [_without_look(ingest.source, face) for face in faces]
    missing = [index for index, item in enumerate(found) if item is None]
    if not ingest.cached:
        _look(ingest, faces, found, runner)
        return Looked(tuple(_mark_duplicates(faces, _all(found))), len(missing))
    with ScanCache(ingest.cache_file(store)) as cache:
        now_ns = time.time_ns()
        stamps = ingest.source.stamps([faces[index].place for index in missing])
        tickets = [
            ticket_of(faces[index].key_bytes, stamp) if stamp else b""
            for index, stamp in zip(missing, stamps, strict=True)
        ]
        known = cache.find(b"".join(ticket or bytes(16) for ticket in tickets))
        for index, ticket, item in zip(missing, tickets, known, strict=True):
            found[index] = Scanned(item[0], item[1], flags=item[2]) if ticket and item else None
        cache.prune(store / "tmp")
        kept = {
            index: ticket
            for index, stamp, ticket in zip(missing, stamps, tickets, strict=True)
            if stamp and is_settled(stamp, now_ns)
        }
        missing = [index for index in missing if found[index] is None]
        _look(ingest, faces, found, runner, lambda seen: cache.add(_entries(seen, kept, secret)))
        done = _all(found)
        again = sum(index not in kept or bool(done[index].code) for index in missing)
        return Looked(tuple(_mark_duplicates(faces, done)), again, cache.note)


def _without_look(source: Source, face: Face) -> Scanned | None:
    # a face that is refused by its list is never read, one with a fingerprint need not be
    if face.fault:
        return Scanned(code=face.fault, detail=face.detail)
    named = source.fingerprint(face.place)
    return Scanned(named) if named else None


def _all(found: Sequence[Scanned | None]) -> list[Scanned]:
    done = [item for item in found if item is not None]
    assert len(done) == len(found)
    return done


def _entries(
    seen: Mapping[int, Scanned], tickets: Mapping[int, bytes], secret: Callable[[str], bool]
) -> Iterator[tuple[bytes, str, int, tuple[str, ...]]]:
    for index, item in seen.items():
        if index in tickets and not item.code and not secret(item.sha256):
            yield tickets[index], item.sha256, item.size, item.flags


def _look(
    ingest: Ingest,
    faces: Sequence[Face],
    found: list[Scanned | None],
    runner: Runner,
    keep: Callable[[Mapping[int, Scanned]], None] | None = None,
) -> None:
    """Fill what is not known yet, in parallel; ``keep`` is given what each task saw, as it ends."""
    missing = [index for index, item in enumerate(found) if item is None]
    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    tasks = []
    for chunk in chunks:
        some = [faces[index] for index in chunk]
        marks = ingest.landmarks_of(some)
        tasks.append(
            ScanTask(ingest.source, tuple(face.place for face in some), ingest.options.prepare, marks)
        )

    def told(number: int, report: ScanReport) -> None:
        seen = dict(zip(chunks[number], report.scanned, strict=True))
        for index, item in seen.items():
            found[index] = item
        if keep:
            keep(seen)

    runner.run(tasks, len(missing) * SCAN_MS / 1e3, "scan", 0, len(missing), each=told)


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
