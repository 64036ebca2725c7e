"""Readers of pair verification benchmarks: ``.bin`` files, ``pairs.txt`` folders, tab-separated lists, and
embedded faces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import data_of
from lrfr.core.lists import Row
from lrfr.eval.embeddings import Source
from lrfr.eval.pairs import PairList, agrees, pair_list, synthetic_pairs
from lrfr.eval.pairs.list_files import PAIR_COLUMNS, made_by_lrfr
from lrfr.eval.pairs.official_lists import CFP_TREE, TWO_LINES_TREE, official_pairs
from lrfr.eval.protocols.layout import PICTURE_SUFFIXES, integer, listed_file, need, own_rows
from lrfr.eval.protocols.seen import check_there
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Result
from lrfr.eval.scoring.conventions import fold_numbers
from lrfr.eval.scoring.folds import check_folds
from lrfr.eval.scoring.metrics import LabelFault, same_labels
from lrfr.eval.settings import Task
from lrfr.pairs.sources.bin_file import read_bin as read_images
from lrfr.pairs.sources.folder import read_pairs_txt
from lrfr.pairs.sources.places import place_options

BIN_TREE = (
    "{name}.bin            pickle of (list of encoded images, list of bool), images 2i and 2i+1 form pair i"
)
PAIRS_TREE = """
pairs.txt               '10 300', then 'Name 1 2' or 'NameA 1 NameB 2'; 600 lines a fold
                        (pairsDevTest.txt and pairsDevTrain.txt, '500' and '1100', by --data LIST)
lfw/Name/Name_0001.jpg"""
XQLFW_TREE = """
xqlfw_pairs.txt
xqlfw_aligned_112/Name/Name_0001.jpg
pairs.txt                          (optional, with lfw_aligned_112/: LFW beside it)"""
TSV_TREE = """
pairs.tsv               path_a <tab> path_b <tab> same [<tab> fold]; same is 1 or 0, 1 or -1, true or
                        false, same or different; without folds they are drawn, both kinds in each;
                        a list of lrfr make-list pairs is one; pairs.tsv,root=FOLDER where the pictures are
                        elsewhere;
                        paths below the list's folder, images/ or aligned/; commas or spaces will do
images/person/001.jpg   the folder above a file is taken as the person"""
# the second is the name of its unaligned pictures as they are distributed
_XQLFW_FOLDERS = ("xqlfw_aligned_112", "lfw_original_imgs_min_qual0.85variant11", "xqlfw")
_LFW_FOLDERS = ("lfw", "lfw_aligned_112", "lfw-deepfunneled", "lfw_funneled", "images")


def read_bin(path: Path, name: str) -> PairList:
    """Read an insightface verification set; folds are ten consecutive tenths (700 pairs each for CFP), as the
    sets are made; where a tenth holds one kind of pairs only they are drawn.
    """
    images, labels = read_images(path)
    same = same_labels(labels)
    if len(images) != 2 * len(same):
        raise DataError(f"{len(images)} images for {len(same)} pairs, expected two each", file=str(path))
    places, folds = np.arange(len(same), dtype=np.int64), fold_numbers(len(same))
    try:
        check_folds(folds, same)
        fold = folds
    except DataError:
        fold = None
    return PairList(
        name,
        list(images),
        2 * places,
        2 * places + 1,
        same,
        fold=fold,
        alignment="as in the .bin file",
        place=str(path),
    )


def read_lfw_list(list_path: Path, root: Path, name: str) -> PairList:
    """Read a list in the format of LFW: three fields for the same person, four for different ones.

    The folds are those of the header (``10 300``); a list of another view declares none, so that they are
    drawn and the benchmark's name says which list it is: ``lfw-pairsDevTest``.
    """
    listed = read_pairs_txt(list_path, DataError, names=True)
    found = {
        key: listed_file(root, key, list_path, pair.line, PICTURE_SUFFIXES)
        for pair in listed.pairs
        for key in pair[:2]
    }
    pairs: list[tuple[Source, Source]] = [(found[pair.first], found[pair.second]) for pair in listed.pairs]
    check_there(
        [path for pair in listed.pairs for path in (found[pair.first], found[pair.second])],
        [pair.line for pair in listed.pairs for _ in range(2)],
        list_path,
        root if name == "lfw" else None,
    )
    return _with_list_digest(
        pair_list(
            pairs,
            [pair.same for pair in listed.pairs],
            identities=[(_person(pair.first), _person(pair.second)) for pair in listed.pairs],
            folds=[listed.fold_of(row) for row in range(len(pairs))] if listed.folds else None,
            name=name if listed.folds else f"{name}-{list_path.stem}",
            alignment=f"as in {root.name}",
        ),
        list_path,
    )


def _person(key: str) -> str:
    return str(PurePath(key).parent)


@dataclass(frozen=True)
class ListedPairs:
    """The lines of a tab-separated list: two names first, then what is said of the pair.

    Attributes:
        rows: with their numbers.
        same: whether both show one person.
        folds: of the pairs, None where the list has none.
        people: of a list that lrfr made, those of each pair; else the folders above the files.

    """

    rows: Sequence[Row]
    same: Sequence[bool]
    folds: Sequence[int] | None
    people: Sequence[tuple[str, str]]


def listed_pairs(path: Path) -> ListedPairs:
    """Read ``path_a, path_b, same[, fold]`` lines, or a list of ``lrfr make-list pairs``.

    Raises:
        DataError: a line is none; named with its number.

    """
    ours = made_by_lrfr(path)
    rows = own_rows(path, PAIR_COLUMNS if ours else PAIR_COLUMNS[:4], optional=0 if ours else 1)
    try:
        same = same_labels(row[2] for _, row in rows)
    except LabelFault as fault:
        raise DataError(fault.message, file=str(path), line=rows[fault.row].number, hint=fault.hint) from None
    folds = [integer(row[3], path, number) for number, row in rows] if len(rows[0].fields) > 3 else None
    people = [(row[4], row[5]) if ours else (_person(row[0]), _person(row[1])) for _, row in rows]
    return ListedPairs(rows, same.tolist(), folds, people)


def read_pairs_tsv(list_path: Path, root: Path, name: str = "pairs-tsv") -> PairList:
    """Read ``path_a, path_b, same[, fold]`` lines; the folder above each file names the person, unless that
    contradicts the labels.
    """
    listed = listed_pairs(list_path)
    pairs: list[tuple[Source, Source]] = [
        (listed_file(root, row[0], list_path, number), listed_file(root, row[1], list_path, number))
        for number, row in listed.rows
    ]
    check_there(
        [path for pair in pairs for path in pair if isinstance(path, Path)],
        [number for number, _ in listed.rows for _ in range(2)],
        list_path,
        root,
    )
    return _with_list_digest(
        pair_list(
            pairs,
            listed.same,
            identities=listed.people if agrees(listed.people, listed.same) else None,
            folds=listed.folds,
            name=name,
            alignment=f"as in {root.name}",
        ),
        list_path,
    )


def _with_list_digest(pairs: PairList, path: Path) -> PairList:
    return replace(pairs, digest=hashlib.sha256(data_of(path)).hexdigest(), place=str(path))


def bin_tree(name: str) -> str:
    """Return the files of a benchmark that comes as ``.bin`` and in its authors' own form."""
    own = {
        "lfw": PAIRS_TREE,
        "calfw": TWO_LINES_TREE.format(name="CALFW"),
        "cplfw": TWO_LINES_TREE.format(name="CPLFW"),
        "cfp-ff": CFP_TREE.format(kinds="FF"),
        "cfp-fp": CFP_TREE.format(kinds="FP"),
    }
    return BIN_TREE.format(name=name.replace("-", "_")) + (f"\nor{own[name]}" if name in own else "")


