"""Which of the faces that a source lists are one and the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrfr.pairs.sources.base import Face


def distinct(faces: Sequence[Face]) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
    """Return the faces of which each usable one has a key of its own, and the repeated ones.

    A face that is listed again with the same place, label and all is passed over. Faces that differ under one
    key are refused, every one of them: whichever was kept would depend on the order of the list.
    """
    # names stand in the store with a NUL between them
    names = {name for face in faces for name in (face.label, face.split, *face.attributes)}
    if any("\0" in name for name in names):
        faces = list(map(_without_nul, faces))
    if len({face.key for face in faces}) == len(faces):
        return tuple(faces), ()
    first: dict[str, Face] = {}
    clashing: set[str] = set()
    kept, repeated = [], []
    for face in faces:
        if face.key not in first:
            first[face.key] = face
            kept.append(face)
        elif first[face.key] == face:
            repeated.append(face)
        else:
            clashing.add(face.key)
            kept.append(face)
    if clashing:
        kept = [replace(face, fault="E_KEY") if face.key in clashing else face for face in kept]
    return tuple(kept), tuple(repeated)


def _without_nul(face: Face) -> Face:
    if not any("\0" in name for name in (face.label, face.split, *face.attributes)):
        return face
    return replace(face, label="", split="", attributes={}, fault="E_LABEL", detail="a NUL in a name")
