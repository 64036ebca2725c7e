"""ONNX files of others: what they say of themselves, read without running anything, and how they are run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, missing_extra
from lrfr.core.files import digest_of, sha256_file
from lrfr.core.machine import quiet_libraries
from lrfr.train.backbones.net_embedder import InputSpec
from lrfr.train.checkpoint import checked
from lrfr.train.weights.foreign.input_contract import (
    InputContract,
    Origin,
    from_metadata,
    json_of,
)
from lrfr.train.weights.foreign.names.file_form import form_of
from lrfr.train.weights.foreign.runtimes.graph_range import range_of

RESIZE_KEY = "lrfr.resize"
# protobuf reads no larger message; larger models keep their weights in files beside them
MAX_BYTES = 2**31 - 1
MAX_EXTERNAL_BYTES = 64 * 2**30
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file says of itself.

    Attributes:
        contract: its input.
        origin: where that was read.
        digest: of the file, and of the files beside it that hold its weights.
        input_name: of its one input.
        batch: faces of a call, None for any number.
        resize: how faces of other sides reach it.

    """

    contract: InputContract
    origin: Origin
    digest: str
    input_name: str
    batch: int | None
    resize: InputSpec


class OnnxForward:
    """An ONNX model as a function of float32 input, in calls of its own batch size.

    Args:
        path: of the file.
        batch: faces of a call where the file fixes them; the last call is filled up.

    Raises:
        DataError: the file does not run here.
        EnvironmentFault: the extra [onnx] is missing.

    """

    def __init__(self, path: Path, batch: int | None) -> None:
        self.path, self.batch = path, batch
        self._session = open_session(path)
        entry = self._session.get_inputs()[0]
        self._name, self._kind = entry.name, _TYPES[entry.type]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D].

        Raises:
            DataError: it fails, or gives something else.

        """
        return in_calls(self._run, x, self.batch)

    def _run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            found = self._session.run(None, {self._name: x.astype(self._kind, copy=False)})[0]
        except Exception as error:  # its own error types share no base of their own
            raise DataError(f"does not run: {_first_line(error)}", file=str(self.path)) from None
        return as_embeddings(found, len(x), self.path)


def in_calls(run: Any, x: NDArray[np.float32], batch: int | None) -> NDArray[np.float32]:
    """Return ``run`` of rows, ``batch`` at a time with the last call filled up, or of all at once."""
    if batch is None or len(x) == batch:
        return np.asarray(run(x), np.float32)
    parts = []
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)])
        parts.append(run(filled)[: len(part)])
    return np.concatenate(parts)


def as_embeddings(found: object, count: int, path: Path) -> NDArray[np.float32]:
    """Return a model's output as float32 [N, D].

    Raises:
        DataError: it is no row of numbers for each face.

    """
    rows = np.asarray(found)
    if rows.ndim > 2 and rows.shape[0] == count and rows.size == count * rows.shape[1]:
        rows = rows.reshape(count, -1)  # [N, D, 1, 1]
    if rows.ndim != 2 or len(rows) != count or rows.dtype.kind != "f":
        raise DataError(
            f"gives {rows.dtype} {list(rows.shape)} for {count} faces, expected embeddings [{count}, D]",
            file=str(path),
        )
    return rows.astype(np.float32, copy=False)


def open_session(path: Path) -> Any:
    """Return an onnxruntime session on the CPU, on as many threads as torch has.

    Raises:
        DataError: the file cannot be read.
        EnvironmentFault: the extra [onnx] is missing.

    """
    onnxruntime = _runtime()
    if not path.is_file():
        raise SpecError("no such file", file=str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # what weight decay has left of dead weights makes a CPU several times slower
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own error types share no base of their own
        raise DataError(f"not an ONNX file that runs here: {type(error).__name__}", file=str(path)) from None


def _runtime() -> Any:
    quiet_libraries()
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "onnx") from None
    return onnxruntime


def read_facts(path: Path) -> OnnxFacts:
    """Return what an ONNX file says of itself; nothing of it is run, and no file beside it is opened before
    it is known to lie in its folder.

    Raises:
        SpecError: no such file.
        DataError: not ONNX, too large, weights outside its folder, or no recognizer.
        EnvironmentFault: the extra [onnx] is missing.

    """
    _runtime()
    model, beside = parsed(path)
    entry = _only_input(model, path)
    sides = [dim.dim_value or None for dim in entry.type.tensor_type.shape.dim]
    layout, side = _layout(sides, path, entry.name)
    metadata = {item.key: item.value for item in model.metadata_props}
    stated = from_metadata(metadata, str(path))
    origin: Origin
    if stated is not None:
        contract, origin = stated, "metadata"
    else:
        mean, std, origin = range_of(model.graph, entry.name)
        contract = InputContract(mean=mean, std=std)
    contract = replace(contract, layout=layout, size_px=side or contract.size_px)
    digest = sha256_file(path)
    if beside:
        digest = digest_of([digest, {name: sha256_file(path.parent / name) for name in beside}])
    resize = InputSpec()
    if RESIZE_KEY in metadata:
        resize = checked(InputSpec, json_of(metadata[RESIZE_KEY], RESIZE_KEY, str(path)), path)
    resize = replace(resize, size_px=contract.size_px)
    return OnnxFacts(contract, origin, digest, entry.name, sides[0], resize)


def parsed(path: Path) -> tuple[Any, list[str]]:
    """Return an ONNX file as onnx's message, without the numbers that lie beside it, and the names of the
    files that hold these; each is known to lie in its folder.

    Raises:
        SpecError: no such file.
        DataError: not ONNX, too large, or weights outside its folder.
        EnvironmentFault: the extra [onnx] is missing.

    """
    try:
        import onnx
    except ImportError:
        raise missing_extra("onnx", "onnx") from None
    if not path.exists():
        raise SpecError("no such file", file=str(path))
    _check_form(path)
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"larger than {MAX_BYTES} bytes, which no ONNX file is", file=str(path))
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own error types
        raise DataError(
            f"not an ONNX file: {type(error).__name__}", file=str(path), hint="cut off? fetch it again"
        ) from None
    if not model.graph.node:
        raise DataError("not an ONNX file: it has no graph", file=str(path))
    return model, _external(model, path)


def _check_form(path: Path) -> None:
    try:
        form = form_of(path)
    except DataError as error:
        raise DataError(f"not an ONNX file: {error.message}", file=str(path), hint=error.hint) from None
    if form != "onnx":
        what = {"torch": "a file of torch.save", "index": "JSON"}.get(form, form)
        raise DataError(
            f"not an ONNX file but {what}",
            file=str(path),
            hint=f"lrfr import-weights {path.name} reads weights",
        )


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor below a message of ONNX, wherever it stands."""
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in value if isinstance(value, Sequence) or hasattr(value, "append") else [value]:
            if part.DESCRIPTOR.name == "TensorProto":
                yield part
            yield from _tensors(part)


