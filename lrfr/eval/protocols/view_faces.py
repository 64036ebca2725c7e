"""Verification and identification on a view: its HR crops against its degraded images, as they lie in the
store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import data_of, digest_of
from lrfr.core.image import ImageU8
from lrfr.core.lists import is_count, match_names
from lrfr.eval.embeddings import StoredFace
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import PairList, SearchList, agrees, numbered
from lrfr.eval.pairs.face_table import FaceTable, table_of_view
from lrfr.eval.pairs.list_files import GALLERY_PARTS, gallery_texts, pairs_text
from lrfr.eval.pairs.made_lists import GalleryPlan, PairPlan, make_gallery, make_pair_list
from lrfr.eval.pairs.own_copies import TOLD, own_copies
from lrfr.eval.protocols.identify import identify
from lrfr.eval.protocols.layout import need, own_rows
from lrfr.eval.protocols.pair_lists import listed_pairs
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Result
from lrfr.eval.settings import Task
from lrfr.pairs.format.store_files import open_store
from lrfr.pairs.sources.listed.mixup import KEYS
from lrfr.pairs.sources.places import place_options

if TYPE_CHECKING:
    from lrfr.pairs.reading.dataset import PairDataset

REVISION = 3
RANKS = (1, 5, 10, 20)
FPIRS = (0.1, 0.01)
VIEW_TREE = """
STORE[,view=NAME][,split=NAME]      a pair store; the command line says --store, --view and --split
[,trials=pairs.tsv or FOLDER]       lists of lrfr make-list; else trials are drawn as it draws them
[,pairs=6000][,hard=ATTRIBUTE]      of drawn pairs"""
_OPTIONS = ("view", "split", "trials", "pairs", "hard")


@dataclass(frozen=True)
class ViewFaces:
    """The faces of a view, or of another split of its parts, as a test sees them.

    Attributes:
        dataset: the rows.
        named: the same faces by key, for drawing lists.
        names: of the degraded variants: ``fskd.v0``.
        place: position in the dataset of every key of ``named``.

    """

    dataset: PairDataset
    named: FaceTable
    names: tuple[str, ...]
    place: dict[str, int] = field(repr=False)
    made: dict[int, StoredFace] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, store: Path, view: str, split: str) -> ViewFaces:
        """Open a view.

        Raises:
            SpecError: no such store, view or split.
            DataError: no face is left, or the store is damaged.

        """
        from lrfr.pairs.reading.dataset import PairDataset

        files = open_store(store)
        dataset = PairDataset(files, view, split or None)
        names: list[str] = []
        for ref in dataset.view.variants:
            name = f"{ref.spec}.v{ref.variant}"
            names.append(f"{name}#{names.count(name) + 1}" if name in names else name)
        place = {_text(dataset.key(row)): row for row in range(len(dataset))}
        return cls(dataset, table_of_view(files, view, split), tuple(names), place)

    def image(self, name: str, place: int) -> ImageU8:
        """Return a face's image of one variant, at its native size."""
        shards = self.dataset.lr[self.names.index(name)]
        return next(iter(shards.images([int(self.dataset.rows[place])])))

    def face(self, key: str) -> StoredFace:
        """Return a face by its key, the same object every time."""
        place = self.place[key]
        if place not in self.made:
            crop, name = self.dataset.hr_bytes(place), self.dataset.key(place)
            self.made[place] = StoredFace.of(crop, name, place, self)
        return self.made[place]

    def digests(self) -> dict[str, str]:
        """Return what decides the pixels of each variant, besides the faces."""
        found = zip(self.names, self.dataset.view.variants, strict=True)
        return {name: digest_of([ref.spec_digest, ref.variant]) for name, ref in found}

    def listed(self, names: Sequence[str], path: Path, lines: Sequence[int]) -> list[StoredFace]:
        """Return the faces that the lines of a list name.

        Raises:
            DataError: one is not among these faces; names the line.

        """
        known = match_names(set(names), self.place).known
        missing = [place for place, name in enumerate(names) if name not in known]
        if missing:
            raise DataError(
                f"{len(missing)} listed keys are not in the {self.named.origin}, the first is "
                f"'{names[missing[0]]}'",
                file=str(path),
                line=lines[missing[0]],
                hint=f"its keys look like '{self.named.keys[0]}'",
            )
        return [self.face(known[name]) for name in names]

    def person(self, face: StoredFace) -> int:
        """Return the number of a face's identity, -1 for none."""
        return int(self.dataset.labels[face.place])


