"""From whatever names a recognizer to what the evaluator takes: a callable and a record of its origin."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError, as_path, did_you_mean
from lrfr.core.files import digest_of
from lrfr.eval.results import Model
from lrfr.train.weights.foreign.foreign_file import ForeignFile, is_foreign, with_stated

if TYPE_CHECKING:
    from lrfr.train.methods.base import Method
    from lrfr.train.weights.model_identity import ModelIdentity

_NOTHING_TO_SET = "only a checkpoint or router of lrfr has options that can be set after training"
_PREDICTORS = {"attributes": "attribute_predictor", "classes": "class_predictor"}


@dataclass(frozen=True)
class Recognizer:
    """A model that is ready to be measured, and what results say of it."""

    embed: Embedder
    model: Model


Measurable = str | Path | Embedder | Recognizer | ForeignFile


def open_recognizer(
    model: Measurable,
    *,
    needs: str = "embeddings",
    device: str = "cpu",
    name: str | None = None,
    changes: Mapping[str, str] | None = None,
) -> Recognizer:
    """Return a recognizer of whatever names one.

    Args:
        model: path of a checkpoint, a run (its last checkpoint), a router or a foreign file (``.onnx``), or a
            :class:`~lrfr.train.weights.foreign.foreign_file.ForeignFile`; or any callable of
            :class:`lrfr.core.embedder.Embedder`'s form. A callable that has an attribute ``digest`` gives its
            results a name.
        needs: ``embeddings``, ``attributes`` or ``classes``: which output is measured.
        device: where a checkpoint runs.
        name: display name (default: the run's folder or the callable's name).
        changes: options of a checkpoint's method that choose how its networks are used, in place of those it
            was trained with (``{"indicator": "min"}`` of ``btnet-branch`` or of a router).

    Raises:
        DataError: no checkpoint there, or damaged.
        SpecError: the method has no such output, or this is neither path nor callable.

    """
    if isinstance(model, Recognizer):
        return model
    if isinstance(model, str | Path):
        path = as_path(model, "a model")
        _check_word(path)
        return _from_path(path, needs, device, name, changes or {})
    if changes:
        raise SpecError(_NOTHING_TO_SET)
    if isinstance(model, ForeignFile):
        return _from_foreign(model, needs, name)
    if not callable(model):
        raise SpecError(f"a {type(model).__name__} is no model", hint="give a path or a callable")
    called = name or str(getattr(model, "__name__", type(model).__name__))
    digest = getattr(model, "digest", None)
    return Recognizer(model, Model(called, digest=digest if isinstance(digest, str) else None))


def _check_word(path: Path) -> None:
    """Raise SpecError for a single word that is no path here but the name of a benchmark, or nearly so."""
    if len(path.parts) != 1 or path.exists() or is_foreign(path):
        return
    from lrfr.eval.protocols.table import BENCHMARKS

    word, names = str(path), BENCHMARKS.names()
    if word in {"list", "benchmarks", "benchmark"}:
        raise SpecError(f"there is no model '{word}' here", hint="lrfr eval --list names the benchmarks")
    near = get_close_matches(word.lower(), names, n=1, cutoff=0.75)
    if near:
        raise SpecError(
            f"there is no model '{word}' here; '{near[0]}' is a benchmark",
            hint=f"lrfr eval CHECKPOINT --benchmark {near[0]}",
        )


def open_chosen(
    checkpoint: Path | None,
    embedder: str | None = None,
    *,
    needs: str = "embeddings",
    device: str = "cpu",
    name: str | None = None,
    changes: Mapping[str, str] | None = None,
    foreign: Mapping[str, Any] | None = None,
) -> Recognizer:
    """Return the recognizer of a checkpoint or of a plug-in ``module:function``, whichever is given.

    Raises:
        SpecError: neither or both are given; and see :func:`open_recognizer`.

    """
    if checkpoint is not None and embedder is None:
        model: Measurable = with_stated({"model": checkpoint}, **foreign)["model"] if foreign else checkpoint
        return open_recognizer(model, needs=needs, device=device, name=name, changes=changes)
    if checkpoint is None and embedder is not None:
        if changes:
            raise SpecError(_NOTHING_TO_SET)
        return open_plugin(embedder, name)
    raise SpecError(
        "give either a checkpoint or --embedder MODULE:FUNCTION",
        hint=_runs_here() if checkpoint is None else "leave one of them out",
    )


def _runs_here(folder: Path = Path("runs")) -> str:
    """Return how to measure the newest run here, or how to make one."""
    runs = [path.parent for path in folder.glob("*/run.json")]
    if not runs:
        return "lrfr train fskd makes one, below runs/"
    newest = max(runs, key=lambda run: (run.stat().st_mtime_ns, run.name))
    return f"such as lrfr eval {newest}"


def open_plugin(text: str, name: str | None = None) -> Recognizer:
    """Return the recognizer ``module:function``, see :func:`load_plugin`."""
    opened = open_recognizer(load_plugin(text), name=name or text)
    return replace(opened, model=replace(opened.model, notes=f"plug-in {text}"))


def load_plugin(name: str, folder: Path | None = None) -> Embedder:
    """Import ``module:function`` (the current folder is searched first) and return the callable.

    The function is ``embed(list of uint8 HWC RGB images of any size) -> float32 [N, D]``. A class works too:
    it is called once without arguments, and its instance is used.

    Raises:
        SpecError: the name is malformed, or the module or the function does not exist or fails to import.

    """
    module_name, separator, attribute = name.partition(":")
    if not (module_name and separator and attribute):
        raise SpecError(f"'{name}' is not module:function", hint="for example my_model:embed")
    root = str(folder or Path.cwd())
    sys.path.insert(0, root)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SpecError(f"cannot import '{module_name}': {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(root)
    found = getattr(module, attribute, None)
    found = found() if isinstance(found, type) else found
    if not callable(found):
        raise SpecError(f"module '{module_name}' has no function '{attribute}'")
    made: Embedder = found
    return made


def _from_path(
    path: Path, needs: str, device: str, name: str | None, changes: Mapping[str, str]
) -> Recognizer:
    from lrfr.train.weights.routes.export_routes import is_exported, load_routes
    from lrfr.train.weights.routes.router import is_router

    ours = not is_foreign(path) and not is_exported(path) and not is_router(path)
    if ours:
        return _from_checkpoint(path, needs, device, name, changes)
    if changes and not is_router(path):
        raise SpecError(_NOTHING_TO_SET, file=str(path))
    if is_foreign(path):
        return _from_foreign(ForeignFile(path), needs, name)
    if needs != "embeddings":
        raise SpecError(f"a router gives embeddings, not {needs}", file=str(path))
    if is_exported(path):
        routed, files = load_routes(path)
        digest = digest_of(files)
        made = Model(name or path.name, "router", checkpoint=str(path), digest=digest, parents=files)
        return Recognizer(routed, made)
    return _from_routes(path, device, name, changes)


def _from_routes(path: Path, device: str, name: str | None, changes: Mapping[str, str]) -> Recognizer:
    from lrfr.train.weights.routes.router import load_router

    embed, members, digest = load_router(path, device, changes)
    parents: dict[str, str] = {}
    for member in members:
        place = "larger" if member.up_to_px is None else f"up to {member.up_to_px} px"
        place += "" if member.weight == 1 else f", {member.weight:.3g} of it ({len(parents) + 1})"
        parents[place] = member.digest
    model = Model(
        name or " ".join([path.name, *changes.values()]),
        "router",
        checkpoint=str(path),
        digest=_digest(digest, changes),
        parents=parents,
        changes=dict(changes),
    )
    return Recognizer(embed, model)


def _from_foreign(source: ForeignFile, needs: str, name: str | None) -> Recognizer:
    if needs != "embeddings":
        raise SpecError(f"a foreign file gives embeddings, not {needs}", file=str(source.path))
    from lrfr.train.weights.foreign.subject import ForeignEmbedder

    embed = ForeignEmbedder(source)
    notes = f"input {embed.contract}, {embed.origin}"
    return Recognizer(
        embed,
        Model(name or source.path.stem, checkpoint=str(source.path), digest=embed.digest, notes=notes),
    )


def _from_checkpoint(
    path: Path, needs: str, device: str, name: str | None, changes: Mapping[str, str]
) -> Recognizer:
    from lrfr.train.checkpoint import digest_of as checkpoint_digest
    from lrfr.train.checkpoint import resolve
    from lrfr.train.weights.load_nets import load_nets

    folder = resolve(path)
    found = load_nets(folder, device)
    identity = found.identity
    method = _changed(identity, changes)
    maker = getattr(method, _PREDICTORS.get(needs, "embedder"), None)
    if maker is None:
        raise SpecError(f"method '{identity.method}' does not predict {needs}", file=str(path))
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    model = Model(
        name=name or " ".join([run.name, *changes.values()]),
        method=identity.method,
        checkpoint=str(folder),
        digest=_digest(checkpoint_digest(folder), changes),
        view_digest=identity.view,
        parents=dict(identity.parents),
        side=_word(identity.options.get("side")),
        backbone=_word(identity.options.get("backbone")),
        changes=dict(changes),
        published=method.published,
        parent_methods=identity.methods_of_parents(),
    )
    return Recognizer(maker(found.nets), model)


def _changed(identity: ModelIdentity, changes: Mapping[str, str]) -> Method:
    """Return the method of a checkpoint, used otherwise than it was trained to be."""
    from lrfr.train.recipe import method_from

    free = identity.make().at_test
    for key in changes:
        if key not in free:
            known = f"can set {', '.join(sorted(free))}" if free else "has nothing to set after training"
            raise SpecError(f"--set {key}: '{identity.method}' {known}", hint=did_you_mean(key, free))
    return method_from(identity.method, {**identity.options, **changes})


def _digest(checkpoint: str, changes: Mapping[str, str]) -> str:
    """Return what names a model: its checkpoint and what was changed of it."""
    if not changes:
        return checkpoint
    return hashlib.sha256(f"{checkpoint} {json.dumps(dict(changes), sort_keys=True)}".encode()).hexdigest()


def _word(option: object) -> str | None:
    return option if isinstance(option, str) else None
