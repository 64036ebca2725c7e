"""From a checkpoint to files that other programs read: ONNX, plain safetensors, BTNet branch packs, each with
a model card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lrfr.core.errors import NumericFault, SpecError, missing_extra
from lrfr.core.files import json_of, make_folder, sha256_file, write_whole
from lrfr.train.backbones.branched import BTNet
from lrfr.train.backbones.net_embedder import Embedder, InputSpec
from lrfr.train.backbones.nets import Backbone
from lrfr.train.backbones.parts.input_shift import input_mean
from lrfr.train.checkpoint import digest_of
from lrfr.train.checkpoint.share_files import save_tensors
from lrfr.train.weights.foreign.input_contract import METADATA_KEY, InputContract
from lrfr.train.weights.foreign.runtimes.onnx_file import RESIZE_KEY, open_session
from lrfr.train.weights.int8 import write_int8
from lrfr.train.weights.load_nets import Loaded, load_nets
from lrfr.train.weights.model_identity import ModelIdentity

TOLERANCE = 1e-5


def networks(embedder: Embedder) -> dict[int, nn.Module]:
    """Return input side in px to network, for every network that an embedder routes to."""
    largest = embedder.spec.size_px
    found = dict(embedder.route(side, side) for side in range(1, largest + 1))
    return {side: net for side, net in sorted(found.items()) if isinstance(net, nn.Module)}


def export(
    path: Path,
    out: Path,
    *,
    onnx: bool = False,
    safetensors: bool = False,
    branch_packs: bool = False,
    card: Mapping[str, str] | None = None,
    int8_faces: NDArray[np.uint8] | None = None,
) -> list[Path]:
    """Write the chosen files and ``model-card.md`` into ``out``.

    Args:
        path: checkpoint or run folder.
        out: folder to write into.
        onnx: one ``<name>-<side>.onnx`` a network, checked against torch within 1e-5.
        safetensors: one ``<name>-<side>.safetensors`` a network, layer names as in ``arcface_torch``, for the
            input of the model card.
        branch_packs: one ``branch-<side>.safetensors`` a BTNet branch: what it does not share with the trunk.
        card: headings and texts for the model card (data, license, metrics).
        int8_faces: with ``onnx``, also a quantized ``<name>-<side>-int8.onnx``, calibrated on these faces,
            uint8 RGB ``[N, S, S, 3]`` (:func:`lrfr.train.weights.int8.calibration_faces`).

    Raises:
        DataError: no checkpoint there, or damaged.
        EnvironmentFault: the extra [onnx] is missing, or the folder cannot be written.
        NumericFault: an ONNX file does not compute what torch computes.

    """
    found = load_nets(path)
    embedder = found.identity.make().embedder(found.nets)
    make_folder(out)
    name = found.identity.method
    written = []
    for side, net in networks(embedder).items():
        if onnx:
            written.append(write_onnx(net, side, out / f"{name}-{side}.onnx", embedder.spec))
            if int8_faces is not None:
                small = out / f"{name}-{side}-int8.onnx"
                written.append(write_int8(written[-1], small, int8_faces, InputContract(size_px=side)))
                add_metadata(small, side, embedder.spec)
        if safetensors:
            target = out / f"{name}-{side}.safetensors"
            # a plug-in may be a plain module
            state = net.plain_state() if isinstance(net, Backbone) else net.state_dict()
            save_tensors(target, state, _metadata(found.identity, _own_input(net, side)))
            written.append(target)
    if branch_packs:
        written += _branch_packs(found, out)
    text = model_card(found, digest_of(path), written, card or {})
    write_whole(out / "model-card.md", text.encode("utf-8", "replace"))
    return [*written, out / "model-card.md"]


def _own_input(net: nn.Module, size_px: int) -> InputContract:
    """Return what plain weights take: [-1, 1], but for those that a shift stands before."""
    mean = input_mean(net)
    usual = InputContract(size_px)
    return usual if mean is None else replace(usual, mean=(mean[0], mean[1], mean[2]))


def _metadata(identity: ModelIdentity, takes: InputContract) -> dict[str, str]:
    return {
        "method": identity.method,
        "options": json.dumps(identity.options),
        "size_px": str(takes.size_px),
        METADATA_KEY: json.dumps(takes.as_dict()),
    }


def _branch_packs(found: Loaded, out: Path) -> list[Path]:
    net = found.nets["net"]
    if not isinstance(net, BTNet):
        raise SpecError(
            f"'{found.identity.method}' has no branches", hint="--branch-packs is for btnet-branch"
        )
    written = []
    for side in (int(key) for key in net.branches):
        target = out / f"branch-{side}.safetensors"
        save_tensors(target, net.pack(side), _metadata(found.identity, _own_input(net, side)))
        written.append(target)
    return written


def write_onnx(net: nn.Module, side_px: int, path: Path, resize: InputSpec | None = None) -> Path:
    """Write ``net`` as ONNX (input ``image`` float [B, 3, side, side] in [-1, 1], output ``embedding`` [B,
    D]), with its input contract and resizing in its metadata, and check it.

    Raises:
        EnvironmentFault: the extra [onnx] is missing.
        NumericFault: onnxruntime and torch differ by more than 1e-5.

    """
    example = torch.rand(2, 3, side_px, side_px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    net.eval()
    with torch.no_grad():
        expected = net(example).numpy()
    try:
        torch.onnx.export(
            net,
            (example,),
            str(path),
            input_names=["image"],
            output_names=["embedding"],
            dynamic_axes={"image": {0: "batch"}, "embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "onnx") from None
    add_metadata(path, side_px, resize or InputSpec())
    difference = float(np.abs(run_onnx(path, example.numpy()) - expected).max())
    if difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise NumericFault(f"ONNX and torch differ by {difference:.2g}", file=str(path))
    return path


def add_metadata(path: Path, side_px: int, resize: InputSpec) -> None:
    """Write into an ONNX file what it takes, so that it can be used by itself: ``lrfr.input`` and
    ``lrfr.resize``, both JSON.
    """
    import onnx

    model = onnx.load(str(path))
    entries = {
        METADATA_KEY: InputContract(size_px=side_px).as_dict(),
        RESIZE_KEY: {"filter": resize.filter, "antialias": resize.antialias},
    }
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in entries.items()})
    onnx.save(model, str(path))


def run_onnx(path: Path, image_bchw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the embeddings that onnxruntime computes, float32 [B, D].

    Raises:
        EnvironmentFault: the extra [onnx] is missing.

    """
    session = open_session(path)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: image_bchw})[0], np.float32)


