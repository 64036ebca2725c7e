"""The record codec: what goes in comes out, and no flipped bit, moved record or foreign store passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfr.core.errors import DataError
from lrfr.pairs.format.records import RAW, Record, pack_block, read_block, store_seed, unpack

SEED = store_seed("0123456789abcdef")


def raw(row: int, side: int = 2, tail: bytes = b"") -> Record:
    pixels = np.random.default_rng(row).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Record(row, RAW, side, side, pixels.tobytes(), tail)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=20)), min_size=1, max_size=12),
    st.integers(0, 2**31),
)
def test_round_trip(shapes, first):
    records = [raw(first + index, side, tail) for index, (side, tail) in enumerate(shapes)]
    block = pack_block(records, SEED)
    assert len(read_block(memoryview(block)).offsets) == len(records) + 1
    for slot, record in enumerate(records):
        found = unpack(read_block(memoryview(block)), slot, record.row, SEED)
        assert (bytes(found.payload), bytes(found.tail), found.height) == (
            record.payload,
            record.tail,
            record.height,
        )
        assert np.array_equal(found.pixels(), record.pixels())


def test_layout_is_the_documented_one():
    """Byte for byte as docs/store.md says, checked with another decoder."""
    import struct

    import xxhash

    block = pack_block([raw(7, 2, b"{}")], SEED)
    magic, version, flags, count, start, stop = struct.unpack_from("<4sHHIII", block)
    assert (magic, version, flags, count, start) == (b"LRB1", 2, 0, 1, 0)
    record = block[12 + 4 * 2 :]
    assert len(record) == stop
    check, length, codec, channels, height, width, bits, row = struct.unpack_from("<QIBBHHHI", record)
    assert (length, codec, channels, height, width, bits, row) == (12, 0, 3, 2, 2, 1, 7)
    assert check == xxhash.xxh3_64_intdigest(record[8:], SEED)
    assert record[24:36] == raw(7).payload
    assert record[36:] == b"{}"


def test_every_flipped_bit_of_a_record_is_seen():
    block = pack_block([raw(3), raw(4, 3, b"tail")], SEED)
    start = 12 + 4 * 3
    silent = []
    for bit in range(8 * start, 8 * len(block)):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        faults = 0
        for slot in range(2):
            try:
                unpack(read_block(memoryview(bytes(damaged))), slot, 3 + slot, SEED)
            except DataError:
                faults += 1
        silent += [bit] if faults == 0 else []
    assert not silent


def test_moved_and_foreign_records_are_refused():
    block = pack_block([raw(3)], SEED)
    with pytest.raises(DataError, match="belongs to row 3"):
        unpack(read_block(memoryview(block)), 0, 5, SEED)
    with pytest.raises(DataError, match="checksum"):
        unpack(read_block(memoryview(block)), 0, 3, store_seed("fedcba9876543210"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 3))
def test_garbage_is_refused_not_crashed_on(data, slot):
    with pytest.raises(DataError):
        unpack(read_block(memoryview(data)), slot, 0, SEED)


def test_truncated_blocks_are_refused():
    block = pack_block([raw(0), raw(1)], SEED)
    for length in range(len(block)):
        with pytest.raises(DataError):
            for slot in range(2):
                unpack(read_block(memoryview(block)[:length]), slot, slot, SEED)