def run_view(data: Path, task: Task) -> list[Result]:
    """Verify pairs and search galleries of a view: HR against HR, HR against each of its variants, and each
    variant against itself; the settings' sizes, where they are given, may name sides of HR besides variants.
    Where no face has an identity, each is told by its own small copy
    (:func:`~lrfr.eval.pairs.own_copies.own_copies`).

    Raises:
        SpecError: no such store, view, split or attribute, or options that do not go together.
        DataError: the faces have too few identities, or are too few, or a list names others.

    """
    place, given = place_options(str(data), _OPTIONS)
    asked = {name: values[-1] for name, values in given.items()}
    faces = ViewFaces.open(place, asked.get("view", "default"), asked.get("split", ""))
    task = replace(task, stored=faces.digests())
    side = faces.dataset.size_px
    sizes: list[Size] = [side, *(faces.names or [size for size in (56, 28, 14, 7) if size < side])]
    if "trials" in asked and given.keys() & {"pairs", "hard"}:
        raise SpecError("pairs and hard are for drawn trials", hint="leave them or trials out")
    notes, found = _notes(faces, task), []
    trials = Path(asked["trials"]) if "trials" in asked else None
    nameless = not given.keys() & {"trials", "pairs", "hard"} and not (faces.named.person >= 0).any()
    if nameless:
        found += _copies(faces, task, sizes)
    elif trials is None or not trials.is_dir():
        pairs, told = _pairs_of(trials, faces) if trials else _drawn_pairs(faces, task.settings.seed, given)
        found += [replace(one, remarks=(*told, *one.remarks)) for one in verify(task, pairs, sizes)]
    if not nameless and (trials is None or trials.is_dir()):
        lists = _lists_of(trials, faces) if trials else _drawn_lists(faces, task)
        found += identify(task, lists, ranks=RANKS, flip="none", sizes=sizes, fpirs=FPIRS, templates=True)
    view = faces.dataset.view
    about = {"view": view.name, "view_digest": view.id, "rows_digest": faces.dataset.digest}
    about |= {"split": asked.get("split", view.filter.split)}
    return [replace(one, remarks=(*notes, *one.remarks), more={**one.more, **about}) for one in found]


def _copies(faces: ViewFaces, task: Task, sizes: Sequence[Size]) -> list[Result]:
    """Tell faces without names by their own small copies; mixes show nobody and are left out."""
    keys = [key for key in faces.named.keys if not key.startswith(KEYS)]
    pairs, lists = own_copies(keys, faces.face, task.settings.seed)
    # a face and its copy of the same size are one picture
    task = replace(task, settings=replace(task.settings, matching=("cross",)))
    found = verify(task, pairs, sizes)
    found += identify(task, lists, ranks=RANKS, flip="none", sizes=sizes, fpirs=FPIRS)
    return [replace(one, remarks=(TOLD, *one.remarks)) for one in found if one.matching == "cross"]


@dataclass(frozen=True)
class Trials:
    """Pairs to look at again and again: a set's name, its pairs, the sizes, and those that lie in a store."""

    name: str
    pairs: PairList
    sizes: tuple[Size, ...]
    stored: Mapping[str, str]


def view_trials(data: Path, count: int) -> Trials:
    """Draw pairs of ``STORE[,view=NAME][,split=NAME]``, which are seen as they lie in the store.

    Raises:
        SpecError: no such store, view or split.
        DataError: the faces have no identities or too few of them.

    """
    place, given = place_options(str(data), ("view", "split"))
    view, split = given.get("view", ["default"])[-1], given.get("split", [""])[-1]
    faces = ViewFaces.open(place, view, split)
    count = min(count, max(2, len(faces.place)))
    pairs, _ = _drawn_pairs(faces, 0, {"pairs": (str(count),)})
    sizes: tuple[Size, ...] = (faces.dataset.size_px, *faces.names)
    return Trials("-".join(filter(None, (view, split))), pairs, sizes, faces.digests())


