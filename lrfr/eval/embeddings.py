"""What protocols are made of: image sources, lists of pairs, and the embeddings of both.

Eval never resizes up and never normalizes an image: it decodes, degrades to the LR size that a protocol asks
for, and hands native pixels to ``embed``, which owns everything after that.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, NumericFault, SpecError
from lrfr.core.image import ImageU8, check_image, decode, read_bytes

if TYPE_CHECKING:
    from lrfr.degrade.pipeline import Pipeline

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Source = Path | bytes | ImageU8
Embed = Callable[[list[ImageU8]], NDArray[np.float32]]
Progress = Callable[..., None]
Size = int | str | None  # side in px, the name or path of a degradation spec, or None: the image as it is

FUSIONS = ("none", "sum", "mean", "norm", "concat", "concat-unit")
_TINY = 1e-12


@dataclass(frozen=True)
class LowRes:
    """How a test image becomes small: a filter, with or without antialiasing (at 7 px the two differ by 14 to
    19 gray levels).
    """

    filter: str = "bicubic"
    antialias: bool = True

    def apply(self, images: list[ImageU8], size: Size, keys: Sequence[bytes] = ()) -> list[ImageU8]:
        """Degrade images.

        Args:
            images: uint8 HWC RGB.
            size: a side in px (an image already that small passes unchanged), the name or path of a
                degradation spec, or None: unchanged.
            keys: names of the images, from which a spec's random numbers are drawn.

        """
        if size is None:
            return images
        if isinstance(size, str):
            return [degraded.image for degraded in _pipeline(size).run(list(keys), images)]
        return self._shrink(images, size)

    def _shrink(self, images: list[ImageU8], size_px: int) -> list[ImageU8]:
        from lrfr.degrade.ops.resize import resize_batch

        out = list(images)
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(images):
            if min(image.shape[:2]) > size_px:
                groups.setdefault(image.shape, []).append(place)
        for places in groups.values():
            small = resize_batch(np.stack([images[i] for i in places]), size_px, self.filter, self.antialias)
            for place, image in zip(places, small, strict=True):
                out[place] = image
        return out

    def describe(self) -> dict[str, Any]:
        """Return the fields that every result carries."""
        return {"interpolation": self.filter, "antialias": self.antialias}


@functools.lru_cache(maxsize=8)
def _pipeline(spec: str) -> Pipeline:
    """Load a spec once, not once a batch: some hold networks."""
    from lrfr.degrade.pipeline import Pipeline
    from lrfr.degrade.spec.model import load_spec

    return Pipeline(load_spec(spec))


def describe_specs(sizes: Sequence[Size]) -> dict[str, Any]:
    """Return the digest of each spec among ``sizes``, for the record."""
    digests = {size: _pipeline(size).spec.digest for size in sizes if isinstance(size, str)}
    return {"spec_digests": digests} if digests else {}


@dataclass(frozen=True)
class PairList:
    """A list of image pairs.

    Attributes:
        name: name of the benchmark.
        images: each distinct image once: a path, encoded bytes, or uint8 HWC RGB.
        left: index into ``images`` of the first image of each pair, [P]; the HR side of a cross-resolution
            test.
        right: index of the second, [P]; the LR side.
        same: True where both show one person, [P].
        fold: fold of each pair, [P], or None: ten consecutive folds.
        identity: person of each image, [N], or None where the benchmark does not say.
        alignment: how the crops were made, as far as known.
        digest: sha256 over the list (not the pixels).

    """

    name: str
    images: Sequence[Source]
    left: Ints
    right: Ints
    same: Bools
    fold: Ints | None = None
    identity: Ints | None = None
    alignment: str = "as distributed"
    digest: str = field(default="")

    def __post_init__(self) -> None:
        """Check the lengths and fill in the digest."""
        if not len(self.left) == len(self.right) == len(self.same) or len(self.same) == 0:
            counts = f"{len(self.left)} left, {len(self.right)} right, {len(self.same)} labels"
            raise DataError(f"{self.name}: {counts}; need equal numbers, not zero")
        if not self.digest:
            parts = [self.left, self.right, self.same, *([] if self.fold is None else [self.fold])]
            object.__setattr__(
                self,
                "digest",
                hashlib.sha256(b"".join(np.asarray(p, np.int64).tobytes() for p in parts)).hexdigest(),
            )


def pair_list(
    pairs: Sequence[tuple[Source, Source]],
    same: Sequence[bool],
    *,
    identities: Sequence[tuple[Any, Any]] | None = None,
    folds: Sequence[int] | None = None,
    name: str = "pairs",
    alignment: str = "as given",
) -> PairList:
    """Make a :class:`PairList` from plain Python lists; an image that occurs twice (same path or same array
    object) is embedded once.

    Args:
        pairs: (first, second) image: paths, encoded bytes, or uint8 HWC RGB arrays.
        same: True where both show one person.
        identities: the persons of each pair, any hashable names; bootstrap intervals need them.
        folds: fold of each pair; without it, ten consecutive folds.
        name: name in the results.
        alignment: how the crops were aligned, for the record.

    """
    images: list[Source] = []
    people: list[Any] = []
    known: dict[Any, int] = {}
    sides = np.empty((len(pairs), 2), np.int64)
    for row, pair in enumerate(pairs):
        for side, source in enumerate(pair):
            key = source if isinstance(source, Path | bytes) else id(source)
            if key not in known:
                known[key] = len(images)
                images.append(source)
                people.append(identities[row][side] if identities is not None else None)
            sides[row, side] = known[key]
    return PairList(
        name,
        images,
        left=sides[:, 0],
        right=sides[:, 1],
        same=np.array(same, bool),
        fold=None if folds is None else np.array(folds, np.int64),
        identity=None if identities is None else _numbered(people),
        alignment=alignment,
    )


def _numbered(names: Sequence[Any]) -> Ints:
    """Number names in order of appearance."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def load_image(source: Source) -> ImageU8:
    """Return uint8 HWC RGB; a file that cannot be decoded raises ``ImageFault`` with its name and reason
    code.
    """
    if isinstance(source, np.ndarray):
        return check_image(source)
    if isinstance(source, bytes):
        return decode(source)
    data = read_bytes(source)
    try:
        return decode(data)
    except DataError as error:
        error.file = str(source)
        raise


