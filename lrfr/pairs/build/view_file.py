"""What a make-pairs is asked for, resolved against what is there, and its last file: the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import make_folder, write_if_other
from lrfr.degrade.spec.model import Spec
from lrfr.pairs.build.growth import GrowthRule, Held
from lrfr.pairs.build.ingest import IngestOptions
from lrfr.pairs.build.lr import Variant, variant_id, variant_of, wanted_variants
from lrfr.pairs.build.plan import base_options
from lrfr.pairs.build.scan import Ingest
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import RowFilter, SourceReport, VariantRef, View, ViewPart
from lrfr.pairs.views import ViewRows, select_rows, view_id


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

    def after(self, view: View) -> ViewOptions:
        """Return these options with the filter of a view that is extended, where they have none."""
        if self.filter != RowFilter():
            return self
        kept = view.filter
        return replace(self, min_per_id=kept.min_per_id, ids=kept.ids, split=kept.split)


@dataclass(frozen=True)
class MakeOptions:
    """What is written.

    Attributes:
        ingest: how a source is opened and taken in (an :class:`Ingest` that is passed brings its own).
        variants: how many draws of every spec; None takes each spec's own number.
        traces: whether every LR record carries the parameters drawn for it.
        max_bad: see :func:`lrfr.pairs.build.hr.check_bad`.
        extend: name of a view that keeps its rows and gets the source's besides; None makes a view of the
            source's alone.
        replace: whether a key of the extended view may come back with other bytes or labels.

    """

    ingest: IngestOptions = field(default_factory=IngestOptions)
    variants: int | None = None
    traces: bool = False
    max_bad: float | None = None
    extend: str | None = None
    replace: bool = False


@dataclass(frozen=True)
class Wanted:
    """A degraded variant with what the view says of it."""

    variant: Variant
    ref: VariantRef


def wanted_of(variant: Variant) -> Wanted:
    """Return a variant as a new view takes it."""
    spec = variant.spec
    said = (variant.weight, spec.name, spec.digest, variant.number, variant.up, spec.license)
    return Wanted(variant, VariantRef(*said))


def wanted_by(store: StoreFiles, view: View) -> list[Wanted]:
    """Return the variants of a view that is there, as it takes them.

    Raises:
        SpecError: a stored spec is none that this version reads.

    """
    return [
        Wanted(variant_of(store.lr_manifest(key)), ref)
        for key, ref in zip(view.parts[0].lr, view.variants, strict=True)
    ]


@dataclass(frozen=True)
class Wish:
    """What one make-pairs is to write, all options resolved.

    Attributes:
        ingest: the source.
        wanted: the variants.
        view: name and filter.
        options: the rest.
        before: the view that is written anew or extended.

    """

    ingest: Ingest
    wanted: tuple[Wanted, ...]
    view: ViewOptions
    options: MakeOptions
    before: View | None

    def rule(self, store: StoreFiles) -> GrowthRule:
        """Return how the source meets what is there."""
        extend, replacing = self.options.extend is not None, self.options.replace
        return GrowthRule(self.before, extend, replacing, lambda base: self._has_variants(store, base))

    def _has_variants(self, store: StoreFiles, base: BaseManifest) -> bool:
        keys = [variant_id(base.content, item.variant) for item in self.wanted]
        return all((store.lr(key) / "manifest.json").exists() for key in keys)


def wish(
    store: StoreFiles, ingest: Ingest, specs: Sequence[Spec], view: ViewOptions, options: MakeOptions
) -> Wish:
    """Resolve what is asked for: a view that is extended says how its crops are made, which rows it keeps
    and, where no spec is given, what its variants are.

    Raises:
        SpecError: weights do not fit the specs, a spec is for images of another size, or there is no such
            view.

    """
    asked = wanted_variants(specs, view.weights, options.variants, options.traces)
    wanted = [wanted_of(variant) for variant in asked]
    if options.extend is None:
        if options.replace:
            raise SpecError("replace goes with extend", hint="a view of the source alone shows its bytes")
        before = _view_there(store, view.name)
    else:
        before = store.view(options.extend)
        if not specs and (options.variants is not None or options.traces):
            raise SpecError("a view that is extended keeps its own variants", hint="or name all of its specs")
        wanted = wanted or wanted_by(store, before)
        view = view.after(before)
        base = store.base_manifest(before.parts[0].base)
        ingest = replace(ingest, options=base_options(base, ingest.options.prepare))
    for item in wanted:
        spec = item.variant.spec
        if spec.image.size_px != ingest.options.prepare.size_px:
            raise SpecError(
                f"spec '{spec.name}' is for {spec.image.size_px} px images, the base has "
                f"{ingest.options.prepare.size_px} px"
            )
    return Wish(ingest, tuple(wanted), view, options, before)


def _view_there(store: StoreFiles, name: str) -> View | None:
    """Return the view that is about to be written anew, None where there is none that can be read."""
    try:
        return View.read(store.view_path(name))
    except DataError:
        return None


@dataclass(frozen=True)
class FilledPart:
    """Rows of a base with the variants made for it."""

    held: Held
    variants: tuple[VariantManifest, ...]


@dataclass(frozen=True)
class WrittenView:
    """A view with the counts of its rows, of the identities among them, and of rows that its filter leaves
    out, by reason.
    """

    view: View
    rows: int
    identities: int
    left_out: Mapping[str, int]


def write_view(
    store: StoreFiles, filled: Sequence[FilledPart], refs: Sequence[VariantRef], wished: ViewOptions
) -> WrittenView:
    """Write a view, where another one or none is there under its name.

    Args:
        store: where.
        filled: the parts, each with a variant for every one of ``refs``.
        refs: what the view says of its variants.
        wished: its name and filter.

    """
    parts = tuple(
        ViewPart(
            part.held.base.id,
            tuple(manifest.id for manifest in part.variants),
            store.write_mask(part.held.shown),
        )
        for part in filled
    )
    rows = ViewRows(store, parts)
    shown = rows.take(select_rows(rows, wished.filter))
    view = View(
        name=wished.name,
        id=view_id(filled[0].held.base, shown, refs, filled[0].variants),
        parts=parts,
        variants=tuple(refs),
        filter=wished.filter,
    )
    path = store.view_path(wished.name)
    make_folder(path.parent)
    view = replace(view, former=_former(path, view.id))
    write_if_other(path, view.seal(), store.tmp)
    identities = len(np.unique(shown.labels[shown.labels >= 0]))
    return WrittenView(view, len(shown), identities, _left_out(rows, wished.filter))


def write_account(
    store: StoreFiles, wished: ViewOptions, left_out: Mapping[str, int], report: SourceReport
) -> SourceReport:
    """Add what a view's filter leaves out to the account of its source, on disk too, and return it."""
    full = replace(report, account=report.account.without(left_out))
    write_if_other(store.report_path(wished.name), full.seal(), store.tmp)
    return full


def _left_out(rows: ViewRows, chosen: RowFilter) -> dict[str, int]:
    """Return how many rows each step of a filter leaves out."""
    steps = {
        "split": RowFilter(split=chosen.split),
        "ids": RowFilter(ids=chosen.ids, split=chosen.split),
        "min per id": chosen,
    }
    left_out, before = {}, len(rows)
    for reason, step in steps.items():
        kept = len(select_rows(rows, step))
        left_out[reason], before = before - kept, kept
    return left_out


def _former(path: Path, view_id: str) -> tuple[str, ...]:
    """Return the older ids of a view that is there already; one that shows something else has none."""
    try:
        there = View.read(path)
    except DataError:  # missing, or damaged and about to be written anew
        return ()
    return there.former if there.id == view_id else ()
