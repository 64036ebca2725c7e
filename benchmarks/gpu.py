"""What a machine with GPUs makes of lrfr, in about ten minutes: a page and its numbers, to send back.

Parts: ``methods`` (every method at full size, under each kind of mixed precision, and compiled: images a
second, memory, and how often a step made the host wait), ``heads`` (one process a GPU: a whole head, and
one that is spread, with many classes), ``feed`` (pairs a second that reading gives), ``checkpoint`` (how
long a step waits for one, and until it is on disk).

Usage: ``python -m benchmarks.gpu [--out gpu] [--parts methods,heads,feed,checkpoint] [--methods fskd,maug]
[--quick]``; ``--quick`` is small enough for a CPU. ``--out gpu`` writes ``gpu.json`` and ``gpu.md``. Nothing
leaves the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lrfr import __version__
from lrfr.core.machine import checked_device, this_machine
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.format.pair_batch import Batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.reading.loader import PairLoader
from lrfr.train import checkpoint
from lrfr.train.engine.background import on_host
from lrfr.train.engine.determinism import kernels
from lrfr.train.engine.distributed import World, join_world
from lrfr.train.engine.method_run import Run
from lrfr.train.methods.table import METHODS
from lrfr.train.recipe import load_recipe
from lrfr.train.settings import TrainSettings

PARTS = ("methods", "heads", "feed", "checkpoint")
NAMES = ("Male", "Bald", "Big_Nose", "Chubby", "Narrow_Eyes")
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How large the trials are."""

    recipe: str
    batch: int
    steps: int
    classes: int
    many_classes: int
    faces: int
    amps: tuple[str, ...]
    compiles: tuple[str, ...]


FULL = Size("paper", 128, 20, 10_000, 600_000, 4096, ("none", "bf16", "fp16"), ("baseline", "fskd"))
QUICK = Size("tiny", 4, 2, 8, 64, 64, ("none",), ())


def faces(size: int, count: int, classes: int) -> Batch:
    """Return a batch of noise in the place of faces."""
    generator = torch.Generator().manual_seed(0)
    hr, lr = torch.randint(0, 256, (2, count, 3, size, size), generator=generator, dtype=torch.uint8)
    label = torch.randint(0, classes, (count,), generator=generator)
    attributes = torch.randint(0, 2, (count, len(NAMES)), generator=generator, dtype=torch.int8)
    return Batch(hr, lr, torch.full((count,), 28), label, attributes, torch.arange(count))


def built(name: str, size: Size, classes: int) -> tuple[Any, Any]:
    """Return a method of its recipe and networks after untrained parents."""
    recipe = load_recipe(name, size.recipe)
    torch.manual_seed(0)
    parents = {role: parent.make().build(classes, None, NAMES) for role, parent in recipe.parents.items()}
    method = recipe.make()
    return method, method.build(classes, parents, NAMES)


