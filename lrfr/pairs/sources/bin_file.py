"""The source ``bin``: insightface's verification sets, pickles of (2n encoded images, n booleans), read
without running them.

Unpickling may call anything it can name, so the unpickler here can name five harmless things only, hands out
a token instead of the array type, and lets an array be rebuilt only in the one empty shape that real files
use.
"""

from __future__ import annotations

import codecs
import errno
import io
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.files import data_of
from lrfr.pairs.sources.base import Content, Face, FaceList, Listing, Place, Source, file_stamp

MAX_BYTES = 2 * 1024**3


class _ArrayToken:
    """Stands for ``numpy.ndarray`` inside the pickle; it can be passed on, never called."""

    def __new__(cls, *_: object) -> _ArrayToken:
        raise pickle.UnpicklingError("an array may not be made this way")


class _Array:
    """An array that the pickle's state fills in: a vector, also as one column, no longer than its bytes; or a
    list of objects.
    """

    data: bytes = b""
    code: object = "u1"
    items: list[object] | None = None

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise pickle.UnpicklingError("not the state of an array")
        _, shape, dtype, _, data = state
        self.fill(data, dtype, shape)

    def fill(self, data: object, dtype: object, shape: object) -> None:
        """Take bytes or objects after checking that their number is that of the shape."""
        raw = data.encode("latin-1") if isinstance(data, str) else data
        code = dtype.code if isinstance(dtype, _Dtype) else None
        count = _vector_length(shape)
        if isinstance(raw, list) and code in {"O8", "O4", "O"} and len(raw) == count:
            self.code, self.items = code, raw
        elif isinstance(raw, bytes) and code in _ITEM_BYTES and len(raw) == count * _ITEM_BYTES[str(code)]:
            self.code, self.data = code, raw
        else:
            raise pickle.UnpicklingError("only vectors of uint8, flags and integers are allowed")

    def flags(self) -> list[bool]:
        """Return integers and booleans as flags; whatever their byte order, 0 is no byte set."""
        size = _ITEM_BYTES[str(self.code)]
        cells = [self.data[at : at + size] for at in range(0, len(self.data), size)]
        if any(cell.strip(b"\0") not in {b"", b"\1"} for cell in cells):
            raise pickle.UnpicklingError("a pair's flag is neither 0 nor 1")
        return [bool(cell.strip(b"\0")) for cell in cells]


def _vector_length(shape: object) -> int:
    """Return the length of a vector or of a single row or column, -1 for other shapes."""
    if not (isinstance(shape, tuple) and 1 <= len(shape) <= 2 and all(type(side) is int for side in shape)):
        return -1
    long = [side for side in shape if side != 1]
    return long[0] if len(long) == 1 else 1 if not long else -1


