"""TorchScript files and archives of ``torch.export``: programs, which are opened only where they are
trusted.

A TorchScript program may read and write files when it runs, and reading an archive of ``torch.export``
evaluates what stands in it. Weights without a program (a state_dict) are no subject here: ``lrfr
import-weights``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import opened, sha256_file
from lrfr.train.weights.foreign.input_contract import METADATA_KEY, InputContract, Origin, from_metadata
from lrfr.train.weights.foreign.runtimes.onnx_file import as_embeddings, in_calls

Kind = Literal["torchscript", "export"]
MAX_ENTRIES = 100_000


def program_kind(path: Path) -> Kind:
    """Return which kind of program a file is, by the names in its archive; nothing of it is unpacked.

    Raises:
        SpecError: no such file, or weights without a program.
        DataError: no archive of torch.

    """
    if not path.is_file():
        raise SpecError("no such file", file=str(path))
    try:
        with opened(path) as handle, zipfile.ZipFile(handle) as archive:
            names = archive.namelist()[:MAX_ENTRIES]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        names = []
    inner = {name.split("/", 1)[-1] for name in names}
    if any(name.startswith("models/") and name.endswith(".json") for name in inner) or (
        "serialized_exported_program.json" in {name.rsplit("/", 1)[-1] for name in names}
    ):
        return "export"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    raise SpecError(
        "no program: a file of weights alone, or damaged",
        file=str(path),
        hint=f"weights become a checkpoint with: lrfr import-weights {path.name}",
    )


class TorchForward:
    """A program as a function of float32 input.

    Args:
        path: of the file.
        trusted: whether its code may run here.

    Attributes:
        contract: its input, as the file says or assumed.
        origin: which of both.
        digest: sha256 of the file.

    Raises:
        SpecError: it is not trusted, or no program.
        DataError: it cannot be opened.

    """

    def __init__(self, path: Path, trusted: bool) -> None:
        kind = program_kind(path)
        if not trusted:
            raise SpecError(
                f"{'a TorchScript file' if kind == 'torchscript' else 'an archive of torch.export'} is a "
                "program, and running it may do anything",
                file=str(path),
                hint="export it as ONNX; or, where you trust whoever made it, --trust-code (trust_code=True)",
            )
        self.path, self.digest = path, sha256_file(path)
        try:
            self._module, metadata, shape = _opened(path, kind)
        except Exception as error:  # torch raises errors of every kind here
            raise DataError(f"cannot be opened: {type(error).__name__}", file=str(path)) from None
        found = from_metadata(metadata, str(path))
        self.origin: Origin = "metadata" if found else "assumed"
        fixed = [side for side in shape[2:] if side] or [(found or InputContract()).size_px]
        self.contract = found or InputContract(size_px=fixed[0])
        self.batch = shape[0] if shape else None

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D].

        Raises:
            DataError: it fails, or gives something else.

        """
        return in_calls(self._run, x, self.batch)

    def _run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            with torch.no_grad():
                found = self._module(torch.from_numpy(x))
        except Exception as error:  # whatever the program raises
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
            raise DataError(f"does not run: {reason}", file=str(self.path)) from None
        found = found[0] if isinstance(found, tuple | list) else found
        return as_embeddings(found.float().cpu().numpy(), len(x), self.path)


def _opened(path: Path, kind: Kind) -> tuple[Any, dict[str, str], list[int | None]]:
    """Return the callable, its metadata, and the sides of its input where they are fixed."""
    extra = {METADATA_KEY: ""}
    if kind == "torchscript":
        script: Any = torch.jit
        module = script.load(str(path), map_location="cpu", _extra_files=extra)
        module.eval()
        return module, _texts(extra), []
    load: Any = torch.export.load
    program = load(str(path), extra_files=extra)
    names = program.graph_signature.user_inputs
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == names[0])
    shape = [side if isinstance(side, int) else None for side in value.shape]
    return program.module(), _texts(extra), shape


def _texts(extra: Mapping[str, object]) -> dict[str, str]:
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for name, value in extra.items()
        if value
    }
