"""Read, write and store pairs: lrfr beside folders, WebDataset and (where they are installed) MDS and litdata, in one run.

    python -m benchmarks.shards --quick --json shards.json

The unit of reading is pairs per CPU-second, CPU time summed over all threads; one pair is an HR JPEG, a raw 14 px and a raw
28 px LR image. ``decode_limit`` decodes the same pairs one by one from memory: no reader can be faster. Formats take turns;
medians over the rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SPECS = {
    side: f"""
version: 1
name: lr{side}
image: {{size: 112}}
pipeline:
  - {{op: down, id: d1, size: {side}, filter: bicubic, antialias: true}}
store: {{lr: native, up: {{size: 112, filter: bicubic, antialias: true}}}}
"""
    for side in (14, 28)
}
PER_ID = 10
Pair = tuple[bytes, bytes, bytes]


def natural(rng: np.random.Generator, side: int = 112) -> np.ndarray:
    """Return an image with the spectrum, colours and JPEG size of an aligned face crop, uint8 [side, side, 3]."""
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
    return np.clip(np.stack([base + 18 * red + 20 * mask, base + 4 * green, base - 14 * red - 10 * mask], axis=2), 0, 255).astype(np.uint8)


def write_faces(root: Path, count: int) -> None:
    """Write ``count`` JPEG files (quality 95, 4:2:0), ten an identity."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = root / f"id{index // PER_ID:05d}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), natural(rng)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def decode_pair(pair: Pair) -> int:
    """Decode one pair from memory and return a byte of it."""
    hr = cv2.imdecode(np.frombuffer(pair[0], np.uint8), cv2.IMREAD_COLOR_RGB)
    small = np.frombuffer(pair[1], np.uint8).reshape(14, 14, 3)
    middle = np.frombuffer(pair[2], np.uint8).reshape(28, 28, 3)
    return int(hr[0, 0, 0]) + int(small[0, 0, 0]) + int(middle[0, 0, 0])


class Ours:
    """Random reads of HR and both LR stores, joined by row and verified."""

    def __init__(self, store: Path, verify: str) -> None:
        from lrfr.pairs.dataset import PairDataset

        self.dataset = PairDataset(store, "default", verify=verify)

    def read(self, row: int) -> int:
        """Read one pair."""
        total = 0
        for shards in (self.dataset.hr, *self.dataset.lr):
            total += int(shards.record(row).pixels()[0, 0, 0])
        return total


def pairs_of(store: Path) -> list[Pair]:
    """Load all pairs as bytes, in row order."""
    from lrfr.pairs.dataset import PairDataset

    dataset = PairDataset(store, "default")
    sets = (dataset.hr, *dataset.lr)
    return [tuple(bytes(shards.record(row).payload) for shards in sets) for row in range(len(dataset))]


def write_folders(root: Path, pairs: list[Pair]) -> None:
    """Write JPEG and two PNG files a pair."""
    root.mkdir()
    for row, (hr, small, middle) in enumerate(pairs):
        (root / f"{row:06d}.jpg").write_bytes(hr)
        for data, side in ((small, 14), (middle, 28)):
            cv2.imwrite(str(root / f"{row:06d}.{side}.png"), np.frombuffer(data, np.uint8).reshape(side, side, 3)[..., ::-1])


def folder_reader(root: Path) -> Callable[[int], int]:
    """Return a reader of files."""

    def read(row: int) -> int:
        names = (f"{row:06d}.jpg", f"{row:06d}.14.png", f"{row:06d}.28.png")
        return sum(int(cv2.imread(str(root / name), cv2.IMREAD_COLOR_RGB)[0, 0, 0]) for name in names)

    return read


def write_webdataset(root: Path, pairs: list[Pair], per_tar: int) -> None:
    """Write tar archives with raw LR members."""
    import webdataset

    root.mkdir()
    with webdataset.ShardWriter(f"file:{root}/%05d.tar", maxcount=per_tar, verbose=0) as sink:
        for row, (hr, small, middle) in enumerate(pairs):
            sink.write({"__key__": f"{row:06d}", "jpg": hr, "s.bin": small, "m.bin": middle})


def webdataset_pass(root: Path) -> int:
    """Read everything once through a shuffle buffer of 1,000 and return the number of pairs."""
    import webdataset

    urls = [f"file:{path}" for path in sorted(root.glob("*.tar"))]
    count = 0
    for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).shuffle(1000):
        decode_pair((sample["jpg"], sample["s.bin"], sample["m.bin"]))
        count += 1
    return count


def write_mds(root: Path, pairs: list[Pair]) -> None:
    """Write MDS shards with xxh3 hashes."""
    from streaming import MDSWriter

    with MDSWriter(out=str(root), columns={"hr": "bytes", "s": "bytes", "m": "bytes"}, hashes=["xxh3_64"]) as sink:
        for hr, small, middle in pairs:
            sink.write({"hr": hr, "s": small, "m": middle})


