"""Checkpoints: a folder of safetensors and JSON, a sha256 of every file, renamed into place; no pickle.

* ``model.safetensors``: weights and buffers of every network but frozen teachers;
* ``ema.safetensors``: averaged weights, where a run keeps them;
* ``state.safetensors``: optimizer tensors (absent in ``best``);
* ``share-00000-of-00008.safetensors``: of a head that is spread over processes, what one of them holds
  (``model/``, ``ema/`` or ``state/``, then the name), written by itself;
* ``state.json``: step, place in the data, loss scaler, evaluation, versions, threads;
* ``manifest.json``: what the networks are, sizes and sha256 of the files, and its own digest; written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lrfr.core.errors import DataError
from lrfr.core.files import canonical, data_of, json_of, make_folder, seal, sha256_file, sync_folder, unseal
from lrfr.core.files.writing import write_fault
from lrfr.train.backbones.parts.input_shift import adopt_shifts
from lrfr.train.backbones.teacher import FrozenTeacher
from lrfr.train.checkpoint.share_files import Rows, joined, save_tensors

_OLDER = "use an older checkpoint of the run"
SCHEMA = 1
Tensors = dict[str, Tensor]
T = TypeVar("T")
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")]


@dataclass(frozen=True)
class _File:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``manifest.json`` of a checkpoint whose files are all there and whole.

    Attributes:
        identity: JSON that says what the networks are.
        files: names of its files.
        digest: sha256 of the manifest, which names the checkpoint.

    """

    identity: Mapping[str, object]
    files: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        identity: JSON that says what the networks are; that of a recognizer is a
            :class:`~lrfr.train.weights.model_identity.ModelIdentity`.
        model: tensors of the networks by name.
        state: JSON state of the run: step, metrics, threads, versions.
        optimizer: tensors of the optimizer.
        ema: averaged weights by name.

    """

    identity: Mapping[str, object]
    model: Tensors
    state: Mapping[str, Any]
    optimizer: Tensors
    ema: Tensors


def model_tensors(nets: nn.ModuleDict) -> Tensors:
    """Return the tensors of ``nets`` without frozen teachers; tensors that share memory (tied layers) stand
    once.
    """
    result: Tensors = {}
    seen: set[int] = set()
    for name, tensor in nets.state_dict().items():
        if isinstance(nets[name.split(".", 1)[0]], FrozenTeacher) or (
            tensor.numel() and tensor.data_ptr() in seen
        ):
            continue
        seen.add(tensor.data_ptr())
        result[name] = tensor.detach()
    return result


def load_model(nets: nn.ModuleDict, model: Mapping[str, Tensor], place: str) -> None:
    """Copy ``model`` into ``nets``; every tensor must find its namesake of the same shape, and none may be
    left.

    Raises:
        DataError: names or shapes disagree.

    """
    adopt_shifts(nets, model)
    wanted = model_tensors(nets)
    missing, extra = sorted(wanted.keys() - model.keys()), sorted(model.keys() - wanted.keys())
    wrong = [name for name in wanted.keys() & model.keys() if wanted[name].shape != model[name].shape]
    if missing or extra or wrong:
        raise DataError(
            f"weights do not fit: missing {missing[:3]}, unknown {extra[:3]}, other shape {wrong[:3]}",
            file=place,
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(model[name])


def save(folder: Path, checkpoint: Checkpoint) -> str:
    """Write ``checkpoint`` to ``folder`` (replaced if it exists) and return its digest.

    Raises:
        EnvironmentFault: disk full or not writable.

    """
    temporary, discarded = folder.with_name(f".tmp-{folder.name}"), folder.with_name(f".old-{folder.name}")
    for left in (temporary, discarded):
        shutil.rmtree(left, ignore_errors=True)
    make_folder(temporary)
    try:
        write_parts(temporary, checkpoint)
        return publish(temporary, folder, checkpoint.identity)
    except OSError as error:
        raise write_fault(error, folder, sum(item.nbytes for item in checkpoint.model.values())) from error
    finally:  # on a full disk it holds what little there was
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, folder: Path, identity: Mapping[str, object]) -> str:
    """Seal the files of ``temporary`` and rename it into place; return the digest."""
    digest = _seal(temporary, identity)
    discarded = folder.with_name(f".old-{folder.name}")
    if folder.exists():
        folder.rename(discarded)
    temporary.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(discarded, ignore_errors=True)
    return digest


def write_parts(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the files of a checkpoint but for its manifest."""
    for name, tensors in (
        ("model", checkpoint.model),
        ("ema", checkpoint.ema),
        ("state", checkpoint.optimizer),
    ):
        if tensors:
            save_tensors(folder / f"{name}.safetensors", tensors)
    (folder / "state.json").write_bytes(canonical(checkpoint.state))


