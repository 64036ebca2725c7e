"""What a torch pickle may hold: plain data, views into storages, and inert stand-ins for everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Refused(ValueError):
    """The bytes are no pickle of data, or go beyond a cap; the text says which."""


@dataclass(frozen=True)
class Caps:
    """What a file may ask for at most.

    Attributes:
        opcodes: steps of the machine, which also bounds the objects that it makes.
        pickle_bytes: length of one pickle.
        depth: open marks (nested containers being filled).
        dims: dimensions of a tensor.
        inflation: bytes of all tensors, or of an unpacked archive, for each byte of the file.
        slack_bytes: that many are always allowed.
        total_bytes: bytes of all tensors, whatever the file's size.
        entries: files in an archive.

    """

    opcodes: int = 4_000_000
    pickle_bytes: int = 64 * 2**20
    depth: int = 200
    dims: int = 16
    inflation: int = 16
    slack_bytes: int = 2**20
    total_bytes: int = 32 * 2**30
    entries: int = 100_000

    def budget(self, file_bytes: int) -> int:
        """Return how many bytes a file of ``file_bytes`` may become."""
        return min(self.total_bytes, self.slack_bytes + self.inflation * file_bytes)


@dataclass(eq=False)
class Inert:
    """A class, a function, or an object made with one: a name, and what the pickle put into it.

    Attributes:
        name: ``module.attribute``, as the pickle spells it.
        items: what was set by key or as state.

    """

    name: str
    items: dict[object, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StorageRef:
    """Bytes elsewhere in the file.

    Attributes:
        key: their name.
        dtype: name of the kind of number (``float32``), ``uint8`` for untyped bytes.
        count: how many numbers.

    """

    key: str
    dtype: str
    count: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.count * (ITEM_BYTES | UNREAD_BYTES)[self.dtype]


@dataclass(frozen=True, eq=False)
class TensorRef:
    """A strided view into a storage whose every element lies within it.

    Attributes:
        storage: the bytes.
        dtype: name of the kind of number.
        offset: place of the first element, in elements.
        shape: sides.
        strides: elements from one index to the next, 0 or more.

    """

    storage: StorageRef
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        count = 1
        for side in self.shape:
            count *= side
        return count


ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
# sizes are known, so that what follows them in a file is found; tensors of them are not read
UNREAD_BYTES = {
    "complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
}  # fmt: skip
QUANTIZED = "quantized tensor"
_KEY_PARTS = 16


class Meter:
    """Counts what is copied: a few bytes may name one long list a million times.

    Args:
        left: items that may be copied in all.

    """

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, count: int) -> None:
        """Count ``count`` items.

        Raises:
            Refused: none is left.

        """
        self.left -= count
        if self.left < 0:
            raise Refused("it copies more than the cap")


def key_of(key: object) -> object:
    """Return a dictionary's key: a scalar, or a tuple of scalars; hashing a deep one would end the process.

    Raises:
        Refused: it is something else.

    """
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) <= _KEY_PARTS and all(_is_key(part) for part in parts):
        return key
    if isinstance(key, Inert):
        return f"<{key.name}>"
    raise Refused(f"a {type(key).__name__} as the key of a dictionary")


def _is_key(part: object) -> bool:
    # integers of more bits can be made to share one hash, which makes a dictionary as slow as a list
    return isinstance(part, str | bytes | float | None) or (isinstance(part, int) and abs(part) < 2**48)
