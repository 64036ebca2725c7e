"""Opening a source with everything that is said about it: landmarks, channel order, splits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.landmarks import read_landmarks
from lrfr.core.lists import is_held_out, match_names
from lrfr.core.lists.names import spelled
from lrfr.pairs.align.checks import check_landmarks
from lrfr.pairs.align.landmark_table import is_own_table
from lrfr.pairs.build.look.channel_order import first_look
from lrfr.pairs.build.look.face_search import DETECT, Alignment, FaceSearch, landmark_file
from lrfr.pairs.build.look.listing_cache import ListingCache
from lrfr.pairs.build.plan import BaseOptions
from lrfr.pairs.build.prepare import Landmarks, Prepare
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import Forgetting, salted
from lrfr.pairs.sources.base import Listing, Source
from lrfr.pairs.sources.listed.attribute_file import give_attributes
from lrfr.pairs.sources.listed.split_file import with_splits
from lrfr.pairs.sources.table import open_source


@dataclass(frozen=True)
class IngestOptions:
    """How a source is taken in.

    Attributes:
        size_px: side of the HR crops.
        color: order of the source's channels: ``rgb``, ``bgr``, or ``auto`` (looked at).
        landmarks: file of five points per key to cut the crops by; None cuts the central square.
        search: finds the landmarks of photographs instead; None where nothing is to be found.
        split_file: file of lines ``key<tab>split``.
        attributes: table of attributes by key or identity (:mod:`~lrfr.pairs.sources.listed.attribute_file`).
        seed: of the order of the rows.
        access: ``block`` or ``random``: how the store will be read.
        cached: whether files with the stamps of an earlier look are not read again.
        exclude_ids: identities that are left out, whatever the source has of them.
        exclude_keys: keys that are left out.
        allow_forgotten: whether faces that the store was made to forget may come back.

    """

    size_px: int = 112
    color: str = "auto"
    landmarks: Path | None = None
    search: FaceSearch | None = None
    split_file: Path | None = None
    attributes: Path | None = None
    seed: int = 0
    access: str = "block"
    cached: bool = True
    exclude_ids: tuple[str, ...] = ()
    exclude_keys: tuple[str, ...] = ()
    allow_forgotten: bool = False


def with_alignment(options: IngestOptions, words: Alignment) -> IngestOptions:
    """Return options with what is said about alignment; what is None was not said.

    Raises:
        SpecError: a word is unknown or belongs to ``detect`` alone.
        DataError: a path of landmarks leads nowhere.

    """
    said = {name: value for name, value in words.items() if value is not None}
    known = list(Alignment.__annotations__)
    for name in said:
        if name not in known:
            raise SpecError(f"unknown argument '{name}'", hint=did_you_mean(name, known))
    align = said.pop("align", None)
    if align == DETECT:
        return replace(options, landmarks=None, search=FaceSearch.of(words))
    if said:
        raise SpecError(f"'{next(iter(said))}' is about detecting faces", hint="it goes with align=detect")
    return options if align is None else replace(options, landmarks=landmark_file(align))


def open_ingest(
    source: str | Path | Source, options: IngestOptions | None = None, cache: Path | None = None
) -> Ingest:
    """Open a source by its name (``kind:place`` or a path), or take an open one, and look at its channels.

    Args:
        source: its name, or itself.
        options: how it is taken in.
        cache: folder in which an earlier listing may lie (of a store); without one nothing is looked for.

    Raises:
        SpecError: no such source, a malformed landmark or split file, or landmarks of other keys or of
            another convention; or no such detector.
        EnvironmentFault: the detector has no weights here.

    """
    options = options or IngestOptions()
    finder = options.search.finder() if options.search and not options.landmarks else None
    opened = source if isinstance(source, Source) else open_source(str(source))
    if cache:
        _refuse_inside(cache.parent, opened)
    kept = ListingCache(cache, opened) if cache and options.cached else None
    listing = kept.listing() if kept else opened.listing()
    notes = list(listing.notes)
    if options.exclude_ids or options.exclude_keys:
        listing = _without_excluded(listing, options, notes)
        kept = None  # no file is to name who is not wanted
    if options.split_file:
        listing = replace(listing, faces=with_splits(listing.faces, options.split_file, notes))
    if options.attributes:
        faces, told = give_attributes(listing.faces, options.attributes)
        listing, notes = replace(listing, faces=faces), [*notes, *told]
    marks = None
    if options.landmarks:
        marks = _landmarks(options.landmarks, [face.key for face in listing.faces], notes)
    swapped, unaligned = first_look(
        opened, listing.faces, kept, color=options.color != "bgr", aligned=marks is None and finder is None
    )
    order = "bgr" if options.color == "bgr" or (options.color == "auto" and swapped) else "rgb"
    warnings = (*((_WARNING[order],) if swapped else ()), *((unaligned,) if unaligned else ()), *notes)
    warnings += tuple(kept.notes) if kept else ()
    prepare = Prepare(
        size_px=options.size_px, color=order, aligned=marks is not None or finder is not None, finder=finder
    )
    base = BaseOptions(prepare, options.seed, options.access)
    search = options.search if finder else None
    return Ingest(
        opened, base, marks, options.cached, warnings, listing, options.allow_forgotten, search, kept
    )


def _refuse_inside(store: Path, source: Source) -> None:
    """Refuse a store in the folder that it is made of: the next look would find the store among the faces.

    Raises:
        SpecError: it lies there.

    """
    root = source.walks()
    if root is None or root.resolve() == Path(root.resolve().anchor):
        return  # the walk itself refuses a whole file system
    if root.resolve() not in (store.resolve(), *store.resolve().parents):
        return
    beside = Path(os.path.relpath(root.resolve().parent)) / f"{root.resolve().name}-store"
    raise SpecError("this store would lie among its own faces", file=str(store), hint=f"--store {beside}")


_WARNING = {
    "bgr": "red and blue look swapped in this source; they are swapped back (--color rgb keeps them)",
    "rgb": "red and blue look swapped in this source; --color bgr swaps them back",
}


def _landmarks(path: Path, keys: Sequence[str], notes: list[str]) -> dict[str, Landmarks]:
    """Read the landmarks of a source's faces; names that are spelled otherwise are brought together."""
    marks = read_landmarks(path, keys)
    match = match_names(marks, keys)
    found = {key: marks[name] for name, key in match.known.items()}
    if match.how:
        notes.append(f"{len(found)} of {len(marks)} keys of {path.name} match {match.how}")
    check_landmarks(keys, found or marks, str(path), is_own_table(path))
    return found


