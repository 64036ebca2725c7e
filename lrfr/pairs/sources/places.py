"""The place of ``kind:place``: a path, which may hold commas, and options behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from lrfr.core.errors import SpecError, as_path, did_you_mean


def place_options(text: str, names: Sequence[str]) -> tuple[Path, dict[str, list[str]]]:
    """Split ``PATH,name=value,name=value`` into the path and the values of each option.

    A path that is there is taken as a whole, whatever it is called; else commas belong to the path or to a
    value unless the name of an option follows.

    Raises:
        SpecError: an option of another name, or no path.

    """
    if os.path.exists(text):  # of no name that a file may have, it says no
        return Path(text), {}
    marks = list(re.finditer(rf",({'|'.join(names)})=", text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    found: dict[str, list[str]] = {}
    for mark, end in zip(marks, ends, strict=False):
        found.setdefault(mark[1], []).append(text[mark.end() : end])
    path = as_path(text[: marks[0].start()] if marks else text or ".", "a source")
    unknown = re.search(r",(\w+)=[^/]*$", str(path))
    if unknown and not os.path.exists(path):
        raise SpecError(
            f"unknown option '{unknown[1]}'",
            file=str(path)[: unknown.start()],
            hint=did_you_mean(unknown[1], names),
        )
    return path, found


def is_kind_of_source(text: str) -> bool:
    """Say whether a text is ``kind:place`` or an address, not a path (a single letter is a drive)."""
    return re.match(r"[a-z][a-z0-9-]+:", text) is not None and not Path(text).exists()


def from_anywhere(text: str) -> str:
    """Return a path, or ``kind:place`` with its options, that means the same from every folder: relative
    paths become absolute where something lies at them here (for a pattern: at its folder).
    """
    if not is_kind_of_source(text):
        return str(Path(text).absolute())
    kind, _, rest = text.partition(":")
    if "://" in text:
        return text
    # sources of a source, then its options, each with a path or none
    parts = re.split(r"(\||,\w+=)", rest)
    return f"{kind}:{''.join(map(_from_anywhere, parts))}"


def _from_anywhere(part: str) -> str:
    if is_kind_of_source(part):
        return from_anywhere(part)
    if not part or part.isdecimal():
        return part
    pattern = re.search(r"[*?\[{]", part) and os.path.isdir(os.path.dirname(part) or ".")
    return str(Path(part).absolute()) if pattern or os.path.exists(part) else part


def below(name: str, root: Path) -> str:
    r"""Return a listed path as one below the root, with ``/`` between folders: Windows' ``\`` is one, and an
    absolute path that lies in the root loses what stands before.
    """
    if "\\" in name and not (root / name).exists():
        name = name.replace("\\", "/")
    plain = name.removeprefix("./")
    for start in (root, root.resolve()):
        if plain.startswith(f"{start}/"):
            return plain.removeprefix(f"{start}/")
    return plain
