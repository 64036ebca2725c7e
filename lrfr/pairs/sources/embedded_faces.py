"""The faces that commands degrade: files and folders, or the embedded synthetic ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lrfr.core.progress import SILENT, Hooks
from lrfr.degrade.apply_files import FaceFile, find_faces
from lrfr.pairs.sources.synthetic import render_face

EMBEDDED = 8


def find_inputs(inputs: Sequence[str], out: Path, limit: int | None, hooks: Hooks = SILENT) -> list[FaceFile]:
    """List the faces of ``inputs``; without any, ``limit`` embedded ones (default :data:`EMBEDDED`).

    Raises:
        SpecError: as :func:`lrfr.degrade.apply_files.find_faces`.

    """
    if inputs:
        return find_faces(inputs, out, limit, hooks)
    return [
        FaceFile(
            f"face-{number:04d}",
            b"s0/p%06d/0000" % number,
            lambda number=number: render_face(number, 0, 0)[0],  # type: ignore[misc]
            f"embedded face {number}",
        )
        for number in range(EMBEDDED if limit is None else limit)
    ]


def find_recorded(inputs: Sequence[str], out: Path, keys: Sequence[str]) -> list[FaceFile]:
    """List the faces of ``inputs``; without any, as many embedded ones as ``keys`` name.

    Raises:
        SpecError: as :func:`lrfr.degrade.apply_files.find_faces`.

    """
    needed = max(map(_number, keys), default=0) + 1
    return find_inputs(inputs, out, None if inputs else needed)


def _number(key: str) -> int:
    """Return the number of an embedded face from its key, 0 for any other key."""
    parts = key.split("/")
    digits = parts[1][1:] if len(parts) == 3 and parts[0] == "s0" else ""
    return int(digits) if digits.isdigit() and len(digits) == 6 else 0