def leave_out(listing: Listing, reason: str, count: int) -> Listing:
    """Return a listing that counts faces that were left out and are named nowhere."""
    return replace(listing, left_out=dict(Counter(listing.left_out) + Counter({reason: count})))


def _only(listing: Listing, reason: str, stays: Callable[[str], bool], ids: frozenset[str]) -> Listing:
    rows = [row for row, face in enumerate(listing.faces) if face.label not in ids and stays(face.key)]
    faces = listing.faces.take(np.array(rows, np.int64))
    others = tuple(other for other in listing.others if stays(other.name))
    gone = len(listing.faces) + len(listing.others) - len(faces) - len(others)
    return leave_out(replace(listing, faces=faces, others=others), reason, gone)


def _without_excluded(listing: Listing, options: IngestOptions, notes: list[str]) -> Listing:
    """Leave out what two lists name, in any spelling; names that match nothing are told."""
    labels, keys = {face.label for face in listing.faces}, {face.key for face in listing.faces}
    keys |= {other.name for other in listing.others}
    found = []
    for kind, listed, known in (("ids", options.exclude_ids, labels), ("keys", options.exclude_keys, keys)):
        names = {*listed, *map(spelled, listed)} - {""}
        found.append(frozenset(name for name in known if name in names or spelled(name) in names))
        there = {*found[-1], *map(spelled, found[-1])}
        missing = [name for name in listed if name not in there and spelled(name) not in there]
        if missing:
            notes.append(
                f"{len(missing)} {kind} to exclude are not in the source, the first is {missing[0]!r}"
            )
    ids, gone = found
    return _only(listing, "excluded", lambda name: name not in gone, ids)


