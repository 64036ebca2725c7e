"""Clean faces of other people, which simulations start from: read once into one file, split by people."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import REASONS, DataError, ImageFault
from lrfr.core.files import digest_of, make_folder, write_whole
from lrfr.core.image import ImageU8, square_fit
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.pairs.executors.picture_limits import picture_within_limits
from lrfr.pairs.format.disk.array_file import map_array
from lrfr.pairs.sources.base import in_key_order
from lrfr.pairs.sources.table import open_source

LEAST_FACES = 60
SIZE_PX = 112


@dataclass(frozen=True)
class Faces:
    """Clean faces in one file, for workers.

    Attributes:
        file: ``.npy`` of uint8 [N, S, S, 3].
        digest: of its content.
        count: N.

    """

    file: Path
    digest: str
    count: int

    def take(self, rows: Sequence[int]) -> list[ImageU8]:
        """Return some of them."""
        found = map_array(self.file)
        return [np.array(found[row]) for row in rows]


@dataclass(frozen=True)
class CleanFaces:
    """Clean faces for simulations.

    Attributes:
        faces: their pixels, in a file.
        labels: identity of each, its own key where there is none.
        parts: ``fit``, ``validation`` and ``test``: rows of people that no other part has.
        notes: what a person should know.

    """

    faces: Faces
    labels: tuple[str, ...]
    parts: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]


def read_faces(
    place: str, folder: Path, *, limit: int = 1500, seed: int = 0, hooks: Hooks = SILENT
) -> CleanFaces:
    """Read clean faces of 112 px into a file of ``folder``.

    Raises:
        SpecError: there is no such source.
        DataError: there are too few faces or people.
        Stopped: the hooks said so.

    """
    pixels, labels, refused = _usable(place, limit, seed, hooks)
    stack = np.stack(pixels)
    digest = hashlib.sha256(stack.tobytes()).hexdigest()
    file = folder / f"faces-{digest[:16]}.npy"
    if not _holds(file, stack):
        if file.exists():
            hooks.note(f"{file}: damaged, written again")
        buffer = io.BytesIO()
        np.save(buffer, stack)
        make_folder(folder)
        write_whole(file, buffer.getvalue())
    notes = tuple(f"{n} clean faces refused: {REASONS[code]}" for code, n in refused.items())
    return CleanFaces(Faces(file, digest, len(stack)), tuple(labels), _split(labels, (0.7, 0.15)), notes)


def some_faces(place: str, seed: int = 0) -> list[ImageU8]:
    """Return the first faces that :func:`read_faces` would read, as many as a fit needs; raises as it."""
    return _usable(place, LEAST_FACES, seed, SILENT)[0]


def _usable(place: str, limit: int, seed: int, hooks: Hooks) -> tuple[list[ImageU8], list[str], Counter[str]]:
    """Return pixels and labels of clean faces in the order of a seed, and how many were refused why."""
    source = open_source(place)
    listed = in_key_order(source.listing().faces)
    order = np.random.default_rng([seed, 5]).permutation(len(listed))
    pixels: list[ImageU8] = []
    labels: list[str] = []
    refused = Counter[str]()
    for number, row in enumerate(order.tolist()):
        if hooks.stopping():
            raise Stopped
        if len(pixels) >= limit:
            break
        face = listed[row]
        try:
            _, image = picture_within_limits(partial(source.read, face.place))
        except ImageFault as fault:
            refused[fault.code] += 1
            continue
        pixels.append(square_fit(image, SIZE_PX))
        labels.append(face.label or face.key)
        hooks.progress(number + 1, min(limit, len(order)), phase="clean faces")
    if len(pixels) < LEAST_FACES:
        hint = f"{LEAST_FACES} clean faces are needed, 500 or more of other people are better"
        raise DataError(f"{len(pixels)} usable faces", file=place, hint=hint)
    return pixels, labels, refused


def _holds(file: Path, stack: NDArray[np.uint8]) -> bool:
    """Return whether a file of clean faces, known by its name, is there and whole."""
    try:
        found = map_array(file)
    except DataError:
        return False
    return found.shape == stack.shape and found.dtype == stack.dtype and bool((found == stack).all())


def _split(labels: Sequence[str], shares: tuple[float, float]) -> dict[str, tuple[int, ...]]:
    """Return rows of ``fit``, ``validation`` and ``test``; nobody stands in two of them."""
    people = sorted(set(labels), key=lambda name: digest_of(["fit", name]))
    ends = [round(shares[0] * len(people)), round(sum(shares) * len(people))]
    place = {name: (k >= ends[0]) + (k >= ends[1]) for k, name in enumerate(people)}
    parts = {
        name: tuple(row for row, label in enumerate(labels) if place[label] == k)
        for k, name in enumerate(("fit", "validation", "test"))
    }
    # whoever is alone in testing stands in one fold, and no classifier is ever measured on that side
    if min(len({labels[row] for row in rows}) for rows in parts.values()) < 2:
        hint = "give clean faces of ten or more people"
        raise DataError(f"{len(people)} people are too few to keep some for testing", hint=hint)
    return parts
