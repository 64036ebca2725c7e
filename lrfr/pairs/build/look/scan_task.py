"""The look at some faces: every byte read, hashed and decoded once, the result kept for the shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lrfr.core.errors import ImageFault
from lrfr.core.image.silence import silent_where_allowed
from lrfr.pairs.build.look.scan_table import Scanned
from lrfr.pairs.build.look.spool import SpoolWriter, entry_seed
from lrfr.pairs.build.prepare import Cut, Landmarks, Prepare
from lrfr.pairs.build.tasks import Draw, HrRows, batch_rows, content_digest, degraded_records
from lrfr.pairs.executors.base import TaskReport
from lrfr.pairs.executors.picture_limits import FaceLimits, bounded_memory, checked_content
from lrfr.pairs.sources.base import Content, Place, Source

# of files that are held at once
BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class ScanReport(TaskReport):
    """What a look at some faces told, one entry a face; where what it kept of them lies; and, where they were
    asked for, their stamps from before they were read.
    """

    scanned: tuple[Scanned, ...] = ()
    entries: NDArray[Any] | None = None
    stamps: tuple[tuple[int, ...] | None, ...] = ()


@dataclass(frozen=True)
class Keep:
    """What a scan task leaves of the faces that it sees.

    Attributes:
        path: its file.
        most_bytes: of it.
        keys: of the faces.
        marks: of their stamps before anything was read, 0 where the source has none; None where the task is
            to ask for the stamps.
        draws: the degraded variants to make at once.

    """

    path: Path
    most_bytes: int
    keys: tuple[bytes, ...]
    marks: tuple[int, ...] | None
    draws: tuple[Draw, ...]


@dataclass(frozen=True)
class ScanTask:
    """Look at every byte of some faces once: hash them and prove that they decode. With ``stamped`` it tells
    their stamps.
    """

    source: Source
    places: tuple[Place, ...]
    prepare: Prepare
    landmarks: tuple[Landmarks | None, ...] | None
    keep: Keep | None = None
    stamped: bool = False

    def run(self) -> ScanReport:
        """Return one :class:`Scanned` a face."""
        count, found = len(self.places), []
        stamps: list[tuple[int, ...] | None] = []
        with ExitStack() as stack:
            stack.enter_context(bounded_memory())
            within = stack.enter_context(FaceLimits())
            spool = None
            if self.keep:
                spool = stack.enter_context(SpoolWriter(self.keep.path, count, self.keep.most_bytes))
            for start, contents in self._batches(stamps, within):
                with silent_where_allowed() as silent:
                    seen = [self._scan(start + at, item, within, silent) for at, item in enumerate(contents)]
                found += [scanned for scanned, _ in seen]
                if spool:
                    self._keep(spool, start, seen, stamps)
                # the next pictures take the memory of these, which is still in the processor's cache
                seen.clear()
                contents.clear()
        return ScanReport(count, tuple(found), spool.entries() if spool else None, tuple(stamps))

    def _batches(
        self, stamps: list[tuple[int, ...] | None], within: FaceLimits
    ) -> Iterator[tuple[int, list[Content | Scanned]]]:
        """Yield the first number of some faces and what was read of each, or why nothing was; collect
        ``stamps``.
        """
        step, start, size = batch_rows(self.prepare.size_px), 0, 0
        held: list[Content | Scanned] = []
        for place in self.places:
            try:
                if self.stamped:
                    stamps.append(None)
                    content, stamps[-1] = within(partial(self.source.read_stamped, place))
                else:
                    content = within(partial(self.source.read, place))
                content = checked_content(content)
                held.append(content)
                size += len(content) if isinstance(content, bytes) else content.nbytes
            except ImageFault as fault:
                held.append(Scanned(code=fault.code, detail=fault.detail))
            if len(held) == step or size >= BATCH_BYTES:
                count = len(held)
                yield start, held
                start, held, size = start + count, [], 0
        if held:
            yield start, held

    def _scan(
        self, index: int, content: Content | Scanned, within: FaceLimits, silent: bool
    ) -> tuple[Scanned, Cut | None]:
        if isinstance(content, Scanned):
            return content, None
        try:
            marks, name = self.landmarks[index] if self.landmarks else None, self.places[index]
            said = name if isinstance(name, str) else ""
            cut = within(partial(self.prepare.look, content, marks, said, silent=silent))
        except ImageFault as fault:
            return Scanned(code=fault.code, detail=fault.detail), None
        sha256, size = content_digest(content)
        pixels, flags = cut.pixels, cut.remarks
        constant = pixels.item(0) == pixels.item(pixels.size // 2) and pixels.min() == pixels.max()
        return Scanned(sha256, size, flags=(*flags, "W_CONSTANT") if constant else flags), cut

    def _keep(
        self,
        spool: SpoolWriter,
        start: int,
        seen: Sequence[tuple[Scanned, Cut | None]],
        stamps: Sequence[tuple[int, ...] | None],
    ) -> None:
        """Spool what was seen of a batch; a face whose source cannot tell a change is read twice."""
        assert self.keep is not None
        marks = stamps if self.keep.marks is None else self.keep.marks
        kept = [
            (start + at, scanned.sha256, self.prepare.stored(cut))
            for at, (scanned, cut) in enumerate(seen)
            if cut is not None and marks[start + at]
        ]
        if not kept:
            return
        keys = [self.keep.keys[row] for row, _, _ in kept]
        some = HrRows([0] * len(kept), keys, [pixels for _, _, (_, pixels) in kept])
        made = [degraded_records(some, draw) for draw in self.keep.draws]
        records = zip(*made, strict=True) if made else repeat(())
        for key, (row, sha256, (payload, _)), degraded in zip(keys, kept, records, strict=False):
            spool.add(row, payload, degraded, entry_seed(key, bytes.fromhex(sha256)))
