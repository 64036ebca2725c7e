"""Looking at every source byte once before anything is planned, with a cache that may only save time."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrfr.core.files import digest_of
from lrfr.core.files.inside import part_of
from lrfr.pairs.build.look.face_search import FaceSearch
from lrfr.pairs.build.look.listing_cache import ListingCache
from lrfr.pairs.build.look.scan_cache import FLAGS, ScanCache, is_settled, ticket_of
from lrfr.pairs.build.look.scan_table import Scanned, ScanTable
from lrfr.pairs.build.look.scan_task import Keep, ScanReport, ScanTask
from lrfr.pairs.build.look.spool import LEAST_FACES, Spool, kept_row_bytes
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Landmarks
from lrfr.pairs.build.tasks import Draw
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.sealed import plain_fields
from lrfr.pairs.sources.base import Face, FaceList, Listing, Source

# faces a task: long enough to pay for its way to a worker, short enough for a stop to be prompt
CHUNK = 512
# faces whose stamps are held at once
STAMPED = 1 << 14
# reading, hashing and decoding one 112 px JPEG on one core; only chooses the executor
SCAN_MS = 0.4
Stamps = Sequence[tuple[int, ...] | None]
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
        search: how the faces of photographs are found, where that is to be done and gives the landmarks.
        kept: where the listing is remembered, None for nowhere.

    """

    source: Source
    options: BaseOptions = field(default_factory=BaseOptions)
    landmarks: LandmarkTable = None
    cached: bool = True
    warnings: tuple[str, ...] = ()
    listed: Listing | None = None
    allow_forgotten: bool = False
    search: FaceSearch | None = None
    kept: ListingCache | None = None

    def listing(self) -> Listing:
        """List the source, once."""
        return self.source.listing() if self.listed is None else self.listed

    def faces(self) -> FaceList:
        """List the faces of the source, once."""
        return self.listing().faces

    def landmarks_of(self, faces: Sequence[Face]) -> tuple[Landmarks | None, ...] | None:
        """Return the landmarks of some faces."""
        return None if self.landmarks is None else tuple(self.landmarks.get(face.key) for face in faces)

    def cache_file(self, store: Path) -> Path:
        """Return the file of the scan cache for this source and way of taking it in."""
        where = [self.source.describe(), str(getattr(self.source, "root", ""))]
        how = [plain_fields(self.options.prepare.describe()), _landmarks_digest(self.landmarks)]
        return part_of(store, "cache", f"scan-{digest_of([*where, *how, FLAGS])[:16]}.bin")


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

    found: ScanTable
    again: int = 0
    note: str = ""


def scan(
    ingest: Ingest,
    faces: FaceList,
    store: Path,
    runner: Runner,
    secret: Callable[[str], bool] = lambda sha256: False,
    *,
    draws: Sequence[Draw] | None = None,
) -> Looked:
    """Look at every face.

    Faces with a fingerprint are trusted without a look. Files whose size, times and inode are those of the
    cache are not read again; the cache never enters an id, and bytes are compared once more when the record
    is written. What is ``secret`` by its digest is not remembered. Where ``draws`` are given, also none, the
    shards are written next: what is read now is spooled for them, and these variants of it are made at once.
    """
    table = _without_look(ingest.source, faces)
    # where faces are still to be found, what is seen are no crops
    cut = draws is not None and ingest.options.prepare.finder is None
    if cut and len(table) - int(table.known.sum()) >= LEAST_FACES:
        table.spool = Spool.empty(part_of(store, "tmp"), len(faces))
    late = ingest.source.stamps_as_read
    if not ingest.cached:
        if table.spool and not late:
            _mark_all(ingest.source, faces, table.spool, np.flatnonzero(~table.known).tolist())
        looked = _look(ingest, faces, table, runner, draws=draws or (), stamped=late)
        _mark_duplicates(faces, table)
        return Looked(table, len(looked))
    with ScanCache(ingest.cache_file(store)) as cache:
        # a cache that knows nothing need not be asked: the stamps come with what is read
        late, now_ns = late and not len(cache), time.time_ns()
        kept = {} if late else _remembered(ingest.source, faces, table, cache)
        cache.prune(part_of(store, "tmp"))

        def keep(seen: Mapping[int, Scanned], stamps: Stamps) -> None:
            for row, key, stamp in zip(
                seen, faces.keys_of(list(seen)) if stamps else (), stamps, strict=False
            ):
                if stamp and is_settled(stamp, now_ns):
                    kept[row] = ticket_of(key, stamp)
            cache.add(_entries(seen, kept, secret))

        missing = _look(ingest, faces, table, runner, draws=draws or (), keep=keep, stamped=late)
        again = sum(row not in kept or not table.usable[row] for row in missing)
        _mark_duplicates(faces, table)
        return Looked(table, again, cache.note)


