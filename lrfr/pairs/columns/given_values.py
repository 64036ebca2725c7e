"""Values of a column that are there already, by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import SpecError
from lrfr.pairs.columns.column_manifest import CHUNK_ROWS, ColumnPlace, as_dtype, converted
from lrfr.pairs.columns.column_write import in_chunks, write_values
from lrfr.pairs.columns.row_array import BaseColumn


@dataclass(frozen=True)
class Values:
    """Values that are there already.

    Attributes:
        rows: int64 ``[n]``, the row of each, numbered through all bases of a view; no two alike.
        values: ``[n]`` or ``[n, D]``.

    """

    rows: NDArray[np.int64]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        """Refuse what is no value for each row.

        Raises:
            SpecError: another shape.

        """
        values = self.values
        if values.ndim not in (1, 2) or len(values) != len(self.rows) or 0 in values.shape:
            raise SpecError(
                f"values of shape {list(values.shape)} for {len(self.rows)} rows",
                hint=f"[{len(self.rows)}] or [{len(self.rows)}, D], in the order of the view's positions",
            )
        as_dtype(values.dtype)

    def within(self, start: int, stop: int) -> Values:
        """Return those of one base, by its own row numbers."""
        mine = np.flatnonzero((self.rows >= start) & (self.rows < stop))
        whole = len(mine) == len(self.rows)
        return replace(self, rows=self.rows[mine] - start, values=self.values if whole else self.values[mine])

    def write(self, place: ColumnPlace, count: int, dtype: str) -> None:
        """Write them as a base's column; the other rows have no value."""
        present = np.zeros(count, np.bool_)
        present[self.rows] = True
        whole = np.zeros((count, *self.values.shape[1:]), self.values.dtype)
        whole[self.rows] = self.values
        write_values(place, in_chunks(whole), dtype, present)

    def check_same(self, column: BaseColumn, dtype: str) -> None:
        """Refuse other values under the name of those that are there.

        Raises:
            SpecError: they are other ones, or there are more.

        """
        kind = np.dtype(column.manifest.dtype)
        same = self.values.shape[1:] == column.manifest.row_shape and bool(column.has(self.rows).all())
        for start in range(0, len(self.rows) if same else 0, CHUNK_ROWS):
            some = converted(self.values[start : start + CHUNK_ROWS], dtype or kind.name)
            there = column.take(self.rows[start : start + CHUNK_ROWS])
            same = same and np.array_equal(some, there, equal_nan=np.issubdtype(kind, np.floating))
        if not same:
            raise SpecError(
                f"the column '{column.manifest.name}' of this producer holds other values",
                file=str(column.folder),
                hint="another producer is another column; drop_column() removes this one",
            )
