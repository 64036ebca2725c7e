"""The pages of an LMDB file, every pointer compared with the file's end before it is followed.

LMDB itself follows whatever it finds, out of its map too, which ends the process by SIGSEGV or SIGBUS. The
layout is that of ``mdb.c`` 0.9: pages with a head of 16 bytes, two meta pages, nodes by offset.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator

Read = Callable[[int, int], bytes | memoryview]
_PAGE = struct.Struct("<QHHHH")
_META_ROOT = struct.Struct("<QQQ")
_NODE = struct.Struct("<HHHH")
_U16, _U64 = struct.Struct("<H"), struct.Struct("<Q")
_BRANCH, _LEAF, _BIG = 1, 2, 1
_HEAD, _NODE_HEAD, _META = 16, 8, 152
# far deeper than 2^48 pages of one key each could be
_MOST_LEVELS = 64
MAGIC = 0xBEEFC0DE

Place = tuple[int, int]


class LmdbPages:
    """The values of an LMDB file, by where they lie.

    Args:
        read: returns the bytes of a place and length that lie in the file.
        size: of the file in bytes.
        page_bytes: of a page; None to read it from the file.

    Attributes:
        page_bytes: of a page.

    """

    def __init__(self, read: Read, size: int, page_bytes: int | None = None) -> None:
        self._read, self._size = read, size
        self.page_bytes = page_bytes or self._own_page_bytes()

    def _own_page_bytes(self) -> int:
        if self._size < _META:
            return 4096
        found = int(struct.unpack_from("<I", self._read(0, _META), 40)[0])
        return found if 512 <= found <= 65536 and not found & (found - 1) else 4096

    def _roots(self) -> list[int]:
        """Return the root pages, that of the later transaction first."""
        metas = [place for place in (0, self.page_bytes) if place + _META <= self._size]
        roots = [_META_ROOT.unpack_from(self._read(place, _META), 128) for place in metas]
        return [root[0] for root in sorted(roots, key=lambda root: -root[2])]

    def items(self, older: bool = False) -> Iterator[tuple[bytes, Place]]:
        """Yield every key with (start, length) of its value, in key order, as far as they can be reached.

        Args:
            older: also those of the transaction before, behind the others; of a file whose newer root may
                be damaged.

        """
        waiting, seen = deque(self._roots()[: 2 if older else 1]), set[int]()
        while waiting:
            number = waiting.popleft()
            if number in seen or (number + 1) * self.page_bytes > self._size:
                continue
            seen.add(number)
            page = self._read(number * self.page_bytes, self.page_bytes)
            kind, nodes = self._nodes(page)
            for node in nodes:
                if kind == _BRANCH:
                    waiting.append(_child(page, node))
                    continue
                place = self._value(page, number, node)
                if place:
                    yield _key(page, node), place

    def find(self, key: bytes) -> Place | None:
        """Return (start, length) of a value, None where the key cannot be reached."""
        number = next(iter(self._roots()), 0)
        for _ in range(_MOST_LEVELS):
            if (number + 1) * self.page_bytes > self._size:
                return None
            page = self._read(number * self.page_bytes, self.page_bytes)
            kind, nodes = self._nodes(page)
            place = _last_not_above(page, nodes, key)
            if kind == _LEAF:
                same = place >= 0 and _key(page, nodes[place]) == key
                return self._value(page, number, nodes[place]) if same else None
            if not nodes:
                return None
            # the first key of a branch stands for all below
            number = _child(page, nodes[max(place, 0)])
        return None

    def _nodes(self, page: bytes | memoryview) -> tuple[int, list[int]]:
        """Return the kind of a page and where its nodes begin."""
        _, _, kind, lower, _ = _PAGE.unpack_from(page)
        if kind not in (_BRANCH, _LEAF):
            return kind, []
        stop = min(max(lower, _HEAD), self.page_bytes)
        starts = [_U16.unpack_from(page, at)[0] for at in range(_HEAD, stop - 1, 2)]
        return kind, [start for start in starts if _HEAD <= start <= self.page_bytes - _NODE_HEAD]

    def _value(self, page: bytes | memoryview, number: int, node: int) -> Place | None:
        low, high, kind, key_bytes = _NODE.unpack_from(page, node)
        start, size = node + _NODE_HEAD + key_bytes, low | high << 16
        if kind & _BIG:
            if start + _U64.size > self.page_bytes:
                return None
            start = _U64.unpack_from(page, start)[0] * self.page_bytes + _HEAD
        else:
            start += number * self.page_bytes
        return (start, size) if start + size <= self._size else None


def _child(page: bytes | memoryview, node: int) -> int:
    low, high, top, _ = _NODE.unpack_from(page, node)
    return int(low | high << 16 | top << 32)


def _key(page: bytes | memoryview, node: int) -> bytes:
    start = node + _NODE_HEAD
    return bytes(page[start : start + _NODE.unpack_from(page, node)[3]])


def _last_not_above(page: bytes | memoryview, nodes: list[int], key: bytes) -> int:
    """Return the last node whose key is not above ``key``, -1 where all are."""
    low, high = 0, len(nodes)
    while low < high:
        middle = (low + high) // 2
        if _key(page, nodes[middle]) <= key:
            low = middle + 1
        else:
            high = middle
    return low - 1


def salvage(file: bytes) -> dict[bytes, memoryview]:
    """Return the values of a file that may be damaged, by key, as far as they can be reached."""
    data, found = memoryview(file), dict[bytes, memoryview]()
    pages = LmdbPages(lambda start, count: data[start : start + count], len(data), 4096)
    for key, (start, size) in pages.items(older=True):
        found.setdefault(key, data[start : start + size])
    return found
