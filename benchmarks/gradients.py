"""What each distance asks of a network beside the margin: the norm of its gradient at the weight that it
ships with, over that of the margin's, for one batch of a view's pairs.

Untrained, student and teacher are seeded networks, ``tiny`` or of the backbone of ``--run``; trained, both
are those of that run, a ``baseline`` on the same view. Nothing is trained.
Usage: ``python -m benchmarks.gradients --store STORE --view VIEW [--run RUN] [--faces 32] [--json FILE]``;
without a store, invented faces.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from lrfr.core.errors import LrfrError
from lrfr.pairs.build.make import make_pairs
from lrfr.pairs.format.pair_batch import Batch
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.train.backbones.nets import Nets
from lrfr.train.losses.distances import DISTANCES, usual_weight
from lrfr.train.methods.catface import CatFace
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.load_nets import load_nets

# gates are of networks with attention; CATFace's pair belongs to its own method
GATES = "askd"
CATFACE = "self-attention"


def of_distance(
    distance: str, batch: Batch, classes: int, backbone: str = "tiny", known: Nets | None = None
) -> float:
    """Return the norm of the weighted gradient of a distance of ``fskd``, over that of the margin's.

    Args:
        distance: of :data:`~lrfr.train.losses.distances.DISTANCES`.
        batch: pairs as floats.
        classes: of the head.
        backbone: of student and teacher.
        known: networks that both are; seeded ones without.

    """
    backbone = f"{backbone}-cbam" if distance == GATES else backbone
    torch.manual_seed(0)
    teacher = known or load_recipe("baseline", "tiny", {"backbone": backbone}).make().build(classes)
    method = load_recipe("fskd", "tiny", {"distance": distance, "backbone": backbone}).make()
    parents = {"teacher": teacher} | ({"init": known} if known else {})
    nets = method.build(classes, parents)
    method.train_mode(nets)
    losses = method.losses(nets, batch, 0)
    return _ratio(nets["net"], losses["margin"], usual_weight(distance) * losses["distill"])


def of_catface(batch: Batch, classes: int, names: tuple[str, ...]) -> float:
    """Return the same of CATFace's two distillations, beside its weighted margin."""
    torch.manual_seed(0)
    method = load_recipe("catface", "tiny").make()
    assert isinstance(method, CatFace)
    nets = method.build(classes, None, names)
    method.train_mode(nets)
    losses = method.losses(nets, batch, 0)
    both = method.distill_weight * (losses["distill_fr"] + losses["distill_sb"])
    return _ratio(nets["net"], method.margin_weight * losses["margin"], both)


def _ratio(net: torch.nn.Module, margin: torch.Tensor, distill: torch.Tensor) -> float:
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    norms = []
    for loss in (margin, distill):
        found = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
        norms.append(float(torch.stack([one.norm() for one in found if one is not None]).norm()))
    return norms[1] / norms[0]


def measured(dataset: PairDataset, count: int, run: Path | None) -> dict[str, dict[str, float | str]]:
    """Return distance to weight, source and ratios: untrained, and of a run where one is given."""
    rows = np.random.default_rng(0).permutation(len(dataset))[:count]
    batch, names = dataset.batch(rows, 0).as_float(), tuple(dataset.attribute_names)
    loaded = load_nets(run) if run else None
    known, backbone = (loaded.nets, str(loaded.identity.make().backbone)) if loaded else (None, "tiny")
    classes = dataset.num_classes
    found: dict[str, dict[str, float | str]] = {}
    for name in DISTANCES.names():
        if name == CATFACE:
            continue
        entry = DISTANCES[name]
        found[name] = {
            "weight": usual_weight(name),
            "source": getattr(entry, "source", ""),
            "untrained": of_distance(name, batch, classes, backbone),
        }
        if known and name != GATES:
            found[name]["trained"] = of_distance(name, batch, classes, backbone, known)
    if names:
        found[f"{CATFACE} (catface)"] = {
            "weight": usual_weight(CATFACE),
            "source": "CATFace, section 4.1.4, beside a margin of 3",
            "untrained": of_catface(batch, classes, names),
        }
    return found


def page(found: Mapping[str, Mapping[str, float | str]]) -> str:
    """Return the table in Markdown."""
    lines = ["| distance | weight | source | untrained | trained |", "|---|---|---|---|---|"]
    for name, row in found.items():
        told = [f"{row[key]:.2g}" if key in row else "-" for key in ("untrained", "trained")]
        lines.append(f"| `{name}` | {row['weight']:g} | {row['source']} | {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--view", default="default")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            if given.store is None:
                make_pairs("synthetic:ids=8,per_id=8,seed=0", "fskd", store=Path(folder))
            dataset = PairDataset(given.store or folder, given.view)
            found = measured(dataset, given.faces, given.run)
    except LrfrError as error:
        raise SystemExit(str(error)) from None
    print(page(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
