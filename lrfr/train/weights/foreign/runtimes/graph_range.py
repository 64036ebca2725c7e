"""The range of a model's input, as the first steps of its graph tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.train.weights.foreign.input_contract import RANGES, Origin, Three

# what may stand between the input and the first layer
_AFFINE = {"Sub", "Add", "Mul", "Div"}
_PASSING = {"Cast", "Identity", "Transpose"}


def range_of(graph: Any, name: str) -> tuple[Three, Three, Origin]:
    """Return the range whose image under the graph's own first steps is about -1 .. 1, as insightface's
    readers do: a graph that subtracts and scales takes bytes.
    """
    steps = list(_first_steps(graph, name))
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


def _first_steps(graph: Any, name: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what the graph does to its input by constants before its first layer."""
    constants = _constants(graph)
    for _ in range(16):
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or users[0].op_type not in _AFFINE | _PASSING:
            return
        node = users[0]
        if node.op_type in _AFFINE:
            value = next((constants[other] for other in node.input if other in constants), None)
            if value is None or value.size not in {1, 3} or node.input[0] != name:
                return
            yield node.op_type, value.astype(np.float64).reshape(-1)
        name = node.output[0]


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
