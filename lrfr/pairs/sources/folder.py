"""The sources ``folder`` (one folder per identity, any depth) and ``lfw`` (the same, with the images of a
``pairs.txt``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.files import read_bytes
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.lists import read_rows
from lrfr.pairs.sources.base import Content, Face, Place, Source


@dataclass(frozen=True)
class FolderSource(Source):
    """A folder with one folder a person, any depth.

    The first folder below the root names the identity; images that lie directly in the root have none (label
    "").
    """

    root: Path
    kind = "folder"

    def faces(self) -> list[Face]:
        """List every file with an image suffix; links to folders are not followed (no loops)."""
        if not self.root.is_dir():
            raise SpecError("not a folder", file=str(self.root))
        found = []
        for folder, folders, files in os.walk(self.root, followlinks=False):
            folders.sort()
            for name in sorted([*files, *(item for item in folders if _looks_like_image(item))]):
                if _looks_like_image(name):
                    relative = os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/")
                    found.append(
                        Face(relative, relative.split("/", 1)[0] if "/" in relative else "", relative)
                    )
        if not found:
            raise SpecError(
                "no image files here",
                file=str(self.root),
                hint=f"known suffixes: {' '.join(sorted(IMAGE_SUFFIXES))}",
            )
        return found

    def read(self, place: Place) -> Content:
        """Read one file."""
        return read_bytes(self.root / place)

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the file's size, times and inode."""
        return file_stamp(self.root / place)

    def describe(self) -> dict[str, str | int]:
        """Name the folder, without its parents."""
        return {"kind": self.kind, "name": self.root.resolve().name}


def _looks_like_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def file_stamp(path: Path) -> tuple[int, ...] | None:
    """Return (size, mtime, ctime, inode) of a file, None if it cannot be asked."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@dataclass(frozen=True)
class LfwSource(FolderSource):
    """Labeled Faces in the Wild: ``<Name>/<Name>_0001.jpg``, only what its ``pairs.txt`` names."""

    kind = "lfw"

    def faces(self) -> list[Face]:
        """List the images that ``pairs.txt`` names (all images where there is none)."""
        faces = [face for face in super().faces() if face.label]
        index = self.root / "pairs.txt"
        if not index.exists():
            return faces
        wanted = {key for first, second, _, _ in read_pairs_txt(index) for key in (first, second)}
        chosen = [face for face in faces if face.key.rsplit(".", 1)[0] in wanted]
        if len(chosen) < len(wanted):
            missing = sorted(wanted - {face.key.rsplit(".", 1)[0] for face in chosen})
            raise SpecError(
                f"{len(missing)} images of the list are missing, the first is {missing[0]}", file=str(index)
            )
        return chosen


def read_pairs_txt(path: Path) -> list[tuple[str, str, bool, int]]:
    """Read LFW's ``pairs.txt``.

    Returns:
        (first key, second key, same person, fold) per pair; keys are ``Name/Name_0001`` without a suffix.

    Raises:
        SpecError: a line is malformed, with its number.

    """
    rows = read_rows(path, "name i j' or 'name i other j")
    header = rows[0].fields if rows else []
    folds, per_fold = (
        (int(header[0]), int(header[1])) if len(header) == 2 and all(map(str.isdigit, header)) else (1, 0)
    )
    pairs: list[tuple[str, str, bool, int]] = []
    for number, parts in rows[1:] if header and header[0].isdigit() else rows:
        fold = min(folds - 1, len(pairs) // (2 * per_fold)) if per_fold else 0
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            pairs.append((_lfw_key(parts[0], parts[1]), _lfw_key(parts[0], parts[2]), True, fold))
        elif len(parts) == 4 and parts[1].isdigit() and parts[3].isdigit():
            pairs.append((_lfw_key(parts[0], parts[1]), _lfw_key(parts[2], parts[3]), False, fold))
        else:
            raise SpecError("expected 'name i j' or 'name i other j'", file=str(path), line=number)
    return pairs


def _lfw_key(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}"
