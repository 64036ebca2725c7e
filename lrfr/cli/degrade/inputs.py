"""The faces that ``lrfr degrade`` works on: files, folders, or the embedded synthetic ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from lrfr.core.errors import SpecError
from lrfr.core.image import IMAGE_SUFFIXES, ImageFault, ImageU8, decode, read_bytes
from lrfr.degrade.ops.resize import resize_batch

EMBEDDED = 8


@dataclass(frozen=True)
class FaceFile:
    """One face to degrade.

    Attributes:
        name: relative path without suffix; outputs are named after it.
        key: sample key of its random streams.
        path: the file, or None for an embedded face.
        number: identity of an embedded face.

    """

    name: str
    key: bytes
    path: Path | None = None
    number: int = 0

    def load(self, size_px: int) -> ImageU8:
        """Return the face as a square of ``size_px``.

        Raises:
            ImageFault: the file is no usable image.

        """
        if self.path is not None:
            return fit_square(decode(read_bytes(self.path)), size_px)
        from lrfr.pairs.sources.synthetic import render_face

        return fit_square(render_face(self.number, 0, 0)[0], size_px)


def fit_square(image: ImageU8, size_px: int) -> ImageU8:
    """Crop the central square and bring it to ``size_px`` with the antialiased bicubic filter."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    return np.asarray(resize_batch(square[None], size_px, "bicubic", True)[0], np.uint8)


def find_faces(inputs: Sequence[str], out: Path, limit: int | None) -> list[FaceFile]:
    """List the faces of files and folders in a fixed order; without inputs, the embedded ones.

    Args:
        inputs: files and folders; folders are walked, other files in them are ignored.
        out: output folder, skipped when it lies inside an input.
        limit: at most so many faces (default: all; of the embedded ones :data:`EMBEDDED`).

    Raises:
        SpecError: an input does not exist, or two faces would write the same file.

    """
    if not inputs:
        count = EMBEDDED if limit is None else limit
        return [
            FaceFile(f"face-{number:04d}", b"s0/p%06d/0000" % number, None, number) for number in range(count)
        ]
    found = [face for item in inputs for face in _faces_in(Path(item), out)]
    seen: dict[str, FaceFile] = {}
    for face in found[:limit]:
        if face.name in seen:
            raise SpecError(
                f"'{seen[face.name].path}' and '{face.path}' would both write {face.name}.v0.png",
                hint="degrade them apart",
            )
        seen[face.name] = face
    if not seen:
        raise SpecError(
            f"no image files in {', '.join(inputs)}", hint=f"suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return list(seen.values())


def _faces_in(item: Path, out: Path) -> Iterator[FaceFile]:
    if item.is_dir():
        skipped = out.resolve()
        for path in sorted(item.rglob("*"), key=lambda path: path.as_posix()):
            if (
                path.suffix.lower() in IMAGE_SUFFIXES
                and path.is_file()
                and skipped not in path.resolve().parents
            ):
                yield _face(path, PurePosixPath(path.relative_to(item).as_posix()))
    elif item.exists():
        yield _face(item, PurePosixPath(item.name))
    else:
        raise SpecError("no such file or folder", file=str(item))


def _face(path: Path, relative: PurePosixPath) -> FaceFile:
    return FaceFile(str(relative.with_suffix("")), str(relative).encode("utf-8", "surrogateescape"), path)


def load_faces(
    faces: Sequence[FaceFile], size_px: int
) -> tuple[list[tuple[FaceFile, ImageU8]], list[dict[str, str]]]:
    """Load faces; those that are no usable image are returned as (file, code, reason) records instead."""
    loaded, refused = [], []
    for face in faces:
        try:
            loaded.append((face, face.load(size_px)))
        except ImageFault as fault:
            refused.append({"file": str(face.path), "code": fault.code, "reason": fault.message})
    return loaded, refused
