"""Pairs that are drawn: from labels, or of embedded invented faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Ints, Source
from lrfr.eval.pairs.pair_list import PairList, pair_list


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


def draw_distinct(
    generator: np.random.Generator, groups: Sequence[Ints], several: Sequence[Ints], count: int
) -> list[tuple[int, int, bool]]:
    """Draw balanced pairs of positions, each at most once, in random order; as many as ``count`` where there
    are so many.
    """
    drawn: tuple[dict[frozenset[int], tuple[int, int]], ...] = ({}, {})
    for _ in range(20 * count):  # a small set has fewer different pairs than asked
        same = len(drawn[1]) <= len(drawn[0])
        two = draw_two(generator, groups, several, same=same)
        drawn[same].setdefault(frozenset(two), two)
        if len(drawn[0]) + len(drawn[1]) == count:
            break
    chosen = [(*two, bool(kind)) for kind in (1, 0) for two in drawn[kind].values()]
    return [chosen[place] for place in generator.permutation(len(chosen))]


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

    Folds share no person. Pairs are drawn with replacement, so that some stand there twice: the list is the
    one that results of the first edition are of. It measures whether a pipeline works, not how a model does
    on people.
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
