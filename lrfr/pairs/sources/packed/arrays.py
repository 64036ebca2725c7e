"""The source ``arrays``: images as one array, in ``.mat`` (SVHN) or ``.npz`` (scikit-learn's digits and the
like).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrfr.core.errors import DataError, ImageFault, SpecError
from lrfr.core.files import opened
from lrfr.core.lists.walk import head_of
from lrfr.pairs.format.disk.array_file import map_array
from lrfr.pairs.sources.base import Content, Face, FaceList, Listing, Place, Source, file_stamp, identity_name

_IMAGES = ("images", "X", "x", "data", "imgs", "faces", "image", "fea")
_LABELS = ("y", "labels", "target", "label", "ids", "identities", "targets", "id", "gnd")
MAX_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class ArraySource(Source):
    """Digits and the like: images as one array in a ``.mat``, ``.npz`` or ``.npy`` file.

    Images are ``[N, H, W]``, ``[N, H, W, 3]``, ``[N, 3, H, W]``, ``[N, H*H]`` or SVHN's ``[H, W, 3, N]``; in
    ``.mat`` also ``[H*H, N]``, and rows of pixels stand column by column, as MATLAB has them. Labels are
    ``[N]``, numbers or text; without them no image has an identity. Those of ``images.npy`` stand in
    ``labels.npy`` beside it.
    """

    path: Path
    kind = "arrays"

    def _content(self) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        stamp = file_stamp(self.path)
        if stamp is None:
            raise SpecError("cannot read", file=str(self.path))
        if stamp[0] > MAX_BYTES:
            raise DataError(f"larger than {MAX_BYTES} bytes", file=str(self.path))
        beside = _labels_file(self.path)
        return _load(self.path, (*stamp, *((file_stamp(beside) or ()) if beside else ())))

    def listing(self) -> Listing:
        """List the images by number."""
        images, labels = self._content()
        faces = FaceList()
        for index, label in enumerate(labels):
            known = label not in _NO_NUMBER
            fault = "" if known else "E_LABEL"
            faces.append(Face(f"{index:08d}", identity_name(label) if known else "", index, fault=fault))
        return Listing(faces, "image", {"image": len(images)})

    def read(self, place: Place) -> Content:
        """Return one image as uint8 ``[h, w, 3]``."""
        images, _ = self._content()
        if not 0 <= place < len(images):
            raise ImageFault("E_READ", file=str(self.path))
        return np.ascontiguousarray(images[place])

    def stamp(self, place: Place) -> tuple[int, ...] | None:
        """Return the stamp of the file and the number of the image."""
        found = file_stamp(self.path)
        return (*found, place) if found else None

    def stamps(self, places: Sequence[Place]) -> list[tuple[int, ...] | None]:
        """Return the stamps of many; the file is asked once."""
        found = file_stamp(self.path)
        return [(*found, place) if found else None for place in places]

    def describe(self) -> dict[str, str | int]:
        """Name the file."""
        return {"kind": self.kind, "name": self.path.name}


_NO_NUMBER = ("nan", "inf", "-inf")


@lru_cache(maxsize=1)
def _load(path: Path, stamp: tuple[int, ...]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    table = _tables(path)
    images = _named(table, _IMAGES, lambda value: value.ndim >= 2 and value.dtype.kind in "uif")
    if images is None:
        raise DataError(f"no images ({'/'.join(_IMAGES)})", file=str(path), hint=f"found {sorted(table)}")
    labels = _named(
        table, _LABELS, lambda value: value.ndim <= 2 and value.size == max(value.shape, default=0)
    )
    last = images.ndim == 4 and images.shape[2] == 3 and images.shape[3] not in {1, 3}
    count = np.asarray(labels).size if labels is not None else images.shape[3] if last else len(images)
    images = np.asarray(images)
    if images.dtype.kind not in "uifb":
        raise DataError(f"images of type {images.dtype.str[:40]}, not numbers", file=str(path))
    if path.suffix.lower() == ".mat" and images.ndim == 2:
        images = _rows_of_matlab(images, labels is not None and count, str(path))
        count = len(images)
    pixels = as_images(images, count, str(path))
    if labels is None:
        return pixels, ("",) * len(pixels)
    flat = np.asarray(labels).reshape(-1)
    # SVHN writes the digit 0 as 10
    svhn = {"X", "y"} <= table.keys() and path.suffix.lower() == ".mat"
    return pixels, tuple("0" if svhn and text == "10" else text for text in map(_label_text, flat.tolist()))


def _rows_of_matlab(images: NDArray[Any], count: int, file: str) -> NDArray[Any]:
    """Return ``[N, H, W]`` from pixels in rows or columns, each picture column by column.

    Without labels (``count`` 0) the axis of the pixels is the one whose length is a square.
    """
    square = [round(length**0.5) ** 2 == length for length in images.shape]
    fits = [axis for axis in (0, 1) if square[axis] and count in (0, images.shape[1 - axis])]
    if len(fits) != 1:
        raise DataError(
            f"images of shape {list(images.shape)}{f' for {count} labels' if count else ''}",
            file=file,
            hint="which axis holds the pixels? save them as [N, H, W]",
        )
    flat = images if fits[0] == 1 else images.T
    side = round(flat.shape[1] ** 0.5)
    return flat.reshape(-1, side, side).transpose(0, 2, 1)


def _label_text(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value == int(value) else "nan"
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _named(
    table: dict[str, NDArray[Any]], names: Sequence[str], fits: Callable[[NDArray[Any]], bool]
) -> NDArray[Any] | None:
    """Return the array of one of these names, else the only one without a name that fits."""
    known = next((table[name] for name in names if name in table), None)
    if known is not None:
        return known
    taken = {*_IMAGES, *_LABELS}
    others = [value for name, value in table.items() if name not in taken and fits(value)]
    return others[0] if len(others) == 1 else None


def _tables(path: Path) -> dict[str, NDArray[Any]]:
    try:
        if path.suffix.lower() == ".mat":
            from scipy.io import loadmat

            if b"MATLAB 7.3" in head_of(path)[:128]:
                hint = "save it with -v7, or the images as .npz"
                raise DataError("a MATLAB file of version 7.3 (HDF5) is not read", file=str(path), hint=hint)
            with opened(path, most=MAX_BYTES) as handle:
                found = loadmat(handle, verify_compressed_data_integrity=True)
            return {name: value for name, value in found.items() if not name.startswith("__")}
        if path.suffix.lower() == ".npy":
            return {"images": map_array(path), **_labels_beside(path)}
        with opened(path, most=MAX_BYTES) as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except Exception as error:
        if "pickle" in str(error):
            # NumPy's own words advise to run it
            numpy_file = head_of(path).startswith((b"PK", b"\x93NUMPY"))
            what = "holds Python objects, which are never run" if numpy_file else "no file of NumPy"
            raise DataError(what, file=str(path)) from None
        raise DataError(f"cannot be read: {type(error).__name__}: {error}", file=str(path)) from None


def _labels_beside(path: Path) -> dict[str, NDArray[Any]]:
    beside = _labels_file(path)
    if not beside:
        return {}
    with opened(beside, most=MAX_BYTES) as handle:
        return {"labels": np.load(handle, allow_pickle=False)}


def _labels_file(path: Path) -> Path | None:
    """Return the labels of ``images.npy``: ``labels.npy``, ``images_labels.npy`` and the like beside it."""
    if path.suffix.lower() != ".npy":
        return None
    stem = path.stem
    pairs = [(old, new) for old in ("images", "faces", "imgs", "x") for new in ("labels", "ids", "y")]
    swaps = [stem.replace(old, new) for old, new in pairs]
    names = [*swaps, f"{stem}_labels", f"{stem}_label", "labels"]
    found = [path.with_name(f"{name}.npy") for name in names if name != stem]
    return next((item for item in found if item.is_file()), None)


def as_images(images: NDArray[Any], count: int, file: str) -> NDArray[np.uint8]:
    """Return uint8 ``[N, h, w, 3]`` from the usual layouts; floats in [-1, 1], [0, 1] or [0, 16] are
    scaled to [0, 255].

    Raises:
        DataError: the shape fits no layout.

    """
    if images.ndim == 4 and images.shape[3] == count and images.shape[2] == 3 and images.shape[0] != count:
        images = images.transpose(3, 0, 1, 2)
    elif images.ndim == 4 and images.shape[1] in {1, 3} and images.shape[3] not in {1, 3}:
        images = images.transpose(0, 2, 3, 1)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    side = round(images.shape[1] ** 0.5) if images.ndim == 2 else 0
    if side and side * side == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if images.ndim != 4 or images.shape[0] != count or images.shape[3] != 3:
        raise DataError(
            f"images of shape {list(images.shape)} for {count} labels",
            file=file,
            hint="[N, H, W], [N, H, W, 3], [N, 3, H, W], [H, W, 3, N]",
        )
    if images.dtype == np.uint8:
        return np.asarray(images)
    values = images.astype(np.float64)
    top = float(values.max(initial=0.0))
    if values.dtype.kind == "f" and -1.0 <= values.min(initial=0.0) < 0 and top <= 1.0:
        values, top = (values + 1.0) / 2.0, 1.0
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0 or top > 255:
        raise DataError("image values are not in [0, 255]", file=file)
    # scikit-learn's digits hold 0 to 16; a larger picture with such a range is merely dark
    digits = top <= 16.0 and images.shape[1:3] == (8, 8)
    scale = 255.0 if top <= 1.0 else 255.0 / 16.0 if digits else 1.0
    return np.rint(values * scale).astype(np.uint8)