def _seal(folder: Path, identity: Mapping[str, object]) -> str:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(folder.iterdir())
    }
    manifest = seal({"schema": SCHEMA, "identity": identity, "files": files})
    (folder / "manifest.json").write_bytes(manifest)
    for path in (*folder.iterdir(), folder):
        sync_folder(path)  # fsync takes files and folders alike
    return str(unseal(manifest, "manifest.json")["digest"])


def checked(kind: type[T], value: object, file: Path) -> T:
    """Return plain data as the dataclass ``kind``.

    Raises:
        DataError: a field is missing or of another type, with its name.

    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or None
        raise DataError(f"damaged: {fault['msg'].lower()}", file=str(file), path=place) from None


def digest_of(path: Path) -> str:
    """Return the digest of a checkpoint, or of the last one of a run, after checking it.

    Raises:
        DataError: no checkpoint there, or damaged.

    """
    return read_manifest(resolve(path)).digest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a checkpoint after checking its own digest and the size and sha256 of every
    file.

    Raises:
        DataError: not a checkpoint, of another schema, or damaged.

    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError("not a checkpoint: it has no manifest.json", file=str(folder))
    try:
        manifest = unseal(data_of(path), str(path))
    except (DataError, OSError):
        raise DataError("the manifest is damaged", file=str(path), hint=_OLDER) from None
    if manifest.get("schema") != SCHEMA:
        raise DataError(
            f"checkpoint of schema {manifest.get('schema')}, this version reads {SCHEMA}", file=str(path)
        )
    files = checked(dict[_Name, _File], manifest.get("files"), path)
    for name, entry in files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry.bytes or sha256_file(file) != entry.sha256:
            raise DataError("the file is missing or damaged", file=str(file), hint=_OLDER)
    identity = checked(dict[str, object], manifest.get("identity"), path)
    return Manifest(identity, tuple(files), str(manifest["digest"]))


def load(folder: Path, device: str = "cpu", rows: Mapping[str, Rows] | None = None) -> Checkpoint:
    """Read and check a checkpoint.

    Args:
        folder: of the checkpoint.
        device: where its tensors shall be.
        rows: network tensor to the rows of it (and of what the optimizer keeps of it) that are wanted, where
            those are not all; past the last they are zeros.

    Raises:
        DataError: not a checkpoint, of another schema, or damaged.

    """
    manifest = read_manifest(folder)

    def tensors(name: str) -> Tensors:
        if f"{name}.safetensors" not in manifest.files:
            return {}
        try:
            return dict(load_file(folder / f"{name}.safetensors", device=device))
        except SafetensorError as error:
            raise DataError(str(error), file=str(folder / f"{name}.safetensors")) from None

    place = folder / "state.json"
    try:
        state = checked(dict[str, object], json_of(place), place)
    except (OSError, ValueError):
        raise DataError("the file is missing or damaged", file=str(place), hint=_OLDER) from None
    found = {part: tensors(part) for part in ("model", "state", "ema")}
    joined(folder, manifest.files, found, device, rows or {})
    return Checkpoint(manifest.identity, found["model"], state, found["state"], found["ema"])


def steps(run_dir: Path) -> list[Path]:
    """Return the full checkpoints of a run, oldest first."""
    found = [path for path in (run_dir / "checkpoints").glob("step-*") if path.name[5:].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def prune(run_dir: Path, keep: int) -> None:
    """Remove the oldest full checkpoints beyond ``keep``, and what a crash left of unfinished ones."""
    folder = run_dir / "checkpoints"
    for path in [*steps(run_dir)[:-keep], *folder.glob(".tmp-*"), *folder.glob(".old-*")]:
        shutil.rmtree(path, ignore_errors=True)


def _models_near(path: Path) -> str:
    """Return which runs lie where a path says, or in ``runs``."""
    for folder in dict.fromkeys((path / "runs", path.parent, Path("runs"))):
        runs = sorted(item.parent for item in folder.glob("*/run.json"))
        if runs:
            close = get_close_matches(str(path), map(str, runs), n=1) or [str(run) for run in runs[:5]]
            return f"there is {', '.join(close)}"
    return "no run lies here or in 'runs': lrfr train fskd makes one"


def resolve(path: Path) -> Path:
    """Return the checkpoint folder that ``path`` means: itself, or the last checkpoint of a run folder.

    Raises:
        DataError: there is none.

    """
    if (path / "manifest.json").is_file():
        return path
    found = steps(path)
    if not found:
        hint = f"lrfr import-weights {path}" if path.is_file() else _models_near(path)
        raise DataError("neither a checkpoint nor a run with one", file=str(path), hint=hint)
    return found[-1]
