"""What an ONNX graph is made of and what one face costs it, read without running anything."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from lrfr.train.weights.foreign.input_contract import InputContract
from lrfr.train.weights.foreign.runtimes.onnx_file import parsed

# bits of the floating types of ONNX: float, float16, double, bfloat16
_FLOATS = {1: 32, 10: 16, 11: 64, 16: 16}


def graph_counts(path: Path, contract: InputContract) -> tuple[int, int, int] | None:
    """Return parameters, multiply-adds of one face and bytes of the weights of a graph; None where a shape is
    known only when it runs.

    Counted are convolutions and products of matrices, as torch's counter does, and every floating number that
    is kept in the file or beside it.

    Args:
        path: of the file.
        contract: its input.

    Raises:
        SpecError, DataError, EnvironmentFault: see :func:`~.onnx_file.parsed`.

    """
    from onnx import shape_inference

    model, _ = parsed(path)
    graph = model.graph
    weights = {one.name: tuple(one.dims) for one in graph.initializer if one.data_type in _FLOATS}
    kept = {entry.name for entry in graph.initializer}
    side = contract.size_px
    face = [1, 3, side, side] if contract.layout == "nchw" else [1, side, side, 3]
    entry = next(one for one in graph.input if one.name not in kept)
    for dim, value in zip(entry.type.tensor_type.shape.dim, face, strict=True):
        dim.dim_value = value
    del graph.value_info[:]
    for output in graph.output:  # a number of faces that the file states would contradict one face
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # its own error types share no base of their own
        return None
    shapes: dict[str, tuple[int, ...]] = {one.name: tuple(one.dims) for one in graph.initializer}
    for info in (*inferred.value_info, *inferred.input, *inferred.output):
        shapes.setdefault(info.name, tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim))
    macs = [_macs(node, shapes) for node in inferred.node]
    if None in macs:
        return None
    numbers = sum(map(prod, weights.values()))
    bits = sum(prod(one.dims) * _FLOATS.get(one.data_type, 0) for one in graph.initializer)
    return numbers, sum(one or 0 for one in macs), bits // 8


def _macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> int | None:
    """Return the multiply-adds of a node; None where a shape that they follow from is not known."""
    if node.op_type not in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
        return 0
    first, second, out = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
    if not (first and second and out) or 0 in (*first, *second, *out):
        return None
    if node.op_type == "Conv":
        return prod(out) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(second[1:])
    turned = any(item.name == "transA" and item.i for item in node.attribute)
    return prod(out) * first[0 if turned else -1]
