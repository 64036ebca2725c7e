"""A router as a folder of ONNX files with the rule that sends a face to one of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.files import json_of, make_folder, sha256_file
from lrfr.train.backbones.branched import Indicator
from lrfr.train.backbones.branched import Rule as Selection
from lrfr.train.checkpoint import checked
from lrfr.train.weights.export_model import export
from lrfr.train.weights.foreign.foreign_file import ForeignFile
from lrfr.train.weights.foreign.subject import ForeignEmbedder
from lrfr.train.weights.router import Choice, Router, read_routes

FILE = "rule.json"


@dataclass(frozen=True)
class RoutedFile:
    """A member: the file that takes faces whose larger side is at most ``up_to_px``; None takes the rest."""

    up_to_px: int | None
    file: str
    sha256: str


@dataclass(frozen=True)
class Rule:
    """``rule.json``: each face goes to the first member whose ``up_to_px`` is not below its larger side, or
    as :class:`~lrfr.train.weights.router.Choice` says.
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
    written, members = [], []
    routes = read_routes(path)
    for member in routes.members:
        folder = out / ("rest" if member.up_to_px is None else f"up-to-{member.up_to_px}")
        files = export(member.checkpoint, folder, onnx=True, card=card, int8_faces=int8_faces)
        found = [file for file in files if file.suffix == ".onnx"]
        used = found[-1]  # the quantized one where there is one
        if len(found) > (1 if int8_faces is None else 2):
            raise DataError("a member of a router that has branches of its own", file=str(member.checkpoint))
        members.append(RoutedFile(member.up_to_px, used.relative_to(out).as_posix(), sha256_file(used)))
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
    opened = []
    for member in rule.members:
        file = folder / member.file
        if not file.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"a member outside the folder: {member.file!r}", file=str(path))
        if not file.is_file() or sha256_file(file) != member.sha256:
            raise DataError("the file is missing or not the one of the rule", file=str(file))
        opened.append((member.up_to_px, ForeignEmbedder(ForeignFile(file))))
    choice = Choice(rule.indicator, rule.rule)
    return Router(opened, choice), {member.file: member.sha256 for member in rule.members}
