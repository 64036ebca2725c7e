"""Several recognizers behind one door: a face goes to those for its size (the routing of BTNet, for any
checkpoints and ONNX files).

``routes.json`` in a folder names the members, each with its largest side, the digest of its checkpoint or
file and, where several share a side, its weight. Their embeddings must live in one space to be compared:
students that were taught by the member for large faces do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError, SpecError, as_path, did_you_mean
from lrfr.core.files import make_folder, read_sealed, seal, write_atomic
from lrfr.core.image import ImageU8
from lrfr.train.backbones.branched import Indicator, Rule, select_branch
from lrfr.train.checkpoint import checked, resolve
from lrfr.train.weights.foreign.foreign_file import ForeignFile, is_foreign
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.load_nets import load_embedder
from lrfr.train.weights.parent_files import Parent, parent_digest
from lrfr.train.weights.routes.blend import Blend, routes_of

FILE = "routes.json"
_REST_PX = 112


@dataclass(frozen=True)
class Member:
    """One recognizer of a router.

    Attributes:
        up_to_px: the largest side that it takes; None takes every larger face.
        checkpoint: its checkpoint folder, or the file of a foreign model.
        digest: of that.
        weight: its share where several take the same faces; 1 alone.

    """

    up_to_px: int | None
    checkpoint: Path
    digest: str
    weight: float = 1.0


@dataclass(frozen=True)
class Choice:
    """How a face chooses its member, as in :func:`~lrfr.train.backbones.branched.select_branch`.

    Attributes:
        indicator: which number stands for the face: its larger side, its smaller side, or their mean.
        rule: the member of the smallest side that is not below (``ceil``), of the largest not above
            (``floor``), or of the nearest; the member for the rest counts with the side of its input.

    """

    indicator: Indicator = "max"
    rule: Rule = "ceil"

    def __post_init__(self) -> None:
        """Refuse unknown words."""
        for key, known in (("indicator", get_args(Indicator)), ("rule", get_args(Rule))):
            if getattr(self, key) not in known:
                word = str(getattr(self, key))
                hint = did_you_mean(word, known) or f"one of {', '.join(known)}"
                raise SpecError(f"a router has no {key} '{word}'", hint=hint)

    def changed(self, changes: Mapping[str, str]) -> Choice:
        """Return the choice with other words.

        Raises:
            SpecError: a key or word that there is not.

        """
        for key in changes:
            if key not in {"indicator", "rule"}:
                raise SpecError(f"--set {key}: a router can set indicator, rule")
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Routes:
    """The file of a router: its members, smallest side first, how a face chooses, and the file's digest."""

    members: list[Member]
    choice: Choice
    digest: str


@dataclass(frozen=True)
class _Entry:
    up_to_px: int | None
    checkpoint: str
    digest: str
    weight: float = 1.0


@dataclass(frozen=True)
class _RoutesFile:
    schema: int
    members: tuple[_Entry, ...]
    digest: str
    choice: Choice = field(default_factory=Choice)


def write_routes(
    folder: Path,
    runs: Sequence[tuple[int | None, Path]],
    weights: Mapping[int, Sequence[float]] | None = None,
    choice: Choice | None = None,
) -> str:
    """Write the routes of ``runs``, pairs of (largest side in px, checkpoint, run or ONNX file), and return
    their digest.

    Args:
        folder: to write.
        runs: several of one side are one member, the weighted sum of their unit embeddings.
        weights: of those, by side, in their order; all alike where none are given.
        choice: how a face chooses its side.

    Raises:
        SpecError: not exactly one member for the rest, one run twice for a side, or weights that do not fit.
        DataError: no checkpoint there, or damaged.

    """
    members = planned_members(folder, runs, weights)
    make_folder(folder)
    shared = any("weight" in entry for entry in members)
    # a reader that knows no other choice, and no weights, must not take it for the usual one
    told: dict[str, object] = {"schema": 3 if shared else 1}
    if choice and choice != Choice():
        told = {"schema": 3 if shared else 2, "choice": vars(choice)}
    write_atomic(folder / FILE, seal({**told, "members": members}), folder)
    return str(read_sealed(folder / FILE)["digest"])


def planned_members(
    folder: Path,
    runs: Sequence[tuple[int | None, Path]],
    weights: Mapping[int, Sequence[float]] | None = None,
) -> list[dict[str, object]]:
    """Return what :func:`write_routes` writes of the members, with its errors; nothing is written."""
    sides = [side for side, _ in runs]
    if sides.count(None) != 1 or len(set(runs)) != len(runs):
        raise SpecError(
            "routes need different runs a side and one member for all larger faces",
            hint="--at 20=runs/small --rest runs/large",
        )
    entries = []
    for side in sorted({side for side in sides if side is not None}):
        paths = [path for other, path in runs if other == side]
        shares = _shares(side, len(paths), (weights or {}).get(side))
        entries += [
            _entry(folder, side, path, share) for path, share in zip(paths, shares, strict=True) if share
        ]
    entries.append(_entry(folder, None, next(path for side, path in runs if side is None), 1.0))
    return entries


