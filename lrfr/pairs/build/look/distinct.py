"""Which of the faces that a source lists are one and the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.sources.base import Face, FaceList


def distinct(listed: Sequence[Face]) -> tuple[FaceList, FaceList]:
    """Return the faces of which each usable one has a key of its own, and the repeated ones.

    A face that is listed again with the same place, label and all is passed over. Faces that differ under one
    key are refused, every one of them: whichever was kept would depend on the order of the list.
    """
    faces = FaceList.of(listed)
    # names stand in the store with a NUL between them
    if any("\0" in name for name in faces.names()):
        faces = FaceList(map(_without_nul, faces))
    first: dict[str, Face] = {}
    clashing: set[str] = set()
    stays, rows = np.ones(len(faces), bool), _alike(faces).tolist()
    for row in rows:
        face = faces[row]
        if face.key not in first:
            first[face.key] = face
        elif first[face.key] == face:
            stays[row] = False
        else:
            clashing.add(face.key)
    if clashing:
        faces = faces.refused({row: "E_KEY" for row in rows if faces[row].key in clashing})
    if stays.all():
        return faces, FaceList()
    return faces.take(np.flatnonzero(stays)), faces.take(np.flatnonzero(~stays))


def _alike(faces: FaceList) -> NDArray[np.int64]:
    """Return the rows whose key another one may have: of two equal keys, both are there."""
    hashes = np.fromiter(map(hash, faces.keys()), np.int64, len(faces))
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    return np.flatnonzero(np.isin(hashes, repeated)) if len(repeated) else np.zeros(0, np.int64)


def _without_nul(face: Face) -> Face:
    if not any("\0" in name for name in (face.label, face.split, *face.attributes)):
        return face
    return replace(face, label="", split="", attributes={}, fault="E_LABEL", detail="a NUL in a name")
