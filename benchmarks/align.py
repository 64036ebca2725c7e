"""What alignment costs and is worth: aligned crops pasted into soft backgrounds, found again, and compared.

Each crop is pasted at a side of so many pixels, turned by up to 15 degrees, into a background of 250 x 250. A
recognizer then verifies pairs of the photographs' central squares, of what the detector cut, and of what the
true landmarks cut; a face that was missed counts with its square.
Usage: ``python -m benchmarks.align --pairs pairs.tsv --root crops --model x.onnx [--side 112]``;
``--peer facenet_pytorch-2.6.0-py3-none-any.whl`` also times that package's MTCNN, which is the same cascade.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import lrfr
from lrfr.core.image import ImageU8, decode
from lrfr.core.landmarks import align
from lrfr.pairs.align.aligner import AlignRules, align_photo
from lrfr.pairs.align.detectors.boxes import keep_best
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.sources.synthetic_photos import Pasted, paste

SIDE_PX, MOST_TURN_DEG = 250, 15.0
Photo = tuple[ImageU8, Pasted]


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--pairs", type=Path, required=True, help="lines of two paths and 1 or 0, tabs between"
    )
    parser.add_argument("--root", type=Path, required=True, help="where their paths begin: aligned crops")
    parser.add_argument("--model", type=Path, required=True, help="a recognizer, as lrfr.load_model takes it")
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--photos", type=int, help="at most so many, and the pairs between them")
    parser.add_argument("--peer", type=Path, help="the wheel of facenet-pytorch 2.6.0")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [line.split("\t") for line in given.pairs.read_text("utf-8").splitlines()]
    names = list(dict.fromkeys(name for row in rows for name in row[:2]))[: given.photos]
    photos = [
        photograph(decode((given.root / name).read_bytes()), given.side, at) for at, name in enumerate(names)
    ]
    result = {"side_px": given.side, **measure(given, rows, names, photos)}
    result |= peers(photos[:60], given.peer) if given.peer else {}
    print(json.dumps({**result, "load_1min": os.getloadavg()[0]}, indent=2))


def photograph(face: ImageU8, side_px: int, seed: int) -> Photo:
    """Paste a crop into a soft background at a drawn place."""
    draw = np.random.default_rng(seed)
    turn = math.radians(MOST_TURN_DEG * draw.uniform(-1, 1))
    reach = side_px * (abs(math.cos(turn)) + abs(math.sin(turn))) / 2
    center = draw.uniform(reach, SIDE_PX - reach, 2)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shift = center - 0.5 - rotation @ np.full(2, (side_px - 1) / 2)
    place = Pasted(SIDE_PX, SIDE_PX, side_px, np.column_stack([rotation, shift]))
    field = draw.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    background = np.asarray(cv2.resize(field, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR_EXACT))
    return paste(face, background, place), place


def measure(
    given: argparse.Namespace, rows: list[list[str]], names: list[str], photos: list[Photo]
) -> dict[str, Any]:
    """Return what was found and how far off, CPU time, and verification by three ways of cutting."""
    finder, rules = open_detector("mtcnn"), AlignRules(on_miss="keep-center")
    finder.detect(photos[0][0])
    crops: dict[str, list[ImageU8]] = {"unaligned": [], "mtcnn": [], "true landmarks": []}
    errors, found, several, start = [], 0, 0, time.process_time()
    cut = [align_photo(image, finder, rules)[0] for image, _ in photos]
    cpu_ms = 1000 * (time.process_time() - start) / len(photos)
    for (image, place), one in zip(photos, cut, strict=True):
        codes = {remark.code for remark in one.remarks}
        edge = (SIDE_PX - given.side) // 2
        square = (
            image[edge : SIDE_PX - edge, edge : SIDE_PX - edge] if given.side < 112 else image[69:181, 69:181]
        )
        crops["unaligned"].append(square)
        crops["mtcnn"].append(square if "no-face" in codes else _there(one.crop))
        crops["true landmarks"].append(align(image, place.landmarks, 112))
        several += "several-faces" in codes
        if "no-face" not in codes:
            found += 1
            off = np.linalg.norm(_there(one.landmarks_5xy) - place.landmarks, axis=1)
            errors.append(float(off[:2].mean()))
    elsewhere = sum(error > given.side / 4 for error in errors)
    at = {name: row for row, name in enumerate(names)}
    pairs = [(at[a], at[b], same == "1") for a, b, same, *_ in rows if a in at and b in at]
    return {
        "photos": len(photos),
        "found": found,
        "several": several,
        "at_another_place": elsewhere,
        "eye_error_px": {"median": float(np.median(errors)), "95 %": float(np.percentile(errors, 95))},
        "cpu_ms": cpu_ms,
        "pairs": len(pairs),
        "tar_at_1e-3": {how: tar(lrfr.load_model(given.model), some, pairs) for how, some in crops.items()},
    }


def tar(
    embed: Callable[[list[ImageU8]], Any], crops: list[ImageU8], pairs: list[tuple[int, int, bool]]
) -> float:
    """Return the share of genuine pairs above the score that one impostor pair of a thousand reaches, in
    percent.
    """
    rows = np.asarray(embed(crops))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = np.array([rows[a] @ rows[b] for a, b, _ in pairs])
    same = np.array([pair[2] for pair in pairs])
    impostors = np.sort(scores[~same])[::-1]
    return float(100 * (scores[same] > impostors[int(len(impostors) * 1e-3)]).mean())


def peers(photos: list[Photo], wheel: Path) -> dict[str, Any]:
    """Time both implementations of the cascade in turn, photograph by photograph: CPU, medians of ratios.

    The package wants torchvision for its non-maximum suppression alone; ours stands in for it.
    """
    boxes = types.ModuleType("torchvision.ops.boxes")
    boxes.batched_nms = _batched_nms  # type: ignore[attr-defined]
    for name in ("torchvision", "torchvision.ops", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.ops.boxes"] = boxes
    sys.modules["torchvision.transforms"].functional = None  # type: ignore[attr-defined]
    sys.path.insert(0, str(wheel))
    theirs = _their_mtcnn(wheel)
    finder, ratios, times = open_detector("mtcnn"), [], []
    for image, _ in [photos[0], *photos]:
        spent = []
        for detect in (finder.detect, theirs):
            start = time.process_time()
            detect(image)
            spent.append(1000 * (time.process_time() - start))
        ratios.append(spent[0] / spent[1])
        times.append(spent)
    ours_ms, theirs_ms = np.median(times[1:], axis=0)
    return {
        "peer": {
            "photos": len(photos),
            "ours_ms": ours_ms,
            "theirs_ms": theirs_ms,
            "ratio": float(np.median(ratios[1:])),
        }
    }


def _their_mtcnn(wheel: Path) -> Callable[[ImageU8], Any]:
    import tempfile
    import zipfile

    folder = Path(tempfile.mkdtemp(prefix="lrfr-peer-"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    sys.path[0] = str(folder)
    for name in ("facenet_pytorch", "facenet_pytorch.models"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    module = importlib.import_module("facenet_pytorch.models.mtcnn")
    mtcnn = module.MTCNN(keep_all=True)
    return lambda image: mtcnn.detect(image, landmarks=True)


def _batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, most: float
) -> torch.Tensor:
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64)
    apart = groups.to(boxes) * (boxes.max() + 1)
    kept = keep_best(
        (boxes + apart[:, None]).numpy().astype(np.float64), scores.numpy().astype(np.float64), most
    )
    return torch.from_numpy(np.asarray(kept))


def _there(value: Any) -> Any:
    assert value is not None
    return value


if __name__ == "__main__":
    main()
