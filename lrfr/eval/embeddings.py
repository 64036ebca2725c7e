"""From image sources to embeddings.

Eval never resizes up and never normalizes an image: it decodes, degrades to the LR size that a protocol asks
for, and hands native pixels to ``embed``, which owns everything after that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import DataError, NumericFault, SpecError
from lrfr.core.files import digest_of, read_bytes
from lrfr.core.image import ImageU8, check_image, decode
from lrfr.core.landmarks import align
from lrfr.core.machine import ahead, usable_cores
from lrfr.core.progress import SILENT, Hooks, Stopped
from lrfr.eval.low_res import LowRes, Size

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Plain = Path | bytes | ImageU8


@dataclass(frozen=True)
class AlignedFace:
    """A face in a picture: the crop that five landmarks cut out of it, made when it is asked for.

    Attributes:
        picture: where it is.
        points: x1, y1 to x5, y5 in the picture's pixels.
        size_px: side of the crop.

    """

    picture: Plain
    points: tuple[float, ...]
    size_px: int

    def crop(self) -> ImageU8:
        """Return the crop, uint8 RGB ``[size, size, 3]``."""
        return align(load_image(self.picture), np.array(self.points).reshape(5, 2), self.size_px)


Source = Plain | AlignedFace


class StoredImages(Protocol):
    """Where the degraded images of faces in a store are read, by the name of their variant."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the variants."""

    def image(self, name: str, place: int) -> ImageU8:
        """Return a face's image of one variant, at its native size."""


class StoredFace(bytes):
    """The encoded HR crop of a face in a store, which knows its key and where its degraded images are."""

    key: bytes
    place: int
    store: StoredImages

    @classmethod
    def of(cls, crop: bytes, key: bytes, place: int, store: StoredImages) -> StoredFace:
        """Return the face of a place."""
        face = cls(crop)
        face.key, face.place, face.store = key, place, store
        return face


FUSIONS = ("none", "sum", "mean", "norm", "concat", "concat-unit")
_TINY = 1e-12
# images decoded by a thread in one go: enough to pay for its hand-over, few enough to be bounded in memory
DECODE_CHUNK = 16
DECODE_THREADS = 4


def load_image(source: Source, size: Size = None) -> ImageU8:
    """Return uint8 HWC RGB, of a face in a store that of the variant ``size`` where it has one; a file that
    cannot be decoded raises ``ImageFault`` with its name and reason code.
    """
    if isinstance(source, AlignedFace):
        return source.crop()
    if isinstance(source, np.ndarray):
        return check_image(source)
    if isinstance(source, bytes):
        return source.store.image(str(size), source.place) if is_stored(source, size) else decode(source)
    data = read_bytes(source)
    try:
        return decode(data)
    except DataError as error:
        error.file = str(source)
        raise


def is_stored(source: Source, size: Size) -> TypeGuard[StoredFace]:
    """Return whether a face's images of this size lie in a store."""
    return isinstance(source, StoredFace) and size in source.store.names


def image_key(source: Source, row: int) -> bytes:
    """Return a name that stays the same wherever the data lie: folder and file of a path, the key of a face
    in a store, else the row.
    """
    if isinstance(source, StoredFace):
        return source.key
    if isinstance(source, AlignedFace):
        return image_key(source.picture, row)
    return "/".join(source.parts[-2:]).encode() if isinstance(source, Path) else b"row:%d" % row


def contents(sources: Iterable[Source]) -> list[bytes]:
    """Return what tells each image's content from another's: sha256 of a file's bytes, shape and sha256 of an
    array, of a face in a picture also what cuts it.
    """
    found = []
    for source in sources:
        shape = b""
        picture: Plain
        if isinstance(source, AlignedFace):
            shape, picture = digest_of([list(source.points), source.size_px]).encode(), source.picture
        else:
            picture = source
        if isinstance(picture, np.ndarray):
            shape, content = shape + str(picture.shape).encode(), np.ascontiguousarray(picture).tobytes()
        else:
            content = picture if isinstance(picture, bytes) else read_bytes(picture)
        found.append(shape + hashlib.sha256(content).digest())
    return found


