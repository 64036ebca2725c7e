"""Where faces come from: one file a family of formats, listed in ``SOURCES``; and which kind a path is."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lrfr.core.errors import SpecError, as_path, did_you_mean
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.core.lists.walk import head_of, passed_over
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
        example: what may stand behind ``--source``.

    """

    module: str
    source: str
    function: str = ""
    example: str = ""
    told_by: str = ""

    @property
    def help(self) -> str:
        """One sentence, read from the source's docstring."""
        return sentence_of_target(f"{__package__}.{self.told_by or f'{self.module}:{self.source}'}")

    def __call__(self, place: str) -> Source:
        """Open the source."""
        found = importlib.import_module(f"{__package__}.{self.module}")
        make = getattr(found, self.function or self.source)
        made = make(place if self.function else as_path(place or ".", "a source"))
        assert isinstance(made, Source)
        return made


# kind: how the place of ``kind:place`` is opened
SOURCES: Registry[Opener] = Registry(
    "source",
    "lrfr.sources",
    {
        "synthetic": _Opener(
            "synthetic", "SyntheticSource", "open_synthetic", "synthetic:ids=100,per_id=12,seed=0"
        ),
        "synthetic-photos": _Opener(
            "synthetic_photos",
            "SyntheticPhotosSource",
            "open_synthetic_photos",
            "synthetic-photos:ids=10,per_id=4",
        ),
        "folder": _Opener("folder", "FolderSource", "open_folder", "faces/ or folder:faces,identity=parent"),
        "imagefolder": _Opener("listed.imagefolder", "ImageFolderSource", example="imagefolder:faces"),
        "lfw": _Opener("folder", "LfwSource", "open_lfw", "lfw:lfw,list=pairsDevTest.txt"),
        "celeba": _Opener("listed.celeba_lists", "CelebaSource", example="celeba:CelebA"),
        "tinyface": _Opener("listed.tinyface", "TinyFaceSource", example="tinyface:tinyface"),
        "csv": _Opener("tabular", "TableSource", "open_table", "faces.csv or csv:faces.csv,root=images"),
        "parquet": _Opener(
            "tabular",
            "TableSource",
            "open_table",
            "train-00000-of-00002.parquet or data/",
            "packed.columnar:ColumnarSource",
        ),
        "list": _Opener(
            "listed.image_list", "ImageListSource", "open_list", "train.lst or list:a.txt,root=img"
        ),
        "tar": _Opener("packed.archive", "TarSource", example="faces.tar, shards/ or tar:s-{000..127}.tar"),
        "zip": _Opener("packed.archive", "ZipSource", example="faces.zip"),
        "recordio": _Opener(
            "packed.recordio", "RecordIOSource", "open_recordio", "train.rec or faces_emore/"
        ),
        "bin": _Opener("bin_file", "BinSource", example="lfw.bin"),
        "mixup": _Opener("listed.mixup", "MixupSource", "open_mixup", "mixup:count=10000,of=folder:faces"),
        "lmdb": _Opener("packed.lmdb_folder", "LmdbFolderSource", example="faces.lmdb"),
        "arrays": _Opener("packed.arrays", "ArraySource", example="digits.npz"),
    },
)

_SUFFIXES = {
    ".rec": "recordio",
    ".bin": "bin",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "csv",
    ".ndjson": "csv",
    ".parquet": "parquet",
    ".feather": "parquet",
    ".arrow": "parquet",
    ".lst": "list",
    ".txt": "list",
    ".list": "list",
    ".zip": "zip",
    ".mdb": "lmdb",
    ".lmdb": "lmdb",
    ".mat": "arrays",
    ".npz": "arrays",
    ".npy": "arrays",
}
_TAR = re.compile(r"\.(tar(\.(gz|bz2|xz|zst))?|tgz|tbz2|txz|tzst)$", re.IGNORECASE)
_HEADS = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "parquet"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "tar"),
    (b"\x28\xb5\x2f\xfd", "tar"),
)
_FOREIGN = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "compressed by LZ4"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x80\x02", "a pickle, which could run code"),
    (b"\x80\x03", "a pickle, which could run code"),
    (b"\x80\x04", "a pickle, which could run code"),
    (b"\x80\x05", "a pickle, which could run code"),
    (b"%PDF", "a PDF"),
)
_UNPACK = "unpack or convert it to a folder, a list, a tar, Parquet or arrays"
# files that tell what kind of folder they lie in
_MARKERS = {
    "lfw": r"(pairs|people)(DevTrain|DevTest)?\.txt",
    "celeba": r"identity_CelebA\.txt",
    "lmdb": r"data\.mdb",
    "recordio": r".+\.rec",
    "imagefolder": r"metadata\.(csv|jsonl|parquet)",
    "tinyface": r"(probe|gallery_match)_img_ID_pairs\.mat",
}
# folders in which distributions keep such files, and those that tell by their own name
_INNER = ("", "Anno", "train", "test", "validation", "Testing_Set", "tinyface", "tinyface/Testing_Set")
_FOLDERS = {"tinyface": r"Gallery_Match|aligned_pad_.*"}


