"""The sets of named tensors in a file of weights: every dictionary or pickled module that holds some."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from lrfr.core.errors import DataError
from lrfr.train.weights.foreign.input_contract import InputContract, from_metadata
from lrfr.train.weights.foreign.names.file_form import Form, form_of
from lrfr.train.weights.foreign.names.shards import joined, read_index
from lrfr.train.weights.foreign.torch_files.inert_values import Inert, TensorRef
from lrfr.train.weights.foreign.torch_files.torch_file import TorchFile

DEPTH = 12
OBJECTS = 1_000_000
# what a tensor is that is not read, by what its pickle calls
_UNREAD = (
    (re.compile(r"^quantized tensor$"), "quantized"),
    (re.compile(r"^torch\.complex"), "complex"),
    (re.compile(r"_rebuild_sparse"), "sparse"),
    (re.compile(r"_rebuild_meta_tensor"), "without numbers (of the device meta)"),
    (re.compile(r"^torch\.(float8|float4|uint\d|int\d)"), "of a kind of number that is not read"),
    (re.compile(r"^numpy\..*_reconstruct$"), "an array of numpy"),
)


@dataclass(frozen=True)
class WeightSet:
    """Tensors by name, read when they are asked for.

    Attributes:
        place: where in the file they are, ``state_dict``; empty at the top.
        shapes: of the tensors.
        read: name to tensor.
        unread: names of tensors of other kinds, with the kind.

    """

    place: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def averaged(self) -> bool:
        """Whether its place says that it holds averaged weights."""
        return "ema" in self.place.lower().replace(".", "_").split("_")


_NOTHING = WeightSet("", {}, dict[str, Tensor]().__getitem__)


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        path: of the file.
        form: ``safetensors`` or ``torch``.
        sets: sets of tensors; averaged ones first, then the larger first.
        optimizer: whether it holds an optimizer's state.
        contract: what its network takes, where the file says so.

    """

    path: Path
    form: str
    sets: tuple[WeightSet, ...]
    optimizer: bool = False
    contract: InputContract | None = None


def open_weights(path: Path) -> WeightFile:
    """Return what a file holds; its form is told by its first bytes, not by its name.

    Raises:
        SpecError: it cannot be read.
        DataError: it is no file of weights, or damaged.

    """
    form = form_of(path)
    return _sharded(path) if form == "index" else _opened(path, form)


def _opened(path: Path, form: Form) -> WeightFile:
    if form == "safetensors":
        return _safetensors(path)
    if form != "torch":
        raise DataError(f"it is {form.upper()}, not safetensors or a file of torch.save", file=str(path))
    return _torch(path, TorchFile(path))  # kept open by what reads from it


def _sharded(path: Path) -> WeightFile:
    index = read_index(path)
    parts = {file.name: _opened(file, form_of(file, part=True)) for file in index.files}
    held = {name: next((one for one in part.sets if not one.place), _NOTHING) for name, part in parts.items()}
    shapes = joined(index, {name: one.shapes for name, one in held.items()})
    whole = WeightSet("", shapes, lambda name: held[index.where[name]].read(name))
    return WeightFile(path, next(iter(parts.values())).form, (whole,))


def _safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            contract = from_metadata(file.metadata() or {}, str(path))
    except (SafetensorError, OSError) as error:
        raise DataError(str(error), file=str(path), hint="cut off? fetch it again") from None

    def read(name: str) -> Tensor:
        with safe_open(path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    sets = (WeightSet("", shapes, read),) if shapes else ()
    return WeightFile(path, "safetensors", sets, contract=contract)


def _torch(path: Path, file: TorchFile) -> WeightFile:
    found: list[tuple[str, Mapping[str, TensorRef], Mapping[str, str]]] = []
    optimizer = False
    waiting, seen, steps = [("", file.root, 0)], set[int](), 0
    while waiting and steps < OBJECTS:
        place, value, depth = waiting.pop()
        steps += 1
        if id(value) in seen or depth > DEPTH:
            continue
        seen.add(id(value))
        if isinstance(value, Inert):
            module = _module(value)
            if module:
                found.append((place, module, {}))
                continue
            value = value.items
        if isinstance(value, dict):
            if value.keys() >= {"state", "param_groups"}:  # its moments are no weights
                optimizer = True
                continue
            refs = {key: x for key, x in value.items() if isinstance(key, str) and isinstance(x, TensorRef)}
            unread = {key: word for key, x in value.items() if isinstance(key, str) and (word := _unread(x))}
            if refs or unread:
                found.append((place, refs, unread))
            items = [(str(key)[:100], x) for key, x in value.items()]
        else:
            items = (
                [(str(index), x) for index, x in enumerate(value)] if isinstance(value, list | tuple) else []
            )
        waiting += [
            (f"{place}.{key}" if place else key, x, depth + 1)
            for key, x in items
            if isinstance(x, dict | list | tuple | Inert)
        ]
    sets = [_set(file, *parts) for parts in found]
    sets.sort(key=lambda one: (not one.averaged, -_numbers(one), one.place))
    return WeightFile(path, "torch", tuple(sets), optimizer)


def _set(file: TorchFile, place: str, refs: Mapping[str, TensorRef], unread: Mapping[str, str]) -> WeightSet:
    shapes = {name: ref.shape for name, ref in refs.items()}
    return WeightSet(place, shapes, lambda name: file.tensor(refs[name]), unread)


def _unread(value: object) -> str:
    """Return the kind of a tensor that is not read, nothing for something else."""
    if not isinstance(value, Inert):
        return ""
    return next((word for pattern, word in _UNREAD if pattern.search(value.name)), "")


def _numbers(one: WeightSet) -> int:
    total = 0
    for shape in one.shapes.values():
        count = 1
        for side in shape:
            count *= side
        total += count
    return total


def _module(root: Inert) -> dict[str, TensorRef]:
    """Return the tensors of a whole ``nn.Module`` that was pickled, under the names of its state_dict."""
    found: dict[str, TensorRef] = {}
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    seen: set[int] = set()
    while waiting:
        prefix, module, depth = waiting.pop()
        if not isinstance(module, Inert) or id(module) in seen or depth > 4 * DEPTH:
            continue
        seen.add(id(module))
        for part in ("_parameters", "_buffers"):
            held = module.items.get(part)
            for name, value in held.items() if isinstance(held, dict) else ():
                if isinstance(value, TensorRef):
                    found[f"{prefix}{name}"] = value
        inner = module.items.get("_modules")
        waiting += [
            (f"{prefix}{name}.", value, depth + 1)
            for name, value in (inner.items() if isinstance(inner, dict) else ())
        ]
    return found
