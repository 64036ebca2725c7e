"""Foreign weights become checkpoints: safetensors with insightface's layer names, and a folded MobileFaceNet
ONNX.

No pickle is read: convert a ``.pt`` file to safetensors where you trust it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lrfr.core.errors import DataError, SpecError, missing_extra
from lrfr.core.files import sha256_file
from lrfr.pairs.sources.synthetic import render_face
from lrfr.train import checkpoint
from lrfr.train.backbones.mobilefacenet import ConvBlock, MobileFaceNet
from lrfr.train.backbones.net_embedder import to_input
from lrfr.train.backbones.table import BACKBONES, build_backbone
from lrfr.train.recipe import load_recipe
from lrfr.train.weights.model_identity import ModelIdentity


def import_weights(
    source: Path, folder: Path, backbone: str, *, bgr: bool = False, calibrate_on: Tensor | None = None
) -> str:
    """Write a checkpoint of ``backbone`` with the weights of ``source`` and return its digest.

    Args:
        source: ``.safetensors`` with the backbone's layer names, or ``.onnx`` of a MobileFaceNet with folded
            batch norms.
        folder: checkpoint folder to write.
        backbone: a name of the table; for ONNX ``mobilefacenet-small``.
        bgr: the weights expect BGR: turn the first layer.
        calibrate_on: faces float [N, 3, 112, 112] in [-1, 1] that give unfolded batch norms their statistics.

    Raises:
        SpecError: unknown kind of file or backbone.
        DataError: the weights do not fit the backbone.

    """
    recipe = load_recipe("baseline", "tiny", [f"options.backbone={backbone}"])
    nets = recipe.make().build(0)
    if source.suffix == ".onnx":
        _fill_from_onnx(nets["net"], source, calibrate_on)
    elif source.suffix == ".safetensors":
        _fill_from_safetensors(nets["net"], source, backbone)
    else:
        raise SpecError(
            f"cannot import '{source.suffix}' files", file=str(source), hint="use .safetensors or .onnx"
        )
    if bgr:
        _turn_channels(nets["net"])
    _drop_vanished(nets["net"])
    identity = ModelIdentity("baseline", recipe.options, imported=sha256_file(source))
    state = {"step": 0, "metrics": {}, "best": None, "source": source.name}
    return checkpoint.save(
        folder, checkpoint.Checkpoint(identity.as_dict(), checkpoint.model_tensors(nets), state, {}, {})
    )


def fitting_backbone(source: Path) -> str:
    """Return the backbone whose layers a safetensors file holds, the first of several.

    Raises:
        DataError: the file cannot be read, or no backbone of lrfr has such layers.

    """
    fitting = _fitting(_tensors_of(source))
    if not fitting:
        raise DataError("no backbone of lrfr has these layers", file=str(source))
    return fitting[0]


def _tensors_of(source: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(source)
    except (SafetensorError, OSError) as error:
        raise DataError(str(error), file=str(source)) from None
    return {name.removeprefix("module.").removeprefix("net."): tensor for name, tensor in tensors.items()}


def _fill_from_safetensors(net: nn.Module, source: Path, backbone: str) -> None:
    tensors = _tensors_of(source)
    own = net.state_dict()
    missing = [name for name in own if name not in tensors and not _optional(name)]
    unknown = [name for name in tensors if name not in own]
    wrong = [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
    if missing or unknown or wrong:
        faults = {"missing": missing, "unknown": unknown, "of another shape": wrong}
        text = ", ".join(f"{len(names)} {what} ({names[0]})" for what, names in faults.items() if names)
        fitting = _fitting(tensors)
        raise DataError(
            f"weights do not fit '{backbone}': tensors {text}",
            file=str(source),
            hint=f"they fit --backbone {' or '.join(fitting)}" if fitting else "no backbone of lrfr has them",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            if name in tensors:
                tensor.copy_(tensors[name])


def _optional(name: str) -> bool:
    """Say whether a file may lack a tensor: the input range of our own, and counters that no layer reads."""
    return name.startswith("input_") or name.endswith("num_batches_tracked")


def _fitting(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the backbones whose layers are those of a file, the first few."""
    shapes = {name: tensor.shape for name, tensor in tensors.items() if not _optional(name)}
    found = []
    for name in (name for name in BACKBONES if not BACKBONES.is_plugin(name)):
        with torch.device("meta"):  # shapes alone: nothing is drawn
            own = build_backbone(name).state_dict()
        if shapes == {key: tensor.shape for key, tensor in own.items() if not _optional(key)}:
            found.append(name)
    return found[:3]


