"""What every part of a training computes on fixed input and seeded weights, on one thread: its golden value.

``python -m tests.train.golden`` renews ``tests/data/train_golden.json`` after a part was added or its ``revision``
was raised; it refuses where numbers moved under an old revision. Values are compared within 1e-3: processors
round differently, and what a person changes moves more.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch

from lrfr.pairs.format.pair_batch import Batch
from lrfr.train.backbones.features import Features
from lrfr.train.backbones.table import BACKBONES, Preset
from lrfr.train.engine.distributed import World
from lrfr.train.engine.loaders import flip
from lrfr.train.engine.method_run import Run
from lrfr.train.heads.margins import MARGINS, HeadSpec
from lrfr.train.heads.partial_fc import CLASS_DRAW_REVISION, ShardedHead
from lrfr.train.losses.distances import DISTANCES
from lrfr.train.methods.table import METHODS
from lrfr.train.recipe import filled, load_recipe
from lrfr.train.settings import TrainSettings

FILE = Path(__file__).parents[1] / "data/train_golden.json"
COMMAND = "python -m tests.train.golden"
CLASSES, NAMES = 4, ("Male", "Bald")
VARIANTS = {**{name: (name, {}) for name in METHODS}, "catface step 2": ("catface", {"step": 2})}


def batch(rows=6, side=112):
    generator = torch.Generator().manual_seed(5)
    hr, lr = torch.randint(0, 256, (2, rows, 3, side, side), generator=generator, dtype=torch.uint8)
    label = torch.arange(rows) % CLASSES
    attributes = torch.randint(-1, 2, (rows, len(NAMES)), generator=generator, dtype=torch.int8)
    return Batch(hr, lr, torch.full((rows,), 28), label, attributes, torch.arange(rows))


def built(name, changes):
    """Return a method on its tiny recipe and its networks after untrained parents, all seeded."""
    recipe = load_recipe(name, "tiny", changes)
    torch.manual_seed(0)
    parents = {role: p.make().build(CLASSES, None, NAMES) for role, p in recipe.parents.items()}
    method = recipe.make()
    return method, method.build(CLASSES, parents, NAMES)


def of_method(name, changes):
    method, nets = built(name, changes)
    method.train_mode(nets)
    with torch.no_grad():
        torch.manual_seed(1)
        losses = method.losses(nets, batch().as_float(), 0)
    return {key: float(value) for key, value in losses.items()}


def of_backbone(name):
    torch.manual_seed(0)
    net = BACKBONES[name]().eval()
    side = getattr(BACKBONES[name].layout, "side_px", 32 if "digit" in name else 112)
    x = batch(2, side).as_float().hr_bchw
    with torch.no_grad():
        found = net.run(x)
    return {"embedding": of_tensor(found.embedding_bd), "taps": [of_tensor(tap) for tap in found.taps]}


def of_tensor(x):
    """Return the size of a tensor and its first numbers: little, and enough to see any change of the function."""
    return [float(x.norm()), *map(float, x.flatten()[:3])]


def of_head(kind):
    torch.manual_seed(0)
    head = HeadSpec(kind, 16.0, 0.3).build(8, CLASSES)
    embedding = torch.randn(6, 8, generator=torch.Generator().manual_seed(2)) * 3
    losses = [float(head(embedding, torch.arange(6) % CLASSES).detach()) for _ in range(2)]
    return [*losses, float(head.weight.detach().norm())]


def of_class_draw():
    """The classes that a sampled head looks at, for three batches."""
    head = ShardedHead(HeadSpec("arcface", 16.0, 0.3).build(4, 40), 0, 1, 0.3)
    torch.manual_seed(3)
    return [head._sample(torch.tensor([7, 7, 21, 39 - k])).tolist() for k in range(3)]


def of_distance(name):
    def features(seed):
        g = torch.Generator().manual_seed(seed)
        maps = tuple(torch.randn(3, 4, 8 >> i, 8 >> i, generator=g) for i in range(4))
        pair = (torch.rand(3, 4, generator=g), torch.rand(3, 1, 4, 4, generator=g))
        return Features(torch.randn(3, 6, generator=g), maps, (pair, pair), torch.randn(3, 5, generator=g))

    return float(DISTANCES[name](features(1), features(2)))


def of_loop():
    """Three steps with everything on that changes them: flips, warm-up, clipping, parts, averaging."""
    method, nets = built("baseline", {})
    changes = {
        "warmup": 1,
        "ema_decay": 0.5,
        "clip_norm": 1.0,
        "accumulate": 2,
        "batch_size": 6,
        "nesterov": True,
    }
    settings = TrainSettings(unit="step", length=9, **changes)
    run, losses = Run(method, nets, settings, World()), []
    for step in range(3):
        torch.manual_seed(step)
        part = flip(batch(), settings.flip, settings.seed, step)
        losses.append(float(run.step(part, step, settings.lr_at(step, 1))["total"]))
    rates = [
        TrainSettings(schedule=kind, warmup=1, milestones=(4, 8)).lr_at(55, 10)
        for kind in ("step", "poly", "cosine")
    ]
    return [losses, rates]


def layout(preset):
    return {
        field.name: getattr(value := getattr(preset.layout, field.name), "__name__", value)
        for field in dataclasses.fields(preset.layout)
    }


def golden():
    """Return {part: [revision, value]} of this tree; a layout and a default are values too."""
    found = {}
    presets = {name: preset for name, preset in BACKBONES.items() if isinstance(preset, Preset)}
    slim = ("mobilefacenet-small", "digit-resnet20", "small-cnn-7")
    quick = [name for name in presets if "tiny" in name or name in slim]
    for label, (name, changes) in VARIANTS.items():
        found[f"method {label}"] = [METHODS[name].revision, of_method(name, changes)]
    for name, kind in METHODS.items():
        found[f"defaults {name}"] = [kind.revision, filled(kind(), {})]
    found["defaults train"] = [TrainSettings.revision, filled(TrainSettings(), {})]
    found["draw of classes"] = [CLASS_DRAW_REVISION, of_class_draw()]
    found["loop"] = [TrainSettings.revision, of_loop()]
    for name, preset in presets.items():
        found[f"layout {name}"] = [preset.revision, layout(preset)]
    for name in quick:
        found[f"backbone {name}"] = [presets[name].revision, of_backbone(name)]
    for name, kind in MARGINS.items():
        found[f"head {name}"] = [kind.revision, of_head(name)]
    for name, distance in DISTANCES.items():
        found[f"distance {name}"] = [distance.revision, of_distance(name)]
    return json.loads(json.dumps(found))


def alike(known, found):
    """Say whether two values agree: numbers within 1e-3, and a new field of a default or layout moves nothing."""
    if isinstance(known, dict):
        return known.keys() <= found.keys() and all(alike(known[key], found[key]) for key in known)
    if isinstance(known, list):
        return len(known) == len(found) and all(map(alike, known, found))
    if isinstance(known, float) and isinstance(found, int | float):
        return bool(np.isclose(known, found, rtol=1e-3, atol=1e-4))
    return known == found


def moved(known, found):
    """Return what is wrong with each part whose value is not the known one."""
    faults = [f"{part}: has no golden value; run: {COMMAND}" for part in found.keys() - known.keys()]
    for part in known.keys() & found.keys():
        (old, value), (new, here) = known[part], found[part]
        if old != new:
            faults.append(f"{part}: its revision is {new}, the golden value is of {old}; run: {COMMAND}")
        elif not alike(value, here):
            faults.append(f"{part}: other numbers under the same revision {new}: raise it, or mend the part")
    return faults + [f"{part}: is gone; run: {COMMAND}" for part in known.keys() - found.keys()]


def renew():
    """Write the values of this tree; refuse when numbers moved under an old revision."""
    torch.set_num_threads(1)
    known, found = json.loads(FILE.read_text()) if FILE.exists() else {}, golden()
    faults = [fault for fault in moved(known, found) if "under the same" in fault]
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    lines = ",\n".join(f" {json.dumps(part)}: {json.dumps(rounded(found[part]))}" for part in sorted(found))
    FILE.write_text(f"{{\n{lines}\n}}\n")
    return 0


def rounded(value):
    """Return a value with six digits a number, so that the file says no more than is compared."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(renew())
