"""The record and block codec of format LRS1 (little-endian), with a checksum in every record.

A block is one LMDB value::

    'LRB1'  u16 version  u16 flags  u32 n  u32 offsets[n + 1]  records
    record: u32 len  u8 codec  u8 channels  u16 h  u16 w  u16 flags  u32 row  u64 check  payload  tail

``check`` is xxh3_64, seeded with 64 bits of the store id, over the first 16 header bytes, payload and tail: a record that was
flipped, moved to another row or taken from another store does not pass.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from lrfr.errors import DataError
from lrfr.image import ImageFault, decode

MAGIC = b"LRB1"
VERSION = 1
RAW, JPEG, PNG, WEBP = 0, 1, 2, 3
CODECS = {"raw": RAW, "jpeg": JPEG, "png": PNG, "webp": WEBP}
HAS_TAIL, IS_EMPTY = 1, 2

_BLOCK = struct.Struct("<4sHHI")
_SPAN = struct.Struct("<II")
_HEAD = struct.Struct("<IBBHHHI")
_CHECK = struct.Struct("<Q")
_RECORD = struct.Struct("<IBBHHHIQ")

Buffer = bytes | memoryview


class Record(NamedTuple):
    """One stored image.

    Attributes:
        row: of the store.
        codec: RAW, JPEG, PNG or WEBP.
        height, width: in pixels.
        payload: encoded by ``codec``; of a record that was read, a view of the file.
        tail: optional canonical JSON.
        empty: the row could not be produced.
        owner: keeps the file mapped for as long as the record lives.

    """

    row: int
    codec: int
    height: int
    width: int
    payload: Buffer
    tail: Buffer = b""
    empty: bool = False
    owner: object = None

    def pixels(self) -> NDArray[np.uint8]:
        """Decode to uint8 ``[h, w, 3]`` RGB."""
        if self.codec == RAW:
            return np.array(np.frombuffer(self.payload, np.uint8)).reshape(self.height, self.width, 3)
        return decode_checked(self.payload)


def decode_checked(payload: Buffer) -> NDArray[np.uint8]:
    """Decode bytes that passed their checksum (no probing of the header is needed)."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR_RGB)
    return decode(bytes(payload)) if pixels is None else np.asarray(pixels, np.uint8)


def store_seed(store_id: str) -> int:
    """Return the 64 bits of a hexadecimal store id that seed its record checks."""
    return int(store_id[:16], 16)


def pack_block(records: Sequence[Record], seed: int) -> bytes:
    """Encode records to one block."""
    bodies = [_pack(record, seed) for record in records]
    offsets = np.zeros(len(bodies) + 1, dtype="<u4")
    np.cumsum([len(body) for body in bodies], out=offsets[1:])
    return b"".join([_BLOCK.pack(MAGIC, VERSION, 0, len(bodies)), offsets.tobytes(), *bodies])


def _pack(record: Record, seed: int) -> bytes:
    flags = (HAS_TAIL if record.tail else 0) | (IS_EMPTY if record.empty else 0)
    head = _HEAD.pack(len(record.payload), record.codec, 3, record.height, record.width, flags, record.row)
    body = bytes(record.payload) + bytes(record.tail)
    return head + _CHECK.pack(xxhash.xxh3_64_intdigest(head + body, seed)) + body


def block_length(block: Buffer) -> int:
    """Return the number of records in a block.

    Raises:
        DataError: not a block.

    """
    if len(block) < _BLOCK.size:
        raise DataError("not a block of format LRS1")
    magic, version, _, count = _BLOCK.unpack_from(block)
    if magic != MAGIC or version != VERSION or len(block) < _BLOCK.size + 4 * (count + 1):
        raise DataError("not a block of format LRS1")
    return int(count)


def unpack(block: memoryview, slot: int, row: int, seed: int, *, verify: bool = True, owner: object = None) -> Record:
    """Return record ``slot`` of a block; payload and tail are views of ``block``.

    Raises:
        DataError: the record is damaged, belongs to another row or to another store.

    """
    size = len(block)
    magic, version, _, count = _BLOCK.unpack_from(block) if size >= _BLOCK.size else (b"", 0, 0, 0)
    start = _BLOCK.size + 4 * (count + 1)
    if magic != MAGIC or version != VERSION or size < start or slot >= count:
        raise DataError(f"not a block of format LRS1 with a record {slot}")
    first, last = _SPAN.unpack_from(block, _BLOCK.size + 4 * slot)
    at, end = start + first, start + last
    if end > size or at + _RECORD.size > end:
        raise DataError("the record is cut short")
    length, codec, channels, height, width, flags, found, check = _RECORD.unpack_from(block, at)
    data = block[at + _RECORD.size : end]
    if verify:
        seen = xxhash.xxh3_64(block[at : at + _HEAD.size], seed)
        seen.update(data)
        if seen.intdigest() != check:
            raise DataError("the record does not match its checksum")
    if channels != 3 or codec > WEBP or length > end - at - _RECORD.size:
        raise DataError("the record header is damaged")
    if codec == RAW and not flags and length != height * width * 3:
        raise DataError("the record header is damaged")
    if found != row:
        raise DataError(f"the record belongs to row {found}")
    if not flags:
        return Record(row, codec, height, width, data, b"", False, owner)
    return Record(row, codec, height, width, data[:length], data[length:], bool(flags & IS_EMPTY), owner)


def decodes(record: Record) -> bool:
    """Return whether a record gives pixels of the size its header says."""
    try:
        pixels = record.pixels()
    except (ImageFault, ValueError):
        return False
    return pixels.shape[:2] == (record.height, record.width)
