"""What a recognizer's ONNX graph holds: convolutions and matrices with what follows them, norms, slopes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.train.weights.foreign.runtimes.graph_range import first_steps
from lrfr.train.weights.foreign.runtimes.onnx_file import parsed

Array = NDArray[np.floating[Any]]
Norm = tuple[Array, Array, Array, Array, float]
_ADDS = {"Add": 1.0, "Sub": -1.0}


@dataclass
class Affine:
    """``gain * x + offset`` a channel; one number, or one a channel."""

    gain: Array = field(default_factory=lambda: np.ones(1, np.float32))
    offset: Array = field(default_factory=lambda: np.zeros(1, np.float32))

    def then(self, op: str, value: Array) -> Affine:
        """Return this followed by an addition, subtraction, multiplication or division."""
        if op in _ADDS:
            return Affine(self.gain, self.offset + _ADDS[op] * value)
        factor = 1 / value if op == "Div" else value
        return Affine(self.gain * factor, self.offset * factor)


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix of the graph, with what follows it.

    Attributes:
        weight: [out, in, ...].
        bias: [out].
        norm: scale, bias, mean, variance and eps of a batch norm after it.
        affine: channelwise arithmetic after it, in place of a norm.

    """

    weight: Array
    bias: Array
    norm: Norm | None
    affine: Affine | None


@dataclass(frozen=True)
class Graph:
    """What a recognizer's graph holds.

    Attributes:
        layers: convolutions and matrices in order.
        norms: batch norms that follow none of them.
        slopes: of its PReLUs.
        before: arithmetic between the input and the first convolution.

    """

    layers: tuple[Layer, ...]
    norms: tuple[Norm, ...]
    slopes: tuple[Array, ...]
    before: Affine


class _Reader:
    def __init__(self, graph: Any, file: str) -> None:
        from onnx import numpy_helper

        self.file, self.nodes = file, list(graph.node)
        self.values: dict[str, Array] = {}
        for item in graph.initializer:
            self.values[item.name] = np.asarray(numpy_helper.to_array(item))
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.values[node.output[0]] = np.asarray(numpy_helper.to_array(node.attribute[0].t))
            elif node.op_type == "Transpose" and node.input[0] in self.values:
                self.values[node.output[0]] = self.values[node.input[0]].transpose(
                    next((tuple(a.ints) for a in node.attribute if a.name == "perm"), None)
                )
            # slopes and offsets are read flat: sides of one make no difference
            elif node.op_type in {"Identity", "Unsqueeze", "Squeeze"} and node.input[0] in self.values:
                self.values[node.output[0]] = self.values[node.input[0]]
        self.users: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.users[name].append(node)
        self.taken: set[int] = set()
        given = [item.name for item in graph.input if item.name not in self.values]
        if len(given) != 1:
            raise DataError(f"a graph of {len(given)} inputs, expected one picture", file=file)
        self.input = given[0]

    def constant(self, node: Any) -> Array | None:
        found = [self.values[name] for name in node.input if name in self.values]
        return found[0].astype(np.float32).reshape(-1) if len(found) == 1 else None

    def chain(self, name: str) -> Iterator[Any]:
        """Yield the nodes that a value goes through, as long as it goes one way."""
        seen: set[str] = set()
        while len(self.users[name]) == 1 and name not in seen:
            seen.add(name)  # a damaged graph may run in a circle
            node = self.users[name][0]
            yield node
            name = node.output[0]

    def arithmetic(self, name: str, channels: int) -> Affine:
        """Return channelwise arithmetic that begins at a value."""
        affine = Affine()
        for node in self.chain(name):
            value = self.constant(node) if node.op_type in {"Add", "Sub", "Mul", "Div"} else None
            reversed_ = value is not None and node.op_type in {"Sub", "Div"} and node.input[0] in self.values
            if value is None or reversed_ or len(value) not in {1, channels}:
                break
            affine = affine.then(node.op_type, value)
            self.taken.add(id(node))
        return affine

    def norm(self, node: Any) -> Norm:
        parts = [self.values.get(name) for name in node.input[1:5]]
        if len(parts) != 4 or any(part is None for part in parts):
            raise DataError(f"a batch norm without numbers ({node.name[:80]})", file=self.file)
        eps = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        scale, bias, mean, variance = (np.asarray(part, np.float32) for part in parts)
        return scale, bias, mean, variance, float(eps)

    def layer(self, node: Any) -> Layer | None:
        weight = self.values.get(node.input[1]) if len(node.input) > 1 else None
        if weight is None:
            return None
        weight, out = np.asarray(weight, np.float32), node.output[0]
        if node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
        ):
            weight = np.ascontiguousarray(weight.T)
        given = self.values.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        bias = (
            np.zeros(len(weight), np.float32) if given is None else np.asarray(given, np.float32).reshape(-1)
        )
        users = self.users[out]
        if len(users) == 1 and users[0].op_type == "BatchNormalization":
            self.taken.add(id(users[0]))
            return Layer(weight, bias, self.norm(users[0]), None)
        return Layer(weight, bias, None, self.arithmetic(out, len(weight)))


def read_graph(path: Path) -> Graph:
    """Return the layers of an ONNX file, which may keep its weights in files beside it.

    Raises:
        DataError: it is none, or no recognizer of pictures.
        EnvironmentFault: the extra [onnx] is missing.

    """
    model, beside = parsed(path)
    if beside:
        from onnx.external_data_helper import load_external_data_for_model

        try:
            load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # sizes that do not fit the file
            raise DataError(f"its weights are damaged: {type(error).__name__}", file=str(path)) from None
    graph = model.graph
    try:
        return _read(_Reader(graph, str(path)), graph)
    except DataError:
        raise
    except Exception as error:  # numbers that do not fit their shapes, unknown kinds of numbers
        raise DataError(f"a damaged graph: {type(error).__name__}", file=str(path)) from None


def _read(reader: _Reader, graph: Any) -> Graph:
    steps, first = first_steps(graph, reader.input, reader.values)
    if first is None or first.op_type != "Conv":
        users = sorted({node.op_type for node in reader.users[reader.input]})
        found = f"a {first.op_type}" if first is not None else " and ".join(users) or "no layer"
        raise DataError(
            f"its picture goes into {found}, expected a convolution",
            file=reader.file,
            hint="lrfr eval and --parent teacher= take it as it is",
        )
    before = Affine()
    for op, value in steps:
        before = before.then(op, value.astype(np.float32))
    layers, norms, slopes = [], [], []
    for node in reader.nodes:
        if node.op_type in {"Conv", "Gemm", "MatMul"}:
            layer = reader.layer(node)
            if layer is not None:
                layers.append(layer)
        elif node.op_type == "BatchNormalization" and id(node) not in reader.taken:
            norms.append(reader.norm(node))
        elif node.op_type == "PRelu" and node.input[1] in reader.values:
            slopes.append(np.asarray(reader.values[node.input[1]], np.float32).reshape(-1))
    return Graph(tuple(layers), tuple(norms), tuple(slopes), before)
