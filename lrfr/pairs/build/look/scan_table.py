"""What a look at the faces of a source told, in columns: an object a face would cost ten times the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.build.look.spool import Spool

MOST_BYTES = 2**32 - 1
# odd numbers that fold the four words of a digest into one
_FOLD = tuple(
    map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93))
)


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one look at a face's bytes told: its digest and size, or the reason why it is refused, and
    remarks.
    """

    sha256: str = ""
    size: int = 0
    code: str = ""
    detail: str = ""
    flags: tuple[str, ...] = ()


class ScanTable:
    """A :class:`Scanned` for each of ``count`` faces; refusals and remarks are few and kept by their row.

    Attributes:
        digests: uint8 ``[n, 32]``, zeros for a face that is refused or not known.
        sizes: uint32 ``[n]``, bytes; :data:`MOST_BYTES` stands for more.
        known: bool ``[n]``, whether there is an entry.
        usable: bool ``[n]``, whether there is one that is no refusal.
        spool: what the look left for the shards, None for nothing.

    """

    def __init__(self, count: int) -> None:
        self.digests = np.zeros((count, 32), np.uint8)
        self.sizes = np.zeros(count, np.uint32)
        self.known = np.zeros(count, bool)
        self.usable = np.zeros(count, bool)
        self.spool: Spool | None = None
        self._refused: dict[int, tuple[str, str]] = {}
        self._flags: dict[int, tuple[str, ...]] = {}

    @classmethod
    def of(cls, scanned: Iterable[Scanned]) -> ScanTable:
        """Return the table of some entries."""
        items = list(scanned)
        table = cls(len(items))
        for row, item in enumerate(items):
            table.put(row, item)
        return table

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, row: int) -> Scanned:
        flags = self._flags.get(row, ())
        if row in self._refused:
            return Scanned("", 0, *self._refused[row], flags)
        return Scanned(self.digests[row].tobytes().hex(), int(self.sizes[row]), flags=flags)

    def __iter__(self) -> Iterator[Scanned]:
        return map(self.__getitem__, range(len(self)))

    def put(self, row: int, item: Scanned) -> None:
        """Set one entry."""
        self._refused.pop(row, None)
        self.flag(row, item.flags)
        self.known[row], self.usable[row] = True, not item.code
        self.sizes[row] = min(item.size, MOST_BYTES)
        self.digests[row] = 0 if item.code else np.frombuffer(bytes.fromhex(item.sha256), np.uint8)
        if item.code:
            self._refused[row] = (item.code, item.detail)

    def put_all(self, rows: Sequence[int], items: Sequence[Scanned]) -> None:
        """Set many entries."""
        sound = [number for number, item in enumerate(items) if not item.code]
        digests = np.frombuffer(bytes.fromhex("".join(items[number].sha256 for number in sound)), np.uint8)
        sizes = np.fromiter((items[number].size for number in sound), np.int64, len(sound))
        self.fill(np.asarray(rows, np.int64)[sound], digests.reshape(-1, 32), sizes)
        for row, item in zip(rows, items, strict=True):
            if item.code or item.flags:
                self.put(row, item)

    def fill(self, rows: NDArray[np.int64], digests: NDArray[np.uint8], sizes: NDArray[np.integer]) -> None:
        """Set entries without remarks."""
        self.known[rows] = self.usable[rows] = True
        self.digests[rows] = digests
        self.sizes[rows] = np.minimum(sizes, MOST_BYTES)

    def flag(self, row: int, flags: tuple[str, ...]) -> None:
        """Set the remarks of a face."""
        self._flags.pop(row, None)
        if flags:
            self._flags[row] = flags

    def odd(self) -> Iterator[tuple[int, Scanned]]:
        """Yield the row and entry of every face that is refused or remarked, in order."""
        for row in sorted(self._refused.keys() | self._flags.keys()):
            yield row, self[row]

    def only(self, stays: NDArray[np.bool_]) -> ScanTable:
        """Return the table of some of the faces."""
        table, rows = ScanTable(0), np.cumsum(stays) - 1
        table.digests, table.sizes = self.digests[stays], self.sizes[stays]
        table.known, table.usable = self.known[stays], self.usable[stays]
        table.spool = self.spool and self.spool.take(stays)
        table._refused = {int(rows[row]): told for row, told in self._refused.items() if stays[row]}
        table._flags = {int(rows[row]): told for row, told in self._flags.items() if stays[row]}
        return table

    def twice(self) -> NDArray[np.int64]:
        """Return the usable rows whose digest another one may have: of two equal digests, both are there."""
        words = self.digests.view(np.uint64)
        folded = words[:, 0] * _FOLD[0]
        for number, odd in enumerate(_FOLD[1:], 1):
            folded += words[:, number] * odd
        rows = np.flatnonzero(self.usable)
        folded = folded[rows]
        ordered = np.sort(folded)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        # numpy 2.0 fails on its table of numbers from 2^63 on
        return rows[np.isin(folded, repeated, kind="sort")] if len(repeated) else rows[:0]