def _shares(side: int, count: int, given: Sequence[float] | None) -> list[float]:
    """Return weights whose sum is 1."""
    found = [float(weight) for weight in given] if given is not None else [1.0] * count
    if len(found) != count or not all(0 <= weight < float("inf") for weight in found) or not sum(found):
        raise SpecError(f"{count} runs up to {side} px need as many weights of 0 or more, got {found}")
    return [round(weight / sum(found), 6) for weight in found]


def _entry(folder: Path, side: int | None, path: Path, share: float) -> dict[str, object]:
    place = path if is_foreign(path) else resolve(path)
    entry: dict[str, object] = {
        "up_to_px": side,
        "checkpoint": os.path.relpath(place, folder),
        "digest": parent_digest(_opened(place)),
    }
    return entry if share == 1 else {**entry, "weight": share}


def _opened(path: Path) -> Parent:
    return ForeignFile(path) if is_foreign(path) else path


def is_router(path: Path) -> bool:
    """Say whether ``path`` is a folder of routes."""
    return (path / FILE).is_file()


def read_routes(folder: Path) -> Routes:
    """Return the routes of a folder.

    Raises:
        DataError: damaged, or a member is not the checkpoint that the routes were written for.

    """
    path = folder / FILE
    routes = checked(_RoutesFile, read_sealed(path), path)
    if routes.schema not in {1, 2, 3}:
        raise DataError("routes of a later lrfr", file=str(path), hint="upgrade lrfr")
    rests = [entry.up_to_px is None for entry in routes.members]
    if not rests or rests != [False] * (len(rests) - 1) + [True]:
        raise DataError("the last member, and no other, takes the rest", file=str(path))
    members = [
        Member(entry.up_to_px, folder / as_path(entry.checkpoint, "a run"), entry.digest, entry.weight)
        for entry in routes.members
    ]
    for member in members:
        if parent_digest(_opened(member.checkpoint)) != member.digest:
            raise DataError(
                "this checkpoint has changed since the routes were written",
                file=str(member.checkpoint),
                hint="lrfr route again",
            )
    return Routes(members, routes.choice, routes.digest)


class Router:
    """Embed every face with the member for its size.

    Args:
        members: (largest side in px or None, embedder), smallest side first.
        choice: how a face chooses; by default the smallest side that is not below its larger side.

    """

    def __init__(self, members: Sequence[tuple[int | None, Embedder]], choice: Choice | None = None) -> None:
        self.members, self.choice = list(members), choice or Choice()
        spec = getattr(self.members[-1][1], "spec", None)
        rest = getattr(spec, "size_px", _REST_PX)
        largest = max((side or 0 for side, _ in self.members), default=0)
        self._sides = [side or max(rest, largest + 1) for side, _ in self.members]

    def member(self, height: int, width: int) -> int:
        """Return the number of the member for an image."""
        chosen = select_branch(height, width, self._sides, self.choice.indicator, self.choice.rule)
        return self._sides.index(chosen)

    def route(self, height: int, width: int) -> tuple[int, Any]:
        """Return the input side and the network that takes such an image; no network where several do, or
        where it is a foreign file's.
        """
        found = self.routes(height, width)
        side, net = found[0]
        return side, net if len(found) == 1 and isinstance(net, nn.Module) else None

    def routes(self, height: int, width: int) -> list[tuple[int, Any]]:
        """Return input side and network of everything that such an image goes through; a foreign file's
        embedder stands for itself.
        """
        return routes_of(self.members[self.member(height, width)][1], height, width)

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D] in the order of ``images``."""
        chosen = np.array([self.member(*image.shape[:2]) for image in images])
        rows: dict[int, NDArray[np.float32]] = {}
        for number in np.unique(chosen):
            indices = np.flatnonzero(chosen == number).tolist()
            rows.update(zip(indices, self.members[number][1]([images[i] for i in indices]), strict=True))
        return np.stack([rows[index] for index in range(len(images))])


def load_member(path: Path, device: str = "cpu") -> Embedder:
    """Return the recognizer of a checkpoint, run or foreign file; the latter runs on the CPU."""
    return ForeignEmbedder(ForeignFile(path)) if is_foreign(path) else load_embedder(path, device)


def load_router(
    folder: Path, device: str = "cpu", changes: Mapping[str, str] | None = None
) -> tuple[Router, list[Member], str]:
    """Load all members; return the embedder, its members and the digest of the routes.

    Args:
        folder: of the routes.
        device: where members run.
        changes: ``indicator`` or ``rule`` in place of the file's own.

    """
    routes = read_routes(folder)
    grouped: dict[int | None, list[tuple[float, Embedder]]] = {}
    for member in routes.members:
        grouped.setdefault(member.up_to_px, []).append(
            (member.weight, load_member(member.checkpoint, device))
        )
    return Router(joined(grouped), routes.choice.changed(changes or {})), routes.members, routes.digest


def joined(
    grouped: Mapping[int | None, Sequence[tuple[float, Embedder]]],
) -> list[tuple[int | None, Embedder]]:
    """Return one embedder a side, in their order."""
    return [(side, parts[0][1] if len(parts) == 1 else Blend(parts)) for side, parts in grouped.items()]
