"""A list of image pairs, and how one is made from plain Python lists."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Bools, Ints, Source, arrays_digest
from lrfr.eval.results import Files
from lrfr.eval.scoring.metrics import as_bools, same_labels


@dataclass(frozen=True)
class PairList:
    """A list of image pairs.

    Attributes:
        name: name of the benchmark.
        images: each distinct image once: a path, encoded bytes, or uint8 HWC RGB.
        left: index into ``images`` of the first image of each pair, [P]; the HR side of a cross-resolution
            test.
        right: index of the second, [P]; the LR side.
        same: True where both show one person, [P].
        fold: fold of each pair, [P], or None: they are drawn (:func:`arranged`).
        identity: person of each image, [N], or None where the benchmark does not say.
        alignment: how the crops were made, as far as known.
        digest: sha256 over the list as it was distributed (not the pixels).
        files: what was seen in the folders, where somebody looked.
        place: the file that it was read from, for messages; "" where there is none.

    """

    name: str
    images: Sequence[Source]
    left: Ints
    right: Ints
    same: Bools
    fold: Ints | None = None
    identity: Ints | None = None
    alignment: str = "as distributed"
    digest: str = field(default="")
    files: Files | None = None
    place: str = ""

    def __post_init__(self) -> None:
        """Check the lengths and fill in the digest."""
        if not len(self.left) == len(self.right) == len(self.same) or len(self.same) == 0:
            counts = f"{len(self.left)} left, {len(self.right)} right, {len(self.same)} labels"
            raise DataError(f"{self.name}: {counts}; need equal numbers, not zero")
        object.__setattr__(self, "same", as_bools(self.same))
        if not self.digest:
            parts = [self.left, self.right, self.same, *([] if self.fold is None else [self.fold])]
            object.__setattr__(
                self,
                "digest",
                hashlib.sha256(b"".join(np.asarray(p, np.int64).tobytes() for p in parts)).hexdigest(),
            )

    @property
    def content_digest(self) -> str:
        """Return sha256 over what the list says of its images by number: names of files play no part."""
        return arrays_digest(self.left, self.right, self.same, self.fold, self.identity)


def pair_list(
    pairs: Sequence[tuple[Source, Source]],
    same: Sequence[object],
    *,
    identities: Sequence[tuple[Hashable, Hashable]] | None = None,
    folds: Sequence[int] | None = None,
    name: str = "pairs",
    alignment: str = "as given",
) -> PairList:
    """Make a :class:`PairList` from plain Python lists; an image that occurs twice (same path or same array
    object) is embedded once.

    Args:
        pairs: (first, second) image: paths, encoded bytes, or uint8 HWC RGB arrays.
        same: True where both show one person; or words or numbers, see
            :func:`lrfr.eval.scoring.metrics.same_labels`.
        identities: the persons of each pair, any hashable names; bootstrap intervals need them.
        folds: fold of each pair; without it they are drawn, whatever the order of the pairs.
        name: name in the results.
        alignment: how the crops were aligned, for the record.

    Raises:
        DataError: a label is none, or the counts differ.

    """
    images: list[Source] = []
    people: list[Hashable] = []
    known: dict[Hashable, int] = {}
    sides = np.empty((len(pairs), 2), np.int64)
    for row, pair in enumerate(pairs):
        for side, source in enumerate(pair):
            key = source if isinstance(source, Path | bytes) else id(source)
            if key not in known:
                known[key] = len(images)
                images.append(source)
                people.append(identities[row][side] if identities is not None else None)
            sides[row, side] = known[key]
    return PairList(
        name,
        images,
        left=sides[:, 0],
        right=sides[:, 1],
        same=same_labels(same),
        fold=None if folds is None else np.array(folds, np.int64),
        identity=None if identities is None else numbered(people),
        alignment=alignment,
    )


def numbered(names: Sequence[Hashable]) -> Ints:
    """Number names in order of appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def numbered_first(values: Ints) -> Ints:
    """Return the distinct values in order of first appearance."""
    return np.array(list(dict.fromkeys(values.tolist())), np.int64)


def agrees(people: Sequence[tuple[Hashable, Hashable]], same: Sequence[bool]) -> bool:
    """Say whether names of people can be those of the pairs: equal where, and only where, the label is."""
    return all((a == b) == label for (a, b), label in zip(people, same, strict=True))
