"""Identity folders, ``out/<hr or variant>/<identity>/<key>.<suffix>``, each with a ``metadata.jsonl`` that
Hugging Face's ``imagefolder`` and the source of that name read; columns as ``out/columns/<name>.npy``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import canonical, make_folder, write_fault
from lrfr.core.progress import Hooks
from lrfr.pairs.columns.row_array import RowArray
from lrfr.pairs.export.file_names import FileNames, path_part
from lrfr.pairs.export.view_parts import note_of, parts_of
from lrfr.pairs.reading.dataset import PairDataset

# of a column copied at once
COLUMN_ROWS = 8192


def export_folders(dataset: PairDataset, out: Path, hooks: Hooks) -> int:
    """Write one file a face and part, and a line on it; return how many.

    Raises:
        DataError: two names are one on this file system (which does not tell ``A`` from ``a``, say).
        EnvironmentFault: the disk is full, or may not be written.

    """
    names, parts = FileNames(dataset), parts_of(dataset)
    for name, column in dataset.row_arrays.items():
        _write_column(column, out / "columns" / f"{name}.npy")
    if names.spelled_out:
        hooks.note(f"{names.spelled_out} keys would have met others as file names: they are spelled out")
    made: set[Path] = set()
    lines: dict[Path, list[bytes]] = {}
    for position, row in enumerate(dataset.rows.tolist()):
        place = names.path(position)
        for part in parts:
            suffix, data = part.file(row)
            path = out / path_part(part.name) / f"{place}{suffix}"
            if path.parent not in made:
                make_folder(path.parent)
                made.add(path.parent)
            _write_new(path, data)
            folder = out / path_part(part.name)
            lines.setdefault(folder, []).append(_line(dataset, position, f"{place}{suffix}"))
        hooks.progress(position + 1, len(dataset), phase="folders")
    for folder, told in lines.items():
        _write_new(folder / "metadata.jsonl", b"".join(told))
    return len(dataset) * len(parts)


def _line(dataset: PairDataset, position: int, file_name: str) -> bytes:
    note = note_of(dataset, position)
    known = {"split": note.split} if note.split else {}
    attributes = dict.fromkeys(dataset.attribute_names) | note.attributes
    return canonical({**attributes, "file_name": file_name, "key": note.key, "label": note.label, **known})


def _write_column(column: RowArray, path: Path) -> None:
    """Write a column in the order of the lines of every ``metadata.jsonl``."""
    make_folder(path.parent)
    try:
        # a map of a file that a full disk has no room for would end the process
        descr = np.lib.format.dtype_to_descr(column.dtype)
        head = {"descr": descr, "fortran_order": False, "shape": column.shape}
        with path.open("wb") as handle:
            np.lib.format.write_array_header_1_0(handle, head)
            for start in range(0, len(column), COLUMN_ROWS):
                handle.write(column[start : start + COLUMN_ROWS].tobytes())
    except OSError as error:
        raise write_fault(error, path, column.dtype.itemsize * math.prod(column.shape)) from error


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as handle:
            handle.write(data)
    except FileExistsError:
        raise DataError(
            "two names are one on this file system",
            file=str(path),
            hint="export to another one, or as webdataset",
        ) from None
    except OSError as error:
        raise write_fault(error, path, len(data)) from error
