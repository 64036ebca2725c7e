"""Samples of an archive: which members belong together, what their face is called and whose it is."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from lrfr.core.errors import ImageFault
from lrfr.core.image import IMAGE_SUFFIXES, looks_like_picture
from lrfr.core.lists.walk import passed_over
from lrfr.pairs.sources.base import LABEL_NAMES, Face, Tally, identity_name, label_name
from lrfr.pairs.sources.packed.members import Member, members, read_member

_LABELS = (
    *(f"{end}{text}" for end in (".cls", ".label", ".identity", ".id") for text in ("", ".txt")),
    ".txt",
)
_LABEL_ENDS = (".json", *_LABELS)
_MAX_LABEL_BYTES = 256
_MAX_META_BYTES = 1 << 20
# parts of a sample that stand before an image's suffix: 000.hr.jpg, 000.lr.png
_ROLES = frozenset({"hr", "lr", "gt", "lq", "hq", "input", "target", "image", "img", "cls", "label"})
_KNOWN = frozenset({suffix[1:] for suffix in IMAGE_SUFFIXES} | {"json", "txt", "cls", "id", "label"} | _ROLES)


def posix(folder: str, name: str) -> str:
    """Join a folder of an archive and a name."""
    return f"{folder}/{name}" if folder else name


@dataclass(slots=True)
class _Parts:
    """The members of one sample by suffix, as the archive spells it; ``more`` repeats a name."""

    by_suffix: dict[str, Member] = field(default_factory=dict)
    more: list[tuple[str, Member]] = field(default_factory=list)

    def add(self, suffix: str, member: Member) -> None:
        if suffix in self.by_suffix:
            self.more.append((suffix, member))
        else:
            self.by_suffix[suffix] = member

    def label(self, suffix: str) -> Member | None:
        return next((part for name, part in self.by_suffix.items() if name.lower() == suffix), None)


Samples = dict[tuple[str, str], _Parts]


def samples_of(path: Path, tally: Tally, prefix: str) -> Samples:
    """Return (folder, stem) -> parts of every sample; what belongs to none has its end in the tally."""
    found: list[tuple[str, str, Member]] = []
    hidden: dict[str, str] = {}  # by folder, as thousands of members share one
    for member in members(path):
        tally.see("folder" if member.folder else "member")
        if member.folder:
            tally.use("folder")
            continue
        folder, _, name = member.name.rpartition("/")
        if folder not in hidden:
            hidden[folder] = next(filter(None, map(passed_over, folder.split("/"))), "")
        if why := member.fault or hidden[folder] or passed_over(name):
            tally.end("member", prefix + member.name, why, member.detail)
        else:
            found.append((folder, name, member))
    stems = {(folder, cut) for folder, name, _ in found if (cut := _label_stem(name)) is not None}
    samples: Samples = {}
    for folder, name, member in found:
        stem = _stem(folder, name, stems)
        samples.setdefault((folder, stem), _Parts()).add(name[len(stem) :], member)
    return samples


def _label_stem(name: str) -> str | None:
    """Return the stem of a member that labels a sample, None for others."""
    lower = name.lower()
    if not lower.endswith(_LABEL_ENDS):
        return None
    ends = [end for end in _LABEL_ENDS if lower.endswith(end) and len(lower) > len(end)]
    return name[: len(name) - len(max(ends, key=len))] if ends else None


def _stem(folder: str, name: str, labeled: set[tuple[str, str]]) -> str:
    """Cut a member's name where its sample's name ends: as the sample's label does, else at the first dot
    behind which there are known suffixes only, else at the last dot.

    WebDataset cuts at the first dot whatever follows, which makes one sample of ``2021.05.01.jpg`` and
    ``2021.05.02.jpg``.
    """
    if name.find(".", 1) == (last := name.rfind(".", 1)):  # as most are: one dot, or none
        return name[:last] if last > 0 else name
    dots = [place for place, letter in enumerate(name) if letter == "." and place]
    for place in dots:
        if (folder, name[:place]) in labeled:
            return name[:place]
    for place in dots:
        if all(part.lower() in _KNOWN for part in name[place + 1 :].split(".")):
            return name[:place]
    return name[: dots[-1]] if dots else name


def folder_labels(folders: set[str]) -> dict[str, str]:
    """Return the identity that each folder names: its path below what all of them share."""
    inside = [folder for folder in folders if folder]
    common = os.path.commonpath(inside) if inside else ""
    if common in folders:
        # images lie in it: it is an identity itself
        common = os.path.dirname(common)
    start = len(common) + 1 if common else 0
    return {folder: folder[start:] for folder in folders}


@dataclass(frozen=True)
class Sample:
    """One sample of an archive."""

    path: Path
    key: str
    folder_label: str
    parts: _Parts

    def faces(self, archive: str, prefix: str, tally: Tally) -> Iterator[Face]:
        """Yield its face, further ones where a name is repeated, none where it has no image."""
        images = sorted(filter(_is_image, self.parts.by_suffix)) or self._told_by_content()
        chosen = next(
            (suffix for suffix in images if suffix.lower().startswith(".hr")), images[0] if images else None
        )
        label = self._label() if chosen is not None else None
        for suffix, part in itertools.chain(self.parts.by_suffix.items(), self.parts.more):
            if suffix == chosen and label:
                place = (archive, part.start, part.size)
                key = label.key or prefix + self.key
                yield Face(key, label.name, place, label.attributes, label.split, label.fault, label.detail)
            elif _is_image(suffix) or suffix in images:
                tally.end("member", part.name, "other picture")
            elif label and suffix in label.used:
                tally.use("member")
            else:
                tally.end("member", part.name, "not a picture")

    def _told_by_content(self) -> list[str]:
        """Return the suffixes of pictures that are not called so."""
        labels = (".json", *_LABELS)
        unknown = {own: part for own, part in self.parts.by_suffix.items() if own.lower() not in labels}
        return sorted(own for own, part in unknown.items() if looks_like_picture(_head(self.path, part)))

    def _label(self) -> _Label:
        if not any(suffix.lower() in _LABEL_ENDS for suffix in self.parts.by_suffix):
            return _of_folder(self.folder_label)
        meta = self.parts.label(".json")
        found = _from_json(read_text_member(self.path, meta, _MAX_META_BYTES)) if meta else _Label()
        used = {suffix for suffix in self.parts.by_suffix if suffix.lower() == ".json"}
        if found.known or found.fault:
            return replace(found, used=frozenset(used))
        name = self.folder_label
        for suffix in _LABELS:
            part = self.parts.label(suffix)
            if part is None or (suffix == ".txt" and found.captioned):
                continue
            text = read_text_member(self.path, part, _MAX_LABEL_BYTES)
            if text is not None and len(text.strip().splitlines()) <= 1:
                name = text
                used |= {own for own in self.parts.by_suffix if own.lower() == suffix}
                break
        named = replace(_of_folder(name), used=frozenset(used))
        return replace(named, key=found.key, attributes=found.attributes, split=found.split)


def _head(path: Path, member: Member) -> bytes:
    try:
        return read_member(path, member.start, member.size)[:1024]
    except ImageFault:
        return b""


@lru_cache(maxsize=256)
def _is_image(suffix: str) -> bool:
    return os.path.splitext(f"x{suffix}")[1].lower() in IMAGE_SUFFIXES


@dataclass(frozen=True)
class _Label:
    """What the members of a sample say about its face."""

    name: str = ""
    key: str = ""
    attributes: dict[str, int] = field(default_factory=dict)
    split: str = ""
    fault: str = ""
    detail: str = ""
    used: frozenset[str] = frozenset()
    known: bool = False
    captioned: bool = False


def read_text_member(path: Path, member: Member, limit: int) -> str | None:
    """Return the text of a small member, None where it is too long or cannot be read."""
    if member.size > limit:
        return None
    try:
        return read_member(path, member.start, member.size).decode("utf-8-sig", "replace")
    except ImageFault:
        return None


@lru_cache(maxsize=4096)
def _of_folder(name: str) -> _Label:
    fault = "E_LABEL" if name.strip().lower() in {"nan", "inf", "-inf"} else ""
    return _Label(identity_name(name), fault=fault)


def _from_json(text: str | None) -> _Label:
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return _Label(fault="E_LABEL", detail="its .json member is not JSON")
    if not isinstance(value, dict) or not isinstance(value.get("attributes", {}), dict):
        # a bare number or text is a label
        name, fault = label_of(value) if not isinstance(value, dict | list) else ("", "E_LABEL")
        return _Label(
            name, fault=fault, detail="its .json member is not an object" if fault else "", known=True
        )
    # an id in JSON numbers the sample
    named = label_name(value, ("label", *(word for word in LABEL_NAMES if word != "id")))
    raw = value[named] if named else None
    name, fault = label_of(raw)
    attributes = {
        str(word): int(flag) for word, flag in value.get("attributes", {}).items() if flag in (0, 1)
    }
    known = named is not None
    key, split = value.get("key"), value.get("split")
    return _Label(
        name,
        key if isinstance(key, str) and known else "",
        attributes,
        split if isinstance(split, str) else "",
        fault,
        "its label is no number or text" if fault else "",
        known=known,
        captioned="caption" in value,
    )


def label_of(value: object) -> tuple[str, str]:
    """Return (identity, reason code) of a label as JSON and tables hold it."""
    if value is None or isinstance(value, str):
        return identity_name(value or ""), ""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return identity_name(str(value)), ""
    return "", "E_LABEL"
