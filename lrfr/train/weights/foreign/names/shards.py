"""A model in several files with an index of its tensors, as Hugging Face saves large ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of, json_of, sha256_file
from lrfr.train.weights.foreign.names.file_form import form_of
from lrfr.train.weights.foreign.runtimes.onnx_file import parsed

_MAX_BYTES = 64 * 2**20
_MAX_FILES = 1000


@dataclass(frozen=True)
class Index:
    """An index of parts.

    Attributes:
        path: of the index.
        where: name of a tensor to the name of a file beside the index.

    """

    path: Path
    where: Mapping[str, str]

    @property
    def files(self) -> tuple[Path, ...]:
        """The parts, in the order of their names."""
        return tuple(self.path.parent / name for name in sorted(set(self.where.values())))


def read_index(path: Path) -> Index:
    """Return an index of parts; every part lies beside it.

    Raises:
        DataError: it is none, or names a file elsewhere, or one that is not there.

    """
    try:
        found = json_of(path, most=_MAX_BYTES)
    except (OSError, ValueError):
        raise DataError("begins as JSON and is none", file=str(path), hint="fetch it again") from None
    where = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise DataError("JSON, no file of weights", file=str(path), hint="give the file of the weights")
    files = set(where.values())
    for name in sorted(files):
        if not name or Path(name).name != name or "\\" in name or len(files) > _MAX_FILES:
            raise DataError(f"its parts do not lie beside it: {name[:80]!r}", file=str(path))
        if not os.path.isfile(path.parent / name):  # False, too, for a name that no file can have
            raise DataError(
                f"a part is missing: {name[:80]!r}", file=str(path), hint="fetch all files of the model"
            )
    return Index(path, where)


def weights_digest(path: Path) -> str:
    """Return what names the numbers of a file of weights: its sha256, with those of its parts where it has
    any.
    """
    form = form_of(path)
    beside = read_index(path).files if form == "index" else ()
    if form == "onnx":
        beside = tuple(path.parent / name for name in parsed(path)[1])
    return digest_of([sha256_file(path), *map(sha256_file, beside)]) if beside else sha256_file(path)


def joined(index: Index, held: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors, each from its own part.

    Raises:
        DataError: a part has not what the index says.

    """
    shapes = {}
    for name, file in index.where.items():
        if name not in held[file]:
            raise DataError(f"{file[:80]!r} has no tensor '{name[:80]}'", file=str(index.path))
        shapes[name] = held[file][name]
    return shapes
