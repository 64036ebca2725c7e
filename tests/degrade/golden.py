"""One step for each op, run on the stand-in faces: its golden value is the digest of the bytes.

``python -m tests.degrade.golden`` renews ``tests/data/degrade_golden.json`` after an op was added or its
``revision`` was raised; it refuses where pixels moved under an old revision. ``--print`` prints the values.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import albumentations
import cv2
import numpy as np
import torch
from PIL import Image

from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec import model
from tests.degrade.samples import faces, keys, pipeline

FILE = Path(__file__).parents[1] / "data/degrade_golden.json"
STEPS = {
    "resize": "size: {randint: [5, 150]}, filter: bicubic, antialias: true",
    "down": "size: {choice: [7, 14, 20, 28, 56]}, filter: {choice: [bilinear, bicubic, box, hamming, lanczos]}, antialias: true",
    "up": "size: 150, filter: bilinear, antialias: true",
    "down_up": "ratio: {uniform: [0.1, 0.9]}, filter: {choice: [area, nearest, nearest_exact]}, antialias: false",
    "gaussian_blur": "sigma: {uniform: [0.2, 6]}",
    "motion_blur": "length: {uniform: [1, 31]}, angle: {uniform: [0, 180]}",
    "defocus": "radius: {uniform: [0, 9]}",
    "kernel_mix": "family: {choice: [iso, generalized_aniso, plateau_aniso, sinc]}, size: {randint: [7, 21]}, sigma_x: {uniform: [0.2, 3]}, angle: 30",
    "sharpen": "amount: {uniform: [0.2, 4]}, sigma: {uniform: [1, 9]}, threshold: {uniform: [0, 20]}",
    "gaussian_noise": "sigma: {uniform: [1, 30]}, gray_p: 0.4",
    "poisson_noise": "photons: {log_uniform: [16, 128]}, gray_p: 0.4",
    "speckle": "sigma: {uniform: [0, 0.5]}, gray_p: 0.4",
    "read_noise": "electrons: {uniform: [1, 40]}",
    "jpeg": "quality: {randint: [10, 95]}, subsampling: {choice: [420, 422, 444]}, times: {randint: [1, 2]}",
    "two_grid_jpeg": "first: {randint: [20, 60]}, quality: {randint: [30, 90]}, shift_x: {randint: [0, 7]}, shift_y: {randint: [0, 7]}",
    "webp": "quality: {randint: [10, 90]}",
    "gamma": "gamma: {uniform: [0.3, 3]}",
    "brightness": "factor: {uniform: [0.3, 2]}",
    "contrast": "factor: {uniform: [0.3, 2]}",
    "saturation": "factor: {uniform: [0, 2]}",
    "low_light": "exposure: {uniform: [0.05, 1]}",
    "illumination": "strength: {uniform: [0, 1]}, angle: {uniform: [0, 360]}",
    "color_cast": "red: {uniform: [0.5, 1.5]}, blue: {uniform: [0.5, 1.5]}",
    "grayscale": "",
    "occlude": "area: {uniform: [0, 0.6]}, x: {uniform: [0, 1]}, y: {uniform: [0, 1]}, fill: {randint: [0, 255]}",
    "misalign": "landmark_px: {uniform: [0, 3]}, roll: {uniform: [-20, 20]}, scale: {uniform: [0.6, 1.5]}, shift_x: 0.05, size: {choice: [20, 112]}, border: {choice: [black, edge, reflect]}",
    "identity": "",
}
# the same bytes are promised on one kind of processor only
NATIVE_STEPS = {
    "turbulence": "D_over_r0: {uniform: [0.25, 3]}",
    "style": "magnitude: {uniform: [0, 4]}",
    "albumentations": "transform: GaussNoise, params: {std_range: [0.05, 0.2]}",
}
# streams, laws, gates and containers, whose revision is that of the spec language
ENGINE = "(engine)"
ENGINE_STEPS = """\
  - {id: a, p: 0.6, one_of: [{op: gamma, gamma: {log_uniform: [0.5, 2]}}, {op: gamma, gamma: {normal: [1, 0.2]}}], weights: [1, 2]}
  - {some_of: [{op: occlude, area: 0.1, x: {uniform: [0, 1]}}, {op: brightness, factor: {chi: 3, scale: 0.5}}, {op: grayscale}], n: {randint: [0, 2]}}
  - {shuffle: [{op: gaussian_noise, id: n, sigma: 9}, {op: jpeg, id: j, quality: 30}, {op: defocus, radius: 2}], in_order: [n, j]}
  - {steps: [{op: gaussian_noise, sigma: {uniform: [1, 9]}}], repeat: {choice: [1, 2, 3]}}
