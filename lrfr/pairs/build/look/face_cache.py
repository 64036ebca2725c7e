"""What was found in photographs, kept by their content: a search that was killed goes on, and the same bytes
are never searched twice.

One line a photograph, appended as they come. It may only save time: a line that is torn, damaged or foreign
is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lrfr.core.errors import REASONS
from lrfr.core.files import canonical, data_of, digest_of, make_folder, opened_to_append, parsed
from lrfr.core.files.inside import part_of
from lrfr.pairs.align.aligner import REMARK_TEXTS, Remark
from lrfr.pairs.align.landmark_table import LandmarkRow
from lrfr.pairs.build.look.face_search import FoundFaces


class FaceCache:
    """The lines of one cache file.

    Args:
        path: the file, which need not be there.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[bytes, FoundFaces] = {}
        self._whole = True
        try:
            data = data_of(path, linked=False)
        except OSError:
            data = b""
        for line in data.split(b"\n"):
            self._read(line)
        self._whole = not data or data.endswith(b"\n")

    def __len__(self) -> int:
        return len(self._known)

    def get(self, sha256: bytes) -> FoundFaces | None:
        """Return what is known of the photograph whose content has this digest."""
        return self._known.get(sha256)

    def add(self, entries: Iterable[tuple[bytes, FoundFaces]]) -> None:
        """Remember what was found in some photographs, in one write; a full disk is told by others."""
        rows = [(sha256, found) for sha256, found in entries if found.code in {"", "E_NO_FACE"}]
        self._known.update(rows)
        if not rows:
            return
        data = b"".join(canonical(_line_of(sha256, found)) for sha256, found in rows)
        try:
            make_folder(self._path.parent)
            with opened_to_append(self._path) as handle:
                # what a killed run left unfinished ends here
                handle.write(data if self._whole else b"\n" + data)
            self._whole = True
        except OSError:
            self._whole = False

    def _read(self, line: bytes) -> None:
        try:
            value = parsed(line)
            sha256, check = bytes.fromhex(value["sha256"]), value.pop("check")
            found = FoundFaces(tuple(_face_of(face) for face in value["faces"]), value["code"])
            if check == _check(value) and bool(found.faces) != bool(found.code in REASONS):
                self._known[sha256] = found
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return


def _line_of(sha256: bytes, found: FoundFaces) -> dict[str, object]:
    faces = [
        [list(face.points), face.score, [[remark.code, remark.value] for remark in face.remarks]]
        for face in found.faces
    ]
    value: dict[str, object] = {"sha256": sha256.hex(), "faces": faces, "code": found.code}
    return {**value, "check": _check(value)}


def _check(value: dict[str, object]) -> str:
    return digest_of(value)[:16]


def _face_of(value: list[object]) -> LandmarkRow:
    points, score, remarks = value
    if not isinstance(points, list) or not isinstance(remarks, list) or len(points) != 10:
        raise TypeError(value)
    told = tuple(Remark(code, float(number)) for code, number in remarks)
    if any(remark.code not in REMARK_TEXTS for remark in told):
        raise ValueError(value)
    return LandmarkRow("", tuple(map(float, points)), float(str(score)), told)


def cache_path(store: Path, digest: str) -> Path:
    """Return the file of what one way of searching found."""
    return part_of(store, "cache", f"faces-{digest[:16]}.jsonl")
