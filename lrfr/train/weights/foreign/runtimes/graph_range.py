"""The range of a model's input, as the first steps of its graph tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.train.weights.foreign.input_contract import RANGES, Origin, Three

# what may stand between the input and the first layer
_AFFINE = {"Sub", "Add", "Mul", "Div"}
_PASSING = {"Cast", "Identity", "Transpose"}
_MOST_STEPS = 16
Step = tuple[str, NDArray[np.float64]]


def range_of(graph: Any, name: str) -> tuple[Three, Three, Origin]:
    """Return the range whose image under the graph's own first steps is about -1 .. 1, as insightface's
    readers do: a graph that subtracts and scales takes bytes.
    """
    steps, _ = first_steps(graph, name, _constants(graph))
    if not steps:
        return (*RANGES["-1,1"], "assumed")
    fits = []
    for key in ("0,255", "0,1", "-1,1"):
        mean, std = RANGES[key]
        ends = [np.array([(0 - m) / s, (255 - m) / s]) for m, s in zip(mean, std, strict=True)]
        for kind, value in steps:
            ends = [_moved(end, kind, np.resize(value, 3)[i]) for i, end in enumerate(ends)]
        off = max(abs(float(end[0]) + 1) + abs(float(end[1]) - 1) for end in ends)
        fits.append((off, key))
    return (*RANGES[min(fits)[1]], "graph")


def _moved(ends: NDArray[np.float64], kind: str, value: float) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        moved = {"Sub": ends - value, "Add": ends + value, "Mul": ends * value, "Div": ends / value}[kind]
    return np.nan_to_num(moved, nan=1e9)


def first_steps(
    graph: Any, name: str, constants: Mapping[str, NDArray[Any]]
) -> tuple[list[Step], Any | None]:
    """Return what a graph does to its input by constants before its first layer, and the node after that,
    None where the input goes several ways.

    Args:
        graph: of an ONNX model.
        name: of the input.
        constants: the graph's numbers by name.

    """
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for given in set(node.input):
            users.setdefault(given, []).append(node)
    steps: list[Step] = []
    for _ in range(_MOST_STEPS):
        if len(users.get(name, ())) != 1:
            break
        node = users[name][0]
        if node.op_type not in _PASSING:
            value = _by_constant(node, name, constants)
            if value is None:
                return steps, node
            steps.append((node.op_type, value))
        name = node.output[0]
    return steps, None


def _by_constant(node: Any, name: str, constants: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    """Return the constant of channelwise arithmetic on ``name``, one number or three, None for others."""
    given = [constants[other] for other in node.input if other in constants]
    turned = node.op_type in {"Sub", "Div"} and node.input[0] != name
    if node.op_type not in _AFFINE or turned or len(given) != 1 or given[0].size not in {1, 3}:
        return None
    return given[0].astype(np.float64).reshape(-1)


def _constants(graph: Any) -> Mapping[str, NDArray[Any]]:
    """Return the small constants of a graph by name."""
    from onnx import numpy_helper

    tensors = {item.name: item for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
    small = {name: item for name, item in tensors.items() if np.prod(list(item.dims) or [1]) <= 3}
    return {
        name: np.asarray(numpy_helper.to_array(item))
        for name, item in small.items()
        if not item.external_data
    }