def _notes(faces: ViewFaces, task: Task) -> tuple[str, ...]:
    known = {faces.dataset.digest, *faces.dataset.view.former}
    return ("the model was trained on these very faces",) if task.model.view_digest in known else ()


def _drawn_pairs(
    faces: ViewFaces, seed: int, given: Mapping[str, Sequence[str]]
) -> tuple[PairList, tuple[str, ...]]:
    count = given.get("pairs", ("6000",))[-1]
    if not is_count(count):
        raise SpecError(f"pairs={count}", hint="a whole number: pairs=6000")
    plan = PairPlan(int(count), seed=seed, hard=tuple(given.get("hard", ())))
    made = make_pair_list(faces.named, plan)
    keys = made.faces.keys
    sides = [[faces.face(keys[place]) for place in side.tolist()] for side in (made.left, made.right)]
    listed = _pair_list(faces, sides, made.same.tolist(), made.fold.tolist(), pairs_text(made))
    return listed, made.notes


def _pairs_of(path: Path, faces: ViewFaces) -> tuple[PairList, tuple[str, ...]]:
    listed = listed_pairs(path)
    lines = [number for number, _ in listed.rows]
    sides = [faces.listed([row[side] for _, row in listed.rows], path, lines) for side in (0, 1)]
    return _pair_list(faces, sides, listed.same, listed.folds, data_of(path)), ()


def _pair_list(
    faces: ViewFaces,
    sides: Sequence[Sequence[StoredFace]],
    same: Sequence[bool],
    folds: Sequence[int] | None,
    text: bytes,
) -> PairList:
    """Return a list of faces; who they are it says only where that agrees with the labels of the pairs."""
    number: dict[int, int] = {}
    places = [[number.setdefault(face.place, len(number)) for face in side] for side in sides]
    images = [faces.made[place] for place in number]
    people = [faces.person(face) for face in images]
    pairs = [(people[a], people[b]) for a, b in zip(*places, strict=True)]
    known = min(people) >= 0 and agrees(pairs, same)
    return PairList(
        "view",
        images,
        left=np.array(places[0], np.int64),
        right=np.array(places[1], np.int64),
        same=np.array(same, np.bool_),
        fold=None if folds is None else np.array(folds, np.int64),
        identity=numbered(people) if known else None,
        alignment="as in the view",
        digest=hashlib.sha256(text).hexdigest(),
    )


def _drawn_lists(faces: ViewFaces, task: Task) -> SearchList:
    made = make_gallery(faces.named, GalleryPlan(seed=task.settings.seed))
    parts = [
        [(faces.face(made.faces.keys[place]), str(made.faces.person[place])) for place in part.tolist()]
        for part in (made.gallery, made.probe, made.distractor)
    ]
    return _search_list(parts, b"".join(gallery_texts(made).values()))


def _lists_of(folder: Path, faces: ViewFaces) -> SearchList:
    text, parts = b"", list[list[tuple[StoredFace, str]]]()
    for name in GALLERY_PARTS:
        path = folder / f"{name}.tsv"
        if name == "distractor" and not path.exists():
            parts.append([])
            continue
        rows = own_rows(need(folder, path.name, VIEW_TREE), ("path", "identity"))
        found = faces.listed([row[0] for _, row in rows], path, [number for number, _ in rows])
        parts.append([(face, row[1]) for face, (_, row) in zip(found, rows, strict=True)])
        text += data_of(path)
    return _search_list(parts, text)


def _search_list(parts: Sequence[Sequence[tuple[StoredFace, str]]], text: bytes) -> SearchList:
    gallery, probe, distractor = parts
    people = numbered([who for _, who in (*gallery, *probe)])
    return SearchList(
        name="view",
        gallery=[face for face, _ in gallery],
        gallery_id=people[: len(gallery)],
        probe=[face for face, _ in probe],
        probe_id=people[len(gallery) :],
        distractor=[face for face, _ in distractor],
        alignment="as in the view",
        digest=hashlib.sha256(text).hexdigest(),
    )


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
