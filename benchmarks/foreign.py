"""What a given recognizer's students cost and become: its embeddings kept or not, LoRA beside learning all of
the weights, floats beside whole numbers.

Every arm starts from the same weights and sees the same faces, on one thread; arms run one after the other.
Usage: ``python -m benchmarks.foreign cache|lora|int8|resize --weights x.onnx [--source ... --split train
--ids FILE] [--pairs pairs.tsv] [--bgr] [--json x.json]``. Without a source it works on drawn faces, whose
numbers mean nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lrfr
from lrfr.degrade.ops.resize import resize_batch
from lrfr.degrade.spec.model import load_spec
from lrfr.pairs.build.make import ViewOptions
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.engine.adapters import add_adapters
from lrfr.train.settings import Adapter
from lrfr.train.weights.export_model import export
from lrfr.train.weights.foreign.input_contract import InputContract
from lrfr.train.weights.import_weights import import_weights
from lrfr.train.weights.int8 import calibration_faces
from lrfr.train.weights.load_model import load_model
from lrfr.train.weights.load_nets import load_nets

BACKBONE = "mobilefacenet-small"
# the strong-teacher recipe: regression onto the teacher's embedding, statistics of batch norms held
STUDENT = {
    "backbone": BACKBONE,
    "batch_norm": "frozen",
    "distance": "embedding",
    "lambda": 1,
    "margin_weight": 0,
    "train.optimizer": "adamw",
    "train.weight_decay": 0.01,
    "train.schedule": "cosine",
    "train.clip_norm": 0,
    "train.batch_size": 32,
    "train.save_every": 0,
    "train.threads": 1,
}
SIZES_PX = (112, 14)
LORA_ARMS: dict[str, dict[str, Any]] = {
    "all weights, lr 5e-4": {"train.lr": 0.0005},
    "rank 8, lr 2e-3": {"train.lr": 0.002, "train.adapter.rank": 8},
    "rank 8, lr 1e-2": {"train.lr": 0.01, "train.adapter.rank": 8},
    "rank 32, lr 2e-3": {"train.lr": 0.002, "train.adapter.rank": 32},
}
TRIED_STEPS = 4
# ours, whether with antialias, that of ONNX
RESIZES = (
    ("bicubic", True, "cubic"),
    ("bilinear", True, "linear"),
    ("cubic", False, "cubic"),
    ("linear", False, "linear"),
)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=sorted(MEASURES))
    parser.add_argument("--weights", type=Path, required=True, help="a MobileFaceNet as ONNX")
    parser.add_argument("--source", default="synthetic:ids=64,per_id=4")
    parser.add_argument("--split", default="", help="of the source")
    parser.add_argument("--ids", type=Path, help="file of the identities to take")
    parser.add_argument("--pairs", type=Path, help="pairs.tsv to measure on")
    parser.add_argument("--faces", type=int, default=2000, help="cache: faces an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="cache: epochs")
    parser.add_argument("--seconds", type=float, default=150, help="lora: CPU seconds of training an arm")
    parser.add_argument("--seeds", type=int, default=2, help="lora: trainings of each arm")
    parser.add_argument("--bgr", action="store_true", help="the weights take BGR")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = MEASURES[given.what](given, Path(folder))
    about = {"torch": torch.__version__, "machine": platform.machine(), "load_1min": os.getloadavg()[0]}
    text = json.dumps({"what": given.what, **result, **about}, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", "utf-8")


def prepare(given: argparse.Namespace, folder: Path) -> tuple[PairDataset, Path]:
    """Return 14 px pairs of the source, and the recognizer as a checkpoint."""
    ids = tuple(given.ids.read_text("utf-8").split()) if given.ids else None
    view = ViewOptions("v", split=given.split, ids=ids)
    lrfr.make_pairs(
        given.source, load_spec("maug", ["pipeline.d1.size=14"]), store=folder / "store", view=view
    )
    import_weights(given.weights, folder / "teacher", BACKBONE, bgr=given.bgr)
    return PairDataset(folder / "store", "v"), folder / "teacher"


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what ``work`` gives, seconds, and CPU seconds of this process and its children."""
    start, cpu = time.perf_counter(), _cpu()
    return work(), time.perf_counter() - start, _cpu() - cpu


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def trained(
    dataset: PairDataset, teacher: Path, folder: Path, settings: Mapping[str, Any]
) -> tuple[Any, float, float]:
    """Train one student; return its run, seconds and CPU seconds."""
    recipe = lrfr.load_recipe("fskd", set={**STUDENT, **settings})
    parents = {"teacher": teacher, "init": teacher}
    return timed(lambda: lrfr.train_model(recipe, dataset, folder, parents=parents))


