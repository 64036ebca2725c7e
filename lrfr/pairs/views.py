"""Views: what an experiment trains on, as a small sealed JSON over a base and some of its degraded
variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import digest_of
from lrfr.pairs.store import Rows


def make_view(
    name: str,
    base_id: str,
    variants: Sequence[Mapping[str, Any]],
    *,
    min_per_id: int = 0,
    ids: Sequence[str] | None = None,
    split: str = "",
) -> dict[str, Any]:
    """Return a view.

    Args:
        name: for people; not part of the view's digest.
        base_id: the base.
        variants: ``action``, ``weight``, ``spec`` (name), ``variant``, ``size_px`` and ``up`` of each
            variant; none for HR alone.
        min_per_id: keep identities with at least this many rows.
        ids: keep these identities; None keeps all.
        split: keep rows of this split; "" keeps all.

    """
    chosen = {"min_per_id": min_per_id, "ids": sorted(ids) if ids is not None else None, "split": split}
    return {
        "format": "LRS1-view",
        "name": name,
        "base": base_id,
        "variants": [dict(variant) for variant in variants],
        "filter": chosen,
    }


def view_digest(view: Mapping[str, Any]) -> str:
    """Return the digest of what a view shows: everything but its name."""
    return digest_of({key: value for key, value in view.items() if key not in {"name", "digest"}})


def select_rows(rows: Rows, chosen: Mapping[str, Any], split: str | None = None) -> NDArray[np.int64]:
    """Return the rows that a view's filter keeps, in row order.

    Raises:
        SpecError: an identity or split that the base does not have.
        DataError: nothing is left.

    """
    keep = np.ones(len(rows), dtype=bool)
    for name in (chosen.get("split") or "", split or ""):
        if name:
            if name not in rows.split_names:
                raise SpecError(
                    f"no split '{name}'", hint=did_you_mean(name, [item for item in rows.split_names if item])
                )
            keep &= rows.splits == rows.split_names.index(name)
    if chosen.get("ids") is not None:
        keep &= np.isin(rows.labels, _numbers_of(rows, chosen["ids"]))
    if chosen.get("min_per_id"):
        counts = np.bincount(rows.labels[keep & (rows.labels >= 0)], minlength=len(rows.label_names) + 1)
        keep &= (rows.labels >= 0) & (counts[rows.labels] >= chosen["min_per_id"])
    found = np.flatnonzero(keep)
    if not len(found):
        raise DataError("the filter leaves no row", hint=f"filter: {dict(chosen)}")
    return found


def _numbers_of(rows: Rows, ids: Sequence[str]) -> list[int]:
    place = {name: number for number, name in enumerate(rows.label_names)}
    missing = [name for name in ids if name not in place]
    if missing:
        raise SpecError(
            f"{len(missing)} identities of the list are not in the base, the first is '{missing[0]}'"
        )
    return [place[name] for name in ids]


def draw_variants(
    digest: str, epoch: int, rows: NDArray[np.int64], weights: Sequence[float]
) -> NDArray[np.int64]:
    """Return the variant each row shows in an epoch: a pure function of (view, epoch, row) whose shares
    follow the weights.

    The golden-ratio sequence over row numbers, turned by a hash of view and epoch, spreads every share evenly
    over the rows, which lie in random order: the counts deviate from the weights by a few rows only.
    """
    start = int(digest_of([digest, "variant", epoch])[:16], 16)
    with np.errstate(over="ignore"):
        turned = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    share = (turned >> np.uint64(11)).astype(np.float64) * 2.0**-53
    edges = np.cumsum(np.asarray(weights, np.float64)) / float(np.sum(weights))
    return np.minimum(np.searchsorted(edges, share, side="right"), len(weights) - 1)
