"""The source ``arrays``: images as one array, in ``.mat`` (SVHN) or ``.npz`` (scikit-learn's digits and the
like).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.pairs.sources.base import Content, Face, Place, Source

_IMAGES, _LABELS = ("images", "X", "x", "data"), ("y", "labels", "target", "label")
MAX_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class ArraySource(Source):
    """Digits and the like: a ``.mat`` or ``.npz`` file of images and labels.

    Images are ``[N, H, W]``, ``[N, H, W, 3]``, ``[N, H*H]`` or SVHN's ``[H, W, 3, N]``, labels ``[N]``.
    """

    path: Path
    kind = "arrays"

    def _content(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise SpecError(f"cannot read: {error.strerror}", file=str(self.path)) from None
        if found.st_size > MAX_BYTES:
            raise DataError(f"larger than {MAX_BYTES} bytes", file=str(self.path))
        return _load(self.path, found.st_mtime_ns)

    def faces(self) -> list[Face]:
        """List the images by number."""
        images, labels = self._content()
        return [Face(f"{index:08d}", str(labels[index]), index) for index in range(len(images))]

    def read(self, place: Place) -> Content:
        """Return one image as uint8 ``[h, w, 3]``."""
        images, _ = self._content()
        if not 0 <= place < len(images):
            raise ImageFault("E_READ", file=str(self.path))
        return np.ascontiguousarray(images[place])

    def describe(self) -> dict[str, str | int]:
        """Name the file."""
        return {"kind": self.kind, "name": self.path.name}


@lru_cache(maxsize=1)
def _load(path: Path, stamp: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    table = _tables(path)
    images = next((table[name] for name in _IMAGES if name in table), None)
    labels = next((table[name] for name in _LABELS if name in table), None)
    if images is None or labels is None:
        raise DataError(
            f"no images ({'/'.join(_IMAGES)}) with labels ({'/'.join(_LABELS)})",
            file=str(path),
            hint=f"found {sorted(table)}",
        )
    numbers = np.asarray(labels).reshape(-1)
    if not np.issubdtype(numbers.dtype, np.number) or not np.isfinite(numbers.astype(np.float64)).all():
        raise DataError("a label is not a number", file=str(path))
    pixels = as_images(np.asarray(images), len(numbers), str(path))
    # SVHN writes the digit 0 as 10
    digits = np.where(numbers == 10, 0, numbers) if path.suffix.lower() == ".mat" else numbers
    return pixels, digits.astype(np.int64)


def _tables(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if path.suffix.lower() == ".mat":
            from scipy.io import loadmat

            return {
                name: value
                for name, value in loadmat(path, verify_compressed_data_integrity=True).items()
                if not name.startswith("__")
            }
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:
        raise DataError(f"cannot be read: {type(error).__name__}: {error}", file=str(path)) from None


def as_images(images: NDArray[Any], count: int, file: str) -> NDArray[np.uint8]:
    """Return uint8 ``[N, h, w, 3]`` from the usual layouts; floats in [0, 1] or [0, 16] are scaled to [0,
    255].

    Raises:
        DataError: the shape fits no layout.

    """
    if images.ndim == 4 and images.shape[3] == count and images.shape[2] == 3 and images.shape[0] != count:
        images = images.transpose(3, 0, 1, 2)
    side = round(images.shape[1] ** 0.5) if images.ndim == 2 else 0
    if side and side * side == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if images.ndim != 4 or images.shape[0] != count or images.shape[3] != 3:
        raise DataError(
            f"images of shape {list(images.shape)} for {count} labels",
            file=file,
            hint="[N, H, W], [N, H, W, 3], [H, W, 3, N]",
        )
    if images.dtype == np.uint8:
        return np.asarray(images)
    values = images.astype(np.float64)
    top = float(values.max(initial=0.0))
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0 or top > 255:
        raise DataError("image values are not in [0, 255]", file=file)
    scale = 255.0 if top <= 1.0 else 255.0 / 16.0 if top <= 16.0 else 1.0
    return np.rint(values * scale).astype(np.uint8)