def model_card(found: Loaded, digest: str, files: list[Path], texts: Mapping[str, str]) -> str:
    """Return the card: what the model is, what it saw, what it may be used for."""
    identity = found.identity
    options, spec = identity.options, identity.make().input
    variants = [
        f"{v['spec']} (weight {v['weight']:g}, spec {str(v.get('digest', '-'))[:12]})"
        for v in identity.variants
    ]
    plain = _own_input(found.nets["net"], spec.size_px)
    lines = [
        f"# {identity.method} on {options['backbone']}",
        "",
        f"- Input: RGB, {spec.size_px} px, `x / 127.5 - 1`, resized with {spec.filter}"
        f"{' (antialiased)' if spec.antialias else ''}",
        *([f"- Safetensors take {plain}"] if plain.mean != InputContract().mean else []),
        f"- Output: raw embedding; compare by cosine. Trained on {identity.num_classes} identities, "
        f"{found.state['step']} steps",
        f"- Checkpoint: `{digest}`",
        f"- View: `{identity.view or 'none'}`",
        f"- Degradations: {', '.join(variants) or 'none recorded'}",
        f"- Options: `{json.dumps(options)}`",
    ]
    given = {"Data": "", "License": "", "Metrics": json.dumps(found.state.get("metrics") or {}), **texts}
    for heading, text in given.items():
        lines += ["", f"## {heading}", "", text if text and text != "{}" else "Not stated."]
    lines += ["", "## Files", "", *(f"- `{path.name}` sha256 `{sha256_file(path)}`" for path in files), ""]
    return "\n".join(lines)


def headline(result: Path) -> str:
    """Return the metrics of a result file of ``lrfr eval`` on one line, for a card.

    Raises:
        SpecError: it is no such file.

    """
    try:
        data = json_of(result)
        rows = data["results"] if isinstance(data, dict) and "results" in data else [data]
        return "; ".join(
            f"{row['benchmark']} {row['matching']} {row['sizes']}: "
            + ", ".join(
                f"{name} {entry['value']:.4g}"
                for name, entry in row["metrics"].items()
                if entry.get("value") is not None
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SpecError("not a result file of lrfr eval", file=str(result)) from None
