"""How a base grows from ten thousand to a million small rows: build, the same command
again, one more percent, memory, open, random reads, verify.

python benchmarks/shards_scale.py --rows 10000 100000 1000000 --json scale.json
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.pairs.sources.base import Content, Face, FaceList, Place, Source

SIDE = 8
SPEC = """
version: 1
name: tiny
image: {size: 8}
pipeline: [{op: down, id: d, size: 4, filter: bicubic, antialias: true}]
store: {lr: native, up: {size: 8, filter: bicubic, antialias: true}}
"""
READS = 20_000


@lru_cache(maxsize=256)
def _jpeg(number: int) -> bytes:
    from lrfr.core.image import encode_jpeg

    return encode_jpeg(np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


@dataclass(frozen=True)
class TinySource(Source):
    """``rows`` JPEGs of 8 x 8 pixels, a hundred an identity."""

    rows: int
    first: int = 0
    kind = "tiny"

    def faces(self) -> FaceList:
        """List them."""
        return FaceList(
            Face(f"{index // 100:06d}/{index:08d}", f"{index // 100:06d}", index)
            for index in range(self.first, self.first + self.rows)
        )

    def read(self, place: Place) -> Content:
        """Return one of 256 different images."""
        return _jpeg(place % 256)

    def fingerprint(self, place: Place) -> str | None:
        """Name the content without a scan."""
        return f"{place:064x}"


def _ingest(first: int, count: int) -> Any:
    from lrfr.pairs.build.plan import BaseOptions
    from lrfr.pairs.build.prepare import Prepare
    from lrfr.pairs.build.scan import Ingest

    return Ingest(TinySource(count, first), BaseOptions(Prepare(size_px=SIDE)))


def measure(rows: int) -> dict[str, Any]:
    """Build, grow, open, read and verify ``rows`` rows; CPU seconds, told on stderr as they come."""
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.make import MakeOptions, make_pairs
    from lrfr.pairs.care.verify import verify
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.store import Store

    with tempfile.TemporaryDirectory(prefix="lrfr-scale-") as name:
        store, runner, spec = Store(Path(name) / "store"), Runner("serial"), parse_spec(SPEC)
        times: dict[str, float] = {}

        def build() -> Any:
            return make_pairs(_ingest(0, rows), [spec], store=store, runner=runner)

        make_pairs(_ingest(0, 64), [spec], store=Path(name) / "warm", runner=runner)
        made = _timed(times, "build_s", build)
        size, part = _size(store.root), made.parts[0]
        _timed(times, "again_s", build)
        dataset = _timed(times, "open_s", lambda: PairDataset(store.root))
        order = np.random.default_rng(0).integers(0, rows, READS).tolist()
        for row in order[:2000]:
            dataset.hr.record(row)
        _timed(times, "reads_s", lambda: [dataset.hr.record(row) for row in order])
        findings = _timed(times, "verify_s", lambda: verify(store))
        memory = {f"{probe}_bytes_per_row": _probed(probe, store.root, rows) for probe in PROBES}
        new = rows // 100
        options = MakeOptions(extend="default")
        grown = _timed(
            times,
            "extend_s",
            lambda: make_pairs(_ingest(rows, new), store=store, options=options, runner=runner),
        )
        assert grown.done.hr_written == grown.done.lr_written == new and part in grown.parts
        extended = _timed(times, "open_two_parts_s", lambda: PairDataset(store.root))
        _timed(times, "reads_two_parts_s", lambda: [extended.hr.record(row) for row in order])
        bytes_grown = _size(store.root) - size
    assert not findings
    rates = {
        "build_us_per_row": 1e6 * times["build_s"] / rows,
        "read_us": 1e6 * times["reads_s"] / READS,
        "read_two_parts_us": 1e6 * times["reads_two_parts_s"] / READS,
        "again_us_per_row": 1e6 * times["again_s"] / rows,
        "extend_us_per_row_there": 1e6 * (times["extend_s"] - 0.01 * times["build_s"]) / rows,
        "extend_byte_share": bytes_grown / size,
    }
    return {
        "rows": rows,
        **{key: round(value, 4) for key, value in {**times, **rates}.items()},
        **memory,
        "store_mb": size // 10**6,
    }


def driver(store: Path, rows: int) -> None:
    """Give the command that wrote the store again."""
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.executors.dispatch import Runner

    make_pairs(_ingest(0, rows), [parse_spec(SPEC)], store=store, runner=Runner("serial"))


def worker(store: Path, rows: int) -> None:
    """Write one LR shard."""
    from lrfr.pairs.build.lr import lr_places, lr_task, variant_of
    from lrfr.pairs.store import Store

    files = Store(store)
    (part,) = files.view("default").parts
    base, variant = files.base_manifest(part.base), variant_of(files.lr_manifest(part.lr[0]))
    lr_task(files, base, [(variant, lr_places(files, base, variant)[0])], None).run()


def reader(store: Path, rows: int) -> None:
    """Open the view and read a batch of a shuffled epoch."""
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader

    next(iter(PairLoader(PairDataset(store), 128, threads=0)), None)


PROBES = {"driver": driver, "worker": worker, "reader": reader}


def _probed(probe: str, store: Path, rows: int) -> int:
    """Return the anonymous memory (mapped files are none) that a row costs a process of its own, above what
    the same work takes in a store of 64 rows.
    """
    done = subprocess.run(
        [sys.executable, __file__, "--probe", probe, "--one", str(rows), "--store", str(store)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def _probe(probe: str, store: Path, rows: int) -> int:
    PROBES[probe](store.parent / "warm", 64)
    found: dict[str, float] = {}
    with _Anonymous(found, probe, rows):
        PROBES[probe](store, rows)
    return round(found[probe])


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


class _Anonymous:
    """Note the highest anonymous memory of a block, a row, above that at its start."""

    def __init__(self, found: dict[str, float], name: str, rows: int) -> None:
        self._found, self._name, self._rows = found, name, rows
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        gc.collect()
        self._start = self._peak = _anonymous()
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self._found[self._name] = (self._peak - self._start) / self._rows

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._peak = max(self._peak, _anonymous())


def _anonymous() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
    return 1024 * int(line.split()[1])


def _timed(times: dict[str, float], name: str, work: Any) -> Any:
    start = time.process_time()
    result = work()
    times[name] = time.process_time() - start
    print(f"{name} {times[name]:.2f}", file=sys.stderr, flush=True)
    return result


def main() -> None:
    """Measure each size in a process of its own, so that peak memory is its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--probe", choices=sorted(PROBES), help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        print(_probe(options.probe, options.store, options.one))
        return
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    found = []
    for rows in options.rows:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(rows)], check=True, stdout=subprocess.PIPE, text=True
        )
        found.append(json.loads(done.stdout))
        print(json.dumps(found[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