def imported_before(folder: Path, source: Path) -> str | None:
    """Return the digest of ``folder`` if it holds the weights of ``source``, None if nothing is there.

    Raises:
        SpecError: something else lies there.
        DataError: a checkpoint lies there, and is damaged.

    """
    if not folder.exists():
        return None
    manifest = checkpoint.read_manifest(folder) if (folder / "manifest.json").is_file() else None
    if manifest is None or manifest.identity.get("imported") != sha256_file(source):
        raise SpecError("exists already", file=str(folder), hint="choose another --out")
    return manifest.digest


def embedded_faces(count: int = 64) -> Tensor:
    """Return embedded (invented) faces, float ``[count, 3, 112, 112]`` in [-1, 1], to set batch norms by."""
    return to_input(np.stack([render_face(identity, 0, 0)[0] for identity in range(count)]))


def _drop_vanished(net: nn.Module) -> None:
    """Set to zero what weight decay has left of dead weights: below 1e-20 they change no output, and make a
    CPU several times slower.
    """
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor[tensor.abs() < 1e-20] = 0


def _turn_channels(net: nn.Module) -> None:
    first = next(
        module for module in net.modules() if isinstance(module, nn.Conv2d) and module.in_channels == 3
    )
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))


def _fill_from_onnx(net: nn.Module, source: Path, faces_bchw: Tensor | None) -> None:
    """Match convolutions and PReLUs of the graph with the blocks of the net, in order, and unfold the batch
    norms.
    """
    if not isinstance(net, MobileFaceNet):
        raise SpecError("ONNX weights are imported into 'mobilefacenet-small'", file=str(source))
    kernels, slopes = _read_onnx(source)
    blocks: list[Any] = [module for module in net.modules() if isinstance(module, ConvBlock)]
    tail: Any = net.features.layers
    wanted = [block.layers[0].weight.shape for block in blocks]
    if [weight.shape for weight, _ in kernels[:-1]] != wanted or len(slopes) != sum(
        len(block.layers) == 3 for block in blocks
    ):
        raise DataError("the graph is not this MobileFaceNet", file=str(source))
    left = iter(slopes)
    with torch.no_grad():
        net.input_scale.fill_(127.5 / 128)  # the graph expects (x - 127) / 128
        net.input_shift.fill_(0.5 / 128)
        biases: list[tuple[Any, Tensor]] = []
        for block, (weight, bias) in zip(blocks, kernels, strict=False):
            block.layers[0].weight.copy_(weight)
            biases.append((block.layers[1], bias))
            if len(block.layers) == 3:
                block.layers[2].weight.copy_(next(left).flatten())
        tail[2].weight.copy_(kernels[-1][0].flatten(1))
        biases.append((tail[3], kernels[-1][1]))
        _unfold(net, biases, faces_bchw)


def _read_onnx(source: Path) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise missing_extra("onnx", "onnx") from None
    try:
        graph = onnx.load(str(source)).graph
    except Exception as error:  # protobuf's own error types
        raise DataError(f"not an ONNX file: {type(error).__name__}", file=str(source)) from None
    values = {
        item.name: torch.from_numpy(np.array(numpy_helper.to_array(item))) for item in graph.initializer
    }
    kernels = [
        (values[node.input[1]], values[node.input[2]]) for node in graph.node if node.op_type == "Conv"
    ]
    slopes = [values[node.input[1]] for node in graph.node if node.op_type == "PRelu"]
    return kernels, slopes


def _unfold(net: MobileFaceNet, biases: Iterable[tuple[Any, Tensor]], faces_bchw: Tensor | None) -> None:
    """Set batch norms so that the net computes convolution plus bias, with the statistics of real
    activations.

    With mean m and variance v measured on faces, scale sqrt(v + eps) and shift bias + m give the same
    function in evaluation mode, and nearly the same in training mode, which is what makes the net trainable.
    """
    norms = list(biases)
    for norm, bias in norms:
        _set_norm(norm, bias, torch.zeros_like(bias), torch.ones_like(bias))
    if faces_bchw is None:
        return
    seen: dict[Any, Tensor] = {}
    last: Any = net.features.layers[3]
    hooks = [last.register_forward_pre_hook(lambda norm, inputs: seen.__setitem__(norm, inputs[0]))]
    for block in (module for module in net.modules() if isinstance(module, ConvBlock)):
        # a block in evaluation mode calls neither its convolution nor its norm
        hooks.append(
            block.register_forward_pre_hook(
                lambda block, inputs: seen.__setitem__(block.layers[1], block.layers[0](inputs[0]))
            )
        )
    net.eval()(faces_bchw)
    for hook in hooks:
        hook.remove()
    for norm, bias in norms:
        axes = [axis for axis in range(seen[norm].ndim) if axis != 1]
        _set_norm(norm, bias, seen[norm].mean(axes), seen[norm].var(axes, unbiased=False))


def _set_norm(norm: Any, bias: Tensor, mean: Tensor, variance: Tensor) -> None:
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.bias.copy_(bias + mean)
