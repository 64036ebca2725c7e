"""A view of those rows of another whose value in a column lies in a range: faces of some quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lrfr.core.errors import DataError, SpecError
from lrfr.core.files import make_folder
from lrfr.core.lock import store_lock
from lrfr.pairs.build.growth import Held
from lrfr.pairs.build.view_file import FilledPart, ViewOptions, WrittenView, view_of, write_view
from lrfr.pairs.columns.column_store import find_columns
from lrfr.pairs.columns.row_array import RowArray, open_column
from lrfr.pairs.format.store_files import StoreFiles, open_store, refuse_other_layouts
from lrfr.pairs.views import ViewRows, select_rows


@dataclass(frozen=True)
class ColumnRange:
    """Which rows of a view are kept, by their value in a column of single numbers; NaN is never kept.

    Attributes:
        column: its name.
        at_least: smallest value that is kept.
        at_most: largest value that is kept.
        keep_share: or the share of the rows to keep, those of the largest values; of equal ones the first in
            the view's order.
        producer: what computed the column, where several did.

    Raises:
        SpecError: no limit, a share outside (0, 1], or both.

    """

    column: str
    at_least: float | None = None
    at_most: float | None = None
    keep_share: float | None = None
    producer: str | None = None

    def __post_init__(self) -> None:
        limits = [value for value in (self.at_least, self.at_most) if value is not None]
        if bool(limits) == (self.keep_share is not None) or not np.isfinite(limits).all():
            raise SpecError("say which values stay", hint="at_least, at_most, or keep_share")
        if self.keep_share is not None and not 0 < self.keep_share <= 1:
            raise SpecError(f"a share of {self.keep_share:g}", hint="above 0, at most 1")

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return which values are kept, bool ``[n]``."""
        values = np.asarray(values, np.float64)
        if self.keep_share is None:
            low, high = (-np.inf if self.at_least is None else self.at_least), self.at_most
            return np.asarray((values >= low) & (values <= (np.inf if high is None else high)), np.bool_)
        good = np.flatnonzero(~np.isnan(values))
        best = good[np.argsort(-values[good], kind="stable")][: round(self.keep_share * len(values))]
        return np.isin(np.arange(len(values)), best)


def choose_rows(store: StoreFiles, view: str, new: str, chosen: ColumnRange) -> WrittenView:
    """Write a view of the rows of another that a column chooses; nothing is copied.

    Args:
        store: where.
        view: name of the other.
        new: name of the view.
        chosen: which rows.

    Raises:
        SpecError: there is no such view or column, the column holds rows of numbers, or ``new`` is the name
            of another view.
        DataError: no row is left, or the view has grown by rows that the column does not have.

    """
    with store_lock(open_store(store.root).root):
        refuse_other_layouts(store)
        make_folder(store.tmp)
        old = store.view(view)
        rows = ViewRows(store, old.parts)
        places = select_rows(rows, old.filter)
        found = find_columns(store, [part.base for part in old.parts], chosen.column, chosen.producer)
        array = RowArray([open_column(place) for place in found], rows.rows[places])
        if len(array.shape) != 1:
            raise SpecError(f"the column '{chosen.column}' holds {array.shape[1]} numbers a row, not one")
        keep = chosen.of(array[:])
        if not keep.any():
            raise DataError(f"no row of '{view}' is left", hint=f"{chosen.column}: {_span(array[:])}")
        numbers, first, parts = rows.rows[places][keep], 0, []
        for part, base in zip(old.parts, rows.manifests, strict=True):
            shown = np.zeros(base.rows, bool)
            shown[numbers[(numbers >= first) & (numbers < first + base.rows)] - first] = True
            first += base.rows
            if shown.any():
                parts.append(FilledPart(Held(base, shown), tuple(map(store.lr_manifest, part.lr))))
        wished = ViewOptions(new, split=old.filter.split, holdout=old.holdout or None)
        written = view_of(store, parts, old.variants, wished)
        if new in store.views() and store.view(new).id != written.view.id:
            path = str(store.view_path(new))
            raise SpecError(f"there is another view '{new}'", file=path, hint="another name")
        return write_view(store, parts, old.variants, wished)


def _span(values: np.ndarray) -> str:
    good = values[~np.isnan(values.astype(np.float64))]
    return f"its values go from {good.min():g} to {good.max():g}" if len(good) else "it holds no number"
