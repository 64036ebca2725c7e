"""How rows are cut into shards and packed into blocks: by rows and bytes alone, and in no id."""

from __future__ import annotations

# records of one LMDB value: 32 for reading in block order, one for sets larger than memory read at random
BLOCK_ROWS = {"block": 32, "random": 1}
LR_BLOCK_ROWS = 64
# rows that are read together by an epoch's order; every shard starts at a multiple of it
UNIT_ROWS = 64
MAX_SHARD_ROWS, MIN_SHARD_ROWS = 8192, UNIT_ROWS
MAX_SHARD_BYTES = 1 << 29
# shards that workers share out: 64 of them wait for the last ones a tenth of the time at most. Sets below a
# million faces have fewer, so that a shard is worth its files; eight are enough for a few workers, two to
# four for what takes a second
MANY_SHARDS, SHARDS_TO_SHARE, FEW_SHARDS = 512, 8, 2
WORTH_ROWS = 2048


def hr_row_bytes(size_px: int) -> int:
    """Return what an HR record hardly exceeds: a JPEG of 12 bits a pixel, as noise at quality 95 needs."""
    return 3 * size_px * size_px // 2 + 64


def lr_row_bytes(size_px: int) -> int:
    """Return what an LR record cannot exceed by much: raw pixels at the HR size."""
    return 3 * size_px * size_px + 64


def rows_per_shard(rows: int, row_bytes: int) -> int:
    """Return a power of two from 64 to 8,192: at most half a GiB and, where that leaves at least 2,048 rows
    in each, at least 512 shards to share out (at least eight of a small set, two to four of one below
    2,048 rows, and one for each 64).

    Args:
        rows: of the store.
        row_bytes: what a record hardly exceeds; no clock, cost or worker count may enter here.

    """
    few = min(FEW_SHARDS, SHARDS_TO_SHARE) if rows < WORTH_ROWS else SHARDS_TO_SHARE
    shares = max(few, min(MANY_SHARDS, rows // WORTH_ROWS))
    limit = MAX_SHARD_ROWS
    while limit > MIN_SHARD_ROWS and (limit * row_bytes > MAX_SHARD_BYTES or limit * shares > max(rows, 1)):
        limit //= 2
    return limit


def shard_spans(prefix: str, rows: int, row_bytes: int) -> list[tuple[str, int, int]]:
    """Return (name, first row, stop) of the shards of a store."""
    step = rows_per_shard(rows, row_bytes)
    starts = range(0, rows, step)
    return [(f"{prefix}-{index:05d}", start, min(rows, start + step)) for index, start in enumerate(starts)]
