"""The loop against a bare PyTorch loop on the same batches, and the share of time spent waiting for data.

Both take the same steps of F-SKD's tiny recipe in turn, in one process. The bare loop flips and converts
batches that are in memory, then forward, backward, clipping, optimizer and the loss as a number: no reading,
no journal, no checks, no checkpoint.
Usage: ``python benchmarks/train.py [--quick] [--json train.json]``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from lrfr.core.progress import Hooks
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.distributed import World
from lrfr.train.engine.journal import read
from lrfr.train.engine.loaders import make_loader
from lrfr.train.engine.recognizer_task import FitOptions, fit
from lrfr.train.recipe import load_recipe


def bare(method, nets, batches, settings) -> tuple[float, float]:
    """Return (seconds, CPU seconds of this thread) of the plain loop over uint8 batches in memory."""
    parameters = [p for p in nets.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        parameters, settings.lr, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True
    )
    start, cpu = time.perf_counter(), time.thread_time()
    for step, raw in enumerate(batches):
        batch = dataclasses.replace(raw, hr_bchw=ready(raw.hr_bchw, step), lr_bchw=ready(raw.lr_bchw, step))
        loss = method.losses(nets, batch, step)["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return time.perf_counter() - start, time.thread_time() - cpu


def ready(x_bchw: torch.Tensor, step: int) -> torch.Tensor:
    """Return the images flipped at random, float in [-1, 1], channels last."""
    where = torch.rand(len(x_bchw), 1, 1, 1, generator=torch.Generator().manual_seed(step)) < 0.5
    x_bchw = torch.where(where, x_bchw.flip(3), x_bchw)
    return x_bchw.float().mul_(2 / 255).sub_(1).contiguous(memory_format=torch.channels_last)


def make_nets(recipe, dataset):
    """Return (method, networks with an untrained teacher)."""
    torch.manual_seed(0)
    method = recipe.make()
    teacher = recipe.parents["teacher"].make().build(dataset.num_classes)
    return method, teacher, method.build(dataset.num_classes, {"teacher": teacher})


def ours(method, teacher, dataset, settings, identity, folder) -> tuple[float, float, float]:
    """Return (seconds of the steps, this thread's CPU seconds, share of waiting) of the loop, without start
    and last save.
    """
    stamps = []
    fit(
        method,
        dataset,
        folder,
        settings,
        identity=identity,
        options=FitOptions(parents={"teacher": teacher}),
        hooks=Hooks(lambda done, total, **info: stamps.append((time.perf_counter(), time.thread_time()))),
    )
    waits = [line["wait"] for line in read(folder / "journal.jsonl")][1:]
    stamps = stamps[1:]  # the first report comes before the first step
    return stamps[-1][0] - stamps[0][0], stamps[-1][1] - stamps[0][1], statistics.fmean(waits)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="3 rounds of 6 steps")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.steps = 3, 6
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(Path(temporary), given)
    text = json.dumps(result, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", "utf-8")


def measure(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    """Return medians over rounds of ours and the bare loop, in turn."""
    make_pairs("synthetic:ids=20,per_id=10", "fskd", store=folder / "store")
    dataset = PairDataset(folder / "store", "default")
    recipe = load_recipe(
        "fskd",
        "tiny",
        [
            "train.unit=step",
            f"train.length={given.steps + 1}",
            "train.milestones=[]",
            "lr=0.001",
            "save_every=0",
        ],
    )
    settings = dataclasses.replace(recipe.settings, threads=given.threads)
    loader = make_loader(dataset, settings, World())
    batches = []
    while len(batches) < given.steps:
        batches += list(loader.iterate(len(batches)))
    batches = batches[: given.steps]
    method, teacher, nets = make_nets(recipe, dataset)
    nets.to(memory_format=torch.channels_last).train()
    bare(method, nets, batches[:3], settings)
    identity = {"method": recipe.method, "options": recipe.options}
    rounds = []
    for number in range(given.rounds):
        plain, plain_cpu = bare(method, nets, batches, settings)
        looped, looped_cpu, wait = ours(
            method, teacher, dataset, settings, identity, folder / f"run-{number}"
        )
        rounds.append(
            {
                "bare_s": plain,
                "loop_s": looped,
                "overhead": looped / plain - 1,
                "overhead_cpu": looped_cpu / plain_cpu - 1,
                "wait": wait,
            }
        )
    return {
        "what": "F-SKD tiny recipe: the loop against a bare loop on the same batches",
        "overhead_median": statistics.median(row["overhead"] for row in rounds),
        "overhead_cpu_median": statistics.median(row["overhead_cpu"] for row in rounds),
        "data_wait_median": statistics.median(row["wait"] for row in rounds),
        "images_per_s": {
            name: given.steps * settings.batch_size / statistics.median(row[key] for row in rounds)
            for name, key in (("lrfr", "loop_s"), ("bare PyTorch loop", "bare_s"))
        },
        "rounds": rounds,
        "threads": given.threads,
        "steps": given.steps,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "load_1min": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