def run_bin_or_folder(data: Path, task: Task, *, name: str) -> list[Result]:
    """Evaluate a benchmark distributed as ``NAME.bin`` or as its authors give it: LFW as ``pairs.txt`` (or
    the list of another view, by its name), CALFW and CPLFW as two lines a pair, CFP as a ``Protocol`` folder.
    """
    place, root = rooted(data)
    tree, stem = bin_tree(name), name.replace("-", "_")
    listed = place if place.is_file() else place / "pairs.txt"
    if name == "lfw" and listed.suffix.lower() == ".txt" and listed.exists():
        return verify(
            task, read_lfw_list(listed, root or need(listed.parent, _LFW_FOLDERS, PAIRS_TREE), name)
        )
    own = official_pairs(name, place, root, tree)
    if own is not None:
        return verify(task, own)
    if place.is_file():
        return verify(task, read_bin(place, name))
    return verify(task, read_bin(need(place, (f"{stem}.bin", f"{name}.bin"), tree), name))


def run_xqlfw(data: Path, task: Task) -> list[Result]:
    """Evaluate XQLFW and, where its files lie beside it, LFW: the table of MAug wants both, their difference
    and their mean.
    """
    lists = [
        (
            "xqlfw",
            need(data, "xqlfw_pairs.txt", XQLFW_TREE),
            need(data, _XQLFW_FOLDERS, XQLFW_TREE),
        )
    ]
    if (data / "pairs.txt").exists():
        lists.append(("lfw", data / "pairs.txt", need(data, ("lfw_aligned_112", "lfw"), XQLFW_TREE)))
    results: list[Result] = []
    for name, path, folder in lists:
        results += verify(task, read_lfw_list(path, folder, name))
    return results


def run_tsv(data: Path, task: Task) -> list[Result]:
    """Evaluate a tab-separated list, given as a file or as a folder that has one, with ``,root=FOLDER`` where
    its pictures lie elsewhere.
    """
    place, root = rooted(data)
    path = (
        place
        if place.is_file()
        else need(place, ("pairs.tsv", "splits/dev_pairs.tsv", "dev_pairs.tsv"), TSV_TREE)
    )
    return verify(task, read_pairs_tsv(path, root or images_root(path, task)))


def rooted(data: Path) -> tuple[Path, Path | None]:
    """Split ``LIST,root=FOLDER`` into the list and the folder of its pictures, None where it is not named.

    Raises:
        DataError: there is no such folder.

    """
    place, more = place_options(str(data), ("root",))
    root = Path(more["root"][-1]) if more else None
    if root is not None and not root.is_dir():
        raise DataError("no such folder", file=str(root), hint="root=FOLDER is where the listed paths start")
    return place, root


def images_root(list_path: Path, task: Task) -> Path:
    """Return the folder that a list's paths start from: the list's own or its parent's ``images`` or
    ``aligned``, else its own; photographs that are to be aligned are in no folder ``aligned``.
    """
    for base in (list_path.parent, list_path.parent.parent):
        for name in ("images", "aligned") if task.settings.align is None else ("images",):
            if (base / name).is_dir():
                return base / name
    return list_path.parent


def run_synthetic(data: Path | None, task: Task) -> list[Result]:
    """Evaluate on embedded faces: needs no data."""
    return verify(task, synthetic_pairs())
