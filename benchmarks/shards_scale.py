"""How a base grows from ten thousand to a million small rows: build, memory, open, random reads, verify.

python benchmarks/shards_scale.py --rows 10000 100000 1000000 --json scale.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.pairs.sources.base import Content, Face, Place, Source

SIDE = 8
READS = 20_000


@lru_cache(maxsize=256)
def _jpeg(number: int) -> bytes:
    from lrfr.core.image import encode_jpeg

    return encode_jpeg(np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


@dataclass(frozen=True)
class TinySource(Source):
    """``rows`` JPEGs of 8 x 8 pixels, a hundred an identity."""

    rows: int
    kind = "tiny"

    def faces(self) -> list[Face]:
        """List them."""
        return [
            Face(f"{index // 100:06d}/{index:08d}", f"{index // 100:06d}", index)
            for index in range(self.rows)
        ]

    def read(self, place: Place) -> Content:
        """Return one of 256 different images."""
        return _jpeg(place % 256)

    def fingerprint(self, place: Place) -> str | None:
        """Name the content without a scan."""
        return f"{place % 256:064x}"


def measure(rows: int) -> dict[str, Any]:
    """Build, open, read and verify a base of ``rows`` rows in this process."""
    from lrfr.pairs.build.make import make_pairs
    from lrfr.pairs.build.plan import BaseOptions
    from lrfr.pairs.build.prepare import Prepare
    from lrfr.pairs.build.scan import Ingest
    from lrfr.pairs.care.verify import verify
    from lrfr.pairs.format.lmdb_files import REGISTRY
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.store import Store

    with tempfile.TemporaryDirectory(prefix="lrfr-scale-") as name:
        store = Store(Path(name) / "store")
        times: dict[str, float] = {}
        _timed(
            times,
            "build_s",
            lambda: make_pairs(Ingest(TinySource(rows), BaseOptions(Prepare(size_px=SIDE))), store=store),
        )
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        REGISTRY.clear()
        dataset = _timed(times, "open_s", lambda: PairDataset(store.root))
        order = np.random.default_rng(0).integers(0, rows, READS).tolist()
        for row in order[:2000]:
            dataset.hr.record(row)
        _timed(times, "reads_s", lambda: [dataset.hr.record(row) for row in order])
        findings = _timed(times, "verify_s", lambda: verify(store))
        size = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    assert not findings
    rates = {"build_rows_per_s": rows / times["build_s"], "random_reads_per_s": READS / times["reads_s"]}
    return {
        "rows": rows,
        **{key: round(value, 3) for key, value in {**times, **rates}.items()},
        "peak_mb": round(peak_mb),
        "store_mb": size // 10**6,
    }


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
