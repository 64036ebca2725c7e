"""A first look at a few faces of a source: the order of their channels, and whether they are aligned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lrfr.pairs.align.unaligned import spread, unaligned_faces
from lrfr.pairs.build.look.channel_order import evenly_spaced, faces_look_swapped
from lrfr.pairs.build.look.listing_cache import ListingCache
from lrfr.pairs.sources.base import Face, FaceList, Source, in_key_order


def first_look(
    source: Source, faces: FaceList, kept: ListingCache | None, *, color: bool, aligned: bool
) -> tuple[bool, str]:
    """Return whether red and blue look swapped (``color``), and what to say of faces that look unaligned
    (``aligned``), from a few of them; a source that renders its faces is not looked at.
    """
    if not faces or not (color or aligned) or source.fingerprint(faces[0].place) is not None:
        return False, ""
    ordered = in_key_order(faces)

    def look(name: str, some: Sequence[Face], at: Callable[[Source, Sequence[Face]], Any]) -> Any:
        return kept.look(name, some, partial(at, source, some)) if kept else at(source, some)

    swapped = color and look("color", evenly_spaced(ordered), faces_look_swapped)
    return bool(swapped), str(look("aligned", spread(ordered), unaligned_faces)) if aligned else ""
