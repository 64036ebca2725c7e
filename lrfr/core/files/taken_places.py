"""Outputs that would take the place of what is read, or of a file that a store or run holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lrfr.core.errors import SpecError

# what lrfr itself keeps in a store or run folder
_OWN_FOLDERS = {
    "base",
    "lr",
    "views",
    "masks",
    "forgotten",
    "columns",
    "reports",
    "tmp",
    "cache",
    "checkpoints",
}
_OWN_FILES = {"run.json", "journal.jsonl", "run.log", "origin.json", ".lock"}


def refuse_taking(outputs: Iterable[object], read: Iterable[tuple[object, bool]]) -> None:
    """Compare what is written with what is read.

    Args:
        outputs: paths, or several.
        read: paths, or several, each with whether texts name places, too (``kind:path,key=value``).

    Raises:
        SpecError: one of them is the same file or folder, or a file of a store or run that is read.

    """
    inputs = [path for value, is_place in read for path in _paths(value, is_place)]
    for out in _paths(tuple(outputs), True):
        for path in inputs:
            _check(out, path)


def _paths(value: object, is_place: bool) -> Iterator[Path]:
    """Yield the files and folders that a value may name: a path, ``kind:path,key=value`` or several."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _paths(item, is_place)
    elif isinstance(value, Path):
        yield value
    elif is_place and isinstance(value, str) and "\0" not in value and "://" not in value:
        for text in {value, re.split(r"[,;]\w+=|=", re.sub(r"^\w[\w-]*:", "", value))[0]}:
            if text and len(text) < 4096:
                yield Path(text)


def _check(out: Path, path: Path) -> None:
    try:
        if not path.exists():
            return
        there, written = path.resolve(), out.resolve()
    except (OSError, RuntimeError):
        return  # whoever opens it says what is wrong with it
    if written == there:
        raise SpecError(
            "the output would take the place of an input", file=str(out), hint="name another --out"
        )
    if there.is_dir() and written.is_relative_to(there):
        first = written.relative_to(there).parts[0]
        is_own = first in _OWN_FOLDERS or first in _OWN_FILES
        if is_own and ((there / "views").is_dir() or (there / "run.json").exists()):
            raise SpecError(
                f"the output would lie among what {path} is made of", file=str(out), hint="name another --out"
            )
