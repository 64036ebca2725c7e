"""The record and block codec of format LRS1 (little-endian), with a checksum in every record.

A block is one LMDB value::

    'LRB1'  u16 version  u16 flags  u32 n  u32 offsets[n + 1]  records
    record: u64 check  u32 len  u8 codec  u8 channels  u16 h  u16 w  u16 flags  u32 row  payload  tail

``check`` is xxh3_64, seeded with 64 bits of the store id, over all of the record that follows it: a record
that was flipped, moved to another row or taken from another store does not pass.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import xxhash
from numpy.typing import NDArray

from lrfr.core.errors import DataError, ImageFault
from lrfr.core.image import decode, encode_png
from lrfr.core.image.lossless import decode_lossless, encode_lossless
from lrfr.pairs.format.manifests import LR_CODEC, LrCodec

MAGIC = b"LRB1"
VERSION = 2
RAW, JPEG, PNG, WEBP, ZSTD = 0, 1, 2, 3, 4
# no pixels of its own: a degraded image that equals the HR image of its row
SAME_AS_HR = 5
HAS_TAIL = 1

_BLOCK = struct.Struct("<4sHHI")
_HEAD = struct.Struct("<IBBHHHI")
_CHECK = struct.Struct("<Q")
_RECORD = struct.Struct("<QIBBHHHI")
HEAD_BYTES, CHECK_BYTES = _RECORD.size, _CHECK.size
unpack_head = _RECORD.unpack_from

Buffer = bytes | memoryview


class Record(NamedTuple):
    """One stored image.

    Attributes:
        row: of the store.
        codec: RAW, JPEG, PNG, WEBP, ZSTD or SAME_AS_HR (whose payload is empty).
        height, width: in pixels.
        payload: encoded by ``codec``; of a record that was read, a view of the file.
        tail: optional canonical JSON.
        owner: keeps the file mapped for as long as the record lives.

    """

    row: int
    codec: int
    height: int
    width: int
    payload: Buffer
    tail: Buffer = b""
    owner: object = None

    def pixels(self) -> NDArray[np.uint8]:
        """Decode to uint8 ``[h, w, 3]`` RGB."""
        return decode_payload(self.payload, self.codec, self.height, self.width)


Encoded = tuple[Buffer, int, int, int]


def decode_payload(payload: Buffer, codec: int, height: int, width: int) -> NDArray[np.uint8]:
    """Decode bytes that passed their checksum (no probing of the header is needed) to uint8 ``[h, w, 3]``
    RGB.
    """
    data = np.frombuffer(payload, np.uint8)
    # copied, because the bytes belong to the file and are read-only
    if codec == RAW:
        return data.reshape(height, width, 3).copy()
    if codec == ZSTD:
        return decode_lossless(payload, height, width)
    pixels: Any = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    # what OpenCV alone refuses (it gives no reason) goes the guarded way, which names one
    return decode(bytes(payload)) if pixels is None else pixels


def decode_each(
    encoded: Sequence[Encoded], originals: Iterator[NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    """Decode (payload, codec, height, width), one after another; raw ones of one size are copied in one
    go, and ``originals`` gives the HR image of each that is the same.
    """
    if encoded and encoded[0][1] == RAW and len({item[1:] for item in encoded}) == 1:
        joined = np.frombuffer(bytearray().join([item[0] for item in encoded]), np.uint8)
        yield from joined.reshape(len(encoded), *encoded[0][2:], 3)
        return
    for item in encoded:
        yield next(originals) if item[1] == SAME_AS_HR else decode_payload(*item)


def store_seed(store_id: str) -> int:
    """Return the 64 bits of a hexadecimal store id that seed its record checks."""
    # a record of another store then fails its checksum, though its bytes are sound
    return int(store_id[:16], 16)


def block_key(block: int) -> bytes:
    """Return the LMDB key of a block, big-endian so that key order is row order."""
    return block.to_bytes(4, "big")


def pack_block(records: Sequence[Record], seed: int) -> bytes:
    """Encode records to one block."""
    parts: list[Buffer] = []
    offsets, end = [0], 0
    # every image that is written comes through here: no call more than it needs
    for row, codec, height, width, payload, tail, _ in records:
        length = len(payload)
        head = _HEAD.pack(length, codec, 3, height, width, HAS_TAIL if tail else 0, row)
        body = b"".join((head, payload, tail))
        parts += (_CHECK.pack(xxhash.xxh3_64_intdigest(body, seed)), body)
        end += CHECK_BYTES + len(body)
        offsets.append(end)
    count = len(offsets) - 1
    return b"".join((_BLOCK.pack(MAGIC, VERSION, 0, count), struct.pack(f"<{count + 1}I", *offsets), *parts))


class Block(NamedTuple):
    """A block whose head was checked.

    Attributes:
        view: its bytes.
        offsets: of its records and of the end, from ``start``.
        start: where the records begin.

    """

    view: memoryview
    offsets: memoryview
    start: int


def read_block(view: memoryview) -> Block:
    """Check the head of a block.

    Raises:
        DataError: not a block.

    """
    magic, version, _, count = _BLOCK.unpack_from(view) if len(view) >= _BLOCK.size else (b"", 0, 0, 0)
    start = _BLOCK.size + 4 * (count + 1)
    if magic != MAGIC or version != VERSION or len(view) < start:
        raise DataError("not a block of format LRS1")
    return Block(view, view[_BLOCK.size : start].cast("I"), start)


_PAGE = struct.Struct("<QHHHH")
_META_ROOT = struct.Struct("<QQQ")
_NODE = struct.Struct("<HHHH")
_BRANCH, _LEAF, _BIG = 1, 2, 1


def salvage(file: bytes | mmap.mmap, page_bytes: int = 4096) -> dict[bytes, memoryview]:
    """Return the values of an LMDB file that may be damaged, by key, as far as they can be reached.

    LMDB follows whatever pointers it finds, out of the file too, which ends the process; here every pointer
    is compared with the file's end first (the layout is that of ``mdb.c``: pages with a head of 16 bytes, two
    meta pages, nodes by offset).
    """
    data, found, seen = memoryview(file), dict[bytes, memoryview](), set[int]()
    metas = [place for place in (0, page_bytes) if place + 152 <= len(data)]
    # root page, last page, transaction; the later transaction counts
    roots = sorted((_META_ROOT.unpack_from(data, place + 128) for place in metas), key=lambda root: -root[2])
    open_ = [root[0] for root in roots]
    while open_:
        number = open_.pop(0)
        start = number * page_bytes
        if number in seen or start + page_bytes > len(data):
            continue
        seen.add(number)
        _, _, flags, lower, _ = _PAGE.unpack_from(data, start)
        ends = data[start + 16 : start + min(max(lower, 16), page_bytes) // 2 * 2].cast("H")
        for offset in ends if flags in (_BRANCH, _LEAF) else ():
            if not 16 <= offset <= page_bytes - 8:
                continue
            low, high, kind, key_bytes = _NODE.unpack_from(data, start + offset)
            key = start + offset + 8
            if flags == _BRANCH:
                open_.append(low | high << 16 | kind << 32)
                continue
            value, size = key + key_bytes, low | high << 16
            if kind & _BIG and value + 8 <= len(data):
                value = int.from_bytes(data[value : value + 8], "little") * page_bytes + 16
            if value + size <= len(data):
                found.setdefault(bytes(data[key : key + key_bytes]), data[value : value + size])
    return found


def unpack(
    block: Block, slot: int, row: int, seed: int, *, verify: bool = True, owner: object = None
) -> Record:
    """Return record ``slot`` of a block; payload and tail are views of the block.

    Raises:
        DataError: the record is damaged, belongs to another row or to another store.

    """
    view, offsets, start = block
    if slot + 1 >= len(offsets):
        raise DataError(f"the block has no record {slot}")
    head, end = start + offsets[slot], start + offsets[slot + 1]
    at = head + HEAD_BYTES
    if at > end or end > len(view):
        raise DataError("the record is cut short")
    check, length, codec, channels, height, width, _, found = unpack_head(view, head)
    if verify and xxhash.xxh3_64_intdigest(view[head + CHECK_BYTES : end], seed) != check:
        raise DataError("the record does not match its checksum")
    if found != row:
        raise DataError(f"the record belongs to row {found}")
    own = {RAW: height * width * 3, SAME_AS_HR: 0}.get(codec, length)
    if channels != 3 or codec > SAME_AS_HR or at + length > end or length != own:
        raise DataError("the record header is damaged")
    return Record(row, codec, height, width, view[at : at + length], view[at + length : end], owner)


def decodes(record: Record) -> bool:
    """Return whether a record gives pixels of the size its header says (one that has none of its own is
    sound when its HR record is).
    """
    if record.codec == SAME_AS_HR:
        return True
    try:
        pixels = record.pixels()
    except (ImageFault, ValueError):
        return False
    return pixels.shape[:2] == (record.height, record.width)


# below this many pixels raw bytes beat every codec in time, and hardly lose in size
RAW_PIXELS = 32 * 32
_ENCODERS: dict[LrCodec, tuple[int, Callable[[NDArray[np.uint8]], bytes]]] = {
    "raw-png": (PNG, encode_png),
    "raw-zstd": (ZSTD, encode_lossless),
}


def lr_record(
    row: int,
    image: NDArray[np.uint8],
    hr: NDArray[np.uint8],
    tail: bytes = b"",
    codec: LrCodec = LR_CODEC,
) -> Record:
    """Return the record of a degraded image.

    Args:
        row: of the store.
        image: uint8 ``[h, w, 3]``.
        hr: the HR image it was made of.
        tail: canonical JSON, or nothing.
        codec: the rule. ``raw-zstd``: an image that equals ``hr`` is a reference, one of up to 1,024
            pixels raw, a larger one ``ZSTD``, or raw where that is no larger (noise). ``raw-png`` (of older
            stores): up to 1,024 pixels raw, PNG above.

    """
    height, width = image.shape[:2]
    if codec != "raw-png" and image.shape == hr.shape and np.array_equal(image, hr):
        return Record(row, SAME_AS_HR, height, width, b"", tail)
    if height * width > RAW_PIXELS:
        number, encode = _ENCODERS[codec]
        payload = encode(image)
        if codec == "raw-png" or len(payload) < image.nbytes:
            return Record(row, number, height, width, payload, tail)
    return Record(row, RAW, height, width, image.tobytes(), tail)
