"""Where faces come from: one file a family of formats, listed in ``SOURCES``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.registry import Registry, sentence_of_target
from lrfr.pairs.sources.base import Source

Opener = Callable[[str], Source]


@dataclass(frozen=True)
class _Opener:
    """What opens one kind of source; its file is imported when it is called, so that a listing is quick.

    Attributes:
        module: file of this folder.
        source: class of the source; its first sentence is the help.
        function: takes the place; without one, the source is made of the place as a path.

    """

    module: str
    source: str
    function: str = ""

    @property
    def help(self) -> str:
        """One sentence, read from the source's docstring."""
        return sentence_of_target(f"{__package__}.{self.module}:{self.source}")

    def __call__(self, place: str) -> Source:
        """Open the source."""
        found = importlib.import_module(f"{__package__}.{self.module}")
        make = getattr(found, self.function or self.source)
        made = make(place if self.function else Path(place))
        assert isinstance(made, Source)
        return made


# kind: how the place of ``kind:place`` is opened
SOURCES: Registry[Opener] = Registry(
    "source",
    "lrfr.sources",
    {
        "synthetic": _Opener("synthetic", "SyntheticSource", "open_synthetic"),
        "synthetic-photos": _Opener("synthetic_photos", "SyntheticPhotosSource", "open_synthetic_photos"),
        "folder": _Opener("folder", "FolderSource", "open_folder"),
        "lfw": _Opener("folder", "LfwSource", "open_lfw"),
        "recordio": _Opener("packed.recordio", "RecordIOSource", "open_recordio"),
        "bin": _Opener("bin_file", "BinSource"),
        "csv": _Opener("tabular", "TableSource", "open_table"),
        "parquet": _Opener("tabular", "TableSource", "open_table"),
        "celeba": _Opener("tabular", "CelebaSource"),
        "tar": _Opener("packed.archive", "TarSource"),
        "lmdb": _Opener("packed.lmdb_folder", "LmdbFolderSource"),
        "arrays": _Opener("packed.arrays", "ArraySource"),
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
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise SpecError(
            "one image is no source", file=str(path), hint="name the folder of identities above it"
        )
    if kind is None:
        raise SpecError(
            "cannot tell what kind of source this is",
            file=str(path),
            hint=f"write kind:path; kinds: {', '.join(SOURCES)}",
        )
    return kind
