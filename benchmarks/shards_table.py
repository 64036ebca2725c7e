"""What a store costs beside what it must reach: one table, measured in one run.

``python -m benchmarks.shards_table [--faces N] [--rows N] [--rounds R] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import cv2

from benchmarks.shards import write_faces
from benchmarks.shards_again import again, growth
from benchmarks.shards_build import cpu, eight_variants, floor
from benchmarks.shards_scale import SPEC, _ingest, measure
from benchmarks.shards_write import build

MANY_ROWS, ROWS_A_SHARD = 20_032, {"10": 2048, "313": 64}


@dataclass(frozen=True)
class Line:
    """A row of the table: what is done, the most it may take, what it took."""

    work: str
    most: float
    unit: str
    measured: float

    @property
    def reached(self) -> bool:
        """Whether it took no more."""
        return self.measured <= self.most


def folders(source: Path, folder: Path, rounds: int) -> list[Line]:
    """Measure a build from a folder, and the same command again."""
    count = sum(1 for _ in source.rglob("*.jpg"))
    ratios, again = [], []
    for number in range(rounds + 1):
        least = cpu(partial(floor, source, folder / f"floor{number}"))
        work = partial(build, source, folder / f"out{number}", (14,), "default", executor="serial")
        ratios.append(cpu(work) / least)
        again.append(1e6 * cpu(work) / count)
    # what is imported once does not count
    return [
        Line(
            f"make-pairs, {count} faces in folders -> HR and one LR",
            1.35,
            "x floor",
            statistics.median(ratios[1:]),
        ),
        Line("the same command again, folder", 10, "us a row", statistics.median(again[1:])),
    ]


def many_shards(folder: Path, rounds: int) -> Line:
    """Measure reading a view of eight variants over 313 shards each beside the same rows in ten."""
    from lrfr.degrade.spec.model import parse_spec
    from lrfr.pairs.build.make import MakeOptions, make_pairs
    from lrfr.pairs.executors.dispatch import Runner
    from lrfr.pairs.reading.dataset import PairDataset
    from lrfr.pairs.reading.loader import PairLoader

    views = {}
    for name, rows in ROWS_A_SHARD.items():
        with mock.patch("lrfr.pairs.format.shard_layout.rows_per_shard", lambda *_, rows=rows: rows):
            made = {"options": MakeOptions(variants=8), "runner": Runner("serial")}
            make_pairs(_ingest(0, MANY_ROWS), [parse_spec(SPEC)], store=folder / name, **made)
        views[name] = PairDataset(folder / name)

    def epoch(name: str, number: int) -> float:
        loader = PairLoader(views[name], 64, threads=0)
        loader.set_epoch(number)
        return cpu(lambda: [None for _ in loader])

    for name in views:
        epoch(name, 0)
    ratios = [epoch("313", number) / epoch("10", number) for number in range(1, rounds + 1)]
    return Line("an epoch of 8 variants over 313 shards each", 1.2, "x 10 shards", statistics.median(ratios))


def scale(rows: int, rounds: int) -> list[Line]:
    """Measure bytes and memory at a number of small rows, work by rounds at a tenth of them."""
    found, some = measure(rows), rows // 10
    work, forms = growth(some, rounds), again(some, rounds)
    share = 100 * found["extend_byte_share"]
    small = [
        Line(f"the same command again, 8 px faces of a {name}", 10, "us a row", forms[name]) for name in forms
    ]
    return [
        *small,
        Line("the same command again, faces with fingerprints", 10, "us a row", found["again_us_per_row"]),
        Line("+1 % faces: bytes", 2, "% of the build", share),
        Line(f"+1 % of {some} 8 px faces: work", 2, "% of the build", work["work_percent"]),
        Line("memory of the driver", 300, "bytes a row", found["driver_bytes_per_row"]),
        Line("memory of an LR worker", 40, "bytes a row", found["worker_bytes_per_row"]),
        Line("memory of a reader", 60, "bytes a row", found["reader_bytes_per_row"]),
    ]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_faces(folder / "faces", arguments.faces)
        lines = folders(folder / "faces", folder, arguments.rounds)
        eight = eight_variants(folder / "faces", folder, arguments.rounds)
        what = f"eight variants of one base (maug), {arguments.faces} faces"
        lines.append(Line(what, 1.2, "x decode and ops", eight["ratio"]))
        lines.append(many_shards(folder / "many", arguments.rounds))
        lines += scale(arguments.rows, arguments.rounds)
    for line in lines:
        told = f"{line.measured:8.2f} {line.unit}"
        print(f"{line.work:58} <= {line.most:<5g} {told:26} {'reached' if line.reached else 'NOT reached'}")
    if arguments.json:
        told = [asdict(line) | {"reached": line.reached} for line in lines]
        found = {"wall_s": round(time.perf_counter() - start, 1), "table": told}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
