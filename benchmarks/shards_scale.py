"""How a base grows from ten thousand to a million small rows: build, the same command
again, one more percent, memory, open, random reads, verify.

python benchmarks/shards_scale.py --rows 10000 100000 1000000 --json scale.json
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
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

from lrfr.pairs.sources.base import Content, Face, Place, Source

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

    def faces(self) -> list[Face]:
        """List them."""
        return [
            Face(f"{index // 100:06d}/{index:08d}", f"{index // 100:06d}", index)
            for index in range(self.first, self.first + self.rows)
        ]

    def read(self, place: Place) -> Content:
        """Return one of 256 different images."""
        return _jpeg(place % 256)

    def fingerprint(self, place: Place) -> str | None:
        """Name the content without a scan."""
        return f"{place % 256:064x}"


def measure(rows: int) -> dict[str, Any]:
    """Build, grow, open, read and verify ``rows`` rows in this process; memory is anonymous memory, which
    mapped files are not, above what the imports take.
    """
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.lr import lr_places, lr_task, variant_of
    from lrfr.pairs.build.make import MakeOptions, make_pairs
    from lrfr.pairs.build.plan import BaseOptions
    from lrfr.pairs.build.prepare import Prepare
    from lrfr.pairs.build.scan import Ingest
    from lrfr.pairs.care.verify import verify
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.format.lmdb_files import REGISTRY
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader
    from lrfr.pairs.store import Store

    def ingest(first: int, count: int) -> Ingest:
        return Ingest(TinySource(count, first), BaseOptions(Prepare(size_px=SIDE)))

    with tempfile.TemporaryDirectory(prefix="lrfr-scale-") as name:
        store, runner, spec = Store(Path(name) / "store"), Runner("serial"), parse_spec(SPEC)
        times: dict[str, float] = {}
        memory: dict[str, float] = {}
        make_pairs(ingest(0, 64), [spec], store=Path(name) / "warm", runner=runner)
        made = _timed(
            times, "build_s", lambda: make_pairs(ingest(0, rows), [spec], store=store, runner=runner)
        )
        size = _size(store.root)
        part = made.parts[0]
        with _Anonymous(memory, "driver_bytes_per_row", rows):
            again = lambda: make_pairs(ingest(0, rows), [spec], store=store, runner=runner)  # noqa: E731
            _timed(times, "again_s", again)
        with _Anonymous(memory, "worker_bytes_per_row", rows):
            base, variant = made.done.bases[0], variant_of(made.done.variants[0][0])
            place = lr_places(store, base, variant)[0]
            lr_task(store, base, [(variant, place)], None).run()
        REGISTRY.clear()
        with _Anonymous(memory, "reader_bytes_per_row", rows):
            dataset = _timed(times, "open_s", lambda: PairDataset(store.root))
            next(iter(PairLoader(dataset, 128, threads=0)))
        order = np.random.default_rng(0).integers(0, rows, READS).tolist()
        for row in order[:2000]:
            dataset.hr.record(row)
        _timed(times, "reads_s", lambda: [dataset.hr.record(row) for row in order])
        findings = _timed(times, "verify_s", lambda: verify(store))
        new = rows // 100
        options = MakeOptions(extend="default")
        grow = lambda: make_pairs(ingest(rows, new), store=store, options=options, runner=runner)  # noqa: E731
        grown = _timed(times, "extend_s", grow)
        assert grown.done.hr_written == grown.done.lr_written == new and part in grown.parts
        extended = _timed(times, "open_two_parts_s", lambda: PairDataset(store.root))
        _timed(times, "reads_two_parts_s", lambda: [extended.hr.record(row) for row in order])
        bytes_grown = _size(store.root) - size
    assert not findings
    rates = {
        "build_rows_per_s": rows / times["build_s"],
        "random_reads_per_s": READS / times["reads_s"],
        "again_us_per_row": 1e6 * times["again_s"] / rows,
        "extend_time_share": times["extend_s"] / times["build_s"],
        "extend_byte_share": bytes_grown / size,
    }
    return {
        "rows": rows,
        **{key: round(value, 4) for key, value in {**times, **rates}.items()},
        **{key: round(value) for key, value in memory.items()},
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "store_mb": size // 10**6,
    }


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
    start = time.perf_counter()
    result = work()
    times[name] = time.perf_counter() - start
    return result


def main() -> None:
    """Measure each size in a process of its own, so that peak memory is its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    found = []
    for rows in options.rows:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(rows)], check=True, capture_output=True, text=True
        )
        found.append(json.loads(done.stdout))
        print(json.dumps(found[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