def wait(device: str) -> None:
    """Wait for what the device has to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def stepped(run: Run, batch: Batch, steps: int, device: str) -> Row:
    """Return speed, memory and the number of waits of some steps, after others that are not counted."""
    for step in range(3):
        run.step(batch, step, 1e-4)
    wait(device)
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for step in range(steps):
        losses = run.step(batch, step, 1e-4)
    wait(device)
    seconds = (time.perf_counter() - start) / steps
    row: Row = {"step_ms": round(1000 * seconds, 2), "images_per_s": round(len(batch) / seconds, 1)}
    row["loss"] = float(losses["total"])
    if cuda:
        row["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        row["waits_a_step"] = waits(run, batch)
    return row


def waits(run: Run, batch: Batch) -> int:
    """Return how often CUDA says that a step on a batch of the device makes the host wait; it should be 0."""
    batch = run.prepare(batch)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run.step(batch, 0, 1e-4)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in told)


def methods(size: Size, names: tuple[str, ...], device: str, folder: Path) -> list[Row]:
    """Measure a step of every method."""
    rows = []
    for name in names:
        kinds = [(amp, False) for amp in size.amps] + [("bf16", True)] * (name in size.compiles)
        for amp, compiled in kinds:
            row: Row = {"method": name, "amp": amp, "compile": compiled}
            try:
                method, nets = built(name, size, size.classes)
                settings = TrainSettings(
                    unit="step", batch_size=size.batch, amp=amp, compile=compiled, deterministic=False
                )  # type: ignore[arg-type]
                with kernels(settings.deterministic):
                    run = Run(method, nets, settings, World(device=device))
                    row |= stepped(run, faces(112, size.batch, size.classes), size.steps, device)
            except Exception:
                row["fault"] = traceback.format_exc(limit=-3)
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows


def heads(size: Size, names: tuple[str, ...], device: str, folder: Path) -> list[Row]:
    """Measure one process a GPU (two on a CPU), with a whole and with a spread head."""
    count = max(1, torch.cuda.device_count()) if device.startswith("cuda") else 2
    rows = []
    for shard in (False, True):
        out = folder / f"heads-{shard}.json"
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(count),
        ]
        command += ["-m", "benchmarks.gpu", "--process", str(out), "--device", device.partition(":")[0]]
        command += ["--quick"] * (size is QUICK) + ["--shard"] * shard
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        row = json.loads(out.read_text()) if out.exists() else {"fault": done.stderr[-1500:]}
        rows.append({"processes": count, "spread": shard, "classes": size.many_classes, **row})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def one_of_many(size: Size, out: Path, device: str, shard: bool) -> None:
    """Take steps as one of the processes of :func:`heads`."""
    with join_world(device) as world, kernels(False):
        method, nets = built("baseline", size, size.many_classes)
        settings = TrainSettings(
            unit="step", batch_size=size.batch * world.size, shard_classes=shard, deterministic=False
        )
        run = Run(method, nets, replace(settings, amp="bf16" if world.kind == "cuda" else "none"), world)
        row = stepped(run, faces(112, size.batch, size.many_classes), size.steps, world.device)
        row["images_per_s"] = round(row["images_per_s"] * world.size, 1)
        if world.leads:
            out.write_text(json.dumps(row))


def feed(size: Size, names: tuple[str, ...], device: str, folder: Path) -> list[Row]:
    """Measure the pairs a second that come to a device, from a store on a local disk."""
    make_pairs(f"synthetic:ids={size.faces // 8},per_id=8", "fskd", store=folder / "store")
    dataset, rows = PairDataset(folder / "store", "default"), []
    run = Run(*built("baseline", QUICK, 8), TrainSettings(), World(device=device))
    for threads, workers in ((0, 0), (2, 0), (4, 0), (0, 4)):
        loader = PairLoader(dataset, min(size.batch, 64), threads=threads, workers=workers)
        list(loader.iterate(0))
        start, count = time.perf_counter(), 0
        for batch in loader.iterate(1):
            count += len(run.prepare(batch))
        wait(device)
        rate = count / (time.perf_counter() - start)
        rows.append({"threads": threads, "processes": workers, "pairs_per_s": round(rate, 1)})
    return rows


def checkpoints(size: Size, names: tuple[str, ...], device: str, folder: Path) -> list[Row]:
    """Measure how long training waits for a checkpoint (a copy), and how long until it is written."""
    run = Run(*built("baseline", size, size.many_classes), TrainSettings(), World(device=device))
    run.step(faces(112, size.batch, size.many_classes), 0, 1e-4)
    rows = []
    for _ in range(2):
        wait(device)
        start = time.perf_counter()
        model, kept = on_host(run.state.model()), on_host(run.state.optimizer_tensors())
        copied = time.perf_counter()
        checkpoint.save(folder / "step", checkpoint.Checkpoint({}, model, {}, kept, {}))
        written = time.perf_counter()
        size_gb = sum(tensor.nbytes for tensor in (*model.values(), *kept.values())) / 1e9
        rows.append(
            {
                "classes": size.many_classes,
                "gb": round(size_gb, 3),
                "wait_s": round(copied - start, 3),
                "write_s": round(written - copied, 3),
            }
        )
    return rows


WORK = {"methods": methods, "heads": heads, "feed": feed, "checkpoint": checkpoints}


def machine() -> Row:
    """Return what the numbers are of."""
    count = torch.cuda.device_count()
    found: Row = {"lrfr": __version__, "torch": torch.__version__, "python": platform.python_version()}
    found |= {"cuda": torch.version.cuda, "gpus": [torch.cuda.get_device_name(k) for k in range(count)]}
    here = this_machine(Path())
    return found | {"cpu": here.cpu, "usable_cores": here.usable_cores, "memory_gib": here.memory_gib}


def page(result: Row) -> str:
    """Return the result as Markdown."""
    lines = ["# lrfr on this machine", ""]
    lines += [f"- {name}: {value}" for name, value in result["machine"].items()]
    for part in PARTS:
        rows = result.get(part)
        if rows:
            names = list(dict.fromkeys(name for row in rows for name in row))
            lines += ["", f"## {part}", "", f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
            for row in rows:
                cells = [
                    str(row.get(name, "")).strip().replace("\n", " ").replace("|", "/") for name in names
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{result['seconds']} s\n"


def main() -> int:
    """Measure; write JSON and page; return 1 where a part failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--methods", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="tiny networks, two steps")
    parser.add_argument("--process", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shard", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = QUICK if given.quick else FULL
    if given.process:
        one_of_many(size, given.process, given.device, given.shard)
        return 0
    parts, device = given.parts.split(","), checked_device(given.device)
    names = tuple(given.methods.split(",")) if given.methods else tuple(METHODS.names())
    if unknown := sorted({*parts} - {*PARTS}) + [name for name in names if name not in METHODS]:
        parser.error(f"unknown: {', '.join(unknown)}")
    start, result = time.perf_counter(), {"machine": machine(), "quick": given.quick, "device": device}
    for part in parts:
        print(f"{part} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                result[part] = WORK[part](size, names, device, Path(folder))
            except Exception:
                result[part] = [{"fault": traceback.format_exc(limit=-3)}]
        result["seconds"] = round(time.perf_counter() - start, 1)
        given.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        given.out.with_suffix(".md").write_text(page(result), "utf-8")
    print(page(result))
    return int(any("fault" in row for part in parts for row in result[part]))


if __name__ == "__main__":
    sys.exit(main())
