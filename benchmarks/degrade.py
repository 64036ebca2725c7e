"""Degradation throughput: lrfr beside albumentations, a BasicSR-style numpy chain and kornia, in turn, on the
same images.

The chain: blur (p 0.5: Gaussian sigma 0.2-3 or motion 3-15 px), noise (p 0.5: Gaussian sigma 1-30 or Poisson
16-128 photons), JPEG 30-95 (p 0.5), bicubic to 7, 14, 20, 28 or 56 px. One thread everywhere; CPU time of
this process; median over rounds in which the contestants take turns. The floor is the same work written out
by hand with everything drawn beforehand; for resizing alone it is the bare library call on stacks made
beforehand.

    python benchmarks/degrade.py --quick --json degrade.json
"""
# ruff: noqa: D103, E402 - contestants explain themselves; thread counts come before the imports

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import degrade_one_face as one_face
from benchmarks import degrade_peers as peers
from benchmarks.degrade_peers import SIZES
from lrfr.core.image import encode_jpeg
from lrfr.degrade import kernels
from lrfr.degrade import noise_tables as tables
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.pairs.sources.synthetic import render_face

BATCH = 64
CHAIN = """\
version: 1
pipeline:
  - id: blur
    p: 0.5
    one_of:
      - {op: gaussian_blur, sigma: {uniform: [0.2, 3.0]}}
      - {op: motion_blur, length: {choice: [3, 5, 7, 9, 11, 13, 15]}, angle: {uniform: [0, 180]}}
  - id: noise
    p: 0.5
    one_of:
      - {op: gaussian_noise, sigma: {uniform: [1, 30]}}
      - {op: poisson_noise, photons: {log_uniform: [16, 128]}}
  - {op: jpeg, id: jpeg, p: 0.5, quality: {randint: [30, 95]}}
  - {op: down, id: size, size: {choice: [7, 14, 20, 28, 56]}, filter: bicubic, antialias: true}
"""
RESIZE = (
    "version: 1\npipeline: [{op: down, id: d, size: {choice: [7, 14, 20, 28, 56]}, filter: bicubic, "
    "antialias: true}]"
)
PARAMETERS = {
    "resize": "size: 20, filter: bicubic, antialias: true",
    "down": "size: 20, filter: bicubic, antialias: true",
    "up": "size: 224, filter: bicubic, antialias: true",
    "down_up": "size: 20, filter: bicubic, antialias: true",
    "gaussian_blur": "sigma: {uniform: [0.2, 3]}",
    "motion_blur": "length: {uniform: [3, 15]}, angle: {uniform: [0, 180]}",
    "defocus": "radius: 3",
    "kernel_mix": "family: aniso, size: 21, sigma_x: 3, sigma_y: 1, angle: {uniform: [0, 180]}",
    "sharpen": "amount: 0.5",
    "gaussian_noise": "sigma: {uniform: [1, 30]}",
    "poisson_noise": "photons: {log_uniform: [16, 128]}",
    "speckle": "sigma: 0.1",
    "read_noise": "electrons: 20",
    "two_grid_jpeg": "first: {randint: [30, 95]}, quality: {randint: [30, 95]}",
    "jpeg": "quality: {randint: [30, 95]}",
    "webp": "quality: 50",
    "gamma": "gamma: 2",
    "brightness": "factor: 0.8",
    "contrast": "factor: 0.8",
    "saturation": "factor: 0.8",
    "low_light": "exposure: 0.3",
    "illumination": "strength: 0.5, angle: 30",
    "color_cast": "blue: 0.8",
    "grayscale": "",
    "occlude": "area: 0.2",
    "misalign": "landmark_share: 0.05",
    "identity": "",
}


def lrfr_chain(images):
    pipeline = Pipeline(parse_spec(CHAIN))
    keys = [b"%d" % number for number in range(len(images))]

    def run():
        for start in range(0, len(images), BATCH):
            pipeline.run(keys[start : start + BATCH], images[start : start + BATCH])

    return run


