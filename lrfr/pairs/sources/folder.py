"""The sources ``folder`` (one folder per identity, any depth) and ``lfw`` (the same, with the images that a
list names).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lrfr.core.errors import LrfrError, SpecError, did_you_mean
from lrfr.core.files import read_bytes, read_file, stats_below
from lrfr.core.lists import Row, is_count, match_names, read_rows
from lrfr.core.lists.walk import Walk
from lrfr.pairs.sources.base import Content, Face, Listing, Place, Source, Tally, file_stamp, stamp_of
from lrfr.pairs.sources.places import place_options

IDENTITIES = ("first", "parent", "name")
LINKS = ("inside", "all", "none")
_FOLLOW = "; write folder:PATH,links=all to follow them"
LFW_LISTS = (
    "pairs.txt",
    "pairsDevTrain.txt",
    "pairsDevTest.txt",
    "people.txt",
    "peopleDevTrain.txt",
    "peopleDevTest.txt",
)


class FilesSource(Source):
    """Reads images below a folder."""

    root: Path

    def read(self, place: Place) -> Content:
        """Read one file."""
        return read_bytes(_path(str(self.root), place))

    @property
    def stamps_as_read(self) -> bool:
        """Whether files are read as here: an open file tells its stamp."""
        return type(self).read is _READ

    def read_stamped(self, place: Place) -> tuple[Content, tuple[int, ...] | None]:
        """Read one file."""
        data, found = read_file(_path(str(self.root), place))
        return data, stamp_of(found)

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the file's size, times and inode."""
        return file_stamp(_path(str(self.root), place))

    def stamps(self, places: Sequence[Place]) -> list[tuple[int, ...] | None]:
        """Return the stamps of many files."""
        return [stamp_of(found) if found else None for found in stats_below(self.root, places)]


_READ = FilesSource.read


def _path(root: str, place: str) -> str:
    # joined by hand where that is the same: it is done for every file of every run
    return os.path.join(root, place) if place[:1] == "/" else f"{root}/{place}"


@dataclass(frozen=True)
class FolderSource(FilesSource):
    """A folder with one folder a person, any depth.

    Images that lie directly in the root have no identity. Files are known by their suffix, else by their
    first bytes; hidden and system files are passed over and counted.

    Attributes:
        root: the folder.
        identity: what names the identity: the ``first`` folder below the root, all folders above the image
            (``parent``, such as ``cam1/007``), or the ``name`` of the last one (``007``).
        links: which links to folders are followed: those to folders ``inside`` the root, ``all`` or ``none``.

    """

    root: Path
    identity: str = "first"
    links: str = "inside"
    kind = "folder"

    def faces(self) -> Sequence[Face]:
        """List every picture.

        Raises:
            SpecError: there is none.

        """
        found = self.listing().faces
        if not found:
            raise SpecError(
                "no image files here",
                file=str(self.root),
                hint=".jpg .png .webp .bmp .tif and others are known by name, the rest by first bytes",
            )
        return found

    def listing(self) -> Listing:
        """List every picture, with what else lies there."""
        tally, labels = Tally("file"), dict[str, str]()
        names = list(Walk(self.root, tally, self.links, _FOLLOW).pictures())
        parents = [name.rpartition("/")[0] for name in names]
        for parent in dict.fromkeys(parents):
            labels[parent] = self._label(parent)
        tally.faces.add_files(names, list(map(labels.__getitem__, parents)))
        if self.identity == "first":
            tally.notes += _deeper(self.root, labels)
        return tally.listing()

    def walks(self) -> Path:
        """Return the folder."""
        return self.root

    def _label(self, parent: str) -> str:
        folders = parent.split("/")
        return {"first": folders[0], "parent": "/".join(folders), "name": folders[-1]}[self.identity]

    def describe(self) -> dict[str, str | int]:
        """Name the folder, without its parents."""
        named: dict[str, str | int] = {"kind": self.kind, "name": self.root.resolve().name}
        chosen = {"identity": self.identity, "links": self.links}
        usual = {"identity": "first", "links": "inside"}
        return named | {name: value for name, value in chosen.items() if value != usual[name]}


def _deeper(root: Path, folders: Iterable[str]) -> list[str]:
    """Say so where the folders below the first ones look like the identities."""
    parents = {tuple(name.split("/")) if name else () for name in folders}
    first = {parts[0] for parts in parents if parts}
    if not parents or min(map(len, parents)) < 2 or len(parents) < max(2, 2 * len(first)):
        return []
    some = ", ".join(sorted(first)[:3])
    return [
        f"no picture lies directly in the {len(first)} folders of '{root.name}' ({some}), which are taken as "
        f"identities; if the {len(parents)} folders below them are, write folder:{root},identity=parent "
        f"(such as {'/'.join(min(parents))})"
    ]


def open_folder(text: str) -> FolderSource:
    """Open ``FOLDER[,identity=first|parent|name][,links=inside|all|none]``."""
    path, options = place_options(text, ("identity", "links"))
    identity, links = options.get("identity", ["first"])[-1], options.get("links", ["inside"])[-1]
    for name, value, known in (("identity", identity, IDENTITIES), ("links", links, LINKS)):
        if value not in known:
            raise SpecError(f"no {name}={value}", file=str(path), hint=did_you_mean(value, known))
    return FolderSource(path, identity, links)


