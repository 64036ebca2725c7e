"""The camera's crops: read, counted, checked, split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import REASONS, DataError, ImageFault
from lrfr.core.files import sha256_hex
from lrfr.core.image import ImageU8, square_fit
from lrfr.fit.look.container_marks import Container, container_of, container_words, webp_quality
from lrfr.fit.look.stored_before import stored_before
from lrfr.pairs.align.unaligned import unlike_faces
from lrfr.pairs.executors.picture_limits import picture_within_limits
from lrfr.pairs.sources.base import in_key_order
from lrfr.pairs.sources.table import open_source

LEAST_CROPS, FEW_CROPS = 30, 100
LEAST_PX, MOST_PX = 8, 160
_CLEAN_PX = 112  # what simulated crops are cut from: none is larger
_THUMB = 12
_ALIGNED = 0.7  # agreement of mean faces
_MOST_WEBP = 24  # files whose quality is looked for


@dataclass(frozen=True)
class Crops:
    """A camera's crops.

    Attributes:
        names: of each.
        pictures: uint8 [h, w, 3] RGB each, square.
        container: how most of them are stored.
        side_px: of all of them, 0 where their sides differ.
        notes: what a person should know.
        seen: how many pictures were met, by what became of them.

    """

    names: tuple[str, ...]
    pictures: tuple[ImageU8, ...]
    container: Container
    side_px: int
    notes: tuple[str, ...]
    seen: dict[str, int]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class _Crop:
    """A crop as it is kept while all are read: its central square, never larger than :data:`MOST_PX`, and the
    side that it had. Larger ones are brought to the side of clean faces whatever the others are.
    """

    name: str
    square: ImageU8
    side_px: int

    @classmethod
    def of(cls, name: str, pixels: ImageU8) -> _Crop:
        """Return the crop of a picture."""
        side = min(pixels.shape[:2])
        return cls(name, square_fit(pixels, side if side <= MOST_PX else _CLEAN_PX), side)


def read_crops(place: str | Path, *, limit: int | None = None, least: int = LEAST_CROPS) -> Crops:
    """Read a folder (or any other source) of crops.

    Args:
        place: what ``--source`` takes.
        limit: at most so many, in the order of their names.
        least: how many different ones are needed.

    Raises:
        SpecError: there is no such source.
        DataError: there are too few crops, they are all equal or too small.

    """
    source, seen = open_source(str(place)), Counter[str]()
    kept: dict[str, _Crop] = {}
    containers: Counter[Container] = Counter()
    webp: list[int] = []
    for face in in_key_order(source.listing().faces):
        if limit is not None and len(kept) >= limit:
            seen["left out by --limit"] += 1
            continue
        try:
            content, pixels = picture_within_limits(partial(source.read, face.place))
            mark = Container("lossless") if content is None else container_of(content)
        except ImageFault as fault:
            seen[f"refused, {REASONS[fault.code]}"] += 1
            continue
        digest = sha256_hex(pixels.tobytes() + repr(pixels.shape).encode())
        if digest in kept:
            seen["the same pixels as another"] += 1
            continue
        kept[digest] = _Crop.of(face.key, pixels)
        few = len(webp) < _MOST_WEBP and kept[digest].side_px <= MOST_PX
        if few and mark.kind == "webp" and isinstance(content, bytes):
            webp.append(webp_quality(content, pixels))
        containers[mark] += 1
    seen["used"] = len(kept)
    if webp:
        quality = int(np.median(webp))
        containers[Container("webp", quality)] = containers.pop(Container("webp"))
    return _checked(str(place), list(kept.values()), containers, dict(seen), least)


def _checked(
    place: str,
    found: list[_Crop],
    containers: Counter[Container],
    seen: dict[str, int],
    least: int,
) -> Crops:
    if seen.get("the same pixels as another") and len(found) == 1:
        raise DataError("all crops are the same picture: no distribution can be told from it", file=place)
    if len(found) < least:
        counts = ", ".join(f"{what}: {count}" for what, count in seen.items())
        hint = f"{least} different crops are needed, {FEW_CROPS} or more are better"
        noun = "crop" if len(found) == 1 else "crops"
        raise DataError(f"{len(found)} usable {noun} ({counts})", file=place, hint=hint)
    sides = [crop.side_px for crop in found]
    if (middle := int(np.median(sides))) < LEAST_PX:
        hint = f"nothing but the size can be told below 8 px: write {{op: down, size: {middle}}} by hand"
        raise DataError(f"the crops are {middle} px wide", file=place, hint=hint)
    notes = []
    container, count = containers.most_common(1)[0]
    if len(containers) > 1:
        notes.append(
            f"{len(containers)} kinds of files; {count} of {len(found)} are {container_words(container)}, "
            f"which is taken for all"
        )
    if container.kind == "other" or (container.kind == "webp" and not container.quality):
        notes.append("the files are compressed in a way that no step repeats")
    if not container.exact:
        notes.append("the crops' JPEG tables are not the standard's: the nearest quality is simulated")
    side = sides[0] if len(set(sides)) == 1 else 0
    if side > MOST_PX:
        notes.append(f"crops of {side} px are brought to 112 px first")
        side = 112
    pictures = tuple(square_fit(crop.square, side or min(crop.side_px, _CLEAN_PX)) for crop in found)
    if side and container.kind == "lossless":
        before, words = stored_before(pictures)
        container = before or container
        notes += [words] if words else []
    if not side:
        larger = f", those above {_CLEAN_PX} px shrunk to it" if max(sides) > _CLEAN_PX else ""
        notes.append(f"sides from {min(sides)} to {max(sides)} px: taken for the native sizes{larger}")
    if len(found) < FEW_CROPS:
        notes.append(f"{len(found)} crops are few: intervals will be wide, and little can be distinguished")
    gray = np.mean([float(np.abs(p.astype(np.int16) - p[..., :1]).mean() < 1.0) for p in pictures])
    if gray > 0.95:
        notes.append("the crops are gray")
    return Crops(tuple(crop.name for crop in found), pictures, container, side, tuple(notes), seen)


def split_crops(count: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Return rows of crops: 60 % to fit, 20 % to choose by, 20 % for the last figures, touched once."""
    order = np.random.default_rng([seed, 3]).permutation(count)
    ends = [round(0.6 * count), round(0.8 * count)]
    return dict(zip(("fit", "validation", "test"), np.split(order, ends), strict=True))


