"""Foreign weights become checkpoints: files of torch, safetensors and ONNX of every known family.

Nothing of a file is run. What is written is one of lrfr's own networks, which embeds as the original does and
can be trained; the input that the original takes is brought to [-1, 1] RGB once, inside the network.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrfr.core.errors import SpecError
from lrfr.core.machine import own_draws
from lrfr.pairs.sources.synthetic import render_face
from lrfr.train import checkpoint
from lrfr.train.backbones.net_embedder import to_input
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.foreign.input_contract import InputContract, Stated
from lrfr.train.weights.foreign.names.families import FAMILIES
from lrfr.train.weights.foreign.names.file_form import form_of
from lrfr.train.weights.foreign.names.recognize import Choice, Recognized, recognize, side_px
from lrfr.train.weights.foreign.names.shards import weights_digest
from lrfr.train.weights.foreign.names.weight_sets import open_weights
from lrfr.train.weights.foreign.onnx_graph import read_graph
from lrfr.train.weights.foreign.onnx_match import compare, matched_backbone, through
from lrfr.train.weights.foreign.readings import Verdict, channel_gains, check_readings, embedded_faces_for
from lrfr.train.weights.foreign.settle import absorb_eps, drop_vanished, settle_norms, take_input
from lrfr.train.weights.model_identity import ModelIdentity

# what most exporters of a MobileFaceNet feed; stated in the card, and overruled by --input-range
_MOBILE_RANGE = Stated("127/128")
_ONNX = "onnx"
# what a person may say otherwise of one file
_MADE = ("input", "backbone", "family", "part")


@dataclass(frozen=True)
class ImportPlan:
    """What an import would write.

    Attributes:
        source: the file.
        form: ``torch``, ``safetensors`` or ``onnx``.
        found: the network's tensors under our names, and what was left out.
        contract: what the original takes.
        folded: batch norms that the file does not have: they were folded into what they follow.

    """

    source: Path
    form: str
    found: Recognized
    contract: InputContract
    folded: tuple[str, ...] = ()

    def __str__(self) -> str:
        found, beside = self.found, len(self.found.beside)
        part = str(self.as_dict()["part"])
        words = [f"{found.family} weights", f"backbone {found.backbone}", f"takes {self.contract}"]
        words += [f"part '{part}'"] if part else []
        words += [f"{beside} tensors left out ({found.beside[0]})"] if beside else []
        words += [f"other networks: {', '.join(found.others)} (--part)"] if found.others else []
        return ", ".join(words)

    def as_dict(self) -> dict[str, object]:
        """Return plain data for ``--json`` and the checkpoint: everything but the numbers."""
        return {
            "source": self.source.name,
            "form": self.form,
            "family": self.found.family,
            "backbone": self.found.backbone,
            "part": ".".join(x for x in (self.found.place, self.found.prefix.removesuffix(".")) if x),
            "beside": list(self.found.beside),
            "others": list(self.found.others),
            "folded": len(self.folded),
            "input": self.contract.as_dict(),
        }


def plan_import(source: Path, choice: Choice | None = None, stated: Stated | None = None) -> ImportPlan:
    """Return what a file of weights holds and would become; nothing is written.

    Args:
        source: a file of ``torch.save``, ``.safetensors``, or ``.onnx`` of a convolutional recognizer.
        choice: backbone, family and part, where a person says so.
        stated: what a person says of the input.

    Raises:
        SpecError: the file cannot be read, or an unknown name.
        DataError: it holds no network, or one that fits no backbone.
        EnvironmentFault: the extra [onnx] is missing.

    """
    choice, stated = choice or Choice(), stated or Stated()
    if form_of(source) == "onnx":
        return _plan_onnx(source, choice, stated)
    file = open_weights(source)
    found = recognize(file, choice)
    contract = stated.over(file.contract or FAMILIES[found.family].contract)
    contract = dataclasses.replace(contract, size_px=side_px(found.backbone, contract.size_px))
    return ImportPlan(source, file.form, found, contract)


def fitting_backbone(source: Path) -> str:
    """Return the backbone that a file of weights fills, the first of several.

    Raises:
        DataError: the file cannot be read, or no backbone of lrfr has such layers.

    """
    return plan_import(source).found.backbone


def import_weights(
    source: Path,
    folder: Path,
    backbone: str | None = None,
    *,
    bgr: bool | None = None,
    calibrate_on: Tensor | None = None,
) -> str:
    """Write a checkpoint with the weights of ``source`` and return its digest.

    Args:
        source: see :func:`plan_import`.
        folder: checkpoint folder to write.
        backbone: a name of the table; None finds out.
        bgr: whether the weights expect BGR; None takes what the family's authors feed.
        calibrate_on: faces float [N, 3, 112, 112] in [-1, 1] that give unfolded batch norms their statistics.

    Raises:
        SpecError: unknown backbone, or a file that cannot be read.
        DataError: the weights do not fit the backbone.

    """
    plan = plan_import(source, Choice(backbone), Stated(bgr=bgr))
    return write_import(plan, folder, calibrate_on)


def write_import(plan: ImportPlan, folder: Path, calibrate_on: Tensor | None = None) -> str:
    """Write the checkpoint of a plan, with a card beside it, and return its digest.

    Args:
        plan: of :func:`plan_import`.
        folder: checkpoint folder to write.
        calibrate_on: faces float [N, 3, S, S] in [-1, 1] that give unfolded batch norms their statistics.

    Raises:
        EnvironmentFault: the folder cannot be written.
        DataError: the network does not compute what the graph computes.

    """
    size_px = plan.contract.size_px
    settings = [f"options.backbone={plan.found.backbone}", f"options.input.size_px={size_px}"]
    recipe = load_recipe("baseline", "tiny", settings)
    with own_draws():
        nets = recipe.make().build(0)
    nets["net"] = filled(plan, calibrate_on)
    digest = weights_digest(plan.source)
    identity = ModelIdentity("baseline", recipe.options, imported=digest)
    state = {"step": 0, "metrics": {}, "best": None, "source": plan.source.name, "import": plan.as_dict()}
    named = checkpoint.save(
        folder, checkpoint.Checkpoint(identity.as_dict(), checkpoint.model_tensors(nets), state, {}, {})
    )
    (folder / "model-card.md").write_text(import_card(plan, digest, named), "utf-8")
    return named


def filled(plan: ImportPlan, calibrate_on: Tensor | None = None) -> Any:
    """Return the network of a plan, in evaluation mode; it takes [-1, 1] RGB.

    Raises:
        DataError: it does not compute what the graph computes.

    """
    net = bare(plan)
    if plan.form == _ONNX:
        compare(plan.source, net, plan.contract.size_px)
    take_input(net, plan.contract)
    if calibrate_on is not None:
        settle_norms(net, plan.folded, calibrate_on)
    drop_vanished(net)
    return net.eval()


def bare(plan: ImportPlan) -> Any:
    """Return the network of a plan on the original's own input."""
    recipe = load_recipe("baseline", "tiny", [f"options.backbone={plan.found.backbone}"])
    with own_draws():
        net: Any = recipe.make().build(0)["net"]
    own = net.state_dict()
    with torch.no_grad():
        for name, tensor in plan.found.tensors.items():
            own[name].copy_(tensor)
    family = FAMILIES.get(plan.found.family)
    if family is not None and family.norm_eps is not None:
        absorb_eps(net, family.norm_eps)
    return net.eval()


