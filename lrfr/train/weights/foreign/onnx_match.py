"""An ONNX graph's layers matched with those of a backbone.

Layers meet by kind, shape and order, batch norms by what they follow: one that was folded into the
convolution before it comes back as a norm that changes nothing. What was matched is run beside the graph, so
a wrong match cannot pass.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrfr.core.errors import DataError, EnvironmentFault, SpecError
from lrfr.core.machine import quiet_libraries
from lrfr.train.backbones.table import BACKBONES, build_backbone
from lrfr.train.weights.foreign.input_contract import InputContract
from lrfr.train.weights.foreign.names.recognize import layers_of, side_px
from lrfr.train.weights.foreign.onnx_graph import Affine, Graph, Layer, Norm, read_graph
from lrfr.train.weights.foreign.runtimes.onnx_file import OnnxForward, read_facts


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    after: str | None


def _calls(backbone: str, size_px: int) -> list[_Call]:
    """Return a backbone's layers in the order in which they run, each with the layer that it follows."""
    with torch.device("meta"):
        net, x_bchw = build_backbone(backbone).train(), torch.zeros(2, 3, size_px, size_px)
    calls: list[_Call] = []
    made: dict[int, str] = {}
    kept: list[Tensor] = []
    kinds = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.PReLU)

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append(_Call(name, module, made.get(id(inputs[0]))))
            kept.append(output)  # an identity number is free again when its object is gone
            if isinstance(module, nn.Conv2d | nn.Linear):
                made[id(output)] = name

        return hook

    for name, module in net.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(note(name))
    net(x_bchw)
    return calls


@dataclass(frozen=True)
class Matched:
    """A graph's weights under a backbone's names.

    Attributes:
        tensors: by name.
        folded: batch norms that the graph does not have: their statistics are not known.

    """

    tensors: Mapping[str, Tensor]
    folded: tuple[str, ...]


def match(graph: Graph, backbone: str, size_px: int, file: str) -> Matched:
    """Return the weights of ``graph`` for ``backbone``.

    Raises:
        DataError: it has other layers.
        SpecError: the backbone is no convolutional net of plain layers.

    """
    calls = _calls(backbone, size_px)
    if any(isinstance(call.module, nn.Linear) for call in calls[:-3]) and "vit" in backbone:
        raise SpecError(f"'{backbone}' is not imported from ONNX", file=file, hint="use it as it is")
    layers = _queues((_sides(layer.weight.shape), layer) for layer in graph.layers)
    norms = _queues((len(norm[0]), norm) for norm in graph.norms)
    slopes = _queues((len(slope), slope) for slope in graph.slopes)
    tensors: dict[str, Tensor] = {}
    folded: list[str] = []
    held: dict[str, Layer] = {}
    unseen: set[str] = set()  # layers whose bias or norm nothing of the backbone takes
    for call in calls:
        module = call.module
        if isinstance(module, nn.Conv2d | nn.Linear):
            layer = _next(layers, _sides(tuple(module.weight.shape)), call.name, backbone, file)
            held[call.name] = layer
            tensors[f"{call.name}.weight"] = torch.tensor(layer.weight.reshape(module.weight.shape))
            if module.bias is not None:
                tensors[f"{call.name}.bias"] = torch.tensor(layer.bias)
            elif np.any(layer.bias != 0):
                unseen.add(call.name)
            if layer.norm is not None:
                unseen.add(call.name)
        elif isinstance(module, nn.PReLU):
            slope = _next(slopes, module.num_parameters, call.name, backbone, file)
            tensors[f"{call.name}.weight"] = torch.tensor(slope)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            before = held.get(call.after or "")
            if before is None:
                norm = _next(norms, module.num_features, call.name, backbone, file)
            else:
                unseen.discard(str(call.after))
                norm, known = _after(before, tensors.get(f"{call.after}.bias"), module)
                folded += [] if known else [call.name]
            for part, value in zip(("weight", "bias", "running_mean", "running_var"), norm[:4], strict=True):
                tensors[f"{call.name}.{part}"] = torch.from_numpy(np.array(value, np.float32))
            tensors[f"{call.name}.running_var"] += norm[4] - module.eps
    left = sum(map(len, [*layers.values(), *norms.values(), *slopes.values()]))
    if left or unseen:
        left += len(unseen)
        raise DataError(f"the graph is not '{backbone}': {left} layers are left over", file=file)
    return Matched(tensors, tuple(folded))