def image_key(source: Source, row: int) -> bytes:
    """Return a name that stays the same wherever the data lie: folder and file of a path, else the row."""
    return "/".join(source.parts[-2:]).encode() if isinstance(source, Path) else b"row:%d" % row


@dataclass(frozen=True)
class Embedded:
    """Raw embeddings of images and, where asked for, of their mirror images; both float32 [N, D]."""

    plain: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None = None

    def fuse(self, fusion: str) -> NDArray[np.float32]:
        """Join the two flips.

        ``none``: the plain embedding. ``sum``, ``mean``: of the raw embeddings. ``norm``: unit vectors
            weighted by their norms
        (equal to the sum; AdaFace's way of writing it). ``concat``: raw, [N, 2D]. ``concat-unit``: two unit
        vectors, [N, 2D].
        """
        if fusion == "none":
            return self.plain
        if fusion not in FUSIONS:
            raise SpecError(f"unknown flip fusion '{fusion}'", hint=f"known: {', '.join(FUSIONS)}")
        assert self.mirrored is not None, "mirrored embeddings are needed for a flip fusion"
        a, b = self.plain, self.mirrored
        if fusion == "concat-unit":
            a, b = unit(a), unit(b)
        if fusion.startswith("concat"):
            return np.concatenate([a, b], axis=1)
        return (a + b) / np.float32(2 if fusion == "mean" else 1)


def unit(x_nd: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of unit L2 norm; a zero row stays zero."""
    norm = np.linalg.norm(x_nd, axis=1, keepdims=True)
    return np.asarray(x_nd / np.maximum(norm, _TINY), dtype=np.float32)


def embed_images(
    embed: Embed,
    sources: Sequence[Source],
    *,
    size: Size = None,
    low_res: LowRes | None = None,
    mirror: bool = False,
    batch: int = 64,
    on_progress: Progress | None = None,
) -> Embedded:
    """Embed images in batches: decode, degrade to ``size``, embed; the mirror image too if asked.

    Raises:
        ImageFault: an image cannot be decoded (a protocol with a missing image is another protocol).
        NumericFault: the embedder returned NaN or infinity.
        SpecError: the embedder returned something else than float [N, D].

    """
    plain: list[NDArray[np.float32]] = []
    mirrored: list[NDArray[np.float32]] = []
    shrink = low_res or LowRes()
    for start in range(0, len(sources), batch):
        part = sources[start : start + batch]
        keys = [image_key(source, row) for row, source in enumerate(part, start)]
        images = shrink.apply([load_image(source) for source in part], size, keys)
        plain.append(checked_embedding(embed, images))
        if mirror:
            mirrored.append(
                checked_embedding(embed, [np.ascontiguousarray(image[:, ::-1]) for image in images])
            )
        if on_progress:
            on_progress(min(start + batch, len(sources)), len(sources))
    return Embedded(np.concatenate(plain), np.concatenate(mirrored) if mirror else None)


def checked_embedding(embed: Embed, images: list[ImageU8]) -> NDArray[np.float32]:
    """Call ``embed`` and hold it to its contract: float [N, D], finite."""
    out = np.asarray(embed(images))
    if out.ndim != 2 or len(out) != len(images) or not np.issubdtype(out.dtype, np.floating):
        found = f"{out.dtype} {list(out.shape)} for {len(images)} images"
        raise SpecError(f"the embedder returned {found}", hint="it must return float32 [N, D]")
    if not np.isfinite(out).all():
        raise NumericFault("the embedder returned NaN or infinity")
    return out.astype(np.float32, copy=False)
