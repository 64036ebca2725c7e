"""Joining views of one store: one view of the parts of all, as if it had been built at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import digest_of, make_folder, sweep
from lrfr.core.lock import store_lock
from lrfr.pairs.align.landmark_table import read_table
from lrfr.pairs.build.growth import NAMED_KEYS, Held, meet
from lrfr.pairs.build.look.landmark_file import write_landmarks
from lrfr.pairs.build.look.report_files import read_list, write_report
from lrfr.pairs.build.view_file import FilledPart, ViewOptions, WrittenView, view_of, write_view
from lrfr.pairs.format.manifests import BaseManifest
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.format.view_manifest import RowFilter, View
from lrfr.pairs.views import ViewRows, select_rows


@dataclass
class _Part:
    """Rows of a base that the joined view shows, bool ``[rows]``, and its variants in the view's order."""

    base: BaseManifest
    lr: tuple[str, ...]
    shown: NDArray[np.bool_]


def join_views(store: StoreFiles, names: Sequence[str], new: str, replace_rows: bool = False) -> WrittenView:
    """Write one view of all rows that some views show; nothing is copied.

    Args:
        store: where.
        names: of the views; where rows are replaced, a later one wins.
        new: name of the view.
        replace_rows: whether a key may have other bytes or labels in a later view.

    Raises:
        SpecError: there is no such view, their variants or weights differ, or the name is another view's.
        DataError: their bases are not made alike, or a key has other bytes or labels in two of them.

    """
    with store_lock(open_store(store.root).root):
        refuse_other_layouts(store)
        make_folder(store.tmp)
        sweep(store.tmp)
        views = [store.view(name) for name in names]
        if len(set(names)) < 2:
            raise SpecError("two views or more are joined")
        first, parts = views[0], dict[str, _Part]()
        drawn, wished = _drawn(store, first), _common(views, new)
        for view in views:
            order = _order(store, drawn, view, first)
            # what the joined view filters itself stays there for those who ask for another split
            own = replace(view, filter=RowFilter()) if wished.filter.split else view
            _add(store, parts, own, order, replace_rows)
        filled = [
            FilledPart(Held(part.base, part.shown), tuple(map(store.lr_manifest, part.lr)))
            for _, part in sorted(parts.items())
            if part.shown.any()
        ]
        written = view_of(store, filled, first.variants, wished)
        if new in store.views() and store.view(new).id != written.view.id:
            path = str(store.view_path(new))
            raise SpecError(f"there is another view '{new}'", file=path, hint="--as another name")
        write_view(store, filled, first.variants, wished)
        _join_reports(store, names, new)
    return written


def _common(views: Sequence[View], new: str) -> ViewOptions:
    """Return the name of the joined view, with the split that all of the views show and the share that they
    hold out, where these are alike and they filter nothing else.
    """
    filters = {(view.filter, view.holdout) for view in views}
    (chosen, holdout), *others = filters
    if others or chosen != RowFilter(split=chosen.split):
        return ViewOptions(new)
    return ViewOptions(new, split=chosen.split, holdout=holdout or None)


def _drawn(store: StoreFiles, view: View) -> list[str]:
    """Return of every variant of a view all that decides what it shows, as a digest."""
    total, found = sum(ref.weight for ref in view.variants), []
    for key, ref in zip(view.parts[0].lr, view.variants, strict=True):
        manifest = store.lr_manifest(key)
        form, up, share = asdict(manifest.form), asdict(ref.up), round(ref.weight / total, 12)
        found.append(digest_of([manifest.pixel_digest, manifest.variant, form, up, share]))
    return found


def _order(store: StoreFiles, drawn: Sequence[str], view: View, first: View) -> list[int]:
    """Return where each variant of the first view stands in another."""
    own = _drawn(store, view)
    if sorted(own) != sorted(drawn):
        raise SpecError(
            f"the views '{first.name}' and '{view.name}' have other variants or weights",
            hint="lrfr store info NAME shows them; the same --spec and --weights make them alike",
        )
    return [own.index(item) for item in drawn]


def _add(
    store: StoreFiles, parts: dict[str, _Part], view: View, order: Sequence[int], replace_rows: bool
) -> None:
    rows = ViewRows(store, view.parts)
    numbers, first = rows.rows[select_rows(rows, view.filter)], 0
    for part, base in zip(view.parts, rows.manifests, strict=True):
        shown = np.zeros(base.rows, bool)
        shown[numbers[(numbers >= first) & (numbers < first + base.rows)] - first] = True
        first += base.rows
        lr = tuple(part.lr[place] for place in order)
        for other in [item for key, item in parts.items() if key != base.id]:
            _settle(store, _Part(base, lr, shown), other, replace_rows)
        here = parts.setdefault(base.id, _Part(base, lr, np.zeros(base.rows, bool)))
        here.shown |= shown


def _settle(store: StoreFiles, part: _Part, other: _Part, replace_rows: bool) -> None:
    """Let a key that two parts show be shown by one: by the other where all is equal, else by the later."""
    table = store.rows(part.base.id).table()
    met = meet(table, store.rows_of(other.base))
    met = met.only(part.shown[met.rows] & other.shown[met.at])
    clash = met.other
    if len(clash) and not replace_rows:
        keys = ", ".join(
            repr(table.key(row).decode("utf-8", "replace")) for row in clash[:NAMED_KEYS].tolist()
        )
        raise DataError(
            f"{len(clash)} keys have other bytes or labels in two of the views: {keys}",
            hint="--replace shows those of the later view",
        )
    other.shown[met.at[~met.equal]] = False
    part.shown[met.same] = False


def _join_reports(store: StoreFiles, names: Sequence[str], new: str) -> None:
    """Keep what was said of the sources of every view."""
    found = [report for name in names if (report := store.report(name))]
    if not found:
        return
    told = [item for report in found for item in report.told]
    earlier = tuple(item for place, item in enumerate(told[:-1]) if item not in told[:place])
    lines = b"".join(read_list(store, name) for name in names)
    write_report(store, new, replace(found[-1], earlier=earlier), lines)
    tables = [read_table(path) for name in names for path in [store.landmarks_path(name)] if path.exists()]
    rows = {key: some[0] for table in tables for key, some in table.items()}
    write_landmarks(store, new, rows.values())
