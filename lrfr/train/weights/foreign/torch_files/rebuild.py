"""What torch's own functions stand for when nothing is called: tensors, storages, dictionaries."""

from __future__ import annotations

from typing import Any

from lrfr.train.weights.foreign.torch_files.inert_values import (
    ITEM_BYTES,
    QUANTIZED,
    UNREAD_BYTES,
    Caps,
    Inert,
    Meter,
    Refused,
    StorageRef,
    TensorRef,
    key_of,
)

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
    "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}  # fmt: skip
_DICTS = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.Counter",
    "builtins.dict",
    "__builtin__.dict",
}
_SEQUENCES = {
    "torch.Size": tuple,
    "builtins.list": list,
    "__builtin__.list": list,
    "builtins.tuple": tuple,
    "__builtin__.tuple": tuple,
    "builtins.set": list,
    "__builtin__.set": list,
    "builtins.frozenset": list,
    "__builtin__.frozenset": list,
}
_MAKERS = {"copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__", "copy_reg.__newobj__"}
_VIEWS = {"torch._utils._rebuild_tensor": 4, "torch._utils._rebuild_tensor_v2": 6}


def _is_count(*values: object) -> bool:
    return all(type(value) is int and 0 <= value < 2**62 for value in values)


def tensor(caps: Caps, given: tuple[Any, ...], dtype: str) -> Any:
    """Return the view after checking it.

    Args:
        caps: what the file may ask for.
        given: storage, offset, sides and strides.
        dtype: name of the kind of number.

    Raises:
        Refused: it is none, or leaves its storage.

    """
    storage, offset, shape, strides = given
    if not isinstance(storage, StorageRef):
        raise Refused("a tensor without a storage")
    if storage.dtype in UNREAD_BYTES:
        return Inert(QUANTIZED if storage.dtype.startswith("q") else f"torch.{storage.dtype}")
    sides, steps = (list(x) if isinstance(x, list | tuple) else None for x in (shape, strides))
    if sides is None or steps is None or len(sides) != len(steps) or len(sides) > caps.dims:
        raise Refused("a tensor's sides and strides do not belong together")
    if not _is_count(offset, *sides, *steps):
        raise Refused("a tensor's sides, strides or offset are no counts")
    found = TensorRef(storage, dtype, int(offset), tuple(sides), tuple(steps))
    held = storage.bytes // ITEM_BYTES[dtype]
    last = found.offset + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if found.count and (last >= held or found.count > 2**48):
        raise Refused(f"a tensor of {sides} leaves its storage of {held}")
    return found


def _rebuilt(caps: Caps, name: str, given: tuple[Any, ...]) -> Any:
    """Return what torch's function ``name`` would rebuild, or None for another function."""
    found: Any = None
    if name in _VIEWS and len(given) >= _VIEWS[name]:
        found = tensor(caps, given[:4], _kind(given[0]))
    elif name == "torch._utils._rebuild_tensor_v3" and len(given) >= 7:
        dtype = given[6].name.removeprefix("torch.") if isinstance(given[6], Inert) else ""
        found = tensor(caps, given[:4], dtype) if dtype in ITEM_BYTES else Inert(f"torch.{dtype}")
    elif name.startswith("torch._utils._rebuild_parameter"):
        found = given[0] if given else None
    elif name == "torch._tensor._rebuild_from_type_v2" and len(given) >= 3:
        function, _, inner = given[:3]
        if isinstance(function, Inert) and isinstance(inner, tuple) and function.name != name:
            found = _rebuilt(caps, function.name, inner)
    elif name.startswith("torch._utils._rebuild_qtensor"):
        found = Inert(QUANTIZED)
    return found


def _kind(storage: object) -> str:
    return storage.dtype if isinstance(storage, StorageRef) else ""


def made(caps: Caps, meter: Meter, function: object, given: object) -> Any:
    """Return what calling ``function`` stands for; nothing is called.

    Raises:
        Refused: it is no function, or its arguments are not those of a tensor or dictionary.

    """
    if not isinstance(function, Inert):
        raise Refused(f"it calls a {type(function).__name__}")
    arguments = given if isinstance(given, tuple) else (given,)
    first = arguments[0] if arguments else None
    if function.name in _DICTS:
        pairs = next((x for x in arguments if isinstance(x, list | dict)), [])
        meter.spend(len(pairs))
        return dict(pairs) if isinstance(pairs, dict) else _from_pairs(pairs)
    if function.name in _SEQUENCES:
        items = first if isinstance(first, list | tuple) else ()
        meter.spend(len(items))
        return _SEQUENCES[function.name](items)
    if function.name == "_codecs.encode" and isinstance(first, str):
        meter.spend(len(first) // 16)
        return first.encode("latin-1", "replace")
    if function.name in _MAKERS and isinstance(first, Inert):
        return Inert(first.name, {"arguments": arguments[1:]})
    found = _rebuilt(caps, function.name, arguments)
    return Inert(function.name, {"arguments": arguments}) if found is None else found


def _from_pairs(pairs: list[Any]) -> dict[object, Any]:
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise Refused("a dictionary of something else than pairs")
    return {key_of(key): value for key, value in pairs}


def persistent(pid: object) -> Any:
    """Return what a persistent id of torch stands for: a storage, or the class of a module.

    Raises:
        Refused: it is none of torch's.

    """
    if isinstance(pid, tuple) and len(pid) >= 2 and pid[0] == "module":
        return pid[1]
    if not (isinstance(pid, tuple) and len(pid) in {5, 6} and pid[0] == "storage"):
        raise Refused("it asks for outside objects")
    _, kind, key, _, count = pid[:5]
    name = kind.name.rpartition(".")[2] if isinstance(kind, Inert) else ""
    if not isinstance(key, str) or not _is_count(count):
        raise Refused("a storage without a name or size")
    view = pid[5] if len(pid) == 6 else None
    if view is not None:
        raise Refused("a view of a storage, as torch wrote before 0.4")
    if name not in _STORAGES:
        raise Refused(f"numbers of the kind '{name[:80]}'")
    return StorageRef(key, _STORAGES[name], count)
