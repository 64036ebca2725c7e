"""Lists of pairs: made from plain lists, drawn from labels, or rendered as invented faces."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Bools, Ints, Source, arrays_digest, contents
from lrfr.eval.scoring.folds import draw_folds
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


@dataclass(frozen=True)
class Arranged:
    """A list in an order of its own, which that of its lines does not decide, ready to be measured.

    Attributes:
        pairs: sorted by what the pictures hold; only images that are in a pair, people numbered anew.
        fold: fold of each pair, [P].
        order: where each of ``pairs`` stood before, [P].
        pixels: sha256 over the images.
        folds: how the folds came to be, in words.
        counts: ``n_self`` (a picture paired with itself) and ``n_duplicate`` (a pair that stood there before).
        remarks: the same in sentences, where there are any.

    """

    pairs: PairList
    fold: Ints
    order: Ints
    pixels: str
    folds: str
    counts: Mapping[str, int]
    remarks: tuple[str, ...]


def arranged(pairs: PairList) -> Arranged:
    """Sort a list by its pictures' content and draw the folds where it has none.

    Raises:
        DataError: folds cannot be drawn.

    """
    held = contents(pairs.images)
    sides = [(held[a], held[b]) for a, b in zip(pairs.left, pairs.right, strict=True)]
    names = [min(pair) + max(pair) for pair in sides]
    label = pairs.same.tolist()
    order = np.array(sorted(range(len(sides)), key=lambda row: (names[row], sides[row], label[row])), np.int64)
    used = numbered_first(np.stack([pairs.left[order], pairs.right[order]], axis=1).reshape(-1))
    place = np.empty(len(pairs.images), np.int64)
    place[used] = np.arange(len(used))
    same, fold, people = pairs.same[order], pairs.fold, pairs.identity
    left, right = place[pairs.left[order]], place[pairs.right[order]]
    if people is not None:
        people = numbered(people[used].tolist())
    if fold is None:
        who = (None, None) if people is None else (people[left], people[right])
        drawn, how = draw_folds([names[row] for row in order], same, *who)
    else:
        drawn, how = fold[order], f"{len(np.unique(fold))} of the list"
    sorted_pairs = replace(
        pairs,
        images=[pairs.images[row] for row in used],
        left=left,
        right=right,
        same=same,
        fold=drawn,
        identity=people,
    )
    pixels = hashlib.sha256(b"".join(held[row] for row in used)).hexdigest()
    return Arranged(sorted_pairs, drawn, order, pixels, how, *_odd_pairs(names, sides, label))


def numbered_first(values: Ints) -> Ints:
    """Return the distinct values in order of first appearance."""
    return np.array(list(dict.fromkeys(values.tolist())), np.int64)


def _odd_pairs(
    names: Sequence[bytes], sides: Sequence[tuple[bytes, bytes]], same: Sequence[bool]
) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """Count and tell of pairs that measure nothing or count twice; none is left out."""
    alone = sum(a == b for a, b in sides)
    kinds: dict[bytes, set[bool]] = {}
    for name, label in zip(names, same, strict=True):
        kinds.setdefault(name, set()).add(label)
    twice, both = len(names) - len(kinds), sum(len(found) == 2 for found in kinds.values())
    told = {
        f"{alone} of {len(names)} pairs show one picture twice (self pairs)": alone,
        f"{twice} of {len(names)} pairs stand in the list more than once": twice,
        f"{both} pairs stand in the list both as same and as different": both,
    }
    counts = {"n_self": alone, "n_duplicate": twice}
    return counts, tuple(f"{text}; they are counted as listed" for text, count in told.items() if count)


def numbered(names: Sequence[Hashable]) -> Ints:
    """Number names in order of appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def agrees(people: Sequence[tuple[Hashable, Hashable]], same: Sequence[bool]) -> bool:
    """Say whether names of people can be those of the pairs: equal where, and only where, the label is."""
    return all((a == b) == label for (a, b), label in zip(people, same, strict=True))


def draw_two(
    generator: np.random.Generator, groups: Sequence[Ints], several: Sequence[Ints], *, same: bool
) -> tuple[int, int]:
    """Draw one pair of positions: two of one group of ``several``, or one each of two of ``groups``.

    Args:
        generator: where the draws come from.
        groups: the positions of each person's images.
        several: those groups that have two or more.
        same: whether both shall show one person.

    """
    if same:
        first, second = generator.choice(several[int(generator.integers(len(several)))], 2, replace=False)
        return int(first), int(second)
    a, b = generator.choice(len(groups), 2, replace=False)
    return int(generator.choice(groups[int(a)])), int(generator.choice(groups[int(b)]))


def groups_of(labels: Ints, count: int) -> tuple[list[Ints], list[Ints]]:
    """Return the positions of each of ``count`` people, and of those with two images or more.

    Raises:
        DataError: fewer than two people, or none with two images.

    """
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.searchsorted(labels[order], np.arange(1, count)))
    several = [group for group in groups if len(group) > 1]
    if len(groups) < 2 or not several:
        raise DataError(
            f"{len(groups)} identities, {len(several)} of them with two images or more: no pairs can be drawn"
        )
    return groups, several


def synthetic_pairs(
    identities: int = 60, per_identity: int = 4, count: int = 1200, seed: int = 0
) -> PairList:
    """Return balanced pairs of embedded invented faces that no training uses (their population seed is set
    apart), in five folds.

    Folds share no person. It measures whether a pipeline works, not how a model does on people.
    """
    from lrfr.pairs.sources.synthetic import render_face

    population = 2**63 + seed
    generator = np.random.default_rng(seed)
    faces = [
        [render_face(person, image, population)[0] for image in range(per_identity)]
        for person in range(identities)
    ]
    folds = np.array_split(np.arange(identities), 5)
    pairs: list[tuple[Source, Source]] = []
    same, people, fold_of = [], [], []
    for row in range(count):
        group, label = row % 5, (row // 5) % 2 == 0
        first, second = generator.choice(folds[group], 2, replace=False)
        other = first if label else second
        a, b = generator.choice(per_identity, 2, replace=False)
        pairs.append((faces[first][a], faces[other][b]))
        same.append(label)
        people.append((int(first), int(other)))
        fold_of.append(group)
    return pair_list(
        pairs,
        same,
        identities=people,
        folds=fold_of,
        name="synthetic",
        alignment="rendered to the ArcFace template",
    )
