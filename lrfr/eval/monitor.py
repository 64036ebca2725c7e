"""What a training loop calls at intervals: ``evaluate(embed) -> {name: value}`` on embedded faces or on
held-out rows of a view.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError
from lrfr.core.image import ImageU8
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import PairList, draw_distinct, groups_of, synthetic_pairs
from lrfr.eval.protocols.pair_lists import read_bin, read_pairs_tsv, rooted
from lrfr.eval.protocols.verification import verify, verify_pairs
from lrfr.eval.protocols.view_faces import Trials, view_trials
from lrfr.eval.report.compare import size_pair
from lrfr.eval.settings import Settings, Task

if TYPE_CHECKING:
    from lrfr.pairs.reading.dataset import PairDataset

Evaluate = Callable[[Embedder], dict[str, float]]
_READ = 64
_VIEW_PAIRS = 1000


def embedded_evaluator(sizes: Sequence[Size] = (112, 28, 14, 7), pairs: int = 400) -> Evaluate:
    """Return an evaluator on embedded invented faces that no training uses; the pairs are rendered once, at
    the first call.
    """
    return pairs_evaluator(lambda: synthetic_pairs(identities=40, count=pairs), sizes)


def view_evaluator(
    dataset: PairDataset, sizes: Sequence[Size] = (112, 28, 14, 7), pairs: int = 1000, seed: int = 0
) -> Evaluate:
    """Return an evaluator on the rows of ``dataset``, for example ``PairDataset(store, view,
    split="dev")``.
    """
    return pairs_evaluator(lambda: view_pairs(dataset, pairs, seed), sizes)


def pairs_evaluator(make: Callable[[], PairList], sizes: Sequence[Size]) -> Evaluate:
    """Return an evaluator of cross-resolution accuracy; the first metric is that of the smallest side, by
    which ``best`` is chosen.
    """
    settings = Settings(sizes=tuple(sizes), matching=("cross",), replicates=0)
    made: list[PairList] = []

    def evaluate(embed: Embedder) -> dict[str, float]:
        if not made:
            made.append(make())
        results = verify_pairs(embed, made[0], settings)
        return {
            f"accuracy {size_pair(result)}": result.metrics["accuracy"].value for result in reversed(results)
        }

    return evaluate


def data_evaluator(data: Sequence[str], sizes: Sequence[Size] = (112, 14)) -> Evaluate:
    """Return an evaluator on sets of pairs of one's own; the first metric, by which ``best`` is chosen, is
    the mean over the sets of the accuracy at the smallest side. What cannot be read is refused here, at once.

    Args:
        data: ``agedb_30.bin`` (insightface), a tab-separated list (``pairs.tsv``, ``pairs.tsv,root=FOLDER``),
            or a view ``STORE,view=NAME[,split=dev]``, which is measured at its variants in place of
            ``sizes``. Several may stand in one text, with commas between them.
        sizes: sides in px.

    Raises:
        SpecError: a name twice, or an unknown option.
        DataError: not there, or no such set.

    """
    sets: dict[str, Trials] = {}
    for place in places_of(data):
        trials = _opened(place, tuple(sizes))
        if trials.name in sets:
            raise SpecError(f"two sets are called '{trials.name}'", hint="rename one of them")
        sets[trials.name] = trials
    settings = Settings(matching=("cross",), replicates=0)

    def evaluate(embed: Embedder) -> dict[str, float]:
        found: dict[str, float] = {}
        smallest = []
        for name, one in sets.items():
            results = verify(Task(embed, settings, stored=one.stored), one.pairs, one.sizes)
            told = {f"{name} {size_pair(each)}": each.metrics["accuracy"].value for each in results}
            found |= dict(reversed(told.items()))
            smallest.append(results[-1].metrics["accuracy"].value)
        return {"accuracy": sum(smallest) / len(smallest), **found}

    return evaluate


def places_of(data: Sequence[str]) -> list[str]:
    """Split texts at commas; what has ``=`` belongs to what stands before it."""
    found: list[str] = []
    for part in (part for text in data for part in text.split(",") if part):
        if "=" in part and found:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def _opened(place: str, sizes: tuple[Size, ...]) -> Trials:
    path, root = rooted(Path(place)) if not re.search(",(view|split)=", place) else (Path(place), None)
    if path.is_dir() or not path.suffix or (root is None and "," in place):
        return view_trials(Path(place), _VIEW_PAIRS)
    name = path.stem
    pairs = read_bin(path, name) if path.suffix.lower() == ".bin" else None
    return Trials(name, pairs or read_pairs_tsv(path, root or path.parent, name), sizes, {})


def view_pairs(dataset: PairDataset, count: int = 1000, seed: int = 0) -> PairList:
    """Draw balanced pairs from a view's HR crops, none twice while there are others; the same seed gives the
    same pairs.

    Raises:
        DataError: fewer than two identities, or none with two images.

    """
    generator = np.random.default_rng(seed)
    label = dataset.labels
    groups, several = groups_of(label, dataset.num_classes)
    chosen = draw_distinct(generator, groups, several, count)
    kinds = [[(a, b) for a, b, same in chosen if same == kind] for kind in (True, False)]
    drawn = np.array([kinds[row % 2][row // 2 % len(kinds[row % 2])] for row in range(count)], np.int64)
    used, place = np.unique(drawn, return_inverse=True)
    pixels: list[ImageU8] = []
    for start in range(0, len(used), _READ):
        batch = dataset.batch(used[start : start + _READ], 0)
        pixels += list(batch.hr_bchw.permute(0, 2, 3, 1).contiguous().numpy())
    left, right = place.reshape(count, 2).T
    return PairList(
        "view",
        pixels,
        left,
        right,
        np.arange(count) % 2 == 0,
        identity=label[used],
        alignment="as in the view",
    )