def lie_alike(crops: Sequence[ImageU8], faces: Sequence[ImageU8]) -> str:
    """Return in words how far the mean faces of crops and clean faces agree."""
    own = _agreement(_thumbs(crops), _thumbs(faces))
    return (
        f"the mean faces of the crops and of {len(faces)} faces of the source agree by {own:.2f} "
        f"(lying alike: {_ALIGNED} or more)"
    )


def warnings_of(crops: Sequence[ImageU8], faces: Sequence[ImageU8]) -> list[str]:
    """Return what looks wrong between crops and clean faces: no common alignment, the same pictures."""
    ours, theirs = _thumbs(crops), _thumbs(faces)
    notes = []
    own = _agreement(ours, theirs)
    if own < _ALIGNED:
        notes.append(
            f"the faces of the crops do not lie where those of the source lie (mean faces agree by "
            f"{own:.2f}): align both alike (lrfr align), or the fit explains the difference as degradation"
        )
    for who, pictures in (("the crops", crops), ("the faces of the source", faces)):
        # both unaligned alike agree with each other: each is held against an aligned face, too
        if words := unlike_faces(pictures, who):
            notes.append(f"{words}: align both alike (lrfr align), or content is taken for degradation")
    nearest = (ours @ theirs.T / ours.shape[1]).max(axis=1)
    same = float((nearest > 0.97).mean())
    if same > 0.05:
        notes.append(
            f"{same:.0%} of the crops look like a picture of the source: with the same people on both sides "
            f"distances are too small; take other people"
        )
    return notes


def _agreement(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Return the correlation of two mean faces."""
    return float(np.corrcoef(ours.mean(axis=0), theirs.mean(axis=0))[0, 1])


def _thumbs(pictures: Sequence[ImageU8]) -> NDArray[np.float64]:
    """Return faces in 12 x 12 gray cells, of mean 0 and spread 1 each."""
    small = np.stack([square_fit(p, _THUMB) for p in pictures]).astype(np.float64).mean(axis=3)
    flat = small.reshape(len(small), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(flat.std(axis=1, keepdims=True), 1e-6))
