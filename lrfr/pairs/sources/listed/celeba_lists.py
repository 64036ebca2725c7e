"""The source ``celeba``: CelebA as it is distributed, or with its lists and images in one folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lrfr.core.errors import SpecError
from lrfr.core.lists import Keyed, Shape, is_count, read_keyed, read_rows
from lrfr.pairs.sources.base import Face, Listing, Tally, identity_name
from lrfr.pairs.sources.folder import FilesSource

_LISTS = ("", "Anno", "Eval", "CelebA/Anno", "CelebA/Eval")
_IMAGES = tuple(
    f"{above}{name}"
    for above in ("", "Img/", "CelebA/Img/")
    for name in ("img_align_celeba", "img_align_celeba_png", "img_celeba", "aligned", "images")
)
_SPLITS = ("train", "val", "test")
_SUFFIXES = ("", ".jpg", ".png", ".jpeg")


@dataclass(frozen=True)
class CelebaSource(FilesSource):
    """CelebA as distributed (``Anno``, ``Eval``, ``Img``; JPEG or PNG), or in one folder.

    ``list_attr_celeba`` and ``list_eval_partition`` (``.txt`` or ``.csv``) are used where they are there.
    Images are named as the lists do, whatever the suffix of their files.
    """

    folder: Path
    kind = "celeba"

    @property
    def root(self) -> Path:  # type: ignore[override]
        """The image folder."""
        known = [self.folder / name for name in _IMAGES]
        found = next((path for path in known if path.is_dir()), self.folder)
        # one of the distributions holds the folder in a folder of the same name
        return found / found.name if (found / found.name).is_dir() else found

    def _list(self, name: str) -> Path | None:
        spelled = (self.folder / above / f"{name}{end}" for above in _LISTS for end in (".txt", ".csv"))
        return next((path for path in spelled if path.exists()), None)

    def listing(self) -> Listing:
        """List the images of the identity file with attributes and split.

        Raises:
            SpecError: a list is missing or malformed, with its line.

        """
        identities = self._list("identity_CelebA")
        if identities is None:
            raise SpecError("no identity_CelebA.txt here, in Anno or in Eval", file=str(self.folder))
        attributes, splits = self._attributes(), self._splits()
        tally = Tally("line")
        suffix = self._suffix()
        for _, name, (label,) in _numbered(identities):
            tally.see()
            person = identity_name(label)
            place = suffix(name)
            tally.faces.append(
                Face(
                    name,
                    f"{int(person):05d}" if person else "",
                    place,
                    attributes.get(name, {}),
                    splits.get(name, ""),
                )
            )
        return tally.listing()

    def _suffix(self) -> _Spelling:
        return _Spelling(self.root)

    def _splits(self) -> dict[str, str]:
        path = self._list("list_eval_partition")
        if path is None:
            return {}
        found = {}
        for line, name, (code,) in _numbered(path):
            if code not in {"0", "1", "2"}:
                raise SpecError(f"expected 0, 1 or 2, found '{code}'", file=str(path), line=line)
            found[name] = _SPLITS[int(code)]
        return found

    def _attributes(self) -> dict[str, dict[str, int]]:
        path = self._list("list_attr_celeba")
        if path is None:
            return {}
        rows = read_rows(path, "name value ...", separator="auto")
        start = 1 if rows and len(rows[0].fields) == 1 else 0
        names = rows[start].fields if len(rows) > start else []
        if names and names[0].lower() in {"image_id", "file", "filename", "name", "image"}:
            names = names[1:]
        found = {}
        for number, parts in rows[start + 1 :]:
            if len(parts) != len(names) + 1 or any(part not in {"1", "-1", "0"} for part in parts[1:]):
                raise SpecError(
                    f"expected a name and {len(names)} values of 1 or -1", file=str(path), line=number
                )
            found[parts[0]] = {name: int(value == "1") for name, value in zip(names, parts[1:], strict=True)}
        return found

    def describe(self) -> dict[str, str | int]:
        """Name the data set."""
        return {"kind": self.kind, "name": "CelebA"}


class _Spelling:
    """Finds the file of a listed name: the lists say ``.jpg`` also where the images are PNG."""

    def __init__(self, root: Path) -> None:
        try:
            self._names = frozenset(os.listdir(root))
        except OSError:
            self._names = frozenset()

    def __call__(self, name: str) -> str:
        if name in self._names:
            return name
        stem = os.path.splitext(name)[0]
        return next((stem + end for end in _SUFFIXES if stem + end in self._names), name)


def _numbered(path: Path) -> list[Keyed]:
    """Return the lines 'image number' of one of CelebA's lists."""
    return read_keyed(path, Shape("image number", (1,), lambda text: is_count(text.removeprefix("-"))))
