"""Lists of pairs as CALFW, CPLFW and CFP are distributed, with the folds of their authors."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.lists import is_count, read_rows
from lrfr.eval.pairs.pair_list import PairList, agrees, pair_list
from lrfr.eval.protocols.layout import PICTURE_SUFFIXES, file_digest, listed_file, need
from lrfr.eval.protocols.seen import check_there

TWO_LINES_TREE = """
pairs_{name}.txt         two lines 'NAME NUMBER' a pair; 0: different, above 0: same (CALFW: the fold)
aligned images/NAME     or images/NAME; pairs_{name}.txt,root=FOLDER where the pictures are elsewhere"""
CFP_TREE = """
Protocol/Pair_list_F.txt, Pair_list_P.txt       'NUMBER ../Data/Images/001/frontal/01.jpg'
Protocol/Split/{kinds}/01/same.txt, diff.txt        two numbers a line; each folder is a fold
Data/Images/001/frontal/01.jpg                  FOLDER,root=IMAGES for crops with these names elsewhere"""
FOLDS = 10


@dataclass(frozen=True)
class OfficialPair:
    """A pair of a list.

    Attributes:
        names: of its two pictures, below the folder of the pictures.
        same: whether both show one person.
        where: the file that says which picture it is, and the line, for each of the two.

    """

    names: tuple[str, str]
    same: bool
    where: tuple[tuple[Path, int], tuple[Path, int]]


@dataclass(frozen=True)
class OfficialList:
    """Pairs and their folds.

    Attributes:
        pairs: in the order of the list.
        fold: of each pair, [P], None where the list allows none.
        files: all that was read, for a digest.

    """

    pairs: tuple[OfficialPair, ...]
    fold: NDArray[np.int64] | None
    files: tuple[Path, ...]


def read_two_lines(path: Path) -> OfficialList:
    """Read ``pairs_CALFW.txt`` or ``pairs_CPLFW.txt``: two lines ``NAME NUMBER`` a pair, 0 for two people.

    Numbers of more than one kind above 0 are folds, as in CALFW; the pairs of two people have none and are
    dealt out in their order, as are both kinds where the numbers are 0 and 1: each tenth of a kind is a fold.

    Raises:
        DataError: a line is none, the two of a pair disagree, or one is missing; named with its number.

    """
    rows = read_rows(path, "NAME NUMBER", fields=(2,), separator="auto", names=True, error=DataError)
    if len(rows) % 2 or not rows:
        raise DataError(f"{len(rows)} lines, expected two for each pair", file=str(path))
    pairs, numbers = [], []
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        number = first.fields[1]
        if not is_count(number):
            raise DataError(
                f"'{number}' is no number of a fold, expected 'NAME NUMBER'",
                file=str(path),
                line=first.number,
            )
        if second.fields[1] != number:
            raise DataError(
                f"number {second.fields[1]}, but {number} in the line before: the two lines of a pair have "
                f"one number",
                file=str(path),
                line=second.number,
            )
        numbers.append(int(number))
        names = (first.fields[0].replace("\\", "/"), second.fields[0].replace("\\", "/"))
        pairs.append(OfficialPair(names, numbers[-1] > 0, ((path, first.number), (path, second.number))))
    return OfficialList(tuple(pairs), _dealt(np.array(numbers, np.int64)), (path,))


def _dealt(numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    kinds = np.unique(numbers[numbers > 0])
    told = len(kinds) > 1
    count = len(kinds) if told else FOLDS
    fold = np.searchsorted(kinds, numbers)
    for kind in (False,) if told else (False, True):
        places = np.flatnonzero((numbers > 0) == kind)
        if not len(places) or len(places) % count:
            return None
        fold[places] = np.arange(len(places)) * count // len(places)
    return fold


def read_cfp(folder: Path, kinds: str) -> OfficialList:
    """Read the ``Protocol`` folder of CFP.

    ``Pair_list_F.txt`` and ``Pair_list_P.txt`` number the frontal and profile pictures from 1; ``same.txt``
    and ``diff.txt`` of ``Split/FP/01`` to ``10`` (``Split/FF``) have two numbers a line, and each folder is a
    fold.

    Args:
        folder: ``Protocol``.
        kinds: ``FF`` or ``FP``: of the first and of the second picture of each pair.

    Raises:
        DataError: a file or a fold is missing, or a line is none; named with its number.

    """
    pictures = {kind: _numbered(folder / f"Pair_list_{kind}.txt") for kind in dict.fromkeys(kinds)}
    split = folder / "Split" / kinds
    folders = sorted(path for path in split.glob("*") if path.name.isdecimal() and path.is_dir())
    if not folders:
        raise DataError("no folders of folds, such as 01", file=str(split))
    pairs: list[OfficialPair] = []
    fold: list[int] = []
    files = [folder / f"Pair_list_{kind}.txt" for kind in pictures]
    for place, one in enumerate(folders):
        for name, same in (("same.txt", True), ("diff.txt", False)):
            files.append(one / name)
            pairs += _of_numbers(one / name, [pictures[kind] for kind in kinds], same)
            fold += [place] * (len(pairs) - len(fold))
    return OfficialList(tuple(pairs), np.array(fold, np.int64), tuple(files))


_Pictures = dict[int, tuple[str, tuple[Path, int]]]


def _numbered(path: Path) -> _Pictures:
    """Return the pictures that a list numbers, below ``Data/Images``, and where it does."""
    found: _Pictures = {}
    for line, (number, name) in read_rows(
        path, "NUMBER PATH", fields=(2,), separator="auto", names=True, error=DataError
    ):
        if not is_count(number) or int(number) in found:
            word = "comes twice" if is_count(number) else "is no number"
            raise DataError(f"'{number}' {word}, expected 'NUMBER PATH'", file=str(path), line=line)
        # paths are relative to Protocol: ../Data/Images/001/frontal/01.jpg
        plain = posixpath.normpath(name.replace("\\", "/")).removeprefix("../")
        found[int(number)] = (plain.removeprefix("Data/").removeprefix("Images/"), (path, line))
    return found


def _of_numbers(path: Path, sides: Sequence[_Pictures], same: bool) -> list[OfficialPair]:
    pairs = []
    for line, fields in read_rows(
        path, "NUMBER,NUMBER", fields=(2,), separator="auto", names=True, error=DataError
    ):
        chosen = []
        for field, pictures in zip(fields, sides, strict=True):
            if not is_count(field) or int(field) not in pictures:
                raise DataError(
                    f"'{field}' is no number of a picture, expected two of 1 to {max(pictures, default=0)}",
                    file=str(path),
                    line=line,
                )
            chosen.append(pictures[int(field)])
        (first, at), (second, there) = chosen
        pairs.append(OfficialPair((first, second), same, (at, there)))
    return pairs


def official_pairs(name: str, place: Path, root: Path | None, tree: str) -> PairList | None:
    """Read CALFW, CPLFW, CFP-FP or CFP-FF in their authors' form; None where ``place`` is something else.

    Args:
        name: of the benchmark.
        place: the folder, or the list of CALFW or CPLFW.
        root: folder of the pictures; None finds it beside the list.
        tree: for the message where it is missing.

    Raises:
        DataError: a line is none, a picture is not there, or the folder of the pictures is missing.

    """
    if name in {"calfw", "cplfw"}:
        listed = place if place.is_file() else place / f"pairs_{name.upper()}.txt"
        if listed.suffix.lower() != ".txt" or not listed.exists():
            return None
        folder = root or need(listed.parent, ("aligned images", "images", "aligned"), tree)
        return replace(_pairs_of(read_two_lines(listed), folder, name), place=str(listed))
    protocol = place / "Protocol"
    if not name.startswith("cfp-") or not protocol.is_dir():
        return None
    folder = root or need(place, ("Data/Images", "Images"), tree)
    return replace(_pairs_of(read_cfp(protocol, name[-2:].upper()), folder, name), place=str(protocol))


def _pairs_of(listed: OfficialList, root: Path, name: str) -> PairList:
    """Find the pictures of a list; the person is the folder of CFP, or the name before its last ``_``."""
    told = {
        part: where
        for pair in reversed(listed.pairs)
        for part, where in zip(pair.names, pair.where, strict=True)
    }
    known = {part: _found(root, part, *where) for part, where in told.items()}
    for path in dict.fromkeys(path for path, _ in told.values()):
        own = sorted((line, part) for part, (other, line) in told.items() if other == path)
        check_there([known[part] for _, part in own], [line for line, _ in own], path, root)
    people = [(_person(pair.names[0]), _person(pair.names[1])) for pair in listed.pairs]
    same = [pair.same for pair in listed.pairs]
    made = pair_list(
        [(known[pair.names[0]], known[pair.names[1]]) for pair in listed.pairs],
        same,
        identities=people if agrees(people, same) else None,
        folds=None if listed.fold is None else listed.fold.tolist(),
        name=name,
        alignment=f"as in {root.name}",
    )
    return replace(made, digest=file_digest(*listed.files))


def _person(name: str) -> str:
    return name.split("/", maxsplit=1)[0].rsplit("_", 1)[0]


def _found(root: Path, name: str, list_path: Path, line: int) -> Path:
    """Return the picture of a name, also where a crop has another suffix than the list says."""
    stem, suffix = posixpath.splitext(name)
    return listed_file(root, stem, list_path, line, (suffix, *PICTURE_SUFFIXES))