def _after(layer: Layer, own_bias: Tensor | None, module: Any) -> tuple[Norm, bool]:
    """Return the numbers of a norm that follows a layer, and whether its statistics are known."""
    bias = layer.bias if own_bias is None else np.zeros_like(layer.bias)
    if layer.norm is not None:
        scale, shift, mean, variance, eps = layer.norm
        return (scale, shift, mean - bias, variance, eps), True
    affine = layer.affine or Affine()
    ones = np.ones(module.num_features, np.float32)
    numbers = (affine.gain * ones, affine.offset + affine.gain * bias, 0 * ones, ones - module.eps)
    return (*numbers, float(module.eps)), False


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the sides of a 1x1 kernel: some exporters write a matrix as a convolution."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _queues(items: Any) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for key, item in items:
        found[key].append(item)
    return found


def _next(queues: dict[Any, list[Any]], key: Any, name: str, backbone: str, file: str) -> Any:
    if not queues.get(key):
        shape = " x ".join(map(str, key)) if isinstance(key, tuple) else key
        raise DataError(f"the graph is not '{backbone}': it has no layer of {shape} for {name}", file=file)
    return queues[key].pop(0)


def matched_backbone(graph: Graph, source: Path, wanted: str | None) -> tuple[str, Matched]:
    """Return the backbone whose layers a graph has, and its tensors.

    Raises:
        DataError: none has them.

    """
    given = sorted(_sides(layer.weight.shape) for layer in graph.layers)
    names = [name for name in BACKBONES if not BACKBONES.is_plugin(name) and not name.startswith("wave-")]
    # the small one is what most files are, and large ones take long to lay out
    names.sort(key=lambda name: (name != "mobilefacenet-small", "200" in name or "timm" in name))
    last = _sides(graph.layers[-1].weight.shape) if graph.layers else ()
    fitting = (fit for name in names if (fit := _fit(name, given, last)))
    if wanted and _kernels(wanted) != given:
        other = next(fitting, None)
        raise DataError(
            f"the graph is not '{wanted}': it has other convolutions and matrices",
            file=str(source),
            hint=f"they are those of --backbone {other}" if other else "no backbone of lrfr has them",
        )
    faults: list[DataError] = []
    for name in [wanted] if wanted else fitting:
        try:
            return name, match(graph, name, side_px(name, 112), str(source))
        except DataError as error:  # the same kernels, and other norms or slopes
            faults.append(error)
    if not faults:
        raise DataError(
            f"its {len(given)} convolutions and matrices are those of no backbone of lrfr",
            file=str(source),
            hint="lrfr eval and --parent teacher= take it as it is",
        )
    raise faults[0]


def _fit(backbone: str, given: list[tuple[int, ...]], last: tuple[int, ...]) -> str:
    """Return a backbone with such kernels, at another embedding size where the last of them says so; nothing
    where it has others.
    """
    own = _kernels(backbone)
    if own == given:
        return backbone
    usual = (getattr(getattr(BACKBONES[backbone], "layout", None), "emb_dim", 0), *last[1:])
    if last in own or usual not in own:
        return ""
    own.remove(usual)
    return f"{backbone}-{last[0]}d" if sorted([*own, last]) == given else ""


def _kernels(backbone: str) -> list[tuple[int, ...]]:
    shapes = layers_of(backbone).items()
    return sorted(_sides(shape) for key, shape in shapes if len(shape) in {2, 4} and key.endswith("weight"))


def through(contract: InputContract, graph: Graph) -> InputContract:
    """Return the contract of the first convolution, where the graph has arithmetic before it."""
    gain, offset = (np.broadcast_to(x.astype(float), 3) for x in (graph.before.gain, graph.before.offset))
    if contract.channels == "bgr":
        gain, offset = gain[::-1], offset[::-1]
    std = np.array(contract.std) / gain
    mean = np.array(contract.mean) - offset * std
    return dataclasses.replace(contract, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))


def compare(source: Path, net: nn.Module, size_px: int) -> None:
    """Run graph and network on the same numbers, where onnxruntime is installed.

    Raises:
        DataError: they differ.

    """
    quiet_libraries()
    try:
        facts = read_facts(source)
        forward = OnnxForward(source, facts.batch)
    except EnvironmentFault:
        return
    before = read_graph(source).before
    x_bchw = torch.rand(2, 3, size_px, size_px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gain, offset = (
        torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (before.gain, before.offset)
    )
    given = (x_bchw - offset) / gain
    given = given.permute(0, 2, 3, 1) if facts.contract.layout == "nhwc" else given
    wanted = torch.from_numpy(forward(np.ascontiguousarray(given.numpy())))
    with torch.no_grad():
        found = net(x_bchw)
    apart = [nn.functional.normalize(v) for v in (found, wanted)] if found.shape == wanted.shape else []
    if not apart or float((apart[0] - apart[1]).abs().max()) > 1e-3:
        raise DataError(
            "the graph has the layers of this backbone and computes something else",
            file=str(source),
            hint="lrfr eval and --parent teacher= take it as it is",
        )
