"""The record and block codec of format LRS1 (little-endian), with a checksum in every record.

A block is one LMDB value::

    'LRB1'  u16 version  u16 flags  u32 n  u32 offsets[n + 1]  records
    record: u64 check  u32 len  u8 codec  u8 channels  u16 h  u16 w  u16 flags  u32 row  payload  tail

``check`` is xxh3_64, seeded with 64 bits of the store id, over all of the record that follows it: a record
that was flipped, moved to another row or taken from another store does not pass.
"""

from __future__ import annotations

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
HEAD_BYTES, CHECK_BYTES, BLOCK_HEAD_BYTES = _RECORD.size, _CHECK.size, _BLOCK.size
unpack_head = _RECORD.unpack_from

Buffer = bytes | memoryview


class Record(NamedTuple):
    """One stored image.

    Attributes:
        row: of the store.
        codec: RAW, JPEG, PNG, WEBP, ZSTD or SAME_AS_HR (whose payload is empty).
        height, width: in pixels.
        payload: encoded by ``codec``.
        tail: optional canonical JSON.

    """

    row: int
    codec: int
    height: int
    width: int
    payload: Buffer
    tail: Buffer = b""

    def pixels(self) -> NDArray[np.uint8]:
        """Decode to uint8 ``[h, w, 3]`` RGB."""
        return decode_payload(self.payload, self.codec, self.height, self.width)


Encoded = tuple[Buffer, int, int, int]


def decode_payload(payload: Buffer, codec: int, height: int, width: int) -> NDArray[np.uint8]:
    """Decode bytes that passed their checksum (no probing of the header is needed) to uint8 ``[h, w, 3]``
    RGB.
    """
    data = np.frombuffer(payload, np.uint8)
    # copied, because bytes are read-only
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
    for row, codec, height, width, payload, tail in records:
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
    start = offsets_start(read_count(view))
    if len(view) < start:
        raise DataError("not a block of format LRS1")
    return Block(view, view[BLOCK_HEAD_BYTES:start].cast("I"), start)


def read_count(head: Buffer) -> int:
    """Return how many records a block that begins with these bytes has.

    Raises:
        DataError: not a block.

    """
    short = len(head) < BLOCK_HEAD_BYTES
    magic, version, _, count = (b"", 0, 0, 0) if short else _BLOCK.unpack_from(head)
    if magic != MAGIC or version != VERSION:
        raise DataError("not a block of format LRS1")
    return int(count)


def offsets_start(count: int) -> int:
    """Return where the records of a block of some begin, behind its head and the list of their offsets."""
    return BLOCK_HEAD_BYTES + 4 * (count + 1)


def unpack(block: Block, slot: int, row: int, seed: int, *, verify: bool = True) -> Record:
    """Return record ``slot`` of a block; payload and tail are views of the block.

    Raises:
        DataError: the record is damaged, belongs to another row or to another store.

    """
    view, offsets, start = block
    if slot + 1 >= len(offsets):
        raise DataError(f"the block has no record {slot}")
    head, end = start + offsets[slot], start + offsets[slot + 1]
    if end > len(view):
        raise DataError("the record is cut short")
    return unpack_record(view[head:end], row, seed, verify=verify)


def unpack_record(view: memoryview, row: int, seed: int, *, verify: bool = True) -> Record:
    """Return the record of some bytes; payload and tail are views of them.

    Raises:
        DataError: the record is damaged, belongs to another row or to another store.

    """
    if len(view) < HEAD_BYTES:
        raise DataError("the record is cut short")
    check, length, codec, channels, height, width, _, found = unpack_head(view)
    if verify and xxhash.xxh3_64_intdigest(view[CHECK_BYTES:], seed) != check:
        raise DataError("the record does not match its checksum")
    if found != row:
        raise DataError(f"the record belongs to row {found}")
    own, end = {RAW: height * width * 3, SAME_AS_HR: 0}.get(codec, length), HEAD_BYTES + length
    if channels != 3 or codec > SAME_AS_HR or end > len(view) or length != own:
        raise DataError("the record header is damaged")
    return Record(row, codec, height, width, view[HEAD_BYTES:end], view[end:])


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
