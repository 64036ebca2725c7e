"""Lists of trials made from the faces of a source or view: pairs in folds; gallery, probes, distractors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, as_count
from lrfr.eval.embeddings import Bools, Ints
from lrfr.eval.pairs.face_table import FaceTable, hash_text
from lrfr.eval.pairs.hash_draw import Deck, draw, hashes, stirred

REVISION = 1  # to be raised when the same faces may give another list


@dataclass(frozen=True)
class PairPlan:
    """What a list of pairs shall be.

    Attributes:
        pairs: how many, half of them genuine.
        folds: how many groups of people that share nobody.
        seed: of the draws.
        hard: names of attributes in which the two people of an impostor pair agree.

    """

    pairs: int = 6000
    folds: int = 10
    seed: int = 0
    hard: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that make no list."""
        as_count(self.folds, "folds", 2, 1000)
        as_count(self.pairs, "pairs", 2 * self.folds, 10**8)
        as_count(self.seed, "seed")


@dataclass(frozen=True)
class MadePairs:
    """A list of pairs of a :class:`FaceTable`.

    Attributes:
        faces: what it is drawn from.
        plan: what it was to be.
        left: place of the first face of each pair, [P].
        right: of the second, [P].
        same: whether both show one person, [P].
        fold: of each pair, [P].
        notes: what the faces did not allow, in sentences.

    """

    faces: FaceTable
    plan: PairPlan
    left: Ints
    right: Ints
    same: Bools
    fold: Ints
    notes: tuple[str, ...] = ()

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the lines of its file: two keys, same, fold, two people."""
        keys, people, person = self.faces.keys, self.faces.people, self.faces.person
        for a, b, same, fold in zip(self.left, self.right, self.same, self.fold, strict=True):
            yield keys[a], keys[b], str(int(same)), str(fold), people[person[a]], people[person[b]]

    def told(self) -> dict[str, object]:
        """Return what made it, as plain values."""
        return {"revision": REVISION, "faces": self.faces.origin, **asdict(self.plan)}


def make_pair_list(faces: FaceTable, plan: PairPlan | None = None) -> MadePairs:
    """Draw a balanced list of pairs: as many impostors as genuine pairs in each fold, no pair twice, no
    person in two folds; every person gives a pair before one gives the next.

    The order of the faces decides nothing. When faces come, a fold keeps its people and most pairs stay;
    where people are too few to be dealt into folds by a hash of their names, they are dealt in turn, which is
    noted: such a list may change altogether.

    Raises:
        SpecError: the faces have no such attribute.
        DataError: too few identities for two folds, or no impostors that agree in the attributes.

    """
    plan = plan or PairPlan()
    deck = _deck(faces, plan.seed)
    stratum = _strata(faces, plan.hard)
    fold_of, notes = _folds(deck, plan.folds)
    folds = int(fold_of.max()) + 1
    rows = []
    for fold in range(folds):
        found = _of_fold(deck.of(fold_of == fold), stratum, plan.pairs // (2 * folds))
        rows += [(a, b, same, fold) for same, pairs in enumerate(found) for a, b in pairs]
    if len(rows) < plan.pairs // (2 * folds) * 2 * folds:
        notes = (*notes, f"{len(rows)} pairs, not {plan.pairs}: these faces gave no more in balance")
    if not rows:
        how = f" that agree in {', '.join(plan.hard)}" if plan.hard else ""
        raise DataError(
            f"no fold of {faces.origin} has impostors{how}", hint="fewer attributes, or more people"
        )
    if {fold for *_, fold in rows} != set(range(folds)):
        notes = (*notes, "a fold without pairs is left out")
    table = np.array(rows, np.int64)
    return MadePairs(faces, plan, table[:, 0], table[:, 1], table[:, 2] == 1, table[:, 3], notes)


def _deck(faces: FaceTable, seed: int) -> Deck:
    chosen = faces.named()
    people = hashes([hash_text(name) for name in faces.people])
    keys = hashes([hash_text(faces.keys[place]) for place in chosen.tolist()])
    person = faces.person[chosen]
    return Deck(chosen, person, keys, people[person], seed)


def _strata(faces: FaceTable, hard: Sequence[str]) -> Ints:
    """Return the number of what each face has of some attributes, -1 where one is unknown, [N]."""
    stratum = np.zeros(len(faces.keys), np.int64)
    for name in hard:
        value = faces.column(name).astype(np.int64)
        stratum = np.where((value < 0) | (stratum < 0), -1, 2 * stratum + value)
    return stratum


def _folds(deck: Deck, folds: int) -> tuple[Ints, tuple[str, ...]]:
    """Return the fold of each face of a deck, and what is to be said of it."""
    fold = (stirred(deck.person_hash, deck.seed, "fold") % np.uint64(folds)).astype(np.int64)
    if _enough(deck, fold, folds):
        return fold, ()
    several = deck.several()
    order, starts = deck.by_person("folds")
    first = order[starts]
    count = min(folds, int(several[first].sum()), len(first) // 2)
    if count < 2:
        raise DataError(
            f"{len(first)} identities, {int(several[first].sum())} of them with two images or more, are too "
            "few for folds that share nobody",
            hint="at least 4, of which 2 have two images; a greater --holdout, or a source with more people",
        )
    # those with two images first, so that each fold has one of them
    turn = np.lexsort((stirred(deck.person_hash[first], deck.seed, "deal"), ~several[first]))
    dealt = np.empty(int(deck.person.max()) + 1, np.int64)
    dealt[deck.person[first][turn]] = np.arange(len(first)) % count
    note = f"{len(first)} identities are few: dealt in turn into {count} folds, otherwise when more come"
    return dealt[deck.person], (note,)


def _enough(deck: Deck, fold: Ints, folds: int) -> bool:
    """Say whether each fold has two people and a genuine pair."""
    several = deck.several()
    return all(
        len(np.unique(deck.person[fold == number])) > 1 and bool(several[fold == number].any())
        for number in range(folds)
    )


def _of_fold(deck: Deck, stratum: Ints, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return as many impostors as genuine pairs of a fold, up to ``count`` of each."""
    several = deck.of(deck.several())
    own = stratum[deck.face]
    parts = [deck.of(own == number) for number in np.unique(own[own >= 0]).tolist()]
    parts = [part for part in parts if len(np.unique(part.person)) > 1]
    count = min(count, _within(several), sum(map(_across, parts)))
    genuine = draw([several.genuine], len(np.unique(several.person)), count)
    people = sum(len(np.unique(part.person)) for part in parts)
    impostors = draw([part.impostor for part in parts], people, count)
    least = min(len(impostors), len(genuine))
    return impostors[:least], genuine[:least]


