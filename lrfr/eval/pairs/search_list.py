"""The images of a 1:N test, in an order of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of as json_digest
from lrfr.eval.embeddings import Ints, Source, contents
from lrfr.eval.pairs.pair_list import numbered
from lrfr.eval.results import Files


@dataclass(frozen=True)
class SearchList:
    """Images of a 1:N test: gallery and probes with their people, and distractors that match nobody."""

    name: str
    gallery: Sequence[Source]
    gallery_id: Ints
    probe: Sequence[Source]
    probe_id: Ints
    distractor: Sequence[Source] = ()
    alignment: str = "as distributed"
    digest: str = ""
    files: Files | None = None

    @property
    def content_digest(self) -> str:
        """Return sha256 over who is in the lists: names of files play no part."""
        people = numbered([*self.gallery_id.tolist(), *self.probe_id.tolist()])
        return json_digest([len(self.gallery_id), people.tolist(), len(self.distractor)])

    @property
    def images(self) -> list[Source]:
        """Return every image: gallery, probes, distractors."""
        return [*self.gallery, *self.probe, *self.distractor]


@dataclass(frozen=True)
class Searched:
    """A search list sorted by what its pictures hold, so that the order of its lines decides nothing.

    Attributes:
        lists: the same images; people numbered anew.
        pixels: sha256 over the images.
        counts: numbers of images.
        remarks: what is odd about the list, in sentences.

    """

    lists: SearchList
    pixels: str
    counts: Mapping[str, int]
    remarks: tuple[str, ...]


def arranged_search(lists: SearchList) -> Searched:
    """Sort a list and look for oddities.

    Raises:
        DataError: a part is empty, or a probe has no image of its person in the gallery.

    """
    if not len(lists.gallery) or not len(lists.probe):
        raise DataError(f"{lists.name}: {len(lists.gallery)} gallery images, {len(lists.probe)} probes")
    lone = np.flatnonzero(~np.isin(lists.probe_id, lists.gallery_id))
    if len(lone):
        source = lists.probe[int(lone[0])]
        raise DataError(
            f"{lists.name}: {len(lone)} of {len(lists.probe)} probes have no image of their person in "
            f"the gallery",
            file=str(source) if isinstance(source, Path) else None,
            hint="a closed-set test needs one for each; strangers belong to the distractors",
        )
    held = {part: contents(getattr(lists, part)) for part in ("gallery", "probe", "distractor")}
    ids = {"gallery": lists.gallery_id, "probe": lists.probe_id}
    # content alone and not the number of a person, which may be the place of his first line
    order = {part: sorted(range(len(found)), key=found.__getitem__) for part, found in held.items()}
    people = numbered([int(ids[part][row]) for part in ids for row in order[part]])
    moved = {part: [getattr(lists, part)[row] for row in rows] for part, rows in order.items()}
    count = len(lists.gallery)
    made = replace(
        lists,
        gallery=moved["gallery"],
        gallery_id=people[:count],
        probe=moved["probe"],
        probe_id=people[count:],
        distractor=moved["distractor"],
    )
    digests = [hashlib.sha256(b"".join(held[part][row] for row in order[part])).hexdigest() for part in order]
    counts = {f"n_{part}": len(found) for part, found in held.items()}
    return Searched(made, json_digest(digests), counts, _oddities(held, ids))


def _oddities(held: Mapping[str, list[bytes]], ids: Mapping[str, Ints]) -> tuple[str, ...]:
    people: dict[bytes, set[int]] = {}
    for content, person in zip(held["gallery"], ids["gallery"].tolist(), strict=True):
        people.setdefault(content, set()).add(person)
    known, strangers = set(held["gallery"]), set(held["distractor"])
    told = {
        "gallery images stand there more than once": len(held["gallery"]) - len(people),
        "gallery images stand there under several people": sum(len(found) > 1 for found in people.values()),
        "probes are gallery images themselves": sum(content in known for content in held["probe"]),
        "distractors are gallery images or probes": len(strangers & (known | set(held["probe"]))),
    }
    return tuple(f"{count} {text}; they are counted as listed" for text, count in told.items() if count)
