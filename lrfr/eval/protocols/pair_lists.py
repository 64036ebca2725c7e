"""Readers of pair verification benchmarks: ``.bin`` files, ``pairs.txt`` folders, tab-separated lists, and
embedded faces.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Source
from lrfr.eval.pairs import PairList, pair_list, synthetic_pairs
from lrfr.eval.protocols.layout import inside, integer, lines_of, need, rows_of
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Result
from lrfr.eval.settings import Task
from lrfr.pairs.sources.bin_file import read_bin as read_images

BIN_TREE = (
    "{name}.bin            pickle of (list of encoded images, list of bool), images 2i and 2i+1 form pair i"
)
PAIRS_TREE = """
pairs.txt               '10 300', then 'Name 1 2' or 'NameA 1 NameB 2'; 600 lines a fold
lfw/Name/Name_0001.jpg"""
XQLFW_TREE = """
xqlfw_pairs.txt
xqlfw_aligned_112/Name/Name_0001.jpg
pairs.txt                          (optional, with lfw_aligned_112/: LFW beside it)"""
TSV_TREE = """
pairs.tsv               path_a <tab> path_b <tab> same (1 or 0) [<tab> fold];
                        paths below the list's folder, images/ or aligned/
images/person/001.jpg   the folder above a file is taken as the person"""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_bin(path: Path, name: str) -> PairList:
    """Read an insightface verification set; folds are ten consecutive tenths (700 pairs each for CFP)."""
    images, same = read_images(path)
    if len(images) != 2 * len(same):
        raise DataError(f"{len(images)} images for {len(same)} pairs, expected two each", file=str(path))
    places = np.arange(len(same), dtype=np.int64)
    return PairList(
        name,
        list(images),
        2 * places,
        2 * places + 1,
        np.asarray(same, bool),
        alignment="as in the .bin file",
    )


def read_pairs_txt(list_path: Path, root: Path, name: str) -> PairList:
    """Read a list in the format of LFW: three fields for the same person, four for different ones."""
    lines = lines_of(list_path)
    if not lines:
        raise DataError("the list is empty", file=str(list_path))
    header = lines[0].text.split()
    # one or two numbers are a header (folds, pairs a fold); without one the list is cut into ten folds
    count = integer(header[0], list_path, lines[0].number) if len(header) in {1, 2} else 10
    body = lines[1:] if len(header) in {1, 2} else lines
    pairs: list[tuple[Source, Source]] = []
    same, people = [], []
    for number, line in body:
        fields = line.split()
        if len(fields) not in {3, 4}:
            raise DataError(
                f"{len(fields)} fields, expected 3 (same person) or 4", file=str(list_path), line=number
            )
        other = fields[0] if len(fields) == 3 else fields[2]
        first, second = integer(fields[1], list_path, number), integer(fields[-1], list_path, number)
        pairs.append((_lfw_file(root, fields[0], first), _lfw_file(root, other, second)))
        same.append(len(fields) == 3)
        people.append((fields[0], other))
    per_fold = max(1, len(body) // max(1, count))
    folds = [min(row // per_fold, count - 1) for row in range(len(body))]
    return _with_list_digest(
        pair_list(pairs, same, identities=people, folds=folds, name=name, alignment=f"as in {root.name}"),
        list_path,
    )


def _lfw_file(root: Path, person: str, number: int) -> Path:
    stem = inside(root, f"{person}/{person}_{number:04d}")
    for suffix in IMAGE_SUFFIXES:
        if stem.with_name(stem.name + suffix).exists():
            return stem.with_name(stem.name + suffix)
    raise DataError("the list names a picture that is not there", file=f"{stem}.jpg")


def read_pairs_tsv(list_path: Path, root: Path, name: str = "pairs-tsv") -> PairList:
    """Read ``path_a, path_b, same[, fold]`` lines; the folder above each file names the person, unless that
    contradicts the labels.
    """
    rows = rows_of(list_path, 3, "\t")
    pairs: list[tuple[Source, Source]] = [(inside(root, row[0]), inside(root, row[1])) for _, row in rows]
    same = [integer(row[2], list_path, number) != 0 for number, row in rows]
    folds = (
        [integer(row[3], list_path, number) for number, row in rows]
        if all(len(row) > 3 for _, row in rows)
        else None
    )
    people = [(str(Path(row[0]).parent), str(Path(row[1]).parent)) for _, row in rows]
    # folders that contradict the labels name no people: intervals then resample pairs
    named = all((a == b) == label for (a, b), label in zip(people, same, strict=True))
    for side in {path for pair in pairs for path in pair if isinstance(path, Path)}:
        if not side.exists():
            raise DataError("the list names a picture that is not there", file=str(side))
    return _with_list_digest(
        pair_list(
            pairs,
            same,
            identities=people if named else None,
            folds=folds,
            name=name,
            alignment=f"as in {root.name}",
        ),
        list_path,
    )


def _with_list_digest(pairs: PairList, path: Path) -> PairList:
    object.__setattr__(pairs, "digest", hashlib.sha256(path.read_bytes()).hexdigest())
    return pairs


def run_bin_or_folder(data: Path, task: Task, *, name: str) -> list[Result]:
    """Evaluate a benchmark distributed as ``NAME.bin``; LFW also as ``pairs.txt`` beside a folder of
    pictures.
    """
    stem = name.replace("-", "_")
    if data.is_file():
        pairs = read_bin(data, name)
    elif name == "lfw" and (data / "pairs.txt").exists():
        folder = need(data, ("lfw", "lfw_aligned_112", "lfw-deepfunneled", "images"), PAIRS_TREE)
        pairs = read_pairs_txt(data / "pairs.txt", folder, name)
    else:
        tree = BIN_TREE.format(name=stem) + (f"\nor{PAIRS_TREE}" if name == "lfw" else "")
        pairs = read_bin(need(data, (f"{stem}.bin", f"{name}.bin"), tree), name)
    return verify(task, pairs)


def run_xqlfw(data: Path, task: Task) -> list[Result]:
    """Evaluate XQLFW and, where its files lie beside it, LFW: the table of MAug wants both, their difference
    and their mean.
    """
    lists = [
        (
            "xqlfw",
            need(data, "xqlfw_pairs.txt", XQLFW_TREE),
            need(data, ("xqlfw_aligned_112", "xqlfw"), XQLFW_TREE),
        )
    ]
    if (data / "pairs.txt").exists():
        lists.append(("lfw", data / "pairs.txt", need(data, ("lfw_aligned_112", "lfw"), XQLFW_TREE)))
    results: list[Result] = []
    for name, path, folder in lists:
        results += verify(task, read_pairs_txt(path, folder, name))
    return results


def run_tsv(data: Path, task: Task) -> list[Result]:
    """Evaluate a tab-separated list, given as a file or as a folder that has one."""
    path = (
        data
        if data.is_file()
        else need(data, ("pairs.tsv", "splits/dev_pairs.tsv", "dev_pairs.tsv"), TSV_TREE)
    )
    return verify(task, read_pairs_tsv(path, images_root(path)))


def images_root(list_path: Path) -> Path:
    """Return the folder that a list's paths start from: the list's own or its parent's ``images`` or
    ``aligned``, else its own.
    """
    for base in (list_path.parent, list_path.parent.parent):
        for name in ("images", "aligned"):
            if (base / name).is_dir():
                return base / name
    return list_path.parent


def run_synthetic(data: Path | None, task: Task) -> list[Result]:
    """Evaluate on embedded faces: needs no data."""
    return verify(task, synthetic_pairs())
