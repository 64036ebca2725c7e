"""Known cameras, real crops, mixed cameras and drift: what ``lrfr fit`` finds, beside the truth.

    python -m benchmarks.fit known --faces FACES --camera h1 --crops 600 --seed 0
    python -m benchmarks.fit mixed --faces FACES
    python -m benchmarks.fit drift --faces FACES --trials 20
    python -m benchmarks.fit real --faces FACES --crops CROPS

FACES is a folder of clean aligned faces, one folder an identity: the camera looks at a third of the people,
the fit is given the others. Each run prints one JSON object.
"""

# ruff: noqa: E501
from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lrfr import load_spec
from lrfr.core.image import encode_png
from lrfr.core.progress import Hooks
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import Spec
from lrfr.fit.camera_fit import CameraFit, FitSettings
from lrfr.fit.fit_record import FittedCamera
from lrfr.fit.infer.bank import simulate
from lrfr.fit.infer.fitted_spec import spec_text
from lrfr.fit.judge.drift_check import check_drift
from lrfr.fit.look.clean_faces import CleanFaces, read_faces
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.crop_files import Crops, read_crops
from lrfr.fit.look.enlargement import WayUp
from lrfr.fit.look.face_statistics import Gaze, face_statistics
from lrfr.pairs.executors.dispatch import Runner

CAMERAS = {
    "h1": """
  - {op: gamma, id: g, gamma: {log_uniform: [0.8, 1.3]}}
  - {op: gaussian_blur, id: b, sigma: {uniform: [0.4, 1.8]}}
  - {op: down, id: d, size: {randint: [14, 44]}, filter: box, antialias: true}
  - {op: poisson_noise, id: n, photons: {log_uniform: [48, 512]}}
  - {op: jpeg, id: j, quality: {randint: [35, 75]}, subsampling: "420"}""",
    "h2": """
  - {op: gaussian_blur, id: b, p: 0.7, sigma: {uniform: [0.6, 2.4]}}
  - {op: down, id: d, size: {choice: [20, 28, 40, 56], weights: [1, 2, 2, 1]}, filter: bicubic, antialias: true}
  - {op: poisson_noise, id: n, p: 0.6, photons: {log_uniform: [32, 256]}}
  - {op: saturation, id: s, factor: {uniform: [0.5, 0.9]}}
  - {op: jpeg, id: j, p: 0.8, quality: {choice: [25, 50, 80]}, subsampling: "420"}""",
    "h3": """
  - {op: illumination, id: i, p: 0.4, strength: {uniform: [0.1, 0.5]}, angle: {uniform: [0, 360]}}
  - id: b
    p: 0.85
    one_of:
      - {op: motion_blur, length: {uniform: [3, 12]}, angle: {normal: [0, 25], clip: [-90, 90]}}
      - {op: defocus, radius: {uniform: [0.8, 3.2]}}
  - {op: down, id: d, size: {randint: [16, 36]}, filter: box, antialias: true}
  - id: l
    one_of:
      - {op: poisson_noise, photons: {log_uniform: [80, 400]}}
      - {op: low_light, exposure: {uniform: [0.4, 0.85]}, photons: 300}
    weights: [3, 1]
  - {op: read_noise, id: n, electrons: {uniform: [3, 18]}, full_well: 1000}
  - {op: color_cast, id: c, p: 0.6, red: {uniform: [0.9, 1.1]}, blue: {uniform: [0.8, 1.1]}}
  - {op: grayscale, id: g, p: 0.25}
  - {op: jpeg, id: j, p: 0.9, quality: {randint: [35, 85]}, times: {randint: [1, 2]}, subsampling: "420"}""",
    "h4": """
  - {op: turbulence, id: a, p: 0.7, D_over_r0: {uniform: [1.0, 4.0]}}
  - {op: down, id: d, size: {randint: [28, 56]}, filter: box, antialias: true}
  - {op: poisson_noise, id: n, photons: {log_uniform: [128, 1024]}}
  - {op: jpeg, id: j, quality: {randint: [45, 85]}, subsampling: "420"}""",
    "near": """
  - {op: down, id: d, size: {randint: [44, 60]}, filter: bicubic, antialias: true}
  - {op: poisson_noise, id: n, photons: {log_uniform: [512, 2048]}}
  - {op: jpeg, id: j, quality: {randint: [75, 92]}, subsampling: "420"}""",
    "far": """
  - {op: gaussian_blur, id: b, sigma: {uniform: [1, 3]}}
  - {op: down, id: d, size: {randint: [14, 24]}, filter: box, antialias: true}
  - {op: poisson_noise, id: n, photons: {log_uniform: [48, 128]}}
  - {op: jpeg, id: j, quality: {randint: [25, 45]}, subsampling: "420"}""",
}
GAZE = Gaze(112, WayUp("bicubic", True, 112), 0, True)
# parameter: (what stands for its absence, low, high, on a logarithm)
RANGES = {
    "size": (112, 8, 112, True),
    "sigma": (0, 0, 4, False),
    "length": (0, 0, 18, False),
    "photons": (4096, 24, 4096, True),
    "electrons": (0, 0, 30, False),
    "quality": (100, 8, 100, False),
    "gamma": (1, 0.5, 2, True),
    "amount": (0, 0, 3, False),
    "saturation": (1, 0, 1.7, False),
    "D_over_r0": (0, 0, 5, False),
}


