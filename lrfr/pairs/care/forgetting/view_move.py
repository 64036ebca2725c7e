"""Moving views to what is left of their parts, and removing what no longer stands under any of them."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import write_if_other
from lrfr.core.files.inside import own_entries, remove
from lrfr.pairs.build.growth import find_hashes
from lrfr.pairs.build.look.landmark_file import account_files
from lrfr.pairs.build.look.report_files import gone_reports
from lrfr.pairs.build.plan import base_identity, content_identity, variant_identity
from lrfr.pairs.care.forgetting.asked_rows import Doomed
from lrfr.pairs.care.verify import unfinished
from lrfr.pairs.columns.column_manifest import columns_of
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import Forgetting, Moved, View, ViewPart
from lrfr.pairs.views import ViewRows, select_rows, view_id


@dataclass(frozen=True)
class Moves:
    """The ids of bases and variants that are left, by the old ones; "" where nothing is."""

    bases: dict[str, str] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, act: Forgetting) -> Moves:
        """Return those of an act."""
        found = [{move.old: move.new for move in act.moved if move.kind == kind} for kind in ("base", "lr")]
        return cls(*found)

    def touch(self, view: View) -> bool:
        """Return whether a part of a view has moved."""
        return any(part.base in self.bases for part in view.parts)


def moves_of(store: StoreFiles, moves: Moves) -> tuple[Moved, ...]:
    """Return everything that an act moves, with its views."""
    found = [Moved("base", old, new) for old, new in moves.bases.items()]
    found += [Moved("lr", old, new) for old, new in moves.variants.items()]
    for name in store.views():
        old = store.view(name)
        if moves.touch(old):
            new = moved_view(store, old, moves)
            if new is None or new.id != old.id:
                found.append(Moved("view", old.id, new.id if new else "", name))
    return tuple(found)


def moved_view(store: StoreFiles, view: View, moves: Moves) -> View | None:
    """Return a view as it is without the rows that its parts have lost; None where it shows nothing then.

    Its masks are written; the old parts must be there still.
    """
    shown: dict[ViewPart, NDArray[np.bool_]] = {}
    for part in view.parts:
        new = moves.bases.get(part.base, part.base)
        rows = _shown(store, part, new) if new else np.zeros(0, bool)
        if rows.any():
            key = ViewPart(new, tuple(moves.variants.get(item, item) for item in part.lr))
            shown[key] = shown[key] | rows if key in shown else rows
    if not shown:
        return None
    parts = tuple(
        replace(part, mask=store.write_mask(rows))
        for part, rows in sorted(shown.items(), key=lambda item: item[0].base)
    )
    rows_of = ViewRows(store, parts)
    chosen = view.filter
    if chosen.ids is not None:
        # an identity of which nothing is left is named no more
        chosen = replace(chosen, ids=tuple(name for name in chosen.ids if name in rows_of.label_names))
    try:
        table = rows_of.take(select_rows(rows_of, chosen), whole=False)
    except (DataError, SpecError):
        return None  # its filter keeps none of what is left
    variants = [store.lr_manifest(key) for key in parts[0].lr]
    new_id = view_id(rows_of.manifests[0], table, view.variants, variants)
    former = view.former if new_id == view.id else ()
    return replace(view, id=new_id, parts=parts, filter=chosen, former=former)


def planned_moves(store: StoreFiles, doomed: Sequence[Doomed]) -> tuple[Moved, ...]:
    """Return everything that an act would move, with the ids that it would give; nothing is written."""
    found, content = [], {}
    for item in doomed:
        old, kept, key = item.base, item.kept, ""
        if len(kept):
            table = item.table.table().take(kept)
            content[old.content] = content_identity(table, old.crop, old.permutation_seed)
            key = base_identity(content[old.content], table, old.block_rows)
        content.setdefault(old.content, "")
        found.append(Moved("base", old.id, key))
    for name in store.variants():
        one = store.lr_manifest(name)
        if one.content in content:
            new = content[one.content]
            key = variant_identity(new, one.pixel_digest, one.variant, one.form) if new else ""
            found.append(Moved("lr", name, key))
    gone = {item.base.id: item.rows for item in doomed}
    for view in map(store.view, store.views()):
        if any(part.base in gone for part in view.parts):
            key = _planned_id(store, view, gone)
            found += [Moved("view", view.id, key, view.name)] if key != view.id else []
    return tuple(found)


def _planned_id(store: StoreFiles, view: View, gone: Mapping[str, NDArray[np.bool_]]) -> str:
    """Return the id of what would be left of a view, "" where nothing would."""
    rows = ViewRows(store, view.parts)
    doomed = np.concatenate([gone.get(base.id, np.zeros(base.rows, bool)) for base in rows.manifests])
    left = copy.copy(rows)
    for name in ("rows", "labels", "splits", "attributes"):
        setattr(left, name, getattr(rows, name)[~doomed[rows.rows]])
    chosen = view.filter
    if chosen.ids is not None:
        names = {left.label_names[number] for number in np.unique(left.labels[left.labels >= 0]).tolist()}
        chosen = replace(chosen, ids=tuple(name for name in chosen.ids if name in names))
    try:
        table = left.take(select_rows(left, chosen), whole=False)
    except (DataError, SpecError):
        return ""
    return view_id(rows.manifests[0], table, view.variants, list(map(store.lr_manifest, view.parts[0].lr)))


def _shown(store: StoreFiles, part: ViewPart, new: str) -> NDArray[np.bool_]:
    """Return which rows of a part's new base it shows, bool ``[rows]``."""
    base = store.base_manifest(part.base)
    shown = store.shown(part, base)
    old = np.ones(base.rows, bool) if shown is None else shown
    if new == part.base:
        return old
    return old[find_hashes(store.rows(new).order, store.rows(part.base).order)]


def settle(store: StoreFiles, act: Forgetting) -> None:
    """Move every view that still stands on old parts, then remove these and whatever has no manifest."""
    moves = Moves.of(act)
    for name in store.views():
        view = store.view(name)
        if moves.touch(view):
            new = moved_view(store, view, moves)
            if new is None:
                remove(store.view_path(name))
            else:
                write_if_other(store.view_path(name), new.seal(), store.tmp)
    # what names a base goes before it
    going = [columns_of(store, old) for old in moves.bases]
    going += [store.lr(old) for old in moves.variants] + [store.base(old) for old in moves.bases]
    for folder in going:
        remove(folder)
    _tidy(store)


def _tidy(store: StoreFiles) -> None:
    """Remove what may hold forgotten bytes and belongs to nobody: unfinished builds, temporary files, masks
    and reports without a view.
    """
    views = [store.view(name) for name in store.views()]
    masks = {store.mask_path(part.mask) for view in views for part in view.parts if part.mask}
    reports = {path for view in views for path in account_files(store, view.name)}
    doomed = [path for path in own_entries(store.root, "masks") if path not in masks]
    doomed += gone_reports(store, reports)
    doomed += [path for folder in ("tmp", "cache") for path in own_entries(store.root, folder)]
    for path in sorted({*doomed, *unfinished(store)}):
        remove(path)


def array_bytes(array: NDArray[np.uint8]) -> bytes:
    """Return the bytes of a ``.npy`` file."""
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    return packed.getvalue()
