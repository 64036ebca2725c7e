"""From a checkpoint on disk to what the evaluator takes: a callable and a record of where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core.errors import SpecError

if TYPE_CHECKING:
    from lrfr.eval.embeddings import Embed
    from lrfr.eval.results import Model

_PREDICTORS = {"attributes": "attribute_predictor", "classes": "class_predictor"}


def load_model(
    path: Path, *, needs: str = "embeddings", device: str = "cpu", name: str | None = None
) -> tuple[Embed, Model]:
    """Load a checkpoint, the last one of a run, or the members of a router.

    Args:
        path: checkpoint, run or router folder.
        needs: ``embeddings``, ``attributes`` or ``classes``: which output is measured.
        device: where it runs.
        name: display name (default: the run's folder).

    Raises:
        DataError: no checkpoint there, or damaged.
        SpecError: the method has no such output.

    """
    from lrfr.eval.results import Model
    from lrfr.train.weights.router import is_router

    if is_router(path):
        return _load_router(path, needs, device, name)
    from lrfr.train.checkpoint import digest_of, resolve
    from lrfr.train.weights.load_nets import load_nets

    folder = resolve(path)
    found = load_nets(folder, device)
    identity = found.identity
    method = identity.make()
    maker = getattr(method, _PREDICTORS.get(needs, "embedder"), None)
    if maker is None:
        raise SpecError(f"method '{identity.method}' does not predict {needs}", file=str(path))
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    model = Model(
        name=name or run.name,
        method=identity.method,
        checkpoint=str(folder),
        digest=digest_of(folder),
        view_digest=identity.view,
        parents=dict(identity.parents),
    )
    return maker(found.nets), model


def _load_router(path: Path, needs: str, device: str, name: str | None) -> tuple[Embed, Model]:
    from lrfr.eval.results import Model
    from lrfr.train.weights.router import load_router

    if needs != "embeddings":
        raise SpecError(f"a router gives embeddings, not {needs}", file=str(path))
    embed, members, digest = load_router(path, device)
    parents = {
        "larger" if member.up_to_px is None else f"up to {member.up_to_px} px": member.digest
        for member in members
    }
    return embed, Model(
        name=name or path.name, method="router", checkpoint=str(path), digest=digest, parents=parents
    )