def camera(name: str) -> Spec:
    """Return a camera of the list."""
    return load_spec(f"version: 1\nname: {name}\npipeline:{CAMERAS[name]}\n")


def halves(faces: str, folder: Path) -> tuple[CleanFaces, list[np.ndarray]]:
    """Return the fit's clean faces, and the faces that cameras look at: of other people."""
    everyone = read_faces(faces, folder, limit=2400)
    theirs = [*everyone.parts["validation"], *everyone.parts["test"]]
    ours = everyone.faces.take(everyone.parts["fit"])
    with tempfile.TemporaryDirectory() as scratch:
        for k, (face, row) in enumerate(zip(ours, everyone.parts["fit"], strict=True)):
            place = Path(scratch) / everyone.labels[row].replace("/", "_")
            place.mkdir(exist_ok=True)
            (place / f"{k}.png").write_bytes(encode_png(face, 0))
        clean = read_faces(scratch, folder, limit=2400)
    return clean, everyone.faces.take(theirs)


def crops_of(specs: Sequence[tuple[Spec, int]], faces: Sequence[np.ndarray], seed: int) -> Crops:
    """Return crops of cameras, each with its number of faces, as lossless pictures of 112 px."""
    order = np.random.default_rng([seed, 1]).permutation(len(faces)).tolist()
    pictures = []
    for spec, count in specs:
        rows = (order * (1 + count // len(order)))[len(pictures) : len(pictures) + count]
        names = [b"%d/%d" % (seed, len(pictures) + k) for k in range(count)]
        pictures += simulate(spec, [faces[row] for row in rows], names, GAZE)
    return Crops(
        tuple(f"{k}" for k in range(len(pictures))), tuple(pictures), Container("lossless"), 112, (), {}
    )


def effective(spec: Spec, count: int = 800) -> dict[str, np.ndarray]:
    """Return what a spec draws, by parameter, what is not drawn by its neutral value."""
    blank = [np.zeros((16, 16, 3), np.uint8)] * count
    found = {name: np.full(count, neutral, float) for name, (neutral, *_) in RANGES.items()}
    for row, one in enumerate(Pipeline(spec).run([b"w%d" % k for k in range(count)], blank, fit=False)):
        for step in one.trace.steps:
            for key, value in step.params.items():
                name = {"factor": "saturation"}.get(key, key) if step.op == "saturation" else key
                if name in found and not (step.op == "sharpen" and key == "sigma") and step.id != "file":
                    found[name][row] = value[-1] if isinstance(value, list) else value
            if step.op == "grayscale":
                found["saturation"][row] = 0
            if step.op == "defocus":  # the sigma of a disk
                found["sigma"][row] = step.params["radius"] / 2
    return found


def wasserstein(a: Spec, b: Spec) -> dict[str, float]:
    """Return the Wasserstein-1 distance of each parameter, in the range of the prior."""
    ours, theirs, found = effective(a), effective(b), {}
    for name, (_, low, high, log) in RANGES.items():
        if name == "D_over_r0" and not (ours[name].any() or theirs[name].any()):
            continue  # of cameras behind air
        x, y = (np.log(v[name]) if log else v[name] for v in (ours, theirs))
        span = np.log(high / low) if log else high - low
        found[name] = float(np.abs(np.sort(x) - np.sort(y)).mean() / span)
    return found


def told(name: str, row) -> dict:
    """Return a row of the table in short."""
    return {
        "set": name,
        "c2st": round(row.c2st, 3),
        "logistic": round(row.logistic, 3),
        "trees": round(row.trees, 3),
        "interval": [round(row.low, 3), round(row.high, 3)],
        "frechet": round(row.frechet, 2),
        "kid": round(row.kid, 3),
        "n": row.n,
    }


def known(given: argparse.Namespace) -> dict:
    """Fit a camera of known spec."""
    clean, faces = halves(given.faces, given.folder)
    truth = camera(given.camera)
    crops = crops_of([(truth, given.crops_n)], faces, given.seed)
    settings = FitSettings(seed=given.seed, prior=given.prior)
    fit = CameraFit(crops, clean, given.folder / f"bank-{given.camera}", settings, RUNNER)
    found = fit.run()
    apart = wasserstein(truth, found.spec)
    rows = [told(row.name, row) for row in found.rows]
    rows.append(told("true spec", judged(fit, truth)))
    return {
        "camera": given.camera,
        "crops": given.crops_n,
        "seed": given.seed,
        "w1_mean": float(np.mean(list(apart.values()))),
        "w1": apart,
        "rows": rows,
        "validation": {name: vars(near) for name, near in found.validation.items()},
        "kept": found.kept,
        "shares": found.shares,
        "cpu_min": found.cpu_s / 60,
        "spec": spec_text(found.spec.as_json()),
    }


def judged(fit: CameraFit, spec: Spec):
    """Return the row of another spec against the test crops of a fit."""
    figures = fit.last_figures
    return figures.judge().row(figures.made(spec, "other"))


def mixed(given: argparse.Namespace) -> dict:
    """Fit the crops of two cameras, 70 : 30."""
    clean, faces = halves(given.faces, given.folder)
    crops = crops_of([(camera("near"), 420), (camera("far"), 180)], faces, given.seed)
    found = CameraFit(crops, clean, given.folder / "bank-mixed", FitSettings(seed=given.seed), RUNNER).run()
    return {
        "shares": found.shares,
        "validation": {name: vars(near) for name, near in found.validation.items()},
        "rows": [told(r.name, r) for r in found.rows],
        "spec": spec_text(found.spec.as_json()),
    }


def drift(given: argparse.Namespace) -> dict:
    """Check an unchanged camera, one of lower JPEG quality, and one farther away."""
    _, faces = halves(given.faces, given.folder)
    base = camera("h1")
    data = dict(base.as_json())
    lower = load_spec(spec_text(data).replace("randint: [35, 75]", "randint: [25, 55]"))
    farther = load_spec(spec_text(data).replace("randint: [14, 44]", "randint: [12, 34]"))
    alarms = {}
    for name, spec in (
        ("unchanged", base),
        ("quality 25-55 for 35-75", lower),
        ("12-34 px for 14-44", farther),
    ):
        count = 0
        for trial in range(given.trials):
            order = np.random.default_rng([given.seed, trial]).permutation(len(faces)).tolist()
            old = crops_of([(base, 200)], [faces[k] for k in order[:350]], 1000 + trial)
            new = crops_of([(spec, given.crops_n)], [faces[k] for k in order[350:]], 5000 + trial)
            reference = face_statistics(old.pictures, GAZE)
            count += check_drift(reference, new.pictures, GAZE, seed=trial).drifted
        alarms[name] = f"{count} of {given.trials}"
    return {"reference": 200, "new": given.crops_n, "alarms": alarms}


def real(given: argparse.Namespace) -> dict:
    """Fit real crops but the last 400 names, then measure on those."""
    everything = read_crops(given.crops)
    names, pictures = everything.names, everything.pictures
    ours = replace(everything, names=names[:-400], pictures=pictures[:-400])
    clean = read_faces(given.faces, given.folder, limit=2400)
    fit = CameraFit(ours, clean, given.folder / "bank-real", FitSettings(seed=given.seed), RUNNER)
    found = fit.run()
    shown = {
        "rows": [told(r.name, r) for r in found.rows],
        "kept": found.kept,
        "validation": {name: vars(near) for name, near in found.validation.items()},
        "cpu_min": found.cpu_s / 60,
        "differing": found.differing,
        "spec": spec_text(found.spec.as_json()),
        "structure": repr(found.structure),
    }
    return shown if given.leave_last else {"rows_last_400": last_rows(fit, found, everything), **shown}


def last_rows(fit: CameraFit, found: FittedCamera, everything: Crops) -> list[dict]:
    """Return the table of the last 400 crops, which the fit has not seen."""
    count = len(everything)
    last = replace(fit.last_figures, crops=everything, test=np.arange(count - 400, count))
    judge = last.judge()
    sets = {"fitted": found.spec, "structure scan": fit.structure.spec()}
    rows = [told(name, judge.row(last.made(spec, name))) for name, spec in sets.items()]
    again = last._real("real", last.other[:400])
    rows.append(told("real against real", judge.row(again)))
    return rows


def _say(done: int, total: int, phase: str = "", **_: object) -> None:
    if done in {1, total}:
        print(f"# {phase} {done}/{total} at {time.process_time():.0f} s", flush=True)


RUNNER = Runner("serial", hooks=Hooks(_say))


def main() -> None:
    """Run one of the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["known", "mixed", "drift", "real"])
    parser.add_argument("--faces", required=True)
    parser.add_argument("--camera", default="h1", choices=list(CAMERAS))
    parser.add_argument("--prior", help="of known: a shipped prior, or a spec of what is known")
    parser.add_argument("--crops", default="600")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--leave-last", action="store_true", help="do not look at the last 400 real crops")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("fit-benchmark"))
    given = parser.parse_args()
    given.crops_n = int(given.crops) if given.crops.isdigit() else 0
    print(json.dumps(globals()[given.what](given), indent=1, default=str))


if __name__ == "__main__":
    main()