def check_input(plan: ImportPlan) -> Verdict:
    """Try the input of a plan, and its alternatives, on embedded faces."""
    net = bare(plan)

    def forward(x_bchw: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            embedding: NDArray[np.float32] = net(torch.from_numpy(x_bchw)).numpy()
        return embedding

    verdict = check_readings(forward, plan.contract, *embedded_faces_for())
    return dataclasses.replace(verdict, gains=channel_gains(forward, plan.contract))


def _plan_onnx(source: Path, choice: Choice, stated: Stated) -> ImportPlan:
    if choice.part or choice.family:
        raise SpecError("an ONNX file has no families or parts", file=str(source))
    graph = read_graph(source)
    backbone, matched = matched_backbone(graph, source, choice.backbone)
    usual = _MOBILE_RANGE if "mobilefacenet" in backbone else Stated()
    contract = InputContract(size_px=side_px(backbone, 112))
    scaled = not (np.all(graph.before.gain == 1) and np.all(graph.before.offset == 0))
    if scaled:  # the graph scales by itself: it is fed pixels
        usual = Stated("0,255")
    contract = stated.over(usual.over(contract))
    if scaled:
        contract = through(contract, graph)
    found = Recognized(_ONNX, backbone, "", "", matched.tensors, ())
    return ImportPlan(source, _ONNX, found, contract, matched.folded)


def imported_before(folder: Path, source: Path, plan: ImportPlan | None = None) -> str | None:
    """Return the digest of ``folder`` if it holds the weights of ``source``, None if nothing is there.

    Args:
        folder: of a checkpoint.
        source: the file.
        plan: what would be made of it; that, too, must be what lies there.

    Raises:
        SpecError: something else lies there.
        DataError: a checkpoint lies there, and is damaged.

    """
    if not folder.exists():
        return None
    manifest = checkpoint.read_manifest(folder) if (folder / "manifest.json").is_file() else None
    if manifest is None or manifest.identity.get("imported") != weights_digest(source):
        raise SpecError("exists already", file=str(folder), hint="choose another --out")
    made = checkpoint.load(folder).state.get("import", {}) if plan else {}
    other = [key for key in _MADE if plan and key in made and made[key] != plan.as_dict()[key]]
    if other:
        raise SpecError(
            f"exists already, made of the same file with another {' and '.join(other)}",
            file=str(folder),
            hint="choose another --out",
        )
    return manifest.digest


def embedded_faces(count: int = 64) -> Tensor:
    """Return embedded (invented) faces, float ``[count, 3, 112, 112]`` in [-1, 1], to set batch norms by."""
    return to_input(np.stack([render_face(identity, 0, 0)[0] for identity in range(count)]))


def import_card(plan: ImportPlan, digest: str, named: str) -> str:
    """Return the card of an imported model: where it comes from and what it takes."""
    about = FAMILIES[plan.found.family].about if plan.found.family in FAMILIES else "an ONNX graph"
    lines = [
        f"# {plan.found.backbone} from {plan.source.name}",
        "",
        f"- Source: `{plan.source.name}` ({plan.form}), sha256 `{digest}`",
        f"- Family: {about}",
        f"- Part: `{plan.as_dict()['part'] or 'the whole file'}`",
        f"- The original takes: {plan.contract}",
        "- This checkpoint takes: RGB, "
        f"{plan.contract.size_px} px, `x / 127.5 - 1`; the difference is inside its first layer",
        "- Output: raw embedding; compare by cosine",
        f"- Left out: {len(plan.found.beside)} tensors"
        + (f" ({', '.join(plan.found.beside[:5])})" if plan.found.beside else ""),
        f"- Checkpoint: `{named}`",
        "",
        "## Data",
        "",
        "Not stated.",
        "",
        "## License",
        "",
        "Not stated.",
        "",
    ]
    return "\n".join(lines)
