"""A file of another program's model, named and not yet opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.train.weights.foreign.input_contract import Stated
from lrfr.train.weights.foreign.names.file_form import form_of

SUFFIXES = {".onnx", ".pt", ".pth", ".pt2", ".ts", ".jit", ".torchscript"}


@dataclass(frozen=True)
class ForeignFile:
    """A file of a model that other programs made, and what is known of it besides.

    Attributes:
        path: an ``.onnx`` file, or a program of torch (``.pt2``, ``.ts``, ``.pt``).
        stated: what is said of its input.
        trust_code: whether a program of torch may run; ONNX files need no trust.

    """

    path: Path
    stated: Stated = field(default_factory=Stated)
    trust_code: bool = False

    def __str__(self) -> str:
        return str(self.path)


def is_foreign(path: Path) -> bool:
    """Say whether a path names a file of another program rather than a folder of ours."""
    return path.is_file() or (path.suffix.lower() in SUFFIXES and not path.is_dir())


def is_graph(path: Path) -> bool:
    """Say whether a file is an ONNX graph: its first bytes tell, and its name where there is none.

    Raises:
        SpecError, DataError: it is something that no model is kept in.

    """
    return form_of(path) == "onnx" if path.is_file() else path.suffix.lower() == ".onnx"


def foreign_file(path: Path, stated: Stated | None = None, trust_code: bool = False) -> ForeignFile:
    """Return a foreign file with what is stated of it.

    Raises:
        SpecError: something is stated of a folder of ours, whose checkpoint says it.

    """
    if not is_foreign(path):
        raise SpecError(
            "only a foreign file has an input to state",
            file=str(path),
            hint="leave --input-range and --bgr out",
        )
    return ForeignFile(path, stated or Stated(), trust_code)


def with_stated(
    paths: Mapping[str, Path], input_range: str | None, bgr: bool | None, trust_code: bool
) -> dict[str, Path | ForeignFile]:
    """Return paths with what is stated of those that are foreign files.

    Raises:
        SpecError: something is stated, and none of them is foreign.

    """
    stated = Stated(input_range, bgr)
    foreign = {name for name, path in paths.items() if is_foreign(path)}
    if not foreign and (stated != Stated() or trust_code):
        raise SpecError(
            "no foreign file is here whose input could be stated",
            hint="--input-range, --bgr and --trust-code go with a file such as x.onnx",
        )
    return {
        name: ForeignFile(path, stated, trust_code) if name in foreign else path
        for name, path in paths.items()
    }