# how far archives may lie below a folder, and how many folders are looked into to find out
_DEPTH, _MOST_FOLDERS = 4, 1000


def open_source(text: str) -> Source:
    """Open a source named on the command line: ``kind:place``, or a path whose kind is seen from its form.

    Raises:
        SpecError: no such kind, no such path, or a path that may be of several kinds.

    """
    kind, colon, place = text.partition(":")
    if kind in SOURCES and (colon or kind.startswith("synthetic")):
        return SOURCES[kind](place)
    path = Path(text)
    if not _there(path):
        # options or a pattern may stand behind the path
        bare = Path(re.split(r",\w+=", text)[0])
        suffix_kind = _kind_by_name(bare.name) if re.search(r"[{*?]", bare.name) else ""
        if not suffix_kind and (bare == path or not _there(bare)):
            raise SpecError(f"no such source: {text}", hint=_near(bare, did_you_mean(kind, SOURCES)))
        return SOURCES[suffix_kind or kind_of(bare)](text)
    return SOURCES[kind_of(path)](text)


def example_of(kind: str) -> str:
    """Return what may stand behind ``--source`` for a kind; of another package's, only how it begins."""
    return getattr(SOURCES[kind], "example", "") or f"{kind}:PLACE"


def _near(path: Path, kinds: str) -> str:
    """Return a path that is there and spelled alike, else what there is where it was looked for."""
    folder = path.parent
    try:
        names = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))[:10_000]
    except (OSError, ValueError):
        return f"there is no folder {folder} here; or {kinds}"
    close = get_close_matches(path.name, names, n=1)
    if close:
        return f"did you mean --source {folder / close[0]}"
    here = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
    return f"in {folder.resolve()} there is {here}; or {kinds}"


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def kind_of(path: Path) -> str:
    """Return the kind of source that a path is.

    Raises:
        SpecError: none, or several; the message says which and how to say so.

    """
    kinds = _kinds_of_folder(path) if path.is_dir() else [_kind_of_file(path)]
    if len(kinds) > 1:
        ways = " or ".join(f"--source {kind}:{path}" for kind in kinds)
        raise SpecError(
            f"several kinds of source fit: {', '.join(kinds)}", file=str(path), hint=f"write {ways}"
        )
    return kinds[0]


def _kinds_of_folder(path: Path) -> list[str]:
    found = set()
    for inner in _INNER:
        try:
            names = sorted(os.listdir(path / inner))[:100_000]
        except OSError:
            continue
        found |= {kind for kind, mark in _MARKERS.items() if any(re.fullmatch(mark, name) for name in names)}
        found |= {
            kind
            for kind, mark in _FOLDERS.items()
            if any(re.fullmatch(mark, name) and (path / inner / name).is_dir() for name in names)
        }
    return sorted(found, key=list(SOURCES).index) or _kinds_by_content(path) or ["folder"]


def _kinds_by_content(path: Path) -> list[str]:
    """Return the kinds of a folder that holds tables or archives, at any depth of a few, and no pictures."""
    kinds: set[str] = set()
    waiting, looked = [(path, 0)], 0
    while waiting and "picture" not in kinds and looked < _MOST_FOLDERS:
        folder, depth = waiting.pop()
        looked += 1
        try:
            entries = [entry for entry in os.scandir(folder) if not passed_over(entry.name)]
        except OSError:
            continue
        kinds |= {_kind_by_name(entry.name) for entry in entries if entry.is_file()}
        if depth < _DEPTH:
            waiting += [(Path(entry.path), depth + 1) for entry in entries if entry.is_dir()]
    return [] if "picture" in kinds else sorted(kinds & {"tar", "zip", "parquet"})


def _kind_by_name(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return "picture"
    return "tar" if _TAR.search(name) else _SUFFIXES.get(suffix, "")


def _kind_of_file(path: Path) -> str:
    kind = _kind_by_name(path.name)
    if kind == "picture":
        raise SpecError(
            "one image is no source", file=str(path), hint=f"--source {path.absolute().parent.parent}"
        )
    head = b""
    if not kind and path.is_file():
        head = head_of(path)
        kind = next((name for mark, name in _HEADS if head.startswith(mark)), "")
        kind = "tar" if head[257:262] == b"ustar" else kind
    if not kind:
        foreign = next((what for mark, what in _FOREIGN if head.startswith(mark)), "")
        if foreign:
            raise SpecError(f"this is {foreign}, which is not read", file=str(path), hint=_UNPACK)
        raise SpecError(
            "cannot tell what kind of source this is" if path.exists() else "no such file or folder",
            file=str(path),
            hint=f"write kind:path; kinds: {', '.join(SOURCES)}",
        )
    return kind
