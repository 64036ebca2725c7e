"""CelebA verification as CATFace reports it: random pairs of held-out people, balanced, TAR at FAR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import PairList, Source, pair_list
from lrfr.eval.protocols.layout import inside, need, rows_of
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Result
from lrfr.eval.settings import Task

PAIRS = 10_000
Two = tuple[tuple[str, str], tuple[str, str]]  # (file, person) twice
TREE = """
identity_CelebA.txt             'file person'
list_eval_partition.txt         'file 0|1|2'; 2 is the test part
img_align_celeba/000001.jpg     (or aligned/)"""


def draw_pairs(data: Path, seed: int, count: int = PAIRS) -> PairList:
    """Draw balanced pairs of the test part's people, each at most once, in ten folds.

    The paper does not publish its pairs: the same seed gives the same ones here, and their digest is in the
    result. With 5,000 impostors the smallest FAR that can be told from zero is 2e-4.
    """
    folder = need(data, ("aligned", "img_align_celeba"), TREE)
    test = {row[0] for row in rows_of(need(data, "list_eval_partition.txt", TREE), 2) if row[1] == "2"}
    people: dict[str, list[str]] = {}
    for file, person, *_ in rows_of(need(data, "identity_CelebA.txt", TREE), 2):
        if file in test:
            people.setdefault(person, []).append(file)
    several = [name for name, files in people.items() if len(files) > 1]
    if len(people) < 2 or not several:
        raise DataError(
            f"the test part has {len(people)} people, {len(several)} with two pictures", file=str(data)
        )
    generator, names = np.random.default_rng(seed), list(people)
    drawn: tuple[dict[frozenset[str], Two], dict[frozenset[str], Two]] = ({}, {})
    for _ in range(20 * count):  # a small set has fewer different pairs than asked
        same = len(drawn[1]) <= len(drawn[0])
        first, second = _two(generator, people, several if same else names, same=same)
        drawn[same].setdefault(frozenset((first[0], second[0])), (first, second))
        if len(drawn[0]) + len(drawn[1]) == count:
            break
    rows = [(a, b, bool(kind)) for kind in (1, 0) for a, b in drawn[kind].values()]
    rows = [rows[place] for place in generator.permutation(len(rows))]  # so that each fold holds both kinds
    pairs: list[tuple[Source, Source]] = [(inside(folder, a[0]), inside(folder, b[0])) for a, b, _ in rows]
    return pair_list(
        pairs, [same for *_, same in rows], identities=[(a[1], b[1]) for a, b, _ in rows], name="celeba-pairs"
    )


def _two(
    generator: np.random.Generator, people: dict[str, list[str]], names: list[str], *, same: bool
) -> Two:
    """Return two (file, person): two pictures of one person, or one each of two."""
    if same:
        person = names[generator.integers(len(names))]
        a, b = generator.choice(len(people[person]), 2, replace=False)
        return (people[person][a], person), (people[person][b], person)
    a, b = (names[place] for place in generator.choice(len(names), 2, replace=False))
    return (_any(generator, people[a]), a), (_any(generator, people[b]), b)


def _any(generator: np.random.Generator, files: list[str]) -> str:
    return files[generator.integers(len(files))]


def run_celeba_pairs(data: Path, task: Task) -> list[Result]:
    """Evaluate verification on 10,000 drawn pairs of CelebA's test part."""
    return verify(task, draw_pairs(data, task.settings.seed))
