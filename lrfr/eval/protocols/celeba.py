"""CelebA: its lists as distributed, and verification on random pairs of held-out people (CATFace)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError
from lrfr.core.lists import Row
from lrfr.eval.embeddings import Source
from lrfr.eval.pairs import PairList, draw_distinct, groups_of, numbered, pair_list
from lrfr.eval.protocols.identify import digest_of
from lrfr.eval.protocols.layout import listed_file, need, table_rows
from lrfr.eval.protocols.seen import Ledger, check_there
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Files, Result
from lrfr.eval.settings import Task

PAIRS = 10_000
TREE = """
identity_CelebA.txt             'file person'                            (or in Anno/)
list_eval_partition.txt         'file 0|1|2'; 2 is the test part         (or in Eval/)
img_align_celeba/000001.jpg     (or Img/..., .png; or aligned/)"""


CELEBA_TREE = """
list_attr_celeba.txt            count, attribute names, then 'file 1 -1 ...'
list_eval_partition.txt         'file 0|1|2'; 2 is the test part
img_align_celeba/000001.jpg     (or aligned/)"""


@dataclass(frozen=True)
class AttributeList:
    """Images with attributes: ``value`` is 1, 0 or -1 (missing), [N, A]."""

    name: str
    images: Sequence[Source]
    attributes: tuple[str, ...]
    value: NDArray[np.int8]
    digest: str
    files: Files | None = None


def find_list(data: Path, stem: str, folder: str, tree: str = TREE) -> Path:
    """Return a list of CelebA: where it is distributed (``Anno/``, ``Eval/``), beside them, or as CSV."""
    return need(data, (f"{stem}.txt", f"{folder}/{stem}.txt", f"{stem}.csv"), tree)


def find_pictures(data: Path, tree: str = TREE) -> Path:
    """Return the folder of the pictures, aligned crops before those as distributed."""
    names = (
        "aligned",
        "img_align_celeba",
        "Img/img_align_celeba",
        "Img/img_align_celeba_png",
        "img_align_celeba_png",
    )
    found = need(data, names, tree)
    # some archives hold the folder once more
    return found / found.name if (found / found.name).is_dir() else found


def part_two(data: Path, tree: str = TREE) -> set[str]:
    """Return the names of the files of part 2.

    Raises:
        DataError: a part is none of 0, 1, 2, with its line; or part 2 is empty.

    """
    path = find_list(data, "list_eval_partition", "Eval", tree)
    found = set()
    for number, row in table_rows(path, "image_id")[1]:
        if len(row) != 2 or row[1] not in {"0", "1", "2"}:
            raise DataError("expected 'file 0', 'file 1' or 'file 2'", file=str(path), line=number)
        if row[1] == "2":
            found.add(row[0])
    if not found:
        raise DataError("no image of the test part (2)", file=str(path))
    return found


def pictures_of(folder: Path, names: Sequence[Row], path: Path) -> tuple[list[Path], Files]:
    """Return the files of listed names (``.jpg`` in the lists, also where they are PNG), and the record of
    the folder.
    """
    files = []
    for number, row in names:
        file = listed_file(folder, row[0], path, number)
        stem = row[0].rpartition(".")[0] or row[0]
        files.append(
            file if file.exists() else listed_file(folder, stem, path, number, (".png", ".jpg", ".jpeg"))
        )
    check_there(files, [number for number, _ in names], path)
    ledger = Ledger()
    ledger.unlisted(folder, files, "not of the test part")
    return files, ledger.files()


def draw_pairs(data: Path, seed: int, count: int = PAIRS) -> PairList:
    """Draw balanced pairs of the test part's people, each at most once; folds are drawn as for any list.

    The paper does not publish its pairs: the same seed gives the same ones here, and their digest is in the
    result. With 5,000 impostors the smallest FAR that can be told from zero is 2e-4.
    """
    folder, test = find_pictures(data), part_two(data)
    path = find_list(data, "identity_CelebA", "Anno")
    listed = table_rows(path, "image_id")[1]
    for number, row in listed:
        if len(row) != 2:
            raise DataError("expected 'file person'", file=str(path), line=number)
    chosen_rows = [row for row in listed if row.fields[0] in test]
    images, files = pictures_of(folder, chosen_rows, path)
    rows = [row.fields for row in chosen_rows]
    people = numbered([row[1] for row in rows])
    try:
        groups, several = groups_of(people, int(people.max(initial=-1)) + 1)
    except DataError as error:
        error.file = str(data)
        raise
    generator = np.random.default_rng(seed)
    chosen = draw_distinct(generator, groups, several, count)
    return replace(
        pair_list(
            [(images[a], images[b]) for a, b, _ in chosen],
            [same for *_, same in chosen],
            identities=[(rows[a][1], rows[b][1]) for a, b, _ in chosen],
            name="celeba-pairs",
        ),
        files=files,
    )


def run_celeba_pairs(data: Path, task: Task) -> list[Result]:
    """Evaluate verification on 10,000 drawn pairs of CelebA's test part."""
    return verify(task, draw_pairs(data, task.settings.seed))


def read_celeba(data: Path, wanted: Sequence[str]) -> AttributeList:
    """Read the test part (2) of CelebA's partition with the wanted attributes."""
    path = find_list(data, "list_attr_celeba", "Anno", CELEBA_TREE)
    return celeba_form(data, path, find_pictures(data, CELEBA_TREE), wanted, "celeba")


def celeba_form(data: Path, path: Path, folder: Path, wanted: Sequence[str], name: str) -> AttributeList:
    """Read attributes in CelebA's form: those of part 2 of the partition."""
    known, rows = table_rows(path, "image_id")
    if not known:
        raise DataError("expected a count, then the names of the attributes", file=str(path))
    absent = [attribute for attribute in wanted if attribute not in known]
    if absent:
        raise DataError(f"has no attribute '{absent[0]}'", file=str(path), line=2)
    columns = [known.index(attribute) + 1 for attribute in wanted]
    test = part_two(data, CELEBA_TREE)
    for number, fields in rows:
        if len(fields) != len(known) + 1 or not set(fields[1:]) <= {"1", "-1", "0"}:
            raise DataError(
                f"expected a file and {len(known)} values of 1 or -1", file=str(path), line=number
            )
    rows = [row for row in rows if row.fields[0] in test]
    if not rows:
        raise DataError("no image of the test part (2)", file=str(path))
    images, files = pictures_of(folder, rows, path)
    value = np.array([[row.fields[column] == "1" for column in columns] for row in rows]).astype(np.int8)
    digest = digest_of([" ".join(row.fields) for row in rows])
    return AttributeList(name, images, tuple(wanted), value, digest, files)
