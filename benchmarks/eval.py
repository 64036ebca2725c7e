"""Scale of the evaluator: 1:N search, pair verification and bootstrap on random embeddings; time, memory,
growth. Writes JSON.

python benchmarks/eval.py --quick --json eval.json     (under 50 s)
python benchmarks/eval.py --json eval.json             (gallery of 10^6, 10^7 pairs)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DIM = 128
PROBES = 1000


def peak_mb() -> float:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def identification(gallery: int) -> dict[str, float]:
    """Search 1,000 probes in a memory-mapped gallery."""
    from lrfr.eval.scoring.search import search

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.npy"
        mapped = np.lib.format.open_memmap(path, "w+", np.float32, (gallery, DIM))
        for start in range(0, gallery, 50_000):
            mapped[start : start + 50_000] = generator.standard_normal(
                (min(50_000, gallery - start), DIM), np.float32
            )
        mapped.flush()
        probe = np.asarray(mapped[:PROBES]) + 0.3 * generator.standard_normal((PROBES, DIM), np.float32)
        del mapped
        before = peak_mb()
        reader = np.load(path, mmap_mode="r")
        start_s = time.perf_counter()
        found = search(probe, np.arange(PROBES), reader, np.arange(gallery))
        seconds = time.perf_counter() - start_s
    return {
        "seconds": seconds,
        "comparisons_per_s": gallery * PROBES / seconds,
        "rank_1": float((found.rank == 1).mean()),
        **memory(before),
    }


def memory(before_mb: float) -> dict[str, float]:
    """Return peak memory, and how much of it came during the measured part."""
    return {"peak_mb": peak_mb(), "added_mb": peak_mb() - before_mb}


def verification(pairs: int) -> dict[str, float]:
    """Compare pairs of rows of a feature table and read TAR at five FARs off the exact ROC."""
    from lrfr.eval.scoring.metrics import auc, roc, tar_at_far
    from lrfr.eval.scoring.templates import pair_scores

    generator = np.random.default_rng(0)
    features = generator.standard_normal((20_000, DIM), np.float32)
    left = generator.integers(0, 20_000, pairs)
    right = (left + generator.integers(1, 20_000, pairs)) % 20_000  # never an image with itself
    same = generator.random(pairs) < 0.01
    before, start = peak_mb(), time.perf_counter()
    scores = pair_scores(features, left, right)
    scored = time.perf_counter()
    curve = roc(scores + 0.3 * same, same)
    values = [tar_at_far(curve, far).tar for far in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)]
    done = time.perf_counter()
    return {
        "seconds": done - start,
        "scoring_s": scored - start,
        "roc_s": done - scored,
        "tar": values,
        "auc": auc(curve),
        **memory(before),
    }


def bootstrap(pairs: int) -> dict[str, float]:
    """Draw 1,000 replicates over people for TAR at three FARs."""
    from lrfr.eval.scoring.intervals import Resampling, bootstrap_tar

    generator = np.random.default_rng(0)
    same = np.arange(pairs) % 2 == 0
    people = generator.integers(0, pairs // 5, (2, pairs))
    before, start = peak_mb(), time.perf_counter()
    bootstrap_tar(generator.normal(same), same, [0.1, 0.01, 0.001], Resampling(pairs, people[0], people[1]))
    return {"seconds": time.perf_counter() - start, **memory(before)}


KINDS = {"identification": identification, "verification": verification, "bootstrap": bootstrap}
FULL = [("identification", n) for n in (10_000, 100_000, 1_000_000)] + [
    ("verification", n) for n in (100_000, 1_000_000, 10_000_000)
]
FULL += [("bootstrap", 6_000)]
QUICK = [
    ("identification", 10_000),
    ("identification", 100_000),
    ("verification", 100_000),
    ("verification", 1_000_000),
    ("bootstrap", 6_000),
]


def main() -> None:
    """Run each size in a process of its own, so that peak memories do not mix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "N"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(KINDS[given.one[0]](int(given.one[1]))))
        return
    rows = []
    for kind, count in QUICK if given.quick else FULL:
        done = subprocess.run(
            [sys.executable, __file__, "--one", kind, str(count)], capture_output=True, text=True, check=True
        )
        rows.append({"kind": kind, "n": count, **json.loads(done.stdout)})
        row = rows[-1]
        print(
            f"{kind:<15} n {count:>10}  {row['seconds']:8.2f} s  peak {row['peak_mb']:6.0f} MB  added "
            f"{row['added_mb']:6.0f} MB",
            flush=True,
        )
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "numpy": np.__version__,
        "dim": DIM,
        "probes": PROBES,
    }
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
