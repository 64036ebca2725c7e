"""What lies inside a folder that lrfr owns: named so that no name and no link leads out of it, and
removed so that nothing outside is touched and nothing half removed looks whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lrfr.core.errors import DataError, SpecError, as_path
from lrfr.core.files.leftovers import temp_name
from lrfr.core.files.reading import entries_of
from lrfr.core.files.writing import make_folder, write_fault

_VIEW = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
# names in the folders of a store
_SHAPES = {
    "base": re.compile("[0-9a-f]{16}"),
    "lr": re.compile("[0-9a-f]{16}"),
    "columns": re.compile("[0-9a-f]{16}"),
    "masks": re.compile(r"[0-9a-f]{64}\.npy"),
    "reports": re.compile(rf"{_VIEW}\.(json|quarantine\.jsonl|landmarks\.tsv)"),
    "cache": re.compile(r"(scan|listing)-[0-9a-f]{16}\.bin|(faces|looks)-[0-9a-f]{16}\.jsonl?"),
    "tmp": re.compile(r".+\.[^.]+\.[0-9]+\.[0-9]+([-.].*)?", re.DOTALL),
}

NAMED = tuple(_SHAPES)


def part_of(root: Path, kind: str, name: str = "") -> Path:
    """Return the folder ``kind`` of a store at ``root``, or what it holds under a name.

    Raises:
        SpecError: the name could lead out of the folder.
        DataError: the folder is a link: it would lead out of the store. What it holds may be one: it is read
            there, and never written or removed.

    """
    if not isinstance(name, str) or name in {".", ".."} or "/" in name:
        raise SpecError(f"{name!r} is no name of a part of a store", file=str(root))
    found = root / kind / as_path(name, "a part of a store") if name else root / kind
    refuse_link(root / kind)
    return found


def own_entries(root: Path, kind: str) -> list[Path]:
    """Return what the folder ``kind`` of a store at ``root`` holds under a name that lrfr gives: what may be
    removed. The rest is somebody's, who keeps a store among other things.

    Raises:
        DataError, EnvironmentFault: as :func:`part_of` and :func:`lrfr.core.files.reading.entries_of`.

    """
    shape = _SHAPES[kind]
    return [path for path in entries_of(part_of(root, kind)) if shape.fullmatch(path.name)]


def refuse_link(folder: Path) -> None:
    """Refuse a folder that is to be written in or listed, and is a link.

    Raises:
        DataError: it would lead out of the store.

    """
    if folder.is_symlink():
        raise DataError(
            "a link where a folder of its own belongs",
            file=str(folder),
            hint="move what it leads to in its place; the whole store or experiment may be a link",
        )


def remove(path: Path) -> None:
    """Remove a file, folder or link, never what a link leads to; manifests go first, so that a half-removed
    folder never looks whole, nor one in it.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            for folder, _, names in os.walk(path):  # it enters no link
                if "manifest.json" in names:
                    os.unlink(os.path.join(folder, "manifest.json"))
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_fault(error, path, 0) from error


def clear_out(paths: Sequence[Path], tmp: Path) -> None:
    """Move what is to go into ``tmp``, one rename each, then remove it there: killed in between,
    nothing is half there under its name.

    Raises:
        EnvironmentFault: something cannot be moved or removed.

    """
    make_folder(tmp)
    gone = []
    for path in paths:
        target = path if path.parent == tmp else temp_name(tmp, path.name)
        try:
            if target != path:
                os.rename(path, target)
        except FileNotFoundError:
            continue  # it lay in something that went before
        except OSError as error:
            raise write_fault(error, path, 0) from error
        gone.append(target)
    for path in gone:
        remove(path)


def is_inside(path: Path, root: Path) -> bool:
    """Return whether a path lies below a folder once the links of the folders on its way are followed."""
    try:
        return path.parent.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no name at all
        return False