class Memory:
    """What a store was made to forget: salted digests, no names.

    Args:
        acts: of the store.
        names: the digests of each salt.

    """

    def __init__(self, acts: Sequence[Forgetting], names: dict[str, frozenset[bytes]]) -> None:
        self._acts, self._names = acts, names

    @classmethod
    def of(cls, store: StoreFiles, allow: bool = False) -> Memory:
        """Return the memory of a store; an empty one where what was forgotten may come back.

        Raises:
            DataError: a list of digests is missing or damaged.

        """
        acts = [] if allow else [act for act in store.acts() if act.digests]
        names: dict[str, frozenset[bytes]] = {}
        for act in acts:
            lines = np.frombuffer(store.digests_of(act), "V16").tolist()
            names[act.salt] = names.get(act.salt, frozenset()) | frozenset(lines)
        return cls(acts, names)

    def __bool__(self) -> bool:
        return bool(self._names)

    def has_key(self, key: bytes) -> bool:
        """Return whether the face of this key was forgotten."""
        return any(salted(salt, "key", key) in names for salt, names in self._names.items())

    def has_content(self, sha256: str) -> bool:
        """Return whether source bytes were forgotten."""
        content = bytes.fromhex(sha256)
        return any(salted(salt, "content", content) in names for salt, names in self._names.items())

    def without(self, listing: Listing) -> Listing:
        """Return a listing without the forgotten keys."""
        if not self._names:
            return listing
        return _only(listing, "forgotten", lambda name: not self.has_key(_bytes(name)), frozenset())

    def told(self, count: int) -> str:
        """Return the sentence that says what was left out."""
        dates = sorted({act.date[:10] for act in self._acts})
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        return (
            f"{count} faces of the source were forgotten on {when}; they are left out "
            "(--allow-forgotten takes them back)"
        )


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


TRAIN, TEST = "train", "test"


def hold_out(ingest: Ingest, share: float) -> Ingest:
    """Divide a source's faces into the splits ``train`` and ``test``, no identity in both.

    A hash of the identity's name decides (:func:`lrfr.core.lists.is_held_out`), of the key for a face without
    identity: such a face may show somebody of the other side.

    Raises:
        SpecError: the source, or a split file, gives another split than ``train`` already.

    """
    listing = ingest.listing()
    faces = listing.faces
    numbers, names = faces.splits()
    counts = np.bincount(numbers, minlength=len(names)).tolist()
    given = {name: count for name, count in zip(names, counts, strict=True) if count}
    given = {name: count for name, count in given.items() if name not in {"", TRAIN}}
    if given:
        found = ", ".join(f"{name} {count}" for name, count in sorted(given.items()))
        raise SpecError(
            f"the source gives its faces a split already ({found}), a hold-out would cut through it",
            hint="leave out --holdout; --split keeps one of them",
        )
    numbers, names = faces.labels()
    people = np.unique(numbers)
    sides = np.zeros(len(names), bool)
    sides[people] = [is_held_out(names[number], share) for number in people.tolist()]
    held = sides[numbers]
    for row in np.flatnonzero(numbers == names.index("")).tolist() if "" in names else ():
        held[row] = is_held_out(faces[row].key, share, "key")
    warnings = ingest.warnings
    if held.all() or not held.any():
        side = f"all are on the side '{TEST if held.any() else TRAIN}'"
        warnings = (*warnings, f"{len(people)} identities are too few to hold {share:g} of them out: {side}")
    told = replace(listing, faces=faces.with_splits(held, (TRAIN, TEST)))
    return replace(ingest, listed=told, warnings=warnings)
