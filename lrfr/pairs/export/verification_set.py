"""An insightface ``.bin`` of verification pairs that are drawn from one part of a view."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError, did_you_mean
from lrfr.core.streams import stream
from lrfr.pairs.export.view_parts import parts_of
from lrfr.pairs.reading.dataset import PairDataset
from lrfr.pairs.sources.bin_file import write_bin

DEFAULT_PAIRS = 600


_PAIR_KEY = re.compile(r"(\d{6})/([01])")


def export_bin(dataset: PairDataset, out: Path, part: str, pairs: int | None, seed: int) -> int:
    """Write a ``.bin`` of verification pairs; return its number of images.

    Args:
        dataset: the view.
        out: the file.
        part: ``hr`` or a variant.
        pairs: how many; same and different persons alternate. None takes the pairs of a view of a ``.bin`` as
            they were, and draws 600 of any other.
        seed: of the draw.

    Raises:
        DataError: the view has no such part, or too few identities or images for pairs.

    """
    parts = {item.name: item for item in parts_of(dataset)}
    if part not in parts:
        raise DataError(
            f"the view has no part '{part}'", hint=f"{did_you_mean(part, parts)}; it has {', '.join(parts)}"
        )
    images, same = [], []
    listed = pairs_of_source(dataset) if pairs is None else []
    for first, second, together in listed or draw_pairs(dataset, pairs or DEFAULT_PAIRS, seed):
        images += [parts[part].file(int(dataset.rows[position]))[1] for position in (first, second)]
        same.append(together)
    write_bin(out, images, same)
    return len(images)


def pairs_of_source(dataset: PairDataset) -> list[tuple[int, int, bool]]:
    """Return the pairs of a view whose faces come from a ``.bin``, in its order; none for other views.

    A pair of which one image could not be used is left out.
    """
    sides: dict[str, dict[str, int]] = {}
    for position in range(len(dataset)):
        found = _PAIR_KEY.fullmatch(dataset.key(position).decode("utf-8", "replace"))
        if found is None:
            return []
        sides.setdefault(found[1], {})[found[2]] = position
    whole = [(pair["0"], pair["1"]) for _, pair in sorted(sides.items()) if len(pair) == 2]
    return [(first, second, bool(dataset.labels[first] == dataset.labels[second])) for first, second in whole]


def draw_pairs(dataset: PairDataset, count: int, seed: int) -> list[tuple[int, int, bool]]:
    """Draw (position, position, same person) pairs, same and different alternating, without repeating a
    pair.
    """
    members = {label: np.flatnonzero(dataset.labels == label) for label in range(dataset.num_classes)}
    several = [label for label, found in members.items() if len(found) > 1]
    if len(several) < 1 or len(members) < 2:
        raise DataError("pairs need two identities, one of them with two images")
    source = stream(seed, dataset.digest.encode(), 0, "pairs")
    pairs: list[tuple[int, int, bool]] = []
    seen: set[tuple[int, int]] = set()
    for slot in range(50 * count):
        together = len(pairs) % 2 == 0
        labels = several if together else list(members)
        a = labels[int(source.u(4 * slot) * len(labels))]
        b = a if together else labels[int(source.u(4 * slot + 1) * len(labels))]
        first = int(members[a][int(source.u(4 * slot + 2) * len(members[a]))])
        second = int(members[b][int(source.u(4 * slot + 3) * len(members[b]))])
        pair = (min(first, second), max(first, second))
        if first != second and (a == b) == together and pair not in seen:
            seen.add(pair)
            pairs.append((first, second, together))
        if len(pairs) == count:
            return pairs
    raise DataError(f"the view has fewer than {count} different pairs", hint=f"{len(pairs)} were found")
