"""The same pairs in other formats: plain files, WebDataset, MDS and litdata; the last three only where they
are installed.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np

Pair = tuple[bytes, bytes, bytes]
Read = Callable[[int], Pair]
_LENGTHS = struct.Struct("<III")


def pack(pair: Pair) -> bytes:
    """Return a pair as one value: three lengths, then HR JPEG, raw 14 px and raw 28 px LR."""
    return _LENGTHS.pack(*map(len, pair)) + b"".join(pair)


def unpack(value: bytes) -> Pair:
    """Take a packed pair apart."""
    first, second, _ = _LENGTHS.unpack_from(value)
    middle = _LENGTHS.size + first
    return value[_LENGTHS.size : middle], value[middle : middle + second], value[middle + second :]


def decode_pair(pair: Pair) -> int:
    """Decode one pair from memory and return the sum of a byte of each image."""
    hr = cv2.imdecode(np.frombuffer(pair[0], np.uint8), cv2.IMREAD_COLOR_RGB)
    small = np.frombuffer(pair[1], np.uint8).reshape(14, 14, 3)
    middle = np.frombuffer(pair[2], np.uint8).reshape(28, 28, 3)
    return int(hr[0, 0, 0]) + int(small[0, 0, 0]) + int(middle[0, 0, 0])


def missing() -> dict[str, str]:
    """Return which formats cannot run here, and why."""
    packages = {"webdataset": "webdataset", "mds": "streaming", "litdata": "litdata"}
    return {
        name: f"{package} is not installed"
        for name, package in packages.items()
        if not importlib.util.find_spec(package)
    }


def write_folders(root: Path, pairs: list[Pair]) -> None:
    """Write JPEG and two PNG files a pair."""
    root.mkdir()
    for row, (hr, small, middle) in enumerate(pairs):
        (root / f"{row:06d}.jpg").write_bytes(hr)
        for data, side in ((small, 14), (middle, 28)):
            cv2.imwrite(
                str(root / f"{row:06d}.{side}.png"),
                np.frombuffer(data, np.uint8).reshape(side, side, 3)[..., ::-1],
            )


def folder_reader(root: Path) -> Callable[[int], int]:
    """Return a random reader of files."""

    def read(row: int) -> int:
        names = (f"{row:06d}.jpg", f"{row:06d}.14.png", f"{row:06d}.28.png")
        return sum(int(cv2.imread(str(root / name), cv2.IMREAD_COLOR_RGB)[0, 0, 0]) for name in names)

    return read


def write_webdataset(root: Path, pairs: list[Pair]) -> None:
    """Write four tar archives with raw LR members."""
    import webdataset

    root.mkdir()
    with webdataset.ShardWriter(f"file:{root}/%05d.tar", maxcount=max(1, len(pairs) // 4), verbose=0) as sink:
        for row, (hr, small, middle) in enumerate(pairs):
            sink.write({"__key__": f"{row:06d}", "jpg": hr, "s.bin": small, "m.bin": middle})


def webdataset_stream(root: Path) -> Iterator[Pair]:
    """Yield pairs for ever through a shuffle buffer of 1,000."""
    import webdataset

    urls = [f"file:{path}" for path in sorted(root.glob("*.tar"))]
    dataset = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).shuffle(1000)
    for sample in chain.from_iterable(repeat(dataset)):
        yield sample["jpg"], sample["s.bin"], sample["m.bin"]


def write_mds(root: Path, pairs: list[Pair]) -> None:
    """Write MDS shards with xxh3 hashes."""
    from streaming import MDSWriter

    with MDSWriter(
        out=str(root), columns={"hr": "bytes", "s": "bytes", "m": "bytes"}, hashes=["xxh3_64"]
    ) as sink:
        for hr, small, middle in pairs:
            sink.write({"hr": hr, "s": small, "m": middle})


def mds(root: Path) -> tuple[Read, Iterator[Pair]]:
    """Return a random reader of MDS shards and its own shuffled stream."""
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=str(root), shuffle=True, batch_size=1)

    def read(row: int) -> Pair:
        sample = dataset[row]
        return sample["hr"], sample["s"], sample["m"]

    return read, ((sample["hr"], sample["s"], sample["m"]) for sample in chain.from_iterable(repeat(dataset)))


def _same(item: dict[str, bytes]) -> dict[str, bytes]:
    return item


def write_litdata(root: Path, pairs: list[Pair]) -> None:
    """Write litdata chunks."""
    import litdata

    items = [{"hr": hr, "s": small, "m": middle} for hr, small, middle in pairs]
    litdata.optimize(_same, items, str(root), chunk_bytes="64MB", num_workers=1, verbose=False)


def litdata_pairs(root: Path) -> tuple[Read, Iterator[Pair]]:
    """Return a random reader of litdata chunks and its own shuffled stream."""
    import litdata

    dataset = litdata.StreamingDataset(str(root), shuffle=True)

    def read(row: int) -> Pair:
        sample = dataset[row]
        return sample["hr"], sample["s"], sample["m"]

    return read, ((sample["hr"], sample["s"], sample["m"]) for sample in chain.from_iterable(repeat(dataset)))
