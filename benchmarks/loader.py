"""Faces a second and core by a plain DataLoader, threads and processes; what the orders cost a row; and how
many cores a box of GPUs needs.

    python benchmarks/loader.py --faces 4096 --workers 2 --need 24000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
BATCH = 128


def cpu_seconds() -> float:
    """CPU seconds of this process and its living children (Linux)."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    tick = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


def measured(epoch: Callable[[], Iterable[object]], faces: int) -> dict[str, float]:
    """Read one epoch for warmth and one for the clock; faces a second, and a second of CPU."""
    for _ in epoch():
        pass
    start, spent = time.perf_counter(), cpu_seconds()
    batches = 0
    reading = iter(epoch())
    for _ in reading:
        batches += 1
        spent_now = cpu_seconds() if batches == faces // BATCH else 0.0
    wall = time.perf_counter() - start
    return {
        "faces_per_s": round(batches * BATCH / wall, 1),
        "faces_per_cpu_s": round(batches * BATCH / max(spent_now - spent, 1e-9), 1),
    }


def rates(store: Path, faces: int, workers: int) -> dict[str, dict[str, float]]:
    """Compare the ways to read the same store."""
    from torch.utils.data import DataLoader

    from lrfr.pairs.format.pair_batch import collate
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader

    dataset, found = PairDataset(store), {}
    for name, count in (("DataLoader, 0 workers", 0), (f"DataLoader, {workers} workers", workers)):
        plain = DataLoader(
            dataset,
            BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=count,
            collate_fn=collate,
            persistent_workers=count > 0,
        )
        found[name] = measured(lambda plain=plain: plain, faces)
        del plain
    for threads in sorted({1, workers}):
        loader = PairLoader(dataset, BATCH, threads=threads)
        found[f"PairLoader, {threads} threads"] = measured(lambda loader=loader: loader.iterate(0), faces)
    with PairLoader(dataset, BATCH, workers=workers) as loader:
        found[f"PairLoader, {workers} processes"] = measured(lambda: loader.iterate(0), faces)
    return found


def orders(rows: int) -> dict[str, float]:
    """Microseconds a row of the orders of an epoch, rows shown."""
    from lrfr.pairs.reading.order import Identities, epoch_order

    labels = np.random.default_rng(0).permutation(np.arange(rows) // 20)
    people = Identities(labels, 4)
    start = time.perf_counter()
    shown = len(people.order(0, 0))
    identities = time.perf_counter() - start
    start = time.perf_counter()
    epoch_order(rows, 0, 0)
    plain = time.perf_counter() - start
    return {"identities_us_per_row": 1e6 * identities / shown, "plain_us_per_row": 1e6 * plain / rows}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=int, default=4096, help="faces of the store")
    parser.add_argument("--workers", type=int, default=2, help="processes and threads")
    parser.add_argument("--need", type=float, default=24_000, help="faces a second that a box takes")
    options = parser.parse_args()
    from benchmarks.shards import build, write_faces

    with tempfile.TemporaryDirectory(prefix="lrfr-bench-") as name:
        folder = Path(name)
        write_faces(folder / "faces", options.faces)
        build(folder / "faces", folder / "store", (14, 28), "default", executor="serial")
        found = rates(folder / "store", options.faces, options.workers)
    best = max(rate["faces_per_cpu_s"] for name, rate in found.items() if "processes" in name)
    plan = {"faces_per_s_needed": options.need, "cores_for_it": round(options.need / best, 1)}
    small = {rows: orders(rows) for rows in (10**5, 10**6, 10**7)}
    print(json.dumps({"reading": found, "orders": small, "plan": plan}, indent=1))


if __name__ == "__main__":
    main()