def _across(deck: Deck) -> int:
    """Return how many pairs of faces of two people there are."""
    return len(deck.face) * (len(deck.face) - 1) // 2 - _within(deck)


def _within(deck: Deck) -> int:
    """Return how many pairs of faces of one person there are."""
    count = np.unique(deck.person, return_counts=True)[1]
    return int((count * (count - 1) // 2).sum())


@dataclass(frozen=True)
class GalleryPlan:
    """What lists of a 1:N test shall be.

    Attributes:
        per_id: gallery images of each person; the rest are probes.
        strangers: share of the people, by a hash of their names, whose images are all distractors.
        seed: of the draws.

    """

    per_id: int = 1
    strangers: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that make no list."""
        as_count(self.per_id, "gallery images of each person", 1)
        as_count(self.seed, "seed")
        if not 0 <= self.strangers < 1:
            raise SpecError(f"a share of strangers of {self.strangers}", hint="0 to less than 1, as 0.2")


@dataclass(frozen=True)
class MadeGallery:
    """Places of a :class:`FaceTable` that are gallery, probes and distractors."""

    faces: FaceTable
    plan: GalleryPlan
    gallery: Ints
    probe: Ints
    distractor: Ints

    def rows(self, part: str) -> Iterator[tuple[str, str]]:
        """Yield the lines of the file of a part: key and person."""
        places: Ints = getattr(self, part)
        for place in places.tolist():
            yield self.faces.keys[place], self.faces.people[int(self.faces.person[place])]

    def told(self) -> dict[str, object]:
        """Return what made it, as plain values."""
        return {"revision": REVISION, "faces": self.faces.origin, **asdict(self.plan)}


def make_gallery(faces: FaceTable, plan: GalleryPlan | None = None) -> MadeGallery:
    """Choose gallery, probes and distractors: of each person ``per_id`` images by a hash of their keys are
    the gallery and the rest probes; people without an image for a probe, and the strangers, are distractors.
    Faces without identity are in no list: they may show somebody of the gallery.

    Raises:
        DataError: nobody has an image for a probe.

    """
    plan = plan or GalleryPlan()
    deck = _deck(faces, plan.seed)
    stranger = stirred(deck.person_hash, plan.seed, "stranger").astype(np.float64) < plan.strangers * 2.0**64
    known: NDArray[np.bool_] = deck.several(plan.per_id + 1) & ~stranger
    if not known.any():
        raise DataError(
            f"nobody of {faces.origin} has more than {plan.per_id} images, so there are no probes",
            hint="fewer gallery images or strangers, or faces of more people",
        )
    kept = deck.of(known)
    order, starts = kept.by_person("gallery")
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    gallery, probe = (np.sort(kept.face[order[part]]) for part in (rank < plan.per_id, rank >= plan.per_id))
    return MadeGallery(faces, plan, gallery, probe, np.sort(deck.face[~known]))