@dataclass(frozen=True)
class LfwSource(FolderSource):
    """Labeled Faces in the Wild: ``<Name>/<Name>_0001.jpg``, only what its list names.

    Attributes:
        index: name of the list in the folder, a list of pairs or of people; "" takes the first of LFW's own
            that is there, and all images where there is none.

    """

    index: str = ""
    kind = "lfw"

    def listing(self) -> Listing:
        """List the images that the list names; those it names and that are not there are refused."""
        tally = Tally("file")
        pictures = [name for name in Walk(self.root, tally, self.links).pictures()]
        wanted = self._wanted()
        stems = {name.rsplit(".", 1)[0]: name for name in pictures}
        named = match_names(wanted, stems).known if wanted is not None else {stem: stem for stem in stems}
        chosen = {stems[stem] for stem in named.values()}
        for name in pictures:
            if name not in chosen or "/" not in name:
                tally.end("file", name, "not listed")
            else:
                tally.faces.append(Face(name, name.split("/")[-2], name))
        for key in sorted((wanted or set()) - named.keys()):
            tally.see("file")
            tally.end("file", key, "E_READ", f"{self._list().name} names it, and it is not there")
        return tally.listing()

    def _list(self) -> Path:
        names = [self.index] if self.index else [name for name in LFW_LISTS if (self.root / name).exists()]
        return self.root / (names[0] if names else LFW_LISTS[0])

    def _wanted(self) -> set[str] | None:
        path = self._list()
        if not path.exists() and not self.index:
            return None
        if "people" in path.name.lower():
            return _people(path)
        return {key for pair in read_pairs_txt(path).pairs for key in pair[:2]}


def open_lfw(text: str) -> LfwSource:
    """Open ``FOLDER[,list=pairsDevTest.txt]``."""
    path, options = place_options(text, ("list",))
    return LfwSource(path, index=options.get("list", [""])[-1])


def _people(path: Path) -> set[str]:
    """Read LFW's list of people, ``name count`` lines: their images are numbered from 1."""
    found = set()
    for number, parts in read_rows(path, "name count", fields=(1, 2), separator="auto"):
        if len(parts) == 2:
            if not is_count(parts[1]):
                raise SpecError("expected 'name count'", file=str(path), line=number)
            found |= {_lfw_key(parts[0], str(index)) for index in range(1, min(int(parts[1]), 100_000) + 1)}
    return found


class LfwPair(NamedTuple):
    """A pair of an LFW list: keys like ``Name/Name_0001`` without suffix, label, and its line from 1."""

    first: str
    second: str
    same: bool
    line: int


class LfwList(NamedTuple):
    """A list of LFW pairs and how many folds, of equal length and in order, its header declares; 0: none."""

    pairs: list[LfwPair]
    folds: int

    def fold_of(self, row: int) -> int:
        """Return the fold of a pair; 0 where the list declares none."""
        return row * self.folds // len(self.pairs)


def read_pairs_txt(path: Path, error: type[LrfrError] = SpecError, *, names: bool = False) -> LfwList:
    """Read a list of pairs in LFW's format, of any of its views.

    A header of two numbers is folds and pairs of each kind a fold (``pairs.txt``: ``10 300``), one of one
    number is pairs of each kind (``pairsDevTest.txt``: ``500``); a list may have none.

    Args:
        path: the list.
        error: the type of what is raised.
        names: see :func:`lrfr.core.lists.read_text`.

    Raises:
        LrfrError: of that type: a line is malformed, with its number; or the header promises another number
            of pairs than there are.

    """
    rows = read_rows(
        path,
        "name i j' or 'name i other j",
        fields=(3, 4),
        separator="auto",
        header=(1, 2),
        names=names,
        error=error,
    )
    # the two numbers stand between spaces also where the names do between tabs
    header = " ".join(rows[0].fields).split() if rows else []
    counts = [int(word) for word in header] if len(header) < 3 and all(map(is_count, header)) else []
    pairs = [_lfw_pair(row, path, error) for row in (rows[1:] if counts else rows)]
    if not pairs:
        raise error("the list has no pairs", file=str(path))
    promised = math.prod(counts) if counts else len(pairs)
    # some lists count both kinds together
    if len(pairs) not in {promised, 2 * promised} or (len(counts) == 2 and len(pairs) % counts[0]):
        raise error(
            f"the header '{' '.join(header)}' promises {2 * promised} pairs, the list has {len(pairs)}",
            file=str(path),
            line=rows[0].number,
        )
    return LfwList(pairs, counts[0] if len(counts) == 2 else 0)


def _lfw_pair(row: Row, path: Path, error: type[LrfrError]) -> LfwPair:
    parts = row.fields
    if len(parts) in {3, 4} and is_count(parts[1]) and is_count(parts[-1]):
        other = parts[0] if len(parts) == 3 else parts[2]
        return LfwPair(_lfw_key(parts[0], parts[1]), _lfw_key(other, parts[-1]), len(parts) == 3, row.number)
    raise error("expected 'name i j' or 'name i other j'", file=str(path), line=row.number)


def _lfw_key(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}"
