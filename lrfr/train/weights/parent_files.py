"""What fills a role of a run: a checkpoint or run of ours, or a foreign file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lrfr.core.errors import SpecError, as_path
from lrfr.train.backbones.nets import Nets
from lrfr.train.checkpoint import digest_of, read_manifest, resolve
from lrfr.train.weights.foreign.foreign_file import ForeignFile, is_foreign
from lrfr.train.weights.foreign.foreign_net import foreign_nets
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.load_nets import load_nets
from lrfr.train.weights.model_identity import ModelIdentity

Parent = Path | ForeignFile


def as_parent(given: Parent | str, role: str) -> Parent:
    """Return what was given for a role; a path of a foreign file becomes one.

    Raises:
        SpecError: it is no path, or a foreign file cannot fill this role.

    """
    if isinstance(given, ForeignFile):
        found: Parent = given
    else:
        path = as_path(given, f"the parent {role}")
        found = ForeignFile(path) if is_foreign(path) else path
    if role == "init" and isinstance(found, ForeignFile):
        raise SpecError(
            "a foreign file stays as it is and cannot start a training",
            file=str(found.path),
            hint=f"lrfr import-weights {found.path.name} makes a network of an architecture it knows",
        )
    return found


def parent_digest(parent: Parent) -> str:
    """Return what names the numbers of a parent.

    Raises:
        DataError: no checkpoint or model there, or damaged.

    """
    return ForeignEmbedder(parent).digest if isinstance(parent, ForeignFile) else digest_of(parent)


def parent_nets(parent: Parent, device: str = "cpu") -> Nets:
    """Return the trained networks of a parent."""
    if isinstance(parent, ForeignFile):
        return foreign_nets(ForeignEmbedder(parent))
    return load_nets(parent, device).nets


def unusual_methods(parents: Mapping[str, Parent], usual: Mapping[str, str]) -> dict[str, str]:
    """Return role to method of the runs among the parents that are of another method than is usual."""
    found: dict[str, str] = {}
    for role, parent in sorted(parents.items()):
        if role in usual and not isinstance(parent, ForeignFile):
            folder = resolve(parent)
            method = ModelIdentity.read(read_manifest(folder), folder).method
            found |= {role: method} if method != usual[role] else {}
    return found


def inputs_of(parents: Mapping[str, Parent]) -> dict[str, dict[str, object]]:
    """Return the input contracts of the foreign files among the parents, by role."""
    foreign = {role: parent for role, parent in sorted(parents.items()) if isinstance(parent, ForeignFile)}
    return {role: ForeignEmbedder(parent).contract.as_dict() for role, parent in foreign.items()}
