"""A router as a folder of ONNX files with the rule that sends a face to one of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError
from lrfr.core.files import json_of, make_folder, sha256_file
from lrfr.train.backbones.branched import Indicator
from lrfr.train.backbones.branched import Rule as Selection
from lrfr.train.checkpoint import checked
from lrfr.train.weights.export_model import export
from lrfr.train.weights.foreign.foreign_file import ForeignFile, is_foreign
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.routes.router import Choice, Router, joined, read_routes

FILE = "rule.json"


@dataclass(frozen=True)
class RoutedFile:
    """A member: the file that takes faces whose larger side is at most ``up_to_px``; None takes the rest.

    Of several with one side the embedding is the sum of unit embeddings times ``weight``.
    """

    up_to_px: int | None
    file: str
    sha256: str
    weight: float = 1.0


@dataclass(frozen=True)
class Rule:
    """``rule.json``: each face goes to the first member whose ``up_to_px`` is not below its larger side, or
    as :class:`~lrfr.train.weights.routes.router.Choice` says.
    """

    members: tuple[RoutedFile, ...]
    indicator: Indicator = "max"
    rule: Selection = "ceil"


def export_routes(
    path: Path,
    out: Path,
    *,
    card: Mapping[str, str] | None = None,
    int8_faces: NDArray[np.uint8] | None = None,
) -> list[Path]:
    """Write the members of a router as ONNX, each in a folder of its own with its card, and ``rule.json``.

    Raises:
        DataError: damaged, or a member routes by size itself.
        EnvironmentFault: the extra [onnx] is missing, or the folder cannot be written.

    """
    make_folder(out)
    written: list[Path] = []
    members: list[RoutedFile] = []
    routes = read_routes(path)
    for member in routes.members:
        name = "rest" if member.up_to_px is None else f"up-to-{member.up_to_px}"
        before = sum(one.up_to_px == member.up_to_px for one in members)
        folder = out / (f"{name}-{before + 1}" if before else name)
        if is_foreign(member.checkpoint):
            raise DataError(
                "a member that is a file of another program already",
                file=str(member.checkpoint),
                hint="lrfr import-weights makes a checkpoint of it, which can be exported",
            )
        files = export(member.checkpoint, folder, onnx=True, card=card, int8_faces=int8_faces)
        found = [file for file in files if file.suffix == ".onnx"]
        used = found[-1]  # the quantized one where there is one
        if len(found) > (1 if int8_faces is None else 2):
            raise DataError("a member of a router that has branches of its own", file=str(member.checkpoint))
        place = used.relative_to(out).as_posix()
        members.append(RoutedFile(member.up_to_px, place, sha256_file(used), member.weight))
        written += files
    rule = Rule(tuple(members), routes.choice.indicator, routes.choice.rule)
    text = json.dumps(dataclasses.asdict(rule), indent=1)
    (out / FILE).write_text(text + "\n", "utf-8")
    return [*written, out / FILE]


def is_exported(path: Path) -> bool:
    """Say whether a folder holds an exported router."""
    return (path / FILE).is_file()


def load_routes(folder: Path) -> tuple[Router, dict[str, str]]:
    """Return the embedder of an exported router, and the sha256 of every member's file.

    Raises:
        DataError: damaged, a file is not the one of the rule, or it lies outside the folder.

    """
    path = folder / FILE
    try:
        rule = checked(Rule, json_of(path, most=1 << 20), path)
    except (OSError, ValueError, RecursionError):
        raise DataError("not the rule of an exported router", file=str(path)) from None
    if not rule.members or [member.up_to_px is None for member in rule.members] != [False] * (
        len(rule.members) - 1
    ) + [True]:
        raise DataError("the last member, and no other, takes the rest", file=str(path))
    opened: dict[int | None, list[tuple[float, Embedder]]] = {}
    for member in rule.members:
        file = folder / member.file
        if not file.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"a member outside the folder: {member.file!r}", file=str(path))
        if not file.is_file() or sha256_file(file) != member.sha256:
            raise DataError("the file is missing or not the one of the rule", file=str(file))
        opened.setdefault(member.up_to_px, []).append((member.weight, ForeignEmbedder(ForeignFile(file))))
    choice = Choice(rule.indicator, rule.rule)
    return Router(joined(opened), choice), {member.file: member.sha256 for member in rule.members}
