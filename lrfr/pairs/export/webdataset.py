"""WebDataset archives: ``out/pairs-00000.tar`` with ``<position>.hr.jpg``,
``<position>.<variant>.png``, ``<position>.<column>.npy`` and ``<position>.json`` for every position of the
view.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np

from lrfr.core.progress import Hooks
from lrfr.pairs.export.view_parts import Part, note_of, parts_of
from lrfr.pairs.reading.dataset import PairDataset

TAR_ROWS = 8192


def export_tar(dataset: PairDataset, out: Path, hooks: Hooks) -> int:
    """Write archives of 8,192 rows each, the same bytes every time; return the number of images."""
    parts = parts_of(dataset)
    for index, start in enumerate(range(0, len(dataset), TAR_ROWS)):
        with tarfile.open(out / f"pairs-{index:05d}.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for position in range(start, min(len(dataset), start + TAR_ROWS)):
                _add_sample(archive, dataset, parts, position)
                hooks.progress(position + 1, len(dataset), phase="tar")
    return len(dataset) * len(parts)


def _add_sample(archive: tarfile.TarFile, dataset: PairDataset, parts: list[Part], position: int) -> None:
    row = int(dataset.rows[position])
    stem = f"{position:09d}"
    for part in parts:
        suffix, data = part.file(row)
        _add_file(archive, f"{stem}.{part.name.replace('.', '-')}{suffix}", data)
    for name, column in dataset.row_arrays.items():
        array = io.BytesIO()
        np.save(array, column[position], allow_pickle=False)
        _add_file(archive, f"{stem}.{name.replace('.', '-')}.npy", array.getvalue())
    note = note_of(dataset, position)
    meta = {"key": note.key, "label": note.label, "attributes": note.attributes}
    meta |= {"split": note.split} if note.split else {}
    _add_file(archive, f"{stem}.json", json.dumps(meta, sort_keys=True).encode("ascii"))


def _add_file(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file with nothing in its header that could differ between runs."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    header.mode = 0o644
    archive.addfile(header, io.BytesIO(data))
