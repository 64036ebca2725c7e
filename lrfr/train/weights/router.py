"""Several recognizers behind one door: a face goes to the one for its size (the routing of BTNet, for any
checkpoints).

``routes.json`` in a folder names the members, each with its largest side and the digest of its checkpoint.
Their embeddings must live in one space to be compared: students that were taught by the member for large
faces do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import make_folder, read_sealed, seal, write_atomic
from lrfr.core.image import ImageU8
from lrfr.train.checkpoint import digest_of, resolve
from lrfr.train.weights.load_nets import load_embedder

FILE = "routes.json"


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


def write_routes(folder: Path, runs: Sequence[tuple[int | None, Path]]) -> str:
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
    write_atomic(folder / FILE, seal({"schema": 1, "members": members}), folder)
    return str(read_sealed(folder / FILE)["digest"])


def is_router(path: Path) -> bool:
    """Say whether ``path`` is a folder of routes."""
    return (path / FILE).is_file()


def read_routes(folder: Path) -> tuple[list[Member], str]:
    """Return the members, smallest side first, and the digest of the routes.

    Raises:
        DataError: damaged, or a member is not the checkpoint that the routes were written for.

    """
    routes = read_sealed(folder / FILE)
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
    return members, str(routes["digest"])


class Router:
    """Embed every face with the member for its larger side.

    Args:
        members: (largest side in px or None, embedder), smallest side first.

    """

    def __init__(self, members: Sequence[tuple[int | None, Embedder]]) -> None:
        self.members = list(members)

    def member(self, height: int, width: int) -> int:
        """Return the number of the member for an image: the smallest side that is not below its larger
        side.
        """
        return next(
            number
            for number, (side, _) in enumerate(self.members)
            if side is None or max(height, width) <= side
        )

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


def load_router(folder: Path, device: str = "cpu") -> tuple[Router, list[Member], str]:
    """Load all members; return the embedder, its members and the digest of the routes."""
    members, digest = read_routes(folder)
    return (
        Router([(member.up_to_px, load_embedder(member.checkpoint, device)) for member in members]),
        members,
        digest,
    )