_ITEM_BYTES = {"u1": 1, "b1": 1, "?": 1, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u2": 2, "u4": 4, "u8": 8}


class _Dtype:
    """A dtype that is only compared."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code.decode("ascii", "replace") if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        return


def _reconstruct(kind: object, shape: object, _code: object) -> _Array:
    if kind is not _ArrayToken or shape != (0,):
        raise pickle.UnpicklingError("arrays are rebuilt from the empty shape only")
    return _Array()


def _frombuffer(buffer: object, dtype: object, shape: object, _order: object) -> _Array:
    raw = bytes(buffer) if isinstance(buffer, bytes | bytearray | memoryview) else b""
    array = _Array()
    array.fill(raw, dtype, shape)
    return array


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError("only latin-1 text is allowed")
    return codecs.encode(text, "latin-1")


def _bytearray(data: object = b"", encoding: object = "latin-1") -> bytes:
    """Rebuild what old protocols write for a bytearray."""
    if isinstance(data, str):
        return _encode(data, encoding)
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("a bytearray is made of bytes only")
    return data


def _scalar(dtype: object, data: object) -> bool:
    array = _Array()
    array.fill(data, dtype, (1,))
    if array.items is not None:
        raise pickle.UnpicklingError("only booleans and integers are allowed")
    return array.flags()[0]


_ALLOWED: dict[str, Any] = {
    "ndarray": _ArrayToken,
    "dtype": _Dtype,
    "_reconstruct": _reconstruct,
    "_frombuffer": _frombuffer,
    "scalar": _scalar,
    "bytearray": _bytearray,
}
_MODULES = {
    "builtins": {"bytearray"},
    "__builtin__": {"bytearray"},
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}


class _Unpickler(pickle.Unpickler):
    """Resolves the names of :data:`_MODULES` to the stand-ins above and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if name in _MODULES.get(module, ()):
            return _ALLOWED[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for outside objects")


def read_bin(path: Path) -> tuple[list[bytes], list[bool]]:
    """Read a verification set.

    Returns:
        2n encoded images and n flags (True: the images 2i and 2i + 1 show one person).

    Raises:
        DataError: not such a set, or one that tries anything else.
        SpecError: the file cannot be read.

    """
    try:
        data = data_of(path, most=MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise DataError(str(error.strerror), file=str(path)) from None
        raise SpecError(f"cannot read: {error.strerror}", file=str(path)) from None
    try:
        _check_opcodes(data)
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        images, flags = value
        encoded = [_image_bytes(image) for image in _listed(images)]
        same = (
            flags.flags()
            if isinstance(flags, _Array) and flags.items is None
            else list(map(_flag, _listed(flags)))
        )
    except Exception as error:
        raise DataError(
            f"not a verification set: {error or type(error).__name__}", file=str(path), hint="it was not run"
        ) from None
    if len(encoded) != 2 * len(same):
        raise DataError(f"{len(encoded)} images for {len(same)} pairs", file=str(path))
    return encoded, same


def _check_opcodes(data: bytes) -> None:
    """Refuse opcodes that allocate or reach out, and lengths beyond the file, before anything is built."""
    import pickletools

    banned = {
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
        "INST",
        "OBJ",
        "NEWOBJ_EX",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    }
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in banned:
            raise pickle.UnpicklingError(f"opcode {opcode.name}")
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"} and int(argument or 0) > len(data):
            raise pickle.UnpicklingError("a memo slot beyond the file")


def _listed(value: object) -> list[object]:
    """Return the items of a list, a tuple or an array of objects."""
    found = value.items if isinstance(value, _Array) else value
    if not isinstance(found, list | tuple):
        raise pickle.UnpicklingError("images or flags are not a list")
    return list(found)


def _image_bytes(image: object) -> bytes:
    if isinstance(image, _Array) and image.code == "u1":
        return image.data
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    raise pickle.UnpicklingError(f"an image of type {type(image).__name__}")


def _flag(flag: object) -> bool:
    if isinstance(flag, bool) or (isinstance(flag, int) and flag in {0, 1}):
        return bool(flag)
    if isinstance(flag, _Array) and flag.items is None and len(flag.flags()) == 1:
        return flag.flags()[0]
    raise pickle.UnpicklingError("a pair's flag is not a boolean")


@lru_cache(maxsize=2)
def _loaded(path: Path, stamp: tuple[int, int]) -> tuple[list[bytes], list[bool]]:
    return read_bin(path)


@dataclass(frozen=True)
class BinSource(Source):
    """A ``.bin`` verification set of insightface, read without running the pickle.

    Pairs of one person share a label, all others have labels of their own.
    """

    path: Path
    kind = "bin"

    def _content(self) -> tuple[list[bytes], list[bool]]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror}", file=str(self.path)) from None
        return _loaded(self.path, (found.st_size, found.st_mtime_ns))

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the stamp of the file and the number of the image."""
        found = file_stamp(self.path)
        return (*found, place) if found else None

    def listing(self) -> Listing:
        """List both images of every pair."""
        _, same = self._content()
        faces = FaceList()
        for pair, together in enumerate(same):
            for side in (0, 1):
                label = f"{pair:06d}" if together else f"{pair:06d}{'ab'[side]}"
                faces.append(Face(f"{pair:06d}/{side}", label, 2 * pair + side))
        return Listing(faces, "image", {"image": len(faces)})

    def read(self, place: Place) -> Content:
        """Return one image's bytes."""
        images, _ = self._content()
        if not 0 <= place < len(images):
            raise ImageFault("E_READ", file=str(self.path))
        return images[place]

    def describe(self) -> dict[str, str | int]:
        """Name the file."""
        return {"kind": self.kind, "name": self.path.name}


def write_bin(path: Path, images: list[bytes], same: list[bool]) -> None:
    """Write a verification set in the flavor with ``bytes`` images (protocol 4), which every reader of the
    field takes.
    """
    if len(images) != 2 * len(same):
        raise ValueError(f"{len(images)} images for {len(same)} pairs")
    path.write_bytes(pickle.dumps((images, [bool(np.bool_(flag)) for flag in same]), protocol=4))