def floor_chain(images):
    """Return the same draws as lrfr's, made beforehand, applied by bare library calls."""
    keys = [b"%d" % number for number in range(len(images))]
    plans = [
        {step.op: step.params for step in item.trace.steps}
        for item in Pipeline(parse_spec(CHAIN)).run(keys, images)
    ]
    moved = [plan.get("motion_blur") for plan in plans]
    lines = [p and kernels.quantize(kernels.motion(p["length"], p["angle"])) for p in moved]
    normal = tables.normal_table().reshape(1, -1)
    words = np.random.Philox(key=1)

    def one(image, plan, line):
        if "gaussian_blur" in plan:
            taps = np.array(kernels.gaussian_taps(plan["gaussian_blur"]["sigma"]), np.float32)
            image = cv2.sepFilter2D(image, -1, taps / taps.sum(), taps / taps.sum())
        elif line is not None:
            image = cv2.filter2D(image, -1, (line / 4096).astype(np.float32))
        if "gaussian_noise" in plan:
            field = cv2.LUT(words.random_raw(image.size // 4).view(np.uint16).reshape(image.shape), normal)
            field *= np.float32(plan["gaussian_noise"]["sigma"])
            image = cv2.add(image, field, dtype=cv2.CV_8U)
        elif "poisson_noise" in plan:
            index = image.astype(np.int32) << 10 | (
                words.random_raw(image.size // 4).view(np.uint16) >> 6
            ).astype(np.int32).reshape(image.shape)
            photons = plan["poisson_noise"]["photons"]
            image = cv2.convertScaleAbs(tables.poisson_table(photons).take(index), alpha=255 / photons)
        if "jpeg" in plan:
            data = encode_jpeg(image, plan["jpeg"]["quality"])
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        return image

    def run():
        for start in range(0, len(images), BATCH):
            rows = range(start, min(start + BATCH, len(images)))
            done = [one(images[row], plans[row], lines[row]) for row in rows]
            for size in SIZES:
                group = [
                    image for row, image in zip(rows, done, strict=True) if plans[row]["down"]["size"] == size
                ]
                if group:
                    resize_batch(np.stack(group), size, "bicubic", True)

    return run


def lrfr_resize(images):
    pipeline = Pipeline(parse_spec(RESIZE))
    keys = [b"%d" % number for number in range(len(images))]
    return lambda: [
        pipeline.run(keys[i : i + BATCH], images[i : i + BATCH]) for i in range(0, len(images), BATCH)
    ]


def floor_resize(images):
    """Return PyTorch's resize alone, on stacks made beforehand of the images that lrfr brings to one size."""
    keys = [b"%d" % number for number in range(len(images))]
    done = Pipeline(parse_spec(RESIZE)).run(keys, images)
    stacks = []
    for start in range(0, len(images), BATCH):
        for size in SIZES:
            rows = [
                row
                for row in range(start, min(start + BATCH, len(images)))
                if done[row].image.shape[0] == size
            ]
            if rows:
                stacks.append(
                    (torch.from_numpy(np.stack([images[row] for row in rows])).permute(0, 3, 1, 2), size)
                )
    return lambda: [
        torch.nn.functional.interpolate(stack, size, mode="bicubic", antialias=True) for stack, size in stacks
    ]


def in_turn(contestants: dict[str, Callable[[], object]], count: int, rounds: int) -> dict[str, float]:
    """Return img/s of one core: the median over rounds in which all contestants run once."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if number:
                seconds[name].append(time.process_time() - start)
    return {name: round(count / statistics.median(found), 1) for name, found in seconds.items()}


def op_costs(images, rounds: int) -> dict[str, float]:
    """Return microseconds an image of each op, alone, in batches."""
    keys = [b"%d" % number for number in range(BATCH)]
    costs = {}
    for name, parameters in PARAMETERS.items():
        pipeline = Pipeline(
            parse_spec(f"version: 1\npipeline: [{{op: {name}{', ' if parameters else ''}{parameters}}}]")
        )
        found = []
        for number in range(rounds + 1):
            start = time.process_time()
            pipeline.run(keys, images[:BATCH])
            found += [time.process_time() - start] * (number > 0)
        costs[name] = round(statistics.median(found) / BATCH * 1e6, 1)
    return costs


def available(makers, images):
    """Return the contestants that are installed."""
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make(images)
        except ImportError as error:
            print(f"{name}: not installed ({error.name})")
    return found


def main() -> None:
    """Run and print; see the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds (under 50 s)")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    count, rounds = (256, 5) if options.quick else (1024, 9)
    faces = [render_face(number % 32, 0, 0)[0] for number in range(32)]
    images = [faces[number % 32] for number in range(count)]
    chains = {
        "lrfr": lrfr_chain,
        "floor": floor_chain,
        "albumentations": peers.albumentations_chain,
        "basicsr_style": peers.basicsr_chain,
    }
    chain = in_turn(available(chains, images), count, rounds)
    try:
        chain |= in_turn(available({"kornia": peers.kornia_chain}, images[:64]), 64, 2)
    except Exception as error:
        print(f"kornia: {type(error).__name__}: {error}")
    resizers = {
        "lrfr": lrfr_resize,
        "floor": floor_resize,
        "albumentations": peers.albumentations_resize,
        "pillow": peers.pillow_resize,
    }
    resize = in_turn(available(resizers, images), count, 3 * rounds)
    result = {
        "chain": chain,
        "resize": resize,
        "one_face": {
            "chain": one_face.measure(CHAIN, faces, count, rounds, in_turn),
            "resize": one_face.measure(RESIZE, faces, count, 3 * rounds, in_turn),
        },
        "ops_us": op_costs(images, rounds),
        "share_of_floor": round(chain["lrfr"] / chain["floor"], 3),
        "resize_share_of_floor": round(resize["lrfr"] / resize["floor"], 3),
        "times_albumentations": round(chain["lrfr"] / chain["albumentations"], 2),
        "machine": {"platform": platform.platform(), "cpu": _cpu(), "load": os.getloadavg()[0], "threads": 1},
        "versions": {
            name: _version(name)
            for name in (
                "lrfr",
                "torch",
                "numpy",
                "opencv-python-headless",
                "pillow",
                "albumentations",
                "kornia",
            )
        },
    }
    assert set(PARAMETERS) | {"albumentations", "turbulence", "style"} >= set(OPS), (
        "an op is missing from the table"
    )
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def show(result) -> None:
    """Print the tables."""
    for title in ("chain", "resize"):
        print(f"{title} [img/s/core]")
        for name, rate in result[title].items():
            print(f"  {name:16}{rate:10.0f}   lrfr is {result[title]['lrfr'] / rate:5.2f} x")
    print(
        f"share of the hand-written floor: chain {result['share_of_floor']:.0%}, resize "
        f"{result['resize_share_of_floor']:.0%}"
    )
    for title, rows in result["one_face"].items():
        one_face.show(title, rows)
    print("ops [us an image of 112 px]")
    for name, cost in sorted(result["ops_us"].items(), key=lambda item: item[1]):
        print(f"  {name:16}{cost:8.1f}")


if __name__ == "__main__":
    main()
