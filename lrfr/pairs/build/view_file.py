"""What a make-pairs is asked for, resolved against what is there, and its last file: the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import make_folder, write_if_other
from lrfr.degrade.spec.model import Spec
from lrfr.pairs.build.growth import GrowthRule, Held
from lrfr.pairs.build.ingest import TRAIN, IngestOptions, hold_out
from lrfr.pairs.build.lr import Variant, Wanted, variant_id, wanted_by, wanted_of, wanted_variants
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
        split: keep this split; where faces are held out, ``train`` unless another is named.
        holdout: share of the identities whose faces get the split ``test``, the others ``train``; None keeps
            that of a view that is extended, else holds nobody out.

    Raises:
        SpecError: the share is none.

    """

    name: str = "default"
    weights: tuple[float, ...] | None = None
    min_per_id: int = 0
    ids: tuple[str, ...] | None = None
    split: str = ""
    holdout: float | None = None

    def __post_init__(self) -> None:
        if self.holdout is not None and not 0 <= self.holdout < 1:
            raise SpecError(f"a hold-out of {self.holdout:g}", hint="a share of the identities: 0.2")

    @property
    def filter(self) -> RowFilter:
        """Which rows it keeps."""
        ids = tuple(sorted(set(self.ids))) if self.ids is not None else None
        return RowFilter(self.min_per_id, ids, self.split or (TRAIN if self.holdout else ""))

    def after(self, view: View) -> ViewOptions:
        """Return these options with the hold-out of a view that is extended, and with its filter where they
        have none.

        Raises:
            SpecError: another share is to be held out: identities would change sides.

        """
        if self.holdout not in (None, view.holdout):
            raise SpecError(
                f"view '{view.name}' holds out {view.holdout:g} of its identities, not {self.holdout:g}",
                hint="a view that is extended keeps its own; a new view may have another",
            )
        if replace(self, holdout=None).filter != RowFilter():
            return replace(self, holdout=view.holdout)
        kept = view.filter
        return replace(self, min_per_id=kept.min_per_id, ids=kept.ids, split=kept.split, holdout=view.holdout)


@dataclass(frozen=True)
class MakeOptions:
    """What is written.

    Attributes:
        ingest: how a source is opened and taken in (an :class:`Ingest` that is passed brings its own).
        variants: how many draws of every spec; None takes each spec's own number.
        traces: whether every LR record carries the parameters drawn for it.
        max_bad: see :func:`lrfr.pairs.build.look.report_files.check_bad`.
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

    @property
    def variants(self) -> list[Variant]:
        """The variants without what the view says of them."""
        return [item.variant for item in self.wanted]

    def rule(self, store: StoreFiles) -> GrowthRule:
        """Return how the source meets what is there."""
        extend, replacing = self.options.extend is not None, self.options.replace
        return GrowthRule(self.before, extend, replacing, lambda base: self._has_variants(store, base))

    def _has_variants(self, store: StoreFiles, base: BaseManifest) -> bool:
        keys = [variant_id(base.content, variant) for variant in self.variants]
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
    before = view_before(store, view.name, options.extend)
    if options.extend is None and options.replace:
        raise SpecError("replace goes with extend", hint="a view of the source alone shows its bytes")
    if options.extend is not None and before is not None:
        if not specs and (options.variants is not None or options.traces):
            raise SpecError("a view that is extended keeps its own variants", hint="or name all of its specs")
        wanted = wanted or wanted_by(store, before)
        view = view.after(before)
        base = store.base_manifest(before.parts[0].base)
        ingest = replace(ingest, options=base_options(base, ingest.options.prepare))
    if view.holdout:
        ingest = hold_out(ingest, view.holdout)
    for item in wanted:
        spec = item.variant.spec
        if spec.image.size_px != ingest.options.prepare.size_px:
            raise SpecError(
                f"spec '{spec.name}' is for {spec.image.size_px} px images, the base has "
                f"{ingest.options.prepare.size_px} px",
                hint=f"--size {spec.image.size_px}, or --set image.size={ingest.options.prepare.size_px}",
            )
    return Wish(ingest, tuple(wanted), view, options, before)


def view_before(store: StoreFiles, name: str, extend: str | None) -> View | None:
    """Return the view that is extended, or that is about to be written anew (None where none can be read).

    Raises:
        SpecError, DataError: the view to extend is not there, or damaged.

    """
    if extend is not None:
        return store.view(extend)
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
    """A view with the counts of its rows, of the identities among them, of rows that its filter leaves out
    by reason, and of its splits.
    """

    view: View
    rows: int
    identities: int
    left_out: Mapping[str, int]
    splits: Mapping[str, SplitCount]


def write_view(
    store: StoreFiles, filled: Sequence[FilledPart], refs: Sequence[VariantRef], wished: ViewOptions
) -> WrittenView:
    """Write a view, where another one or none is there under its name; see :func:`view_of`."""
    written = view_of(store, filled, refs, wished)
    path = store.view_path(wished.name)
    make_folder(path.parent)
    there = view_before(store, wished.name, None)
    # what shows something else now is no longer what it was
    former = there.former if there and there.id == written.view.id else ()
    view = replace(written.view, former=former)
    write_if_other(path, view.seal(), store.tmp)
    return replace(written, view=view)


def view_of(
    store: StoreFiles, filled: Sequence[FilledPart], refs: Sequence[VariantRef], wished: ViewOptions
) -> WrittenView:
    """Return a view of some parts; only its masks are written.

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
    tables = {part.held.base.id: part.held.table for part in filled if part.held.table}
    rows = ViewRows(store, parts, tables)
    shown = rows.take(select_rows(rows, wished.filter), whole=False)
    view = View(
        name=wished.name,
        id=view_id(filled[0].held.base, shown, refs, filled[0].variants),
        parts=parts,
        variants=tuple(refs),
        filter=wished.filter,
        holdout=wished.holdout or 0.0,
    )
    chosen, identities = wished.filter, len(shown.label_names)
    return WrittenView(view, len(shown), identities, _left_out(rows, chosen), split_counts(rows, chosen))


def write_account(
    store: StoreFiles, wished: ViewOptions, left_out: Mapping[str, int], report: SourceReport
) -> SourceReport:
    """Add what a view's filter leaves out to the account of its source, on disk too, and return it."""
    full = replace(report, account=report.account.without(left_out))
    write_if_other(store.report_path(wished.name), full.seal(), store.tmp)
    return full


@dataclass(frozen=True)
class SplitCount:
    """Numbers of faces of a split and of identities among them."""

    rows: int
    identities: int


def split_counts(rows: ViewRows, chosen: RowFilter) -> dict[str, SplitCount]:
    """Return what each split of a view's parts holds that the rest of its filter keeps, whichever split the
    view itself shows; ``""`` for faces of none, nothing where there are no splits.
    """
    if not any(rows.split_names):
        return {}
    kept = select_rows(rows, replace(chosen, split=""))
    labels, splits = rows.labels[kept], rows.splits[kept]
    found = {}
    for number, name in enumerate(rows.split_names):
        own = labels[splits == number]
        found[name] = SplitCount(len(own), len(np.unique(own[own >= 0])))
    return found


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
