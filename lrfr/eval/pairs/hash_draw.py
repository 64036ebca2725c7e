"""Trials drawn by hashes of names: the same for any order of the faces, and mostly the same when more come.

A round gives every person one pair; which of his images it takes, and who is the other one, are the
smallest of hashes over names, the round and the seed. A face or a person that comes later changes a pair only
where its own hash is smaller. The other person is the next one on a ring of hashes (consistent hashing,
Karger et al. 1997), another ring every round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.eval.embeddings import Ints

U64 = NDArray[np.uint64]
# rounds beyond this many draws a wanted pair find next to nothing new
_DRAWS_A_PAIR = 20


def hashes(names: Sequence[bytes]) -> U64:
    """Return 64 bits of each name."""
    found = b"".join(hashlib.blake2b(name, digest_size=8).digest() for name in names)
    return np.frombuffer(found, "<u8").astype(np.uint64)


def stirred(values: U64, *salt: object) -> U64:
    """Return other 64 bits of each value for each salt: the finalizer of SplitMix64 (Steele et al. 2014)."""
    word = hashlib.blake2b(repr(salt).encode(), digest_size=8).digest()
    x = values ^ np.uint64(int.from_bytes(word, "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


@dataclass(frozen=True)
class Deck:
    """Faces to draw from.

    Attributes:
        face: places of the faces, [n].
        person: number of each one's person, any numbers, [n].
        face_hash: of the faces' keys, [n].
        person_hash: of each face's person's name, [n].
        seed: of all draws.

    """

    face: Ints
    person: Ints
    face_hash: U64
    person_hash: U64
    seed: int

    def of(self, chosen: NDArray[np.bool_]) -> Deck:
        """Return some of the faces."""
        return Deck(
            self.face[chosen],
            self.person[chosen],
            self.face_hash[chosen],
            self.person_hash[chosen],
            self.seed,
        )

    def several(self, least: int = 2) -> NDArray[np.bool_]:
        """Say of each face whether its person has so many, [n]."""
        _, inverse, count = np.unique(self.person, return_inverse=True, return_counts=True)
        return np.asarray(count[inverse] >= least)

    def by_person(self, *salt: object) -> tuple[Ints, Ints]:
        """Return an order of the faces, person by person and by their hashes, and where each person starts in
        it.
        """
        order = np.lexsort((stirred(self.face_hash, self.seed, *salt), self.person))
        starts = np.flatnonzero(np.r_[True, np.diff(self.person[order]) != 0]) if len(order) else order
        return order, starts

    def genuine(self, turn: int) -> tuple[Ints, Ints, U64]:
        """Return two faces of every person (all must have two), and the rank of each pair."""
        order, starts = self.by_person("genuine", turn)
        first, second = order[starts], order[starts + 1]
        rank = stirred(self.person_hash[first], self.seed, "rank", turn)
        return self.face[first], self.face[second], rank

    def impostor(self, turn: int) -> tuple[Ints, Ints, U64]:
        """Return a face of every person with one of another (there must be two), and the rank of each
        pair.
        """
        sides = []
        for side in ("left", "right"):
            order, starts = self.by_person(side, turn)
            sides.append(order[starts])
        people = self.person_hash[sides[0]]
        ring = stirred(people, self.seed, "ring", turn)
        way = np.argsort(ring)
        place = np.searchsorted(ring[way], stirred(people, self.seed, "from", turn)) % len(way)
        other = way[place]
        alone = other == np.arange(len(way))
        other[alone] = way[(place[alone] + 1) % len(way)]
        rank = stirred(people, self.seed, "rank of two", turn)
        return self.face[sides[0]], self.face[sides[1][other]], rank


Turn = Callable[[int], tuple[Ints, Ints, U64]]


def draw(turns: Sequence[Turn], people: int, count: int) -> list[tuple[int, int]]:
    """Return up to ``count`` different pairs of places, round by round; each with the smaller place first.

    Args:
        turns: what gives a round's pairs; those of several are ranked together.
        people: how many pairs a round gives, about.
        count: how many are wanted.

    """
    found: dict[tuple[int, int], None] = {}
    for turn in range(1 + _DRAWS_A_PAIR * count // max(people, 1) if count else 0):
        rounds = [one(turn) for one in turns]
        left, right, rank = (np.concatenate(columns) for columns in zip(*rounds, strict=True))
        for row in np.argsort(rank, kind="stable").tolist():
            a, b = int(left[row]), int(right[row])
            found[min(a, b), max(a, b)] = None
            if len(found) == count:
                return list(found)
    return list(found)