def measured(model: Any, pairs: Path | None, name: str) -> dict[str, float]:
    """Return accuracies in percent by the sides of both faces."""
    benchmark = "pairs-tsv" if pairs else "synthetic"
    found = lrfr.evaluate(
        model, benchmark, pairs, name=name, sizes=SIZES_PX, matching=("cross", "same"), replicates=0
    )
    return {
        f"{one.sizes[0]} & {one.sizes[1]}": round(100 * one.metrics["accuracy"].value, 2)
        for one in found
        if one.sizes
    }


def cache(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what epochs cost with the teacher in every step, with its embeddings kept first, and found kept;
    and how far the students are from each other.
    """
    dataset, teacher = prepare(given, folder)
    steps = given.epochs * given.faces // STUDENT["train.batch_size"]
    common = {"train.unit": "step", "train.length": steps, "train.lr": 0.0005}
    rows, nets = {}, []
    for name, word in (("in every step", "never"), ("kept first", "always"), ("found kept", "always")):
        run, wall, cpu = trained(
            dataset, teacher, folder / "runs" / name, {**common, "train.cache_teacher": word}
        )
        rows[name] = {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1), "last_loss": run.losses[-1]}
        nets.append(load_nets(run.path).nets["net"].state_dict())
    apart = [
        max(float((a[k] - b[k]).abs().max()) for k in a if a[k].is_floating_point())
        for a, b in ((nets[0], nets[1]), (nets[1], nets[2]))
    ]
    return {"faces_of_view": len(dataset), "steps": steps, "rows": rows, "weights_apart": apart}


def lora(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return accuracy, parameters that learn and time of arms that learn all weights, or a low-rank part, for
    as many CPU seconds each.
    """
    dataset, teacher = prepare(given, folder)
    rows = {"the teacher": {"learning": 0, **measured(teacher, given.pairs, "teacher")}}
    print("the teacher", rows["the teacher"], flush=True)
    steps = {
        name: affordable(dataset, teacher, folder / f"tried/{number}", arm, given.seconds)
        for number, (name, arm) in enumerate(LORA_ARMS.items())
    }
    for seed, (number, (name, arm)) in itertools.product(range(given.seeds), enumerate(LORA_ARMS.items())):
        length = {"train.unit": "step", "train.length": steps[name], "train.warmup": steps[name] // 5}
        settings = {**length, "train.seed": seed, **arm}
        run, wall, cpu = trained(dataset, teacher, folder / f"runs/{number}-{seed}", settings)
        row = rows[f"{name}, seed {seed}"] = {
            "learning": learning(teacher, arm.get("train.adapter.rank")),
            "steps": steps[name],
            "wall_s": round(wall, 1),
            "cpu_s": round(cpu, 1),
            **measured(run.path, given.pairs, f"{number}-{seed}"),
        }
        print(name, seed, row, flush=True)
    return {"faces_of_view": len(dataset), "bgr": given.bgr, "rows": rows}


def affordable(
    dataset: PairDataset, teacher: Path, folder: Path, arm: Mapping[str, Any], seconds: float
) -> int:
    """Return how many steps of an arm a number of CPU seconds pays, beginning and end of a run included."""
    (_, _, short), (_, _, long) = (
        trained(dataset, teacher, folder / str(steps), {"train.unit": "step", "train.length": steps, **arm})
        for steps in (TRIED_STEPS, 4 * TRIED_STEPS)
    )
    step = (long - short) / (3 * TRIED_STEPS)
    return max(1, round((seconds - (short - TRIED_STEPS * step)) / step))


def learning(teacher: Path, rank: int | None) -> int:
    """Return how many parameters of the recognizer learn."""
    net = load_nets(teacher).nets["net"]
    if rank is not None:
        return add_adapters(net, Adapter(rank=rank)).learning
    return sum(parameter.numel() for parameter in net.parameters())


def int8(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return accuracy, bytes and milliseconds a face of an exported model in floats and in whole numbers."""
    dataset, teacher = prepare(given, folder)
    files = export(teacher, folder / "out", onnx=True, int8_faces=calibration_faces(dataset))
    rows: dict[str, Any] = {}
    for path in (file for file in files if file.suffix == ".onnx"):
        name = "int8" if path.stem.endswith("int8") else "float32"
        rows[name] = {"bytes": path.stat().st_size, **speed(path), **measured(path, given.pairs, name)}
    return {"calibrated_on": len(calibration_faces(dataset)), "rows": rows}


def speed(path: Path, seconds: float = 2.0) -> dict[str, float]:
    """Return the least CPU milliseconds a face, one thread, alone and 32 together."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, found = session.get_inputs()[0].name, {}
    for count in (1, 32):
        faces = InputContract().apply(
            np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), np.uint8)
        )
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.thread_time()  # onnxruntime works in the calling thread where it has one alone
            session.run(None, {name: faces})
            best = min(best, time.thread_time() - start)
        found[f"cpu_ms_a_face_of_{count}"] = round(1000 * best / count, 2)
    return found


def resize(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return how far the Resize of ONNX is from ours, in gray levels and between unit embeddings of what
    comes out: why a router is no single graph.
    """
    dataset, teacher = prepare(given, folder)
    embed, rows = load_model(teacher), {}
    hr = dataset.batch(np.arange(min(64, len(dataset))), 0).hr_bchw.permute(0, 2, 3, 1).numpy()
    for (name, antialias, mode), side in itertools.product(RESIZES, (14, 28)):
        lr = resize_batch(np.ascontiguousarray(hr), side, "bicubic", antialias=True)
        ours, theirs = resize_batch(lr, 112, name, antialias), resized_by_onnx(lr, 112, mode, antialias)
        apart = np.abs(ours.astype(int) - theirs)
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(embed, (ours, theirs)))
        rows[f"{name}, antialias {antialias}, {side} to 112"] = {
            "levels": int(apart.max()),
            "share": round(float((apart > 0).mean()), 3),
            "embeddings": float(np.abs(a - b).max()),
        }
    return {"rows": rows}


def resized_by_onnx(images: np.ndarray, side: int, mode: str, antialias: bool) -> np.ndarray:
    """Return uint8 pictures resized by the operator of ONNX, version 18, rounded and cut off."""
    import onnxruntime
    from onnx import TensorProto, helper

    how: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": "half_pixel",
        "antialias": int(antialias),
    }
    if mode == "cubic":
        how["cubic_coeff_a"] = -0.5 if antialias else -0.75
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **how)],
        "resize",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, None, None]),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x_nchw = images.transpose(0, 3, 1, 2).astype(np.float32)
    (y_nchw,) = session.run(None, {"x": x_nchw, "sizes": np.array([len(images), 3, side, side], np.int64)})
    return np.clip(np.rint(y_nchw), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


MEASURES = {"cache": cache, "lora": lora, "int8": int8, "resize": resize}


if __name__ == "__main__":
    main()
