"""Turbulence, one core, 112x112 RGB: ours learned and exact, and in the same run three other ways to render
the same thing.

They are the dense exact reference (every pixel its own exact PSF), split-step propagation to 16 x 16 sources,
and work of the shape of the public P2S code: a network at every pixel and 100 dense filters of 33 x 33. The
latter is written here from the paper's description with random weights; it measures time, not pictures.

    python benchmarks/turbulence.py [--quick] --json FILE

Times are CPU milliseconds an image (medians over repeats, variants in turn). Peak memory is of the whole
process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from lrfr.degrade.turbulence.check.observed import dense_exact, random_normals
from lrfr.degrade.turbulence.check.splitstep import SplitStep
from lrfr.degrade.turbulence.field import FieldModel, Geometry
from lrfr.degrade.turbulence.physics.psf import PsfModel
from lrfr.degrade.turbulence.simulator import Simulator
from lrfr.pairs.sources.synthetic import render_face

STRENGTHS = (2.0, 4.0, 10.0)
BATCH = 64
PUBLIC_P2S_MS = 143.0  # the public P2S code, measured on one core of another machine (AMD EPYC, Zen 4)


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU milliseconds of one call."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def setup_s() -> float:
    """Return CPU seconds for the field model and everything else that a geometry needs once."""
    start = time.process_time()
    field = FieldModel(Geometry(112, 112, 0.0201))
    _ = field.tilt_root, field.order_roots, field.ripples
    return time.process_time() - start


def simulate_ms(batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return milliseconds an image: mode -> strength (a number, or the mix U(0.25, 2))."""
    images = [render_face(k, 0, 1)[0] for k in range(batch)]
    simulators = {mode: Simulator(Geometry(112, 112), mode) for mode in ("learned", "exact")}
    noise = random_normals(simulators["learned"], batch, 0)
    mix = np.random.default_rng(0).uniform(0.25, 2.0, batch).tolist()
    cases = {f"{x:g}": [x] * batch for x in STRENGTHS} | {"0.25-2": mix}
    times: dict[tuple[str, str], list[float]] = {}
    for one in simulators.values():
        one.run(
            images[:3], STRENGTHS, ["physical"] * 3, noise[:3]
        )  # makes what is kept: renderers, roots, bases
    for _ in range(repeats):
        for mode, one in simulators.items():
            for case, strengths in cases.items():
                spent = cpu_ms(
                    lambda one=one, strengths=strengths: one.run(
                        images, strengths, ["physical"] * batch, noise
                    )
                )
                times.setdefault((mode, case), []).append(spent / batch)
    return {mode: {case: median(times[mode, case]) for case in cases} for mode in simulators}


def dense_ms() -> float:
    """Return milliseconds for one picture with its own exact PSF at every pixel."""
    picture = torch.rand(3, 112, 112)
    phases = torch.randn(112 * 112, 33) * 0.1
    return cpu_ms(lambda: dense_exact(picture, PsfModel(), phases))


def dense_basis_ms() -> float:
    """Return milliseconds of P2S as published: a network 36-100-100-100-100 at every pixel, 100 filters of 33
    x 33, tilt, weighting.
    """
    pixels, picture = 112 * 112, torch.rand(3, 1, 112, 112)
    layers = [(torch.randn(100, fan_in), torch.zeros(100)) for fan_in in (36, 100, 100, 100)]
    filters, phases, grid = torch.randn(100, 1, 33, 33), torch.randn(pixels, 36), torch.rand(3, 112, 112, 2)

    def render() -> None:
        value = phases
        for weight, bias in layers:
            value = torch.addmm(bias, value, weight.T).relu_()
        maps = torch.nn.functional.conv2d(
            torch.nn.functional.pad(picture, (16,) * 4, mode="reflect"), filters
        )
        blurred = (maps * value.T.view(1, 100, 112, 112)).sum(1, keepdim=True)
        torch.nn.functional.grid_sample(blurred, grid, align_corners=False)

    with torch.inference_mode():
        render()
        return median(cpu_ms(render) for _ in range(3))


def split_step_ms(sources: int) -> float:
    """Return milliseconds for a 16 x 16 grid of split-step PSFs, extrapolated from a few sources (screens
    included).
    """
    path, generator = SplitStep(0.1, 1000.0, 0.5e-6, 0.05), np.random.default_rng(0)
    screens = path.draw_screens(generator)
    drawn = cpu_ms(lambda: path.draw_screens(generator))
    places = np.linspace(-0.1, 0.1, sources)
    return drawn + cpu_ms(lambda: [path.pupil_field(screens, (p, -p)) for p in places]) / sources * 256


def measure(quick: bool) -> dict[str, Any]:
    """Run everything."""
    torch.set_num_threads(1)
    setup = setup_s()
    ours = simulate_ms(BATCH, 2 if quick else 7)
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peers = {
        "dense": dense_ms(),
        "p2s_shaped": dense_basis_ms(),
        "split_step_16x16": split_step_ms(4 if quick else 16),
    }
    learned = ours["learned"]["2"]
    others = {"exact": ours["exact"]["2"], **peers, "public_p2s_elsewhere": PUBLIC_P2S_MS}
    return {
        "ms_per_image": {**ours, **peers},
        "ratios_to_learned_at_2": {name: value / learned for name, value in others.items()},
        "setup_s": setup,
        "rss_mb": rss_mb,
        "batch": BATCH,
        "threads": 1,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 50 s")
    parser.add_argument("--json", type=Path, help="result file")
    options = parser.parse_args()
    result = measure(options.quick)
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
