"""The source ``list``: text lists of images, ``path label`` in either order, or MXNet's ``.lst``."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.lists import read_text
from lrfr.core.lists.fields import one_row, separator_hint
from lrfr.core.lists.text import lines_of
from lrfr.pairs.sources.base import Face, Listing, Tally, identity_name
from lrfr.pairs.sources.folder import FilesSource
from lrfr.pairs.sources.places import below, place_options

_SAMPLE = 2000
_LOOKED_AT = 64
_HEADINGS = frozenset(
    {"path", "file", "filename", "file_name", "image", "image_id", "img", "img_path", "image_path"}
)


@dataclass(frozen=True)
class ImageListSource(FilesSource):
    """A text list of images with labels: ``path label``, ``label path``, ``.lst`` or paths alone.

    MXNet's ``.lst`` holds ``number label ... path``; of several labels the first is the identity. Where a
    list holds paths alone, the folder of an image is its identity.

    Attributes:
        path: the list.
        root: the folder that its paths start from.

    """

    path: Path
    root: Path
    kind = "list"

    def listing(self) -> Listing:
        """List the images of the list; a line that cannot be read is refused, and no other.

        Raises:
            SpecError: the list cannot be read, or no line names an image.

        """
        lines = list(lines_of(read_text(self.path, names=True)))
        tally = Tally("line")
        split, form = _form_of([line.text for line in lines[:_SAMPLE]], self.path)
        for number, text in lines:
            tally.see()
            fields = split(text)
            if text.startswith("#"):
                tally.end("line", f"{self.path.name}:{number}", "comment")
            elif not tally.faces and _is_header(fields):
                tally.end("line", text[:200], "header")
            elif not form.fits(fields):
                said = f"{self.path.name}:{number}: expected '{form.words}'"
                tally.end("line", text[:200], "E_LINE", said)
            else:
                tally.faces.append(self._face(form, fields, number))
        tally.notes += self._elsewhere([face.key for face in tally.faces[:_LOOKED_AT]])
        return tally.listing()

    def _elsewhere(self, names: Sequence[str]) -> list[str]:
        """Say what to write where none of the first pictures is there."""
        if not names or any(os.path.isfile(os.path.join(self.root, name)) for name in names):
            return []
        name = names[0].replace("\\", "/")
        tails = [name.split("/", start)[-1] for start in range(1, name.count("/") + 1)]
        there = next((tail for tail in tails if os.path.isfile(os.path.join(self.root, tail))), None)
        if there:
            told = f"'{there}' is: cut '{names[0][: -len(there)]}' from each line"
        elif re.match(r"/|\w:/", name):
            told = f"cut from each line what stands before its folder and write list:{self.path},root=FOLDER"
        else:
            told = f"write list:{self.path},root=FOLDER, the folder in which '{name}' is"
        return [f"none of the first {len(names)} pictures of the list is below {self.root}; {told}"]

    def _face(self, form: _Form, fields: list[str], number: int) -> Face:
        name = below(fields[form.path], self.root)
        label = fields[form.label] if form.label is not None else os.path.dirname(name)
        person, fault = _person(label)
        detail = f"{self.path.name}:{number}: '{label}'" if fault else ""
        return Face(name, person, name, fault=fault, detail=detail)

    def describe(self) -> dict[str, str | int]:
        """Name the list."""
        return {"kind": self.kind, "name": self.path.name}


def _person(label: str) -> tuple[str, str]:
    """Return (identity, reason code): whole numbers lose their decimals, as MXNet writes them."""
    if label.lower() in {"nan", "inf", "-inf", "+inf"}:
        return "", "E_LABEL"
    try:
        number = float(label) if any(mark in label for mark in ".eE") else None
    except ValueError:
        number = None
    if number is None:
        return identity_name(label), ""
    return (identity_name(str(int(number))), "") if number.is_integer() else ("", "E_LABEL")


def _is_header(fields: Sequence[str]) -> bool:
    """Return whether a first line counts the others or names their columns."""
    return (len(fields) == 1 and fields[0].isdigit()) or any(word.lower() in _HEADINGS for word in fields)


def _is_image(text: str) -> bool:
    return os.path.splitext(text)[1].lower() in IMAGE_SUFFIXES


@dataclass(frozen=True)
class _Form:
    """Where path and label stand in a line of ``count`` fields."""

    count: int
    path: int
    label: int | None

    @property
    def words(self) -> str:
        """A line of this form."""
        words = ["value"] * self.count
        words[self.path] = "path"
        if self.label is not None:
            words[self.label] = "label"
        return " ".join(words)

    def fits(self, fields: Sequence[str]) -> bool:
        return len(fields) == self.count and bool(fields[self.path])


class _Splitter:
    """Splits a line at one separator; at white space, a path may hold some itself."""

    def __init__(self, mark: str | None, count: int = 0, last: bool = False) -> None:
        self.mark, self.count, self.last = mark, count, last

    def __call__(self, line: str) -> list[str]:
        if self.mark:
            return one_row(line, self.mark)
        if not self.count:
            return line.split()
        return line.split(None, self.count - 1) if self.last else line.rsplit(None, self.count - 1)


def _form_of(lines: Sequence[str], path: Path) -> tuple[_Splitter, _Form]:
    """Return how most lines are split and where their path and label stand."""
    best: tuple[tuple[int, int], _Splitter, _Form] | None = None
    marks = [mark for mark in ("\t", ",", ";") if any(mark in line for line in lines)]
    ways = [_Splitter(mark) for mark in (*marks, None)]
    ways += [
        _Splitter(None, 2),
        _Splitter(None, 2, last=True),
        _Splitter(None, 3, last=True),
        _Splitter(None, 1),
    ]
    for split in ways:
        rows = [split(line) for line in lines if not line.startswith("#")]
        shapes = Counter((len(row), place) for row in rows for place in _image_places(row))
        for (count, place), number in shapes.most_common(2):
            form = _Form(count, place, _label_place(count, place))
            # a label with a folder in it is the beginning of a path with a space
            plain = sum(form.label is None or "/" not in row[form.label] for row in rows if len(row) == count)
            if best is None or (number, plain) > best[0]:
                best = ((number, plain), split, form)
    if best is None:
        raise SpecError(
            "no line names an image file",
            file=str(path),
            line=1,
            hint=next(filter(None, map(separator_hint, lines)), None)
            or "expected 'path label' or MXNet's .lst",
        )
    return best[1], best[2]


def _image_places(row: Sequence[str]) -> list[int]:
    return [place for place, field in enumerate(row) if _is_image(field)][:1]


def _label_place(count: int, path: int) -> int | None:
    if count == 1:
        return None
    if path == 0:
        return 1
    # MXNet's .lst: a running number first, the path last; with two fields the other one is the label
    return 1 if path == count - 1 and count > 2 else 0


def open_list(text: str) -> ImageListSource:
    """Open ``LIST[,root=FOLDER]`` (paths start from the list's folder unless ``root`` says otherwise)."""
    path, options = place_options(text, ("root",))
    return ImageListSource(path, Path(options["root"][-1]) if "root" in options else path.parent)
