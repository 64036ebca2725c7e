"""The source ``tar``: WebDataset archives, read in place; nothing is ever extracted."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.pairs.sources.base import Content, Face, Place, Source

_LABEL_SUFFIXES = (".cls", ".txt", ".id")
_MAX_META_BYTES = 1 << 20


@dataclass(frozen=True)
class TarSource(Source):
    """WebDataset archives: one ``.tar`` or a folder of them, read in place.

    A sample is all files with one stem; its label comes from ``.json``, ``.cls`` or its folder. Where a
    sample has several images (``000.hr.jpg``, ``000.lr.png``), ``.hr`` is taken, else the first by name.
    """

    path: Path
    kind = "tar"

    def archives(self) -> list[Path]:
        """Return the archives in order."""
        found = sorted(self.path.glob("*.tar")) if self.path.is_dir() else [self.path]
        if not found or not all(path.is_file() for path in found):
            raise SpecError("no .tar archive here", file=str(self.path))
        return found

    def faces(self) -> list[Face]:
        """List one image a sample."""
        archives = self.archives()
        faces = []
        for number, path in enumerate(archives):
            for stem, members in _samples(path).items():
                image = _image_of(members)
                if image is not None:
                    prefix = f"{path.stem}/" if len(archives) > 1 else ""
                    faces.append(_face(path, prefix + stem, members, (number, *members[image])))
        return faces

    def read(self, place: Place) -> Content:
        """Read the bytes of one member."""
        number, offset, size = place
        path = self.archives()[number]
        try:
            with path.open("rb") as handle:
                data = os.pread(handle.fileno(), size, offset)
        except OSError as error:
            raise ImageFault("E_READ", error.strerror or "", file=str(path)) from None
        if len(data) != size:
            raise ImageFault("E_TRUNCATED", file=str(path))
        return data

    def describe(self) -> dict[str, str | int]:
        """Name the archive or folder."""
        return {"kind": self.kind, "name": self.path.resolve().name}


def _samples(path: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Return stem -> suffix -> (offset, size) of every regular member, bounds checked.

    Raises:
        DataError: not a tar archive, a member beyond its end, or two members of one name.

    """
    total = path.stat().st_size
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isreg() or member.issparse():
                    continue
                if member.offset_data + member.size > total:
                    raise DataError(
                        f"member {member.name!r} claims {member.size} bytes, the archive ends before",
                        file=str(path),
                    )
                folder, name = os.path.split(member.name)
                stem, dot, suffix = name.partition(".")
                parts = samples.setdefault(os.path.join(folder, stem), {})
                if dot + suffix in parts:
                    raise DataError(f"two members are called {member.name!r}", file=str(path))
                parts[dot + suffix] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise DataError(f"not a whole tar archive: {error}", file=str(path)) from None
    return samples


def _image_of(members: dict[str, tuple[int, int]]) -> str | None:
    images = sorted(
        suffix
        for suffix in members
        if os.path.splitext(suffix)[1].lower() in IMAGE_SUFFIXES or suffix.lower() in IMAGE_SUFFIXES
    )
    return next((suffix for suffix in images if suffix.startswith(".hr")), images[0] if images else None)


def _face(path: Path, key: str, members: dict[str, tuple[int, int]], place: Place) -> Face:
    label = PurePosixPath(key).parent.name
    attributes: dict[str, int] = {}
    with path.open("rb") as handle:
        if ".json" in members:
            meta = _meta(handle.fileno(), members[".json"], path)
            key = str(meta.get("key", key))
            label = str(meta.get("label", meta.get("identity", label)))
            attributes = {
                str(name): int(value)
                for name, value in dict(meta.get("attributes", {})).items()
                if value in {0, 1}
            }
        else:
            for suffix in _LABEL_SUFFIXES:
                if suffix in members and members[suffix][1] <= 256:
                    offset, size = members[suffix]
                    label = os.pread(handle.fileno(), size, offset).decode("utf-8", "replace").strip()
    return Face(key, label, place, attributes)


def _meta(descriptor: int, span: tuple[int, int], path: Path) -> dict[str, Any]:
    offset, size = span
    try:
        value = json.loads(os.pread(descriptor, min(size, _MAX_META_BYTES), offset))
    except (ValueError, RecursionError):
        raise DataError("a .json member is not JSON", file=str(path), path=f"byte {offset}") from None
    if not isinstance(value, dict) or not isinstance(value.get("attributes", {}), dict):
        raise DataError("a .json member is not an object", file=str(path), path=f"byte {offset}")
    return value