def pixels_digest(sources: Iterable[Source]) -> str:
    """Return sha256 over the content of every image in turn: bytes of files, shape and values of arrays."""
    return hashlib.sha256(b"".join(contents(sources))).hexdigest()


def arrays_digest(*arrays: NDArray[Any] | None) -> str:
    """Return sha256 over the kind, shape and values of arrays; None has a digest of its own."""
    total = hashlib.sha256()
    for array in arrays:
        if array is None:
            total.update(b"none")
        else:
            total.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


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
    embed: Embedder,
    sources: Sequence[Source],
    *,
    size: Size = None,
    low_res: LowRes | None = None,
    mirror: bool = False,
    batch: int = 64,
    hooks: Hooks = SILENT,
) -> Embedded:
    """Embed images in batches: decode, degrade to ``size``, embed; the mirror image too if asked.

    Up to two batches are decoded ahead in threads, while the embedder works.

    Raises:
        ImageFault: an image cannot be decoded (a protocol with a missing image is another protocol).
        NumericFault: the embedder returned NaN or infinity.
        SpecError: the embedder returned something else than float [N, D].
        Stopped: the hooks asked for it, between two batches.

    """
    plain: list[NDArray[np.float32]] = []
    mirrored: list[NDArray[np.float32]] = []
    shrink = low_res or LowRes()
    chunk = min(batch, DECODE_CHUNK)
    chunks = [sources[start : start + chunk] for start in range(0, len(sources), chunk)]
    threads = min(DECODE_THREADS, usable_cores())
    decoded = chain.from_iterable(
        ahead(partial(_load_images, size=size), chunks, threads=threads, depth=1 + 2 * -(-batch // chunk))
    )
    for start in range(0, len(sources), batch):
        if hooks.stopping():
            raise Stopped
        part = sources[start : start + batch]
        keys = [image_key(source, row) for row, source in enumerate(part, start)]
        images = list(islice(decoded, len(part)))
        images = images if all(is_stored(face, size) for face in part) else shrink.apply(images, size, keys)
        names = [key.decode("utf-8", "replace") for key in keys]
        plain.append(checked_embedding(embed, images, names))
        if mirror:
            flipped = [np.ascontiguousarray(image[:, ::-1]) for image in images]
            mirrored.append(checked_embedding(embed, flipped, names))
        hooks.progress(min(start + batch, len(sources)), len(sources))
    return Embedded(np.concatenate(plain), np.concatenate(mirrored) if mirror else None)


def _load_images(sources: Sequence[Source], size: Size) -> list[ImageU8]:
    return [load_image(source, size) for source in sources]


def checked_embedding(
    embed: Embedder, images: list[ImageU8], names: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Call ``embed`` and hold it to its contract: float [N, D], finite; ``names`` are the images'."""
    out = np.asarray(embed(images))
    if out.ndim != 2 or len(out) != len(images) or not np.issubdtype(out.dtype, np.floating):
        found = f"{out.dtype} {list(out.shape)} for {len(images)} images"
        raise SpecError(f"the embedder returned {found}", hint="it must return float32 [N, D]")
    bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(bad):
        first = f", the first for {names[bad[0]]}" if names else ""
        raise NumericFault(
            f"the embedder returned NaN or infinity for {len(bad)} of {len(out)} images{first}"
        )
    return out.astype(np.float32, copy=False)


def embedding_remarks(features: NDArray[np.float32]) -> list[str]:
    """Return what is wrong with embeddings [N, D] that numbers alone do not tell: zeros, or all the same."""
    size = np.linalg.norm(features, axis=1)
    empty = int((size < _TINY).sum())
    remarks = (
        [f"{empty} of {len(features)} embeddings are zero: their cosine with everybody is 0"] if empty else []
    )
    if len(features) > 1 and empty < len(features):
        spread = float(np.ptp(unit(features), axis=0).max())
        remarks += ["all embeddings are the same: the model tells nobody apart"] if spread < 1e-6 else []
    return remarks
