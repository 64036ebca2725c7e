"""The last file of a make-pairs: the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import make_folder, write_if_other
from lrfr.pairs.build.lr import Variant
from lrfr.pairs.format.manifests import (
    BaseManifest,
    RowFilter,
    SourceReport,
    VariantManifest,
    VariantRef,
    View,
)
from lrfr.pairs.format.rows import Rows
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.views import select_rows, view_id


@dataclass(frozen=True)
class ViewOptions:
    """What a view keeps and how it mixes.

    Attributes:
        name: of the view.
        weights: one per spec; None weighs all alike.
        min_per_id: keep identities with at least this many rows.
        ids: keep these identities.
        split: keep this split.

    """

    name: str = "default"
    weights: tuple[float, ...] | None = None
    min_per_id: int = 0
    ids: tuple[str, ...] | None = None
    split: str = ""

    @property
    def filter(self) -> RowFilter:
        """Which rows it keeps."""
        ids = tuple(sorted(set(self.ids))) if self.ids is not None else None
        return RowFilter(self.min_per_id, ids, self.split)


def write_view(
    store: StoreFiles,
    base: BaseManifest,
    shown: Rows,
    variants: Sequence[tuple[Variant, VariantManifest]],
    wished: ViewOptions,
) -> View:
    """Write a view, where another one or none is there under its name.

    Args:
        store: where.
        base: that it shows.
        shown: the rows that it shows.
        variants: what was asked for, each with what is in the store for it.
        wished: its name and filter.

    """
    refs = tuple(
        VariantRef(
            action=manifest.id,
            weight=variant.weight,
            spec=variant.spec.name,
            spec_digest=variant.spec.digest,
            variant=variant.number,
            up=variant.up,
            license=variant.spec.license,
        )
        for variant, manifest in variants
    )
    view = View(
        name=wished.name,
        id=view_id(base, shown, refs, [manifest for _, manifest in variants]),
        base=base.id,
        variants=refs,
        filter=wished.filter,
    )
    path = store.view_path(wished.name)
    make_folder(path.parent)
    view = replace(view, former=_former(path, view.id))
    write_if_other(path, view.seal(), store.tmp)
    return view


def write_account(store: StoreFiles, wished: ViewOptions, rows: Rows, report: SourceReport) -> SourceReport:
    """Add what a view's filter leaves out to the account of its source, on disk too, and return it."""
    left_out = {}
    kept = np.ones(len(rows), dtype=bool)
    chosen = wished.filter
    for reason, part in (
        ("split", RowFilter(split=chosen.split)),
        ("ids", RowFilter(ids=chosen.ids, split=chosen.split)),
        ("min per id", chosen),
    ):
        before = int(kept.sum())
        kept = np.zeros(len(rows), dtype=bool)
        kept[select_rows(rows, part)] = True
        left_out[reason] = before - int(kept.sum())
    full = replace(report, account=report.account.without(left_out))
    write_if_other(store.report_path(wished.name), full.seal(), store.tmp)
    return full


def _former(path: Path, view_id: str) -> tuple[str, ...]:
    """Return the older ids of a view that is there already; one that shows something else has none."""
    try:
        there = View.read(path)
    except DataError:  # missing, or damaged and about to be written anew
        return ()
    return there.former if there.id == view_id else ()
