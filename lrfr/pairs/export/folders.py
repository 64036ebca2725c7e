"""Identity folders: ``out/<hr or variant>/<identity>/<key>.<suffix>``."""

from __future__ import annotations

from pathlib import Path

from lrfr.core.errors import DataError
from lrfr.core.files import make_folder, write_fault
from lrfr.core.progress import Hooks
from lrfr.pairs.export.file_names import FileNames, path_part
from lrfr.pairs.export.view_parts import parts_of
from lrfr.pairs.reading.dataset import PairDataset


def export_folders(dataset: PairDataset, out: Path, hooks: Hooks) -> int:
    """Write one file a face and part; return how many.

    Raises:
        DataError: two names are one on this file system (which does not tell ``A`` from ``a``, say).
        EnvironmentFault: the disk is full, or may not be written.

    """
    names, parts = FileNames(dataset), parts_of(dataset)
    if names.spelled_out:
        hooks.note(f"{names.spelled_out} keys would have met others as file names: they are spelled out")
    made: set[Path] = set()
    for position, row in enumerate(dataset.rows.tolist()):
        place = names.path(position)
        for part in parts:
            suffix, data = part.file(row)
            path = out / path_part(part.name) / f"{place}{suffix}"
            if path.parent not in made:
                make_folder(path.parent)
                made.add(path.parent)
            _write_new(path, data)
        hooks.progress(position + 1, len(dataset), phase="folders")
    return len(dataset) * len(parts)


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
