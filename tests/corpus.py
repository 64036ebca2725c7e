"""Compare our decoder with Pillow's over folders of pictures: ``python -m tests.corpus DIR ...``.

Nothing is fetched. Every file that either of the two takes for a picture is decoded by both; equal means at most
one level apart. The table counts, for every folder given (or every folder within a single one), the files that
are equal, those refused by each code, those that only Pillow refuses (broken metadata, which no codec of ours
gets to see), and those that differ, with the worst named; the exit status is 1 if any does.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lrfr.core.errors import ImageFault
from lrfr.core.files import read_bytes
from lrfr.core.image import HEAD_BYTES, IMAGE_SUFFIXES, looks_like_picture, read_picture


def pillow_pixels(data: bytes) -> np.ndarray:
    """What a careful user of Pillow does by hand: the first frame, turned, composited over black, 16 bits
    scaled.
    """
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        sixteen = picture.format in {"PNG", "PPM", "TIFF", "JPEG2000", "HEIF"} and picture.mode in {
            "I",
            "I;16",
            "I;16B",
            "I;16L",
        }
        bits = 12 if picture.format == "TIFF" and picture.tag_v2.get(258) == (12,) else 16
        key = picture.info.get("transparency")
        turned = ImageOps.exif_transpose(picture)
    if sixteen:
        values = np.asarray(turned).astype(np.int64)
        gray = np.rint(values * 255 / (2**bits - 1)).astype(np.uint8)
        gray[values == key] = 0
        return np.repeat(gray[..., None], 3, axis=2)
    if turned.mode in {"La", "RGBa"}:
        turned = turned.convert({"La": "LA", "RGBa": "RGBA"}[turned.mode])
    if turned.has_transparency_data:
        layer = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    return np.asarray(turned.convert("RGB"))


@dataclass
class Tally:
    """What became of one folder's files."""

    equal: int = 0
    worst_equal: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ours_alone: list[str] = field(default_factory=list)
    differing: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: Path, data: bytes) -> None:
        try:
            ours = read_picture(data).pixels
        except ImageFault as fault:
            self.refused[fault.code] += 1
            if VERBOSE:
                print(f"  {path}: {fault.message}; Pillow {self._pillow_says(data)}")
            return
        try:
            theirs = pillow_pixels(data)
        except Exception as error:
            self.ours_alone.append(f"{path}: {error}")
            return
        if ours.shape != theirs.shape:
            self.differing.append((998, f"{path}: {ours.shape[:2]} against {theirs.shape[:2]}"))
            return
        apart = int(np.abs(ours.astype(int) - theirs).max())
        if apart > 1:
            self.differing.append((apart, f"{path}: {apart} levels"))
        else:
            self.equal += 1
            self.worst_equal = max(self.worst_equal, apart)

    def _pillow_says(self, data: bytes) -> str:
        try:
            return f"reads it, {pillow_pixels(data).shape[:2]}"
        except Exception as error:
            return f"refuses it: {error}"


VERBOSE = False


def pictures(folder: Path):
    """Yield (path, bytes) of every file that a name or its content calls a picture."""
    for root, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = Path(root, name)
            try:
                data = read_bytes(path)
            except ImageFault as fault:
                if path.suffix.lower() in IMAGE_SUFFIXES and fault.code == "E_EMPTY":
                    yield path, b""
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES or looks_like_picture(data[:HEAD_BYTES]):
                yield path, data


def main(folders: list[Path]) -> int:
    """Print the table; return the exit status."""
    if len(folders) == 1:
        folders = sorted(path for path in folders[0].iterdir() if path.is_dir()) or folders
    tallies: dict[str, Tally] = {}
    for folder in folders:
        tally = Tally()
        for path, data in pictures(folder):
            tally.add(path, data)
        if tally.equal or tally.refused or tally.differing:
            tallies[folder.name] = tally
    print("| corpus | files | equal | refused | Pillow refuses | differing |\n|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        refused = " ".join(f"{code} {count}" for code, count in sorted(tally.refused.items()))
        alone, differing = len(tally.ours_alone), len(tally.differing)
        files = tally.equal + sum(tally.refused.values()) + alone + differing
        equal = f"{tally.equal} (max {tally.worst_equal})"
        print(f"| {name} | {files} | {equal} | {refused} | {alone} | {differing} |")
    for tally in tallies.values():
        for _, text in sorted(tally.differing, reverse=True)[:40]:
            print("differs:", text)
        for text in tally.ours_alone:
            print("Pillow refuses:", text)
    return int(any(tally.differing for tally in tallies.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--verbose", action="store_true", help="name every refused file with its reason")
    given = parser.parse_args()
    VERBOSE = given.verbose
    warnings.simplefilter("ignore")
    sys.exit(main(given.folders))
