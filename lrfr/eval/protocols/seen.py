"""What a benchmark's folder holds and what of it is used: every file has an end, every oddity is said."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.image import IMAGE_SUFFIXES, ImageU8
from lrfr.core.lists.walk import passed_over
from lrfr.eval.embeddings import Ints, Source, load_image
from lrfr.eval.protocols.layout import cell_strings, listed_file, load_mat
from lrfr.eval.results import Files, Unused

SYSTEM, NO_PICTURE = "file of the system", "not a picture"


@dataclass
class Ledger:
    """Files of a benchmark's folders as they are looked at, and what became of each."""

    used: int = 0
    unused: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, name: str) -> None:
        """Note one that is not used."""
        self.unused.setdefault(reason, []).append(name)

    def pictures(self, folder: Path, only: Callable[[Path], str] = lambda _: "") -> list[Path]:
        """Return the pictures of a folder, sorted by name.

        Args:
            folder: looked at, not what lies below it.
            only: says why a picture is not used, "" when it is.

        """
        found = []
        for path in sorted(folder.iterdir()):
            reason = _no_picture(path) or only(path)
            if reason:
                self.skip(reason, f"{folder.name}/{path.name}")
            else:
                found.append(path)
        self.used += len(found)
        return found

    def unlisted(self, folder: Path, listed: Sequence[Path], reason: str = "in no list") -> None:
        """Count the files of a folder that are listed and note the others, for ``reason``."""
        names = {path.name for path in listed if path.parent == folder}
        for path in sorted(folder.iterdir()):
            if path.name in names:
                self.used += 1
            else:
                self.skip(_no_picture(path) or reason, f"{folder.name}/{path.name}")

    def files(self) -> Files:
        """Return the record: seen is used and unused."""
        return Files(
            self.used + sum(map(len, self.unused.values())),
            self.used,
            {reason: Unused.of(names) for reason, names in self.unused.items()},
        )


def _no_picture(path: Path) -> str:
    if passed_over(path.name):
        return SYSTEM
    return "" if path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path) else NO_PICTURE


def listed_in_mat(path: Path, variable: str, folder: Path, ledger: Ledger) -> tuple[list[Path], Ints]:
    """Return the pictures of a folder that ``VARIABLE_set`` names, and their people from ``VARIABLE_ids``.

    Raises:
        DataError: the counts differ, or a picture is not there.

    """
    found = load_mat(path, (f"{variable}_set", f"{variable}_ids"))
    names = cell_strings(found[f"{variable}_set"])
    ids = np.asarray(found[f"{variable}_ids"], np.int64).reshape(-1)
    if len(ids) != len(names):
        raise DataError(f"{len(names)} images but {len(ids)} identities", file=str(path))
    files = [listed_file(folder, name, path, row) for row, name in enumerate(names, 1)]
    check_there(files, range(1, len(files) + 1), path)
    ledger.unlisted(folder, files)
    return files, ids


def numbers_in(path: Path, pattern: re.Pattern[str], expected: str) -> tuple[int, ...]:
    """Return the numbers in a file's name.

    Raises:
        DataError: the name is of another form than ``expected``.

    """
    found = pattern.fullmatch(path.stem)
    if found is None:
        raise DataError(
            "the name of this picture is of another form", file=str(path), hint=f"expected: {expected}"
        )
    return tuple(map(int, found.groups()))


def check_there(
    paths: Sequence[Path], lines: Sequence[int], list_path: Path, root: Path | None = None
) -> None:
    """Raise DataError when pictures that a list names are not there: how many, and the first one's line; with
    the folder where the names start, for benchmarks that take ``,root=FOLDER``.
    """
    known: dict[Path, bool] = {}
    missing = []
    for path, line in zip(paths, lines, strict=True):
        if path not in known:
            known[path] = os.path.isfile(path)  # also of impossible names
            missing += [] if known[path] else [(line, path)]
    if missing:
        line, path = missing[0]
        raise DataError(
            f"{len(missing)} of {len(known)} pictures that the list names are not there, the first is {path}",
            file=str(list_path),
            line=line,
            hint=f"the names start at {root}; add ,root=FOLDER to --data where the pictures are elsewhere"
            if root
            else None,
        )


def unaligned_remark(sources: Sequence[Source], alignment: str = "") -> list[str]:
    """Return W_UNALIGNED where pictures that a model takes as aligned crops look like something else.

    Pictures below 28 px cannot be judged, nor fewer than eight; rendered faces need not be.
    """
    from lrfr.pairs.align.unaligned import SAMPLE, SIDE_PX, unlike_faces

    if alignment.startswith("rendered"):
        return []
    step = max(1, len(sources) // SAMPLE)
    images: list[ImageU8] = [load_image(source) for source in list(sources)[::step][:SAMPLE]]
    words = unlike_faces([image for image in images if min(image.shape[:2]) >= SIDE_PX], "these")
    said = "so this number may say more of the crops than of the model: cut them by 'lrfr align'"
    return [f"{words}, {said}"] if words else []
