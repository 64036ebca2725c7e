"""Splits of faces from a list of one's own, for a source of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lrfr.core.errors import SpecError
from lrfr.core.lists import Shape, match_names, read_keyed
from lrfr.pairs.sources.base import FaceList

_SPLIT = Shape("key<tab>split", (1,))


def with_splits(faces: FaceList, path: Path, notes: list[str]) -> FaceList:
    """Give faces the split that a file says; a key of the file that the source lacks is an error."""
    keys = {face.key for face in faces}
    rows = read_keyed(path, _SPLIT, keys)
    match = match_names({row.key for row in rows}, keys)
    splits: dict[str, str] = {}
    for line, name, (split,) in rows:
        if name not in match.known:
            missing = len({row.key for row in rows}) - len(match.known)
            raise SpecError(
                f"the split file names {missing} unknown keys, the first is {name!r}",
                file=str(path),
                line=line,
                hint=f"the source's look like '{min(keys, default='')}'",
            )
        if splits.setdefault(match.known[name], split) != split:
            raise SpecError(f"{name!r} is given two splits", file=str(path), line=line)
    if match.how:
        notes.append(f"{len(match.known)} keys of {path.name} match {match.how}")
    names = sorted({"", *splits.values()})
    number = {name: place for place, name in enumerate(names)}
    numbers = np.fromiter((number[splits.get(face.key, "")] for face in faces), np.int32, len(faces))
    return faces.with_splits(numbers, names)
