"""Where faces come from: one file a family of formats, listed in ``SOURCES``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.registry import Registry
from lrfr.pairs.sources.archive import TarSource
from lrfr.pairs.sources.arrays import ArraySource
from lrfr.pairs.sources.base import Source
from lrfr.pairs.sources.bin_file import BinSource
from lrfr.pairs.sources.folder import FolderSource, LfwSource
from lrfr.pairs.sources.lmdb_folder import LmdbFolderSource
from lrfr.pairs.sources.recordio import RecordIOSource, open_recordio
from lrfr.pairs.sources.synthetic import SyntheticSource, open_synthetic
from lrfr.pairs.sources.synthetic_photos import SyntheticPhotosSource, open_synthetic_photos
from lrfr.pairs.sources.tabular import CelebaSource, TableSource, open_table

Opener = Callable[[str], Source]


def _opener(source: type[Source], open_place: Opener) -> Opener:
    """Return ``open_place`` with the help of the source that it opens."""

    def opener(place: str) -> Source:
        return open_place(place)

    opener.__doc__ = source.__doc__
    return opener


def _of_path(source: Callable[[Path], Source]) -> Opener:
    """Return what opens a source that is one path; its help is the source's."""

    def opener(place: str) -> Source:
        return source(Path(place))

    opener.__doc__ = source.__doc__
    return opener


# kind: how the place of ``kind:place`` is opened
SOURCES: Registry[Opener] = Registry(
    "source",
    "lrfr.sources",
    {
        "synthetic": _opener(SyntheticSource, open_synthetic),
        "synthetic-photos": _opener(SyntheticPhotosSource, open_synthetic_photos),
        "folder": _of_path(FolderSource),
        "lfw": _of_path(LfwSource),
        "recordio": _opener(RecordIOSource, open_recordio),
        "bin": _of_path(BinSource),
        "csv": _opener(TableSource, open_table),
        "parquet": _opener(TableSource, open_table),
        "celeba": _of_path(CelebaSource),
        "tar": _of_path(TarSource),
        "lmdb": _of_path(LmdbFolderSource),
        "arrays": _of_path(ArraySource),
    },
)

_SUFFIXES = {
    ".rec": "recordio",
    ".bin": "bin",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".tar": "tar",
    ".mat": "arrays",
    ".npz": "arrays",
}
# a file that tells what kind of folder it lies in
_MARKERS = {
    "pairs.txt": "lfw",
    "identity_CelebA.txt": "celeba",
    "meta_info.txt": "lmdb",
    "train.rec": "recordio",
}


def open_source(text: str) -> Source:
    """Open a source named on the command line: ``kind:place``, or a path whose kind is seen from its form.

    Raises:
        SpecError: no such kind, or no such path.

    """
    kind, colon, place = text.partition(":")
    if kind in SOURCES and (colon or kind.startswith("synthetic")):
        return SOURCES[kind](place)
    path = Path(text)
    if not path.exists():
        raise SpecError(f"no such source: {text}", hint=f"a path, or {did_you_mean(kind, SOURCES)}")
    return SOURCES[_kind_of(path)](text)


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return next((kind for name, kind in _MARKERS.items() if (path / name).exists()), "folder")
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise SpecError(
            "cannot tell what kind of source this is",
            file=str(path),
            hint=f"write kind:path; kinds: {', '.join(SOURCES)}",
        )
    return kind
