"""How long the command line takes to say what there is: CPU time of ``--help`` and of every listing.

Median of ten runs each, user and system time of the process and its children, less that of an empty Python;
in a folder with a small store. Run: ``python -m benchmarks.startup``.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile

LIMITS_S = {
    "--help": 0.15,
    "train ls": 0.4,
    "presets ls": 0.4,
    "store ls": 0.4,
    "detectors ls": 0.4,
    "eval --list": 0.4,
    "make-pairs --list-sources": 0.4,
    "table": 0.4,
    "doctor": 0.4,
}


def cpu_s(command: list[str], folder: str) -> float:
    """Run a command and return the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10)
    turns = parser.parse_args().turns
    lrfr = [sys.executable, "-m", "lrfr"]
    with tempfile.TemporaryDirectory() as folder:
        cpu_s([*lrfr, "make-pairs", "--source", "synthetic:ids=3,per_id=2"], folder)
        empty = statistics.median(cpu_s([sys.executable, "-c", "pass"], folder) for _ in range(turns))
        print(f"{'command':<28} {'CPU s':>6} {'limit':>6}")
        for words, limit in LIMITS_S.items():
            found = [cpu_s([*lrfr, *words.split()], folder) for _ in range(turns)]
            print(f"lrfr {words:<23} {statistics.median(found) - empty:6.3f} {limit:6.2f}")


if __name__ == "__main__":
    main()