def _external(model: Any, path: Path) -> list[str]:
    """Return the files beside the model that hold weights, after looking where they lie.

    Raises:
        DataError: one is outside the folder, missing or too large.

    """
    names = set()
    for tensor in _tensors(model):
        if tensor.data_location == tensor.EXTERNAL or tensor.external_data:
            names.add(next((entry.value for entry in tensor.external_data if entry.key == "location"), ""))
    folder, size = path.parent.resolve(), 0
    for name in sorted(names):
        try:
            place = (folder / name).resolve()
            inside = place.parent.is_relative_to(folder) and not os.path.isabs(name) and "\\" not in name
            size += place.stat().st_size if inside and place.is_file() else 0
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not name or not inside:
            raise DataError(f"its weights are outside its folder: {name!r}", file=str(path))
        if not place.is_file():
            raise DataError(f"its weights are missing: {name!r}", file=str(path), hint="copy both files")
    if size > MAX_EXTERNAL_BYTES:
        raise DataError(f"{size} bytes of weights, more than {MAX_EXTERNAL_BYTES}", file=str(path))
    return sorted(names)


def _only_input(model: Any, path: Path) -> Any:
    known = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in known]
    if len(inputs) != 1:
        raise DataError(f"has {len(inputs)} inputs, a recognizer has one", file=str(path))
    return inputs[0]


def _layout(sides: Sequence[int | None], path: Path, name: str) -> tuple[Literal["nchw", "nhwc"], int | None]:
    if len(sides) == 4 and sides[1] == 3 and sides[2] == sides[3]:
        return "nchw", sides[2]
    if len(sides) == 4 and sides[3] == 3 and sides[1] == sides[2]:
        return "nhwc", sides[1]
    shown = [side if side else "?" for side in sides]
    raise DataError(
        f"takes {shown}, expected one input [B, 3, S, S] or [B, S, S, 3]", file=str(path), path=name
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
