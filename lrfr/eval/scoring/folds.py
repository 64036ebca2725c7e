"""Folds of a list that declares none: drawn from what the pairs are, never from where they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Bools, Ints

FOLDS = 10
# a fold may hold up to this many times its even share of a kind of pair
_MOST_UNEVEN = 1.5


def draw_folds(
    names: Sequence[bytes], same: Bools, left: Ints | None = None, right: Ints | None = None
) -> tuple[Ints, str]:
    """Return the fold of each pair, [P], and how it was found, in words.

    Every fold holds both kinds of pairs in equal shares. Where the people are known and their pairs fall
    apart into groups that share nobody, no person stands in two folds.

    Args:
        names: of each pair, digests of its pictures: the order of the pairs decides nothing.
        same: True where both show one person, [P].
        left: person of each first image, [P].
        right: person of each second image, [P].

    Raises:
        DataError: fewer than two pairs of a kind.

    """
    kinds = [sorted({name for name, one in zip(names, same, strict=True) if one == kind}) for kind in (1, 0)]
    count = min(FOLDS, *map(len, kinds))
    if count < 2:
        raise DataError(
            f"{len(kinds[0])} same and {len(kinds[1])} different pairs, the same pair counted once: no folds "
            f"can be drawn, each needs both kinds"
        )
    if left is not None and right is not None:
        apart = _apart(names, same, left, right, count)
        if apart is not None:
            return apart, f"{count} drawn from the pairs, no person in two"
    # a pair that the list has twice stays in one fold: no threshold is chosen on what it is measured on
    places = [{name: place for place, name in enumerate(kind)} for kind in kinds]
    rank = np.array([places[0 if one else 1][name] for name, one in zip(names, same, strict=True)], np.int64)
    # from the other end, so that what does not divide evenly does not pile up in the first folds
    return np.where(same, rank % count, count - 1 - rank % count), f"{count} drawn from the pairs, stratified"


def _apart(names: Sequence[bytes], same: Bools, left: Ints, right: Ints, count: int) -> Ints | None:
    """Return folds that share no person, or None where no even ones are found."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    size = int(max(left.max(), right.max())) + 1
    links = coo_matrix((np.ones(len(left)), (left, right)), shape=(size, size))
    group = connected_components(links, directed=False)[1][left]
    found, group = np.unique(group, return_inverse=True)
    total = np.array([same.sum(), (~same).sum()], np.float64)
    held = np.stack([np.bincount(group, same == kind, len(found)) for kind in (True, False)], axis=1)
    first = [b"" for _ in found]
    for row, name in zip(group, names, strict=True):
        first[row] = min(first[row] or name, name)
    fold_of, load = np.empty(len(found), np.int64), np.zeros((count, 2))
    # large groups first, each to where its kinds of pairs are fewest
    for place in sorted(range(len(found)), key=lambda place: (-held[place].sum(), first[place])):
        chosen = int(np.argmin(load @ (held[place] / total**2)))
        fold_of[place], load[chosen] = chosen, load[chosen] + held[place]
    even = total / count
    if (load < 1).any() or (load > np.ceil(_MOST_UNEVEN * even)).any():
        return None
    return fold_of[group]


def check_folds(fold: Ints, same: Bools) -> None:
    """Raise DataError unless there are two folds and each holds both kinds of pairs."""
    names, place = np.unique(fold, return_inverse=True)
    if len(names) < 2:
        raise DataError("one fold: a threshold needs pairs that it is not measured on")
    positive, total = np.bincount(place, same), np.bincount(place)
    for name, some, all_of in zip(names, positive, total, strict=True):
        if some in (0, all_of):
            kind = "same" if some else "different"
            raise DataError(
                f"fold {int(name)} holds {int(all_of)} pairs, all of them '{kind}'",
                hint="leave the folds out and they are drawn, with both kinds in each",
            )
