"""Views: which rows of a base an experiment sees, which degraded variant each row shows, and the id of it
all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError, did_you_mean
from lrfr.core.files import digest_of
from lrfr.pairs.format.manifests import LOSSLESS, BaseManifest, RowFilter, VariantManifest, VariantRef
from lrfr.pairs.format.rows import Rows
from lrfr.pairs.format.sealed import LAYOUT


def view_id(
    base: BaseManifest,
    shown: Rows,
    refs: Sequence[VariantRef],
    variants: Sequence[VariantManifest],
) -> str:
    """Return the id of what a view shows: the same rows with the same variants have the same id, whatever
    base or filter they come from; no name enters.

    Args:
        base: that the rows lie in.
        shown: the table of the rows that are shown (:meth:`lrfr.pairs.format.rows.Rows.take`).
        refs: the view's variants.
        variants: their manifests.

    """
    total = sum(ref.weight for ref in refs)
    drawn = [
        {
            "spec": manifest.pixel_digest,
            "variant": manifest.variant,
            "form": asdict(manifest.form),
            "codec": LOSSLESS,
            "share": round(ref.weight / total, 12),
            "up": asdict(ref.up),
        }
        for ref, manifest in zip(refs, variants, strict=True)
    ]
    crops = {"crop": asdict(base.crop), "seed": base.permutation_seed, "layout": LAYOUT}
    return digest_of({**crops, "rows": shown.digest(), "variants": drawn})


def select_rows(rows: Rows, chosen: RowFilter, split: str | None = None) -> NDArray[np.int64]:
    """Return the rows that a view's filter keeps, in row order.

    Raises:
        SpecError: an identity or split that the base does not have.
        DataError: nothing is left.

    """
    keep = np.ones(len(rows), dtype=bool)
    for name in (chosen.split, split or ""):
        if name:
            if name not in rows.split_names:
                raise SpecError(
                    f"no split '{name}'", hint=did_you_mean(name, [item for item in rows.split_names if item])
                )
            keep &= rows.splits == rows.split_names.index(name)
    if chosen.ids is not None:
        keep &= np.isin(rows.labels, _numbers_of(rows, chosen.ids))
    if chosen.min_per_id:
        counts = np.bincount(rows.labels[keep & (rows.labels >= 0)], minlength=len(rows.label_names) + 1)
        keep &= (rows.labels >= 0) & (counts[rows.labels] >= chosen.min_per_id)
    found = np.flatnonzero(keep)
    if not len(found):
        raise DataError("the filter leaves no row", hint=f"filter: {asdict(chosen)}")
    return found


def _numbers_of(rows: Rows, ids: Sequence[str]) -> list[int]:
    place = {name: number for number, name in enumerate(rows.label_names)}
    missing = [name for name in ids if name not in place]
    if missing:
        raise SpecError(
            f"{len(missing)} identities of the list are not in the base, the first is '{missing[0]}'"
        )
    return [place[name] for name in ids]


def dense_labels(rows: Rows, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the label of every chosen row and the names of all: the identities that occur, numbered from 0
    on in the order of their names; -1 for none.
    """
    labels = rows.labels[chosen].astype(np.int64)
    present = np.unique(labels[labels >= 0])
    dense = np.where(labels >= 0, np.searchsorted(present, labels), -1)
    return dense.astype(np.int64), tuple(rows.label_names[number] for number in present)


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
