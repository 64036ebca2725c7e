"""CelebA verification as CATFace reports it: random pairs of held-out people, balanced, TAR at FAR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.pairs import PairList, draw_two, groups_of, numbered, pair_list
from lrfr.eval.protocols.layout import inside, need, rows_of
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Result
from lrfr.eval.settings import Task

PAIRS = 10_000
Two = tuple[int, int]  # rows of the list of people
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
    test = {row[0] for _, row in rows_of(need(data, "list_eval_partition.txt", TREE), 2) if row[1] == "2"}
    rows = [row for _, row in rows_of(need(data, "identity_CelebA.txt", TREE), 2) if row[0] in test]
    people = numbered([row[1] for row in rows])
    try:
        groups, several = groups_of(people, int(people.max(initial=-1)) + 1)
    except DataError as error:
        error.file = str(data)
        raise
    generator = np.random.default_rng(seed)
    drawn: tuple[dict[frozenset[int], Two], dict[frozenset[int], Two]] = ({}, {})
    for _ in range(20 * count):  # a small set has fewer different pairs than asked
        same = len(drawn[1]) <= len(drawn[0])
        two = draw_two(generator, groups, several, same=same)
        drawn[same].setdefault(frozenset(two), two)
        if len(drawn[0]) + len(drawn[1]) == count:
            break
    chosen = [(*two, bool(kind)) for kind in (1, 0) for two in drawn[kind].values()]
    chosen = [chosen[place] for place in generator.permutation(len(chosen))]  # each fold holds both kinds
    images = [inside(folder, row[0]) for row in rows]
    return pair_list(
        [(images[a], images[b]) for a, b, _ in chosen],
        [same for *_, same in chosen],
        identities=[(rows[a][1], rows[b][1]) for a, b, _ in chosen],
        name="celeba-pairs",
    )


def run_celeba_pairs(data: Path, task: Task) -> list[Result]:
    """Evaluate verification on 10,000 drawn pairs of CelebA's test part."""
    return verify(task, draw_pairs(data, task.settings.seed))
