"""The style generator: speed and memory of each preset, and whether its faces lie nearer to the target than
their source does.

Distribution (needs ``--identity``, a recognizer trained by lrfr): target faces (embedded people through the
preset ``surveillance``) against the same number of other people's faces: clean, after blur + JPEG (drawn,
fixed), and styled. Two measures in the recognizer's normalized embedding: the Frechet distance between
Gaussians (Heusel et al., NIPS 2017) and the accuracy of a logistic classifier, five folds (classifier
two-sample test, Lopez-Paz and Oquab, ICLR 2017; 0.5 is indistinguishable). The ``floor`` is a second target
sample. Intervals: 95 %, bootstrap over faces for the distance, Wilson for the accuracy.

    python benchmarks/style.py --identity runs/identity --json style.json
"""
# ruff: noqa: D103, E402 - thread counts come before the imports

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.image import ImageU8
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import parse_spec
from lrfr.degrade.style.generator import StyleGenerator
from lrfr.degrade.style.generator_card import PRESETS
from lrfr.degrade.style.render import render_style
from lrfr.pairs.sources.synthetic import render_face

IMAGES_OF_A_LARGE_SET = 3_000_000
# multiply-adds of one 112 px face, times two; and what one data-center GPU is assumed to sustain on such
# convolutions
GFLOP = {"full": 23.5}
ASSUMED_GPU_TFLOPS = 20.0
# the peers: blur and compression of varying strength, and one fixed mild setting
PLAIN = "[{op: gaussian_blur, sigma: {uniform: [0.2, 3.0]}}, {op: jpeg, quality: {randint: [30, 95]}}]"


FIXED = "[{op: gaussian_blur, sigma: 1.5}, {op: jpeg, quality: 50}]"


def spec_of(pipeline: str) -> Any:
    up = "{size: 112, filter: bicubic, antialias: true}"
    return parse_spec(
        f"{{version: 1, seed: 3, image: {{size: 112}}, pipeline: {pipeline}, store: {{lr: native, up: "
        f"{up}}}}}"
    )


def faces(first: int, count: int) -> list[ImageU8]:
    return [render_face(first + number, 0, 1)[0] for number in range(count)]


def degraded(source: str, images: list[ImageU8]) -> list[ImageU8]:
    from lrfr.degrade.spec.model import load_spec

    spec = load_spec(source) if source.isalpha() else spec_of(source)
    return [
        item.image for item in Pipeline(spec).run([b"%d" % number for number in range(len(images))], images)
    ]


def frechet(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return |mu - nu|^2 + tr(A + B - 2 (A B)^(1/2))."""
    from scipy.linalg import eigvals

    a, b = np.cov(first.T), np.cov(second.T)
    root = np.sqrt(np.maximum(eigvals(a @ b).real, 0)).sum()
    return float(((first.mean(0) - second.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root)


def frechet_interval(first: NDArray[np.float64], second: NDArray[np.float64], rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    drawn = [
        frechet(
            first[rng.integers(0, len(first), len(first))], second[rng.integers(0, len(second), len(second))]
        )
        for _ in range(rounds)
    ]
    # resampling repeats faces and so raises the distance: the bootstrap gives the spread, not the place
    value, half = frechet(first, second), 1.96 * float(np.std(drawn))
    return {"value": value, "interval": [value - half, value + half]}


def two_sample(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    right = float(
        (cross_val_predict(classifier, x, y, cv=StratifiedKFold(5, shuffle=True, random_state=0)) == y).mean()
    )
    z, n = 1.96, len(y)
    middle, half = (
        (right + z * z / (2 * n)) / (1 + z * z / n),
        z * np.sqrt(right * (1 - right) / n + z * z / (4 * n * n)) / (1 + z * z / n),
    )
    return {"value": right, "interval": [middle - half, middle + half]}


def distribution(identity: Path, weights: str, count: int, rounds: int) -> dict[str, Any]:
    from lrfr.train.weights.load_nets import load_embedder

    embed = load_embedder(identity)

    def features(images: list[ImageU8]) -> NDArray[np.float64]:
        raw = embed(images).astype(np.float64)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)

    clean = faces(40_000, count)
    target = features(degraded("surveillance", faces(50_000, count)))
    sets = {
        "floor": features(degraded("surveillance", faces(60_000, count))),
        "source": features(clean),
        "blur_jpeg": features(degraded(PLAIN, clean)),
        "blur_jpeg_fixed": features(degraded(FIXED, clean)),
        "styled": features(degraded(f"[{{op: style, weights: '{weights}'}}]", clean)),
    }
    return {
        "faces": count,
        "frechet": {name: frechet_interval(target, found, rounds) for name, found in sets.items()},
        "two_sample_accuracy": {name: two_sample(target, found) for name, found in sets.items()},
    }


def speed(preset: str, rounds: int) -> dict[str, float]:
    """Return CPU time of one 112 px face on one core (median), and what a large set would cost at that
    rate.
    """
    torch.manual_seed(0)
    generator, face = StyleGenerator(PRESETS[preset]).eval(), faces(0, 1)
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        render_style(generator, face, [[1.0] * 10])
        times.append(time.process_time() - start)
    seconds = statistics.median(times[1:])
    found = {
        "ms_per_image": 1000 * seconds,
        "images_per_s_per_core": 1 / seconds,
        "core_days_for_3_million": IMAGES_OF_A_LARGE_SET * seconds / 86_400,
        "parameters": sum(parameter.numel() for parameter in generator.parameters()),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if preset in GFLOP:
        found["gpu_hours_for_3_million_estimated"] = (
            IMAGES_OF_A_LARGE_SET * GFLOP[preset] / (1000 * ASSUMED_GPU_TFLOPS) / 3600
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer faces and rounds")
    parser.add_argument("--json", type=Path, default=Path("style.json"), help="result file")
    parser.add_argument(
        "--identity", type=Path, help="run or checkpoint of a recognizer; without it only speed is measured"
    )
    parser.add_argument("--weights", default="tiny", help="style weights: shipped name or file")
    parser.add_argument("--count", type=int, default=400, help="faces of each set")
    options = parser.parse_args()
    rounds = 3 if options.quick else 9
    torch.set_num_threads(1)
    measured: dict[str, Any] = {
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "threads": 1,
    }
    measured["speed"] = {preset: speed(preset, rounds) for preset in ("tiny", "small", "full")}
    if options.identity is not None:
        count = min(options.count, 100) if options.quick else options.count
        measured["distribution"] = distribution(
            options.identity, options.weights, count, 20 if options.quick else 200
        )
    options.json.write_text(json.dumps(measured, indent=1, sort_keys=True), "utf-8")
    print(json.dumps(measured, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