"""

Golden = Mapping[str, list[object]]


def versions() -> dict[str, str]:
    """Return the libraries that golden values hold for."""
    return {
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": Image.__version__,
        "torch": torch.__version__.split("+")[0],
        "albumentations": albumentations.__version__,
    }


def processor() -> str:
    """Return the kind of processor, for the ops whose floating-point bytes depend on it."""
    cpu = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    return f"{found[1] if found else platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def digests(backwards: bool = False, batch: int = 12, steps: Mapping[str, str] = STEPS) -> dict[str, str]:
    """Return op -> sha256 over the bytes of 12 faces of 112 px and 6 of 29 px."""
    lines = {
        op: f"  - {{op: {op}, id: s{', ' if given else ''}{given}}}\n" if op != ENGINE else given
        for op, given in steps.items()
    }
    return {op: _digest(text, backwards, batch) for op, text in lines.items()}


def _digest(steps: str, backwards: bool, batch: int) -> str:
    images, names = faces(12) + faces(6, 29), keys(18)
    run = pipeline(steps)
    order = list(range(18))[:: -1 if backwards else 1]
    results = {}
    for start in range(0, 18, batch):
        rows = order[start : start + batch]
        found = run.run([names[r] for r in rows], [images[r] for r in rows])
        results |= dict(zip(rows, found, strict=True))
    digest = hashlib.sha256()
    for row in range(18):
        digest.update(str(results[row].image.shape).encode() + results[row].image.tobytes())
    return digest.hexdigest()[:24]


def golden() -> dict[str, list[object]]:
    """Return {op: [revision, digest]} of this tree."""
    found = digests(steps={**STEPS, **NATIVE_STEPS, ENGINE: ENGINE_STEPS})
    return {
        op: [model.REVISION if op == ENGINE else OPS[op].revision, hashed] for op, hashed in found.items()
    }


def moved(known: Golden, found: Golden, ops: Iterable[str]) -> list[str]:
    """Return what is wrong with each op whose value is not the known one."""
    faults = []
    for op in ops:
        if op not in known:
            faults.append(f"{op}: has no golden value; run: python -m tests.degrade.golden")
        elif known[op][0] != found[op][0]:
            faults.append(
                f"{op}: its revision is {found[op][0]}, the golden value is of {known[op][0]}; run: python -m tests.degrade.golden"
            )
        elif known[op][1] != found[op][1]:
            faults.append(
                f"{op}: other pixels under the same revision {found[op][0]}: raise it, or mend the op"
            )
    return faults


def comparable(record: Mapping[str, object]) -> set[str]:
    """Return the ops whose golden values of ``record`` hold for these libraries on this processor."""
    if record["versions"] != versions():
        return set()
    native = set(NATIVE_STEPS) if record["processor"] == processor() else set()
    return set(STEPS) | {ENGINE} | native


def renew() -> int:
    """Write the values of this tree; refuse when pixels moved under an old revision."""
    known, found = json.loads(FILE.read_text()), golden()
    faults = [fault for fault in moved(known["ops"], found, comparable(known)) if "under the same" in fault]
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    head = {"versions": versions(), "processor": processor()}
    lines = ",\n".join(f"  {json.dumps(op)}: {json.dumps(found[op])}" for op in sorted(found))
    FILE.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "ops": {{\n{lines}\n }}\n}}\n')
    return 0


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(json.dumps(digests(), sort_keys=True))
    else:
        sys.exit(renew())
