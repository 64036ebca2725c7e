"""Files of what single processes hold of a head that is spread over them, and the rows that one asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lrfr.core.errors import DataError
from lrfr.core.files import write_fault

Rows = tuple[int, int]
"""First row and number of rows."""


def share_name(rank: int, size: int) -> str:
    """Return the name of a process's file; in the order of names the rows follow each other."""
    return f"share-{rank:05d}-of-{size:05d}.safetensors"


def cut(tensor: Tensor, rows: Rows) -> Tensor:
    """Return some rows, with zeros for those past the last."""
    first, count = rows
    found = tensor[first : first + count]
    return F.pad(found, (0,) * (2 * found.dim() - 1) + (count - len(found),))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that may be read by whom the umask lets.

    safetensors renames a private file (0600) into place; an empty file, made first, knows the right mode.
    """
    try:
        path.touch()
        mode = path.stat().st_mode & 0o777
        save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, path, metadata)
        path.chmod(mode)
    except (OSError, SafetensorError) as error:  # of a full disk safetensors says so in an error of its own
        raise write_fault(error, path, sum(tensor.nbytes for tensor in tensors.values())) from error


def joined(
    folder: Path,
    files: Sequence[str],
    found: Mapping[str, dict[str, Tensor]],
    device: str,
    rows: Mapping[str, Rows],
) -> None:
    """Put what lies in shares among the whole tensors of a checkpoint, and cut what was asked for in rows.

    Args:
        folder: of the checkpoint.
        files: names of its files.
        found: ``model``, ``ema`` and ``state`` to tensors by name; changed in place.
        device: where tensors shall be.
        rows: see :func:`lrfr.train.checkpoint.load`.

    Raises:
        DataError: a share cannot be read.

    """
    for part, tensors in found.items():
        for name, tensor in tensors.items():
            wanted = rows.get(_parameter(part, name))
            if wanted is not None and tensor.dim() > 1:
                tensors[name] = cut(tensor, wanted)
    shares = [folder / name for name in sorted(files) if name.startswith("share-")]
    pieces: dict[str, list[Tensor]] = {}
    passed: dict[str, int] = {}
    for path in shares:
        try:
            with safe_open(path, framework="pt", device=device) as file:
                for key in sorted(file.keys()):
                    part, name = key.split("/", 1)
                    piece = file.get_slice(key)
                    length = piece.get_shape()[0]
                    first, count = rows.get(_parameter(part, name), (0, 2**62))
                    start = max(0, first - passed.get(key, 0))
                    end = min(length, first + count - passed.get(key, 0))
                    pieces.setdefault(key, []).append(piece[start : max(start, end)])
                    passed[key] = passed.get(key, 0) + length
        except SafetensorError as error:
            raise DataError(str(error), file=str(path)) from None
    for key, several in pieces.items():
        part, name = key.split("/", 1)
        whole = torch.cat(several)
        wanted = rows.get(_parameter(part, name))
        found[part][name] = whole if wanted is None else cut(whole, (0, wanted[1]))


def _parameter(part: str, name: str) -> str:
    return name.rsplit("/", 1)[0] if part == "state" else name
