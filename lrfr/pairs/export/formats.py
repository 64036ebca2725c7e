"""Taking the pairs of a view out of a store, in one of four forms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import EnvironmentFault, SpecError, did_you_mean
from lrfr.core.files import make_folder
from lrfr.core.progress import SILENT, Hooks
from lrfr.pairs.export.folders import export_folders
from lrfr.pairs.export.parquet import export_parquet
from lrfr.pairs.export.verification_set import export_bin
from lrfr.pairs.export.webdataset import export_tar
from lrfr.pairs.reading.dataset import PairDataset

FORMS = ("folders", "webdataset", "parquet", "bin")


@dataclass(frozen=True)
class PairChoice:
    """Which verification pairs a ``.bin`` holds.

    Attributes:
        part: ``hr`` or a variant such as ``fskd.v0``.
        pairs: how many; None takes the pairs of a view of a ``.bin``, else 600.
        seed: of the draw.

    """

    part: str = "hr"
    pairs: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Exported:
    """What was written: how many images, and where."""

    images: int
    out: Path


def export_view(
    dataset: PairDataset, out: Path, form: str, choice: PairChoice | None = None, hooks: Hooks = SILENT
) -> Exported:
    """Write a view's pairs for other tools; bytes leave as they lie in the store, raw LR becomes PNG.

    Args:
        dataset: the view, with the columns that go along.
        out: a new or empty folder (``folders``, ``webdataset``, ``parquet``), or a new file (``bin``).
        form: one of :data:`FORMS`.
        choice: which pairs, for ``bin``.
        hooks: told of progress and of names that had to be changed.

    Raises:
        SpecError: no such form.
        DataError: the view does not have what is asked for, or a record is damaged.
        EnvironmentFault: something is there already, or the disk is full.

    """
    if form not in FORMS:
        raise SpecError(f"no form '{form}'", hint=did_you_mean(form, FORMS))
    if form == "bin":
        if dataset.column_names:
            raise SpecError("a .bin has no place for columns", hint=f"one of {', '.join(FORMS[:3])}")
        chosen = choice or PairChoice()
        if out.exists():
            raise EnvironmentFault("the file exists", file=str(out), hint="choose another name")
        return Exported(export_bin(dataset, out, chosen.part, chosen.pairs, chosen.seed), out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EnvironmentFault("the output folder is not empty", file=str(out), hint="choose another --out")
    make_folder(out)
    write = {"folders": export_folders, "webdataset": export_tar, "parquet": export_parquet}[form]
    return Exported(write(dataset, out, hooks), out)
