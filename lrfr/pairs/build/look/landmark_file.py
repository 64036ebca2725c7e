"""The files beside a view: the table of the landmarks that were found on the way to it, and all by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lrfr.core.files import write_if_other
from lrfr.pairs.format.store_files import StoreFiles

if TYPE_CHECKING:  # listings ask for the names of files alone, and load no image library
    from lrfr.pairs.align.landmark_table import LandmarkRow


def account_files(store: StoreFiles, name: str) -> tuple[Path, Path, Path]:
    """Return the files that say where a view's faces came from and what became of them, there or not: report,
    refused and remarked faces, landmarks.
    """
    return store.report_path(name), store.quarantine_path(name), store.landmarks_path(name)


def write_landmarks(
    store: StoreFiles, name: str, rows: Iterable[LandmarkRow], extended: str | None = None
) -> None:
    """Write the landmarks that were found on the way to a view, as ``lrfr align`` writes them; none are kept
    of a view whose landmarks were not looked for.

    Args:
        store: where.
        name: of the view.
        rows: of the source's faces.
        extended: name of the view whose rows are kept: its lines stay, unless the source has their keys.

    """
    from lrfr.pairs.align.landmark_table import read_table, table_bytes
    from lrfr.pairs.align.photo_list import name_fault

    # a name with a tab or a line break is no cell of a table
    path, rows = store.landmarks_path(name), [row for row in rows if not name_fault(row.key)]
    there = store.landmarks_path(extended) if extended else path
    if extended and there.exists():
        keys = {row.key for row in rows}
        rows += [row for found in read_table(there).values() for row in found if row.key not in keys]
    if rows:
        write_if_other(path, table_bytes(sorted(rows, key=lambda row: row.key)), store.tmp)
    else:
        path.unlink(missing_ok=True)
