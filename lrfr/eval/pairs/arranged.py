"""A list of pairs in an order of its own, so that the order of its lines decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrfr.eval.embeddings import Ints, contents
from lrfr.eval.pairs.pair_list import PairList, numbered, numbered_first
from lrfr.eval.scoring.folds import draw_folds


@dataclass(frozen=True)
class Arranged:
    """A list in an order of its own, which that of its lines does not decide, ready to be measured.

    Attributes:
        pairs: sorted by what the pictures hold; only images that are in a pair, people numbered anew.
        fold: fold of each pair, [P].
        order: where each of ``pairs`` stood before, [P].
        pixels: sha256 over the images.
        folds: how the folds came to be, in words.
        counts: ``n_self`` (a picture paired with itself) and ``n_duplicate`` (a pair that is there already).
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
    order = np.array(
        sorted(range(len(sides)), key=lambda row: (names[row], sides[row], label[row])), np.int64
    )
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
