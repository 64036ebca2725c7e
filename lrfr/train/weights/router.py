"""Several recognizers behind one door: a face goes to the one for its size (the routing of BTNet, for any
checkpoints).

``routes.json`` in a folder names the members, each with its largest side and the digest of its checkpoint.
Their embeddings must live in one space to be compared: students that were taught by the member for large
faces do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import make_folder, read_sealed, seal, write_atomic
from lrfr.core.image import ImageU8
from lrfr.train.backbones.branched import Indicator, Rule, select_branch
from lrfr.train.checkpoint import digest_of, resolve
from lrfr.train.weights.load_nets import load_embedder

FILE = "routes.json"
_REST_PX = 112


@dataclass(frozen=True)
class Member:
    """One recognizer of a router.

    Attributes:
        up_to_px: the largest side that it takes; None takes every larger face.
        checkpoint: its checkpoint folder.
        digest: of that checkpoint.

    """

    up_to_px: int | None
    checkpoint: Path
    digest: str


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


def write_routes(folder: Path, runs: Sequence[tuple[int | None, Path]], choice: Choice | None = None) -> str:
    """Write the routes of ``runs``, pairs of (largest side in px, checkpoint or run), and return their
    digest.

    Raises:
        SpecError: not exactly one member for the rest, or one side twice.
        DataError: no checkpoint there, or damaged.

    """
    sides = [side for side, _ in runs]
    if sides.count(None) != 1 or len(set(sides)) != len(sides):
        raise SpecError(
            "routes need different sides and one member for all larger faces",
            hint="--at 20=runs/small --rest runs/large",
        )
    ordered = sorted(runs, key=lambda item: (item[0] is None, item[0] or 0))
    checkpoints = [(side, resolve(path)) for side, path in ordered]
    members = [
        {
            "up_to_px": side,
            "checkpoint": os.path.relpath(path, folder),
            "digest": digest_of(path),
        }
        for side, path in checkpoints
    ]
    make_folder(folder)
    # a reader that knows no other choice must not take it for the usual one
    told = {"schema": 2, "choice": vars(choice)} if choice and choice != Choice() else {"schema": 1}
    write_atomic(folder / FILE, seal({**told, "members": members}), folder)
    return str(read_sealed(folder / FILE)["digest"])


def is_router(path: Path) -> bool:
    """Say whether ``path`` is a folder of routes."""
    return (path / FILE).is_file()


def read_routes(folder: Path) -> Routes:
    """Return the routes of a folder.

    Raises:
        DataError: damaged, or a member is not the checkpoint that the routes were written for.

    """
    routes = read_sealed(folder / FILE)
    if routes["schema"] not in {1, 2}:
        raise DataError("routes of a later lrfr", file=str(folder / FILE), hint="upgrade lrfr")
    members = [
        Member(entry["up_to_px"], folder / entry["checkpoint"], entry["digest"])
        for entry in routes["members"]
    ]
    for member in members:
        if digest_of(member.checkpoint) != member.digest:
            raise DataError(
                "this checkpoint has changed since the routes were written",
                file=str(member.checkpoint),
                hint="lrfr route again",
            )
    return Routes(members, Choice(**routes.get("choice", {})), str(routes["digest"]))


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
        """Return the input side and the network that takes such an image."""
        embedder: Any = self.members[self.member(height, width)][1]
        side_px, net = embedder.route(height, width)
        return side_px, net if isinstance(net, nn.Module) else None

    def __call__(self, images: Sequence[ImageU8]) -> NDArray[np.float32]:
        """Return raw embeddings float32 [N, D] in the order of ``images``."""
        chosen = np.array([self.member(*image.shape[:2]) for image in images])
        rows: dict[int, NDArray[np.float32]] = {}
        for number in np.unique(chosen):
            indices = np.flatnonzero(chosen == number).tolist()
            rows.update(zip(indices, self.members[number][1]([images[i] for i in indices]), strict=True))
        return np.stack([rows[index] for index in range(len(images))])


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
    opened = [(member.up_to_px, load_embedder(member.checkpoint, device)) for member in routes.members]
    return Router(opened, routes.choice.changed(changes or {})), routes.members, routes.digest
