"""What exported files are called: the user's own names, escaped where they cannot stand or two would meet."""

from __future__ import annotations

import os

import numpy as np
from xxhash import xxh3_64_intdigest

from lrfr.core.files import sha256_hex
from lrfr.core.image import IMAGE_SUFFIXES
from lrfr.pairs.reading.dataset import PairDataset

MAX_PART_BYTES = 200
_UNSAFE = '%/\\<>:"|?*'


def path_part(name: str) -> str:
    """Return one file or folder name for any text; different texts give different names.

    What no file system minds stays as it is. Everything else, ``%`` itself, and dots and spaces at the ends
    become ``%XX`` for each byte, as in a URL, so the text can be had back. A name over 200 bytes keeps its
    beginning and ends in ``%-`` and 128 bits of its hash; ``%-`` alone stands for the empty text.
    """
    pieces = [_escaped(letter) if _must_go(letter) else letter for letter in name]
    for end in (0, -1) if name else ():
        if name[end] in ". ":
            pieces[end] = _escaped(name[end])
    part = "".join(pieces)
    if part and len(part.encode()) <= MAX_PART_BYTES:
        return part
    kept, size = "", 0
    for piece in pieces:
        size += len(piece.encode())
        if size > MAX_PART_BYTES - 34:
            break
        kept += piece
    return f"{kept}%-{sha256_hex(name.encode('utf-8', 'surrogateescape'))[:32] if name else ''}"


def _must_go(letter: str) -> bool:
    return letter in _UNSAFE or not (letter.isprintable() or letter == " ")


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))


class FileNames:
    """Paths of a dataset's faces below an export's folder, without the suffix; no two are alike.

    A face lies in its identity's folder (one without identity lies beside these folders) under its key,
    without what the key repeats of the identity and without an image's suffix. Keys that would meet there,
    such as ``a.png`` and ``a.webp``, are spelled out in full, as one escaped name.

    Args:
        dataset: the faces.

    """

    def __init__(self, dataset: PairDataset) -> None:
        self._dataset = dataset
        # eight bytes a face; a chance meeting of hashes spells two keys out that need not be
        digests = [xxh3_64_intdigest(self._plain(position).encode()) for position in range(len(dataset))]
        hashes = np.array(digests, np.uint64)
        _, which, count = np.unique(hashes, return_inverse=True, return_counts=True)
        self._meets = count[which] > 1

    def path(self, position: int) -> str:
        """Return the path of a face, folders separated by ``/``."""
        if not self._meets[position]:
            return self._plain(position)
        label, key = self.label(position), self.key(position)
        stem, suffix = _split(key)
        spelled = path_part(stem) + _escaped(".") + suffix[1:] if suffix else path_part(key)
        return f"{path_part(label)}/{spelled}" if label else spelled

    @property
    def spelled_out(self) -> int:
        """How many keys were spelled out because they would have met others."""
        return int(self._meets.sum())

    def label(self, position: int) -> str:
        """Return the name of a face's identity, "" for none."""
        number = int(self._dataset.labels[position])
        return self._dataset.label_names[number] if number >= 0 else ""

    def key(self, position: int) -> str:
        """Return a face's key as text."""
        return self._dataset.key(position).decode("utf-8", "surrogateescape")

    def _plain(self, position: int) -> str:
        label, key = self.label(position), self.key(position)
        stem, _ = _split(key.removeprefix(f"{label}/") if label else key)
        # a folder would come back as an identity
        return "/".join(map(path_part, [label, *stem.split("/")] if label else [stem]))


def _split(key: str) -> tuple[str, str]:
    """Return a key without an image's suffix, and the suffix."""
    stem, suffix = os.path.splitext(key)
    return (stem, suffix) if suffix.lower() in IMAGE_SUFFIXES else (key, "")
