"""The faces that a list is drawn from: of a source or of a view, by key, with what is known of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, as_path, did_you_mean
from lrfr.core.lists import spelled
from lrfr.eval.embeddings import Ints
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.sources.base import Source


@dataclass(frozen=True)
class FaceTable:
    """Faces by key, sorted.

    Attributes:
        keys: of every face, each once.
        person: number of every face's identity into ``people``, -1 where it has none, [N].
        people: names of the identities.
        attributes: 1, 0 or -1 for unknown, int8 [N, A].
        attribute_names: of the columns.
        origin: where the faces come from, in words.

    """

    keys: tuple[str, ...]
    person: Ints
    people: tuple[str, ...]
    attributes: NDArray[np.int8]
    attribute_names: tuple[str, ...]
    origin: str

    def column(self, name: str) -> NDArray[np.int8]:
        """Return the values of an attribute, [N].

        Raises:
            SpecError: the faces have no such attribute.

        """
        if name not in self.attribute_names:
            raise SpecError(f"no attribute '{name}'", hint=did_you_mean(name, self.attribute_names))
        return np.asarray(self.attributes[:, self.attribute_names.index(name)])

    def named(self) -> Ints:
        """Return the places of the faces that have an identity.

        Raises:
            DataError: none has.

        """
        found = np.flatnonzero(self.person >= 0)
        if not len(found):
            raise DataError(
                f"none of {len(self.keys)} faces of {self.origin} has an identity, so no trials can be drawn",
                hint="give a source with a folder or a label for each person, or a list of your own",
            )
        return found


def table_of_source(source: str | Path | Source, split: str = "", holdout: float = 0.0) -> FaceTable:
    """Return the faces that a source lists, those of one split where one is named; pictures are not looked
    at.

    Args:
        source: ``kind:place``, a path, or an open source.
        split: of the source, or of the hold-out.
        holdout: share of the identities that get the split ``test``, as ``make-pairs --holdout`` does it.

    Raises:
        SpecError: no such source or split, or the source has splits of its own to hold out from.
        DataError: no face is left.

    """
    from lrfr.pairs.build.ingest import hold_out
    from lrfr.pairs.build.scan import Ingest
    from lrfr.pairs.sources.table import open_source

    opened = source if isinstance(source, Source) else open_source(str(source))
    ingest = Ingest(opened)
    faces = (hold_out(ingest, holdout) if holdout else ingest).faces()
    splits = {face.split for face in faces}
    if split and split not in splits:
        known = did_you_mean(split, splits - {""}) if splits - {""} else "it has none; --holdout 0.2 makes it"
        raise SpecError(f"the source has no split '{split}'", hint=known)
    used = {face.key: face for face in faces if not face.fault and split in {"", face.split}}
    if not used:
        raise DataError(f"no face of {source if isinstance(source, str | Path) else opened.kind} is usable")
    keys = tuple(sorted(used))
    people = tuple(sorted({face.label for face in used.values()} - {""}))
    number = {"": -1} | {name: place for place, name in enumerate(people)}
    names = tuple(sorted({name for face in used.values() for name in face.attributes}))
    place = {name: column for column, name in enumerate(names)}
    attributes = np.full((len(keys), len(names)), -1, np.int8)
    for row, key in enumerate(keys):
        for name, value in used[key].attributes.items():
            attributes[row, place[name]] = value
    person = np.array([number[used[key].label] for key in keys], np.int64)
    told = f"source {opened.kind}" + (f", split {split}" if split else "")
    return FaceTable(keys, person, people, attributes, names, told)


def table_of_view(store: StoreFiles | Path | str, view: str = "default", split: str = "") -> FaceTable:
    """Return the faces that a view shows, or those of another split of its parts.

    Raises:
        SpecError: no such view or split.
        DataError: no face is left, or the store is damaged.

    """
    from lrfr.pairs.views import ViewRows, dense_labels, select_rows

    files = store if isinstance(store, StoreFiles) else StoreFiles(Path(store))
    found = files.view(view)
    stored = ViewRows(files, found.parts)
    chosen = select_rows(stored, found.filter, split)
    labels, people = dense_labels(stored, chosen)
    keys = [stored.keys.key(row).decode("utf-8", "surrogateescape") for row in stored.rows[chosen].tolist()]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    told = f"view {view}" + (f", split {split or found.filter.split}" if split or found.filter.split else "")
    return FaceTable(
        tuple(keys[row] for row in order),
        labels[order],
        people,
        np.asarray(stored.attributes[chosen][order]),
        stored.attribute_names,
        told,
    )


def face_table(
    place: str, store: StoreFiles | Path | str = "store", split: str = "", holdout: float = 0.0
) -> FaceTable:
    """Return the faces of a view of ``store``, by its name or ``view:NAME``, or of a source.

    Raises:
        SpecError: it is neither or both, or there is no such split.
        DataError: no face is left.

    """
    files = store if isinstance(store, StoreFiles) else StoreFiles(as_path(store, "a store"))
    name = place.removeprefix("view:")
    named = name == place and re.fullmatch(r"[\w.-]+", name) is not None
    found = named and files.view_path(name).exists()
    if found and Path(place).exists():
        raise SpecError(
            f"'{place}' is a view of '{files.root}' and a path", hint=f"view:{place} or ./{place} says which"
        )
    if found or name != place:
        if holdout:
            raise SpecError(
                "a view has its hold-out already", hint=f"lrfr store info {name} counts its splits"
            )
        return table_of_view(files, name, split)
    return table_of_source(place, split, holdout)


def hash_text(name: str) -> bytes:
    """Return the bytes that stand for a name wherever a draw goes by it, whatever system spelled it."""
    return spelled(name).encode("utf-8", "surrogateescape")
