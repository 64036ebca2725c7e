"""The faces of a studio: those of a folder or the embedded ones, and those that a tab has uploaded."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lrfr.core.errors import DataError, ImageFault
from lrfr.core.image import ImageU8, decode, square_fit
from lrfr.core.progress import SILENT, Hooks
from lrfr.degrade.apply_files import FaceFile, find_faces
from lrfr.pairs.sources.embedded_faces import find_inputs

EMBEDDED = 48
MAX_UPLOAD_BYTES = 16 * 1024 * 1024
_KEPT, _UPLOADS, _TARGETS, _UPLOAD_PX = 192, 48, 256, 1024


class Face(NamedTuple):
    """A face that is degraded: its number or id, name, sample key and pixels, uint8 [side, side, 3]."""

    id: int | str
    name: str
    key: bytes
    pixels: ImageU8


@dataclass(frozen=True)
class Uploaded:
    """A picture that a tab has brought: its file's name and pixels."""

    name: str
    pixels: ImageU8


class FaceBook:
    """Faces by number, read when they are looked at; the last few are kept.

    Args:
        folder: of faces; None for the embedded ones.
        hooks: told of what lies in the folder and is not used.

    Raises:
        SpecError: there is no face in the folder.

    """

    def __init__(self, folder: Path | None, hooks: Hooks = SILENT) -> None:
        nowhere = Path("/dev/null")
        if folder is None:
            self.files: Sequence[FaceFile] = find_inputs((), nowhere, EMBEDDED)
        else:
            self.files = find_faces([str(folder)], nowhere, None, hooks)
        self.folder = folder
        self._kept: OrderedDict[tuple[int | str, int], Face] = OrderedDict()
        self._uploads: OrderedDict[str, Uploaded] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.files)

    def faces(self, ids: Iterable[int | str], size_px: int) -> tuple[list[Face], list[tuple[int | str, str]]]:
        """Return faces, cut and brought to a size, and (id, reason) of those that are no usable image.

        Raises:
            DataError: there is no such face.

        """
        found, refused = [], []
        for one in ids:
            try:
                found.append(self._face(one, size_px))
            except ImageFault as fault:
                refused.append((one, fault.message))
        return found, refused

    def _face(self, one: int | str, size_px: int) -> Face:
        with self._lock:
            face = self._kept.get((one, size_px))
            if face is not None:
                self._kept.move_to_end((one, size_px))
                return face
        face = self._read(one, size_px)
        with self._lock:
            self._kept[one, size_px] = face
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return face

    def _read(self, one: int | str, size_px: int) -> Face:
        if isinstance(one, str):
            with self._lock:
                upload = self._uploads.get(one)
            if upload is None:
                raise DataError("there is no uploaded face of this id", hint="upload it again")
            name = upload.name
            return Face(
                one, name, name.encode("utf-8", "surrogateescape"), square_fit(upload.pixels, size_px)
            )
        if not 0 <= one < len(self.files):
            raise DataError(f"there is no face {one}; there are {len(self.files)}")
        file = self.files[one]
        return Face(one, file.name, file.key, file.load(size_px)[0])

    def upload(self, tab: str, name: str, data: bytes) -> str:
        """Keep a picture for a tab and return its id; the oldest of all gives way.

        Raises:
            ImageFault: it is no usable image.

        """
        pixels = decode(data)
        pixels = square_fit(pixels, min(_UPLOAD_PX, *pixels.shape[:2]))
        mark = hashlib.sha256(tab.encode() + b"\0" + name.encode("utf-8", "replace") + b"\0" + data)
        with self._lock:
            self._uploads[mark.hexdigest()[:32]] = Uploaded(name, pixels)
            while len(self._uploads) > _UPLOADS:
                self._uploads.popitem(last=False)
        return mark.hexdigest()[:32]


def read_crops(folder: Path, hooks: Hooks = SILENT) -> list[ImageU8]:
    """Return up to 256 crops of a camera, spread over a folder, at their own size; what is no usable image is
    told.

    Raises:
        SpecError: there is no image in the folder.
        DataError: none is usable.

    """
    files = find_faces([str(folder)], Path("/dev/null"), None, hooks)
    step = max(1, len(files) / _TARGETS)
    crops, reasons = [], []
    for number in range(min(_TARGETS, len(files))):
        file = files[int(number * step)]
        content = file.read()
        try:
            crops.append(decode(content) if isinstance(content, bytes) else content)
        except ImageFault as fault:
            reasons.append(fault.message)
            hooks.note(f"left out {file.shown}: {fault.message}")
    if not crops:
        raise DataError(f"none of {len(reasons)} crops is a usable image", file=str(folder), hint=reasons[0])
    return crops
