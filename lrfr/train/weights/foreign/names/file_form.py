"""What a file is, by its first bytes: its name may say something else."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import opened

Form = Literal["torch", "safetensors", "onnx", "index"]
_HEAD = 512
# pickles of old protocols are texts too, and begin otherwise
_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?[A-Za-z#/*\-\s][\x20-\x7e\s]*\s[\x20-\x7e\s]*")
_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})(\.\w+)")
_MODELS = (".pth", ".pt", ".ckpt", ".bin", ".onnx", ".safetensors", ".tar")
_FETCH = "fetch it again"
_UNPACK = "unpack it, and give the file in it"
_EXPORT = "export it as ONNX, which lrfr reads"
# place, first bytes, what it is, what to do
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a pointer of Git LFS in place of the file", "git lfs pull"),
    (0, b"\x1f\x8b", "a file packed by gzip", _UNPACK),
    (0, b"BZh", "a file packed by bzip2", _UNPACK),
    (0, b"\xfd7zXZ\x00", "a file packed by xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a file packed by zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (
        257,
        b"ustar",
        "a tar archive",
        f"{_UNPACK}; one that torch wrote before 0.1.10 is saved again by a later",
    ),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", _EXPORT),
    (4, b"TFL3", "a model of TensorFlow Lite", _EXPORT),
    (0, b"\x12\x01\x00\x00\x00\x00\x00\x00", "parameters of MXNet", _EXPORT),
    (0, b"GGUF", "a GGUF file", "give the file that it was made of"),
    (0, b"\x93NUMPY", "an array of numpy", "save a dictionary of tensors: torch.save"),
)


def form_of(path: Path, *, part: bool = False) -> Form:
    """Return what a file of weights is, as its first bytes tell; nothing of it is run or unpacked.

    Args:
        path: of the file.
        part: whether it may be one of several parts.

    Raises:
        SpecError: it cannot be read, is no file, or is one of several parts.
        DataError: it is something else; the text says what, and what to do.

    """
    _check_file(path, part)
    head = _head_of(path)
    if head[:2] == b"PK":
        _check_zip(path)
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        return "safetensors"
    if head[:1] in b"{[":
        return "index"
    # the first field of a model is its ir_version, a small number
    if head[:1] == b"\x08" and 1 <= head[1] <= 32:
        return "onnx"
    if _TEXT.fullmatch(head):
        raise DataError("a text, no file of weights", file=str(path), hint="give the file of the weights")
    if head[:1] == b"\x80" or path.suffix.lower() not in {".onnx", ".safetensors"}:
        return "torch"
    return "onnx" if path.suffix.lower() == ".onnx" else "safetensors"


def _check_file(path: Path, part: bool) -> None:
    """Refuse what is no whole file."""
    if path.is_dir():
        raise SpecError("a folder", file=str(path), hint="give the file of the weights in it")
    if path.exists() and not path.is_file():
        raise SpecError("no regular file", file=str(path))
    named = _SHARD.fullmatch(path.name)
    if named and int(named[2]) > 1 and not part:
        raise SpecError(
            f"one of {int(named[2])} parts of a model",
            file=str(path),
            hint=f"give {named[1]}{named[3]}.index.json",
        )


def _head_of(path: Path) -> bytes:
    """Return the first bytes of a file that may be one of weights."""
    try:
        with opened(path) as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SpecError(f"cannot read: {error.strerror}", file=str(path)) from None
    if len(head) < 2:
        raise DataError(f"the file has {len(head) or 'no'} bytes", file=str(path), hint=_FETCH)
    if re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|\?xml)", head, re.I):
        raise DataError(
            "a web page in place of the file", file=str(path), hint=f"{_FETCH}, by its own address"
        )
    for place, first, what, hint in _OTHERS:
        if head[place:].startswith(first):
            raise DataError(f"{what}, no file of weights", file=str(path), hint=hint)
    return head


# in archives of torch.save and TorchScript; of torch.export, newer and older
_OF_TORCH = {"data.pkl", "archive_format", "serialized_exported_program.json"}


def _check_zip(path: Path) -> None:
    """Refuse a ZIP archive that torch did not write."""
    try:
        with opened(path) as handle, zipfile.ZipFile(handle) as archive:
            names = archive.namelist()[:100_000]
    except Exception:  # zipfile raises errors of many kinds
        raise DataError(
            "a ZIP archive whose end is missing or damaged", file=str(path), hint=_FETCH
        ) from None
    if any(name.rpartition("/")[2] in _OF_TORCH for name in names):
        return
    inner = [name for name in names if name.lower().endswith(_MODELS)]
    if inner:
        raise DataError(f"a ZIP archive around {inner[0][:80]!r}", file=str(path), hint=_UNPACK)
    if names and all(name.endswith(".npy") for name in names):
        raise DataError(
            "an archive of numpy", file=str(path), hint="save a dictionary of tensors: torch.save"
        )
    first = f" ({names[0][:80]!r})" if names else ""
    raise DataError(
        f"a ZIP archive of something else{first}", file=str(path), hint="give the file of the weights"
    )