def _without_look(source: Source, faces: FaceList) -> ScanTable:
    """Return the table of what is known without the bytes: a face that is refused by its list is never read,
    one with a fingerprint need not be.
    """
    table, rows, digests = ScanTable(len(faces)), array("q"), bytearray()
    for row, (code, detail) in faces.faults.items():
        table.put(row, Scanned(code=code, detail=detail))
    named = type(source).fingerprint is not Source.fingerprint
    for start in range(0, len(faces) if named else 0, STAMPED):
        some = range(start, min(start + STAMPED, len(faces)))
        for row, place in zip(some, faces.places(some), strict=True):
            if not table.known[row] and (content := source.fingerprint(place)):
                rows.append(row)
                digests += bytes.fromhex(content)
    named_rows = np.frombuffer(rows, np.int64)
    table.fill(named_rows, np.frombuffer(digests, np.uint8).reshape(-1, 32), np.zeros(len(rows), np.int64))
    return table


def _remembered(source: Source, faces: FaceList, table: ScanTable, cache: ScanCache) -> dict[int, bytes]:
    """Fill what the cache knows; return the tickets of the other faces whose stamps are settled."""
    now_ns = time.time_ns()
    missing, kept = np.flatnonzero(~table.known), dict[int, bytes]()
    for start in range(0, len(missing), STAMPED):
        rows = missing[start : start + STAMPED]
        numbers = rows.tolist()
        stamps = source.stamps(faces.places(numbers))
        if table.spool:
            table.spool.mark(numbers, stamps)
        tickets = [
            ticket_of(key, stamp) if stamp else b""
            for key, stamp in zip(faces.keys_of(numbers), stamps, strict=True)
        ]
        stamped = np.flatnonzero(np.fromiter(map(bool, tickets), bool))
        hits = cache.hits(b"".join(tickets))
        found = rows[stamped[hits.at]]
        table.fill(found, hits.digests, hits.sizes)
        for number, flags in hits.flags.items():
            table.flag(int(found[number]), flags)
        for at in np.flatnonzero(~table.known[rows]).tolist():
            stamp = stamps[at]
            if stamp and is_settled(stamp, now_ns):
                kept[numbers[at]] = tickets[at]
    return kept


def _mark_all(source: Source, faces: FaceList, spool: Spool, rows: list[int]) -> None:
    for start in range(0, len(rows), STAMPED):
        some = rows[start : start + STAMPED]
        spool.mark(some, source.stamps(faces.places(some)))


def _entries(
    seen: Mapping[int, Scanned], tickets: Mapping[int, bytes], secret: Callable[[str], bool]
) -> Iterator[tuple[bytes, str, int, tuple[str, ...]]]:
    for index, item in seen.items():
        if index in tickets and not item.code and not secret(item.sha256):
            yield tickets[index], item.sha256, item.size, item.flags


def _look(
    ingest: Ingest,
    faces: FaceList,
    table: ScanTable,
    runner: Runner,
    *,
    draws: Sequence[Draw] = (),
    keep: Callable[[Mapping[int, Scanned], Stamps], None] | None = None,
    stamped: bool = False,
) -> list[int]:
    """Fill what is not known yet, in parallel, and return its rows; ``keep`` is given what each task saw, as
    it ends, with the stamps where these come with what is read (``stamped``).
    """
    missing = np.flatnonzero(~table.known).tolist()
    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    most_bytes = CHUNK * (1 + len(draws)) * kept_row_bytes(ingest.options.prepare.size_px)
    files = table.spool.files_allowed(most_bytes) if table.spool else 0
    tasks = []
    for number, chunk in enumerate(chunks):
        kept = None
        if table.spool and number < files:
            keys = tuple(faces.keys_of(chunk))
            stamps = None if stamped else tuple(table.spool.entries["mark"][chunk].tolist())
            kept = Keep(table.spool.file(number), most_bytes, keys, stamps, tuple(draws))
        places, marks = tuple(faces.places(chunk)), ingest.landmarks_of(faces.take(np.array(chunk)))
        tasks.append(ScanTask(ingest.source, places, ingest.options.prepare, marks, kept, stamped))

    def told(number: int, report: ScanReport) -> None:
        table.put_all(chunks[number], report.scanned)
        if table.spool and report.entries is not None:
            if stamped:
                table.spool.mark(chunks[number], report.stamps)
            table.spool.put(chunks[number], number, report.entries)
        if keep:
            keep(dict(zip(chunks[number], report.scanned, strict=True)), report.stamps)

    runner.run(tasks, len(missing) * SCAN_MS / 1e3, "scan", 0, len(missing), each=told)
    assert table.known.all()
    return missing


def _mark_duplicates(faces: FaceList, table: ScanTable) -> None:
    """Flag every face whose bytes a face before it has, in the order of the keys (a source may list them in
    any).
    """
    seen: set[bytes] = set()
    for row in sorted(table.twice().tolist(), key=faces.key_at):
        content = table.digests[row].tobytes()
        if content in seen:
            table.flag(row, (*table[row].flags, "W_DUPLICATE"))
        seen.add(content)
