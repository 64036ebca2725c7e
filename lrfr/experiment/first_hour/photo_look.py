"""What a new user's photographs are: who is on them, and whether they are aligned crops already."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError, ImageFault, LrfrError, SpecError
from lrfr.core.files import digest_of
from lrfr.core.image import ImageU8
from lrfr.core.lists import is_held_out
from lrfr.eval.report.summary import counted
from lrfr.pairs.align.photo_list import crop_name
from lrfr.pairs.align.unaligned import LEAST_MEAN, SAMPLE, likeness
from lrfr.pairs.executors.picture_limits import picture_within_limits
from lrfr.pairs.sources.base import Face, Source, in_key_order
from lrfr.pairs.sources.folder import FolderSource
from lrfr.pairs.sources.table import SOURCES, open_source

ELSE = "no photographs at hand? lrfr quickstart synthetic:ids=40,per_id=4"
BY_NAME = "names of files"
TABLE = "people.tsv"
# a number at the end, behind something between words or behind a letter
_NUMBERED = re.compile(r"(?P<who>.+?)(?:[\s_.\-]+|(?<=[^\W\d_]))\(?\d+\)?")
_LISTS = (".csv", ".tsv", ".jsonl", ".txt", ".lst")
# of a sample: crops made for recognition are square and all of one size
_ALIKE = 0.95
# at most this many faces are told by their names and times; a list of more is told by its number too
_STAMPED = 100_000


@dataclass(frozen=True)
class PhotoLook:
    """What was found in the photographs.

    Attributes:
        text: the source as ``--source`` takes it, with absolute paths.
        origin: how it was named, for messages.
        faces: of the source, by key, with the names of the people.
        form: how the people are told: ``folders``, ``names of files``, ``the list people.csv``, ...
        aligned: these are aligned crops already.
        likeness: mean correlation of a sample with a mean aligned face.
        notes: what to say about it.

    """

    text: str
    origin: str
    faces: tuple[Face, ...]
    form: str
    aligned: bool
    likeness: float
    notes: tuple[str, ...] = ()

    @cached_property
    def people(self) -> dict[str, int]:
        """Number of photographs of each person."""
        return dict(Counter(face.label for face in self.faces if face.label))

    @property
    def counts(self) -> str:
        """How many photographs of how many people, in words."""
        return f"{counted(len(self.faces), 'picture')} of {counted(len(self.people), 'person', 'people')}"

    @property
    def nameless(self) -> int:
        """Number of photographs of nobody known."""
        return sum(not face.label for face in self.faces)

    def crops_source(self, crops: str) -> str:
        """Return what ``--source`` of make-pairs is: the photographs, or their crops in a folder ``crops``.

        Crops keep the names of their photographs; where their folders do not tell the people,
        :meth:`people_table` has to.
        """
        named = self.form != BY_NAME
        if self.aligned:
            return self.text if named else f"csv:{TABLE},root={self.text}"
        if named and all(face.label == face.key.rpartition("/")[0].split("/")[0] for face in self.faces):
            return crops
        if named and all(face.label == Path(face.key).parent.name for face in self.faces):
            return f"folder:{crops},identity=name"
        return f"csv:{TABLE},root={crops}"

    def side(self, share: float) -> tuple[dict[str, int], dict[str, int]]:
        """Return the people to learn from and those held out, with the number of photographs of each."""
        held = {name: count for name, count in self.people.items() if is_held_out(name, share)}
        return {name: count for name, count in self.people.items() if name not in held}, held

    def people_table(self) -> str:
        """Return the lines ``path identity`` of a table, of crops where these are not aligned yet."""
        rows = [
            (face.key if self.aligned else crop_name(face.key), face.label)
            for face in self.faces
            if not set("\t\r\n") & set(face.key + face.label)
        ]
        return "".join(f"{path}\t{who}\n" for path, who in [("path", "identity"), *rows])


def look_at(photos: str, aligned: bool | None = None) -> tuple[PhotoLook, str]:
    """Look at photographs: who is on them, and whether they are aligned crops.

    Args:
        photos: a folder with one folder a person, a flat folder whose file names or list tell, or any source.
        aligned: say that they are crops, or are not, instead of looking.

    Returns:
        What they are, and a digest that changes when they do.

    Raises:
        SpecError: no such source, or nobody can be told apart.

    """
    text = absolute(photos)
    try:
        source = open_source(text)
    except SpecError as error:
        hint = "; ".join(word for word in ((error.hint or "").replace("--source ", ""), ELSE) if word)
        raise SpecError(error.message, file=error.file, line=error.line, hint=hint) from None
    source, text, form, notes = _named(source, text)
    faces = list(in_key_order(source.faces()))
    if form == BY_NAME:
        faces = [replace(face, label=_who(face.key)) for face in faces]
    sample = _sample(source, faces)
    mean = float(np.mean([likeness(image) for image in sample])) if sample else 0.0
    crops = _one_square(sample) and mean >= LEAST_MEAN if aligned is None else aligned
    look = PhotoLook(text, photos, tuple(faces), form, crops, mean, notes)
    if len(look.people) < 2:
        raise DataError(
            f"{look.counts}: there is nobody to tell apart",
            file=photos,
            hint="put each person's in a folder of their own, name them ann_1.jpg, or give a list: "
            f"lrfr quickstart list:people.txt,root={photos}",
        )
    return look, digest_of([look.text, len(faces), _stamps(source, faces[:_STAMPED])])


def absolute(text: str) -> str:
    """Return a source with absolute paths, so that it is the same from any folder."""
    kind, colon, place = text.partition(":")
    named = bool(colon) and kind in SOURCES
    if kind.startswith("synthetic") and kind in SOURCES:
        return text
    path, *options = re.split(r",(?=\w+=)", place if named else text)
    rebased = [
        re.sub(r"^(root|with)=(.+)", lambda found: f"{found[1]}={Path(found[2]).absolute()}", word)
        for word in options
    ]
    head = f"{kind}:" if named else ""
    return head + ",".join([str(Path(path).absolute()) if Path(path).exists() else path, *rebased])


def _named(source: Source, text: str) -> tuple[Source, str, str, tuple[str, ...]]:
    """Return the source that says who is who, its text, and how it is told."""
    if not isinstance(source, FolderSource):
        return source, text, f"the source '{source.kind}'", ()
    faces = source.faces()
    people = {face.label for face in faces if face.label}
    below = {face.key.rpartition("/")[0] for face in faces}
    if len(people) == 1 and len(below) > 1 and source.identity == "first":
        note = f"one folder holds all: the {len(below)} folders below it are taken as the people"
        text = f"folder:{source.root},identity=name"
        return replace(source, identity="name"), text, "folders", (note,)
    if people:
        return source, text, "folders", ()
    listed = _listed(source.root, len(faces))
    if listed is not None:
        return *listed, ()
    names = Counter(_who(face.key) for face in faces)
    if len(names) > 1 and sum(count > 1 for count in names.values()) * 2 >= len(names):
        return source, text, BY_NAME, ()
    return source, text, "folders", ()


def _listed(root: Path, count: int) -> tuple[Source, str, str] | None:
    """Return the list in a flat folder that names at least half of its pictures and their people."""
    for path in sorted(root.iterdir()):
        if path.suffix.lower() not in _LISTS or not path.is_file():
            continue
        kind = "list" if path.suffix.lower() in {".txt", ".lst"} else "csv"
        text = f"{kind}:{path},root={root}"
        try:
            source = open_source(text)
            known = [face for face in source.faces() if face.label and (root / face.key).is_file()]
        except LrfrError:
            continue
        if 2 * len(known) >= count:
            return source, text, f"the list {path.name}"
    return None


def _who(key: str) -> str:
    """Return whom a file's name names: all but the number at its end."""
    stem = Path(key).stem
    found = _NUMBERED.fullmatch(stem)
    return found["who"] if found else stem


def _sample(source: Source, faces: Sequence[Face]) -> list[ImageU8]:
    images = []
    for face in faces[:: max(1, len(faces) // SAMPLE)][:SAMPLE]:
        try:
            images.append(picture_within_limits(partial(source.read, face.place))[1])
        except ImageFault:
            continue
    return images


def _one_square(images: Sequence[ImageU8]) -> bool:
    """Say whether nearly all pictures are square and of one size."""
    common = Counter(image.shape[:2] for image in images).most_common(1)
    return bool(common) and common[0][0][0] == common[0][0][1] and common[0][1] >= _ALIKE * len(images)


def _stamps(source: Source, faces: Sequence[Face]) -> list[list[object]]:
    found = source.stamps([face.place for face in faces])
    # a copy of the same files has other times and inodes
    return [
        [face.key, face.label, (stamp or [source.fingerprint(face.place)])[0]]
        for face, stamp in zip(faces, found, strict=True)
    ]
