"""The source ``mixup``: the faces of other sources and mixed pictures of two of them each.

A student that imitates a teacher as a function (Beyer et al., CVPR 2022) needs pictures, not people: on the
mean of two faces (mixup, Zhang et al., ICLR 2018) the teacher says something, too, and there are as many such
means as one likes. A mix is a face of the base like any other, without identity: its teacher embedding is
kept once (:mod:`lrfr.train.weights.teacher_cache`), and it is degraded by the same specs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.files import digest_of
from lrfr.core.image import check_image, decode, square_fit
from lrfr.core.lists import is_held_out, read_lines
from lrfr.core.streams import stream
from lrfr.pairs.sources.base import Content, Face, FaceList, Listing, Place, Source

REVISION = 1  # raised by hand when the same two faces give another picture, or others are mixed
KEYS = "mixup/"  # how keys of mixes begin
SIZE_PX = 112
MOST = 10_000_000
_TOGETHER = 1 << 14  # mixes whose names are made at once
_PARTS = 1000  # a share is a whole number of thousandths, so that a key names it
_OPTIONS = ("count", "seed", "size", "without", "holdout")
_NUMBERS = {"count": (1, MOST), "seed": (0, 2**31 - 1), "size": (1, 1024)}


@dataclass(frozen=True)
class MixupSource(Source):
    """The faces of other sources, and mixed pictures of two of them each.

    Two faces are mixed only within one split, and never one that its source refuses. The key of a mix names
    both faces and the share of the first.

    Attributes:
        of: the sources.
        count: how many mixes.
        seed: of the choice.
        size: side of a mix in px; both faces are brought to it.
        without: names of identities that no mix shows (they are listed as faces all the same).
        holdout: no mix shows the identities that make-pairs holds out at this share (``--holdout``).

    """

    of: tuple[Source, ...]
    count: int
    seed: int = 0
    size: int = SIZE_PX
    without: frozenset[str] = frozenset()
    holdout: float = 0.0
    kind = "mixup"
    cost_ms = 2.0

    def listing(self) -> Listing:
        """List the faces of all sources, then the mixes.

        Raises:
            SpecError: there are no two faces to mix.

        """
        listings = [source.listing() for source in self.of]
        # as wide as the place of a mix, which columns like
        faces = FaceList(
            replace(face, place=(number, face.place, number, face.place, 0))
            for number, one in enumerate(listings)
            for face in one.faces
        )
        own = len(faces)
        self._add_mixes(faces)
        mixes = len(faces) - own
        seen, used = Counter[str]({"mixed face": mixes}), Counter[str]()
        for one in listings:
            seen.update(one.seen)
            used.update(one.used)
        notes = [note for one in listings for note in one.notes]
        if mixes < self.count:
            notes.append(f"mixup: {mixes} mixes of {self.count}: what was drawn twice is there once")
        return Listing(
            faces,
            listings[0].unit,
            seen,
            used,
            tuple(other for one in listings for other in one.others),
            tuple(notes),
        )

    def _add_mixes(self, faces: FaceList) -> None:
        """Add the mixes, each once: a function of the faces' keys and the seed, not of their order."""
        # rows, not faces: an object a face would take more memory than all columns together
        groups: dict[str, list[int]] = {}
        for row in faces.key_order().tolist():
            face = faces[row]
            if not face.fault and not self._hidden(face):
                groups.setdefault(face.split, []).append(row)
        pools = [(split, rows) for split, rows in sorted(groups.items()) if len(rows) > 1]
        if not pools:
            hidden = " besides those held out" if self.holdout or self.without else ""
            raise SpecError(f"mixup needs two faces of one split{hidden}", hint="give it a source with more")
        # one object a name and place, however many mixes show the face
        names = [key.decode("utf-8", "surrogateescape") for key in faces.keys()]
        places = faces.places(range(len(names)))
        kept = self._chosen([np.array(rows, np.int64) for _, rows in pools])
        for start in range(0, len(kept), _TOGETHER):
            some = kept[start : start + _TOGETHER].tolist()
            faces.add_files(
                [f"{KEYS}{share}/{names[one]}+{names[other]}" for one, other, share, _ in some],
                [""] * len(some),
                [pools[pool][0] for *_, pool in some],
                [(*places[one][:2], *places[other][:2], share) for one, other, share, _ in some],
            )

    def _chosen(self, pools: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the rows of both faces, the share of the first and the pool of each mix, int64 ``[n, 4]``:
        each mix once, in the order in which they were drawn.
        """
        drawn = stream(self.seed, b"mixup", 0, "pairs").generator().random((self.count, 3))
        sizes = np.array([len(rows) for rows in pools])
        ends = np.cumsum(sizes)
        at = (drawn[:, 0] * ends[-1]).astype(np.int64)
        pool = np.searchsorted(ends, at, "right")
        begin, size = (ends - sizes)[pool], sizes[pool]
        # any other face of the same split
        other = begin + (at - begin + 1 + (drawn[:, 1] * (size - 1)).astype(np.int64)) % size
        # a half to all but nothing of the first: the other half are the same mixes by another name
        share = np.rint(_PARTS * (0.5 + 0.5 * drawn[:, 2])).astype(np.int64)
        marks = (at * ends[-1] + other) * (_PARTS + 1) + share
        new = np.sort(np.unique(marks, return_index=True)[1])
        rows = np.concatenate(pools)
        return np.stack([rows[at[new]], rows[other[new]], share[new], pool[new]], axis=1)

    def _hidden(self, face: Face) -> bool:
        name, kind = (face.label, "identity") if face.label else (face.key, "key")
        return face.label in self.without or is_held_out(name, self.holdout, kind)

    def read(self, place: Place) -> Content:
        """Return a face's bytes, or the pixels of a mix, uint8 ``[size, size, 3]``: ``s a + (1 - s) b``,
        rounded.

        Raises:
            ImageFault: a face cannot be read.

        """
        if not place[4]:
            return self._source(place).read(place[1])
        first, second = self._pixels(place[:2]), self._pixels(place[2:4])
        share = int(place[4])
        mixed = first.astype(np.int32) * share + second.astype(np.int32) * (_PARTS - share)
        return np.asarray((mixed + _PARTS // 2) // _PARTS, np.uint8)

    def _source(self, place: Place) -> Source:
        return self.of[int(place[0])]

    def _pixels(self, place: Place) -> NDArray[np.uint8]:
        content = self._source(place).read(place[1])
        image = check_image(content) if isinstance(content, np.ndarray) else decode(content)
        return square_fit(image, self.size)

    def fingerprint(self, place: Place) -> str | None:
        """Return a digest that names the content, where the sources of all its faces know one."""
        if not place[4]:
            return self._source(place).fingerprint(place[1])
        both = [self._source(one).fingerprint(one[1]) for one in (place[:2], place[2:4])]
        return None if None in both else digest_of([self.kind, REVISION, self.size, *both, place[4]])

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return numbers that change when a face may have, or how it is mixed."""
        if not place[4]:
            return self._source(place).stamp(place[1])
        both = [self._source(one).stamp(one[1]) for one in (place[:2], place[2:4])]
        if both[0] is None or both[1] is None:
            return None
        return (*both[0], *both[1], place[4], self.size, REVISION)

    def describe(self) -> dict[str, str | int]:
        """Return the parameters, and the kinds of the sources."""
        return {
            "kind": self.kind,
            "revision": REVISION,
            "count": self.count,
            "seed": self.seed,
            "size": self.size,
            "of": digest_of([source.describe() for source in self.of])[:16],
        }


def open_mixup(text: str) -> MixupSource:
    """Open ``count=N,seed=0,size=112,without=FILE,holdout=SHARE,of=SOURCE|SOURCE``; ``of`` comes last and
    takes the rest.

    Raises:
        SpecError: something is missing, unknown or no whole number.

    """
    from lrfr.pairs.sources.table import open_source

    head, mark, rest = text.partition("of=")
    sources = [part for part in rest.split("|") if part]
    if not mark or not sources or (head and not head.endswith(",")):
        raise SpecError("mixup names no sources", hint="mixup:count=10000,of=folder:faces")
    given = {}
    for part in filter(None, head.split(",")):
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            raise SpecError(f"mixup has no '{name}'", hint=did_you_mean(name, _OPTIONS))
        if name in given:
            raise SpecError(f"mixup: '{name}' stands there twice", hint="say it once")
        given[name] = value
    if "count" not in given:
        raise SpecError("mixup needs to know how many", hint="mixup:count=10000,of=folder:faces")
    numbers = {name: _number(name, value) for name, value in given.items() if name in _NUMBERS}
    hidden = read_lines(Path(given["without"])) if "without" in given else []
    if any(part.startswith("mixup:") for part in sources):  # keys would double with every level
        raise SpecError("mixup takes no mixes", hint="name the sources of all of them, with | between")
    opened = tuple(open_source(part) for part in sources)
    share = given.get("holdout", "0")
    if not re.fullmatch(r"0?\.\d{1,9}|0", share):
        raise SpecError(f"mixup: holdout is a share from 0 to 1, not '{share}'")
    return MixupSource(
        opened, **numbers, without=frozenset(line.text for line in hidden), holdout=float(share)
    )


def _number(name: str, text: str) -> int:
    low, high = _NUMBERS[name]
    if not re.fullmatch(r"\d{1,10}", text) or not low <= int(text) <= high:
        raise SpecError(f"mixup: {name} is a whole number from {low} to {high}, not '{text}'")
    return int(text)
