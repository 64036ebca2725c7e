"""Walking a folder so that nothing in it is passed over in silence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Protocol

from lrfr.core.errors import REASONS, SpecError
from lrfr.core.image import IMAGE_SUFFIXES, looks_like_picture

# in lower case; what a name begins with decides the rest
_SYSTEM = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "@eadir",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__macosx",
        "__pycache__",
        ".ds_store",
        ".ipynb_checkpoints",
        ".appledouble",
        ".spotlight-v100",
        ".fseventsd",
        ".git",
        ".svn",
        ".picasa.ini",
        ".nomedia",
    }
)
_SYSTEM_STARTS = ("._", ".trash", ".fuse_hidden", ".nfs", ".~lock", "~$")
_HEAD = 1024


def passed_over(name: str) -> str:
    """Return why a file or folder of this name is none of a data set's, "" when it may be."""
    lower = name.lower()
    if lower in _SYSTEM or lower.startswith(_SYSTEM_STARTS):
        return "system"
    return "hidden" if name.startswith(".") else ""


def has_image_suffix(name: str) -> bool:
    """Return whether a name ends as a picture's does."""
    cut = name.rfind(".")
    if cut > 0 and name[cut - 1] not in "./":
        return name[cut:].lower() in IMAGE_SUFFIXES
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def head_of(path: str | Path) -> bytes:
    """Return the first bytes of a regular file, none where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, _HEAD)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


class Account(Protocol):
    """What is told of everything that a walk meets."""

    notes: list[str]

    def see(self, unit: str = "", count: int = 1) -> None:
        """Count something that was met."""

    def use(self, unit: str, count: int = 1) -> None:
        """Say that something is used."""

    def end(self, unit: str, name: str, why: str, detail: str = "") -> None:
        """Say why something is not used."""


@dataclass
class Leftovers:
    """The :class:`Account` of those who only read pictures: what a walk met and did not give, by reason."""

    notes: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str, str]] = field(default_factory=list)

    def see(self, unit: str = "", count: int = 1) -> None:
        """Count nothing: what is used is seen by its user."""

    def use(self, unit: str, count: int = 1) -> None:
        """Count nothing."""

    def end(self, unit: str, name: str, why: str, detail: str = "") -> None:
        """Keep what cannot be read by name, the rest by number."""
        if why in REASONS:
            self.refused.append((name, why, f"{REASONS[why]}: {detail}" if detail else REASONS[why]))
        else:
            self.reasons[why] += 1

    def told(self) -> list[str]:
        """Return one line on what was passed over, none where nothing was, and the notes of the walk."""
        counts = ", ".join(f"{why} {count}" for why, count in sorted(self.reasons.items()))
        return [*([f"passed over: {counts}"] if counts else []), *self.notes]


@dataclass
class Walk:
    """A walk below a root; everything met goes into a tally, pictures are yielded.

    Links to folders are followed where they lead to a folder inside the root, each of them once; with
    ``links="all"`` also where they lead out, with ``links="none"`` not at all. ``hint`` says how to follow
    those that lead out. ``wanted`` chooses other files than pictures by their name.
    """

    root: Path
    tally: Account
    links: str = "inside"
    hint: str = ""
    wanted: Callable[[str], bool] | None = None

    def pictures(self) -> Iterator[str]:
        """Yield the path of every picture below the root, folders separated by ``/``, in a fixed order.

        Raises:
            SpecError: the root is no folder, cannot be read, or is the whole file system's.

        """
        if not self.root.is_dir():
            raise SpecError("not a folder", file=str(self.root))
        self._real_root = os.path.realpath(self.root)
        if self._real_root == Path(self._real_root).anchor:
            hint = "name the folder that holds the pictures, such as /data/faces"
            raise SpecError("this is the root of the whole file system", file=str(self.root), hint=hint)
        self._linked: set[str] = set()
        self._out = 0
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            folders, plain = [], 0
            for entry in self._entries(folder):
                name = folder + entry.name
                if self.wanted is None and _is_plain_picture(entry):
                    plain += 1
                    yield name
                    continue
                kind = self._kind(entry, name)
                if kind == "folder":
                    folders.append(f"{name}/")
                elif kind == "picture":
                    yield name
            if plain:
                self.tally.see("file", plain)
            waiting += reversed(folders)
        if self._out:
            self.tally.notes.append(
                f"{self._out} links lead to folders outside '{self.root.name}' and were not followed"
                f"{self.hint}"
            )

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self.root, folder)) as found:
                entries = sorted(found, key=attrgetter("name"))
        except OSError as error:
            if not folder:
                raise SpecError(f"cannot read: {error.strerror}", file=str(self.root)) from None
            self.tally.end("folder", folder.rstrip("/"), "E_READ", error.strerror or "")
            return []
        if folder:
            self.tally.use("folder")
        return entries

    def _kind(self, entry: os.DirEntry[str], name: str) -> str:
        """Count an entry; return ``folder`` or ``picture``, "" for what is neither and has its end."""
        linked, folder = _is(entry.is_symlink), _is(entry.is_dir) and not _poses(entry)
        unit = "folder" if folder else "file"
        self.tally.see(unit)
        why = passed_over(entry.name)
        if not why and folder and linked:
            why = self._link_fault(entry.path)
        elif not why and not folder:
            why = _file_fault(entry, linked) if self.wanted is None else self._other_fault(entry.name)
        if why:
            self.tally.end(unit, name, why)
            return ""
        return unit if folder else "picture"

    def _other_fault(self, name: str) -> str:
        return "" if self.wanted and self.wanted(name) else "not asked for"

    def _link_fault(self, path: str) -> str:
        if self.links == "none":
            return "link"
        real = os.path.realpath(path)
        inside = os.path.join(real, "").startswith(os.path.join(self._real_root, ""))
        if not inside and self.links != "all":
            self._out += 1
            return "link out"
        # entered once by a link and never from within itself: whatever links there are, the walk ends
        here = os.path.join(os.path.realpath(os.path.dirname(path)), "")
        if real in self._linked or here.startswith(os.path.join(real, "")):
            return "link loop"
        self._linked.add(real)
        return ""


def pictures_below(folder: Path) -> tuple[list[str], Leftovers]:
    """Return the paths of all pictures below a folder, sorted folder by folder, and what else lies there.

    Raises:
        SpecError: no folder, or it cannot be read.

    """
    rest = Leftovers()
    return sorted(Walk(folder, rest).pictures(), key=lambda name: name.split("/")), rest


def files_below(
    folder: Path, account: Account, suffixes: tuple[str, ...], *, but: tuple[str, ...] = ()
) -> list[Path]:
    """Return the files below a folder whose names end so and do not begin as ``but`` says, sorted; their end
    is left to the caller.
    """

    def wanted(name: str) -> bool:
        return name.lower().endswith(suffixes) and not name.startswith(but)

    return sorted(folder / name for name in Walk(folder, account, wanted=wanted).pictures())


def _is_plain_picture(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is what most are: a file, no link, that by its name is a picture."""
    name = entry.name
    # all that is passed over starts with a mark or is called otherwise than a picture
    if name[name.rfind(".") :].lower() not in IMAGE_SUFFIXES or not name[0].isalnum():
        return False
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _file_fault(entry: os.DirEntry[str], linked: bool) -> str:
    if has_image_suffix(entry.name):
        return ""  # whatever it is, the scan refuses it by its code
    if not _is(entry.is_file):
        return "broken link" if linked and not os.path.exists(entry.path) else "not a file"
    return "" if looks_like_picture(head_of(entry.path)) else "not a picture"


def _poses(entry: os.DirEntry[str]) -> bool:
    """Return whether an empty folder is called like a picture: a face that the scan refuses."""
    if not has_image_suffix(entry.name):
        return False
    try:
        with os.scandir(entry.path) as found:
            return next(found, None) is None
    except OSError:
        return False


def _is(ask: object) -> bool:
    try:
        return bool(ask())  # type: ignore[operator]
    except OSError:
        return False