def mds_reader(root: Path) -> Callable[[int], int]:
    """Return a random reader of MDS shards."""
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=str(root), shuffle=False, batch_size=1)
    return lambda row: decode_pair((dataset[row]["hr"], dataset[row]["s"], dataset[row]["m"]))


def cpu(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call, over all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def wall(work: Callable[[], Any]) -> float:
    """Return the wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(contestants: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Run every contestant once a round, in turn; return the median of things per CPU-second."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work()  # warm
    for _ in range(rounds):
        for name, work in contestants.items():
            counted: list[int] = []
            seconds = cpu(lambda work=work, counted=counted: counted.append(work()))
            rates[name].append(counted[0] / seconds)
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}


def reading(folder: Path, store: Path, pairs: list[Pair], rounds: int) -> dict[str, Any]:
    """Warm reads, HR and two LR images each."""
    order = np.random.default_rng(1).permutation(len(pairs)).tolist()
    readers = {"lrfr": Ours(store, "always").read, "lrfr_unverified": Ours(store, "never").read}
    write_folders(folder / "files", pairs)
    readers["folders"] = folder_reader(folder / "files")
    skipped = {}
    contestants: dict[str, Callable[[], int]] = {"decode_limit": lambda: sum(1 for row in order if decode_pair(pairs[row]) >= 0)}
    if importlib.util.find_spec("streaming"):
        write_mds(folder / "mds", pairs)
        readers["mds"] = mds_reader(folder / "mds")
    else:
        skipped["mds"] = "mosaicml-streaming is not installed"
    if not importlib.util.find_spec("litdata"):
        skipped["litdata"] = "litdata is not installed"
    for name, reader in readers.items():
        contestants[name] = lambda reader=reader: sum(1 for row in order if reader(row) >= 0)
    if importlib.util.find_spec("webdataset"):
        write_webdataset(folder / "wds", pairs, max(1, len(pairs) // 4))
        contestants["webdataset"] = lambda: webdataset_pass(folder / "wds")
    else:
        skipped["webdataset"] = "webdataset is not installed"
    rates = in_turn(contestants, rounds)
    return {**rates, "share_of_limit": {name: round(rate / rates["decode_limit"], 3) for name, rate in rates.items()}, "skipped": skipped}


def loading(store: Path, pairs: list[Pair], rounds: int) -> dict[str, Any]:
    """Batches of 128 through the loader; its limit decodes and upsamples the same images from memory, batch by batch."""
    from lrfr.degrade.ops.resize import resize_batch
    from lrfr.pairs.dataset import PairDataset, PairLoader

    dataset = PairDataset(store, "lr14")

    def limit() -> int:
        for start in range(0, len(pairs) - 127, 128):
            part = pairs[start : start + 128]
            np.stack([cv2.imdecode(np.frombuffer(pair[0], np.uint8), cv2.IMREAD_COLOR_RGB) for pair in part])
            small = np.stack([np.frombuffer(pair[1], np.uint8).reshape(14, 14, 3) for pair in part])
            resize_batch(small, 112, "bicubic", True)
        return len(pairs) // 128 * 128

    def loader(threads: int) -> Callable[[], int]:
        return lambda: sum(len(batch) for batch in PairLoader(dataset, 128, seed=0, threads=threads).iterate(0))

    rates = in_turn({"limit": limit, "lrfr": loader(1), "lrfr_0_threads": loader(0), "lrfr_2_threads": loader(2)}, rounds)
    return {**rates, "share_of_limit": round(rates["lrfr"] / rates["limit"], 3)}


def sizes(store: Path, pairs: list[Pair], folder: Path) -> dict[str, float]:
    """Bytes on disk over payload."""
    payload = [sum(len(pair[part]) for pair in pairs) for part in range(3)]

    def disk(*roots: Path) -> int:
        return sum(path.stat().st_size for root in roots for path in root.rglob("*.mdb"))

    actions = [path for path in (store / "lr").iterdir()]
    by_size = sorted(disk(path) for path in actions)
    found = {
        "hr": round(disk(store / "base") / payload[0], 4),
        "lr14": round(by_size[0] / payload[1], 4),
        "lr28": round(by_size[1] / payload[2], 4),
        "all": round(disk(store) / sum(payload), 4),
    }
    blocks = sum(path.stat().st_blocks * 512 for path in (folder / "files").rglob("*") if path.is_file())
    tars = sum(path.stat().st_size for path in (folder / "wds").glob("*.tar")) if (folder / "wds").exists() else 0
    return {**found, "folders": round(blocks / sum(payload), 4), "webdataset": round(tars / sum(payload), 4)}


def build(source: Path, store: Path, sides: tuple[int, ...], view: str, **runner: Any) -> Any:
    """Run make-pairs."""
    from lrfr.degrade.spec import parse_spec
    from lrfr.pairs.build import ViewOptions, make_pairs
    from lrfr.pairs.executors import Runner
    from lrfr.pairs.scan import Ingest
    from lrfr.pairs.sources.folder import FolderSource
    from lrfr.pairs.store import Store

    specs = [parse_spec(SPECS[side]) for side in sides]
    return make_pairs(Store(store), Ingest(FolderSource(source)), specs, view=ViewOptions(view), runner=Runner(**runner))


def writing(source: Path, folder: Path, pairs: list[Pair], rounds: int) -> dict[str, Any]:
    """What the framework adds to the pure operation (decode and degrade), serial, and a second run of the same spec."""
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec import parse_spec
    from lrfr.pairs.build import wanted_variants, write_variant
    from lrfr.pairs.executors import Runner
    from lrfr.pairs.store import Store

    pipeline = Pipeline(parse_spec(SPECS[14]))

    def operation() -> int:
        for start in range(0, len(pairs), 64):
            images = [cv2.imdecode(np.frombuffer(pair[0], np.uint8), cv2.IMREAD_COLOR_RGB) for pair in pairs[start : start + 64]]
            pipeline.run([b"%d" % index for index in range(start, start + len(images))], images)
        return len(pairs)

    store, base = Store(folder / "w"), build(source, folder / "w", (), "default", executor="serial").base
    wanted = wanted_variants([pipeline.spec], None, None, False)[0]

    def variant() -> int:
        shutil.rmtree(folder / "w" / "lr", ignore_errors=True)
        return write_variant(store, base, wanted, Runner("serial"))[1]

    rates = in_turn({"operation": operation, "lrfr": variant}, rounds)
    build(source, folder / "w", (14,), "default", executor="serial")
    second = wall(lambda: build(source, folder / "w", (14,), "default", executor="serial"))
    again = build(source, folder / "w", (14,), "default", executor="serial")
    return {
        "operation_images_per_cpu_s": rates["operation"],
        "variant_images_per_cpu_s": rates["lrfr"],
        "overhead": round(rates["operation"] / rates["lrfr"] - 1, 3),
        "operation_ms": round(1e3 / rates["operation"], 3),
        "second_run_s": round(second, 3),
        "second_run_images": again.hr_written + again.lr_written,
    }


def cold(store: Path, rows: int) -> dict[str, float]:
    """Bytes read over bytes needed for one epoch in block order, the page cache dropped before (Linux)."""
    from lrfr.pairs.order import epoch_order
    from lrfr.pairs.reader import open_base
    from lrfr.pairs.registry import REGISTRY

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


def scaling(source: Path, folder: Path) -> dict[str, float]:
    """Wall time of one and of two worker processes for a spec of some milliseconds an image."""
    from lrfr.degrade.spec import load_spec
    from lrfr.pairs.build import ViewOptions, make_pairs
    from lrfr.pairs.executors import Runner
    from lrfr.pairs.scan import Ingest
    from lrfr.pairs.sources.folder import FolderSource
    from lrfr.pairs.store import Store

    found = {}
    for workers in (1, 2, 1, 2):
        shutil.rmtree(folder / "p" / "lr", ignore_errors=True)
        arguments = (Store(folder / "p"), Ingest(FolderSource(source)), [load_spec("bsrgan")])
        make_pairs(*arguments[:2], [], view=ViewOptions())
        seconds = wall(lambda: make_pairs(*arguments, view=ViewOptions(), runner=Runner("process", workers=workers)))  # noqa: B023
        found[f"{workers}_workers_s"] = round(min(seconds, found.get(f"{workers}_workers_s", seconds)), 2)
    return {**found, "speed_up": round(found["1_workers_s"] / found["2_workers_s"], 2)}


def _phases(count: int, rounds: int, quick: bool) -> Iterator[tuple[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="lrfr-bench-") as name:
        folder = Path(name)
        write_faces(folder / "faces", count)
        store = folder / "store"
        yield (
            "build_images_per_s",
            round(count * 3 / wall(lambda: build(folder / "faces", store, (14, 28), "default", executor="serial")), 1),
        )
        build(folder / "faces", store, (14,), "lr14", executor="serial")
        pairs = pairs_of(store)
        yield "reading", reading(folder, store, pairs, rounds)
        yield "loading", loading(store, pairs, rounds)
        yield "store_over_payload", sizes(store, pairs, folder)
        yield "writing", writing(folder / "faces", folder, pairs, rounds)
        yield "cold", cold(store, count)
        if not quick:
            yield "processes", scaling(folder / "faces", folder)


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,048 pairs and three rounds (less than 50 s)")
    parser.add_argument("--json", type=Path, default=None, help="file to write")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    import torch

    torch.set_num_threads(1)
    count, rounds = (2048, 3) if options.quick else (20_480, 5)
    result: dict[str, Any] = {"pairs": count, "unit": "pairs per CPU-second"}
    for name, value in _phases(count, rounds, options.quick):
        result[name] = value
        if name == "reading":
            result |= {key: value[key] for key in ("decode_limit", "lrfr", "folders", "webdataset") if key in value}
    text = json.dumps(result, indent=1, sort_keys=True)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
