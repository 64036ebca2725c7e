"""Read, write and store pairs: lrfr beside folders, WebDataset and (where they are installed) MDS and
litdata, in one run.

    python benchmarks/shards.py --quick --json shards.json

The unit of reading is pairs per CPU-second, CPU time summed over all threads; one pair is an HR JPEG, a raw
14 px and a raw 28 px LR image. ``decode_limit`` unpacks and decodes the same pairs one by one from a list in
memory: no reader can be faster. Contestants take turns slice by slice; rates and shares of the limit are
medians over the slices.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import shards_peers as peers
from benchmarks.shards_peers import Pair, decode_pair
from benchmarks.shards_write import build, cpu, scaling, wall, writing
from lrfr.pairs.executors.base import TaskReport

PER_ID = 10


def natural(rng: np.random.Generator, side: int = 112) -> np.ndarray:
    """Return an image with the spectrum, colors and JPEG size of an aligned face crop, uint8 [side, side,
    3].
    """
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = 1.0

    def field(slope: float) -> np.ndarray:
        spectrum = frequency**-slope * np.exp(2j * np.pi * rng.random(frequency.shape))
        spectrum[0, 0] = 0
        values = np.fft.irfft2(spectrum, s=(side, side))
        return values / values.std()

    axis = (np.arange(side) + 0.5) / side - 0.5
    a, b = rng.uniform(0.28, 0.4), rng.uniform(0.35, 0.5)
    mask = np.exp(-(((axis[None, :] / a) ** 2 + (axis[:, None] / b) ** 2) ** 2))
    light, red, green = field(1.55), field(1.9), field(1.9)
    base = rng.uniform(60, 110) + 70 * mask + 30 * light
    return np.clip(
        np.stack([base + 18 * red + 20 * mask, base + 4 * green, base - 14 * red - 10 * mask], axis=2), 0, 255
    ).astype(np.uint8)


def write_faces(root: Path, count: int) -> None:
    """Write ``count`` JPEG files (quality 95, 4:2:0), ten an identity."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = root / f"id{index // PER_ID:05d}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), natural(rng)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def read_slice(sets: Sequence[Any], rows: list[int]) -> None:
    """Read HR and both LR images of some rows, joined by row, and look at a byte of each."""
    for images in zip(*(shards.images(rows) for shards in sets), strict=True):
        for image in images:
            int(image[0, 0, 0])


def pairs_of(store: Path) -> list[Pair]:
    """Load all pairs as bytes, in row order."""
    from lrfr.pairs.reading.dataset import PairDataset

    dataset = PairDataset(store, "default")
    sets = (dataset.hr, *dataset.lr)
    return [tuple(bytes(shards.record(row).payload) for shards in sets) for row in range(len(dataset))]


def in_turn(
    contestants: dict[str, Callable[[list[int]], Any]], slices: Sequence[list[int]], limit: str
) -> dict[str, Any]:
    """Give every slice to every contestant in turn; return median rates per CPU-second and median shares of
    the limit's rate.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work(slices[0])
    for part in slices:
        for name, work in contestants.items():
            seconds[name].append(cpu(lambda work=work, part=part: work(part)))
    rates = {
        name: round(
            statistics.median(len(part) / taken for part, taken in zip(slices, spent, strict=True)), 1
        )
        for name, spent in seconds.items()
    }
    shares = {
        name: round(statistics.median(a / b for a, b in zip(seconds[limit], spent, strict=True)), 3)
        for name, spent in seconds.items()
    }
    return {**rates, "share_of_limit": shares}


def slices_of(count: int, size: int, rounds: int) -> list[list[int]]:
    """Return ``rounds`` slices of random rows."""
    rng = np.random.default_rng(1)
    order = np.concatenate([rng.permutation(count) for _ in range(-(-rounds * size // count))])
    return [order[start : start + size].tolist() for start in range(0, rounds * size, size)]


def streams_of(
    folder: Path, pairs: list[Pair]
) -> tuple[dict[str, Callable[[int], Any]], dict[str, Iterator[Pair]]]:
    """Write the pairs in every other format; return random readers and shuffled endless streams."""
    absent = peers.missing()
    peers.write_folders(folder / "files", pairs)
    readers: dict[str, Callable[[int], Any]] = {"folders": peers.folder_reader(folder / "files")}
    streams: dict[str, Iterator[Pair]] = {}
    if "webdataset" not in absent:
        peers.write_webdataset(folder / "wds", pairs)
        streams["webdataset"] = peers.webdataset_stream(folder / "wds")
    for name, write, use in (
        ("mds", peers.write_mds, peers.mds),
        ("litdata", peers.write_litdata, peers.litdata_pairs),
    ):
        if name not in absent:
            write(folder / name, pairs)
            read, streams[name] = use(folder / name)
            readers[f"{name}_random"] = lambda row, read=read: decode_pair(read(row))
    return readers, streams


def reading(store: Path, pairs: list[Pair], others: Any, rounds: int) -> dict[str, Any]:
    """Warm random reads, HR and two LR images each; streams (WebDataset, and the iterators of MDS and
    litdata) in their own order.
    """
    from lrfr.pairs.reading.dataset import PairDataset

    packed = [peers.pack(pair) for pair in pairs]
    contestants: dict[str, Callable[[list[int]], Any]] = {
        "decode_limit": lambda rows: [decode_pair(peers.unpack(packed[row])) for row in rows]
    }
    for name, verify in (("lrfr", "always"), ("lrfr_unverified", "never")):
        dataset = PairDataset(store, "default", verify=verify)
        contestants[name] = lambda rows, sets=(dataset.hr, *dataset.lr): read_slice(sets, rows)
    readers, streams = others
    for name, read in readers.items():
        contestants[name] = lambda rows, read=read: [read(row) for row in rows]
    for name, stream in streams.items():
        contestants[name] = lambda rows, stream=stream: [
            decode_pair(pair) for pair in islice(stream, len(rows))
        ]
    return {
        **in_turn(contestants, slices_of(len(pairs), 128, rounds), "decode_limit"),
        "skipped": peers.missing(),
    }


def make_batch(part: Sequence[Pair]) -> None:
    """Decode, stack and upsample 128 pairs from memory, as a batch needs it."""
    from lrfr.degrade.ops.resize import resize_batch

    np.stack([cv2.imdecode(np.frombuffer(pair[0], np.uint8), cv2.IMREAD_COLOR_RGB) for pair in part])
    small = np.stack([np.frombuffer(pair[1], np.uint8).reshape(14, 14, 3) for pair in part])
    resize_batch(small, 112, "bicubic", True)


def loading(store: Path, pairs: list[Pair], others: Any, rounds: int) -> dict[str, Any]:
    """Batches of 128 through the loader; the limit decodes and upsamples the same number of pairs from
    memory, batch by batch.
    """
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader

    dataset, packed = PairDataset(store, "lr14"), [peers.pack(pair) for pair in pairs]

    def loader(threads: int) -> Callable[[list[int]], Any]:
        return lambda rows: sum(
            len(batch)
            for batch in islice(
                PairLoader(dataset, 128, seed=0, threads=threads).iterate(0), len(rows) // 128
            )
        )

    def batches(stream: Iterator[Pair]) -> Callable[[list[int]], Any]:
        return lambda rows: [make_batch(list(islice(stream, 128))) for _ in range(len(rows) // 128)]

    def limit(rows: list[int]) -> None:
        for start in range(0, len(rows), 128):
            make_batch([peers.unpack(packed[row]) for row in rows[start : start + 128]])

    contestants = {
        "limit": limit,
        "lrfr": loader(1),
        "lrfr_0_threads": loader(0),
        "lrfr_2_threads": loader(2),
    }
    contestants |= {name: batches(stream) for name, stream in others[1].items()}
    return in_turn(contestants, slices_of(len(pairs), len(pairs) // 128 * 128, rounds), "limit")


def sizes(store: Path, pairs: list[Pair], folder: Path) -> dict[str, float]:
    """Bytes on disk over payload."""
    payload = [sum(len(pair[part]) for pair in pairs) for part in range(3)]

    def disk(*roots: Path) -> int:
        return sum(path.stat().st_size for root in roots for path in root.rglob("*.mdb"))

    variants = [path for path in (store / "lr").iterdir()]
    by_size = sorted(disk(path) for path in variants)
    found = {
        "hr": round(disk(store / "base") / payload[0], 4),
        "lr14": round(by_size[0] / payload[1], 4),
        "lr28": round(by_size[1] / payload[2], 4),
        "all": round(disk(store) / sum(payload), 4),
    }
    for name in ("files", "wds", "mds", "litdata"):
        paths = [path for path in (folder / name).rglob("*") if path.is_file()]
        if paths:
            found[name] = round(sum(path.stat().st_blocks * 512 for path in paths) / sum(payload), 4)
    return found


def cold(store: Path, rows: int) -> dict[str, float]:
    """Bytes read over bytes needed for one epoch in block order, the page cache dropped before (Linux)."""
    from lrfr.pairs.format.disk.lmdb_files import REGISTRY
    from lrfr.pairs.format.reader import open_base
    from lrfr.pairs.reading.order import epoch_order

    REGISTRY.clear()
    folder = next((store / "base").iterdir())
    shards = open_base(folder, verify="records")
    for path in folder.glob("*.mdb"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    before, needed = _bytes_read(), 0
    for row in epoch_order(rows, 0, 0).tolist():
        needed += len(shards.record(row).payload)
    return {"read_over_needed": round((_bytes_read() - before) / needed, 3)}


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


@dataclass(frozen=True)
class Nap:
    """A task as long as 64 images of 2 ms, which needs no core."""

    seconds: float = 0.128

    def run(self) -> TaskReport:
        """Sleep."""
        time.sleep(self.seconds)
        return TaskReport(64)


def ray_dispatch(tasks: int = 60, workers: int = 2) -> dict[str, float]:
    """Share of the ideal that Ray reaches with tasks of 64 images of 2 ms, two at once, its start left
    out.
    """
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.executors.ray import ray_session

    with ray_session(workers):
        Runner("ray", workers).run([Nap(0.01)] * 4 * workers, 0, "", 0, 0)
        seconds = wall(lambda: Runner("ray", workers).run([Nap()] * tasks, 0, "", 0, 0))
    return {
        "seconds": round(seconds, 3),
        "share_of_ideal": round(tasks * Nap().seconds / workers / seconds, 3),
    }


def _phases(count: int, rounds: int, quick: bool) -> Iterator[tuple[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="lrfr-bench-") as name:
        folder = Path(name)
        write_faces(folder / "faces", count)
        store = folder / "store"
        seconds = wall(lambda: build(folder / "faces", store, (14, 28), "default", executor="serial"))
        yield "build_images_per_s", round(count * 3 / seconds, 1)
        build(folder / "faces", store, (14,), "lr14", executor="serial")
        pairs = pairs_of(store)
        others = streams_of(folder, pairs)
        yield "reading", reading(store, pairs, others, 8 * rounds)
        yield "loading", loading(store, pairs, others, rounds)
        yield "store_over_payload", sizes(store, pairs, folder)
        yield "writing", writing(folder / "faces", folder, [pair[0] for pair in pairs], 1 if quick else 2)
        yield "cold", cold(store, count)
        if not quick:
            yield "processes", scaling(folder / "faces", folder)
            yield "ray", ray_dispatch()


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="2,048 pairs, no worker processes (less than 50 s)"
    )
    parser.add_argument("--pairs", type=int, default=0, help="number of pairs (else 20,480)")
    parser.add_argument("--json", type=Path, default=None, help="file to write")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    import torch

    torch.set_num_threads(1)
    count, rounds = options.pairs or (2048 if options.quick else 20_480), 2 if options.quick else 4
    result: dict[str, Any] = {"pairs": count, "unit": "pairs per CPU-second"}
    for name, value in _phases(count, rounds, options.quick):
        result[name] = value
        if name == "reading":
            result |= {
                key: value[key]
                for key in ("decode_limit", "lrfr", "folders", "webdataset", "mds", "litdata")
                if key in value
            }
    text = json.dumps(result, indent=1, sort_keys=True)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
